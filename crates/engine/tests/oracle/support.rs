//! Reading goldens, and what all checks need.

use std::path::{Path, PathBuf};

use llm_engine::{Completion, Engine, EngineConfig, GenerateRequest, Isa, Prompt, SamplingOptions};
use serde_json::Value;

/// A path from the root of the repository.
pub(crate) fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(relative)
}

pub(crate) fn read_json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

pub(crate) fn open(path: &Path, isa: Isa, threads: usize) -> Engine {
    let config = EngineConfig {
        isa: Some(isa),
        threads: Some(threads),
        ..EngineConfig::default()
    };
    Engine::open(path, &config, &mut |_| {}).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn ids(value: &Value) -> Vec<u32> {
    list(value)
        .iter()
        .map(|id| id.as_u64().unwrap() as u32)
        .collect()
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// The id of the highest logit; of equal ones the lowest.
pub(crate) fn argmax(row: &[f32]) -> u32 {
    let best = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter().position(|&logit| logit == best).unwrap() as u32
}

/// `n` greedy tokens after `prompt`, end tokens ignored.
pub(crate) fn continue_greedily(
    engine: &Engine,
    prompt: Vec<u32>,
    n: usize,
) -> (String, Completion) {
    let request = GenerateRequest {
        max_tokens: Some(n),
        sampling: SamplingOptions {
            temperature: Some(0.0),
            ..SamplingOptions::default()
        },
        ignore_eos: true,
        ..GenerateRequest::new(Prompt::Tokens(prompt))
    };
    engine
        .generate(request)
        .unwrap()
        .collect_blocking()
        .unwrap()
}

/// The id of the highest golden logit.
pub(crate) fn best_id(golden: &Value) -> u32 {
    golden["top"][0][0].as_u64().unwrap() as u32
}

/// How far `row` is from the golden logits: the largest difference at the positions that they list.
pub(crate) fn distance(row: &[f32], golden: &Value, sample_positions: &[u32]) -> f64 {
    let top = list(&golden["top"])
        .iter()
        .map(|pair| (pair[0].as_u64().unwrap() as u32, &pair[1]));
    let sample = sample_positions
        .iter()
        .copied()
        .zip(list(&golden["sample"]));
    let off = |(id, value): (u32, &Value)| (f64::from(row[id as usize]) - number(value)).abs();
    top.chain(sample).map(off).fold(0.0, f64::max)
}

/// Fails with all complaints at once.
pub(crate) fn assert_none(complaints: &[String]) {
    assert!(
        complaints.is_empty(),
        "{} complaints:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
}
