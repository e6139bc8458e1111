use std::path::Path;
use std::{fs, io};

use serde_json::Value;

use super::sentencepiece_file::{self, SENTENCEPIECE};
use super::{Vocabulary, literal_token};
use crate::decode::Decoding;
use crate::error::TextError;
use crate::guard::catch;

pub(super) const TOKENIZER: &str = "tokenizer.json";
pub(super) const CONFIG: &str = "tokenizer_config.json";
const ADDED_TOKENS: &str = "added_tokens.json";
pub(super) const SPECIAL_TOKENS: &str = "special_tokens_map.json";

/// Keys of `tokenizer_config.json` that name special tokens.
const SPECIAL_TOKEN_KEYS: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// The largest vocabularies of published models take some 30 MB.
const MAX_FILE_BYTES: u64 = 256 << 20;

pub(super) fn load(folder: &Path) -> Result<Vocabulary, TextError> {
    let config = optional_json(folder, CONFIG)?.unwrap_or_default();
    let bytes = tokenizer_json(folder, &config)?;
    let special_tokens = optional_json(folder, SPECIAL_TOKENS)?.unwrap_or_default();
    let mut pipeline = catch(|| tokenizers::Tokenizer::from_bytes(&bytes))
        .and_then(|result| result.map_err(|error| error.to_string()))
        .map_err(invalid)?;
    drop(bytes);
    // Limits of training: a prompt is neither cut nor padded.
    pipeline.with_padding(None);
    pipeline
        .with_truncation(None)
        .map_err(|error| invalid(error.to_string()))?;
    check_post_processor(&pipeline)?;
    add_named_special_tokens(&mut pipeline, &[&config, &special_tokens])?;
    let named = |key| {
        [&config, &special_tokens]
            .into_iter()
            .find_map(|file| token_content(file.get(key)?))
            .and_then(|token| pipeline.token_to_id(token))
    };
    Ok(Vocabulary {
        decoding: Decoding::from_json(&to_json(&pipeline.get_decoder())?)?,
        clean_up: config["clean_up_tokenization_spaces"] == Value::Bool(true),
        bos: named("bos_token"),
        eos: named("eos_token"),
        pipeline,
    })
}

/// The bytes of `tokenizer.json`, or what they would be where a folder has SentencePiece's file only.
pub(super) fn tokenizer_json(folder: &Path, config: &Value) -> Result<Vec<u8>, TextError> {
    let (json, pieces) = (folder.join(TOKENIZER), folder.join(SENTENCEPIECE));
    if json.exists() || !pieces.exists() {
        return read(&json);
    }
    let added = optional_json(folder, ADDED_TOKENS)?.unwrap_or_default();
    let spec = sentencepiece_file::read(&read(&pieces)?, config, &added)?;
    spec.to_tokenizer_json().map(String::into_bytes)
}

/// The text of a token that a JSON file names as a string or as an object with `content`.
pub(crate) fn token_content(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

/// Reads a JSON file of a model folder; `None` when there is none.
pub(crate) fn optional_json(folder: &Path, file: &'static str) -> Result<Option<Value>, TextError> {
    let path = folder.join(file);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = read(&path)?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| TextError::File {
            file,
            reason: error.to_string(),
        })
}

/// Reads a regular file: opening a pipe would wait for a writer, and a device may never end.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TextError> {
    let read = || {
        let file = fs::metadata(path)?;
        if !file.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        if file.len() > MAX_FILE_BYTES {
            return Err(io::Error::other(format!(
                "{} bytes is too large",
                file.len()
            )));
        }
        fs::read(path)
    };
    read().map_err(|source| TextError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Every special token of a template must be defined there: the `tokenizers` crate panics on others while encoding.
fn check_post_processor(pipeline: &tokenizers::Tokenizer) -> Result<(), TextError> {
    let post_processor = to_json(&pipeline.get_post_processor())?;
    let steps = match post_processor["processors"].as_array() {
        Some(steps) => steps.as_slice(),
        None => std::slice::from_ref(&post_processor),
    };
    for step in steps {
        let pieces = ["single", "pair"]
            .into_iter()
            .filter_map(|template| step[template].as_array())
            .flatten();
        for name in pieces.filter_map(|piece| piece["SpecialToken"]["id"].as_str()) {
            if step["special_tokens"].get(name).is_none() {
                return Err(invalid(format!(
                    "the post-processor names the special token {name:?}, which it does not define"
                )));
            }
        }
    }
    Ok(())
}

/// Makes the tokens that the configuration files name special, as transformers does, where the vocabulary has them.
fn add_named_special_tokens(
    pipeline: &mut tokenizers::Tokenizer,
    files: &[&Value],
) -> Result<(), TextError> {
    let added = pipeline.get_added_vocabulary();
    let tokens: Vec<_> = files
        .iter()
        .flat_map(|file| named_special_tokens(file))
        .filter(|token| !token.is_empty() && !added.get_vocab().contains_key(*token))
        .filter(|token| pipeline.token_to_id(token).is_some())
        .map(|token| literal_token(token, true))
        .collect();
    if !tokens.is_empty() {
        pipeline
            .add_special_tokens(tokens)
            .map_err(|error| invalid(error.to_string()))?;
    }
    Ok(())
}

pub(super) fn named_special_tokens(file: &Value) -> impl Iterator<Item = &str> {
    let additional = file["additional_special_tokens"].as_array();
    SPECIAL_TOKEN_KEYS
        .into_iter()
        .filter_map(|key| file.get(key))
        .chain(additional.into_iter().flatten())
        .filter_map(token_content)
}

fn to_json(part: &impl serde::Serialize) -> Result<Value, TextError> {
    serde_json::to_value(part).map_err(|error| invalid(error.to_string()))
}

pub(super) fn invalid(reason: impl Into<String>) -> TextError {
    TextError::File {
        file: TOKENIZER,
        reason: reason.into(),
    }
}
