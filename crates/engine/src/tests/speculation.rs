//! Drafts change when tokens are computed, never which.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::fake::{BOS, EOS, FakeModel, Fault, bytes, engine, engine_with, greedy};
use crate::config::EngineConfig;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::events::{CAPACITY, Generation};
use crate::request::{Completion, ContextOverflow, GenerateRequest, Prompt};
use crate::sampling::SamplingOptions;
use crate::scheduler::PREFILL_CHUNK;
use crate::speculation::Speculation;

const MILLISECOND: Duration = Duration::from_millis(1);

/// A model that says `says` over and over and takes, by its own clock, equally long for one token and for many: drafts pay.
fn model_saying(says: impl Into<Vec<u32>>) -> Arc<FakeModel> {
    let model = FakeModel::saying(says);
    model.take_time(MILLISECOND, Duration::ZERO);
    model
}

fn speculative(request: GenerateRequest) -> GenerateRequest {
    GenerateRequest {
        speculation: Some(Speculation::Auto),
        ..request
    }
}

fn collect(engine: &Engine, request: GenerateRequest) -> (String, Completion) {
    engine
        .generate(request)
        .unwrap()
        .collect_blocking()
        .unwrap()
}

/// What must not depend on speculation.
fn essence((text, end): (String, Completion)) -> impl PartialEq + std::fmt::Debug {
    let usage = (end.usage.prompt_tokens, end.usage.completion_tokens);
    (text, end.token_ids, end.finish_reason, usage)
}

#[test]
fn a_text_that_repeats_itself_takes_a_fraction_of_the_passes() {
    let model = model_saying(bytes("one two three four "));
    let engine = engine(&model, 4096);
    let (text, end) = collect(&engine, speculative(greedy("a", 300)));
    assert_eq!(
        text,
        "one two three four "
            .repeat(20)
            .split_at(2)
            .1
            .split_at(300)
            .0
    );
    let passes = model.passes().len();
    assert!(passes < 60, "{passes}");
    assert_eq!(
        end.usage.completion_tokens,
        passes + end.usage.accepted_tokens
    );
    assert!(end.usage.drafted_tokens >= end.usage.accepted_tokens);
}

#[test]
fn a_text_that_does_not_repeat_itself_is_decoded_without_drafts() {
    let model = model_saying((0..256).collect::<Vec<u32>>());
    let engine = engine(&model, 4096);
    let (_, end) = collect(&engine, speculative(greedy("ab", 200)));
    assert_eq!(end.usage.drafted_tokens, 0);
    assert_eq!(model.passes().len(), 200);
}

#[test]
fn requests_win_over_the_engine_s_option_which_is_on_by_default() {
    let cases = [
        (Speculation::default(), None, true),
        (Speculation::Auto, Some(Speculation::Off), false),
        (Speculation::Off, None, false),
        (Speculation::Off, Some(Speculation::Auto), true),
    ];
    for (of_engine, of_request, expected) in cases {
        let config = EngineConfig {
            speculation: of_engine,
            ..EngineConfig::default()
        };
        let engine = engine_with(&model_saying(bytes("x")), None, &config);
        let request = GenerateRequest {
            speculation: of_request,
            ..greedy("a", 40)
        };
        let drafted = collect(&engine, request).1.usage.drafted_tokens;
        assert_eq!(drafted > 0, expected, "{of_engine:?} {of_request:?}");
    }
}

/// Samplings of every kind; the fake's next token stands out enough to be drawn most of the time.
fn samplings() -> Vec<SamplingOptions> {
    let base = SamplingOptions {
        temperature: Some(2.7),
        top_k: Some(0),
        top_p: Some(1.0),
        seed: Some(5),
        ..SamplingOptions::default()
    };
    vec![
        SamplingOptions {
            temperature: Some(0.0),
            ..base
        },
        SamplingOptions {
            temperature: Some(0.0),
            repetition_penalty: Some(1.3),
            ..base
        },
        base,
        SamplingOptions {
            top_k: Some(30),
            ..base
        },
        SamplingOptions {
            top_p: Some(0.8),
            ..base
        },
        SamplingOptions {
            min_p: Some(0.0001),
            ..base
        },
        SamplingOptions {
            frequency_penalty: Some(0.3),
            presence_penalty: Some(0.2),
            ..base
        },
    ]
}

/// Ways in which an answer may end, in the middle of a draft too.
fn endings() -> Vec<GenerateRequest> {
    let base = || greedy("what is to be said", 90);
    let stopping = |stop: &str| GenerateRequest {
        stop: vec![stop.to_owned()],
        ..greedy("what is to be said", 200)
    };
    let overflowing = |context_overflow| GenerateRequest {
        context_overflow,
        ..greedy("what is to be said", 250)
    };
    vec![
        base(),
        greedy("what is to be said", 61),
        GenerateRequest {
            ignore_eos: true,
            ..base()
        },
        stopping("e three one three"),
        stopping("!"),
        overflowing(ContextOverflow::Error),
        overflowing(ContextOverflow::Shift),
        overflowing(ContextOverflow::Truncate),
    ]
}

#[test]
fn answers_are_those_of_plain_decoding_however_tokens_are_chosen_and_answers_end() {
    let says = [
        bytes(&"two one three ".repeat(5)),
        bytes("two one two three one three "),
        bytes(&"two one three ".repeat(3)),
        vec![u32::from(b'!'), EOS],
    ]
    .concat();
    let (mut drafted, mut accepted) = (0, 0);
    for request in endings() {
        for sampling in samplings() {
            let request = GenerateRequest {
                sampling,
                ..request.clone()
            };
            let plain = collect(&engine(&FakeModel::saying(&*says), 120), request.clone());
            let model = FakeModel::saying(&*says);
            model.take_time(MILLISECOND, Duration::ZERO);
            let found = collect(&engine(&model, 120), speculative(request.clone()));
            drafted += found.1.usage.drafted_tokens;
            accepted += found.1.usage.accepted_tokens;
            assert_eq!(essence(found), essence(plain), "{request:?}");
        }
    }
    assert!(
        accepted > 500 && drafted > accepted + 50,
        "{accepted} of {drafted}"
    );
}

#[test]
fn sequences_that_decode_together_get_what_they_get_alone() {
    let model = model_saying(bytes(&("left right ".repeat(5) + "turn ")));
    let engine = engine(&model, 4096);
    let requests: Vec<GenerateRequest> = samplings()
        .into_iter()
        .take(3)
        .zip(["a", "bcd", "efghij"])
        .map(|(sampling, text)| GenerateRequest {
            sampling: SamplingOptions {
                // One with which the sampled answer does not end early.
                seed: Some(8),
                ..sampling
            },
            ..greedy(text, 150)
        })
        .collect();
    let alone: Vec<_> = requests
        .iter()
        .map(|request| essence(collect(&engine, request.clone())))
        .collect();
    model.allow(0);
    let running: Vec<_> = requests
        .into_iter()
        .map(|request| engine.generate(speculative(request)).unwrap())
        .collect();
    model.allow_all();
    let found = std::thread::scope(|scope| {
        // All are read at once, so that none waits for its reader.
        let read = |generation: Generation| scope.spawn(|| generation.collect_blocking().unwrap());
        let readers: Vec<_> = running.into_iter().map(read).collect();
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .collect::<Vec<_>>()
    });
    let accepted: usize = found.iter().map(|(_, end)| end.usage.accepted_tokens).sum();
    assert!(accepted > 20, "{accepted}");
    for (found, alone) in found.into_iter().zip(alone) {
        assert_eq!(essence(found), alone);
    }
    let passes = model.passes();
    let shared = |pass: &&Vec<usize>| pass.len() == 3 && pass.iter().sum::<usize>() > 3;
    assert!(passes.iter().any(|pass| shared(&pass)), "{passes:?}");
    assert!(passes.iter().all(|pass| pass.iter().sum::<usize>() <= 12));
}

#[test]
fn no_drafts_are_made_while_a_prompt_is_read() {
    let model = model_saying(bytes("x"));
    let engine = engine(&model, 4096);
    let answer = engine.generate(speculative(greedy("a", 300))).unwrap();
    model.wait_for_pass(4);
    let reader = engine.generate(greedy(&"y".repeat(5 * PREFILL_CHUNK), 1));
    let end = answer.collect_blocking().unwrap().1;
    assert!(end.usage.accepted_tokens > 0);
    reader.unwrap().collect_blocking().unwrap();
    let beside_a_chunk = |pass: &Vec<usize>| pass.contains(&PREFILL_CHUNK) && pass.len() == 2;
    let passes = model.passes();
    let beside: Vec<_> = passes.iter().filter(|pass| beside_a_chunk(pass)).collect();
    assert!(
        !beside.is_empty() && beside.iter().all(|pass| pass.contains(&1)),
        "{passes:?}"
    );
}

#[test]
fn the_next_turn_finds_the_tokens_of_a_speculative_answer() {
    // The answers end in the middle of a draft, before its end, and by a stop string.
    for (n, stop) in [(90, ""), (91, ""), (95, ""), (300, "yes no yes yes")] {
        let says = bytes(&("yes no ".repeat(12) + "yes yes "));
        let turns = |speculation| {
            let engine = engine(&model_saying(&*says), 4096);
            let first = GenerateRequest {
                stop: Some(stop.to_owned())
                    .filter(|stop| !stop.is_empty())
                    .into_iter()
                    .collect(),
                speculation: Some(speculation),
                ..greedy("question", n)
            };
            let (_, first) = collect(&engine, first);
            let ids = [
                vec![BOS],
                bytes("question"),
                first.token_ids,
                bytes(" next"),
            ]
            .concat();
            let second = GenerateRequest {
                prompt: Prompt::Tokens(ids),
                ..greedy("", 5)
            };
            let (text, second) = collect(&engine, second);
            (text, second.usage.cached_tokens, engine.info().memory)
        };
        assert_eq!(turns(Speculation::Auto), turns(Speculation::Off), "{n}");
    }
}

#[test]
fn a_cancelled_answer_stops_within_one_pass_of_drafts() {
    let model = model_saying(bytes("x"));
    model.allow(12);
    let engine = engine(&model, 4096);
    let mut generation = engine.generate(speculative(greedy("a", 1000))).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    while model.passes().len() < 13 {
        // Read, lest it waits for its reader.
        drop(generation.poll_next(&mut context));
    }
    generation.cancel();
    model.allow_all();
    assert!(matches!(
        generation.next_blocking(),
        Some(Err(EngineError::Cancelled))
    ));
    // The next answer's pass comes right after the one that was under way.
    collect(&engine, greedy("b", 1));
    let passes = model.passes();
    assert_eq!(passes.len(), 14, "{passes:?}");
    assert!(passes.iter().any(|pass| pass[0] > 2), "{passes:?}");
}

#[test]
fn drafts_do_not_fill_a_stream_beyond_its_capacity() {
    let model = model_saying(bytes("x"));
    let engine = engine(&model, 4096);
    let mut unread = engine.generate(speculative(greedy("a", 1000))).unwrap();
    // When this one is through, the other has long been waiting for its reader.
    collect(&engine, greedy("b", 60));
    model.allow(0);
    let mut context = Context::from_waker(Waker::noop());
    let mut pieces = 0;
    while let Poll::Ready(Some(Ok(_))) = unread.poll_next(&mut context) {
        pieces += 1;
    }
    assert_eq!(pieces, CAPACITY);
    drop(unread);
    model.allow_all();
}

#[test]
fn drafts_that_cost_more_than_they_bring_are_given_up() {
    let model = FakeModel::saying(bytes("x"));
    model.take_time(MILLISECOND, 10 * MILLISECOND);
    let engine = engine(&model, 4096);
    collect(&engine, speculative(greedy("a", 150)));
    let drafts = model.passes().iter().filter(|pass| pass[0] > 1).count();
    // The prompt, and one draft before each pause: of 32 tokens, then of 64.
    assert_eq!(drafts, 4, "{:?}", model.passes());
}

#[test]
fn drafts_that_find_no_memory_are_dropped_and_the_answer_goes_on() {
    let model = model_saying(bytes("x"));
    let engine = engine(&model, 4096);
    // The prompt's two tokens and all tokens of the answer but the last fit exactly.
    model.fail_with(Fault::OutOfMemoryBeyond(2 + 79));
    let request = GenerateRequest {
        stop: vec!["x".repeat(80)],
        ..greedy("a", 1000)
    };
    let (_, end) = collect(&engine, speculative(request));
    assert_eq!(end.usage.completion_tokens, 80);
    assert!(end.usage.accepted_tokens > 0);
}
