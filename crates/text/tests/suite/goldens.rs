//! Tokenizers and templates of the model folders against what transformers gives.

use crate::support::{MODELS, entries, goldens, ids, model, report, text};
use llm_text::{ChatTemplate, Message, RenderOptions, Tokenizer};
use serde_json::Value;

#[test]
fn encoding_gives_the_golden_ids_of_every_model() {
    let mut failures = Vec::new();
    for name in MODELS {
        let tokenizer = Tokenizer::from_folder(&model(name)).expect(name);
        let goldens = goldens(name);
        let cases = entries(&goldens["tokenizer"]);
        assert!(cases.len() > 30, "{name} has {} cases", cases.len());
        for case in cases {
            let input = text(&case["text"]);
            for (key, add_special) in [("ids", true), ("ids_plain", false)] {
                let found = tokenizer.encode(input, add_special).expect(name);
                if found != ids(&case[key]) {
                    failures.push(format!(
                        "{name} {key} {input:?}: {found:?} for {}",
                        case[key]
                    ));
                }
            }
        }
    }
    report(&failures);
}

#[test]
fn decoding_gives_the_golden_text_of_every_model() {
    let mut failures = Vec::new();
    for name in MODELS {
        let tokenizer = Tokenizer::from_folder(&model(name)).expect(name);
        let goldens = goldens(name);
        let mut check = |sequence: &[u32], skip_special: bool, expected: &str| {
            let found = tokenizer.decode(sequence, skip_special);
            if found != expected {
                failures.push(format!("{name} {sequence:?}: {found:?} for {expected:?}"));
            }
        };
        for case in entries(&goldens["tokenizer"]) {
            check(&ids(&case["ids"]), false, text(&case["decoded"]));
            check(
                &ids(&case["ids"]),
                true,
                text(&case["decoded_skip_special"]),
            );
        }
        for case in entries(&goldens["streaming"]) {
            let all = ids(&case["ids"]);
            for (n, prefix) in entries(&case["prefix_decodes"]).iter().enumerate() {
                check(&all[..=n], false, text(prefix));
            }
        }
        for prompt in entries(&goldens["prompts"]) {
            if let Some(expected) = prompt["greedy"]["text"].as_str() {
                check(&ids(&prompt["greedy"]["ids"]), false, expected);
            }
        }
    }
    report(&failures);
}

#[test]
fn conversations_render_as_golden_or_fail_where_the_golden_failed() {
    let mut failures = Vec::new();
    let mut rendered = 0;
    for name in MODELS {
        let goldens = goldens(name);
        let template = ChatTemplate::from_folder(&model(name)).expect(name);
        let cases = entries(&goldens["chat"]);
        assert_eq!(template.is_some(), !cases.is_empty(), "{name}");
        let Some(template) = template else { continue };
        let tokenizer = Tokenizer::from_folder(&model(name)).expect(name);
        for case in cases {
            let messages: Vec<Message> =
                serde_json::from_value(case["messages"].clone()).expect("messages");
            let found = template.render(&messages, &options(case));
            match (&found, case["rendered"].as_str()) {
                (Ok(found), Some(expected)) if found == expected => {
                    rendered += 1;
                    let found = tokenizer.encode(found, false).expect(name);
                    if found != ids(&case["ids"]) {
                        failures.push(format!("{name} {}: ids {found:?}", case["id"]));
                    }
                }
                (Err(error), None) => {
                    let golden = text(&case["error"]);
                    let refused = golden.strip_prefix("TemplateError: ");
                    if refused.is_some_and(|said| !error.to_string().ends_with(said)) {
                        failures.push(format!("{name} {}: {error} for {golden}", case["id"]));
                    }
                }
                _ => failures.push(format!("{name} {}: {found:?} for {case}", case["id"])),
            }
        }
    }
    report(&failures);
    assert!(rendered > 60, "{rendered} conversations were rendered");
}

/// The goldens of named templates were rendered with `default` throughout, so tools go in as a plain variable.
fn options(case: &Value) -> RenderOptions {
    RenderOptions {
        add_generation_prompt: case["add_generation_prompt"] == Value::Bool(true),
        extra: case["kwargs"].as_object().cloned().unwrap_or_default(),
        ..RenderOptions::default()
    }
}
