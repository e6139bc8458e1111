//! Loading, finding and unloading, with the demo model.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use llm_engine::{EngineConfig, EngineError, GenerateRequest, Prompt};
use llm_router::{HubError, LoadSpec, LoadedModel, Router, RouterError, SearchPaths};

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/bitnet-demo")
}

fn spec(source: &str) -> LoadSpec {
    LoadSpec {
        source: source.to_owned(),
        search: SearchPaths {
            demo: Some(demo()),
            ..SearchPaths::default()
        },
        engine: EngineConfig {
            threads: Some(1),
            ..EngineConfig::default()
        },
        ..LoadSpec::default()
    }
}

fn load(router: &Router, spec: LoadSpec) -> Result<Arc<LoadedModel>, RouterError> {
    router.load(spec, &mut |_| {})
}

fn long_answer() -> GenerateRequest {
    GenerateRequest {
        max_tokens: Some(400),
        ignore_eos: true,
        ..GenerateRequest::new(Prompt::Text {
            text: "BitNet".to_owned(),
            raw: true,
        })
    }
}

#[test]
fn models_from_one_source_get_different_ids_and_live_side_by_side() {
    let router = Router::new();
    let ids: Vec<String> = (0..3)
        .map(|_| load(&router, spec("demo")).unwrap().id().to_owned())
        .collect();
    assert_eq!(ids, ["demo", "demo-2", "demo-3"]);
    let listed: Vec<String> = router
        .list()
        .iter()
        .map(|model| model.id().to_owned())
        .collect();
    assert_eq!(listed, ids);
    let answers = ids.iter().map(|id| {
        let engine = router.get(id).unwrap().engine().unwrap();
        let request = GenerateRequest {
            max_tokens: Some(4),
            ..long_answer()
        };
        engine
            .generate(request)
            .unwrap()
            .collect_blocking()
            .unwrap()
            .1
            .token_ids
            .len()
    });
    assert_eq!(answers.collect::<Vec<_>>(), [4, 4, 4]);
}

#[test]
fn a_path_and_prefixes_lead_to_the_same_model() {
    let router = Router::new();
    let path = demo();
    let path = path.to_str().unwrap();
    for (source, id) in [
        (path.to_owned(), "bitnet-demo"),
        (format!("local:{path}"), "bitnet-demo-2"),
        (format!("file:{path}"), "bitnet-demo-3"),
        (format!("{path}/model.safetensors"), "model"),
    ] {
        let model = load(&router, spec(&source)).unwrap();
        assert_eq!((model.id(), model.source()), (id, source.as_str()));
        assert!(model.path().starts_with(path));
    }
}

#[test]
fn a_given_id_replaces_the_model_that_has_it() {
    let router = Router::new();
    let given = || LoadSpec {
        id: Some("mine".to_owned()),
        ..spec("demo")
    };
    let first = load(&router, given()).unwrap();
    let second = load(&router, given()).unwrap();
    assert!(matches!(first.engine(), Err(RouterError::Unloaded { .. })));
    assert!(Arc::ptr_eq(&router.get("mine").unwrap(), &second));
    assert_eq!(router.list().len(), 1);
}

#[test]
fn unloading_ends_what_is_under_way_and_frees_the_id() {
    let router = Router::new();
    let model = load(&router, spec("demo")).unwrap();
    let running = model.engine().unwrap().generate(long_answer()).unwrap();
    router.unload("demo").unwrap();
    assert!(matches!(
        running.collect_blocking(),
        Err(EngineError::Closed)
    ));
    assert!(matches!(model.engine(), Err(RouterError::Unloaded { id }) if id == "demo"));
    assert!(matches!(
        router.get("demo"),
        Err(RouterError::UnknownModel { .. })
    ));
    assert!(router.unload("demo").is_err());
    assert_eq!(load(&router, spec("demo")).unwrap().id(), "demo");
}

#[test]
fn an_unknown_id_is_answered_with_those_that_there_are() {
    let router = Router::new();
    let message = router.get("x").unwrap_err().to_string();
    assert!(message.starts_with("Model not found: x"), "{message}");
    load(&router, spec("demo")).unwrap();
    let message = router.get("x").unwrap_err().to_string();
    assert!(message.contains("demo"), "{message}");
}

#[test]
fn what_cannot_be_loaded_says_why_and_leaves_no_trace() {
    let router = Router::new();
    let quant = LoadSpec {
        quant_type: Some("q9_z".to_owned()),
        ..spec("demo")
    };
    assert!(matches!(
        load(&router, quant),
        Err(RouterError::UnsupportedQuant { .. })
    ));
    let empty_id = LoadSpec {
        id: Some(String::new()),
        ..spec("demo")
    };
    assert!(matches!(load(&router, empty_id), Err(RouterError::EmptyId)));
    let missing = load(&router, spec("bitnet:no/such-model"));
    assert!(matches!(
        missing,
        Err(RouterError::Hub(HubError::NotFound { .. }))
    ));
    let engine = EngineConfig {
        threads: Some(0),
        ..EngineConfig::default()
    };
    let threads = load(
        &router,
        LoadSpec {
            engine,
            ..spec("demo")
        },
    );
    assert!(matches!(
        threads,
        Err(RouterError::Engine(EngineError::InvalidOption { .. }))
    ));
    assert!(router.list().is_empty());
}

#[test]
fn i2_s_is_satisfied_by_any_ternary_model() {
    let router = Router::new();
    let i2_s = LoadSpec {
        quant_type: Some("I2_S".to_owned()),
        ..spec("demo")
    };
    let model = load(&router, i2_s).unwrap();
    assert_eq!(model.quant_type().map(|quant| quant.name()), Some("i2_s"));
}

#[test]
fn a_load_that_is_cancelled_leaves_no_model() {
    let router = Router::new();
    for at_opening in [false, true] {
        let cancelled = spec("demo");
        let cancel = cancelled.cancel.clone();
        if !at_opening {
            cancel.cancel();
        }
        let result = router.load(cancelled, &mut |_| cancel.cancel());
        assert!(matches!(result, Err(RouterError::Hub(HubError::Cancelled))));
        assert!(router.list().is_empty());
    }
}
