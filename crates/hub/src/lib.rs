//! A model's name to its place on disk.
//!
//! [`resolve`] takes what a user writes (a path, a Hugging Face id, `demo`) and finds the GGUF file
//! or model folder it means, in places given by [`SearchPaths`]. It only looks at names: whether
//! the files are any good is for the reader of model files to say. [`download`] brings a model from
//! a hub into the cache that Hugging Face tools share, and [`obtain`] does the one, then the other.

#![forbid(unsafe_code)]

mod error;
mod folder;
mod hf_cache;
mod present;
mod remote;

use std::path::{Path, PathBuf};

pub use error::HubError;
use folder::Wanted;
pub use remote::{
    Cancel, DEFAULT_ENDPOINT, DownloadProgress, DownloadRequest, Downloaded, HubConfig, Retries,
    Token, download,
};

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
    /// It was fetched just now.
    Download,
}

/// What is looked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Query<'a> {
    /// A path, a Hugging Face id (`owner/name`, or `owner/name/file.gguf` for one of its files), or `demo`.
    pub source: &'a str,
    /// In a folder with several files, which: `Some("tl2")` only accepts a GGUF file of that type; `None` prefers `i2_s`, then
    /// the only GGUF file, then Hugging Face weights. A file given by its path is taken as it is.
    pub quant_type: Option<&'a str>,
    /// Whether Hugging Face weights, or else `i2_s` or the only GGUF file, do as well where there is no file of the type
    /// anywhere: the caller makes one of them.
    pub may_convert: bool,
    /// A branch, tag or commit; only the Hugging Face cache knows those.
    pub revision: Option<&'a str>,
}

/// Finds the model that is meant: a path, else `models/<name>` of each bitnet.cpp folder, else the Hugging Face cache, else
/// the demo model.
///
/// # Errors
/// [`HubError::NotFound`] with all places looked in, what is there instead, and how to get the model;
/// [`HubError::EmptySource`] for an empty source; [`HubError::RevisionOfPath`] for a revision of what is no id.
pub fn resolve(query: Query<'_>, paths: &SearchPaths) -> Result<Resolved, HubError> {
    let query = Query {
        source: query.source.trim(),
        ..query
    };
    let source = query.source;
    if source.is_empty() {
        return Err(HubError::EmptySource);
    }
    if query.revision.is_some() && !is_downloadable(source) {
        let name = source.to_owned();
        return Err(HubError::RevisionOfPath { name });
    }
    let mut looked_in = Vec::new();
    let mut look = |may_convert| {
        looked_in.clear();
        let wanted = Wanted::new(query.quant_type, may_convert);
        look_for(query, wanted, paths, &mut looked_in)
    };
    let found = look(false).or_else(|| query.may_convert.then(|| look(true))?);
    found.ok_or_else(|| HubError::NotFound {
        name: source.to_owned(),
        present: present::models(source, paths),
        remedy: remedy(source, paths),
        looked_in,
    })
}

/// The first place that has what is wanted.
fn look_for(
    query: Query<'_>,
    wanted: Wanted<'_>,
    paths: &SearchPaths,
    looked_in: &mut Vec<PathBuf>,
) -> Option<Resolved> {
    let source = query.source;
    let resolved = |via| move |path| Resolved { path, via };
    // Nothing but the cache tells which revision it holds.
    if query.revision.is_some() {
        return in_hf_cache(query, wanted, paths, looked_in).map(resolved(Via::HfCache));
    }
    as_path(source, wanted, looked_in)
        .map(resolved(Via::Path))
        .or_else(|| in_bitnet_dirs(source, wanted, paths, looked_in).map(resolved(Via::BitnetDir)))
        .or_else(|| in_hf_cache(query, wanted, paths, looked_in).map(resolved(Via::HfCache)))
        .or_else(|| demo(source, paths, looked_in).map(resolved(Via::Demo)))
}

/// [`resolve`], and what is not there is fetched from the hub, if it can be the id of a model and `hub` is given.
///
/// # Errors
/// Those of [`resolve`] and of [`download`].
pub fn obtain(
    query: Query<'_>,
    paths: &SearchPaths,
    hub: Option<&HubConfig>,
    cancel: &Cancel,
    progress: &mut dyn FnMut(DownloadProgress),
) -> Result<Resolved, HubError> {
    let missing = match resolve(query, paths) {
        Err(missing @ HubError::NotFound { .. }) => missing,
        decided => return decided,
    };
    let id = query.source.trim();
    let Some(hub) = hub.filter(|_| is_downloadable(id)) else {
        return Err(missing);
    };
    let request = DownloadRequest {
        id,
        revision: query.revision,
        quant_type: query.quant_type,
        may_convert: query.may_convert,
    };
    match download(request, hub, cancel, progress) {
        Ok(downloaded) => Ok(Resolved {
            path: downloaded.path,
            via: Via::Download,
        }),
        Err(error @ HubError::RepoNotFound { .. }) => Err(missing.with_remedy(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Whether a source can be the id of a model on a hub. A path that leads nowhere is no reason to ask one.
fn is_downloadable(source: &str) -> bool {
    let (id, file) = remote::split_id(source);
    let is_file = |name: &str| name.ends_with(".gguf") || name.ends_with(".safetensors");
    let is_id = id.contains('/') && hf_cache::is_repo_id(id) && !is_file(id);
    is_id
        && file.is_none_or(|file| {
            let owner = id.split('/').next().unwrap_or_default();
            file.ends_with(".gguf") && hf_cache::is_revision(file) && !Path::new(owner).is_dir()
        })
}

/// A file, or a folder that holds a model. A folder without one counts only when the source is
/// plainly meant as a path, so that the reader can say what is missing in it; else a folder that
/// happens to be called like a model would hide the model.
fn as_path(source: &str, wanted: Wanted<'_>, looked_in: &mut Vec<PathBuf>) -> Option<PathBuf> {
    let path = Path::new(source);
    looked_in.push(path.to_owned());
    if !path.is_dir() {
        return path.exists().then(|| path.to_owned());
    }
    let picked = folder::pick(path, wanted);
    let is_meant_as_path = path.is_absolute() || source.starts_with('.');
    let lacks_only_the_type = !matches!(wanted, Wanted::Any) && folder::holds_model(path);
    if picked.is_none() && is_meant_as_path && !lacks_only_the_type {
        return Some(path.to_owned());
    }
    picked
}

fn in_bitnet_dirs(
    source: &str,
    wanted: Wanted<'_>,
    paths: &SearchPaths,
    looked_in: &mut Vec<PathBuf>,
) -> Option<PathBuf> {
    let name = model_name(source)?;
    paths.bitnet_dirs.iter().find_map(|dir| {
        let place = dir.join("models").join(name);
        looked_in.push(place.clone());
        if place.is_dir() {
            folder::pick(&place, wanted)
        } else {
            place.is_file().then_some(place)
        }
    })
}

fn in_hf_cache(
    query: Query<'_>,
    wanted: Wanted<'_>,
    paths: &SearchPaths,
    looked_in: &mut Vec<PathBuf>,
) -> Option<PathBuf> {
    let cache = paths.hf_cache.as_ref()?;
    let (id, file) = remote::split_id(query.source);
    if file.is_some() && !is_downloadable(query.source) {
        return None;
    }
    let repo = hf_cache::CachedRepo::new(cache, id)?;
    looked_in.push(repo.path().to_owned());
    let in_snapshot = |snapshot: &PathBuf| match file {
        Some(file) => Some(snapshot.join(file)).filter(|file| file.is_file()),
        None => folder::pick(snapshot, wanted)
            .filter(|path| path.is_file() || folder::is_complete(path)),
    };
    repo.snapshots(query.revision).iter().find_map(in_snapshot)
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

/// What the user can do about a model that is not there.
fn remedy(source: &str, paths: &SearchPaths) -> String {
    if !is_downloadable(source) {
        return "give the path of a file or folder, or a Hugging Face id (owner/name)".to_owned();
    }
    let off = "downloads are off (option `offline`, or HF_HUB_OFFLINE): turn them on to fetch it";
    match paths.bitnet_dirs.first().zip(model_name(source)) {
        Some((dir, name)) => {
            let place = dir.join("models").join(name);
            format!("{off}, or put its files into {}", place.display())
        }
        None => off.to_owned(),
    }
}
