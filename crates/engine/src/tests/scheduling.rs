//! Who runs when, what is computed, and what stops.

use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use super::fake::{BOS, FakeModel, bytes, cache_block_bytes, engine, greedy};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::events::{CAPACITY, Generation};
use crate::request::{Completion, GenerateRequest, Prompt, TextEvent};
use crate::sampling::SamplingOptions;
use crate::scheduler::PREFILL_CHUNK;

fn completion(generation: Generation) -> Completion {
    generation.collect_blocking().unwrap().1
}

fn ask(engine: &Engine, text: &str, max_tokens: usize) -> Completion {
    completion(engine.generate(greedy(text, max_tokens)).unwrap())
}

#[test]
fn two_answers_are_computed_in_the_same_passes() {
    let model = FakeModel::saying(bytes("x"));
    model.allow(0);
    let engine = engine(&model, 64);
    let first = engine.generate(greedy("a", 10)).unwrap();
    model.wait_for_pass(1);
    let second = engine.generate(greedy("b", 10)).unwrap();
    model.allow_all();
    assert_eq!(completion(first).token_ids.len(), 10);
    assert_eq!(completion(second).token_ids.len(), 10);
    let together = model.passes().iter().filter(|pass| pass.len() == 2).count();
    assert!(together >= 9, "{:?}", model.passes());
}

#[test]
fn long_prompts_take_turns_and_hold_up_neither_each_other_nor_an_answer() {
    let model = FakeModel::saying(bytes("x"));
    model.allow(0);
    let engine = engine(&model, 4096);
    let answer = engine.generate(greedy("a", 9)).unwrap();
    model.wait_for_pass(1);
    let long = "y".repeat(4 * PREFILL_CHUNK - 2);
    let readers = ["1", "2"].map(|n| engine.generate(greedy(&(n.to_owned() + &long), 1)).unwrap());
    model.allow_all();
    completion(answer);
    readers
        .into_iter()
        .for_each(|reader| drop(completion(reader)));
    let passes = model.passes();
    // With the beginning token four chunks each, beside the answer's one token.
    assert_eq!(&passes[1..9], vec![vec![1, PREFILL_CHUNK]; 8], "{passes:?}");
}

#[test]
fn a_cancelled_answer_stops_within_one_pass() {
    let model = FakeModel::saying(bytes("x"));
    model.allow(4);
    let engine = engine(&model, 4096);
    let mut generation = engine.generate(greedy("a", 1000)).unwrap();
    model.wait_for_pass(5);
    generation.cancel();
    model.allow_all();
    assert!(matches!(
        generation.next_blocking(),
        Some(Err(EngineError::Cancelled))
    ));
    assert!(generation.next_blocking().is_none());
    // The next answer's pass comes right after the one that was under way.
    ask(&engine, "b", 1);
    assert_eq!(model.passes().len(), 6);
}

#[test]
fn a_dropped_answer_stops_within_one_pass_even_while_it_reads_its_prompt() {
    let model = FakeModel::saying(bytes("x"));
    model.allow(0);
    let engine = engine(&model, 4096);
    let generation = engine.generate(greedy(&"a".repeat(1000), 10)).unwrap();
    model.wait_for_pass(1);
    drop(generation);
    model.allow_all();
    ask(&engine, "b", 1);
    assert_eq!(model.passes().len(), 2);
}

#[test]
fn an_answer_nobody_reads_stops_at_the_capacity_and_goes_on_when_it_is_read() {
    let model = FakeModel::saying(bytes("x"));
    let engine = engine(&model, 4096);
    let mut slow = engine.generate(greedy("a", 100)).unwrap();
    let quick = ask(&engine, "b", 80);
    assert_eq!(quick.token_ids.len(), 80);
    // The first pass reads the prompt and gives a token; then the slow one decodes until its stream is full.
    let slow_passes = model.passes().iter().filter(|pass| pass.len() == 2).count();
    assert!(slow_passes <= CAPACITY, "{slow_passes}");
    let before = model.passes().len();
    for _ in 0..10 {
        assert!(matches!(slow.next_blocking(), Some(Ok(TextEvent::Text(_)))));
    }
    model.wait_for_pass(before + 5);
    assert_eq!(completion(slow).token_ids.len(), 100);
}

#[test]
fn unread_answers_do_not_keep_a_later_one_from_starting() {
    let model = FakeModel::saying(bytes("x"));
    let engine = engine(&model, 4096);
    let unread: Vec<Generation> = (0..40)
        .map(|_| engine.generate(greedy("a", 40)).unwrap())
        .collect();
    assert_eq!(ask(&engine, "b", 50).token_ids.len(), 50);
    for generation in unread {
        assert_eq!(completion(generation).token_ids.len(), 40);
    }
}

#[test]
fn the_next_turn_reads_only_what_is_new() {
    let model = FakeModel::saying(bytes("answer to all questions"));
    let engine = engine(&model, 4096);
    let first = ask(&engine, "question", 7);
    assert_eq!(first.usage.cached_tokens, 0);
    let ids = [
        vec![BOS],
        bytes("question"),
        first.token_ids,
        bytes(" next"),
    ]
    .concat();
    let second = GenerateRequest {
        prompt: Prompt::Tokens(ids),
        ..greedy("", 3)
    };
    let passes_before = model.passes().len();
    let second = completion(engine.generate(second).unwrap());
    // The last token of the first answer was never read by the model.
    assert_eq!(second.usage.cached_tokens, 1 + "question".len() + 7 - 1);
    assert_eq!(
        second.usage.prompt_tokens,
        second.usage.cached_tokens + 1 + " next".len()
    );
    assert_eq!(model.passes()[passes_before], [1 + " next".len()]);
}

#[test]
fn the_same_prompt_again_reads_one_token_and_says_the_same() {
    let model = FakeModel::saying(bytes("abcdefgh"));
    let engine = engine(&model, 4096);
    let first = ask(&engine, "question", 20);
    let second = ask(&engine, "question", 20);
    assert_eq!(second.usage.cached_tokens, "question".len());
    assert_eq!(second.token_ids, first.token_ids);
}

#[test]
fn conversations_that_begin_alike_do_not_take_each_others_cache() {
    let model = FakeModel::saying(bytes("abcdefgh"));
    let engine = engine(&model, 4096);
    let system = "s".repeat(20);
    let mut conversations = ["1", "2"].map(|n| format!("{system}{n}{}", n.repeat(100)));
    for turn in 0..3 {
        for conversation in &mut conversations {
            let read = conversation.len() + 1;
            conversation.push_str("more");
            let cached = ask(&engine, conversation, 1).usage.cached_tokens;
            assert!(
                turn == 0 || cached == read,
                "turn {turn}: {cached} of {read}"
            );
        }
    }
}

#[test]
fn conversations_that_begin_alike_share_their_beginning_and_its_memory() {
    let model = FakeModel::saying(bytes("abcdefgh"));
    let engine = engine(&model, 4096);
    let system = "s".repeat(299);
    let ask = |end: &str| ask(&engine, &format!("{system}{end}"), 1);
    assert_eq!(ask("one").usage.cached_tokens, 0);
    assert_eq!(engine.info().memory.kv_bytes, 5 * cache_block_bytes());
    // The token before the text begins the conversations too.
    assert_eq!(ask("two").usage.cached_tokens, 300);
    assert_eq!(ask("three").usage.cached_tokens, 301);
    assert_eq!(ask("one more").usage.cached_tokens, 303);
    // The first four blocks are shared; the fifth holds the end of each conversation that does not go on in another.
    assert_eq!(engine.info().memory.kv_bytes, 7 * cache_block_bytes());
}

#[test]
fn caches_are_kept_up_to_one_context() {
    let model = FakeModel::saying(bytes("x"));
    let engine = engine(&model, 256);
    for i in 0..20 {
        ask(&engine, &format!("{i:200}"), 1);
    }
    // 201 positions each, in four blocks of memory: there is room for one such cache.
    assert_eq!(engine.info().memory.kv_bytes, 4 * cache_block_bytes());
}

#[test]
fn logits_and_perplexity_come_between_the_steps_of_an_answer() {
    let model = FakeModel::saying(bytes("x"));
    let engine = engine(&model, 4096);
    model.allow(0);
    let answer = engine.generate(greedy("a", 30)).unwrap();
    model.wait_for_pass(1);
    let last = engine.forward(&bytes("hello"), false).unwrap();
    let all = engine.forward(&bytes(&"y".repeat(150)), true).unwrap();
    let perplexity = engine.perplexity("xxxx").unwrap();
    model.allow_all();
    let n_vocab = engine.info().n_vocab;
    let last = last.wait().unwrap();
    assert_eq!((last.len(), last[usize::from(b'x')]), (n_vocab, 20.0));
    assert_eq!(all.wait().unwrap().len(), 150 * n_vocab);
    let perplexity = perplexity.wait().unwrap();
    assert_eq!((perplexity.tokens, perplexity.nll.len()), (5, 4));
    assert!(perplexity.perplexity < 1.001, "{perplexity:?}");
    assert_eq!(completion(answer).token_ids.len(), 30);
}

#[test]
fn an_abandoned_job_is_not_carried_on() {
    let model = FakeModel::saying(bytes("x"));
    let engine = engine(&model, 4096);
    model.allow(0);
    let job = engine.forward(&vec![1; 20 * PREFILL_CHUNK], true).unwrap();
    model.wait_for_pass(1);
    drop(job);
    model.allow_all();
    ask(&engine, "a", 1);
    assert!(model.passes().len() <= 3, "{:?}", model.passes());
}

#[test]
fn a_waiting_future_is_woken_by_text() {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let model = FakeModel::saying(bytes("x"));
    model.allow(0);
    let engine = engine(&model, 64);
    let mut generation = engine.generate(greedy("a", 1)).unwrap();
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    assert!(generation.poll_next(&mut context).is_pending());
    model.allow_all();
    while generation.poll_next(&mut context).is_pending() {
        std::thread::park();
    }
}

#[test]
fn sampling_does_not_depend_on_what_runs_beside() {
    let model = FakeModel::saying(bytes("x"));
    let engine = engine(&model, 4096);
    let request = || GenerateRequest {
        sampling: SamplingOptions {
            temperature: Some(50.0),
            seed: Some(3),
            ..Default::default()
        },
        ..greedy("a", 25)
    };
    let alone = completion(engine.generate(request()).unwrap()).token_ids;
    let together: Vec<Generation> = (0..3)
        .map(|_| engine.generate(request()).unwrap())
        .collect();
    for generation in together {
        assert_eq!(completion(generation).token_ids, alone);
    }
}
