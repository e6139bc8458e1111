//! What fuzzing starts from: the corpus that was kept, and the project's own valid and broken files.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Target, root};

/// Files above this size only slow a fuzzer down.
const MAX_SEED_BYTES: u64 = 64 * 1024;

/// The project's corpus of broken models.
pub(crate) fn malformed() -> PathBuf {
    root().join("testdata/oracle/malformed")
}

/// Where inputs of a target are kept: those that once broke something, and those that reach far.
#[must_use]
pub fn corpus_folder(target: Target) -> PathBuf {
    root().join("fuzz/corpus").join(target.name())
}

/// Every seed of a target, in a fixed order.
///
/// # Errors
/// When the project's test data cannot be read.
pub fn seeds(target: Target) -> std::io::Result<Vec<Vec<u8>>> {
    let mut files = files_in(&corpus_folder(target))?;
    match target {
        Target::Gguf => files.extend(files_in(&malformed().join("gguf"))?),
        Target::Tiles => {}
        Target::SentencePiece => files.push(root().join("testdata/sentencepiece/tokenizer.model")),
        _ => files.extend(files_named(target.file())?),
    }
    let mut seeds = read_small(files)?;
    if target == Target::Template {
        let configs = read_small(files_named("tokenizer_config.json")?)?;
        seeds.extend(configs.iter().filter_map(|config| template_of(config)));
    }
    seeds.sort();
    seeds.dedup();
    Ok(seeds)
}

/// The files of that name in the folders of the project's models, good and broken.
fn files_named(name: &str) -> std::io::Result<Vec<PathBuf>> {
    let mut folders = folders_in(&malformed().join("dirs"))?;
    folders.extend(folders_in(&root().join("testdata/oracle/models"))?);
    let files = folders.into_iter().map(|folder| folder.join(name));
    Ok(files.filter(|file| file.is_file()).collect())
}

fn read_small(files: Vec<PathBuf>) -> std::io::Result<Vec<Vec<u8>>> {
    let mut contents = Vec::with_capacity(files.len());
    for file in files {
        if fs::metadata(&file)?.len() <= MAX_SEED_BYTES {
            contents.push(fs::read(file)?);
        }
    }
    Ok(contents)
}

/// The chat template inside a `tokenizer_config.json`.
fn template_of(config: &[u8]) -> Option<Vec<u8>> {
    let config: serde_json::Value = serde_json::from_slice(config).ok()?;
    Some(config["chat_template"].as_str()?.as_bytes().to_vec())
}

/// The files directly in a folder; none where there is no such folder.
fn files_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    entries(folder, Path::is_file)
}

fn folders_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    entries(folder, Path::is_dir)
}

fn entries(folder: &Path, wanted: fn(&Path) -> bool) -> std::io::Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let paths: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    Ok(paths.into_iter().filter(|path| wanted(path)).collect())
}
