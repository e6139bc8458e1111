//! The tensor table: names, shapes, types and places, checked against each other and the file.

use std::collections::HashMap;
use std::ops::Range;

use super::metadata::Metadata;
use super::types::{self, TypeId};
use super::value::Value;
use crate::dtype::Dtype;
use crate::error::GgufError;
use crate::reader::Reader;

/// Far above the largest mixture-of-experts models (some ten thousand).
pub(super) const MAX_TENSORS: usize = 1 << 16;
/// Smallest description of a tensor: empty name, one dimension, type, offset.
pub(super) const MIN_ENTRY_SIZE: usize = 8 + 4 + 8 + 4 + 8;
/// llama.cpp stops at 63 bytes.
const MAX_NAME_LEN: usize = 1 << 12;
const MAX_DIMS: u32 = 4;
/// `general.file_type` of files whose weights are TL2, as the first bitnet.cpp engine numbers it.
const FILE_TYPE_TL2: u64 = 39;

/// One tensor as described by the table.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    /// Row-major: the file's order reversed.
    pub(super) shape: Vec<usize>,
    /// Bytes in the file; relative to the data section until [`place`] has moved it.
    pub(super) range: Range<usize>,
}

/// What the table says of one tensor, before its place is known to be good.
#[derive(Debug)]
pub(super) struct Described {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    size: usize,
    offset: u64,
}

/// Reads the table of `n_tensors` descriptions.
pub(super) fn read(
    reader: &mut Reader<'_>,
    n_tensors: usize,
    metadata: &Metadata,
) -> Result<Vec<Described>, GgufError> {
    if n_tensors == 0 {
        return Err(GgufError::NoTensors);
    }
    let is_old_bitnet = is_old_bitnet(metadata);
    (0..n_tensors)
        .map(|_| read_one(reader, is_old_bitnet))
        .collect()
}

/// Whether the first bitnet.cpp engine wrote the file with TL2 weights.
fn is_old_bitnet(metadata: &Metadata) -> bool {
    let is_bitnet = match metadata.get("general.architecture") {
        Some(Value::String(name)) => name.starts_with("bitnet"),
        _ => false,
    };
    let file_type = metadata.get("general.file_type").and_then(Value::as_u64);
    is_bitnet && file_type == Some(FILE_TYPE_TL2)
}

fn read_one(reader: &mut Reader<'_>, is_old_bitnet: bool) -> Result<Described, GgufError> {
    let name = reader.string("tensor name", MAX_NAME_LEN)?.to_owned();
    let dims = read_dims(reader, &name)?;
    let id = reader.u32("tensor type")?;
    let dtype = match types::resolve(id, is_old_bitnet) {
        TypeId::Known(dtype) => dtype,
        TypeId::Unsupported(type_name) => {
            return Err(GgufError::UnsupportedType {
                name,
                type_name,
                id,
            });
        }
        TypeId::Unknown => return Err(GgufError::UnknownType { name, id }),
    };
    let offset = reader.u64("tensor offset")?;
    let shape = shape_of(&name, &dims)?;
    let row = shape.last().copied().unwrap_or_default();
    let (block, _) = dtype.block();
    if !row.is_multiple_of(block) {
        return Err(GgufError::RowNotBlocks {
            name,
            dtype: dtype.name(),
            row,
            block,
        });
    }
    let Some(size) = dtype.byte_len(&shape) else {
        let problem = "the size in bytes overflows";
        return Err(GgufError::Dims {
            name,
            dims,
            problem,
        });
    };
    Ok(Described {
        name,
        dtype,
        shape,
        size,
        offset,
    })
}

fn read_dims(reader: &mut Reader<'_>, name: &str) -> Result<Vec<u64>, GgufError> {
    let n_dims = reader.u32("tensor dimensions")?;
    if !(1..=MAX_DIMS).contains(&n_dims) {
        return Err(GgufError::DimCount {
            name: name.to_owned(),
            n_dims,
            max: MAX_DIMS,
        });
    }
    (0..n_dims)
        .map(|_| reader.u64("tensor dimensions"))
        .collect()
}

/// The row-major shape of dimensions in file order (fastest first).
fn shape_of(name: &str, dims: &[u64]) -> Result<Vec<usize>, GgufError> {
    let error = |problem| GgufError::Dims {
        name: name.to_owned(),
        dims: dims.to_vec(),
        problem,
    };
    let shape: Option<Vec<usize>> = dims
        .iter()
        .rev()
        .map(|&dim| usize::try_from(dim).ok())
        .collect();
    let shape = shape.ok_or_else(|| error("a dimension is too large"))?;
    if shape.contains(&0) {
        return Err(error("a dimension is zero"));
    }
    Ok(shape)
}

/// Finds each tensor's bytes in a file of `file_len` bytes whose table ends at `table_end`. They
/// must be aligned, inside the file and apart from each other; holes are allowed, since some
/// writers leave the scales of a tensor behind it without listing them.
pub(super) fn place(
    described: Vec<Described>,
    table_end: usize,
    alignment: usize,
    file_len: usize,
) -> Result<Vec<Entry>, GgufError> {
    let data_start = table_end.next_multiple_of(alignment);
    let available = file_len.saturating_sub(data_start);
    let mut entries = Vec::with_capacity(described.len());
    for tensor in described {
        let Described {
            name,
            dtype,
            shape,
            size,
            offset,
        } = tensor;
        if !offset.is_multiple_of(alignment as u64) {
            return Err(GgufError::Unaligned {
                name,
                offset,
                alignment,
            });
        }
        let range = usize::try_from(offset)
            .ok()
            .and_then(|start| Some(start..start.checked_add(size)?))
            .filter(|range| range.end <= available);
        let Some(range) = range else {
            return Err(GgufError::OutsideFile {
                name,
                offset,
                size,
                available,
            });
        };
        let range = data_start + range.start..data_start + range.end;
        entries.push(Entry {
            name,
            dtype,
            shape,
            range,
        });
    }
    refuse_overlaps(&entries)?;
    Ok(entries)
}

fn refuse_overlaps(entries: &[Entry]) -> Result<(), GgufError> {
    let mut by_place: Vec<&Entry> = entries.iter().collect();
    by_place.sort_by_key(|entry| entry.range.start);
    for pair in by_place.windows(2) {
        if let [first, second] = pair
            && first.range.end > second.range.start
        {
            let (first, second) = (first.name.clone(), second.name.clone());
            return Err(GgufError::Overlap { first, second });
        }
    }
    Ok(())
}

/// Positions by name; a name that occurs twice is an error.
pub(super) fn index(entries: &[Entry]) -> Result<HashMap<String, usize>, GgufError> {
    let mut by_name = HashMap::with_capacity(entries.len());
    for (position, entry) in entries.iter().enumerate() {
        if by_name.insert(entry.name.clone(), position).is_some() {
            return Err(GgufError::DuplicateTensor {
                name: entry.name.clone(),
            });
        }
    }
    Ok(by_name)
}
