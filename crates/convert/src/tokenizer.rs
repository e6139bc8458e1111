//! Tokenizers and chat templates between folders and GGUF metadata.

use llm_format::{Array, Gguf, HfFolder, Value};
use llm_text::{TokenizerSpec, gguf_template_override};
use serde_json::{Map, Value as Json, json};

use crate::error::ConvertError;
use crate::sampling;

type Pairs = Vec<(String, Value)>;

const TEMPLATE: &str = "tokenizer.chat_template";

/// The tokenizer keys of a folder's vocabulary and chat template.
pub(crate) fn pairs(
    folder: &HfFolder,
    n_vocab: usize,
    losses: &mut Vec<String>,
) -> Result<Pairs, ConvertError> {
    let vocabulary = TokenizerSpec::from_folder(folder.path(), n_vocab)?;
    losses.extend(vocabulary.losses);
    let spec = vocabulary.spec;
    let eos = spec.eos;
    let text = |text: String| Value::String(text);
    let strings = |items| Value::Array(Array::String(items));
    let all = [
        ("model", Some(text(spec.model))),
        ("pre", spec.pre.map(text)),
        ("tokens", Some(strings(spec.tokens))),
        (
            "scores",
            spec.scores.map(|scores| Value::Array(Array::F32(scores))),
        ),
        (
            "token_type",
            spec.token_types
                .map(|types| Value::Array(Array::I32(types))),
        ),
        ("merges", spec.merges.map(strings)),
        ("bos_token_id", spec.bos.map(Value::U32)),
        ("eos_token_id", eos.map(Value::U32)),
        ("eot_token_id", other_end(folder, eos).map(Value::U32)),
        ("unknown_token_id", spec.unknown.map(Value::U32)),
        ("padding_token_id", vocabulary.padding.map(Value::U32)),
        ("add_bos_token", spec.add_bos.map(Value::Bool)),
        ("add_eos_token", spec.add_eos.map(Value::Bool)),
        ("add_space_prefix", spec.add_space_prefix.map(Value::Bool)),
    ];
    let mut pairs: Pairs = all
        .into_iter()
        .filter_map(|(key, value)| Some((format!("tokenizer.ggml.{key}"), value?)))
        .collect();
    pairs.extend(template_pairs(folder));
    Ok(pairs)
}

/// The first token beside `eos` that the folder's settings name as an end.
fn other_end(folder: &HfFolder, eos: Option<u32>) -> Option<u32> {
    let of = |config: Option<&Json>| match config.and_then(|config| config.get("eos_token_id")) {
        Some(Json::Array(list)) => list.clone(),
        Some(single) => vec![single.clone()],
        None => Vec::new(),
    };
    let ends = [of(folder.generation_config()), of(Some(folder.config()))].concat();
    let ids = ends
        .iter()
        .filter_map(|id| u32::try_from(id.as_u64()?).ok());
    ids.into_iter().find(|&id| Some(id) != eos)
}

/// The chat template, and others by their names.
fn template_pairs(folder: &HfFolder) -> Pairs {
    if let Some(template) = folder.chat_template_jinja() {
        return vec![(TEMPLATE.to_owned(), Value::String(template.to_owned()))];
    }
    let stated = folder
        .tokenizer_config()
        .and_then(|config| config.get("chat_template"));
    match stated {
        Some(Json::String(template)) => {
            vec![(TEMPLATE.to_owned(), Value::String(template.clone()))]
        }
        Some(Json::Array(list)) => {
            let named = list.iter().filter_map(|entry| {
                let (name, template) = (entry["name"].as_str()?, entry["template"].as_str()?);
                let key = match name {
                    "default" => TEMPLATE.to_owned(),
                    other => format!("{TEMPLATE}.{other}"),
                };
                Some((key, Value::String(template.to_owned())))
            });
            named.collect()
        }
        _ => Vec::new(),
    }
}

/// The tokenizer files of a folder, by name, from GGUF metadata.
pub(crate) fn files(gguf: &Gguf) -> Result<Vec<(&'static str, String)>, ConvertError> {
    let metadata = gguf.metadata();
    let spec = TokenizerSpec::from_metadata(metadata)?;
    let token = |id: Option<u32>| spec.tokens.get(usize::try_from(id?).ok()?).cloned();
    let id = |key: &str| -> Result<Option<u32>, ConvertError> {
        let id = metadata.u64(&format!("tokenizer.ggml.{key}"))?;
        Ok(id.and_then(|id| u32::try_from(id).ok()))
    };
    let (padding, end_of_turn) = (id("padding_token_id")?, id("eot_token_id")?);
    let mut config = Map::new();
    let named = [
        ("bos_token", token(spec.bos)),
        ("eos_token", token(spec.eos)),
        ("unk_token", token(spec.unknown)),
        ("pad_token", token(padding)),
    ];
    for (key, token) in named {
        if let Some(token) = token {
            config.insert(key.to_owned(), Json::String(token));
        }
    }
    config.insert("clean_up_tokenization_spaces".to_owned(), json!(false));
    config.insert(
        "tokenizer_class".to_owned(),
        json!("PreTrainedTokenizerFast"),
    );
    if let Some(template) = metadata.str(TEMPLATE)? {
        let template = gguf_template_override(template).unwrap_or(template);
        config.insert("chat_template".to_owned(), json!(template));
    }
    let ends: Vec<u32> = [spec.eos, end_of_turn].into_iter().flatten().collect();
    let mut generation = sampling::settings(gguf);
    if let Some(bos) = spec.bos {
        generation.insert("bos_token_id".to_owned(), json!(bos));
    }
    if !ends.is_empty() {
        generation.insert("eos_token_id".to_owned(), json!(ends));
    }
    Ok(vec![
        ("tokenizer.json", spec.to_tokenizer_json()?),
        ("tokenizer_config.json", pretty(&Json::Object(config))),
        ("generation_config.json", pretty(&Json::Object(generation))),
    ])
}

/// JSON as people read it.
pub(crate) fn pretty(value: &Json) -> String {
    format!("{value:#}\n")
}
