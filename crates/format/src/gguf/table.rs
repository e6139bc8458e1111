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
    /// Bytes in the file.
    pub(super) range: Range<usize>,
}

/// What the table says of one tensor.
#[derive(Debug)]
struct Described {
    name: String,
    /// Row-major: the file's order reversed.
    shape: Vec<usize>,
    type_id: u32,
    offset: u64,
}

/// Reads the table of `n_tensors` descriptions, and finds each tensor's bytes in a file of `file_len` bytes.
pub(super) fn read(
    reader: &mut Reader<'_>,
    n_tensors: usize,
    metadata: &Metadata,
    alignment: usize,
    file_len: usize,
) -> Result<Vec<Entry>, GgufError> {
    if n_tensors == 0 {
        return Err(GgufError::NoTensors);
    }
    let described: Vec<Described> = (0..n_tensors)
        .map(|_| read_one(reader))
        .collect::<Result<_, _>>()?;
    let data_start = reader.position().next_multiple_of(alignment);
    let data = Data {
        start: data_start,
        len: file_len.saturating_sub(data_start),
        alignment,
    };
    let rooms = rooms(&described, data.len);
    let is_old_bitnet = is_old_bitnet(metadata);
    let entries: Vec<Entry> = described
        .into_iter()
        .zip(rooms)
        .map(|(tensor, room)| {
            let dtype = dtype(&tensor, room, is_old_bitnet)?;
            place(tensor, dtype, &data)
        })
        .collect::<Result<_, _>>()?;
    refuse_overlaps(&entries)?;
    Ok(entries)
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

fn read_one(reader: &mut Reader<'_>) -> Result<Described, GgufError> {
    let name = reader.string("tensor name", MAX_NAME_LEN)?.to_owned();
    let dims = read_dims(reader, &name)?;
    let type_id = reader.u32("tensor type")?;
    let offset = reader.u64("tensor offset")?;
    let shape = shape_of(&name, &dims)?;
    Ok(Described {
        name,
        shape,
        type_id,
        offset,
    })
}

/// How far it is from the beginning of each tensor to the next one, or to the end of the data.
fn rooms(described: &[Described], data_len: usize) -> Vec<u64> {
    let mut starts: Vec<u64> = described.iter().map(|tensor| tensor.offset).collect();
    starts.push(data_len as u64);
    starts.sort_unstable();
    let room = |tensor: &Described| {
        let next = starts.partition_point(|&start| start <= tensor.offset);
        starts.get(next).map_or(0, |end| end - tensor.offset)
    };
    described.iter().map(room).collect()
}

/// The type of a tensor that has `room` bytes for itself and its padding.
fn dtype(tensor: &Described, room: u64, is_old_bitnet: bool) -> Result<Dtype, GgufError> {
    let (name, id) = (tensor.name.clone(), tensor.type_id);
    let unsupported = |type_name| GgufError::UnsupportedType {
        name: tensor.name.clone(),
        type_name,
        id,
    };
    match types::resolve(id) {
        TypeId::Known(dtype) => Ok(dtype),
        TypeId::Unsupported(type_name) => Err(unsupported(type_name)),
        TypeId::Unknown => Err(GgufError::UnknownType { name, id }),
        TypeId::Tl2OrMxfp4 => {
            // MXFP4 takes more than twice the bytes, so that its room tells; a tensor that has more than either may have a
            // hole behind it, and then the metadata has the say.
            let fits = |len: Option<usize>| len.is_some_and(|len| len as u64 <= room);
            let is_tl2 = match (
                fits(Dtype::Tl2.byte_len(&tensor.shape)),
                fits(types::mxfp4_len(&tensor.shape)),
            ) {
                (true, false) => true,
                (false, true) => false,
                _ => is_old_bitnet,
            };
            if is_tl2 {
                Ok(Dtype::Tl2)
            } else {
                Err(unsupported(types::MXFP4))
            }
        }
    }
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

/// The part of the file behind the table.
struct Data {
    start: usize,
    len: usize,
    alignment: usize,
}

/// Finds a tensor's bytes: they must be aligned and inside the file.
fn place(tensor: Described, dtype: Dtype, data: &Data) -> Result<Entry, GgufError> {
    let Described {
        name,
        shape,
        offset,
        ..
    } = tensor;
    let size = byte_len(&name, dtype, &shape)?;
    if !offset.is_multiple_of(data.alignment as u64) {
        return Err(GgufError::Unaligned {
            name,
            offset,
            alignment: data.alignment,
        });
    }
    let range = usize::try_from(offset)
        .ok()
        .and_then(|start| Some(start..start.checked_add(size)?))
        .filter(|range| range.end <= data.len);
    let Some(range) = range else {
        return Err(GgufError::OutsideFile {
            name,
            offset,
            size,
            available: data.len,
        });
    };
    Ok(Entry {
        name,
        dtype,
        shape,
        range: data.start + range.start..data.start + range.end,
    })
}

fn byte_len(name: &str, dtype: Dtype, shape: &[usize]) -> Result<usize, GgufError> {
    let row = shape.last().copied().unwrap_or_default();
    if !row.is_multiple_of(dtype.block_len()) {
        return Err(GgufError::RowNotBlocks {
            name: name.to_owned(),
            dtype: dtype.name(),
            row,
            block: dtype.block_len(),
        });
    }
    dtype.byte_len(shape).ok_or_else(|| GgufError::Dims {
        name: name.to_owned(),
        dims: shape.iter().rev().map(|&dim| dim as u64).collect(),
        problem: "the size in bytes overflows, or is too small for the type",
    })
}

/// Tensors must lie apart from each other. Holes are allowed: some writers leave the scales of a tensor behind it without
/// listing them.
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
