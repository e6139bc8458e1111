//! Texts to vectors: how passes are filled, what is refused, and how the work is stopped.

use super::fake::{FakeModel, Fault, bytes, engine};
use crate::error::EngineError;

#[test]
fn a_pass_takes_in_as_many_texts_as_its_tokens_allow() {
    let model = FakeModel::saying(bytes("x"));
    let engine = engine(&model, 256);
    // With the token before every text: 31, 31, 101 and 2 tokens.
    let texts = [
        "a".repeat(30),
        "b".repeat(30),
        "c".repeat(100),
        "d".to_owned(),
    ];
    let vectors = engine.embed(&texts).unwrap().wait().unwrap();
    assert_eq!(model.passes(), [vec![31, 31, 2], vec![64], vec![35, 2]]);
    for (text, vector) in texts.iter().zip(&vectors) {
        let alone = engine.embed(&[text]).unwrap().wait().unwrap();
        assert_eq!(&alone[0], vector, "{text}");
        let length: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        assert!((length - 1.0).abs() < 1e-6, "{text}: {length}");
    }
}

#[test]
fn no_texts_give_no_vectors() {
    let engine = engine(&FakeModel::saying(bytes("x")), 16);
    let none: [&str; 0] = [];
    assert!(engine.embed(&none).unwrap().wait().unwrap().is_empty());
}

#[test]
fn a_text_beyond_the_context_is_named_by_its_position() {
    let engine = engine(&FakeModel::saying(bytes("x")), 16);
    let error = engine
        .embed(&["ok", &"a".repeat(16)])
        .map(drop)
        .unwrap_err();
    assert!(error.to_string().starts_with("text 1: "), "{error}");
    let EngineError::InText { index: 1, source } = error else {
        panic!("{error:?}");
    };
    assert!(matches!(
        *source,
        EngineError::ContextOverflow {
            prompt_tokens: 17,
            context_size: 16
        }
    ));
}

#[test]
fn a_cancelled_job_stops_after_the_pass_under_way() {
    let model = FakeModel::saying(bytes("x"));
    let engine = engine(&model, 256);
    model.allow(1);
    let texts: Vec<String> = (0..10).map(|_| "a".repeat(200)).collect();
    let task = engine.embed(&texts).unwrap();
    model.wait_for_pass(2);
    task.handle().cancel();
    model.allow_all();
    assert!(matches!(task.wait(), Err(EngineError::Cancelled)));
    // What follows begins at once.
    engine.embed(&["b"]).unwrap().wait().unwrap();
    assert!(model.passes().len() <= 4, "{:?}", model.passes());
}

#[test]
fn vectors_that_are_not_numbers_are_an_error() {
    let model = FakeModel::saying(bytes("x"));
    let engine = engine(&model, 64);
    model.fail_with(Fault::NotANumber);
    let error = engine.embed(&["a"]).unwrap().wait().unwrap_err();
    assert!(matches!(error, EngineError::NonFiniteLogits), "{error}");
}
