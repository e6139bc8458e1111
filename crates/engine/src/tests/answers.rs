//! What a reader gets to see.

use std::task::{Context, Poll, Waker};

use super::fake::{BOS, END_OF_TURN, EOS, FakeModel, bytes, engine, engine_with, greedy};
use crate::config::EngineConfig;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::request::{FinishReason, GenerateRequest, Prompt, TextEvent};
use crate::sampling::SamplingOptions;
use crate::{Message, RenderOptions};

/// `ab` and the beginning token: the answer starts with what the model says after three tokens.
const PROMPT: &str = "ab";

fn collect(engine: &Engine, request: GenerateRequest) -> (String, crate::Completion) {
    engine
        .generate(request)
        .unwrap()
        .collect_blocking()
        .unwrap()
}

#[test]
fn an_answer_carries_text_tokens_usage_and_seed() {
    let engine = engine(&FakeModel::saying(bytes("...Hello, world")), 64);
    let request = greedy(PROMPT, 5);
    let sampling = SamplingOptions {
        seed: Some(99),
        ..request.sampling
    };
    let (text, completion) = collect(
        &engine,
        GenerateRequest {
            sampling,
            ..request
        },
    );
    assert_eq!(text, "Hello");
    assert_eq!(completion.token_ids, bytes("Hello"));
    assert_eq!(completion.finish_reason, FinishReason::Length);
    assert_eq!(
        (
            completion.usage.prompt_tokens,
            completion.usage.completion_tokens
        ),
        (3, 5)
    );
    assert_eq!(completion.seed, 99);
    let timings = completion.timings;
    assert!(
        timings.ttft_ms >= timings.prefill_ms && timings.decode_ms >= 0.0,
        "{timings:?}"
    );
}

#[test]
fn pieces_are_whole_characters_whatever_tokens_cut_through() {
    let says = "...é👩‍🚀 我们 ❤️!";
    let engine = engine(&FakeModel::saying(bytes(says)), 128);
    let mut generation = engine.generate(greedy(PROMPT, says.len() - 3)).unwrap();
    let mut pieces = Vec::new();
    while let Some(Ok(TextEvent::Text(piece))) = generation.next_blocking() {
        pieces.push(piece);
    }
    assert_eq!(pieces.concat(), &says[3..]);
    assert!(
        pieces.iter().all(|piece| !piece.contains('\u{fffd}')),
        "{pieces:?}"
    );
    assert!(pieces.len() > 10, "{pieces:?}");
}

#[test]
fn a_character_cut_off_by_the_end_shows_as_a_replacement_character() {
    let engine = engine(&FakeModel::saying(bytes("...a\u{1f680}")), 64);
    assert_eq!(collect(&engine, greedy(PROMPT, 3)).0, "a\u{fffd}");
}

#[test]
fn a_stop_string_is_found_across_tokens_and_never_shown() {
    let engine = engine(&FakeModel::saying(bytes("...one\nUser: two")), 64);
    let request = GenerateRequest {
        stop: vec!["\nUser:".to_owned()],
        ..greedy(PROMPT, 40)
    };
    let (text, completion) = collect(&engine, request);
    assert_eq!(text, "one");
    assert_eq!(completion.finish_reason, FinishReason::Stop);
    assert_eq!(completion.token_ids, bytes("one\nUser:"));
}

#[test]
fn what_only_began_like_a_stop_string_is_shown_in_the_end() {
    let engine = engine(&FakeModel::saying(bytes("...one\nUse")), 64);
    let request = GenerateRequest {
        stop: vec!["\nUser:".to_owned()],
        ..greedy(PROMPT, 7)
    };
    let (text, completion) = collect(&engine, request);
    assert_eq!(text, "one\nUse");
    assert_eq!(completion.finish_reason, FinishReason::Length);
}

#[test]
fn a_stop_string_may_end_in_a_character_that_the_end_cuts_off() {
    let engine = engine(&FakeModel::saying(bytes("...ab\u{1f680}")), 64);
    let request = GenerateRequest {
        stop: vec!["b\u{fffd}".to_owned()],
        ..greedy(PROMPT, 3)
    };
    let (text, completion) = collect(&engine, request);
    assert_eq!(
        (text.as_str(), completion.finish_reason),
        ("a", FinishReason::Stop)
    );
}

#[test]
fn an_end_token_ends_the_answer_unless_it_is_to_be_ignored() {
    for end in [EOS, END_OF_TURN] {
        let says = [bytes("...yes"), vec![end], bytes("no")].concat();
        let engine = engine(&FakeModel::saying(says), 64);
        let (text, completion) = collect(&engine, greedy(PROMPT, 5));
        assert_eq!(
            (text.as_str(), completion.finish_reason),
            ("yes", FinishReason::Stop)
        );
        assert_eq!(completion.token_ids.last(), Some(&end));
        let request = GenerateRequest {
            ignore_eos: true,
            ..greedy(PROMPT, 6)
        };
        let (text, completion) = collect(&engine, request);
        assert_eq!(
            (text.as_str(), completion.finish_reason),
            ("yesno", FinishReason::Length)
        );
    }
}

#[test]
fn a_seed_decides_sampled_tokens_and_a_drawn_seed_is_told() {
    let engine = engine(&FakeModel::saying(bytes("x")), 64);
    let ask = |seed| {
        // At this temperature all bytes are about equally likely.
        let sampling = SamplingOptions {
            temperature: Some(90.0),
            top_k: Some(0),
            seed,
            ..Default::default()
        };
        collect(
            &engine,
            GenerateRequest {
                sampling,
                ..greedy(PROMPT, 12)
            },
        )
        .1
    };
    let first = ask(None);
    assert_eq!(ask(Some(first.seed)).token_ids, first.token_ids);
    assert_ne!(ask(Some(first.seed + 1)).token_ids, first.token_ids);
}

#[test]
fn load_options_hold_for_requests_that_do_not_say() {
    let model = FakeModel::saying(bytes("x"));
    let sampling = SamplingOptions {
        temperature: Some(0.0),
        ..SamplingOptions::default()
    };
    let config = EngineConfig {
        sampling,
        ..EngineConfig::default()
    };
    let engine = engine_with(&model, None, &config);
    let request = GenerateRequest {
        sampling: SamplingOptions::default(),
        ..greedy(PROMPT, 20)
    };
    assert_eq!(collect(&engine, request).0, "x".repeat(20));
}

const TEMPLATE: &str = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}\
                        {% if add_generation_prompt %}[assistant]{% endif %}{{ extra }}";

#[test]
fn a_text_is_one_message_of_the_user_unless_it_is_raw() {
    let model = FakeModel::saying(bytes("x"));
    let engine = engine_with(&model, Some(TEMPLATE), &EngineConfig::default());
    let prompt_tokens = |raw| {
        let prompt = Prompt::Text {
            text: "hi".to_owned(),
            raw,
        };
        collect(
            &engine,
            GenerateRequest {
                prompt,
                ..greedy("", 1)
            },
        )
        .1
        .usage
        .prompt_tokens
    };
    assert_eq!(prompt_tokens(false), 1 + "[user]hi[assistant]".len());
    assert_eq!(prompt_tokens(true), 1 + "hi".len());
}

#[test]
fn messages_are_rendered_with_the_variables_of_the_request() {
    let model = FakeModel::saying(bytes("x"));
    let engine = engine_with(&model, Some(TEMPLATE), &EngineConfig::default());
    let mut options = RenderOptions::default();
    options.extra.insert("extra".to_owned(), "!".into());
    let messages = [Message::new("user", "hi"), Message::new("assistant", "ho")];
    let rendered = engine.apply_chat_template(&messages, &options).unwrap();
    assert_eq!(rendered, "[user]hi[assistant]ho!");
}

#[test]
fn the_beginning_token_is_there_once_whether_the_template_writes_it_or_not() {
    for template in ["<s>hey", "hey"] {
        let model = FakeModel::saying(bytes("x"));
        let engine = engine_with(&model, Some(template), &EngineConfig::default());
        let (_, completion) = collect(
            &engine,
            GenerateRequest {
                prompt: Prompt::Messages {
                    messages: vec![],
                    options: RenderOptions::default(),
                },
                ..greedy("", 1)
            },
        );
        assert_eq!(completion.usage.prompt_tokens, 4, "{template}");
    }
    let engine = engine(&FakeModel::saying(bytes("x")), 64);
    assert_eq!(engine.tokenize("hey", true).unwrap()[0], BOS);
}

#[test]
fn a_missing_or_broken_template_is_an_error_for_messages_alone() {
    let model = FakeModel::saying(bytes("x"));
    let messages = || Prompt::Messages {
        messages: vec![],
        options: RenderOptions::default(),
    };
    let ask = |engine: &Engine, prompt| {
        engine
            .generate(GenerateRequest {
                prompt,
                ..greedy("", 1)
            })
            .map(drop)
    };
    let without = engine_with(&model, None, &EngineConfig::default());
    assert!(matches!(
        ask(&without, messages()),
        Err(EngineError::NoChatTemplate)
    ));
    let broken = engine_with(&model, Some("{% for %}"), &EngineConfig::default());
    assert!(matches!(
        ask(&broken, messages()),
        Err(EngineError::ChatTemplateBroken { .. })
    ));
    ask(
        &broken,
        Prompt::Text {
            text: "hi".to_owned(),
            raw: true,
        },
    )
    .unwrap();
}

#[test]
fn a_stream_can_be_polled_without_a_runtime() {
    let model = FakeModel::saying(bytes("...abc"));
    let engine = engine(&model, 64);
    let mut generation = engine.generate(greedy(PROMPT, 3)).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut text = String::new();
    loop {
        match generation.poll_next(&mut context) {
            Poll::Ready(Some(Ok(TextEvent::Text(piece)))) => text += &piece,
            Poll::Ready(Some(Ok(TextEvent::Done(_)))) => break,
            Poll::Ready(other) => panic!("{other:?}"),
            Poll::Pending => std::thread::yield_now(),
        }
    }
    assert_eq!(text, "abc");
    assert!(matches!(
        generation.poll_next(&mut context),
        Poll::Ready(None)
    ));
}
