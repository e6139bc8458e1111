//! The oracle's files and what several test binaries do with them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Models with goldens, by folder name.
pub(crate) const MODELS: [&str; 10] = [
    "bitnet-2b4t",
    "bitnet-2b4t-bf16",
    "bitnet-2b4t-bf16-packed",
    "bitnet158-legacy",
    "falcon3-158",
    "gemma3-embed",
    "llama-bf16-sharded",
    "llama-fp16",
    "llama3-158",
    "qwen3-embed",
];

pub(crate) fn oracle(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/oracle")
        .join(path)
}

pub(crate) fn model(name: &str) -> PathBuf {
    oracle("models").join(name)
}

pub(crate) fn json(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn goldens(model_name: &str) -> Value {
    json(&model(model_name).join("goldens.json"))
}

/// The entries of an array, none if it is null.
pub(crate) fn entries(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(crate) fn ids(value: &Value) -> Vec<u32> {
    entries(value)
        .iter()
        .map(|id| u32::try_from(id.as_u64().expect("an id")).expect("an id"))
        .collect()
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

/// Lists what went wrong, all of it.
pub(crate) fn report(failures: &[String]) {
    assert!(
        failures.is_empty(),
        "{} failed:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
