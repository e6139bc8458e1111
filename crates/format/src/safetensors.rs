//! One safetensors file: `u64` header length, JSON header, data. The header is parsed and validated
//! by the `safetensors` crate (tensors lie one after the other, sizes follow from shapes); here it
//! is held against the file, findings get names, and types become ours.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use safetensors::tensor::{Dtype as FileDtype, Metadata, TensorInfo};

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
    let metadata: Metadata =
        serde_json::from_slice(header).map_err(|error| explain(&error, header))?;
    // The tensors tile 0..data_len, so with this every one of them is inside the file. (The crate's
    // own comparison, in `read_metadata`, adds the lengths up without looking for an overflow.)
    let (expected, found) = (metadata.data_len(), bytes.len() - data_start);
    if expected != found {
        return Err(SafetensorsError::DataLength { expected, found });
    }
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
fn explain(error: &serde_json::Error, header: &[u8]) -> SafetensorsError {
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
    let problem = error.to_string().chars().take(MAX_PROBLEM).collect();
    SafetensorsError::Header { problem }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file with this header and `data_len` bytes of data.
    fn file(header: &str, data_len: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data_len, 7);
        bytes
    }

    const TWO_TENSORS: &str = r#"{"__metadata__":{"format":"pt"},
        "b":{"dtype":"BF16","shape":[3],"data_offsets":[8,14]},
        "a":{"dtype":"U8","shape":[2,4],"data_offsets":[0,8]}}  "#;

    #[test]
    fn a_header_gives_types_shapes_and_ranges() {
        let tensors = read_header(&file(TWO_TENSORS, 14)).expect("valid");
        let start = 8 + TWO_TENSORS.len();
        let found: Vec<_> = tensors
            .iter()
            .map(|(name, t)| (name.as_str(), t.dtype, t.shape.as_slice(), t.range.clone()))
            .collect();
        assert_eq!(
            found,
            [
                ("a", Dtype::U8, [2, 4].as_slice(), start..start + 8),
                ("b", Dtype::Bf16, [3].as_slice(), start + 8..start + 14),
            ]
        );
    }

    #[test]
    fn errors_name_the_tensor_and_the_finding() {
        let tensor = |shape: &str, offsets: &str| {
            format!(r#"{{"w":{{"dtype":"F16","shape":{shape},"data_offsets":{offsets}}}}}"#)
        };
        let long_shape = format!("[{}]", vec!["1"; 100].join(","));
        let cases = [
            (
                tensor("[2,3]", "[0,10]"),
                "shape [2, 3] of F16 does not match its size of 10 bytes",
            ),
            (
                tensor(&long_shape, "[0,4]"),
                "shape [1, 1, 1, 1, 1, 1, 1, 1, ...] of F16",
            ),
            (
                tensor("[18446744073709551615]", "[0,12]"),
                "does not match its size of 12 bytes",
            ),
            (tensor("[6]", "[12,0]"), "tensor `w`: invalid offsets 12..0"),
            (tensor("[6]", "[2,14]"), "tensor `w`: invalid offsets 2..14"),
            (tensor("[5]", "[0,10]"), "10 bytes expected, 12 found"),
            (tensor("[7]", "[0,14]"), "14 bytes expected, 12 found"),
            (tensor("[6.5]", "[0,12]"), "invalid safetensors header"),
            (
                tensor("[6]", "[0,12]").replace("F16", "F8_E4M3"),
                "does not match",
            ),
            (
                tensor("[6]", "[0,12]").replace("F16", "C64"),
                "does not match",
            ),
            (
                tensor("[12]", "[0,12]").replace("F16", "F8_E4M3"),
                "`w`: dtype F8_E4M3 is not",
            ),
            ("{}".to_owned(), "0 bytes expected, 12 found"),
        ];
        for (header, expected) in cases {
            let error = read_header(&file(&header, 12))
                .expect_err(expected)
                .to_string();
            assert!(
                error.contains(expected),
                "{header}: `{error}` lacks `{expected}`"
            );
        }
    }

    #[test]
    fn sizes_that_overflow_when_added_up_do_not_pass() {
        let part = 1_u64 << 61;
        let tensors: Vec<String> = (0..8)
            .map(|i| {
                let end = if i == 7 {
                    u64::MAX - 40
                } else {
                    (i + 1) * part
                };
                let (begin, size) = (i * part, end - i * part);
                format!(r#""{i}":{{"dtype":"U8","shape":[{size}],"data_offsets":[{begin},{end}]}}"#)
            })
            .collect();
        let header = format!("{{{}}}", tensors.join(","));
        assert!(read_header(&file(&header, 16)).is_err());
    }

    proptest! {
        #[test]
        fn a_mutated_file_never_panics_and_never_reaches_outside(
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut in any::<prop::sample::Index>(),
            is_cut in any::<bool>(),
        ) {
            let mut bytes = file(TWO_TENSORS, 14);
            for (at, byte) in edits {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if is_cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            if let Ok(tensors) = read_header(&bytes) {
                for (name, entry) in tensors {
                    let needed = entry.dtype.byte_len(&entry.shape);
                    prop_assert_eq!(needed, Some(entry.range.len()), "{}", &name);
                    prop_assert!(bytes.get(entry.range).is_some(), "{}", name);
                }
            }
        }
    }
}
