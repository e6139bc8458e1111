//! Downloads from a hub on this machine, one that behaves and one that does not.

mod abort;
mod faults;
mod hub;
mod layout;
mod refusals;
mod sharing;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hub::{Builder, COMMIT, FakeHub, REPO};
use llm_hub::{
    Cancel, DownloadProgress, DownloadRequest, Downloaded, HubConfig, HubError, Retries, download,
};
use tempfile::TempDir;

/// A cache of its own for each test.
struct Cache {
    folder: TempDir,
}

impl Cache {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        Self { folder }
    }

    fn config(&self, hub: &FakeHub) -> HubConfig {
        HubConfig {
            endpoint: hub.url.clone(),
            // Longer than a busy machine takes to answer.
            stall_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            retries: Retries {
                attempts: 4,
                first_pause: Duration::from_millis(5),
                longest_pause: Duration::from_secs(2),
            },
            ..HubConfig::new(self.folder.path().to_owned())
        }
    }

    /// For tests in which something stalls.
    fn impatient(&self, hub: &FakeHub) -> HubConfig {
        HubConfig {
            stall_timeout: Duration::from_millis(300),
            ..self.config(hub)
        }
    }

    fn download(&self, hub: &FakeHub) -> Result<Downloaded, HubError> {
        download(
            request(),
            &self.config(hub),
            &Cancel::default(),
            &mut |_| {},
        )
    }

    /// A path in the folder of the repository.
    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("models--owner--tiny").join(path)
    }

    fn blob(&self, content: &[u8]) -> PathBuf {
        self.at("blobs").join(hub::etag(content))
    }

    fn incomplete(&self, content: &[u8]) -> PathBuf {
        self.at("blobs")
            .join(format!("{}.incomplete", hub::etag(content)))
    }

    fn snapshot(&self) -> PathBuf {
        self.at("snapshots").join(COMMIT)
    }
}

fn request() -> DownloadRequest<'static> {
    DownloadRequest {
        id: REPO,
        revision: None,
        quant_type: None,
        may_convert: false,
    }
}

/// Bytes that differ from place to place.
fn bytes(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .collect()
}

/// A repository with one GGUF file of this content.
fn gguf(content: &[u8]) -> Builder {
    Builder::default().file("ggml-model-i2_s.gguf", content)
}

fn hugging_face() -> Builder {
    Builder::default()
        .file("config.json", "{}")
        .file("tokenizer.json", bytes(5000))
        .file("tokenizer_config.json", "{ }")
        .file("model.safetensors", bytes(300_000))
        .file("README.md", "hello")
        .file("pytorch_model.bin", bytes(9000))
        .file("onnx/model.safetensors", bytes(3000))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn last(reports: &[DownloadProgress]) -> &DownloadProgress {
    reports.last().unwrap()
}
