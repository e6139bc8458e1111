use super::gather::{CodeOrder, PanelSource};
use super::write::SCALE_TAIL;
use super::{ONES, check, check_length, check_multiple, line_word, pack_panels};
use crate::ternary::{LINE_INPUTS, PANEL_ROWS};
use crate::{Compute, KernelError, TernaryMatrix};

/// Packs I2_S: each 128 values of a row in 32 bytes, value `j` in byte `j % 32`, bits `7 - 2 (j / 32)` and below; one f32 scale
/// for the tensor at byte `rows * cols / 4`, within a tail of 32 bytes. Code 3, which no writer makes, stands for zero.
///
/// # Errors
/// A length that does not fit, columns that are no multiple of 128, or a scale that is not finite.
pub fn pack_i2s(
    compute: &Compute,
    rows: usize,
    cols: usize,
    bytes: &[u8],
) -> Result<TernaryMatrix, KernelError> {
    check(rows, cols, 0.0)?;
    check_multiple("I2_S", "cols", 128, cols)?;
    check_length("I2_S weights", rows * cols / 4 + SCALE_TAIL, bytes)?;
    let (codes, tail) = bytes.split_at(rows * cols / 4);
    let scale = f32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]);
    let panel = |first: usize| {
        Some(PanelSource {
            bytes: &codes[first * cols / 4..(first + PANEL_ROWS) * cols / 4],
            stride: cols / 4,
            order: CodeOrder::Groups32,
        })
    };
    pack_panels(compute, rows, cols, scale, panel, |row, _, words| {
        let bytes = &codes[row * cols / 4..][..cols / 4];
        let blocks = bytes.as_chunks::<32>().0;
        for (words, block) in words.as_chunks_mut::<8>().0.iter_mut().zip(blocks) {
            for (half, bytes) in block.as_chunks::<LINE_INPUTS>().0.iter().enumerate() {
                let bytes = u128::from_le_bytes(*bytes);
                for quarter in 0..4 {
                    let codes = bytes >> (6 - 2 * quarter) & (3 * ONES);
                    let threes = codes & codes >> 1 & ONES;
                    words[2 * quarter + half] = line_word(codes ^ threes << 1);
                }
            }
        }
        Ok(())
    })
}
