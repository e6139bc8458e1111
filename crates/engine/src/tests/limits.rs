//! What does not fit, and what is not allowed.

use super::fake::{EOS, FakeModel, N_VOCAB, bytes, engine, greedy};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::request::{Completion, ContextOverflow, FinishReason, GenerateRequest, Prompt};
use crate::sampling::SamplingOptions;

fn refusal(engine: &Engine, request: GenerateRequest) -> EngineError {
    engine.generate(request).map(drop).unwrap_err()
}

fn answer(engine: &Engine, request: GenerateRequest) -> (String, Completion) {
    engine
        .generate(request)
        .unwrap()
        .collect_blocking()
        .unwrap()
}

#[test]
fn a_prompt_beyond_the_context_names_both_numbers() {
    let engine = engine(&FakeModel::saying(bytes("x")), 16);
    let error = refusal(&engine, greedy(&"a".repeat(40), 5));
    assert!(matches!(
        error,
        EngineError::ContextOverflow {
            prompt_tokens: 41,
            context_size: 16
        }
    ));
    let message = error.to_string();
    assert!(
        message.contains("41") && message.contains("16"),
        "{message}"
    );
}

#[test]
fn a_full_context_ends_the_answer() {
    let engine = engine(&FakeModel::saying(bytes("x")), 16);
    let (text, completion) = answer(&engine, greedy("abc", 100));
    // The last token need not be read, so it lies beyond the context.
    assert_eq!(text.len(), 16 - 4 + 1);
    assert_eq!(completion.finish_reason, FinishReason::Length);
    let (text, _) = answer(&engine, greedy(&"a".repeat(15), 100));
    assert_eq!(text.len(), 1);
}

#[test]
fn truncate_drops_the_oldest_tokens_behind_the_first() {
    let model = FakeModel::saying((0..200).collect::<Vec<u32>>());
    let engine = engine(&model, 16);
    let overflow = ContextOverflow::Truncate;
    for (max_tokens, left) in [(4, 12), (100, 8), (1, 15)] {
        let request = GenerateRequest {
            context_overflow: overflow,
            ..greedy(&"a".repeat(40), max_tokens)
        };
        let (_, completion) = answer(&engine, request);
        assert_eq!(completion.usage.prompt_tokens, left);
        assert_eq!(completion.token_ids.len(), max_tokens.min(16 - left + 1));
        assert_eq!(completion.token_ids[0] as usize, left);
    }
}

#[test]
fn shift_drops_the_older_half_and_goes_on() {
    let model = FakeModel::saying((0..200).collect::<Vec<u32>>());
    let engine = engine(&model, 16);
    let overflow = ContextOverflow::Shift;
    let request = GenerateRequest {
        context_overflow: overflow,
        ..greedy("abc", 60)
    };
    let (_, completion) = answer(&engine, request);
    assert_eq!(completion.token_ids.len(), 60);
    assert_eq!(completion.finish_reason, FinishReason::Length);
    // The model says how many tokens it has read: 4 to 16, then the first one and half of the other sixteen.
    let ids: Vec<u32> = (4..=16)
        .chain((0..6).flat_map(|_| 9..=16))
        .take(60)
        .collect();
    assert_eq!(completion.token_ids, ids);
    let long = GenerateRequest {
        context_overflow: overflow,
        ..greedy(&"a".repeat(40), 60)
    };
    assert_eq!(answer(&engine, long).1.token_ids.len(), 60);
}

#[test]
fn the_smallest_contexts_work() {
    for context_size in 1..4 {
        for overflow in [ContextOverflow::Truncate, ContextOverflow::Shift] {
            let engine = engine(&FakeModel::saying(bytes("x")), context_size);
            let request = GenerateRequest {
                context_overflow: overflow,
                ..greedy("abc", 9)
            };
            let (_, completion) = answer(&engine, request);
            let expected = if overflow == ContextOverflow::Shift {
                9
            } else {
                completion.token_ids.len()
            };
            assert_eq!(
                completion.token_ids.len(),
                expected,
                "{context_size} {overflow:?}"
            );
            assert!(completion.usage.prompt_tokens <= context_size);
        }
    }
}

#[test]
fn tokens_outside_the_vocabulary_are_named() {
    let engine = engine(&FakeModel::saying(bytes("x")), 16);
    let prompt = Prompt::Tokens(vec![1, 2, 777]);
    let error = refusal(
        &engine,
        GenerateRequest {
            prompt,
            ..greedy("", 1)
        },
    );
    assert!(matches!(
        error,
        EngineError::TokenOutOfRange {
            id: 777,
            n_vocab: N_VOCAB
        }
    ));
    let error = engine
        .forward(&[N_VOCAB as u32], false)
        .map(drop)
        .unwrap_err();
    assert!(matches!(error, EngineError::TokenOutOfRange { .. }));
}

#[test]
fn an_empty_prompt_is_refused_and_one_token_is_enough() {
    let engine = engine(&FakeModel::saying(bytes("xyz")), 16);
    let tokens = |ids| GenerateRequest {
        prompt: Prompt::Tokens(ids),
        ..greedy("", 1)
    };
    assert!(matches!(
        refusal(&engine, tokens(vec![])),
        EngineError::EmptyPrompt
    ));
    assert!(matches!(
        engine.forward(&[], false),
        Err(EngineError::EmptyPrompt)
    ));
    assert_eq!(answer(&engine, tokens(vec![EOS])).0, "y");
    assert_eq!(answer(&engine, greedy("", 1)).0, "y");
}

#[test]
fn whole_texts_must_fit_the_context_too() {
    let engine = engine(&FakeModel::saying(bytes("x")), 16);
    let error = engine.forward(&[1; 17], false).map(drop).unwrap_err();
    assert!(matches!(
        error,
        EngineError::ContextOverflow {
            prompt_tokens: 17,
            context_size: 16
        }
    ));
    assert!(engine.perplexity(&"a".repeat(40)).is_err());
    assert!(matches!(
        engine.perplexity(""),
        Err(EngineError::TextTooShort { tokens: 1 })
    ));
}

#[test]
fn options_outside_their_ranges_are_refused_before_anything_runs() {
    let model = FakeModel::saying(bytes("x"));
    let engine = engine(&model, 16);
    let base = || greedy("a", 1);
    let sampling = |options| GenerateRequest {
        sampling: options,
        ..greedy("a", 1)
    };
    let cases = [
        (
            "maxTokens",
            GenerateRequest {
                max_tokens: Some(0),
                ..base()
            },
        ),
        (
            "stop",
            GenerateRequest {
                stop: vec![String::new()],
                ..base()
            },
        ),
        (
            "stop",
            GenerateRequest {
                stop: vec!["x".repeat(5000)],
                ..base()
            },
        ),
        (
            "stop",
            GenerateRequest {
                stop: vec!["x".to_owned(); 65],
                ..base()
            },
        ),
        (
            "temperature",
            sampling(SamplingOptions {
                temperature: Some(f64::NAN),
                ..Default::default()
            }),
        ),
        (
            "topP",
            sampling(SamplingOptions {
                top_p: Some(2.0),
                ..Default::default()
            }),
        ),
    ];
    for (expected, request) in cases {
        match refusal(&engine, request) {
            EngineError::InvalidOption { name, .. } => assert_eq!(name, expected),
            other => panic!("{expected}: {other}"),
        }
    }
    assert!(model.passes().is_empty());
}
