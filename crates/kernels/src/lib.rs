//! All arithmetic of the forward pass, on slices: ternary and dense products, norms, rotary embedding, attention.
//!
//! A [`Compute`] holds the kernels of one instruction set ([`Kernels`]) and a thread pool. Results do not depend on either:
//! integer products are exact, and float sums follow one fixed order ([`LANES`] virtual lanes, multiply then add), so every
//! instruction set, thread count and batch size gives the same bits.
//!
//! This is the one home of `unsafe` arithmetic: safe entry points check lengths, and holding a [`Kernels`] proves that the
//! processor has its instructions.

mod aligned;
mod attention;
mod blocks;
mod coarse;
mod compute;
mod dense;
mod disjoint;
mod dispatch;
mod dot;
mod error;
mod float;
mod isa;
mod kv;
mod kv_read;
mod limits;
mod memory;
mod pack;
mod pool;
mod portable;
mod quantize;
mod rope;
mod simd;
mod ternary;
mod trits;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use attention::{AttentionSpec, KvView};
pub use coarse::{CoarseMatrix, MAX_TOP, RowReader, TopRows};
pub use compute::{Activation, Compute};
pub use dense::{DenseMatrix, DenseType};
pub use error::KernelError;
pub use isa::{Isa, Kernels};
pub use kv::{KV_BLOCK, KvBlock, KvOutOfMemory};
pub use limits::{int8_dot_peak, read_bandwidth};
pub use pack::{pack_codes, pack_hf, pack_i2s, pack_master, pack_tq1_0, pack_tq2_0};
pub use quantize::QuantizedRows;
pub use rope::{RopeBlock, RopePairing};
pub use simd::LANES;
pub use ternary::{PANEL_ROWS, TernaryMatrix};
