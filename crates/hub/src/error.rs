//! Why a model could not be found or fetched.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a source did not lead to a model.
#[derive(Debug, Error)]
pub enum HubError {
    /// The source is empty.
    #[error("Model not found: no path or name was given")]
    EmptySource,
    /// No place has the model.
    #[error("Model not found: {name}. {}", advice(.looked_in, .present, .remedy))]
    NotFound {
        /// The source as given.
        name: String,
        /// Every place looked at, in order.
        looked_in: Vec<PathBuf>,
        /// Some of the models that are there, the most similar names first.
        present: Vec<String>,
        /// What would bring the model.
        remedy: String,
    },
    /// Only what comes from a hub has revisions.
    #[error("option revision is for Hugging Face ids; `{name}` is none")]
    RevisionOfPath {
        /// The source as given.
        name: String,
    },
    /// The hub has no such repository, or does not tell.
    #[error("{endpoint} has no model {repo}, {}", if *.has_token { "or the token may not see it" } else { "or it is private: HF_TOKEN is not set" })]
    RepoNotFound {
        /// `owner/name`.
        repo: String,
        /// The hub.
        endpoint: String,
        /// Whether the hub was told who asks.
        has_token: bool,
    },
    /// The repository has no such branch, tag or commit.
    #[error("Model not found: {repo} has no revision {revision} on {endpoint}")]
    RevisionNotFound {
        /// `owner/name`.
        repo: String,
        /// A branch, tag or commit.
        revision: String,
        /// The hub.
        endpoint: String,
    },
    /// The repository has nothing that this engine loads.
    #[error("{repo} cannot be loaded: {problem}; it has: {}", .present.join(", "))]
    NothingToLoad {
        /// `owner/name`.
        repo: String,
        /// What is missing.
        problem: String,
        /// Its files, the ones that matter first.
        present: Vec<String>,
    },
    /// The owner of the model wants to be asked.
    #[error(
        "{repo} is gated: ask for access at {page}{}",
        if *.has_token { ", with the account whose token is in use" } else { ", then set HF_TOKEN to a token of that account (or log in with the Hugging Face tools)" }
    )]
    Gated {
        /// `owner/name`.
        repo: String,
        /// Where access is asked for.
        page: String,
        /// Whether the hub was told who asks.
        has_token: bool,
    },
    /// The hub does not accept the token, or wants one.
    #[error("{host} refuses {what} (status {status}): {}", if *.has_token { "the token is not valid for it" } else { "it wants a token, and HF_TOKEN is not set" })]
    Refused {
        /// Host name.
        host: String,
        /// What was asked for.
        what: String,
        /// 401 or 403.
        status: u16,
        /// Whether the hub was told who asks.
        has_token: bool,
    },
    /// The hub wants to be left alone for longer than anybody waits.
    #[error("{host} asks to wait before {what}{}", .seconds.map_or_else(String::new, |seconds| format!(": try again in {seconds} s")))]
    RateLimited {
        /// Host name.
        host: String,
        /// What was asked for.
        what: String,
        /// What `Retry-After` said.
        seconds: Option<u64>,
    },
    /// The network, or the server, failed again and again.
    #[error(
        "{what} could not be fetched: {reason}; what has arrived is kept, and the next try goes on from there"
    )]
    Transfer {
        /// What was asked for.
        what: String,
        /// The last failure.
        reason: String,
    },
    /// The server says what makes no sense.
    #[error("{what}: unexpected answer of {host}: {problem}")]
    Answer {
        /// What was asked for.
        what: String,
        /// Host name.
        host: String,
        /// What is wrong with it.
        problem: String,
    },
    /// What arrived is not what the hub has.
    #[error("{file} arrived damaged twice: its {algorithm} is {found}, not {expected}")]
    Checksum {
        /// File name in the repository.
        file: String,
        /// `SHA-256`, or `git SHA-1` of small files.
        algorithm: &'static str,
        /// In hexadecimal, as the hub says.
        expected: String,
        /// In hexadecimal, of what arrived.
        found: String,
    },
    /// There is no room.
    #[error("no room on the disk for {}{}", .place.display(), sizes(*.needed, *.free))]
    DiskFull {
        /// The cache, or a file in it.
        place: PathBuf,
        /// Bytes still to be written, where that is known.
        needed: Option<u64>,
        /// Bytes that are free, where that is known.
        free: Option<u64>,
    },
    /// The cache cannot be read or written.
    #[error("{}", .path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A setting of the hub cannot be used.
    #[error("{setting}: {problem}")]
    Setting {
        /// As its variable is called.
        setting: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Stopped from outside.
    #[error("the download was stopped")]
    Cancelled,
}

impl HubError {
    /// The same, with another way to bring the model.
    pub(crate) fn with_remedy(mut self, new: String) -> Self {
        if let Self::NotFound { remedy, .. } = &mut self {
            *remedy = new;
        }
        self
    }
}

/// The sentences behind "Model not found".
fn advice(looked_in: &[PathBuf], present: &[String], remedy: &str) -> String {
    let places: Vec<String> = looked_in
        .iter()
        .map(|place| place.display().to_string())
        .collect();
    let places = places.join(", ");
    let present = match present {
        [] => "no models are there".to_owned(),
        names => format!("there is: {}", names.join(", ")),
    };
    format!("Looked in: {places}; {present}; {remedy}")
}

fn sizes(needed: Option<u64>, free: Option<u64>) -> String {
    match (needed, free) {
        (Some(needed), Some(free)) => format!(": {needed} bytes are needed, {free} are free"),
        _ => "; what has arrived is kept, and the next try goes on from there".to_owned(),
    }
}
