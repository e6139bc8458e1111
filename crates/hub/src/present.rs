//! What is there instead of a model that was not found.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::{SearchPaths, folder, hf_cache, model_name};

/// How many names a message lists.
const MAX_NAMES: usize = 10;

/// Names of models in the search paths and beside a mistyped path, those most similar to `source`
/// first. For a folder that was found but lacks the wanted file, the GGUF files in it.
pub(crate) fn models(source: &str, paths: &SearchPaths) -> Vec<String> {
    let wanted = model_name(source).unwrap_or(source);
    let mut names = BTreeSet::new();
    names.extend(gguf_files(Path::new(source), source));
    names.extend(neighbours(Path::new(source)));
    for dir in &paths.bitnet_dirs {
        let models = dir.join("models");
        names.extend(gguf_files(&models.join(wanted), wanted));
        names.extend(entries(&models));
    }
    if let Some(cache) = &paths.hf_cache {
        names.extend(hf_cache::repo_ids(cache));
    }
    // The name itself says nothing: it is there without a file that fits.
    names.remove(wanted);
    names.remove(source);
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort_by_cached_key(|name| name.rsplit('/').map(|part| distance(part, wanted)).min());
    names.truncate(MAX_NAMES);
    names
}

/// Folders and GGUF files in the folder that a path names.
fn neighbours(path: &Path) -> Vec<String> {
    let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    else {
        return Vec::new();
    };
    let mut names = entries(parent);
    names.retain(|name| parent.join(name).is_dir());
    names.extend(folder::names_with_extension(parent, "gguf"));
    names
}

/// Names in a folder; none when it cannot be read.
fn entries(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect()
}

/// The GGUF files of a folder, with the folder's name before them.
fn gguf_files(folder: &Path, name: &str) -> Vec<String> {
    let files = folder::names_with_extension(folder, "gguf");
    files
        .into_iter()
        .map(|file| format!("{name}/{file}"))
        .collect()
}

/// Levenshtein distance, letter case ignored.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.to_lowercase().chars().collect();
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(l != r);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}
