//! A limit on keys and values that engines share.

use super::fake::{FakeModel, bytes, cache_block_bytes, engine_with, greedy};
use crate::config::EngineConfig;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::{GenerateRequest, KvBudget};

fn engine(budget: &KvBudget) -> Engine {
    let config = EngineConfig {
        kv_budget: budget.clone(),
        ..EngineConfig::default()
    };
    engine_with(&FakeModel::saying(bytes("abcdefg")), None, &config)
}

/// About so many blocks of 64 positions.
fn request(text: &str, blocks: usize) -> GenerateRequest {
    GenerateRequest {
        ignore_eos: true,
        ..greedy(text, blocks * 64 - 10)
    }
}

fn run(engine: &Engine, request: GenerateRequest) -> Result<usize, EngineError> {
    let (_, completion) = engine.generate(request)?.collect_blocking()?;
    Ok(completion.token_ids.len())
}

#[test]
fn a_request_that_outgrows_the_budget_ends_with_the_numbers() {
    let budget = KvBudget::default();
    let engine = engine(&budget);
    budget.set_limit(2 * cache_block_bytes());
    assert_eq!(run(&engine, request("a", 2)).unwrap(), 118);
    match run(&engine, request("b", 5)) {
        Err(EngineError::KvOverBudget { used, limit }) => {
            assert!(
                used > limit && used <= limit + 2 * cache_block_bytes(),
                "{used} of {limit}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(
        budget.used() <= budget.limit(),
        "what it had taken was given back"
    );
    assert_eq!(
        run(&engine, request("c", 2)).unwrap(),
        118,
        "the engine goes on"
    );
}

#[test]
fn what_is_kept_of_finished_requests_makes_room_also_in_other_engines() {
    let budget = KvBudget::default();
    let (first, second) = (engine(&budget), engine(&budget));
    budget.set_limit(4 * cache_block_bytes());
    for text in ["a", "b", "c", "d", "e", "f"] {
        assert!(run(&first, request(text, 2)).is_ok(), "{text}");
    }
    assert_eq!(run(&second, request("x", 3)).unwrap(), 182);
    drop(first);
    drop(second);
    assert_eq!(budget.used(), 0);
}

#[test]
fn requests_wait_where_the_budget_is_nearly_full_and_all_are_served() {
    let budget = KvBudget::default();
    let engine = engine(&budget);
    budget.set_limit(4 * cache_block_bytes());
    let texts = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let answers: Vec<_> = texts
        .map(|text| engine.generate(request(text, 1)).unwrap())
        .into();
    for answer in answers {
        assert_eq!(answer.collect_blocking().unwrap().1.token_ids.len(), 54);
    }
}

#[test]
fn a_request_waits_for_a_reader_who_is_only_slow() {
    let budget = KvBudget::default();
    let engine = engine(&budget);
    budget.set_limit(4 * cache_block_bytes());
    assert!(
        run(&engine, request("x", 1)).is_ok(),
        "to know what a block takes"
    );
    let slow = engine.generate(request("a", 4)).unwrap();
    let next = engine.generate(request("b", 3)).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(slow.collect_blocking().unwrap().1.token_ids.len(), 246);
    assert_eq!(next.collect_blocking().unwrap().1.token_ids.len(), 182);
}

#[test]
fn a_request_does_not_wait_for_ever_for_one_who_does_not_read() {
    let budget = KvBudget::default();
    let engine = engine(&budget);
    budget.set_limit(4 * cache_block_bytes());
    assert!(
        run(&engine, request("x", 1)).is_ok(),
        "to know what a block takes"
    );
    let unread = engine.generate(request("a", 4)).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(run(&engine, request("b", 1)).unwrap(), 54);
    drop(unread);
}
