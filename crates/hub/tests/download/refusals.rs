//! Failures that stay: one error, with a cure.

use super::hub::{Fault, Seen};
use super::*;
use llm_hub::Token;

/// The error with this fault for every request whose target begins so.
fn error_of(prefix: &'static str, fault: Fault, token: Option<&str>) -> HubError {
    let faults = move |seen: &Seen| seen.target.starts_with(prefix).then(|| fault.clone());
    let hub = gguf(&bytes(2000)).faults(faults).start();
    let cache = Cache::new();
    let config = HubConfig {
        token: token.and_then(Token::new),
        ..cache.impatient(&hub)
    };
    let error = download(request(), &config, &Cancel::default(), &mut |_| {}).unwrap_err();
    assert!(!cache.snapshot().exists(), "{error}");
    error
}

macro_rules! assert_error {
    ($error:expr, $variant:pat, $($part:expr),+) => {{
        let error = $error;
        let message = error.to_string();
        assert!(matches!(error, $variant), "{message}");
        $(assert!(message.contains($part), "`{}` is not in `{message}`", $part);)+
    }};
}

#[test]
fn a_gated_model_says_where_access_is_asked_for() {
    for status in [401, 403] {
        let fault = Fault::Status(status, "X-Error-Code: GatedRepo\r\n");
        let error = error_of("/owner", fault.clone(), None);
        assert_error!(
            error,
            HubError::Gated { .. },
            "/owner/tiny",
            "ask for access",
            "HF_TOKEN"
        );
        let error = error_of("/owner", fault, Some("hf_x"));
        assert_error!(
            error,
            HubError::Gated { .. },
            "ask for access",
            "account whose token"
        );
    }
}

#[test]
fn a_repository_or_revision_that_is_not_there_is_named() {
    let repo = |status| Fault::Status(status, "X-Error-Code: RepoNotFound\r\n");
    for status in [401, 404] {
        let error = error_of("/api", repo(status), None);
        assert_error!(
            error,
            HubError::RepoNotFound { .. },
            "no model owner/tiny",
            "private"
        );
    }
    let error = error_of("/api", Fault::Status(404, ""), None);
    assert_error!(error, HubError::RepoNotFound { .. }, "owner/tiny");
    let error = error_of(
        "/api",
        Fault::Status(404, "X-Error-Code: RevisionNotFound\r\n"),
        None,
    );
    assert_error!(
        error,
        HubError::RevisionNotFound { .. },
        "revision main",
        "Model not found"
    );
    let error = error_of(
        "/owner",
        Fault::Status(404, "X-Error-Code: EntryNotFound\r\n"),
        None,
    );
    assert_error!(
        error,
        HubError::Answer { .. },
        "ggml-model-i2_s.gguf",
        "not there"
    );
}

#[test]
fn a_token_that_is_wrong_or_missing_is_told() {
    let error = error_of("/api", Fault::Status(401, ""), Some("hf_x"));
    assert_error!(error, HubError::Refused { .. }, "401", "token is not valid");
    let error = error_of("/owner", Fault::Status(403, ""), None);
    assert_error!(
        error,
        HubError::Refused { .. },
        "403",
        "HF_TOKEN is not set"
    );
}

#[test]
fn a_hub_that_wants_to_be_left_alone_is_left_alone() {
    let fault = Fault::Status(429, "Retry-After: 3600\r\n");
    let error = error_of("/api", fault, None);
    assert_error!(
        error,
        HubError::RateLimited {
            seconds: Some(3600),
            ..
        },
        "3600 s"
    );
}

#[test]
fn failures_without_an_end_are_given_up() {
    let error = error_of("/owner", Fault::Status(500, ""), None);
    assert_error!(
        error,
        HubError::Transfer { .. },
        "status 500",
        "ggml-model-i2_s.gguf of owner/tiny"
    );
    let error = error_of("/owner", Fault::WrongLength, None);
    assert_error!(error, HubError::Transfer { .. }, "another length");
    let error = error_of("/owner", Fault::Stall(10), None);
    assert_error!(error, HubError::Transfer { .. }, "127.0.0.1");
    let error = error_of(
        "/owner",
        Fault::Status(302, "Location: /owner/tiny\r\n"),
        None,
    );
    assert_error!(error, HubError::Answer { .. }, "too many redirects");
    let error = error_of(
        "/owner",
        Fault::Status(302, "Location: ftp://host/\r\n"),
        None,
    );
    assert_error!(error, HubError::Answer { .. }, "leads nowhere");
    let error = error_of("/owner", Fault::Status(418, ""), None);
    assert_error!(error, HubError::Answer { .. }, "418");
}

#[test]
fn a_host_that_cannot_be_reached_is_named() {
    let cache = Cache::new();
    let hub = gguf(&bytes(10)).start();
    let config = HubConfig {
        endpoint: "http://127.0.0.1:1".to_owned(),
        ..cache.config(&hub)
    };
    let error = download(request(), &config, &Cancel::default(), &mut |_| {}).unwrap_err();
    assert_error!(error, HubError::Transfer { .. }, "127.0.0.1", "refused");
}

#[test]
fn content_that_stays_damaged_never_gets_its_name() {
    let error = error_of("/owner", Fault::Corrupt(1500), None);
    let etag = hub::etag(&bytes(2000));
    assert_error!(
        error,
        HubError::Checksum { .. },
        "SHA-256",
        etag.as_str(),
        "ggml-model-i2_s.gguf"
    );

    let faults = |seen: &Seen| seen.is_for("config.json").then_some(Fault::Corrupt(1));
    let hub = hugging_face().faults(faults).start();
    let cache = Cache::new();
    let error = cache.download(&hub).unwrap_err();
    assert_error!(error, HubError::Checksum { .. }, "git SHA-1", "config.json");
    assert!(!cache.snapshot().exists());
}

#[test]
fn a_model_that_does_not_fit_on_the_disk_is_refused_before_a_byte_is_fetched() {
    let etag = "0".repeat(64);
    let size = 1u64 << 60;
    let description = format!(
        r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "m.gguf", "size": {size}, "lfs": {{"sha256": "{etag}", "size": {size}}}}}]}}"#
    );
    let hub = Builder::default().description(description).start();
    let cache = Cache::new();
    let error = cache.download(&hub).unwrap_err();
    assert_error!(
        error,
        HubError::DiskFull { .. },
        "1152921504606846976 bytes are needed",
        "are free"
    );
    assert_eq!(hub.seen().len(), 1);
}

#[test]
#[cfg(target_os = "linux")]
fn a_disk_that_fills_up_meanwhile_is_told() {
    for len in [5000, 9 << 20] {
        let content = bytes(len);
        let hub = gguf(&content).start();
        let cache = Cache::new();
        fs::create_dir_all(cache.at("blobs")).unwrap();
        std::os::unix::fs::symlink("/dev/full", cache.incomplete(&content)).unwrap();
        let error = cache.download(&hub).unwrap_err();
        assert_error!(
            error,
            HubError::DiskFull { needed: None, .. },
            "no room",
            "incomplete"
        );
    }
}

#[test]
fn a_repository_without_a_model_lists_what_it_has() {
    let empty = Builder::default()
        .file("README.md", "x")
        .file("pytorch_model.bin", "y");
    let several = Builder::default()
        .file("a.Q4_0.gguf", "x")
        .file("b.Q8_0.gguf", "y");
    let no_tokenizer = Builder::default()
        .file("config.json", "{}")
        .file("model.safetensors", "x");
    let index = r#"{"weight_map": {"a": "gone.safetensors"}}"#;
    let shard = |index: &str| {
        hugging_face_without_weights()
            .file("model.safetensors.index.json", index)
            .file("x.safetensors", "x")
    };
    for (builder, problem) in [
        (empty, "neither a GGUF file nor config.json"),
        (several, "several GGUF files"),
        (no_tokenizer, "no tokenizer.json and no tokenizer.model"),
        (shard(index), "gone.safetensors, which is not there"),
        (
            shard(r#"{"weight_map": {"a": "../../x"}}"#),
            "lists no shards",
        ),
        (shard("{}"), "lists no shards"),
    ] {
        let error = Cache::new().download(&builder.start()).unwrap_err();
        assert_error!(error, HubError::NothingToLoad { .. }, problem, "it has: ");
    }
}

fn hugging_face_without_weights() -> Builder {
    Builder::default()
        .file("config.json", "{}")
        .file("tokenizer.json", "{ }")
}

#[test]
fn answers_that_would_leave_the_cache_are_refused() {
    let description = |sha: &str, etag: &str| {
        format!(
            r#"{{"sha": "{sha}", "siblings": [{{"rfilename": "m.gguf", "size": 3, "blobId": "{etag}"}}]}}"#
        )
    };
    let broken = [
        "{".to_owned(),
        "[]".to_owned(),
        description("../../x", "a"),
        description("", "a"),
        description(COMMIT, "../x"),
        description(COMMIT, ""),
    ];
    for description in broken {
        let hub = Builder::default().description(description.clone()).start();
        let error = Cache::new().download(&hub).unwrap_err();
        assert!(
            matches!(error, HubError::Answer { .. }),
            "{description}: {error}"
        );
    }
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    let cache = Cache::new();
    let hub = gguf(&bytes(10)).start();
    let config = cache.config(&hub);
    let with = |change: fn(&mut HubConfig)| {
        let mut config = config.clone();
        change(&mut config);
        download(request(), &config, &Cancel::default(), &mut |_| {}).unwrap_err()
    };
    let endpoint = with(|config| config.endpoint = "huggingface.co".to_owned());
    assert_error!(endpoint, HubError::Setting { .. }, "HF_ENDPOINT");
    let proxy = with(|config| config.proxy = Some("socks5://user:secret@host:1".to_owned()));
    assert_error!(proxy, HubError::Setting { .. }, "proxy");
    let certificates = with(|config| config.ca_certificates = Some("none".to_owned()));
    assert_error!(certificates, HubError::Setting { .. }, "certificates");
    let revision = DownloadRequest {
        revision: Some("../x"),
        ..request()
    };
    let error = download(revision, &config, &Cancel::default(), &mut |_| {}).unwrap_err();
    assert_error!(error, HubError::Setting { .. }, "revision");
    assert!(hub.seen().is_empty());
}
