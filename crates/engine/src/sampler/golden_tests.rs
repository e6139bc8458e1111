//! The steps against probabilities that transformers computed: testdata/oracle/sampling.

use std::path::Path;

use serde_json::Value;

use super::steps::{Candidates, History, Step};

/// Steps of the golden file that this engine does not offer.
const NOT_OFFERED: [&str; 2] = ["typical_p", "no_repeat_ngram"];

fn goldens() -> Value {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/oracle/sampling/goldens.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn logits(values: &Value) -> Vec<f32> {
    let number = |v: &Value| v.as_f64().map_or(f32::NEG_INFINITY, |v| v as f32);
    values.as_array().unwrap().iter().map(number).collect()
}

/// `None` when the step is not offered.
fn step(of: &Value) -> Option<Step> {
    let (name, value) = (of[0].as_str().unwrap(), &of[1]);
    let number = || value.as_f64().unwrap();
    Some(match name {
        "repetition_penalty" => Step::RepetitionPenalty(number() as f32),
        "frequency_presence_penalty" => Step::FrequencyPresence {
            frequency: value[0].as_f64().unwrap() as f32,
            presence: value[1].as_f64().unwrap() as f32,
        },
        "temperature" => Step::Temperature(number() as f32),
        "top_k" => Step::TopK(number() as usize),
        "top_p" => Step::TopP(number()),
        "min_p" => Step::MinP(number()),
        other => {
            assert!(NOT_OFFERED.contains(&other), "unknown step {other}");
            return None;
        }
    })
}

/// Ids with a probability of at least 1e-9, by id.
fn run(logits: &[f32], chain: &[Step], case: &Value) -> Vec<(u32, f64)> {
    // The file's history makes no difference between prompt and answer, so all of it counts as generated.
    let mut history = History::default();
    for id in case["history"].as_array().unwrap() {
        history.push(id.as_u64().unwrap() as u32);
    }
    let mut candidates = Candidates::default();
    candidates.reset((0..).zip(logits.iter().copied()));
    for &step in chain {
        candidates.apply(step, &history);
    }
    let mut kept = candidates.probabilities();
    kept.retain(|&(_, p)| p >= 1e-9);
    kept.sort_unstable_by_key(|&(id, _)| id);
    kept
}

fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= f64::max(2e-6, 2e-4 * expected)
}

/// What is wrong with `kept`, by the acceptance rules of the golden file.
fn complaint(kept: &[(u32, f64)], case: &Value) -> Option<String> {
    let pairs = |key: &str| -> Option<Vec<(u32, f64)>> {
        let list = case[key].as_array()?;
        Some(
            list.iter()
                .map(|p| (p[0].as_u64().unwrap() as u32, p[1].as_f64().unwrap()))
                .collect(),
        )
    };
    let count = case["kept"].as_u64().unwrap() as usize;
    if kept.len() != count {
        return Some(format!("{} ids kept, expected {count}", kept.len()));
    }
    if case["ties"] == Value::Bool(true) {
        // Ids with equal logits may be exchanged: only the probabilities count.
        let mut expected: Vec<f64> = pairs("probs")
            .unwrap()
            .into_iter()
            .map(|(_, p)| p)
            .collect();
        let mut found: Vec<f64> = kept.iter().map(|&(_, p)| p).collect();
        expected.sort_unstable_by(f64::total_cmp);
        found.sort_unstable_by(f64::total_cmp);
        let off = found.iter().zip(&expected).find(|&(&f, &e)| !close(f, e));
        return off.map(|(f, e)| format!("probability {f}, expected {e}"));
    }
    let listed = pairs("probs").unwrap_or_else(|| pairs("top").unwrap());
    listed
        .into_iter()
        .filter(|&(_, expected)| expected > 0.0)
        .find_map(|(id, expected)| {
            let found = kept
                .iter()
                .find(|&&(kept_id, _)| kept_id == id)
                .map(|&(_, p)| p);
            match found {
                None => Some(format!("id {id} is not kept")),
                Some(p) if close(p, expected) => None,
                Some(p) => Some(format!("id {id}: {p}, expected {expected}")),
            }
        })
}

#[test]
fn every_chain_gives_the_reference_probabilities() {
    let goldens = goldens();
    let (mut checked, mut failures) = (0, Vec::new());
    for (i, case) in goldens["cases"].as_array().unwrap().iter().enumerate() {
        let name = case["logits"].as_str().unwrap();
        let chain: Option<Vec<Step>> = case["chain"].as_array().unwrap().iter().map(step).collect();
        let Some(chain) = chain else { continue };
        checked += 1;
        let kept = run(&logits(&goldens["logits"][name]), &chain, case);
        if let Some(what) = complaint(&kept, case) {
            failures.push(format!("case {i}, {name}, {}: {what}", case["chain"]));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {checked}:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(checked > 350, "only {checked} cases were checked");
}
