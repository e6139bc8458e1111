//! GGUF files. For a quantised BitNet two readings exist: float activations over dequantised weights, or int8
//! activations; a file must meet one of them.

use std::path::PathBuf;

use llm_engine::{Engine, Isa};
use serde_json::Value;

use crate::support::{
    argmax, assert_none, best_id, continue_greedily, distance, ids, list, number, open, path,
    read_json, text,
};

/// Embedding models are not for generating text.
const EMBEDDING_MODELS: [&str; 2] = ["qwen3-embed", "gemma3-embed"];

/// With int8 activations: how many of the prompts must be within their tolerance, and how far off any may be.
const SHARE_WITHIN: f64 = 0.6;
const ALL_WITHIN: f64 = 1.5;

/// Goldens and model file of every GGUF file for text.
fn files() -> Vec<(Value, PathBuf)> {
    let folder = path("testdata/oracle/gguf");
    let mut files: Vec<(Value, PathBuf)> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".goldens.json"))
        .map(|path| read_json(&path))
        .filter(|goldens| !EMBEDDING_MODELS.contains(&text(&goldens["model"])))
        .map(|goldens| {
            let file = folder.join(text(&goldens["file"]));
            (goldens, file)
        })
        .collect();
    files.sort_by(|a, b| a.1.cmp(&b.1));
    assert_eq!(files.len(), 17);
    files
}

/// What the logits miss of the rules of `mode`.
fn complaints(engine: &Engine, goldens: &Value, mode: &str) -> Vec<String> {
    let sample_positions = ids(&goldens["sample_positions"]);
    let (mut within, mut found) = (0, Vec::new());
    let prompts = list(&goldens["modes"][mode]);
    for prompt in prompts {
        let row = engine
            .forward(&ids(&prompt["ids"]), false)
            .unwrap()
            .wait()
            .unwrap();
        let (golden, tol) = (&prompt["logits"], number(&prompt["tol"]));
        let off = distance(&row, golden, &sample_positions);
        within += usize::from(off <= tol);
        let best = best_id(golden);
        let limit = if mode == "f32" { tol } else { ALL_WITHIN };
        if off > limit
            || mode == "f32" && number(&golden["margin"]) > 2.0 * tol && argmax(&row) != best
        {
            found.push(format!("{mode}, {}: off by {off}", prompt["id"]));
        }
    }
    if (within as f64) < SHARE_WITHIN * prompts.len() as f64 {
        found.push(format!(
            "{mode}: only {within} of {} within their tolerance",
            prompts.len()
        ));
    }
    found
}

#[test]
fn every_file_meets_one_of_its_readings() {
    let mut failed = Vec::new();
    for (goldens, file) in files() {
        let engine = open(&file, Isa::best(), 2);
        let modes = goldens["modes"].as_object().unwrap().keys();
        let results: Vec<Vec<String>> = modes
            .map(|mode| complaints(&engine, &goldens, mode))
            .collect();
        if results.iter().all(|complaints| !complaints.is_empty()) {
            failed.push(format!(
                "{}: {}",
                goldens["file"],
                results.concat().join("; ")
            ));
        }
    }
    assert_none(&failed);
}

#[test]
fn vocabularies_in_gguf_give_the_tokens_of_the_folder() {
    let mut failed = Vec::new();
    for (goldens, file) in files() {
        let model = text(&goldens["model"]);
        let engine = open(&file, Isa::best(), 1);
        let folder = read_json(&path(&format!(
            "testdata/oracle/models/{model}/goldens.json"
        )));
        // NFC normalisation has no place in GGUF.
        let comparable = |text: &str| model != "llama-fp16" || text.is_ascii();
        for case in list(&folder["tokenizer"]) {
            let found = engine.tokenize(text(&case["text"]), true).unwrap();
            if comparable(text(&case["text"])) && found != ids(&case["ids"]) {
                failed.push(format!("{}: {}: {found:?}", goldens["file"], case["text"]));
            }
        }
    }
    assert_none(&failed);
}

#[test]
fn every_instruction_set_and_thread_count_continues_alike() {
    let mut failed = Vec::new();
    for (goldens, file) in files() {
        let mut reference = None;
        for isa in Isa::available() {
            for threads in [1, 2] {
                let engine = open(&file, isa, threads);
                let modes = goldens["modes"].as_object().unwrap();
                let prompts = list(modes.values().next().unwrap());
                let answers: Vec<Vec<u32>> = prompts
                    .iter()
                    .map(|prompt| {
                        continue_greedily(&engine, ids(&prompt["ids"]), 16)
                            .1
                            .token_ids
                    })
                    .collect();
                let reference = reference.get_or_insert_with(|| answers.clone());
                if *reference != answers {
                    failed.push(format!("{}: {isa}, {threads} threads", goldens["file"]));
                }
            }
        }
    }
    assert_none(&failed);
}
