//! From a hub into the cache: which files, each of them verified, then all of them at once as a snapshot.

mod agent;
mod blob;
mod cancel;
mod client;
mod config;
mod digest;
mod manifest;
mod partial;
mod patience;
mod progress;
mod ranges;
mod select;
mod url;

use std::fs;
use std::path::{Path, PathBuf};

pub use cancel::Cancel;
pub use config::{DEFAULT_ENDPOINT, HubConfig, Retries, Token};
pub use progress::DownloadProgress;

use crate::error::HubError;
use crate::folder::{self, CONFIG};
use crate::hf_cache::{CachedRepo, MAIN, at, is_revision};
use client::Client;
use manifest::{Manifest, RemoteFile};
use progress::Reporter;
use select::{Selection, Weights};

/// What to fetch.
#[derive(Debug, Clone, Copy)]
pub struct DownloadRequest<'a> {
    /// `owner/name`, or `owner/name/path/file.gguf` for one file of several.
    pub id: &'a str,
    /// A branch, tag or commit; the main branch when absent.
    pub revision: Option<&'a str>,
    /// As for [`crate::resolve`].
    pub quant_type: Option<&'a str>,
    /// As for [`crate::resolve`].
    pub may_convert: bool,
}

/// A model that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// A GGUF file or a folder.
    pub path: PathBuf,
    /// The commit that the revision means now.
    pub commit: String,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Bytes that came over the network; the others were here.
    pub fetched: u64,
}

/// Brings the files of a model into the cache, those that are not there, in the form that Hugging Face tools share. Blocks;
/// `progress` hears of it about ten times a second.
///
/// Files are checked against the size and the hash that the hub tells, and a snapshot gets its files only when all of them
/// are here. What was fetched before a failure or a kill is not fetched again. Other processes that fetch the same file,
/// with this program or another one, wait for each other.
///
/// # Errors
/// Every variant of [`HubError`] but those about paths.
pub fn download(
    request: DownloadRequest<'_>,
    config: &HubConfig,
    cancel: &Cancel,
    progress: &mut dyn FnMut(DownloadProgress),
) -> Result<Downloaded, HubError> {
    let (id, file) = split_id(request.id);
    let revision = request.revision.unwrap_or(MAIN);
    if !is_revision(revision) {
        return Err(HubError::Setting {
            setting: "revision",
            problem: format!("`{revision}` is no name of a branch, tag or commit"),
        });
    }
    let cached = CachedRepo::new(&config.cache, id).ok_or_else(|| HubError::Setting {
        setting: "id",
        problem: format!("`{id}` is not of the form owner/name"),
    })?;
    let client = Client::new(config, cancel)?;
    let manifest = Manifest::fetch(&client, id, revision)?;
    let selection = select::select(&manifest, file, request.quant_type, request.may_convert)?;
    let mut fetcher = Fetcher {
        client: &client,
        cached: &cached,
        manifest: &manifest,
        connections: config.connections.max(1),
        reporter: Reporter::new(progress),
        fetched: 0,
    };
    let files = fetcher.all(&selection, &config.cache)?;
    let fetched = fetcher.fetched;
    let snapshot = publish(&cached, &manifest, &files)?;
    Ok(Downloaded {
        path: match &selection.weights {
            Weights::Gguf(name) => snapshot.join(name),
            Weights::Single(_) | Weights::Sharded(_) => snapshot,
        },
        commit: manifest.commit.clone(),
        bytes: files.iter().map(|file| file.size).sum(),
        fetched,
    })
}

/// `owner/name/file.gguf` in its two parts.
pub(crate) fn split_id(id: &str) -> (&str, Option<&str>) {
    let mut slashes = id.match_indices('/').map(|(at, _)| at);
    match (slashes.next(), slashes.next()) {
        (Some(_), Some(second)) => (&id[..second], Some(&id[second + 1..])),
        _ => (id, None),
    }
}

struct Fetcher<'a> {
    client: &'a Client,
    cached: &'a CachedRepo,
    manifest: &'a Manifest,
    connections: usize,
    reporter: Reporter<'a>,
    fetched: u64,
}

impl Fetcher<'_> {
    /// Fetches everything selected; an index first, because it lists what else there is.
    fn all(&mut self, selection: &Selection, cache: &Path) -> Result<Vec<RemoteFile>, HubError> {
        let mut paths: Vec<&str> = selection.settings.iter().map(String::as_str).collect();
        let index = match &selection.weights {
            Weights::Gguf(name) | Weights::Single(name) => {
                paths.push(name);
                None
            }
            Weights::Sharded(index) => Some(index),
        };
        let mut known = Vec::new();
        if let Some(index) = index {
            let index = self.files(&[index])?;
            self.fetch(&index)?;
            known = index;
        }
        let shards = match known.first() {
            Some(index) => self.shards(index)?,
            None => Vec::new(),
        };
        paths.extend(shards.iter().map(String::as_str));
        let files = self.files(&paths)?;
        self.check_space(&files, cache)?;
        self.fetch(&files)?;
        known.extend(files);
        Ok(known)
    }

    fn files(&mut self, paths: &[&str]) -> Result<Vec<RemoteFile>, HubError> {
        let files = paths
            .iter()
            .map(|path| self.manifest.file(self.client, path));
        let files: Vec<RemoteFile> = files.collect::<Result<_, _>>()?;
        self.reporter
            .expect(files.iter().map(|file| file.size).sum());
        Ok(files)
    }

    fn fetch(&mut self, files: &[RemoteFile]) -> Result<(), HubError> {
        for file in files {
            let (client, cached, manifest) = (self.client, self.cached, self.manifest);
            let reporter = &mut self.reporter;
            self.fetched +=
                blob::fetch(client, cached, manifest, file, self.connections, reporter)?;
        }
        Ok(())
    }

    /// The files that an index lists, all of which the repository must have.
    fn shards(&self, index: &RemoteFile) -> Result<Vec<String>, HubError> {
        let place = self.cached.blob(&index.etag);
        let text = fs::read(&place).map_err(at(&place))?;
        let broken =
            |problem: &str| select::nothing(self.manifest, format!("{} {problem}", index.path));
        let shards = folder::shards(&text).ok_or_else(|| broken("lists no shards"))?;
        match shards
            .iter()
            .find(|shard| !self.manifest.paths().any(|path| path == *shard))
        {
            Some(missing) => Err(broken(&format!("lists {missing}, which is not there"))),
            None => Ok(shards.into_iter().collect()),
        }
    }

    fn check_space(&self, files: &[RemoteFile], cache: &Path) -> Result<(), HubError> {
        let needed = files.iter().map(|file| blob::missing(self.cached, file));
        let needed = needed.fold(0u64, u64::saturating_add);
        fs::create_dir_all(cache).map_err(at(cache))?;
        // Where the system does not tell, writing will.
        let Ok(free) = fs4::available_space(cache) else {
            return Ok(());
        };
        if needed <= free {
            return Ok(());
        }
        Err(HubError::DiskFull {
            place: cache.to_owned(),
            needed: Some(needed),
            free: Some(free),
        })
    }
}

/// Links the files into the commit's folder and lets the revision mean it. The configuration comes last: without it a folder
/// is no model, so one that is not finished does not look like one.
fn publish(
    cached: &CachedRepo,
    manifest: &Manifest,
    files: &[RemoteFile],
) -> Result<PathBuf, HubError> {
    let (last, first): (Vec<_>, Vec<_>) = files.iter().partition(|file| file.path == CONFIG);
    for file in first.into_iter().chain(last) {
        cached.link(&manifest.commit, &file.path, &file.etag)?;
    }
    cached.set_reference(&manifest.revision, &manifest.commit)?;
    Ok(cached.snapshot(&manifest.commit))
}
