//! The Hugging Face cache as other tools leave it: `models--<org>--<name>/refs/main` names a
//! commit, `snapshots/<commit>/` holds its files (links, mostly).

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hf_hub::{Cache, CacheRepo, Repo};

/// Longest id and longest commit name that are looked up; real ones have 96 and 40 characters.
const MAX_NAME_LEN: usize = 128;
const FOLDER_PREFIX: &str = "models--";

/// One repository in a cache. It need not be there.
#[derive(Debug)]
pub(crate) struct CachedRepo {
    path: PathBuf,
    main_ref: PathBuf,
    repo: CacheRepo,
}

impl CachedRepo {
    /// The place of a repository, or `None` when `id` cannot be the id of one.
    pub(crate) fn new(cache: &Path, id: &str) -> Option<Self> {
        if !is_repo_id(id) {
            return None;
        }
        let repo = Repo::model(id.to_owned());
        let path = cache.join(repo.folder_name());
        let main_ref = path.join("refs").join(repo.revision());
        Some(Self {
            path,
            main_ref,
            repo: Cache::new(cache.to_owned()).repo(repo),
        })
    }

    /// The repository's folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its snapshots: the one of the main branch first, then the others, newest first.
    pub(crate) fn snapshots(&self) -> Vec<PathBuf> {
        let main = self.main_snapshot();
        let mut others: Vec<(SystemTime, PathBuf)> = fs::read_dir(self.path.join("snapshots"))
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
            })
            .filter(|(_, path)| Some(path) != main.as_ref())
            .collect();
        others.sort_by_key(|(modified, _)| Reverse(*modified));
        main.into_iter()
            .chain(others.into_iter().map(|(_, path)| path))
            .collect()
    }

    fn main_snapshot(&self) -> Option<PathBuf> {
        let commit = fs::read_to_string(&self.main_ref).ok()?;
        let commit = commit.trim();
        is_plain_name(commit).then(|| self.repo.pointer_path(commit))
    }
}

/// Whether a source has the form `name` or `org/name` of a repository id.
pub(crate) fn is_repo_id(source: &str) -> bool {
    source.len() <= MAX_NAME_LEN
        && source.split('/').count() <= 2
        && source.split('/').all(is_plain_name)
}

/// Ids of the repositories in a cache.
pub(crate) fn repo_ids(cache: &Path) -> Vec<String> {
    let entries = fs::read_dir(cache).into_iter().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            Some(name.strip_prefix(FOLDER_PREFIX)?.replacen("--", "/", 1))
        })
        .collect()
}

/// Letters, digits, `-`, `_` and `.`, not beginning with a dot: nothing that leaves a folder.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME_LEN
        && !name.starts_with('.')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}
