//! Models that are wanted in another packing than they are stored in.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use llm_engine::{EngineConfig, I2sLayout};
use llm_router::{Cancel, HubError, LoadSpec, Progress, Router, RouterError};
use tempfile::TempDir;

fn oracle(place: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/oracle")
        .join(place)
}

fn spec(source: &Path, quant_type: Option<&str>, converted: &Path) -> LoadSpec {
    LoadSpec {
        source: source.to_str().unwrap().to_owned(),
        quant_type: quant_type.map(str::to_owned),
        converted: converted.to_owned(),
        engine: EngineConfig {
            threads: Some(1),
            ..EngineConfig::default()
        },
        ..LoadSpec::default()
    }
}

/// The file that was opened, whether it was converted just now, and logits.
fn load(spec: LoadSpec) -> Result<(PathBuf, bool, Vec<f32>), RouterError> {
    let mut is_converted = false;
    let model = Router::new().load(spec, &mut |progress| {
        is_converted |= matches!(progress, Progress::Convert(_));
    })?;
    let logits = model.engine()?.forward(&[5, 39, 354], true)?.wait()?;
    Ok((model.path().to_owned(), is_converted, logits))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_model_is_converted_once_and_gives_the_same_logits() {
    let folder = TempDir::new().unwrap();
    let cache = folder.path().join("not/there/yet");
    for place in ["gguf/bitnet-2b4t.I2_S.gguf", "models/bitnet-2b4t"] {
        let source = oracle(place);
        let expected = load(spec(&source, None, &cache)).unwrap().2;
        for quant_type in ["tiles", "TQ1_0", "iq2_bn"] {
            let wanted = || spec(&source, Some(quant_type), &cache);
            let (path, is_converted, logits) = load(wanted()).unwrap();
            assert!(is_converted && logits == expected, "{place}: {quant_type}");
            let name = path.file_name().unwrap().to_str().unwrap();
            let ending = format!(".{}.gguf", quant_type.to_lowercase());
            assert!(
                path.starts_with(&cache) && name.ends_with(&ending),
                "{name}"
            );
            let again = load(wanted()).unwrap();
            assert!(
                again == (path, false, expected.clone()),
                "{place}: {quant_type}"
            );
        }
    }
    assert_eq!(names(&cache).len(), 6);
}

#[test]
fn what_has_the_packing_is_opened_as_it_is_and_packed_uint8_is_as_good_as_i2_s() {
    let folder = TempDir::new().unwrap();
    for (place, quant_type) in [
        ("gguf/bitnet-2b4t.I2_S.gguf", "i2_s"),
        ("gguf/bitnet-2b4t.TQ2_0.gguf", "tq2_0"),
        ("models/bitnet-2b4t", "I2_S"),
    ] {
        let source = oracle(place);
        let (path, is_converted, _) = load(spec(&source, Some(quant_type), folder.path())).unwrap();
        assert_eq!((path, is_converted), (source, false), "{quant_type}");
    }
    assert_eq!(names(folder.path()), [""; 0]);
    // Master weights take more than two bits; these have rows that I2_S does not take.
    let masters = oracle("models/bitnet-2b4t-bf16");
    let refused = load(spec(&masters, Some("i2_s"), folder.path())).unwrap_err();
    assert!(matches!(refused, RouterError::Convert { .. }), "{refused}");
    assert!(
        load(spec(&masters, Some("tiles"), folder.path()))
            .unwrap()
            .1
    );
}

#[test]
fn a_changed_original_is_converted_anew_and_what_was_made_of_the_old_one_goes() {
    let folder = TempDir::new().unwrap();
    let name = format!("{}.gguf", "m".repeat(240));
    let (source, cache) = (folder.path().join(name), folder.path().join("cache"));
    fs::copy(oracle("gguf/bitnet-2b4t.I2_S.gguf"), &source).unwrap();
    let wanted = |quant_type| spec(&source, Some(quant_type), &cache);
    let (first, ..) = load(wanted("tq2_0")).unwrap();
    let (other_type, ..) = load(wanted("tiles")).unwrap();
    let file = fs::File::options().write(true).open(&source).unwrap();
    let later = SystemTime::now() + Duration::from_secs(60);
    file.set_modified(later).unwrap();
    let (second, is_converted, _) = load(wanted("tq2_0")).unwrap();
    assert!(is_converted && first != second);
    let mut expected = [second, other_type].map(|path| path.file_name().unwrap().to_owned());
    expected.sort();
    let mut kept = names(&cache);
    kept.sort();
    assert_eq!(kept, expected.map(|name| name.into_string().unwrap()));
}

// Elsewhere the time of a folder cannot be set so simply.
#[cfg(unix)]
#[test]
fn what_a_killed_process_left_goes_and_what_another_is_making_stays() {
    let cache = TempDir::new().unwrap();
    let [abandoned, under_way] =
        [".converting-a", ".converting-b"].map(|name| cache.path().join(name));
    for folder in [&abandoned, &under_way] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("half.gguf"), "half").unwrap();
    }
    let two_days_ago = SystemTime::now() - Duration::from_secs(2 * 24 * 60 * 60);
    fs::File::open(&abandoned)
        .unwrap()
        .set_modified(two_days_ago)
        .unwrap();
    load(spec(
        &oracle("models/bitnet-2b4t"),
        Some("tiles"),
        cache.path(),
    ))
    .unwrap();
    assert!(!abandoned.exists() && under_way.exists());
}

#[test]
fn the_block_order_of_the_original_is_not_that_of_what_is_made_of_it() {
    let folder = TempDir::new().unwrap();
    let source = oracle("gguf/bitnet-2b4t.I2_S.gguf");
    let arm = |quant_type, i2s_layout| {
        let spec = spec(&source, quant_type, folder.path());
        let engine = EngineConfig {
            i2s_layout: Some(i2s_layout),
            ..spec.engine.clone()
        };
        load(LoadSpec { engine, ..spec })
    };
    let expected = arm(None, I2sLayout::Arm).unwrap().2;
    for quant_type in ["tq2_0", "i2_s"] {
        let found = arm(Some(quant_type), I2sLayout::Arm).unwrap().2;
        assert!(found == expected, "{quant_type}");
    }
    let usual = arm(Some("tq2_0"), I2sLayout::X86).unwrap().2;
    assert!(usual != expected);
    let unclear = arm(Some("tq2_0"), I2sLayout::Detect).unwrap_err();
    assert!(unclear.to_string().contains("i2sLayout"), "{unclear}");
}

#[test]
fn what_cannot_be_made_is_refused_and_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let refused = |place: &str, quant_type| {
        let wanted = spec(&oracle(place), Some(quant_type), folder.path());
        load(wanted).unwrap_err().to_string()
    };
    let dense = refused("models/llama-fp16", "tq2_0");
    assert!(dense.contains("no ternary weights"), "{dense}");
    let shape = refused("models/bitnet158-legacy", "tq2_0");
    assert!(shape.contains("cannot store the shape"), "{shape}");
    let cancel = Cancel::default();
    let wanted = LoadSpec {
        cancel: cancel.clone(),
        ..spec(&oracle("models/bitnet-2b4t"), Some("tiles"), folder.path())
    };
    let stopped = Router::new().load(wanted, &mut |progress| {
        if matches!(progress, Progress::Convert(_)) {
            cancel.cancel();
        }
    });
    assert!(matches!(
        stopped,
        Err(RouterError::Hub(HubError::Cancelled))
    ));
    assert_eq!(names(folder.path()), [""; 0]);
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let wanted = spec(&oracle("models/bitnet-2b4t"), Some("tiles"), &file);
    let no_folder = load(wanted).unwrap_err();
    assert!(
        matches!(no_folder, RouterError::Converted { .. }),
        "{no_folder}"
    );
    assert!(no_folder.to_string().contains("cacheDir"), "{no_folder}");
}
