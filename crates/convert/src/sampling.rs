//! The sampling that a model recommends: generation_config.json of folders, `general.sampling.*` of GGUF.

use llm_format::{Gguf, HfFolder, Value};
use serde_json::{Map, Value as Json, json};

const TEMPERATURE: &str = "general.sampling.temp";
const TOP_K: &str = "general.sampling.top_k";
const TOP_P: &str = "general.sampling.top_p";

/// The keys of what a folder recommends.
pub(crate) fn pairs(folder: &HfFolder) -> Vec<(String, Value)> {
    let config = folder.generation_config();
    let get = |key: &str| config.and_then(|config| config.get(key));
    let number = |key: &str| get(key).and_then(Json::as_f64);
    let is_greedy = get("do_sample") == Some(&json!(false));
    let temperature = if is_greedy {
        Some(0.0)
    } else {
        number("temperature")
    };
    let top_k = get("top_k").and_then(|k| i32::try_from(k.as_u64()?).ok());
    let all = [
        (TEMPERATURE, temperature.map(|n| Value::F32(n as f32))),
        (TOP_K, top_k.map(Value::I32)),
        (TOP_P, number("top_p").map(|n| Value::F32(n as f32))),
    ];
    let given = all.into_iter();
    given
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
}

/// The same in the terms of generation_config.json.
pub(crate) fn settings(gguf: &Gguf) -> Map<String, Json> {
    let number = |key: &str| match gguf.metadata().get(key)? {
        // The shortest decimal: 0.9 comes back as it was.
        Value::F32(n) => n.to_string().parse::<f64>().ok(),
        other => other.as_f64(),
    };
    let mut settings = Map::new();
    match number(TEMPERATURE) {
        Some(0.0) => drop(settings.insert("do_sample".to_owned(), json!(false))),
        Some(temperature) => {
            settings.insert("do_sample".to_owned(), json!(true));
            settings.insert("temperature".to_owned(), json!(temperature));
        }
        None => {}
    }
    if let Some(top_k) = gguf.metadata().get(TOP_K).and_then(Value::as_u64) {
        settings.insert("top_k".to_owned(), json!(top_k));
    }
    if let Some(top_p) = number(TOP_P) {
        settings.insert("top_p".to_owned(), json!(top_p));
    }
    settings
}
