//! Tokenizers built from the vocabularies of GGUF files against the goldens of the models' own tokenizer.json.

use std::path::Path;

use crate::support::{entries, goldens, ids, oracle, report, text};
use llm_format::{Gguf, Metadata, ModelFile};
use llm_text::{TextError, Tokenizer, TokenizerSpec};

#[test]
fn gguf_vocabularies_give_the_ids_and_texts_of_tokenizer_json() {
    let mut failures = Vec::new();
    let mut files = 0;
    for entry in std::fs::read_dir(oracle("gguf")).expect("the gguf folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "gguf") {
            continue;
        }
        files += 1;
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let model = name.split('.').next().expect("a model name");
        let tokenizer = Tokenizer::from_spec(spec(open(&path).metadata())).expect(&name);
        for case in entries(&goldens(model)["tokenizer"]) {
            let input = text(&case["text"]);
            let normalised = model == "llama-fp16" || model == "qwen3-embed";
            if normalised && text(&case["decoded_skip_special"]) != input {
                continue; // NFC, which a GGUF vocabulary cannot express, changed the text.
            }
            for (key, add_special) in [("ids", true), ("ids_plain", false)] {
                let found = tokenizer.encode(input, add_special).expect(&name);
                if found != ids(&case[key]) {
                    failures.push(format!(
                        "{name} {key} {input:?}: {found:?} for {}",
                        case[key]
                    ));
                }
            }
            for (key, skip) in [("decoded", false), ("decoded_skip_special", true)] {
                let found = tokenizer.decode(&ids(&case["ids"]), skip);
                if found != text(&case[key]) {
                    failures.push(format!("{name} {key}: {found:?} for {}", case[key]));
                }
            }
        }
    }
    report(&failures);
    assert!(files >= 15, "{files} GGUF files");
}

#[test]
fn broken_gguf_vocabularies_are_refused_by_the_key_at_fault() {
    let cases = [
        ("tokens_missing", "tokenizer.ggml.tokens"),
        ("tokens_empty", "tokenizer.ggml.tokens"),
        ("tokens_duplicate", "tokenizer.ggml.tokens"),
        ("token_type_short", "tokenizer.ggml.token_type"),
        ("merges_unknown", "tokenizer.ggml.merges"),
        ("bos_out_of_range", "tokenizer.ggml.bos_token_id"),
        ("tokenizer_unknown", "tokenizer.ggml.model"),
    ];
    for (case, key) in cases {
        let file = open(&oracle(&format!("malformed/gguf/{case}.gguf")));
        let error = Tokenizer::from_spec(spec(file.metadata())).expect_err(case);
        assert!(
            matches!(error, TextError::Vocabulary { key: found, .. } if found == key),
            "{case}: {error}"
        );
    }
}

#[test]
fn an_eos_id_of_all_ones_means_none() {
    let file = open(&oracle("malformed/gguf/eos_out_of_range.gguf"));
    let tokenizer = Tokenizer::from_spec(spec(file.metadata())).expect("a tokenizer");
    assert_eq!(tokenizer.eos(), None);
}

fn open(path: &Path) -> Gguf {
    match llm_format::open(path) {
        Ok(ModelFile::Gguf(file)) => file,
        Ok(ModelFile::Folder(_)) => panic!("{} is no GGUF file", path.display()),
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

fn spec(metadata: &Metadata) -> TokenizerSpec {
    let string = |key| metadata.str(key).expect(key).map(str::to_owned);
    let strings = |key| metadata.strings(key).expect(key).map(<[String]>::to_vec);
    let flag = |key| metadata.bool(key).expect(key);
    let id = |key| {
        let id = metadata.u64(key).expect(key)?;
        Some(u32::try_from(id).expect(key))
    };
    TokenizerSpec {
        model: string("tokenizer.ggml.model").unwrap_or_default(),
        pre: string("tokenizer.ggml.pre"),
        tokens: strings("tokenizer.ggml.tokens").unwrap_or_default(),
        scores: metadata
            .f32s("tokenizer.ggml.scores")
            .expect("scores")
            .map(<[f32]>::to_vec),
        token_types: metadata
            .i32s("tokenizer.ggml.token_type")
            .expect("types")
            .map(<[i32]>::to_vec),
        merges: strings("tokenizer.ggml.merges"),
        bos: id("tokenizer.ggml.bos_token_id"),
        eos: id("tokenizer.ggml.eos_token_id"),
        unknown: id("tokenizer.ggml.unknown_token_id"),
        add_bos: flag("tokenizer.ggml.add_bos_token"),
        add_eos: flag("tokenizer.ggml.add_eos_token"),
        add_space_prefix: flag("tokenizer.ggml.add_space_prefix"),
    }
}

#[test]
fn the_named_pre_tokenizer_decides_which_merges_may_cross() {
    // Whether a run merges to one token shows where the rule cuts the text.
    let cases = [
        ("llama-bpe", "1234", vec!["123", "4"]),
        ("qwen2", "1234", vec!["1", "2", "3", "4"]),
        ("gpt-2", "1234", vec!["1234"]),
        ("falcon", "1234", vec!["123", "4"]),
        ("default", "1234", vec!["123", "4"]),
        ("llama-bpe", "ab!!", vec!["ab", "!!"]),
        ("gpt-2", "b !!", vec!["b", "Ġ!!"]),
        ("falcon", "b !!", vec!["b", "Ġ", "!!"]),
    ];
    let tokens = [
        "1", "2", "3", "4", "12", "123", "1234", "a", "b", "ab", "!", "!!", "Ġ", "Ġ!!",
    ];
    let merges = ["1 2", "12 3", "123 4", "a b", "! !", "Ġ !!"];
    for (pre, input, expected) in cases {
        let spec = TokenizerSpec {
            model: "gpt2".to_owned(),
            pre: Some(pre.to_owned()),
            tokens: tokens.map(str::to_owned).to_vec(),
            merges: Some(merges.map(str::to_owned).to_vec()),
            ..TokenizerSpec::default()
        };
        let tokenizer = Tokenizer::from_spec(spec).expect(pre);
        let found = tokenizer.encode(input, false).expect(pre);
        let found: Vec<_> = found
            .iter()
            .filter_map(|&id| tokenizer.id_to_token(id))
            .collect();
        assert_eq!(found, expected, "{pre} {input}");
    }
}

#[test]
fn a_vocabulary_without_a_pre_tokenizer_is_llama_3s_and_an_unknown_one_is_refused() {
    let spec = |pre: Option<&str>| TokenizerSpec {
        model: "gpt2".to_owned(),
        pre: pre.map(str::to_owned),
        tokens: ["<s>", "1", "11", "111", "1111"]
            .map(str::to_owned)
            .to_vec(),
        merges: Some(["1 1", "11 1", "111 1"].map(str::to_owned).to_vec()),
        bos: Some(0),
        ..TokenizerSpec::default()
    };
    let tokenizer = Tokenizer::from_spec(spec(None)).expect("a tokenizer");
    assert_eq!(tokenizer.encode("1111", true).expect("ids"), [0, 3, 1]);
    let error = Tokenizer::from_spec(spec(Some("kreyol"))).expect_err("unknown");
    assert!(error.to_string().contains("tokenizer.ggml.pre"), "{error}");
}

#[test]
fn end_of_turn_tokens_are_found_by_name_where_they_are_special() {
    let tokens = ["<|eot_id|>", "<|im_end|>", "a"]
        .map(str::to_owned)
        .to_vec();
    let spec = TokenizerSpec {
        model: "gpt2".to_owned(),
        tokens,
        token_types: Some(vec![3, 1, 1]),
        merges: Some(Vec::new()),
        ..TokenizerSpec::default()
    };
    let tokenizer = Tokenizer::from_spec(spec).expect("a tokenizer");
    assert_eq!(tokenizer.end_of_turn_ids(), [0]);
    assert!(tokenizer.is_special(0) && !tokenizer.is_special(1) && !tokenizer.is_special(9));
    assert_eq!(tokenizer.decode(&[2, 0, 2], true), "aa");
}
