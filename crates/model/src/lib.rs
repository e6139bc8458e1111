//! Weights and forward passes of the supported model families.
//!
//! [`load`] turns an open model file into a [`Model`]; [`Model::forward`] appends tokens to the key-value caches of one
//! or more sequences and returns logits. This crate knows no text and no sampling, and starts no threads: arithmetic is
//! `llm-kernels`', and the caller's [`Compute`] brings the threads.
//!
//! Results do not depend on how tokens are cut into batches: a prompt fed at once, in chunks, token by token or beside
//! other sequences gives the same bits, on every instruction set and thread count.
#![forbid(unsafe_code)]

mod blueprint;
mod config;
mod decoder;
mod error;
mod estimate;
mod families;
mod fields;
mod head;
mod kv_cache;
mod kv_file;
mod linear;
mod logits;
mod roles;
mod rope;
mod weights;

pub use blueprint::{Blueprint, Container, LocalLayers, Target, Weight};
pub use config::{ModelConfig, Pooling, RopePairing, RopeScaling};
pub use decoder::Decoder;
pub use error::ModelError;
pub use estimate::resident_bound;
pub use families::ROPE_SCALING_KEY;
pub use kv_cache::{KvCache, KvUsage};
pub use logits::{Logits, LogitsRow};
pub use roles::{NormKind, ProjectionKind, Role};

use std::sync::Arc;

use llm_format::{KernelShape, ModelFile};
use llm_kernels::{Compute, RopeBlock};

use linear::ProjectScratch;

pub use weights::{EXACT_SCALES_KEYS, I2S_ARM_KEY, TILES_KEY, dense_type};

/// A loaded model: weights and the way through them.
pub trait Model: Send + Sync {
    /// Sizes and names.
    fn config(&self) -> &ModelConfig;

    /// An empty cache for one sequence of this model.
    fn new_cache(&self) -> KvCache;

    /// Appends the tokens of every entry to its cache and writes the wanted logits to `logits`, row after row in the
    /// order of the entries: f32, full precision.
    ///
    /// # Errors
    /// [`ModelError::TokenOutOfRange`] before anything is computed; [`ModelError::OutOfMemory`] when a cache cannot
    /// grow. After an error the caches hold what they held before.
    fn forward(
        &self,
        compute: &Compute,
        scratch: &mut Scratch,
        batch: &mut [BatchEntry<'_>],
        logits: &mut Logits,
    ) -> Result<(), ModelError>;

    /// Appends the tokens as [`forward`](Self::forward) does, and writes what would go into the head instead of what comes out
    /// of it: the normed hidden states of the positions whose logits the entries ask for, `[rows][n_embd]`.
    ///
    /// # Errors
    /// As [`forward`](Self::forward)'s.
    fn hidden_states(
        &self,
        compute: &Compute,
        scratch: &mut Scratch,
        batch: &mut [BatchEntry<'_>],
        hidden: &mut Vec<f32>,
    ) -> Result<(), ModelError>;
}

/// One sequence's share of a forward pass.
#[derive(Debug)]
pub struct BatchEntry<'a> {
    /// Token ids to append, at least one.
    pub tokens: &'a [u32],
    /// The sequence's keys and values so far; `tokens` start at position `cache.len()`.
    pub cache: &'a mut KvCache,
    /// Which positions' logits are wanted.
    pub logits: LogitsOf,
}

/// Which positions of an entry need logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogitsOf {
    /// None: a prompt chunk that is not the last.
    None,
    /// The last token's.
    Last,
    /// Of the last token's, at least the `k` largest and all that tie with the last of them, where that is cheaper than
    /// all.
    Top(usize),
    /// Every token's.
    All,
    /// Of every token's what [`Top`](Self::Top) gives of the last one's.
    TopOfEach(usize),
}

impl LogitsOf {
    /// How many rows of logits `n_tokens` tokens give.
    #[must_use]
    pub fn rows(self, n_tokens: usize) -> usize {
        match self {
            Self::None => 0,
            Self::Last | Self::Top(_) => n_tokens.min(1),
            Self::All | Self::TopOfEach(_) => n_tokens,
        }
    }

    /// The same of every token.
    #[must_use]
    pub fn of_each(self) -> Self {
        match self {
            Self::Last => Self::All,
            Self::Top(k) => Self::TopOfEach(k),
            other => other,
        }
    }
}

/// Buffers of a forward pass, kept between calls so that a decoded token allocates nothing.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) x: Vec<f32>,
    pub(crate) normed: Vec<f32>,
    pub(crate) q: Vec<f32>,
    pub(crate) k: Vec<f32>,
    pub(crate) v: Vec<f32>,
    pub(crate) attention: Vec<f32>,
    pub(crate) gate: Vec<f32>,
    pub(crate) up: Vec<f32>,
    pub(crate) projected: Vec<f32>,
    /// The tables of every kind of layer.
    pub(crate) ropes: Vec<Vec<Arc<RopeBlock>>>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) project: ProjectScratch,
}

/// How to load.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// How logits are computed.
    pub head: HeadMode,
    /// The block order of I2_S tensors. `None`: what the file says, if it is one of ours, else the usual one.
    pub i2s_order: Option<I2sOrder>,
    /// Tile sizes of TL1 and TL2 tensors, before those that are known.
    pub kernel_shapes: Vec<KernelShape>,
}

/// How logits are computed; they are the same either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeadMode {
    /// Where that is worth it, the largest logits ([`LogitsOf::Top`]) are found through a rounded copy of the head: it takes 8 bits a
    /// weight, of which a token reads 6.
    #[default]
    Auto,
    /// All of them, always, from the weights of the file.
    Full,
}

/// The block order of I2_S, which nothing in the files of others tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum I2sOrder {
    /// Blocks of 128 values: all published files, and those of bitnet.cpp on x86-64.
    #[default]
    X86,
    /// Blocks of 64 values: files that bitnet.cpp quantised on ARM64 since November 2025.
    Arm,
}

/// Reads the weights of `file` and picks the family by the architecture that the file names.
///
/// `progress` is called with the bytes of weights read so far and in all.
///
/// # Errors
/// [`ModelError`] naming the key or tensor that is wrong, what was expected and what was found; an unknown architecture
/// lists those that are known.
pub fn load(
    file: &ModelFile,
    compute: &Compute,
    options: &LoadOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Box<dyn Model>, ModelError> {
    families::load(file, compute, options, progress)
}
