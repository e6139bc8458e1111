//! What the files beside tokenizer.json decide.

use std::fs;
use std::path::Path;

use llm_text::{ChatTemplate, RenderOptions, TextError, Tokenizer};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{json as read_json, model};

#[test]
fn clean_up_tokenization_spaces_is_honoured_in_batch_and_stream() {
    for (clean_up, expected) in [
        (true, "It's here, isn't it?"),
        (false, "It 's here , is n't it ?"),
    ] {
        let folder = folder(&json!({"clean_up_tokenization_spaces": clean_up}));
        let tokenizer = Tokenizer::from_folder(folder.path()).expect("a tokenizer");
        let ids = tokenizer
            .encode("It 's here , is n't it ?", false)
            .expect("ids");
        assert_eq!(tokenizer.decode(&ids, true), expected);
        let mut stream = tokenizer.decode_stream();
        let mut text: String = ids.iter().filter_map(|&id| stream.step(id)).collect();
        text.extend(stream.finish());
        assert_eq!(text, expected);
    }
}

#[test]
fn special_tokens_are_named_by_text_or_by_object() {
    for name in [
        json!("<|begin_of_text|>"),
        json!({"content": "<|begin_of_text|>"}),
    ] {
        let folder = folder(&json!({"bos_token": name, "chat_template": "{{ bos_token }}"}));
        let tokenizer = Tokenizer::from_folder(folder.path()).expect("a tokenizer");
        assert_eq!(tokenizer.bos(), tokenizer.token_to_id("<|begin_of_text|>"));
        assert_eq!(tokenizer.eos(), None);
        let template = ChatTemplate::from_folder(folder.path())
            .expect("valid")
            .expect("a template");
        let rendered = template
            .render(&[], &RenderOptions::default())
            .expect("rendered");
        assert_eq!(rendered, "<|begin_of_text|>");
    }
}

#[test]
fn a_token_that_only_the_configuration_calls_special_is_skipped_in_text() {
    let plain = Tokenizer::from_folder(folder(&json!({})).path()).expect("a tokenizer");
    let id = plain.token_to_id("!").expect("a plain token");
    assert!(!plain.is_special(id));
    let named = folder(&json!({"pad_token": "!"}));
    let tokenizer = Tokenizer::from_folder(named.path()).expect("a tokenizer");
    assert!(tokenizer.is_special(id));
    assert_eq!(
        tokenizer.decode(&tokenizer.encode("a!", false).expect("ids"), true),
        "a"
    );
}

#[test]
fn limits_of_training_do_not_cut_or_pad_prompts() {
    let folder = folder(&json!({}));
    let path = folder.path().join("tokenizer.json");
    let mut tokenizer: Value = read_json(&path);
    tokenizer["truncation"] = json!({
        "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0
    });
    fs::write(&path, tokenizer.to_string()).expect("written");
    let tokenizer = Tokenizer::from_folder(folder.path()).expect("a tokenizer");
    assert!(
        tokenizer
            .encode("one two three four", true)
            .expect("ids")
            .len()
            > 4
    );
}

#[test]
fn a_jinja_file_comes_before_the_template_of_the_configuration() {
    let folder = folder(&json!({"chat_template": "from the configuration"}));
    fs::write(folder.path().join("chat_template.jinja"), "from the file").expect("written");
    let template = ChatTemplate::from_folder(folder.path())
        .expect("valid")
        .expect("a template");
    assert_eq!(
        template
            .render(&[], &RenderOptions::default())
            .expect("rendered"),
        "from the file"
    );
}

#[test]
fn what_is_not_a_regular_file_is_not_read() {
    let folder = TempDir::new().expect("a folder");
    fs::create_dir(folder.path().join("tokenizer.json")).expect("a folder");
    let error = Tokenizer::from_folder(folder.path()).expect_err("no file");
    assert!(
        matches!(&error, TextError::Read { path, .. } if path.ends_with("tokenizer.json")),
        "{error}"
    );
}

#[test]
fn decoders_that_are_not_known_are_refused_at_load() {
    let folder = folder(&json!({}));
    let path = folder.path().join("tokenizer.json");
    let mut tokenizer = read_json(&path);
    tokenizer["decoder"] = json!({"type": "WordPiece", "prefix": "##", "cleanup": true});
    fs::write(&path, tokenizer.to_string()).expect("written");
    let error = Tokenizer::from_folder(folder.path()).expect_err("an unknown decoder");
    assert!(error.to_string().contains("WordPiece"), "{error}");
}

/// A folder with the tokenizer of a byte-level model and this configuration.
fn folder(config: &Value) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let copy = |name: &str| fs::copy(model("bitnet-2b4t").join(name), folder.path().join(name));
    copy("tokenizer.json").expect("a copy");
    write(folder.path(), "tokenizer_config.json", config);
    folder
}

fn write(folder: &Path, name: &str, content: &Value) {
    fs::write(folder.join(name), content.to_string()).expect("written");
}
