//! Answers of a given form, added bias, and log-probabilities.

use std::time::Duration;

use serde_json::{Value, json};

use super::fake::{EOS, FakeModel, bytes, engine, greedy};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::request::{Completion, FinishReason, GenerateRequest};
use crate::sampling::SamplingOptions;
use crate::{ResponseFormat, Speculation};

fn answer(engine: &Engine, request: GenerateRequest) -> (String, Completion) {
    engine
        .generate(request)
        .unwrap()
        .collect_blocking()
        .unwrap()
}

fn formed(format: ResponseFormat, max_tokens: usize) -> GenerateRequest {
    GenerateRequest {
        response_format: Some(format),
        ..greedy("ab", max_tokens)
    }
}

#[test]
fn an_answer_has_the_form_asked_for_and_keeps_what_the_model_says_where_it_may() {
    let engine = engine(&FakeModel::saying(bytes("...x{\"a\": 17}4")), 256);
    let schema = json!({
        "type": "object",
        "properties": {"kind": {"enum": ["ternary"]}, "bits": {"type": "integer", "minimum": 1, "maximum": 2}},
        "required": ["kind", "bits"],
        "additionalProperties": false,
    });
    let (text, completion) = answer(&engine, formed(ResponseFormat::JsonSchema(schema), 200));
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["kind"], "ternary", "{text}");
    assert!((1..=2).contains(&value["bits"].as_i64().unwrap()), "{text}");
    assert_eq!(completion.finish_reason, FinishReason::Stop);

    let regex = ResponseFormat::Regex("[0-9]{3}(4|5)".to_owned());
    let (text, completion) = answer(&engine, formed(regex, 200));
    assert_eq!(
        (text.len(), completion.token_ids.len()),
        (4, 4),
        "{text}: it ends when nothing may follow"
    );
    let grammar = ResponseFormat::Grammar("start: \"yes\" | \"no\"".to_owned());
    assert!(["yes", "no"].contains(&answer(&engine, formed(grammar, 9)).0.as_str()));
    let object = answer(&engine, formed(ResponseFormat::JsonObject, 200)).0;
    assert!(object.starts_with('{'), "{object}");
}

#[test]
fn the_end_token_is_allowed_where_the_form_is_complete_and_nowhere_else() {
    // After three tokens of prompt: digits for a while, then the end.
    let says = [bytes("...12"), vec![EOS]].concat();
    let engine = engine(&FakeModel::saying(says), 64);
    let regex = |pattern: &str| ResponseFormat::Regex(pattern.to_owned());
    let (text, completion) = answer(&engine, formed(regex("[0-9]+"), 50));
    assert_eq!(
        (text.as_str(), completion.finish_reason),
        ("12", FinishReason::Stop)
    );
    let (text, completion) = answer(&engine, formed(regex("[0-9]{4}"), 50));
    assert_eq!(
        (text.len(), completion.finish_reason),
        (4, FinishReason::Stop)
    );
    let (text, completion) = answer(&engine, formed(regex("[0-9]{4}"), 3));
    assert_eq!(
        (text.len(), completion.finish_reason),
        (3, FinishReason::Length)
    );
}

#[test]
fn drafts_change_nothing_about_a_formed_answer() {
    let says = bytes("...[1,2,3,1,2,3,1,2,3,1,2,3,1,2,3,1,2,3]");
    let schema = json!({"type": "array", "items": {"type": "integer"}, "maxItems": 50});
    let run = |speculation| {
        let model = FakeModel::saying(says.clone());
        model.take_time(Duration::from_millis(10), Duration::ZERO);
        let engine = engine(&model, 512);
        let request = formed(ResponseFormat::JsonSchema(schema.clone()), 120);
        let sampling = SamplingOptions {
            temperature: Some(1.0),
            seed: Some(3),
            ..SamplingOptions::default()
        };
        answer(
            &engine,
            GenerateRequest {
                speculation: Some(speculation),
                sampling,
                ..request
            },
        )
    };
    let (plain, drafted) = (run(Speculation::Off), run(Speculation::Auto));
    assert_eq!(plain.0, drafted.0);
    assert_eq!(plain.1.token_ids, drafted.1.token_ids);
    assert!(
        drafted.1.usage.drafted_tokens > 0,
        "there was nothing to compare"
    );
}

#[test]
fn what_cannot_be_enforced_is_refused_by_name() {
    let engine = engine(&FakeModel::saying(bytes("...")), 64);
    let schema = |schema: Value| ResponseFormat::JsonSchema(schema);
    let cases = [
        (
            schema(json!({"type": "array", "uniqueItems": true})),
            "uniqueItems",
        ),
        (schema(json!({"not": {"type": "null"}})), "not"),
        (
            schema(json!({"type": "string", "format": "moon-phase"})),
            "moon-phase",
        ),
        (schema(json!({"type": "strnig"})), "strnig"),
        (
            schema(
                json!({"oneOf": [{"type": "string", "pattern": "a"}, {"type": "string", "pattern": "b"}]}),
            ),
            "oneOf",
        ),
        (schema(json!({"$ref": "https://example.com/a"})), "$ref"),
        (
            schema(json!({"type": "object", "x-guidance": {"lenient": true}})),
            "x-guidance",
        ),
        (schema(json!(7)), "7"),
        (ResponseFormat::Regex("(a".to_owned()), "(a"),
        (
            ResponseFormat::Grammar("start: nowhere".to_owned()),
            "nowhere",
        ),
    ];
    for (format, named) in cases {
        match engine.generate(formed(format.clone(), 9)) {
            Err(EngineError::Grammar { reason }) => {
                assert!(reason.contains(named), "{format:?}: {reason}");
                assert!(!reason.contains("verbose"), "{reason}");
            }
            other => panic!("{format:?}: {other:?}"),
        }
    }
    let request = GenerateRequest {
        ignore_eos: true,
        ..formed(ResponseFormat::JsonObject, 9)
    };
    assert!(matches!(
        engine.generate(request),
        Err(EngineError::InvalidOption {
            name: "ignoreEos",
            ..
        })
    ));
}

#[test]
fn a_bias_moves_the_choice_and_what_is_outside_its_range_is_refused() {
    let engine = engine(&FakeModel::saying(bytes("...abc")), 64);
    let biased = |logit_bias| GenerateRequest {
        logit_bias,
        ..greedy("ab", 3)
    };
    assert_eq!(answer(&engine, biased(vec![])).0, "abc");
    let (no_b, z) = ((u32::from(b'b'), -100.0), (u32::from(b'z'), 1.0));
    assert_eq!(answer(&engine, biased(vec![no_b, z])).0, "azc");
    for bad in [(0, 100.5), (0, f32::NAN), (100_000, 1.0)] {
        assert!(engine.generate(biased(vec![bad])).is_err(), "{bad:?}");
    }
}

#[test]
fn log_probabilities_are_those_of_the_model_whatever_is_chosen() {
    let engine = engine(&FakeModel::saying(bytes("...abc")), 64);
    let request = |logprobs, logit_bias| GenerateRequest {
        logprobs,
        logit_bias,
        ..greedy("ab", 3)
    };
    assert_eq!(answer(&engine, request(None, vec![])).1.logprobs, None);
    let ban = vec![(u32::from(b'a'), -100.0)];
    let logprobs = answer(&engine, request(Some(2), ban)).1.logprobs.unwrap();
    assert_eq!(logprobs.len(), 3);
    // Logits are 20 for what the model says, and 0 for the 259 others.
    let total = 20f64.exp() + 259.0;
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert_eq!(logprobs[0].top[0].token, "a");
    assert!(near(logprobs[0].top[0].logprob, 20.0 - total.ln()));
    assert!(
        near(logprobs[0].chosen.logprob, -total.ln()),
        "{:?}",
        logprobs[0]
    );
    assert_eq!(
        (logprobs[1].chosen.token.as_str(), logprobs[1].top.len()),
        ("b", 2)
    );
    assert_eq!(logprobs[1].chosen, logprobs[1].top[0]);
    assert!(engine.generate(request(Some(21), vec![])).is_err());
}
