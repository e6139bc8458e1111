use super::gather::{CodeOrder, PanelSource};
use super::write::{RowLayout, SCALE_TAIL, scale_tail, write_rows};
use super::{check, check_length, check_multiple, pack_panels, words_of_codes};
use crate::ternary::PANEL_ROWS;
use crate::{Compute, KernelError, TernaryMatrix};

/// Values of a block.
const BLOCK: usize = 64;

/// Bytes of a block.
const BLOCK_BYTES: usize = 16;

/// Packs I2_S in the block order of ARM builds of bitnet.cpp since November 2025, which nothing in a file tells from the usual
/// one: each 64 values of a row in 16 bytes, value `j` in byte `j % 16`; scale and tail as usual. Code 3, which no writer makes,
/// stands for zero.
///
/// ```text
/// byte p = c[p] << 6 | c[16 + p] << 4 | c[32 + p] << 2 | c[48 + p]
/// ```
///
/// # Errors
/// A length that does not fit, columns that are no multiple of 64, or a scale that is not finite.
pub fn pack_i2s_arm(
    compute: &Compute,
    rows: usize,
    cols: usize,
    bytes: &[u8],
) -> Result<TernaryMatrix, KernelError> {
    check(rows, cols, 0.0)?;
    check_multiple("I2_S (ARM)", "cols", BLOCK, cols)?;
    check_length("I2_S weights", rows * cols / 4 + SCALE_TAIL, bytes)?;
    let (packed, tail) = bytes.split_at(rows * cols / 4);
    let scale = f32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]);
    let codes = |row: usize, codes: &mut [u8]| {
        let blocks = packed[row * cols / 4..][..cols / 4].chunks_exact(BLOCK_BYTES);
        for (block, codes) in blocks.zip(codes.chunks_exact_mut(BLOCK)) {
            for (group, codes) in codes.chunks_exact_mut(BLOCK_BYTES).enumerate() {
                for (code, byte) in codes.iter_mut().zip(block) {
                    let two_bits = byte >> (6 - 2 * group) & 3;
                    *code = if two_bits == 3 { 1 } else { two_bits };
                }
            }
        }
    };
    let panel = |first: usize| {
        Some(PanelSource {
            bytes: &packed[first * cols / 4..(first + PANEL_ROWS) * cols / 4],
            stride: cols / 4,
            order: CodeOrder::Groups16,
        })
    };
    pack_panels(compute, rows, cols, scale, panel, |row, buffer, words| {
        words_of_codes(row, cols, buffer, words, codes)
    })
}

/// Writes I2_S in the block order of ARM builds.
///
/// # Errors
/// Columns that are no multiple of 64, or no memory.
pub fn write_i2s_arm(compute: &Compute, matrix: &TernaryMatrix) -> Result<Vec<u8>, KernelError> {
    let layout = RowLayout {
        name: "I2_S (ARM)",
        block: BLOCK,
        block_bytes: BLOCK_BYTES,
        row_prefix: &[],
        block_suffix: &[],
        tail: &scale_tail(matrix.scale()),
    };
    write_rows(compute, matrix, &layout, |codes, bytes| {
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = codes[at] << 6 | codes[16 + at] << 4 | codes[32 + at] << 2 | codes[48 + at];
        }
    })
}
