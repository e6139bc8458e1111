//! The row-scaled ternary types of ik_llama.cpp.
//!
//! ```text
//! IQ2_BN row: f32 scale, then 16 bytes for every 64 values:
//!             byte j = c[j] | c[16 + j] << 2 | c[32 + j] << 4 | c[48 + j] << 6
//! IQ1_BN row: f16 scale, then 13 bytes for every 64 values:
//!             byte 3 s + t (s < 4, t < 3) = the five codes from 16 s + 5 t on, byte 12 = the codes 15, 31, 47 and 63;
//!             five codes are n = c0 + 3 c1 + 9 c2 + 27 c3 + 81 c4, stored as ceil(256 n / 243)
//! IQ2_BN_R4:  four rows together: their four f32 scales, then 64 bytes for every 64 columns:
//!             byte 16 l + 4 r + i = the codes of row r, columns 16 l + i, and 4, 8 and 12 further, low bits first
//! value = scale (c - 1)
//! ```

use half::f16;

use super::write::{DIGITS, RowLayout, write_rows};
use super::{check, check_length, check_multiple, pack_codes, pack_rows};
use crate::blocks::f16_at;
use crate::{Compute, KernelError, TernaryMatrix};

/// Values of a block.
const BLOCK: usize = 64;

/// How a row is stored: its scale, then its blocks.
struct RowScaled {
    name: &'static str,
    scale_bytes: usize,
    block_bytes: usize,
    scale: fn(&[u8]) -> f32,
    decode: fn(&[u8], &mut [u8]),
}

const IQ2_BN: RowScaled = RowScaled {
    name: "IQ2_BN",
    scale_bytes: 4,
    block_bytes: 16,
    scale: |row| f32::from_le_bytes([row[0], row[1], row[2], row[3]]),
    decode: |block, codes| {
        for (group, codes) in codes.chunks_exact_mut(16).enumerate() {
            for (code, byte) in codes.iter_mut().zip(block) {
                *code = byte >> (2 * group) & 3;
            }
        }
    },
};

const IQ1_BN: RowScaled = RowScaled {
    name: "IQ1_BN",
    scale_bytes: 2,
    block_bytes: 13,
    scale: |row| f16_at(row, 0),
    decode: |block, codes| {
        for (s, codes) in codes.chunks_exact_mut(16).enumerate() {
            for (t, codes) in codes[..15].chunks_exact_mut(5).enumerate() {
                for (index, code) in codes.iter_mut().enumerate() {
                    *code = digit(block[3 * s + t], index);
                }
            }
            codes[15] = digit(block[12], s);
        }
    },
};

/// Digit `index` of five to base 3, the least significant one first.
fn digit(byte: u8, index: usize) -> u8 {
    const FACTORS: [u8; 5] = [81, 27, 9, 3, 1];
    ((u16::from(byte.wrapping_mul(FACTORS[index])) * 3) >> 8) as u8
}

/// Packs IQ2_BN rows.
///
/// # Errors
/// A length that does not fit, columns that are no multiple of 64, code 3, or rows of different scales.
pub fn pack_iq2_bn(
    compute: &Compute,
    rows: usize,
    cols: usize,
    bytes: &[u8],
) -> Result<TernaryMatrix, KernelError> {
    pack(compute, &IQ2_BN, rows, cols, bytes)
}

/// Packs IQ2_BN_R4, rows in fours. Its words are those of our panels.
///
/// # Errors
/// A length that does not fit, rows that are no multiple of 4 or columns of 64, code 3, or rows of different scales.
pub fn pack_iq2_bn_r4(
    compute: &Compute,
    rows: usize,
    cols: usize,
    bytes: &[u8],
) -> Result<TernaryMatrix, KernelError> {
    const ROWS: usize = 4;
    const ZEROS: u32 = 0x5555_5555;
    check(rows, cols, 0.0)?;
    check_multiple("IQ2_BN_R4", "rows", ROWS, rows)?;
    check_multiple("IQ2_BN_R4", "cols", BLOCK, cols)?;
    let row_bytes = size_of::<f32>() + cols / 4;
    check_length("IQ2_BN_R4 weights", rows * row_bytes, bytes)?;
    let word = |row: usize, index: usize| {
        let group = &bytes[row / ROWS * ROWS * row_bytes..];
        group.as_chunks().0[ROWS * index + row % ROWS]
    };
    // The scales are the first word of each row.
    let scale_of = |row| f32::from_le_bytes(word(row, 0));
    let scale = common_scale((0..rows).map(scale_of))?;
    pack_rows(compute, rows, cols, scale, |row, _, words| {
        if scale_of(row) == 0.0 {
            words.fill(ZEROS);
            return Ok(());
        }
        for (index, out) in words.iter_mut().enumerate() {
            *out = u32::from_le_bytes(word(row, 1 + index));
        }
        let threes = words.iter().fold(0, |found, w| found | w & w >> 1 & ZEROS);
        if threes == 0 {
            Ok(())
        } else {
            Err(KernelError::InvalidCode { row })
        }
    })
}

/// Packs IQ1_BN rows.
///
/// # Errors
/// A length that does not fit, columns that are no multiple of 64, or rows of different scales.
pub fn pack_iq1_bn(
    compute: &Compute,
    rows: usize,
    cols: usize,
    bytes: &[u8],
) -> Result<TernaryMatrix, KernelError> {
    pack(compute, &IQ1_BN, rows, cols, bytes)
}

fn pack(
    compute: &Compute,
    layout: &RowScaled,
    rows: usize,
    cols: usize,
    bytes: &[u8],
) -> Result<TernaryMatrix, KernelError> {
    check(rows, cols, 0.0)?;
    check_multiple(layout.name, "cols", BLOCK, cols)?;
    let row_bytes = layout.scale_bytes + cols / BLOCK * layout.block_bytes;
    check_length("row-scaled ternary weights", rows * row_bytes, bytes)?;
    let scale = common_scale(bytes.chunks_exact(row_bytes).map(layout.scale))?;
    pack_codes(compute, rows, cols, scale, |row, codes| {
        let bytes = &bytes[row * row_bytes..][..row_bytes];
        if (layout.scale)(bytes) == 0.0 {
            // A row of zeros, whatever its codes.
            codes.fill(1);
            return;
        }
        let blocks = bytes[layout.scale_bytes..].chunks_exact(layout.block_bytes);
        for (block, codes) in blocks.zip(codes.chunks_exact_mut(BLOCK)) {
            (layout.decode)(block, codes);
        }
    })
}

/// The one scale of all rows that are not zero; zero when there are none.
fn common_scale(scales: impl Iterator<Item = f32>) -> Result<f32, KernelError> {
    let mut common = 0.0;
    for (row, scale) in scales.enumerate() {
        if !scale.is_finite() {
            return Err(KernelError::NonFiniteScale { scale });
        }
        if common == 0.0 {
            common = scale;
        }
        if scale != 0.0 && scale != common {
            return Err(KernelError::RowScales {
                row,
                scale,
                expected: common,
            });
        }
    }
    Ok(common)
}

/// Writes IQ2_BN rows, each with the matrix's scale.
///
/// # Errors
/// Columns that are no multiple of 64, or no memory.
pub fn write_iq2_bn(compute: &Compute, matrix: &TernaryMatrix) -> Result<Vec<u8>, KernelError> {
    let layout = RowLayout {
        name: IQ2_BN.name,
        block: BLOCK,
        block_bytes: IQ2_BN.block_bytes,
        row_prefix: &matrix.scale().to_le_bytes(),
        block_suffix: &[],
        tail: &[],
    };
    write_rows(compute, matrix, &layout, |codes, bytes| {
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = codes[at] | codes[16 + at] << 2 | codes[32 + at] << 4 | codes[48 + at] << 6;
        }
    })
}

/// Writes IQ1_BN rows, each with the matrix's scale rounded to f16.
///
/// # Errors
/// Columns that are no multiple of 64, or no memory.
pub fn write_iq1_bn(compute: &Compute, matrix: &TernaryMatrix) -> Result<Vec<u8>, KernelError> {
    let layout = RowLayout {
        name: IQ1_BN.name,
        block: BLOCK,
        block_bytes: IQ1_BN.block_bytes,
        row_prefix: &f16::from_f32(matrix.scale()).to_le_bytes(),
        block_suffix: &[],
        tail: &[],
    };
    write_rows(compute, matrix, &layout, |codes, bytes| {
        for (s, codes) in codes.chunks_exact(16).enumerate() {
            for (t, codes) in codes[..15].chunks_exact(5).enumerate() {
                bytes[3 * s + t] = low_digit_first(codes.iter());
            }
        }
        bytes[12] = low_digit_first(codes.iter().skip(15).step_by(16));
    })
}

/// The byte of up to five codes, the first of which is the least significant digit.
fn low_digit_first<'a>(codes: impl DoubleEndedIterator<Item = &'a u8> + ExactSizeIterator) -> u8 {
    DIGITS[codes.rfold(0, |n, &code| 3 * n + usize::from(code))]
}
