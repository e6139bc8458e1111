//! Many models side by side: each has an id, is loaded from a source, and stays until it is unloaded.
//!
//! A source is what a person writes: a path, a Hugging Face id, `demo`, with or without a prefix such as `bitnet:`.
//! `llm-hub` finds the files or fetches them, `llm-convert` makes the type of weights that was asked for, `llm-engine` opens them.
#![forbid(unsafe_code)]

mod converted;
mod error;
mod quant;
mod registry;
mod source;

pub use error::RouterError;
pub use llm_hub::{
    Cancel, DownloadProgress, DownloadRequest, Downloaded, HubConfig, HubError, Query, Retries,
    SearchPaths, Token, download, resolve,
};
pub use registry::{LoadSpec, LoadedModel, Progress, Router};
