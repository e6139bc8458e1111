//! The GGUF container, versions 2 and 3, little-endian: header, metadata, tensor table, data.
//!
//! ```text
//! "GGUF"  u32 version  u64 n_tensors  u64 n_kv
//! n_kv      x { string key, u32 type, value }
//! n_tensors x { string name, u32 n_dims, u64 dims[n_dims], u32 type, u64 offset }
//! padding to the alignment, then the data section that the offsets count from
//! string = u64 length + UTF-8
//! ```

mod metadata;
mod table;
mod types;
mod value;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use metadata::Metadata;
pub(crate) use types::id_of as type_id;
pub use value::{Array, Value};

use crate::error::{FormatError, GgufError};
use crate::files;
use crate::mmap::Map;
use crate::reader::Reader;
use crate::tensor::{Bytes, Tensor};
use table::Entry;

pub(crate) const MAGIC: &[u8; 4] = b"GGUF";
/// Where tensors begin when the file does not say: multiples of 32 bytes.
pub(crate) const DEFAULT_ALIGNMENT: u64 = 32;
const MIN_ALIGNMENT: u64 = 8;
const MAX_ALIGNMENT: u64 = 1 << 16;

/// An opened GGUF file.
pub struct Gguf {
    path: PathBuf,
    map: Arc<Map>,
    version: u32,
    alignment: usize,
    metadata: Metadata,
    tensors: Vec<Entry>,
    by_name: HashMap<String, usize>,
}

impl Gguf {
    /// Maps the file and reads its header.
    ///
    /// # Errors
    /// [`FormatError::Gguf`] says what is wrong inside the file; the other variants why it could
    /// not be mapped.
    pub fn open(path: &Path) -> Result<Self, FormatError> {
        Self::from_map(path, files::map_file(path)?)
    }

    /// Reads a file that is in memory already; `path` is only its name in errors and reports.
    ///
    /// # Errors
    /// [`FormatError::Gguf`] says what is wrong inside the file.
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self, FormatError> {
        Self::from_map(path, Map::of_bytes(bytes))
    }

    pub(crate) fn from_map(path: &Path, map: Map) -> Result<Self, FormatError> {
        Self::parse(path, map).map_err(|problem| FormatError::Gguf {
            path: path.to_owned(),
            problem,
        })
    }

    fn parse(path: &Path, map: Map) -> Result<Self, GgufError> {
        let bytes = map.as_slice();
        let mut reader = Reader::new(bytes);
        let version = read_version(&mut reader)?;
        let n_tensors = reader.count("tensor count", table::MIN_ENTRY_SIZE, table::MAX_TENSORS)?;
        let metadata = metadata::read(&mut reader)?;
        refuse_split(&metadata)?;
        let alignment = read_alignment(&metadata)?;
        let tensors = table::read(&mut reader, n_tensors, &metadata, alignment, bytes.len())?;
        let by_name = table::index(&tensors)?;
        let (path, map) = (path.to_owned(), Arc::new(map));
        Ok(Self {
            path,
            map,
            version,
            alignment,
            metadata,
            tensors,
            by_name,
        })
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The container version, 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// What tensor offsets are multiples of, in bytes.
    pub fn alignment(&self) -> usize {
        self.alignment
    }

    /// Size of the file in bytes.
    pub fn file_len(&self) -> u64 {
        self.map.as_slice().len() as u64
    }

    /// The key-value pairs.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The tensor of that name, if there is one.
    pub fn tensor(&self, name: &str) -> Option<Tensor> {
        self.tensors
            .get(*self.by_name.get(name)?)
            .and_then(|entry| self.view(entry))
    }

    /// All tensors in file order.
    pub fn tensors(&self) -> impl Iterator<Item = Tensor> + '_ {
        self.tensors.iter().filter_map(|entry| self.view(entry))
    }

    /// `None` never happens: `table::read` has checked the range against the file.
    fn view(&self, entry: &Entry) -> Option<Tensor> {
        Some(Tensor {
            name: entry.name.clone(),
            dtype: entry.dtype,
            shape: entry.shape.clone(),
            bytes: Bytes::new(&self.map, entry.range.clone())?,
        })
    }
}

impl fmt::Debug for Gguf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gguf")
            .field("path", &self.path)
            .field("version", &self.version)
            .field("tensors", &self.tensors.len())
            .finish_non_exhaustive()
    }
}

/// Whether a file begins like a GGUF file.
pub(crate) fn has_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

fn read_version(reader: &mut Reader<'_>) -> Result<u32, GgufError> {
    if reader.take(MAGIC.len(), "magic")? != MAGIC {
        return Err(GgufError::Magic);
    }
    let version = reader.u32("version")?;
    match (version, version.swap_bytes()) {
        (2 | 3, _) => Ok(version),
        (_, swapped @ 1..=3) => Err(GgufError::BigEndian { version: swapped }),
        _ => Err(GgufError::Version { version }),
    }
}

/// A part of a split model lacks tensors; saying so beats "tensor missing" later.
fn refuse_split(metadata: &Metadata) -> Result<(), GgufError> {
    let number = |key| metadata.get(key).and_then(Value::as_u64);
    match number("split.count") {
        Some(parts) if parts > 1 => {
            let part = number("split.no").unwrap_or(0).saturating_add(1);
            Err(GgufError::Split { part, parts })
        }
        _ => Ok(()),
    }
}

fn read_alignment(metadata: &Metadata) -> Result<usize, GgufError> {
    let value = metadata.get("general.alignment");
    let error = |found| GgufError::Alignment {
        min: MIN_ALIGNMENT,
        max: MAX_ALIGNMENT,
        found,
    };
    let Some(value) = value else {
        return Ok(DEFAULT_ALIGNMENT as usize);
    };
    let Some(alignment) = value.as_u64() else {
        return Err(error(format!("a value of type {}", value.type_name())));
    };
    if !alignment.is_power_of_two() || !(MIN_ALIGNMENT..=MAX_ALIGNMENT).contains(&alignment) {
        return Err(error(alignment.to_string()));
    }
    Ok(alignment as usize)
}
