//! Folders with SentencePiece's file alone, beside the ids that SentencePiece itself gives (`testdata/sentencepiece`: 900 pieces, bytes
//! for what has none, trained and asked with version 0.2.3 of its Python package).

use std::fs;
use std::path::{Path, PathBuf};

use llm_text::{Tokenizer, TokenizerSpec};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::json as read_json;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/sentencepiece")
}

fn folder(model: &[u8], config: &Value) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("tokenizer.model"), model).expect("written");
    let config = config.to_string();
    fs::write(folder.path().join("tokenizer_config.json"), config).expect("written");
    folder
}

fn model() -> Vec<u8> {
    fs::read(testdata().join("tokenizer.model")).expect("the model")
}

#[test]
fn the_ids_are_those_of_sentencepiece_and_become_the_text_again() {
    let config = json!({"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"});
    let folder = folder(&model(), &config);
    let tokenizer = Tokenizer::from_folder(folder.path()).expect("a tokenizer");
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), Some(2)));
    assert_eq!(tokenizer.vocab_size(), 900);
    let cases = read_json(&testdata().join("cases.json"));
    for case in cases.as_array().expect("a list") {
        let text = case["text"].as_str().expect("a text");
        let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).expect("ids");
        assert_eq!(tokenizer.encode(text, false).expect("ids"), ids, "{text:?}");
        let with_bos = [&[1][..], &ids].concat();
        assert_eq!(
            tokenizer.encode(text, true).expect("ids"),
            with_bos,
            "{text:?}"
        );
        assert_eq!(tokenizer.decode(&ids, true), text);
    }
}

#[test]
fn the_configuration_says_what_stands_around_a_prompt_and_what_was_added() {
    let config = json!({
        "add_bos_token": false, "add_eos_token": true, "eos_token": {"content": "</s>"}, "pad_token": "<pad>",
        "added_tokens_decoder": {"900": {"content": "<|turn|>", "special": true}, "1": {"content": "<s>", "special": true}},
    });
    let folder = folder(&model(), &config);
    let added = json!({"<pad>": 901, "<|turn|>": 900}).to_string();
    fs::write(folder.path().join("added_tokens.json"), added).expect("written");
    let tokenizer = Tokenizer::from_folder(folder.path()).expect("a tokenizer");
    assert_eq!(tokenizer.vocab_size(), 902);
    assert_eq!(tokenizer.token_to_id("<pad>"), Some(901));
    assert!(tokenizer.is_special(900) && tokenizer.is_special(901));
    let ids = tokenizer.encode("a<|turn|>", true).expect("ids");
    assert_eq!((ids[0], &ids[ids.len() - 2..]), (261, &[900, 2][..]));
}

#[test]
fn it_becomes_the_vocabulary_of_gguf() {
    let folder = folder(&model(), &json!({"bos_token": "<s>", "eos_token": "</s>"}));
    let spec = TokenizerSpec::from_folder(folder.path(), 904)
        .expect("a vocabulary")
        .spec;
    assert_eq!((spec.model.as_str(), spec.tokens.len()), ("llama", 904));
    let tokenizer = Tokenizer::from_spec(spec).expect("a tokenizer");
    let text = "The router loads a model and streams 日本語.";
    let expected = Tokenizer::from_folder(folder.path()).expect("a tokenizer");
    assert_eq!(
        tokenizer.encode(text, true).unwrap(),
        expected.encode(text, true).unwrap()
    );
}

#[test]
fn what_is_no_such_file_is_refused_by_its_name() {
    let unigram: &[u8] = &[0x12, 2, 0x18, 1];
    let normalizing: &[u8] = &[0x12, 2, 0x18, 2, 0x1A, 0];
    let odd_kind: &[u8] = &[0x0A, 2, 0x18, 9];
    let hole = json!({"added_tokens_decoder": {"902": {"content": "x"}}});
    for (bytes, config, problem) in [
        (&b"not protobuf"[..], json!({}), "no SentencePiece model"),
        (&model()[..3000], json!({}), "no SentencePiece model"),
        (unigram, json!({}), "no byte-pair model"),
        (&[], json!({}), "no byte-pair model"),
        (normalizing, json!({}), "normalises texts"),
        (odd_kind, json!({}), "of the kind 9"),
        (&model(), hole, "has the id 902, but there are 900 tokens"),
    ] {
        let error = Tokenizer::from_folder(folder(bytes, &config).path())
            .expect_err(problem)
            .to_string();
        assert!(
            error.contains(problem) && error.contains("tokenizer.model"),
            "{error}"
        );
    }
}
