//! The Hugging Face cache, shared with other tools. In `models--<org>--<name>`, `refs/<revision>` names a commit,
//! `snapshots/<commit>/` holds its files as links to `blobs/<etag>`; `blobs/<etag>.incomplete` is the beginning of a file
//! that is being fetched. Whoever fetches it holds a lock on `.locks/models--<org>--<name>/<etag>.lock` beside the folder.

use std::cmp::Reverse;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hf_hub::{Cache, CacheRepo, Repo};

use crate::error::HubError;

/// Longest id and longest commit name that are looked up; real ones have 96 and 40 characters.
const MAX_NAME_LEN: usize = 128;
/// The branch that is meant when none is named.
pub(crate) const MAIN: &str = "main";
const FOLDER_PREFIX: &str = "models--";

/// One repository in a cache. It need not be there.
#[derive(Debug)]
pub(crate) struct CachedRepo {
    path: PathBuf,
    locks: PathBuf,
    repo: CacheRepo,
}

impl CachedRepo {
    /// The place of a repository, or `None` when `id` cannot be the id of one.
    pub(crate) fn new(cache: &Path, id: &str) -> Option<Self> {
        if !is_repo_id(id) {
            return None;
        }
        let repo = Repo::model(id.to_owned());
        let folder = repo.folder_name();
        Some(Self {
            path: cache.join(&folder),
            locks: cache.join(".locks").join(folder),
            repo: Cache::new(cache.to_owned()).repo(repo),
        })
    }

    /// The repository's folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its snapshots: the one of the main branch first, then the others, newest first. With a revision, that one alone.
    pub(crate) fn snapshots(&self, revision: Option<&str>) -> Vec<PathBuf> {
        if let Some(revision) = revision {
            return self.snapshot_of(revision).into_iter().collect();
        }
        let main = self.snapshot_of(MAIN);
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

    /// The folder of a branch or tag that is known here, else of a commit.
    fn snapshot_of(&self, revision: &str) -> Option<PathBuf> {
        if !is_revision(revision) {
            return None;
        }
        let commit = fs::read_to_string(self.reference(revision));
        let commit = commit.as_deref().map_or(revision, str::trim);
        is_plain_name(commit).then(|| self.snapshot(commit))
    }

    /// The folder of a commit.
    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.repo.pointer_path(commit)
    }

    /// Where the content with this etag lies.
    pub(crate) fn blob(&self, etag: &str) -> PathBuf {
        self.path.join("blobs").join(etag)
    }

    /// What is locked while that content is fetched.
    pub(crate) fn lock(&self, etag: &str) -> PathBuf {
        self.locks.join(format!("{etag}.lock"))
    }

    /// Puts the content with this etag at `path` of a commit's folder, in one step.
    pub(crate) fn link(&self, commit: &str, path: &str, etag: &str) -> Result<(), HubError> {
        let place = self.snapshot(commit).join(path);
        let blob = self.blob(etag);
        let same = |place: &Path| Some((place.canonicalize().ok()?, blob.canonicalize().ok()?));
        if same(&place).is_some_and(|(place, blob)| place == blob) {
            return Ok(());
        }
        let depth = 2 + path.split('/').count() - 1;
        let relative = "../".repeat(depth) + "blobs/" + etag;
        let new = temporary(&place);
        create_parent(&place)?;
        // Left by a process that was killed between the two steps, if it is there.
        let _ = fs::remove_file(&new);
        make_link(&relative, &blob, &new).map_err(at(&new))?;
        fs::rename(&new, &place).map_err(at(&place))
    }

    /// Lets a branch or tag mean this commit, in one step.
    pub(crate) fn set_reference(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        let place = self.reference(revision);
        if revision == commit || fs::read_to_string(&place).is_ok_and(|old| old.trim() == commit) {
            return Ok(());
        }
        let new = temporary(&place);
        create_parent(&place)?;
        fs::write(&new, commit).map_err(at(&new))?;
        fs::rename(&new, &place).map_err(at(&place))
    }

    fn reference(&self, revision: &str) -> PathBuf {
        self.path.join("refs").join(revision)
    }
}

/// A link where the system has them, else the same file under a second name, else a copy.
fn make_link(relative: &str, blob: &Path, place: &Path) -> io::Result<()> {
    #[cfg(unix)]
    let linked = std::os::unix::fs::symlink(relative, place);
    #[cfg(windows)]
    let linked = std::os::windows::fs::symlink_file(relative.replace('/', "\\"), place);
    linked
        .or_else(|_| fs::hard_link(blob, place))
        .or_else(|_| fs::copy(blob, place).map(drop))
}

/// A name beside `place` that no other process uses.
fn temporary(place: &Path) -> PathBuf {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    place.with_file_name(format!(".{name}.{}", std::process::id()))
}

/// Makes the folder of a file.
pub(crate) fn create_parent(place: &Path) -> Result<(), HubError> {
    match place.parent() {
        Some(parent) => fs::create_dir_all(parent).map_err(at(parent)),
        None => Ok(()),
    }
}

/// Names the place of a failure of the system.
pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> HubError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => HubError::DiskFull {
            place: path.clone(),
            needed: None,
            free: None,
        },
        _ => HubError::Io {
            path: path.clone(),
            source,
        },
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

/// Whether a revision is one that can be looked up: plain names with slashes between them.
pub(crate) fn is_revision(revision: &str) -> bool {
    revision.len() <= MAX_NAME_LEN && revision.split('/').all(is_plain_name)
}

/// Letters, digits, `-`, `_` and `.`, not beginning with a dot: nothing that leaves a folder.
pub(crate) fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME_LEN
        && !name.starts_with('.')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}
