//! What a repository holds, as the hub's API tells.

use serde::Deserialize;

use super::client::{Client, Purpose};
use super::patience::Failure;
use super::url::escape;
use crate::error::HubError;
use crate::hf_cache::is_plain_name;

/// Descriptions of repositories with thousands of files have a few megabytes.
const MAX_DESCRIPTION_LEN: u64 = 1 << 25;

/// The files of one commit.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// `owner/name`.
    pub(crate) repo: String,
    /// What was asked for: a branch, tag or commit.
    pub(crate) revision: String,
    /// The commit that it means.
    pub(crate) commit: String,
    siblings: Vec<Sibling>,
}

/// One file, ready to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemoteFile {
    /// Path in the repository.
    pub(crate) path: String,
    pub(crate) size: u64,
    /// Names its content in the cache: the SHA-256 of large files, git's SHA-1 of small ones.
    pub(crate) etag: String,
}

#[derive(Deserialize)]
struct Description {
    sha: String,
    siblings: Vec<Sibling>,
}

/// A file as the API lists it. Mirrors may leave out everything but the name.
#[derive(Debug, Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Debug, Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl Manifest {
    /// Asks the hub. `what` words its failures.
    pub(crate) fn fetch(client: &Client, repo: &str, revision: &str) -> Result<Self, HubError> {
        let what = format!("the list of files of {repo}");
        let purpose = Purpose {
            repo,
            revision,
            what: &what,
        };
        let revision_path = escape(revision, false);
        let url = format!(
            "{}/api/models/{repo}/revision/{revision_path}?blobs=true",
            client.endpoint()
        );
        let (bytes, from) = client.retrying(purpose, || {
            let reply = client.get(&url, None, purpose)?;
            let from = reply.url.clone();
            Ok((client.read_all(reply, MAX_DESCRIPTION_LEN)?, from))
        })?;
        let description: Description = serde_json::from_slice(&bytes)
            .map_err(|error| client.odd(&from, purpose, &error.to_string()))?;
        if !is_plain_name(&description.sha) {
            return Err(client.odd(&from, purpose, "the commit has no usable name"));
        }
        Ok(Self {
            repo: repo.to_owned(),
            revision: revision.to_owned(),
            commit: description.sha,
            siblings: description.siblings,
        })
    }

    /// Paths of all files.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.siblings
            .iter()
            .map(|sibling| sibling.rfilename.as_str())
    }

    /// Where a file is fetched: pinned to the commit, so that its content never changes.
    pub(crate) fn url(&self, client: &Client, path: &str) -> String {
        let path = escape(path, true);
        format!(
            "{}/{}/resolve/{}/{path}",
            client.endpoint(),
            self.repo,
            self.commit
        )
    }

    /// Size and etag of a file; asks the hub again where its list did not say.
    pub(crate) fn file(&self, client: &Client, path: &str) -> Result<RemoteFile, HubError> {
        let sibling = self
            .siblings
            .iter()
            .find(|sibling| sibling.rfilename == path);
        let listed =
            sibling.and_then(
                |sibling| match (&sibling.lfs, sibling.size, &sibling.blob_id) {
                    (Some(lfs), _, _) => Some((lfs.size, lfs.sha256.clone())),
                    (None, Some(size), Some(id)) => Some((size, id.clone())),
                    _ => None,
                },
            );
        let (size, etag) = match listed {
            Some(listed) => listed,
            None => self.ask(client, path)?,
        };
        if !is_plain_name(&etag) {
            let url = self.url(client, path);
            return Err(client.odd(&url, self.purpose(path), "the file has no usable etag"));
        }
        Ok(RemoteFile {
            path: path.to_owned(),
            size,
            etag,
        })
    }

    pub(crate) fn purpose<'a>(&'a self, what: &'a str) -> Purpose<'a> {
        Purpose {
            repo: &self.repo,
            revision: &self.revision,
            what,
        }
    }

    fn ask(&self, client: &Client, path: &str) -> Result<(u64, String), HubError> {
        let purpose = self.purpose(path);
        let url = self.url(client, path);
        client.retrying(purpose, || {
            let headers = client.head(&url, purpose)?;
            let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
            let size = text("x-linked-size").or(text("content-length"));
            let etag = text("x-linked-etag").or(text("etag"));
            let size = size.and_then(|size| size.trim().parse().ok());
            let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned());
            let problem = "neither its list nor the file's headers say size and etag";
            size.zip(etag)
                .ok_or_else(|| Failure::Final(client.odd(&url, purpose, problem)))
        })
    }
}
