//! Read-only bytes of a whole file, mapped where the system can do that, else read. The only unsafe code of the crate.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;

#[cfg(not(target_family = "wasm"))]
use memmap2::Mmap;

/// The bytes of one file. Shared by all tensors cut from it.
pub(crate) struct Map {
    storage: Storage,
}

enum Storage {
    /// The file too: some reads are better not made through the map.
    #[cfg(not(target_family = "wasm"))]
    Mapped(Mmap, File),
    Owned(Vec<u8>),
}

impl Map {
    /// Maps a regular file that the caller has checked to be one. Empty files give no bytes.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn of_file(file: File) -> io::Result<Self> {
        // SAFETY: the mapping is read-only and private to this struct, which hands out shared
        // slices only. What cannot be excluded is another process changing or truncating the file
        // meanwhile; bytes are plain data here, so a change yields other numbers, and a truncation
        // ends this process by a signal (as it would any program that maps files).
        let mapped = unsafe { Mmap::map(&file) }?;
        Ok(Self {
            storage: Storage::Mapped(mapped, file),
        })
    }

    /// Reads a regular file: WebAssembly has no maps.
    #[cfg(target_family = "wasm")]
    pub(crate) fn of_file(mut file: File) -> io::Result<Self> {
        use std::io::Read;
        let out_of_memory = |_| io::Error::from(io::ErrorKind::OutOfMemory);
        let len = usize::try_from(file.metadata()?.len())
            .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).map_err(out_of_memory)?;
        file.read_to_end(&mut bytes)?;
        Ok(Self::of_bytes(bytes))
    }

    /// Takes bytes that are in memory already.
    pub(crate) fn of_bytes(bytes: Vec<u8>) -> Self {
        Self {
            storage: Storage::Owned(bytes),
        }
    }

    /// All bytes of the file.
    pub(crate) fn as_slice(&self) -> &[u8] {
        match &self.storage {
            #[cfg(not(target_family = "wasm"))]
            Storage::Mapped(map, _) => map,
            Storage::Owned(bytes) => bytes,
        }
    }

    /// Copies the bytes from `start` on to `out`, without mapping their pages where the system can; `false` when they do not
    /// lie in the file.
    pub(crate) fn read_at(&self, start: usize, out: &mut [u8]) -> bool {
        #[cfg(unix)]
        if let Storage::Mapped(_, file) = &self.storage {
            use std::os::unix::fs::FileExt;
            if file.read_exact_at(out, start as u64).is_ok() {
                return true;
            }
        }
        let source = start
            .checked_add(out.len())
            .and_then(|end| self.as_slice().get(start..end));
        source.map(|bytes| out.copy_from_slice(bytes)).is_some()
    }

    /// Tells the operating system that the pages of `range` may leave memory; they are read from
    /// the file again when touched. A refusal costs memory only, so it is not an error.
    #[cfg(unix)]
    pub(crate) fn release(&self, range: &Range<usize>) {
        let inside = range.start < range.end && range.end <= self.as_slice().len();
        if let (Storage::Mapped(map, _), true) = (&self.storage, inside) {
            // SAFETY: the map is file-backed and never written to, so dropping its pages does not
            // change what a read sees: it faults the same bytes in again. That also holds for
            // neighbours on the first and last page, which may be read at the same time.
            let _ = unsafe {
                map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    range.start,
                    range.len(),
                )
            };
        }
    }

    /// Nothing: there is no such advice here.
    #[cfg(not(unix))]
    pub(crate) fn release(&self, _range: &Range<usize>) {}
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Map({} bytes)", self.as_slice().len())
    }
}
