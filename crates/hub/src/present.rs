//! What is there instead of a model that was not found.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::{SearchPaths, folder, hf_cache, model_name};

/// How many names a message lists.
const MAX_NAMES: usize = 10;

/// Names of models in the search paths, those most similar to `source` first. For a folder that
/// was found but lacks the wanted file, the GGUF files in it.
pub(crate) fn models(source: &str, paths: &SearchPaths) -> Vec<String> {
    let mut names = BTreeSet::new();
    let wanted = model_name(source).unwrap_or(source);
    names.extend(files_in(Path::new(source), source));
    for dir in &paths.bitnet_dirs {
        let models = dir.join("models");
        for name in entries(&models) {
            let files = if name == wanted {
                files_in(&models.join(&name), &name)
            } else {
                vec![]
            };
            if files.is_empty() {
                names.extend([name])
            } else {
                names.extend(files)
            }
        }
    }
    if let Some(cache) = &paths.hf_cache {
        names.extend(hf_cache::repo_ids(cache));
    }
    if let Some(parent) = Path::new(source)
        .parent()
        .filter(|path| !path.as_os_str().is_empty())
    {
        names.extend(
            entries(parent)
                .into_iter()
                .filter(|name| parent.join(name).is_dir()),
        );
        names.extend(folder::names_with_extension(parent, "gguf"));
    }
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort_by_cached_key(|name| distance(model_name(name).unwrap_or(name), wanted));
    names.truncate(MAX_NAMES);
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
fn files_in(folder: &Path, name: &str) -> Vec<String> {
    folder::gguf_names(folder)
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
