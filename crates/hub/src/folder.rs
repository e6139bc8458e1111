//! Which file of a folder is the model.

use std::fs;
use std::path::{Path, PathBuf};

/// What bitnet.cpp writes when nothing else is asked for.
const DEFAULT_QUANT_TYPE: &str = "i2_s";
/// Types that Hugging Face weights stand in for: the same ternary values, packed at load.
const TERNARY_QUANT_TYPES: [&str; 3] = ["i2_s", "tl1", "tl2"];

/// The GGUF file of the wanted type in `folder`, or the folder itself when it holds Hugging Face
/// weights (`config.json` beside `.safetensors` files).
pub(crate) fn pick(folder: &Path, quant_type: Option<&str>) -> Option<PathBuf> {
    let names = names_with_extension(folder, "gguf");
    let file = match quant_type {
        Some(quant_type) => of_type(&names, quant_type),
        None => of_type(&names, DEFAULT_QUANT_TYPE).or(match names.as_slice() {
            [only] => Some(only),
            _ => None,
        }),
    };
    let is_wanted =
        quant_type.is_none_or(|wanted| TERNARY_QUANT_TYPES.iter().any(|t| same(t, wanted)));
    match file {
        Some(name) => Some(folder.join(name)),
        None if is_wanted && has_hugging_face_weights(folder) => Some(folder.to_owned()),
        None => None,
    }
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
    folder.join("config.json").is_file() && !names_with_extension(folder, "safetensors").is_empty()
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
