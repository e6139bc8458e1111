//! How far a download is.

use std::time::{Duration, Instant};

/// Reports follow each other at this distance; the first and the last of a file are never left out.
const DISTANCE: Duration = Duration::from_millis(100);

/// A moment of a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadProgress {
    /// Path in the repository of the file that is being fetched.
    pub file: String,
    /// Bytes of it that are here.
    pub file_done: u64,
    /// Bytes of it.
    pub file_total: u64,
    /// Bytes of all files that are here, those that were here before included.
    pub done: u64,
    /// Bytes of all files.
    pub total: u64,
    /// Whether another process is fetching this file.
    pub is_waiting: bool,
}

/// Counts and reports.
pub(crate) struct Reporter<'a> {
    report: &'a mut dyn FnMut(DownloadProgress),
    /// Bytes of the files before the current one.
    before: u64,
    total: u64,
    file: String,
    file_total: u64,
    last: Option<Instant>,
}

impl<'a> Reporter<'a> {
    pub(crate) fn new(report: &'a mut dyn FnMut(DownloadProgress)) -> Self {
        Self {
            report,
            before: 0,
            total: 0,
            file: String::new(),
            file_total: 0,
            last: None,
        }
    }

    /// There are so many bytes more to fetch.
    pub(crate) fn expect(&mut self, bytes: u64) {
        self.total = self.total.saturating_add(bytes);
    }

    /// The next file.
    pub(crate) fn begin(&mut self, file: &str, file_total: u64) {
        file.clone_into(&mut self.file);
        self.file_total = file_total;
        self.last = None;
    }

    /// So much of the file is here.
    pub(crate) fn at(&mut self, file_done: u64, is_waiting: bool) {
        if self.last.is_some_and(|last| last.elapsed() < DISTANCE) {
            return;
        }
        self.last = Some(Instant::now());
        self.send(file_done, is_waiting);
    }

    /// The whole file is here.
    pub(crate) fn end(&mut self) {
        self.send(self.file_total, false);
        self.before += self.file_total;
    }

    fn send(&mut self, file_done: u64, is_waiting: bool) {
        (self.report)(DownloadProgress {
            file: self.file.clone(),
            file_done,
            file_total: self.file_total,
            done: self.before + file_done,
            total: self.total,
            is_waiting,
        });
    }
}
