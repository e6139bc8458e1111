//! What goes wrong ends one request, never the engine.

use super::fake::{FakeModel, Fault, bytes, engine, greedy};
use crate::engine::Engine;
use crate::error::EngineError;

fn answer(engine: &Engine, text: &str, n: usize) -> Result<String, EngineError> {
    engine
        .generate(greedy(text, n))?
        .collect_blocking()
        .map(|(text, _)| text)
}

#[test]
fn a_panic_ends_what_was_under_way_and_the_engine_goes_on() {
    let model = FakeModel::saying(bytes("x"));
    let engine = engine(&model, 64);
    model.fail_with(Fault::Panic);
    match answer(&engine, "a", 5) {
        Err(EngineError::Internal { what }) => assert!(what.contains("a test asked"), "{what}"),
        other => panic!("{other:?}"),
    }
    let job = engine.forward(&[1, 2], false).unwrap();
    assert!(matches!(job.wait(), Err(EngineError::Internal { .. })));
    model.fail_with(None);
    assert_eq!(answer(&engine, "a", 5).unwrap(), "xxxxx");
    assert!(engine.forward(&[1, 2], false).unwrap().wait().is_ok());
}

#[test]
fn logits_that_are_not_numbers_are_an_error_and_never_text() {
    let model = FakeModel::saying(bytes("x"));
    let engine = engine(&model, 64);
    model.fail_with(Fault::NotANumber);
    assert!(matches!(
        answer(&engine, "a", 5),
        Err(EngineError::NonFiniteLogits)
    ));
    let job = engine.forward(&[1, 2], true).unwrap();
    assert!(matches!(job.wait(), Err(EngineError::NonFiniteLogits)));
    assert!(matches!(
        engine.perplexity("abc").unwrap().wait(),
        Err(EngineError::NonFiniteLogits)
    ));
    model.fail_with(None);
    assert_eq!(answer(&engine, "a", 2).unwrap(), "xx");
}

#[test]
fn only_the_sequence_that_finds_no_memory_ends() {
    let model = FakeModel::saying(bytes("x"));
    let engine = engine(&model, 512);
    model.fail_with(Fault::OutOfMemoryBeyond(100));
    model.allow(0);
    let small = engine.generate(greedy("a", 60)).unwrap();
    let large = engine.generate(greedy("b", 200)).unwrap();
    model.allow_all();
    assert_eq!(small.collect_blocking().unwrap().0.len(), 60);
    assert!(matches!(
        large.collect_blocking(),
        Err(EngineError::Model(_))
    ));
}

#[test]
fn a_dropped_engine_ends_what_is_under_way() {
    let model = FakeModel::saying(bytes("x"));
    let engine = engine(&model, 4096);
    model.allow(3);
    let running = engine.generate(greedy("a", 1000)).unwrap();
    model.wait_for_pass(4);
    let job = engine.forward(&[1, 2], false).unwrap();
    let late = engine.generate(greedy("b", 10)).unwrap();
    engine.close();
    model.allow_all();
    drop(engine);
    assert_eq!(model.passes().len(), 4, "the pass under way is the last");
    assert!(matches!(
        running.collect_blocking(),
        Err(EngineError::Closed)
    ));
    assert!(matches!(late.collect_blocking(), Err(EngineError::Closed)));
    assert!(matches!(job.wait(), Err(EngineError::Closed)));
}

#[test]
fn a_closed_engine_refuses_and_keeps_what_it_knows() {
    let engine = engine(&FakeModel::saying(bytes("x")), 64);
    engine.close();
    assert!(matches!(answer(&engine, "a", 1), Err(EngineError::Closed)));
    assert!(matches!(
        engine.forward(&[1], false),
        Err(EngineError::Closed)
    ));
    assert_eq!(engine.info().architecture, "fake");
    assert_eq!(engine.tokenize("a", false).unwrap(), bytes("a"));
}

#[test]
fn an_engine_can_be_used_from_many_threads() {
    let engine = engine(&FakeModel::saying(bytes("x")), 256);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|n| {
                scope.spawn({
                    let engine = &engine;
                    move || answer(engine, "ab", 10 + n)
                })
            })
            .collect();
        for (n, thread) in threads.into_iter().enumerate() {
            assert_eq!(thread.join().unwrap().unwrap().len(), 10 + n);
        }
    });
}

#[test]
fn a_thorough_self_test_finds_what_is_no_number_and_one_token_for_ever() {
    let model = FakeModel::saying(bytes("ab"));
    let healthy = engine(&model, 64);
    healthy.self_test(false).unwrap();
    healthy.self_test(true).unwrap();
    model.fail_with(Fault::NotANumber);
    healthy.self_test(false).unwrap();
    let finding = healthy.self_test(true).unwrap_err().to_string();
    assert!(finding.contains("no number"), "{finding}");
    model.fail_with(None);
    let stuck = engine(&FakeModel::saying(bytes("x")), 64);
    let finding = stuck.self_test(true).unwrap_err().to_string();
    assert!(finding.contains("16 times on end"), "{finding}");
    assert!(finding.contains("fetch it again"), "{finding}");
}
