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
mod encode;
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
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm32;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use attention::{AttentionSpec, KvView};
pub use coarse::{CoarseMatrix, MAX_TOP, RowReader, TopRows};
pub use compute::{Activation, Compute};
pub use dense::{DenseMatrix, DenseType};
pub use encode::encode_rows;
pub use error::KernelError;
pub use isa::{Isa, Kernels};
pub use kv::{KV_BLOCK, KvBlock, KvOutOfMemory};
pub use limits::{int8_dot_peak, read_bandwidth};
pub use pack::{
    TlTiles, pack_codes, pack_hf, pack_i2s, pack_i2s_arm, pack_iq1_bn, pack_iq2_bn, pack_iq2_bn_r4,
    pack_master, pack_tiles, pack_tl1, pack_tl2, pack_tq1_0, pack_tq2_0, reorder_rows, write_hf,
    write_i2s, write_i2s_arm, write_iq1_bn, write_iq2_bn, write_tiles, write_tl1, write_tl2,
    write_tq1_0, write_tq2_0,
};
pub use quantize::QuantizedRows;
pub use rope::RopeBlock;
pub use simd::LANES;
pub use ternary::{PANEL_ROWS, TernaryMatrix};
