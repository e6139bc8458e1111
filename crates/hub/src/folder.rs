//! Which file of a folder is the model.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const TOKENIZER: &str = "tokenizer.json";
/// The same of SentencePiece, in older folders.
pub(crate) const SENTENCEPIECE: &str = "tokenizer.model";
/// The weights, when they are one file.
pub(crate) const SINGLE_FILE: &str = "model.safetensors";
/// Which shard holds what, when the weights are several files.
pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// What bitnet.cpp writes when nothing else is asked for.
const DEFAULT_QUANT_TYPE: &str = "i2_s";
/// What to load of several files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice<'a> {
    /// This GGUF file.
    Gguf(&'a str),
    /// The Hugging Face weights.
    HuggingFace,
}

/// Which weights are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted<'a> {
    /// Those that serve best: a GGUF file of the usual type, or the only one, else the Hugging Face weights.
    Any,
    /// A GGUF file of this type.
    Type(&'a str),
    /// The same, else the Hugging Face weights, else any GGUF file: what the type can be made of.
    MadeInto(&'a str),
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(quant_type: Option<&'a str>, may_convert: bool) -> Self {
        match quant_type {
            None => Self::Any,
            Some(quant_type) if may_convert => Self::MadeInto(quant_type),
            Some(quant_type) => Self::Type(quant_type),
        }
    }
}

/// What is wanted among the GGUF files and the Hugging Face weights of a folder.
pub(crate) fn choose<'a>(
    gguf: &'a [String],
    has_hugging_face: bool,
    wanted: Wanted<'_>,
) -> Option<Choice<'a>> {
    let of_type = |name| of_type(gguf, name).map(|name| Choice::Gguf(name));
    let only = match gguf {
        [only] => Some(Choice::Gguf(only)),
        _ => None,
    };
    let any = || of_type(DEFAULT_QUANT_TYPE).or(only);
    let hugging_face = has_hugging_face.then_some(Choice::HuggingFace);
    match wanted {
        Wanted::Any => any().or(hugging_face),
        Wanted::Type(name) => of_type(name),
        Wanted::MadeInto(name) => of_type(name).or(hugging_face).or_else(any),
    }
}

/// What is wanted of `folder`: one of its GGUF files, or the folder itself when it is its Hugging Face weights (`config.json`
/// beside `.safetensors` files).
pub(crate) fn pick(folder: &Path, wanted: Wanted<'_>) -> Option<PathBuf> {
    let names = names_with_extension(folder, "gguf");
    match choose(&names, has_hugging_face_weights(folder), wanted)? {
        Choice::Gguf(name) => Some(folder.join(name)),
        Choice::HuggingFace => Some(folder.to_owned()),
    }
}

/// Whether the Hugging Face weights of a folder are all there: a download may have been stopped.
pub(crate) fn is_complete(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    let has_tokenizer = has(TOKENIZER) || has(SENTENCEPIECE);
    let Ok(index) = fs::read(folder.join(INDEX)) else {
        return has_tokenizer;
    };
    let shards = shards(&index).unwrap_or_default();
    has_tokenizer && (has(SINGLE_FILE) || shards.iter().all(|shard| has(shard)))
}

/// The shards that an index lists, sorted; `None` when it is none or when one has a name that leads out of the folder.
pub(crate) fn shards(index: &[u8]) -> Option<BTreeSet<String>> {
    let index: ShardIndex = serde_json::from_slice(index).ok()?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    let are_files = shards
        .iter()
        .all(|name| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', ':']));
    (are_files && !shards.is_empty()).then_some(shards)
}

#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

/// Whether there is a model of any type.
pub(crate) fn holds_model(folder: &Path) -> bool {
    has_hugging_face_weights(folder) || !names_with_extension(folder, "gguf").is_empty()
}

/// Names of the files in `folder` that end in `.extension`, sorted; none when it cannot be read.
pub(crate) fn names_with_extension(folder: &Path, extension: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| {
            Path::new(name)
                .extension()
                .is_some_and(|found| found.eq_ignore_ascii_case(extension))
        })
        .collect();
    names.sort();
    names
}

/// A cache that was filled for its configuration only does not count.
fn has_hugging_face_weights(folder: &Path) -> bool {
    folder.join(CONFIG).is_file() && !names_with_extension(folder, "safetensors").is_empty()
}

/// `ggml-model-<type>.gguf`, else the only file with the type in its name.
fn of_type<'a>(names: &'a [String], quant_type: &str) -> Option<&'a String> {
    let plain = format!("ggml-model-{quant_type}.gguf");
    if let Some(name) = names.iter().find(|name| same(name, &plain)) {
        return Some(name);
    }
    let mut named = names.iter().filter(|name| mentions(name, quant_type));
    named.next().filter(|_| named.next().is_none())
}

/// Whether a file name ends in the type, as in `falcon3-7b.i2_s.gguf` or `model-Q4_K_M.gguf`.
fn mentions(name: &str, quant_type: &str) -> bool {
    let stem = name.to_ascii_lowercase();
    let stem = stem.strip_suffix(".gguf").unwrap_or(&stem);
    stem.strip_suffix(&quant_type.to_ascii_lowercase())
        .is_some_and(|rest| rest.is_empty() || rest.ends_with(['-', '.', '_']))
}

fn same(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right)
}
