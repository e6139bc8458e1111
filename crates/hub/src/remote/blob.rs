//! One file from the hub to its place in the cache.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::client::{Client, Purpose, Reply};
use super::manifest::{Manifest, RemoteFile};
use super::partial::Partial;
use super::patience::Failure;
use super::progress::Reporter;
use super::ranges;
use crate::error::HubError;
use crate::hf_cache::{CachedRepo, at, create_parent};

/// How often a lock that another process holds is tried.
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// A smaller rest comes in one piece.
const MIN_PARALLEL: u64 = 4 << 20;

/// Where one file is fetched.
pub(crate) struct Source<'a> {
    pub(crate) client: &'a Client,
    pub(crate) purpose: Purpose<'a>,
    pub(crate) size: u64,
    url: String,
    /// Where the hub redirected to: asked first the next time.
    storage: Mutex<Option<String>>,
}

impl Source<'_> {
    /// Asks for the bytes from `first` to `last`; the answer is those or, from servers that know no ranges, the whole file.
    pub(crate) fn open(&self, first: u64, last: u64) -> Result<Reply, Failure> {
        let storage = self.storage().clone();
        let url = storage.as_ref().unwrap_or(&self.url);
        let is_whole = first == 0 && last + 1 == self.size;
        let range = (!is_whole).then_some((first, last));
        let reply = self.client.get(url, range, self.purpose);
        if reply.is_err() {
            // Its links run out: the hub makes a new one.
            *self.storage() = None;
        }
        let reply = reply?;
        let is_right = match reply.is_partial() {
            true => reply.content_range() == Some((first, self.size)),
            false => reply
                .content_length()
                .is_none_or(|length| length == self.size),
        };
        if !is_right {
            return Err(Failure::passing(
                "the server has another length than the hub says",
            ));
        }
        if reply.url != self.url {
            *self.storage() = Some(reply.url.clone());
        }
        Ok(reply)
    }

    fn storage(&self) -> MutexGuard<'_, Option<String>> {
        self.storage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fetches a file unless it is here already; tells how many bytes came over the network.
pub(crate) fn fetch(
    client: &Client,
    cached: &CachedRepo,
    manifest: &Manifest,
    file: &RemoteFile,
    connections: usize,
    reporter: &mut Reporter<'_>,
) -> Result<u64, HubError> {
    reporter.begin(&file.path, file.size);
    let place = cached.blob(&file.etag);
    let mut fetched = 0;
    if !is_whole(&place, file.size) {
        let incomplete = incomplete(&place);
        let lock = lock(client, &cached.lock(&file.etag), &incomplete, reporter)?;
        if !is_whole(&place, file.size) {
            let what = format!("{} of {}", file.path, manifest.repo);
            let source = Source {
                client,
                purpose: manifest.purpose(&what),
                size: file.size,
                url: manifest.url(client, &file.path),
                storage: Mutex::new(None),
            };
            fetched = arrive(&source, file, &incomplete, &place, connections, reporter)?;
        }
        drop(lock);
    }
    reporter.end();
    Ok(fetched)
}

/// Bytes of a file that still have to be fetched.
pub(crate) fn missing(cached: &CachedRepo, file: &RemoteFile) -> u64 {
    let place = cached.blob(&file.etag);
    if is_whole(&place, file.size) {
        return 0;
    }
    let here = fs::metadata(incomplete(&place)).map_or(0, |metadata| metadata.len());
    file.size.saturating_sub(here)
}

fn is_whole(place: &Path, size: u64) -> bool {
    fs::metadata(place).is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
}

fn incomplete(place: &Path) -> PathBuf {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    place.with_file_name(format!("{name}.incomplete"))
}

/// What an earlier try or another tool left may be damaged: then the file is fetched once more from its first byte.
fn arrive(
    source: &Source<'_>,
    file: &RemoteFile,
    incomplete: &Path,
    place: &Path,
    connections: usize,
    reporter: &mut Reporter<'_>,
) -> Result<u64, HubError> {
    let mut fetched = 0;
    for is_last in [false, true] {
        let mut partial = Partial::open(incomplete.to_owned(), file.size, &file.etag)?;
        let before = partial.written();
        let is_large = file.size - before > MIN_PARALLEL && connections > 1;
        let came = is_large && ranges::fetch(source, &mut partial, connections, reporter)?;
        if !came {
            one_by_one(source, &mut partial, reporter)?;
        }
        fetched += file.size - before;
        match partial.finish(&file.path, &file.etag, place) {
            Err(HubError::Checksum { .. }) if !is_last => {}
            result => return result.map(|()| fetched),
        }
    }
    Ok(fetched)
}

/// One request for all that is left, and another one from where it broke off.
fn one_by_one(
    source: &Source<'_>,
    partial: &mut Partial,
    reporter: &mut Reporter<'_>,
) -> Result<(), HubError> {
    let mut patience = source.client.patience();
    while partial.written() < source.size {
        let start = partial.written();
        let result = source.open(start, source.size - 1).and_then(|reply| {
            // A server without ranges sends from the beginning.
            let mut skip = if reply.is_partial() { 0 } else { start };
            let wanted = source.size - start + skip;
            source.client.read(reply, wanted, &mut |piece| {
                let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
                skip -= skipped as u64;
                partial.append(&piece[skipped..])?;
                reporter.at(partial.written(), false);
                Ok(())
            })
        });
        patience.renew(partial.written() - start);
        if let Err(failure) = result {
            patience.wait(failure, source.purpose)?;
        }
    }
    Ok(())
}

/// Holds the lock that Hugging Face tools hold while they fetch the same content; waits while another process has it, and
/// reports how far that one is.
fn lock(
    client: &Client,
    path: &Path,
    incomplete: &Path,
    reporter: &mut Reporter<'_>,
) -> Result<File, HubError> {
    create_parent(path)?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    let file = options.open(path).map_err(at(path))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => return Err(at(path)(source)),
        }
        let here = fs::metadata(incomplete).map_or(0, |metadata| metadata.len());
        reporter.at(here, true);
        client.cancel.sleep(LOCK_PAUSE)?;
    }
}
