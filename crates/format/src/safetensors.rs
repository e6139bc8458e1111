//! One safetensors file: `u64` header length, JSON header, data. The header is read and validated
//! by the `safetensors` crate (offsets tile the data section exactly, sizes follow from shapes);
//! here its findings get names, and its types become ours.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype as FileDtype, SafeTensorError, TensorInfo};

use crate::dtype::Dtype;
use crate::error::{FormatError, SafetensorsError};
use crate::files;
use crate::mmap::Map;

/// Headers of the largest shards published have about one megabyte. The JSON is held in memory
/// several times its size while it is parsed.
const MAX_HEADER_LEN: u64 = 1 << 24;
const LENGTH_SIZE: usize = 8;
/// Most characters of a parser's message that are passed on: it may quote a whole JSON string.
const MAX_PROBLEM: usize = 200;

/// A mapped file and what its header lists.
#[derive(Debug)]
pub(crate) struct WeightFile {
    pub(crate) map: Arc<Map>,
    pub(crate) tensors: Vec<(String, Entry)>,
}

/// One tensor of a file.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Bytes in the file, checked to be inside it.
    pub(crate) range: Range<usize>,
}

impl WeightFile {
    /// Maps a file and reads its header.
    pub(crate) fn open(path: &Path) -> Result<Self, FormatError> {
        let map = files::map_file(path)?;
        let tensors = read_header(map.as_slice()).map_err(|problem| FormatError::Safetensors {
            path: path.to_owned(),
            problem,
        })?;
        Ok(Self {
            map: Arc::new(map),
            tensors,
        })
    }

    /// Size of the file in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.map.as_slice().len() as u64
    }
}

/// The tensors of a file, by offset.
fn read_header(bytes: &[u8]) -> Result<Vec<(String, Entry)>, SafetensorsError> {
    let header = header_json(bytes)?;
    let data_start = LENGTH_SIZE + header.len();
    let (_, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|error| explain(error, bytes, header))?;
    let names = metadata.offset_keys();
    if names.is_empty() {
        return Err(SafetensorsError::NoTensors);
    }
    let mut tensors = Vec::with_capacity(names.len());
    for name in names {
        let Some(info) = metadata.info(&name) else {
            continue;
        };
        let Some(dtype) = dtype_of(info.dtype) else {
            return Err(SafetensorsError::UnsupportedType {
                name,
                dtype: info.dtype.to_string(),
            });
        };
        let (begin, end) = info.data_offsets;
        let range = data_start + begin..data_start + end;
        tensors.push((
            name,
            Entry {
                dtype,
                shape: info.shape.clone(),
                range,
            },
        ));
    }
    Ok(tensors)
}

/// The bytes of the JSON header, once its length is known to be sane.
fn header_json(bytes: &[u8]) -> Result<&[u8], SafetensorsError> {
    let truncated = SafetensorsError::Truncated { len: bytes.len() };
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_SIZE>() else {
        return Err(truncated);
    };
    let len = u64::from_le_bytes(*length);
    if len > MAX_HEADER_LEN {
        return Err(SafetensorsError::HeaderTooLarge {
            len,
            limit: MAX_HEADER_LEN,
        });
    }
    // At most MAX_HEADER_LEN, so the cast keeps the value.
    rest.get(..len as usize).ok_or(truncated)
}

/// Finds the tensor that a validation error is about. The crate tells less than a user needs.
fn explain(error: SafeTensorError, bytes: &[u8], header: &[u8]) -> SafetensorsError {
    let mut infos = tensor_infos(header);
    infos.sort_by_key(|(_, info)| info.data_offsets);
    let mut covered = 0;
    for (name, info) in infos {
        let (begin, end) = info.data_offsets;
        if begin != covered || end < begin {
            return SafetensorsError::Offsets { name, begin, end };
        }
        let bits = info
            .shape
            .iter()
            .try_fold(info.dtype.bitsize(), |n, &dim| n.checked_mul(dim));
        if bits.is_none_or(|bits| bits.div_ceil(8) != end - begin) {
            let (dtype, found) = (info.dtype.to_string(), end - begin);
            return SafetensorsError::Size {
                name,
                dtype,
                shape: info.shape,
                found,
            };
        }
        covered = end;
    }
    match error {
        SafeTensorError::MetadataIncompleteBuffer => SafetensorsError::DataLength {
            expected: covered,
            found: bytes.len() - LENGTH_SIZE - header.len(),
        },
        other => SafetensorsError::Header {
            problem: other.to_string().chars().take(MAX_PROBLEM).collect(),
        },
    }
}

/// The header's tensors without any check; none when the JSON itself is broken.
fn tensor_infos(header: &[u8]) -> Vec<(String, TensorInfo)> {
    #[derive(serde::Deserialize)]
    struct Header {
        #[serde(rename = "__metadata__")]
        _metadata: Option<serde::de::IgnoredAny>,
        #[serde(flatten)]
        tensors: HashMap<String, TensorInfo>,
    }
    match serde_json::from_slice::<Header>(header) {
        Ok(header) => header.tensors.into_iter().collect(),
        Err(_) => Vec::new(),
    }
}

fn dtype_of(dtype: FileDtype) -> Option<Dtype> {
    match dtype {
        FileDtype::F32 => Some(Dtype::F32),
        FileDtype::F16 => Some(Dtype::F16),
        FileDtype::BF16 => Some(Dtype::Bf16),
        FileDtype::F64 => Some(Dtype::F64),
        FileDtype::I8 => Some(Dtype::I8),
        FileDtype::U8 => Some(Dtype::U8),
        FileDtype::I16 => Some(Dtype::I16),
        FileDtype::U16 => Some(Dtype::U16),
        FileDtype::I32 => Some(Dtype::I32),
        FileDtype::U32 => Some(Dtype::U32),
        FileDtype::I64 => Some(Dtype::I64),
        FileDtype::U64 => Some(Dtype::U64),
        FileDtype::BOOL => Some(Dtype::Bool),
        _ => None,
    }
}
