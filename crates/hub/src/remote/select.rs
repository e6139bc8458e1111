//! Which files of a repository are needed to load it.

use std::path::Path;

use super::manifest::Manifest;
use crate::error::HubError;
use crate::folder::{self, CONFIG, Choice, INDEX, SENTENCEPIECE, SINGLE_FILE, TOKENIZER, Wanted};

/// Files beside the weights that are read where they are there.
const OPTIONAL: [&str; 8] = [
    "generation_config.json",
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
];
/// How many names a message lists.
const MAX_NAMES: usize = 12;

/// What is to be fetched, in this order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Small files, the tokenizer first.
    pub(crate) settings: Vec<String>,
    /// One file of weights, or the index that lists them.
    pub(crate) weights: Weights,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Weights {
    /// A GGUF file: it is the model.
    Gguf(String),
    /// Safetensors in one file.
    Single(String),
    /// Safetensors in the shards that this index lists.
    Sharded(String),
}

/// Chooses as the folder of a model is chosen from.
pub(crate) fn select(
    manifest: &Manifest,
    file: Option<&str>,
    quant_type: Option<&str>,
    may_convert: bool,
) -> Result<Selection, HubError> {
    let paths: Vec<&str> = manifest.paths().collect();
    if let Some(file) = file {
        return match paths.contains(&file) {
            true => Ok(only(file)),
            false => Err(nothing(manifest, format!("there is no file {file}"))),
        };
    }
    let with = |extension: &str| -> Vec<String> {
        let is = |path: &&&str| {
            let found = Path::new(path).extension();
            !path.contains('/') && found.is_some_and(|found| found.eq_ignore_ascii_case(extension))
        };
        paths
            .iter()
            .filter(is)
            .map(|&path| path.to_owned())
            .collect()
    };
    let (gguf, safetensors) = (with("gguf"), with("safetensors"));
    let has_hugging_face = paths.contains(&CONFIG) && !safetensors.is_empty();
    let wanted = Wanted::new(quant_type, may_convert);
    match folder::choose(&gguf, has_hugging_face, wanted) {
        Some(Choice::Gguf(name)) => Ok(only(name)),
        Some(Choice::HuggingFace) => hugging_face(manifest, &paths, &safetensors),
        None => Err(nothing(manifest, missing(&gguf, quant_type))),
    }
}

fn only(gguf: &str) -> Selection {
    Selection {
        settings: Vec::new(),
        weights: Weights::Gguf(gguf.to_owned()),
    }
}

fn hugging_face(
    manifest: &Manifest,
    paths: &[&str],
    safetensors: &[String],
) -> Result<Selection, HubError> {
    let Some(tokenizer) = [TOKENIZER, SENTENCEPIECE]
        .into_iter()
        .find(|name| paths.contains(name))
    else {
        return Err(nothing(
            manifest,
            format!("there is no {TOKENIZER} and no {SENTENCEPIECE}"),
        ));
    };
    let weights = if paths.contains(&SINGLE_FILE) {
        Weights::Single(SINGLE_FILE.to_owned())
    } else if paths.contains(&INDEX) {
        Weights::Sharded(INDEX.to_owned())
    } else if let [only] = safetensors {
        Weights::Single(only.clone())
    } else {
        return Err(nothing(
            manifest,
            format!("several .safetensors files and no {INDEX}"),
        ));
    };
    let is_module = |path: &&str| paths.contains(&"modules.json") && is_module_file(path);
    let optional = OPTIONAL.into_iter().filter(|name| paths.contains(name));
    let modules = paths.iter().copied().filter(is_module);
    let settings = std::iter::once(tokenizer)
        .chain(optional)
        .chain(modules)
        .chain([CONFIG]);
    Ok(Selection {
        settings: settings.map(str::to_owned).collect(),
        weights,
    })
}

/// Files of sentence-transformers modules: `1_Pooling/config.json`, `2_Dense/model.safetensors`.
fn is_module_file(path: &str) -> bool {
    let Some((folder, file)) = path.split_once('/') else {
        return false;
    };
    let is_numbered = folder
        .split_once('_')
        .is_some_and(|(number, _)| number.parse::<u8>().is_ok());
    is_numbered && (file == CONFIG || file == SINGLE_FILE)
}

fn missing(gguf: &[String], quant_type: Option<&str>) -> String {
    match (quant_type, gguf) {
        (Some(quant_type), _) => format!("there are no weights of the type {quant_type}"),
        (None, []) => format!("there is neither a GGUF file nor {CONFIG} with .safetensors files"),
        (None, _) => "there are several GGUF files; name one as owner/name/file.gguf".to_owned(),
    }
}

/// The names of weights and configuration before the others.
pub(crate) fn nothing(manifest: &Manifest, problem: String) -> HubError {
    let mut present: Vec<String> = manifest.paths().map(str::to_owned).collect();
    let rank = |path: &str| {
        let endings = [".gguf", ".safetensors", ".json"];
        endings
            .iter()
            .position(|ending| path.ends_with(ending))
            .unwrap_or(endings.len())
    };
    present.sort_by_key(|path| rank(path));
    if present.len() > MAX_NAMES {
        let more = present.len() - MAX_NAMES;
        present.truncate(MAX_NAMES);
        present.push(format!("and {more} more"));
    }
    HubError::NothingToLoad {
        repo: manifest.repo.clone(),
        problem,
        present,
    }
}
