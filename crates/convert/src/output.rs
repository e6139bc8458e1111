//! Output that is there whole or not at all: written under another name beside its place, synced, renamed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::ConvertError;

/// A file or folder on its way to its place. Dropped before [`commit`](Self::commit), it leaves nothing.
#[derive(Debug)]
pub(crate) struct Output {
    place: PathBuf,
    partial: PathBuf,
    is_committed: bool,
}

impl Output {
    /// Something that will lie at `place`, where nothing may lie yet.
    pub(crate) fn new(place: &Path) -> Result<Self, ConvertError> {
        if fs::symlink_metadata(place).is_ok() {
            return Err(ConvertError::OutputExists {
                path: place.to_owned(),
            });
        }
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let partial = format!(".{name}.partial-{}", std::process::id());
        Ok(Self {
            partial: place.with_file_name(partial),
            place: place.to_owned(),
            is_committed: false,
        })
    }

    /// Where it will lie.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// Whether its name has that ending.
    pub(crate) fn place_ends_in(&self, extension: &str) -> bool {
        let found = self.place.extension();
        found.is_some_and(|found| found.eq_ignore_ascii_case(extension))
    }

    /// Where it is written.
    pub(crate) fn partial(&self) -> &Path {
        &self.partial
    }

    /// Creates the file.
    pub(crate) fn create_file(&self) -> Result<File, ConvertError> {
        // Read as well, so that the header can be looked at again.
        let mut options = File::options();
        options.write(true).create_new(true);
        options
            .open(&self.partial)
            .map_err(|source| self.failed(source))
    }

    /// Creates the folder.
    pub(crate) fn create_folder(&self) -> Result<(), ConvertError> {
        fs::create_dir(&self.partial).map_err(|source| self.failed(source))
    }

    /// An error about the output.
    pub(crate) fn failed(&self, source: io::Error) -> ConvertError {
        ConvertError::Write {
            path: self.place.clone(),
            source: source.into(),
        }
    }

    /// Has everything reach the disk, and gives it its name, which is returned.
    pub(crate) fn commit(mut self) -> Result<PathBuf, ConvertError> {
        self.sync_and_rename()
            .map_err(|source| self.failed(source))?;
        self.is_committed = true;
        Ok(self.place.clone())
    }

    fn sync_and_rename(&self) -> io::Result<()> {
        if self.partial.is_dir() {
            sync_files(&self.partial)?;
        } else {
            sync(&self.partial)?;
        }
        fs::rename(&self.partial, &self.place)?;
        // The name is on the disk once the folder is; not every system can open folders.
        let folder = self
            .place
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
            folder.sync_all()?;
        }
        Ok(())
    }
}

fn sync_files(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_files(&path)?;
        } else {
            sync(&path)?;
        }
    }
    Ok(())
}

fn sync(path: &Path) -> io::Result<()> {
    File::options().write(true).open(path)?.sync_all()
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.is_committed {
            return;
        }
        // An error here would hide the one that led here.
        let _ = if self.partial.is_dir() {
            fs::remove_dir_all(&self.partial)
        } else {
            fs::remove_file(&self.partial)
        };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_not_committed_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::new(&folder.path().join("model.gguf")).unwrap();
        output.create_file().unwrap().write_all(b"half").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(output);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let output = Output::new(&folder.path().join("model")).unwrap();
        output.create_folder().unwrap();
        fs::write(output.partial().join("config.json"), "{}").unwrap();
        drop(output);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_committed_lies_in_its_place_and_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("model.gguf");
        let output = Output::new(&place).unwrap();
        output.create_file().unwrap().write_all(b"whole").unwrap();
        output.commit().unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"whole");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let error = Output::new(&place).unwrap_err();
        assert!(matches!(error, ConvertError::OutputExists { .. }));
    }
}
