//! Models that come from a hub: fetching them, and stopping that.

use std::path::PathBuf;
use std::time::Duration;

use llm_router::{
    Cancel, DownloadProgress, DownloadRequest, HubConfig, SearchPaths, Token, download,
};
use napi::Status;
use napi::bindgen_prelude::{Env, PromiseRaw};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;

use crate::error::Failure;
use crate::router::blocking;

/// How a hub is reached. `lib/hub.js` makes it of the environment.
#[napi(object)]
pub struct HubSettings {
    /// The hub's address; the public one when absent.
    pub endpoint: Option<String>,
    /// What the user logs in with.
    pub token: Option<String>,
    /// Address of a proxy.
    pub proxy: Option<String>,
    /// Hosts that are reached without it, separated by commas.
    pub no_proxy: Option<String>,
    /// Certificates to trust in place of those built in, PEM.
    pub ca_certificates: Option<String>,
    /// Longest wait for a connection.
    pub connect_seconds: Option<f64>,
    /// Longest wait for the next bytes.
    pub stall_seconds: Option<f64>,
}

impl HubSettings {
    pub(crate) fn into_config(self, cache: PathBuf) -> Result<HubConfig, Failure> {
        let defaults = HubConfig::new(cache);
        let token = self.token.map(|token| {
            let problem = "it must be visible ASCII without spaces";
            Token::new(&token).ok_or_else(|| Failure::argument("HF_TOKEN", problem))
        });
        let seconds = |given: Option<f64>| {
            let duration = given.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            duration.filter(|duration| !duration.is_zero())
        };
        Ok(HubConfig {
            endpoint: self.endpoint.unwrap_or(defaults.endpoint),
            token: token.transpose()?,
            proxy: self.proxy,
            no_proxy: self.no_proxy,
            ca_certificates: self.ca_certificates,
            connect_timeout: seconds(self.connect_seconds).unwrap_or(defaults.connect_timeout),
            stall_timeout: seconds(self.stall_seconds).unwrap_or(defaults.stall_timeout),
            ..HubConfig::new(defaults.cache)
        })
    }
}

/// Where sources are looked for.
#[napi(object)]
#[derive(Debug)]
pub struct SearchFields {
    /// Folders with `models/<name>/`, in the order in which they are searched.
    pub bitnet_dirs: Vec<String>,
    /// The Hugging Face cache.
    pub hf_cache: String,
    /// The embedded demo model.
    pub demo: Option<String>,
}

impl From<SearchFields> for SearchPaths {
    fn from(fields: SearchFields) -> Self {
        Self {
            bitnet_dirs: fields.bitnet_dirs.into_iter().map(PathBuf::from).collect(),
            hf_cache: Some(PathBuf::from(fields.hf_cache)),
            demo: fields.demo.map(PathBuf::from),
        }
    }
}

/// How far a load or a download is.
#[napi(object)]
#[derive(Debug)]
pub struct Progress {
    /// `download`, `open`, `weights`, `tokenizer` or `ready`.
    pub phase: String,
    /// Bytes of this phase so far.
    pub loaded_bytes: f64,
    /// Bytes of this phase in all.
    pub total_bytes: f64,
    /// Of a download: the file that is being fetched.
    pub file: Option<FileProgress>,
}

/// How far one file is.
#[napi(object)]
#[derive(Debug)]
pub struct FileProgress {
    /// Its path within the repository.
    pub name: String,
    /// Bytes that are on the disk.
    pub loaded_bytes: f64,
    /// Bytes of the whole file.
    pub total_bytes: f64,
    /// Another process fetches it.
    pub waiting: bool,
}

impl From<DownloadProgress> for Progress {
    fn from(progress: DownloadProgress) -> Self {
        Self {
            phase: "download".to_owned(),
            loaded_bytes: progress.done as f64,
            total_bytes: progress.total as f64,
            file: Some(FileProgress {
                name: progress.file,
                loaded_bytes: progress.file_done as f64,
                total_bytes: progress.file_total as f64,
                waiting: progress.is_waiting,
            }),
        }
    }
}

/// A JavaScript function; calls are queued and never waited for.
pub(crate) type ProgressCallback = ThreadsafeFunction<Progress, (), Progress, Status, false>;

/// Calls the function, if there is one.
pub(crate) fn report(callback: Option<&ProgressCallback>, progress: Progress) {
    if let Some(callback) = callback {
        callback.call(progress, ThreadsafeFunctionCallMode::NonBlocking);
    }
}

/// Stops the loads and downloads that it was given to. Dropped by the garbage collector or with its worker, it stops them too.
#[napi]
#[derive(Default)]
pub struct NativeCancel {
    cancel: Cancel,
}

#[napi]
impl NativeCancel {
    #[napi(constructor, catch_unwind)]
    /// One that has not been used.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the work within its next step.
    #[napi(catch_unwind)]
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    pub(crate) fn handle(&self) -> Cancel {
        self.cancel.clone()
    }
}

impl Drop for NativeCancel {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// What to fetch.
#[napi(object)]
pub struct DownloadCall {
    /// `owner/name`.
    pub id: String,
    /// A branch, tag or commit; `main` when absent.
    pub revision: Option<String>,
    /// Which weights, where there are several; for a packing of ternary weights, others that it can be made of do as well.
    pub quant_type: Option<String>,
    /// The Hugging Face cache.
    pub hf_cache: String,
    /// How the hub is reached.
    pub hub: HubSettings,
}

/// A model that is on the disk now.
#[napi(object)]
#[derive(Debug)]
pub struct DownloadedModel {
    /// File or folder.
    pub path: String,
    /// The commit that the revision means.
    pub commit: String,
    /// Bytes of its files.
    pub bytes: f64,
    /// Bytes that came over the network.
    pub fetched_bytes: f64,
}

/// Whether a load makes weights of this type of others.
fn is_packing(quant_type: &str) -> bool {
    let mut packings = llm_convert::OutputType::PACKINGS.into_iter();
    packings.any(|packing| packing.name().eq_ignore_ascii_case(quant_type))
}

/// Fetches what is missing of a model, on a thread that may block.
///
/// # Errors
/// Whatever keeps the model from being fetched, with its code.
#[napi(catch_unwind)]
pub fn download_model<'env>(
    env: &'env Env,
    call: DownloadCall,
    cancel: &NativeCancel,
    on_progress: Option<ProgressCallback>,
) -> napi::Result<PromiseRaw<'env, DownloadedModel>> {
    let cancel = cancel.handle();
    let work = blocking(move || -> Result<_, Failure> {
        let config = call.hub.into_config(PathBuf::from(call.hf_cache))?;
        let request = DownloadRequest {
            id: &call.id,
            revision: call.revision.as_deref(),
            quant_type: call.quant_type.as_deref(),
            may_convert: call.quant_type.as_deref().is_some_and(is_packing),
        };
        let mut progress =
            |progress: DownloadProgress| report(on_progress.as_ref(), progress.into());
        Ok(download(request, &config, &cancel, &mut progress)?)
    });
    env.spawn_future(async move {
        let downloaded = work.await?;
        Ok(DownloadedModel {
            path: downloaded.path.display().to_string(),
            commit: downloaded.commit,
            bytes: downloaded.bytes as f64,
            fetched_bytes: downloaded.fetched as f64,
        })
    })
}
