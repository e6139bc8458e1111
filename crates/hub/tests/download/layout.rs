//! What is fetched, and how it lies on the disk.

use super::*;
use llm_hub::{Query, SearchPaths, Token, Via, obtain, resolve};

#[test]
fn the_files_that_loading_reads_are_fetched_into_the_shared_layout() {
    let hub = hugging_face().start();
    let cache = Cache::new();
    let downloaded = cache.download(&hub).unwrap();
    assert_eq!(downloaded.path, cache.snapshot());
    assert_eq!(downloaded.commit, COMMIT);
    let wanted = [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(names(&cache.snapshot()), wanted);
    assert_eq!(names(&cache.at("blobs")).len(), wanted.len());
    assert_eq!(fs::read_to_string(cache.at("refs/main")).unwrap(), COMMIT);
    let weights = bytes(300_000);
    let link = cache.snapshot().join("model.safetensors");
    assert_eq!(fs::read(&link).unwrap(), weights);
    #[cfg(unix)]
    assert_eq!(
        fs::read_link(link).unwrap(),
        Path::new("../../blobs").join(hub::etag(&weights))
    );
    assert_eq!(downloaded.bytes, 2 + 5000 + 3 + 300_000);
    assert_eq!(downloaded.fetched, downloaded.bytes);
}

#[test]
fn what_is_there_is_not_fetched_again() {
    let hub = hugging_face().start();
    let cache = Cache::new();
    cache.download(&hub).unwrap();
    hub.heal();
    assert_eq!(cache.download(&hub).unwrap().fetched, 0);
    assert!(
        hub.seen()
            .iter()
            .all(|seen| seen.target.starts_with("/api/"))
    );
    let paths = SearchPaths {
        hf_cache: Some(cache.folder.path().to_owned()),
        ..SearchPaths::default()
    };
    let query = Query {
        source: REPO,
        ..Query::default()
    };
    let found = resolve(query, &paths).unwrap();
    assert_eq!((found.path, found.via), (cache.snapshot(), Via::HfCache));
}

#[test]
fn what_is_on_the_disk_asks_no_hub_and_what_is_not_is_fetched() {
    let hub = hugging_face().start();
    let cache = Cache::new();
    let paths = SearchPaths {
        hf_cache: Some(cache.folder.path().to_owned()),
        ..SearchPaths::default()
    };
    let config = cache.config(&hub);
    let find = |source, hub| {
        let query = Query {
            source,
            ..Query::default()
        };
        obtain(query, &paths, hub, &Cancel::default(), &mut |_| {})
    };
    let off = find(REPO, None).unwrap_err();
    assert!(off.to_string().contains("downloads are off"), "{off}");
    assert_eq!(find(REPO, Some(&config)).unwrap().via, Via::Download);
    hub.heal();
    assert_eq!(find(REPO, Some(&config)).unwrap().via, Via::HfCache);
    for path in [
        "tiny",
        "./owner/tiny",
        "models/tiny.gguf",
        "/owner/tiny",
        "src/x/tiny.gguf",
    ] {
        let error = find(path, Some(&config)).unwrap_err();
        assert!(
            matches!(error, HubError::NotFound { .. }),
            "{path}: {error}"
        );
    }
    assert!(hub.seen().is_empty(), "{:?}", hub.seen());
}

#[test]
fn the_quantisation_chooses_the_file() {
    let repo = || {
        hugging_face()
            .file("ggml-model-i2_s.gguf", bytes(2000))
            .file("m-Q8_0.gguf", bytes(3000))
    };
    for (id, quant_type, expected) in [
        (REPO, None, "ggml-model-i2_s.gguf"),
        (REPO, Some("i2_s"), "ggml-model-i2_s.gguf"),
        (REPO, Some("q8_0"), "m-Q8_0.gguf"),
        ("owner/tiny/m-Q8_0.gguf", None, "m-Q8_0.gguf"),
    ] {
        let (hub, cache) = (repo().start(), Cache::new());
        let request = DownloadRequest {
            id,
            quant_type,
            ..request()
        };
        let downloaded = download(
            request,
            &cache.config(&hub),
            &Cancel::default(),
            &mut |_| {},
        );
        assert_eq!(downloaded.unwrap().path, cache.snapshot().join(expected));
        assert_eq!(names(&cache.snapshot()), [expected], "{quant_type:?}");
    }
    // Safetensors are fetched for a tl2 that is to be made of them.
    let (hub, cache) = (repo().start(), Cache::new());
    let request = DownloadRequest {
        quant_type: Some("tl2"),
        may_convert: true,
        ..request()
    };
    let downloaded = download(
        request,
        &cache.config(&hub),
        &Cancel::default(),
        &mut |_| {},
    );
    assert_eq!(downloaded.unwrap().path, cache.snapshot());
}

#[test]
fn the_vocabulary_of_sentencepiece_is_fetched_where_there_is_no_other() {
    let builder = || {
        Builder::default()
            .file("config.json", "{}")
            .file("added_tokens.json", "{  }")
            .file("tokenizer.model", bytes(300))
            .file("model.safetensors", bytes(2000))
    };
    for (hub, tokenizer) in [
        (builder(), "tokenizer.model"),
        (builder().file("tokenizer.json", "{ }"), "tokenizer.json"),
    ] {
        let cache = Cache::new();
        cache.download(&hub.start()).unwrap();
        let expected = [
            "added_tokens.json",
            "config.json",
            "model.safetensors",
            tokenizer,
        ];
        assert_eq!(names(&cache.snapshot()), expected);
    }
}

#[test]
fn all_shards_of_an_index_are_fetched() {
    let index = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
    let hub = Builder::default()
        .file("config.json", "{}")
        .file("tokenizer.json", "{ }")
        .file("model.safetensors.index.json", index)
        .file("model-1.safetensors", bytes(2000))
        .file("model-2.safetensors", bytes(4000))
        .file("consolidated.safetensors", bytes(5000))
        .start();
    let cache = Cache::new();
    cache.download(&hub).unwrap();
    let expected = [
        "config.json",
        "model-1.safetensors",
        "model-2.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
    ];
    assert_eq!(names(&cache.snapshot()), expected);
}

#[test]
fn modules_of_an_embedding_model_are_fetched_with_their_folders() {
    let hub = hugging_face()
        .file("modules.json", "[]")
        .file("1_Pooling/config.json", "{ \"a\": 1 }")
        .file("2_Dense/model.safetensors", bytes(100))
        .start();
    let cache = Cache::new();
    cache.download(&hub).unwrap();
    let config = fs::read_to_string(cache.snapshot().join("1_Pooling/config.json"));
    assert_eq!(config.unwrap(), "{ \"a\": 1 }");
    assert_eq!(
        fs::read(cache.snapshot().join("2_Dense/model.safetensors")).unwrap(),
        bytes(100)
    );
}

#[test]
fn a_revision_is_asked_for_and_remembered_by_its_name() {
    let hub = gguf(&bytes(2000)).start();
    let cache = Cache::new();
    for (revision, target) in [
        ("v1.0", "v1.0"),
        ("refs/pr/1", "refs%2Fpr%2F1"),
        (COMMIT, COMMIT),
    ] {
        let request = DownloadRequest {
            revision: Some(revision),
            ..request()
        };
        download(
            request,
            &cache.config(&hub),
            &Cancel::default(),
            &mut |_| {},
        )
        .unwrap();
        let asked = format!("/api/models/{REPO}/revision/{target}?blobs=true");
        assert!(
            hub.seen().iter().any(|seen| seen.target == asked),
            "{revision}"
        );
    }
    assert_eq!(
        fs::read_to_string(cache.at("refs/refs/pr/1")).unwrap(),
        COMMIT
    );
    assert_eq!(
        names(&cache.at("refs")),
        ["refs", "v1.0"],
        "a commit needs no reference"
    );
}

#[test]
fn the_token_goes_to_the_hub_and_not_to_where_it_redirects() {
    let content = bytes(9 << 20);
    let hub = gguf(&content).with_storage().start();
    let cache = Cache::new();
    let config = HubConfig {
        token: Token::new("hf_secret"),
        ..cache.config(&hub)
    };
    download(request(), &config, &Cancel::default(), &mut |_| {}).unwrap();
    let (storage, own): (Vec<_>, Vec<_>) = hub
        .seen()
        .into_iter()
        .partition(|seen| seen.target.starts_with("/storage/"));
    assert!(
        own.iter()
            .all(|seen| seen.authorization.as_deref() == Some("Bearer hf_secret"))
    );
    assert!(
        storage.len() >= 2
            && storage
                .iter()
                .all(|seen| seen.host.starts_with("localhost"))
    );
    assert!(
        storage.iter().all(|seen| seen.authorization.is_none()),
        "{storage:?}"
    );
    // Links are used again: most ranges do not bother the hub.
    assert!(
        own.len() < storage.len() + 2,
        "{} and {}",
        own.len(),
        storage.len()
    );
    assert_eq!(fs::read(cache.blob(&content)).unwrap(), content);
}

#[test]
fn a_large_file_comes_in_ranges_over_several_connections() {
    let content = bytes(20 << 20);
    let hub = gguf(&content).start();
    let cache = Cache::new();
    let config = cache.config(&hub);
    let mut reports = Vec::new();
    download(request(), &config, &Cancel::default(), &mut |report| {
        reports.push(report)
    })
    .unwrap();
    assert_eq!(fs::read(cache.blob(&content)).unwrap(), content);
    let ranges: Vec<_> = hub.seen().iter().filter_map(|seen| seen.range).collect();
    let covered: usize = ranges.iter().map(|(first, last)| last - first + 1).sum();
    assert!(ranges.len() > 3, "{ranges:?}");
    assert_eq!(covered, content.len(), "each byte once");
    assert!(reports.windows(2).all(|pair| pair[0].done <= pair[1].done));
    let expected = (
        last(&reports).file_done,
        last(&reports).total,
        last(&reports).is_waiting,
    );
    assert_eq!(expected, (20 << 20, 20 << 20, false));
}

#[test]
fn a_mirror_that_lists_names_alone_is_asked_for_the_rest() {
    let description = format!(r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "m.gguf"}}]}}"#);
    let content = bytes(3000);
    let hub = Builder::default()
        .file("m.gguf", &content[..])
        .description(description)
        .start();
    let cache = Cache::new();
    let downloaded = cache.download(&hub).unwrap();
    assert_eq!(fs::read(downloaded.path).unwrap(), content);
    assert!(hub.seen().iter().any(|seen| seen.method == "HEAD"));
}
