//! Conversations that go on in another engine.

use std::fs;

use super::fake::{FakeModel, bytes, engine, greedy};
use crate::engine::Engine;
use crate::request::Prompt;

fn text(text: &str) -> Prompt {
    Prompt::Text {
        text: text.to_owned(),
        raw: true,
    }
}

/// What of the prompt an engine need not compute.
fn cached(engine: &Engine, prompt: &str) -> usize {
    let answer = engine.generate(greedy(prompt, 4)).unwrap();
    answer.collect_blocking().unwrap().1.usage.cached_tokens
}

#[test]
fn a_conversation_goes_on_where_it_ended_in_another_engine() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.kv");
    let model = FakeModel::saying(bytes("abc"));
    let long = "x".repeat(150);
    let first = engine(&model, 512);
    assert_eq!(first.save_prefix(text(&long), &path).unwrap(), 0);
    assert!(!path.exists(), "nothing is kept yet");
    cached(&first, &long);
    assert_eq!(first.save_prefix(text(&long), &path).unwrap(), 151);

    let second = engine(&model, 512);
    assert_eq!(second.load_prefix(&path).unwrap(), 151);
    assert_eq!(cached(&second, &format!("{long} and on")), 151);
    let again = folder.path().join("again.kv");
    let third = engine(&model, 512);
    third.load_prefix(&path).unwrap();
    third.save_prefix(text(&long), &again).unwrap();
    assert!(
        fs::read(&path).unwrap() == fs::read(&again).unwrap(),
        "bit for bit"
    );
    assert_eq!(
        engine(&model, 100).load_prefix(&path).unwrap(),
        0,
        "too long for the context"
    );
}

#[test]
fn what_is_damaged_is_recomputed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.kv");
    let model = FakeModel::saying(bytes("abc"));
    let first = engine(&model, 512);
    cached(&first, "hello there");
    assert!(first.save_prefix(text("hello there"), &path).unwrap() > 0);
    let whole = fs::read(&path).unwrap();
    let damaged = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let cut = |n: usize| whole[..n].to_vec();
    let middle = whole.len() / 2;
    for bytes in [
        damaged(0),
        damaged(9),
        damaged(13),
        damaged(25),
        damaged(30),
        damaged(middle),
        damaged(whole.len() - 1),
        cut(0),
        cut(30),
        cut(middle),
        cut(whole.len() - 1),
    ] {
        fs::write(&path, bytes).unwrap();
        assert_eq!(first.load_prefix(&path).unwrap(), 0);
    }
    assert_eq!(first.load_prefix(&folder.path().join("none")).unwrap(), 0);
    assert!(
        first
            .save_prefix(text("hello there"), &folder.path().join("no/folder"))
            .is_err()
    );
}
