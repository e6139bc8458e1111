//! What can be wrong inside safetensors files and their index.

use thiserror::Error;

use super::{Shown, ShownShape};

/// What is wrong inside a safetensors file.
#[derive(Debug, Error)]
pub enum SafetensorsError {
    /// The file ends before the header does.
    #[error("the file is truncated: {len} bytes are too short for its header")]
    Truncated {
        /// The file's length in bytes.
        len: usize,
    },
    /// The announced header is larger than any real one.
    #[error("not a safetensors file: header length {len} is too large, the limit is {limit}")]
    HeaderTooLarge {
        /// The announced length.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// The header is not the JSON that it should be.
    #[error("invalid safetensors header: {problem}")]
    Header {
        /// The parser's finding.
        problem: String,
    },
    /// A tensor's byte count does not follow from its type and shape.
    #[error(
        "tensor {name}: shape {shape} of {dtype} does not match its size of {found} bytes",
        name = Shown(.name),
        shape = ShownShape(.shape)
    )]
    Size {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: String,
        /// Its shape.
        shape: Vec<usize>,
        /// What its offsets span.
        found: usize,
    },
    /// Tensors do not lie one after the other.
    #[error(
        "tensor {name}: invalid offsets {begin}..{end}, out of range or overlapping another tensor",
        name = Shown(.name)
    )]
    Offsets {
        /// The tensor.
        name: String,
        /// First byte in the data section.
        begin: usize,
        /// One past the last byte.
        end: usize,
    },
    /// The data section is shorter or longer than the header says.
    #[error(
        "the size of the data section does not match the header: {expected} bytes expected, \
         {found} found; the file is truncated or has trailing bytes"
    )]
    DataLength {
        /// Bytes that the header describes.
        expected: usize,
        /// Bytes behind the header.
        found: usize,
    },
    /// A tensor has a type that cannot be read.
    #[error("tensor {name}: dtype {dtype} is not supported", name = Shown(.name))]
    UnsupportedType {
        /// The tensor.
        name: String,
        /// The type's name.
        dtype: String,
    },
    /// The file lists no tensors.
    #[error("the file holds no tensors")]
    NoTensors,
}

/// Why an index and its shards do not fit together.
#[derive(Debug, Error)]
pub enum ShardError {
    /// There is no `weight_map` object.
    #[error("the index is invalid: expected an object `weight_map`, found {found}")]
    NoWeightMap {
        /// What was found in its place.
        found: &'static str,
    },
    /// `weight_map` lists nothing.
    #[error("the index has an empty weight_map")]
    EmptyWeightMap,
    /// More shards than any real model has.
    #[error("the index names too many shards: {count}, the limit is {limit}")]
    TooManyShards {
        /// Shards named.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// A shard is not named by a string.
    #[error("the index names no shard for tensor {name}: expected a string", name = Shown(.name))]
    NotAString {
        /// The tensor.
        name: String,
    },
    /// A shard's name is not the name of a file in the folder.
    #[error(
        "invalid shard name {shard}: expected the plain name of a file inside the folder, {problem}",
        shard = Shown(.shard)
    )]
    ShardName {
        /// The name in the index.
        shard: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A shard that the index names is not there.
    #[error("shard {shard} is missing: no such file", shard = Shown(.shard))]
    MissingShard {
        /// The shard.
        shard: String,
    },
    /// A tensor is not in the shard that the index names for it.
    #[error(
        "tensor {name} not found in shard {shard}, where the index puts it",
        name = Shown(.name),
        shard = Shown(.shard)
    )]
    TensorNotInShard {
        /// The tensor.
        name: String,
        /// The shard that the index names.
        shard: String,
    },
    /// Two shards hold a tensor of one name.
    #[error("tensor {name} is in more than one shard", name = Shown(.name))]
    DuplicateTensor {
        /// The tensor.
        name: String,
    },
}
