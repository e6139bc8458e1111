//! From panels back to the files' weight layouts, row by row. The layouts are drawn where they are read.

use half::f16;

use super::check_multiple;
use crate::disjoint::DisjointMut;
use crate::ternary::PANEL_ROWS;
use crate::{Compute, KernelError, TernaryMatrix};

/// Bytes behind the codes of layouts with one scale for the tensor.
pub(super) const SCALE_TAIL: usize = 32;

/// `ceil(256 n / 243)` of every number `n` of five digits to base 3.
pub(super) const DIGITS: [u8; 243] = {
    let mut bytes = [0; 243];
    let mut n = 0;
    while n < bytes.len() {
        bytes[n] = (256 * n).div_ceil(243) as u8;
        n += 1;
    }
    bytes
};

/// Rows one after another: a prefix, then blocks, each of which ends with a suffix; a tail behind all rows.
pub(super) struct RowLayout<'a> {
    pub(super) name: &'static str,
    /// Values of a block.
    pub(super) block: usize,
    /// Bytes of a block without its suffix.
    pub(super) block_bytes: usize,
    pub(super) row_prefix: &'a [u8],
    pub(super) block_suffix: &'a [u8],
    pub(super) tail: &'a [u8],
}

/// The scale, and zeros.
pub(super) fn scale_tail(scale: f32) -> [u8; SCALE_TAIL] {
    let mut tail = [0; SCALE_TAIL];
    tail[..4].copy_from_slice(&scale.to_le_bytes());
    tail
}

/// Writes all rows: `encode(codes, bytes)` makes the bytes of a block.
pub(super) fn write_rows(
    compute: &Compute,
    matrix: &TernaryMatrix,
    layout: &RowLayout<'_>,
    encode: impl Fn(&[u8], &mut [u8]) + Sync,
) -> Result<Vec<u8>, KernelError> {
    let (rows, cols) = (matrix.rows(), matrix.cols());
    check_multiple(layout.name, "cols", layout.block, cols)?;
    let block_bytes = layout.block_bytes + layout.block_suffix.len();
    let row_bytes = layout.row_prefix.len() + cols / layout.block * block_bytes;
    let mut bytes = zeros(rows * row_bytes + layout.tail.len())?;
    let (body, tail) = bytes.split_at_mut(rows * row_bytes);
    tail.copy_from_slice(layout.tail);
    let body = DisjointMut::new(body);
    compute.pool().run(rows.div_ceil(PANEL_ROWS), 1, &|panels| {
        let (mut reader, mut codes) = (matrix.reader(), vec![0; cols]);
        for row in panels.start * PANEL_ROWS..(panels.end * PANEL_ROWS).min(rows) {
            reader.read(row, &mut codes);
            // SAFETY: the pool hands out every panel once, and rows do not overlap.
            let bytes = unsafe { body.slice(row * row_bytes..(row + 1) * row_bytes) };
            let (prefix, blocks) = bytes.split_at_mut(layout.row_prefix.len());
            prefix.copy_from_slice(layout.row_prefix);
            let codes = codes.chunks_exact(layout.block);
            for (codes, bytes) in codes.zip(blocks.chunks_exact_mut(block_bytes)) {
                let (bytes, suffix) = bytes.split_at_mut(layout.block_bytes);
                encode(codes, bytes);
                suffix.copy_from_slice(layout.block_suffix);
            }
        }
    });
    Ok(bytes)
}

/// `len` zeros.
pub(super) fn zeros(len: usize) -> Result<Vec<u8>, KernelError> {
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(len)
        .map_err(|_| KernelError::OutOfMemory { bytes: len })?;
    bytes.resize(len, 0);
    Ok(bytes)
}

/// Writes I2_S: what [`pack_i2s`](crate::pack_i2s) reads.
///
/// # Errors
/// Columns that are no multiple of 128, or no memory.
pub fn write_i2s(compute: &Compute, matrix: &TernaryMatrix) -> Result<Vec<u8>, KernelError> {
    let layout = RowLayout {
        name: "I2_S",
        block: 128,
        block_bytes: 32,
        row_prefix: &[],
        block_suffix: &[],
        tail: &scale_tail(matrix.scale()),
    };
    write_rows(compute, matrix, &layout, |codes, bytes| {
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = codes[at] << 6 | codes[32 + at] << 4 | codes[64 + at] << 2 | codes[96 + at];
        }
    })
}

/// Writes TQ2_0 blocks, each with the matrix's scale rounded to f16: what [`pack_tq2_0`](crate::pack_tq2_0) reads.
///
/// # Errors
/// Columns that are no multiple of 256, or no memory.
pub fn write_tq2_0(compute: &Compute, matrix: &TernaryMatrix) -> Result<Vec<u8>, KernelError> {
    let layout = RowLayout {
        name: "TQ2_0",
        block: 256,
        block_bytes: 64,
        row_prefix: &[],
        block_suffix: &f16::from_f32(matrix.scale()).to_le_bytes(),
        tail: &[],
    };
    write_rows(compute, matrix, &layout, |codes, bytes| {
        for (codes, bytes) in codes.chunks_exact(128).zip(bytes.chunks_exact_mut(32)) {
            for (at, byte) in bytes.iter_mut().enumerate() {
                *byte = codes[at] | codes[32 + at] << 2 | codes[64 + at] << 4 | codes[96 + at] << 6;
            }
        }
    })
}

/// Writes TQ1_0 blocks, each with the matrix's scale rounded to f16: what [`pack_tq1_0`](crate::pack_tq1_0) reads.
///
/// # Errors
/// Columns that are no multiple of 256, or no memory.
pub fn write_tq1_0(compute: &Compute, matrix: &TernaryMatrix) -> Result<Vec<u8>, KernelError> {
    let layout = RowLayout {
        name: "TQ1_0",
        block: 256,
        block_bytes: 52,
        row_prefix: &[],
        block_suffix: &f16::from_f32(matrix.scale()).to_le_bytes(),
        tail: &[],
    };
    write_rows(compute, matrix, &layout, |codes, bytes| {
        high_digit_first(&codes[..160], &mut bytes[..32]);
        high_digit_first(&codes[160..240], &mut bytes[32..48]);
        high_digit_first(&codes[240..], &mut bytes[48..]);
    })
}

/// Byte `i` of `n`: the codes `i`, `n + i`, `2 n + i` …, five of them, or four and a zero.
fn high_digit_first(codes: &[u8], bytes: &mut [u8]) {
    let n = bytes.len();
    for (at, byte) in bytes.iter_mut().enumerate() {
        let digit = |i: usize| codes.get(i * n + at).map_or(0, |&code| usize::from(code));
        *byte = DIGITS[(0..5).fold(0, |number, i| 3 * number + digit(i))];
    }
}

/// Writes the uint8 tensors of Hugging Face checkpoints, without the scale, which is a tensor of its own there: what
/// [`pack_hf`](crate::pack_hf) reads.
///
/// # Errors
/// Rows that are no multiple of 4, or no memory.
pub fn write_hf(compute: &Compute, matrix: &TernaryMatrix) -> Result<Vec<u8>, KernelError> {
    let (rows, cols) = (matrix.rows(), matrix.cols());
    check_multiple("packed uint8", "rows", 4, rows)?;
    let quarter = rows / 4;
    let mut bytes = zeros(quarter * cols)?;
    let packed = DisjointMut::new(&mut bytes);
    compute.pool().run(quarter, PANEL_ROWS, &|range| {
        let mut quarters = [0, 1, 2, 3].map(|index| (index, matrix.reader()));
        let mut codes = vec![0; cols];
        for row in range {
            // SAFETY: the pool hands out every row once.
            let bytes = unsafe { packed.slice(row * cols..(row + 1) * cols) };
            for (index, reader) in &mut quarters {
                reader.read(*index * quarter + row, &mut codes);
                for (byte, code) in bytes.iter_mut().zip(&codes) {
                    *byte |= code << (2 * *index);
                }
            }
        }
    });
    Ok(bytes)
}
