//! The beginning of a file that is being fetched.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::digest::Digest;
use crate::error::HubError;
use crate::hf_cache::{at, create_parent};

/// `blobs/<etag>.incomplete`. It only ever grows at its end, so its length says what is here, to this program after a kill
/// and to other tools; holes would be taken for content.
pub(crate) struct Partial {
    file: File,
    path: PathBuf,
    digest: Option<Digest>,
    size: u64,
    written: u64,
}

impl Partial {
    /// Goes on where an earlier try ended, reading what it left for the hash.
    pub(crate) fn open(path: PathBuf, size: u64, etag: &str) -> Result<Self, HubError> {
        create_parent(&path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(at(&path))?;
        let mut partial = Self {
            digest: Digest::for_etag(etag, size),
            file,
            path,
            size,
            written: 0,
        };
        let len = partial.file.metadata().map_err(at(&partial.path))?.len();
        if len > size {
            partial.file.set_len(0).map_err(at(&partial.path))?;
        } else if let Some(digest) = &mut partial.digest {
            let read = digest.update_from(&partial.file, len);
            partial.written = read.map_err(at(&partial.path))?;
        } else {
            partial.written = len;
        }
        let end = SeekFrom::Start(partial.written);
        partial.file.seek(end).map_err(at(&partial.path))?;
        Ok(partial)
    }

    /// Bytes that are here.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        self.file.write_all(bytes).map_err(at(&self.path))?;
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
        }
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Gives the whole file its name, if it is what `etag` says.
    ///
    /// # Errors
    /// [`HubError::Checksum`] when it is not; it is gone then.
    pub(crate) fn finish(self, name: &str, etag: &str, place: &Path) -> Result<(), HubError> {
        debug_assert_eq!(self.written, self.size);
        if let Some(digest) = self.digest {
            let algorithm = digest.algorithm;
            let found = digest.finish();
            if !found.eq_ignore_ascii_case(etag) {
                fs::remove_file(&self.path).map_err(at(&self.path))?;
                return Err(HubError::Checksum {
                    file: name.to_owned(),
                    algorithm,
                    expected: etag.to_owned(),
                    found,
                });
            }
        }
        // The content must be on the disk before the name that vouches for it.
        self.file.sync_data().map_err(at(&self.path))?;
        drop(self.file);
        fs::rename(&self.path, place).map_err(at(place))
    }
}
