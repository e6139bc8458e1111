//! What can be wrong inside a GGUF file.

use thiserror::Error;

use super::Shown;

/// What is wrong inside a GGUF file.
#[derive(Debug, Error)]
pub enum GgufError {
    /// The first four bytes are not "GGUF".
    #[error("not a GGUF file: the magic bytes are missing")]
    Magic,
    /// The file ends inside a part of the header.
    #[error(
        "unexpected end of file in {what} at byte {offset}: {needed} bytes needed, {left} left; \
         the file is truncated or its header is broken"
    )]
    UnexpectedEnd {
        /// The part being read.
        what: &'static str,
        /// Where it begins.
        offset: usize,
        /// Its length.
        needed: u64,
        /// What is left of the file.
        left: usize,
    },
    /// A count announces more than the rest of the file can hold.
    #[error(
        "{what} {count} is too large for the {left} bytes left: the file is truncated or its \
         header is broken"
    )]
    CountBeyondEnd {
        /// What is counted: "tensor count", "metadata array length", ...
        what: &'static str,
        /// The announced number.
        count: u64,
        /// What is left of the file.
        left: usize,
    },
    /// A count or length is over its limit, which no real file comes near.
    #[error("{what} is too large: {count} announced, the limit is {limit}")]
    TooMany {
        /// What is counted or measured.
        what: &'static str,
        /// The announced number.
        count: u64,
        /// The most that is accepted here.
        limit: u64,
    },
    /// The metadata would take more memory than any real model's.
    #[error("the metadata is too large: more than {limit} bytes of memory")]
    MetadataTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A big-endian file.
    #[error("big-endian GGUF files are not supported (version {version} byte-swapped)")]
    BigEndian {
        /// The version after swapping.
        version: u32,
    },
    /// A version other than 2 and 3.
    #[error("GGUF version {version} is not supported: versions 2 and 3 are")]
    Version {
        /// The version in the file.
        version: u32,
    },
    /// A string is not UTF-8.
    #[error("{what} at byte {offset} is not UTF-8")]
    NotUtf8 {
        /// Which string.
        what: &'static str,
        /// Where it begins.
        offset: usize,
    },
    /// A metadata value has a type id that does not exist.
    #[error("metadata key {key}: unknown value type {id}", key = Shown(.key))]
    ValueType {
        /// The key.
        key: String,
        /// The type id.
        id: u32,
    },
    /// Arrays lie in arrays too deep.
    #[error("metadata key {key}: arrays nested deeper than {limit}", key = Shown(.key))]
    ArrayDepth {
        /// The key.
        key: String,
        /// The deepest nesting accepted.
        limit: usize,
    },
    /// A boolean is neither 0 nor 1.
    #[error("metadata key {key}: {found} is no boolean, expected 0 or 1", key = Shown(.key))]
    Bool {
        /// The key.
        key: String,
        /// The byte in the file.
        found: u8,
    },
    /// A metadata key occurs twice.
    #[error("duplicate metadata key {key}", key = Shown(.key))]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// `general.alignment` is no usable number.
    #[error("general.alignment must be a power of two from {min} to {max}, found {found}")]
    Alignment {
        /// The smallest accepted.
        min: u64,
        /// The largest accepted.
        max: u64,
        /// The value or type found.
        found: String,
    },
    /// The file is one part of a model split over several files.
    #[error(
        "the file is part {part} of {parts} of a split model: merge the parts into one file first"
    )]
    Split {
        /// Number of this part, from 1.
        part: u64,
        /// How many parts there are.
        parts: u64,
    },
    /// The file lists no tensors.
    #[error("the file holds no tensors")]
    NoTensors,
    /// Two tensors have one name.
    #[error("duplicate tensor {name}", name = Shown(.name))]
    DuplicateTensor {
        /// The name.
        name: String,
    },
    /// A tensor has no dimensions, or too many, or one of zero.
    #[error("tensor {name}: invalid shape {dims:?}: {problem}", name = Shown(.name))]
    Dims {
        /// The tensor.
        name: String,
        /// Dimensions in file order (fastest first).
        dims: Vec<u64>,
        /// What is wrong with them.
        problem: &'static str,
    },
    /// The announced number of dimensions is not 1 to 4.
    #[error("tensor {name}: shape of {n_dims} dimensions, expected 1 to {max}", name = Shown(.name))]
    DimCount {
        /// The tensor.
        name: String,
        /// The announced number.
        n_dims: u32,
        /// The most accepted.
        max: u32,
    },
    /// A row is not a whole number of blocks.
    #[error(
        "tensor {name}: rows of {row} values are not a multiple of the {dtype} block of {block}",
        name = Shown(.name)
    )]
    RowNotBlocks {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: &'static str,
        /// Values a row.
        row: usize,
        /// Values a block.
        block: usize,
    },
    /// A tensor type is known by name but cannot be read.
    #[error("tensor {name}: type {type_name} (id {id}) is not supported", name = Shown(.name))]
    UnsupportedType {
        /// The tensor.
        name: String,
        /// The type's name.
        type_name: &'static str,
        /// The type id.
        id: u32,
    },
    /// A tensor type id that no known program writes.
    #[error("tensor {name}: unknown type id {id}", name = Shown(.name))]
    UnknownType {
        /// The tensor.
        name: String,
        /// The type id.
        id: u32,
    },
    /// A tensor does not begin on the file's alignment.
    #[error(
        "tensor {name}: offset {offset} is not a multiple of the alignment {alignment}",
        name = Shown(.name)
    )]
    Unaligned {
        /// The tensor.
        name: String,
        /// Offset in the data section.
        offset: u64,
        /// The file's alignment.
        alignment: usize,
    },
    /// A tensor reaches beyond the end of the file.
    #[error(
        "tensor {name}: its size of {size} bytes at offset {offset} goes beyond the {available} \
         bytes of the data section: the file is truncated, or the offset or shape is wrong",
        name = Shown(.name)
    )]
    OutsideFile {
        /// The tensor.
        name: String,
        /// Offset in the data section.
        offset: u64,
        /// Bytes that its type and shape need.
        size: usize,
        /// Bytes that the data section has.
        available: usize,
    },
    /// Two tensors share bytes.
    #[error(
        "tensors {first} and {second} overlap: wrong offset, type or size",
        first = Shown(.first),
        second = Shown(.second)
    )]
    Overlap {
        /// The tensor that begins first.
        first: String,
        /// The one that begins before the first one ends.
        second: String,
    },
}
