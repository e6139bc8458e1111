//! A model's name to its place on disk.
//!
//! [`resolve`] takes what a user writes (a path, a Hugging Face id, `demo`) and finds the GGUF file
//! or model folder it means, in places given by [`SearchPaths`]. It only looks at names: whether
//! the files are any good is for the reader of model files to say. Nothing is fetched.

#![forbid(unsafe_code)]

mod error;
mod folder;
mod hf_cache;
mod present;

use std::path::{Path, PathBuf};

pub use error::HubError;

/// The source that means the model shipped with the package.
const DEMO: &str = "demo";

/// Where models are looked for, besides the path that a source may be.
#[derive(Debug, Clone, Default)]
pub struct SearchPaths {
    /// Folders laid out like a bitnet.cpp checkout: models lie in `models/<name>/`, the name being
    /// the last part of the Hugging Face id. Tried in order.
    pub bitnet_dirs: Vec<PathBuf>,
    /// The Hugging Face cache, the folder that holds `models--<org>--<name>`.
    pub hf_cache: Option<PathBuf>,
    /// The model folder that the source `demo` means.
    pub demo: Option<PathBuf>,
}

/// A model that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// A GGUF or safetensors file, or a model folder.
    pub path: PathBuf,
    /// Where it was found.
    pub via: Via,
}

/// The kind of place where a model was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The source is itself the path of a file or folder.
    Path,
    /// `models/<name>` of a bitnet.cpp checkout.
    BitnetDir,
    /// The Hugging Face cache.
    HfCache,
    /// The model shipped with the package.
    Demo,
}

/// Finds the model that `source` means: a path, else `models/<name>` of each bitnet.cpp folder,
/// else the Hugging Face cache, else the demo model.
///
/// In a folder with several files, `quant_type` picks the GGUF file: `Some("tl2")` only accepts a
/// file of that type (or, for the ternary types, Hugging Face weights, which are packed at load);
/// `None` prefers `i2_s`, then the only GGUF file, then Hugging Face weights. A file given by its
/// path is taken as it is.
///
/// # Errors
/// [`HubError::NotFound`] with all places looked in, what is there instead, and how to get the
/// model; [`HubError::EmptySource`] for an empty source.
pub fn resolve(
    source: &str,
    quant_type: Option<&str>,
    paths: &SearchPaths,
) -> Result<Resolved, HubError> {
    let source = source.trim();
    if source.is_empty() {
        return Err(HubError::EmptySource);
    }
    let mut looked_in = Vec::new();
    let resolved = |via| move |path| Resolved { path, via };
    let found = as_path(source, quant_type, &mut looked_in)
        .map(resolved(Via::Path))
        .or_else(|| {
            in_bitnet_dirs(source, quant_type, paths, &mut looked_in).map(resolved(Via::BitnetDir))
        })
        .or_else(|| {
            in_hf_cache(source, quant_type, paths, &mut looked_in).map(resolved(Via::HfCache))
        })
        .or_else(|| demo(source, paths, &mut looked_in).map(resolved(Via::Demo)));
    found.ok_or_else(|| HubError::NotFound {
        name: source.to_owned(),
        present: present::models(source, paths),
        download: download_command(source, paths),
        looked_in,
    })
}

/// A file, or a folder that holds a model. A folder without one counts only when the source is
/// plainly meant as a path, so that the reader can say what is missing in it; else a folder that
/// happens to be called like a model would hide the model.
fn as_path(
    source: &str,
    quant_type: Option<&str>,
    looked_in: &mut Vec<PathBuf>,
) -> Option<PathBuf> {
    let path = Path::new(source);
    looked_in.push(path.to_owned());
    if !path.is_dir() {
        return path.exists().then(|| path.to_owned());
    }
    let picked = folder::pick(path, quant_type);
    let is_meant_as_path = path.is_absolute() || source.starts_with('.');
    let lacks_only_the_type = quant_type.is_some() && folder::holds_model(path);
    if picked.is_none() && is_meant_as_path && !lacks_only_the_type {
        return Some(path.to_owned());
    }
    picked
}

fn in_bitnet_dirs(
    source: &str,
    quant_type: Option<&str>,
    paths: &SearchPaths,
    looked_in: &mut Vec<PathBuf>,
) -> Option<PathBuf> {
    let name = model_name(source)?;
    paths.bitnet_dirs.iter().find_map(|dir| {
        let place = dir.join("models").join(name);
        looked_in.push(place.clone());
        if place.is_dir() {
            folder::pick(&place, quant_type)
        } else {
            place.is_file().then_some(place)
        }
    })
}

fn in_hf_cache(
    source: &str,
    quant_type: Option<&str>,
    paths: &SearchPaths,
    looked_in: &mut Vec<PathBuf>,
) -> Option<PathBuf> {
    let cache = paths.hf_cache.as_ref()?;
    let repo = hf_cache::CachedRepo::new(cache, source)?;
    looked_in.push(repo.path().to_owned());
    repo.snapshots()
        .iter()
        .find_map(|snapshot| folder::pick(snapshot, quant_type))
}

fn demo(source: &str, paths: &SearchPaths, looked_in: &mut Vec<PathBuf>) -> Option<PathBuf> {
    let demo = paths.demo.as_ref().filter(|_| source == DEMO)?;
    looked_in.push(demo.clone());
    demo.exists().then(|| demo.clone())
}

/// The last part of an id or path, when it can be the name of a folder.
fn model_name(source: &str) -> Option<&str> {
    let name = source.rsplit(['/', '\\']).next()?;
    (!name.is_empty() && name != "." && name != "..").then_some(name)
}

/// What to run to get the model where it will be found; only for what looks like an id.
fn download_command(source: &str, paths: &SearchPaths) -> Option<String> {
    hf_cache::is_repo_id(source).then_some(())?;
    let command = format!("huggingface-cli download {source}");
    let Some(dir) = paths.bitnet_dirs.first() else {
        return Some(command);
    };
    let place = dir.join("models").join(model_name(source)?);
    Some(format!("{command} --local-dir {}", place.display()))
}
