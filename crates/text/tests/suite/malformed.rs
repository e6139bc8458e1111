//! Broken tokenizer files.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use llm_text::Tokenizer;

use crate::support::{entries, json, oracle, report, text};

#[test]
fn broken_tokenizer_files_are_refused_with_a_message_that_names_them() {
    let manifest = json(&oracle("malformed/manifest.json"));
    let mut failures = Vec::new();
    let mut tried = 0;
    for case in entries(&manifest["cases"]) {
        let id = text(&case["id"]);
        let Some(name) = id
            .strip_prefix("dirs/")
            .filter(|name| name.starts_with("tok"))
        else {
            continue;
        };
        tried += 1;
        let folder = assemble(name, entries(&case["drop"]).iter().map(text).collect());
        let input = case["use"]["encode"].as_str().unwrap_or("hello");
        let started = Instant::now();
        let encoded = Tokenizer::from_folder(folder.path())
            .and_then(|tokenizer| tokenizer.encode(input, true));
        let took = started.elapsed();
        if took > Duration::from_secs(5) {
            failures.push(format!("{name}: took {took:?}"));
        }
        match encoded {
            Ok(ids) if text(&case["expect"]) == "reject" => {
                failures.push(format!("{name}: encoded to {ids:?}"))
            }
            Err(error) if !case["mention_any"].is_null() => {
                let message = error.to_string().to_lowercase();
                if !entries(&case["mention_any"])
                    .iter()
                    .any(|word| message.contains(text(word)))
                {
                    failures.push(format!("{name}: the message is {message}"));
                }
            }
            _ => {}
        }
    }
    report(&failures);
    assert!(tried > 18, "{tried} tokenizers");
}

#[test]
fn an_undefined_special_token_of_the_post_processor_is_found_at_load() {
    let folder = assemble("tok_post_unknown_token", Vec::new());
    let error = Tokenizer::from_folder(folder.path()).expect_err("the post-processor names nobody");
    assert!(error.to_string().contains("nobody"), "{error}");
}

/// A folder with the tokenizer files of `dirs/ok`, without those of `drop`, overlaid with those of `dirs/<name>`.
fn assemble(name: &str, drop: Vec<&str>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for source in ["ok", name] {
        for file in ["tokenizer.json", "tokenizer_config.json"] {
            let path: PathBuf = oracle("malformed/dirs").join(source).join(file);
            if path.exists() && !drop.contains(&file) {
                fs::copy(&path, folder.path().join(file)).expect("a copy");
            }
        }
    }
    folder
}
