//! Rounding rows to int8 and splitting the codes, written once over [`Simd`] like the kernels of `float.rs`.

use super::{BLOCK_INPUTS, BLOCK_LINES, FINE_INPUTS};
use crate::aligned::Line;
use crate::simd::{LANES, ROUND, Simd, padded};
use crate::ternary::PANEL_ROWS;

/// `codes = clamp(round_half_even(w * inverse), -128, 127)`; returns the sums of the squares of the weights, of what the codes
/// times `scale` leave of them, and of what is left when of each code `q + 128` only the six top bits are known.
#[inline(always)]
pub(crate) fn round_row<S: Simd>(
    s: S,
    weights: &[f32],
    scale: f32,
    inverse: f32,
    codes: &mut [i8],
) -> [f32; 3] {
    let (blocks, tail) = weights.as_chunks::<LANES>();
    let (code_blocks, code_tail) = codes[..weights.len()].as_chunks_mut::<LANES>();
    let mut sums = [s.splat(0.0); 3];
    for (block, codes) in blocks.iter().zip(code_blocks) {
        let parts = round_block(s, block, scale, inverse, codes);
        add_squares(s, &mut sums, parts);
    }
    if !tail.is_empty() {
        let mut last = [0; LANES];
        let [w, lost, lost_coarse] = round_block(s, &padded(tail), scale, inverse, &mut last);
        // The middle of the codes that share a zero's top bits is not zero: lanes past the end would count.
        let within = s.load(&padded(&[1.0; LANES][..tail.len()]));
        add_squares(s, &mut sums, [w, lost, s.mul(lost_coarse, within)]);
        code_tail.copy_from_slice(&last[..tail.len()]);
    }
    [s.fold(sums[0]), s.fold(sums[1]), s.fold(sums[2])]
}

#[inline(always)]
fn add_squares<S: Simd>(s: S, sums: &mut [S::F32s; 3], parts: [S::F32s; 3]) {
    for (sum, x) in sums.iter_mut().zip(parts) {
        *sum = s.add(*sum, s.mul(x, x));
    }
}

/// The weights, what their codes lose of them, and what the top bits of their codes lose.
#[inline(always)]
fn round_block<S: Simd>(
    s: S,
    weights: &[f32; LANES],
    scale: f32,
    inverse: f32,
    codes: &mut [i8; LANES],
) -> [S::F32s; 3] {
    let w = s.load(weights);
    let scaled = s.max(
        s.min(s.mul(w, s.splat(inverse)), s.splat(127.0)),
        s.splat(-128.0),
    );
    let code = round(s, scaled);
    s.store_i8(code, codes);
    // floor(q / 4), and the middle of the four codes that share it.
    let top = round(s, s.sub(s.mul(code, s.splat(0.25)), s.splat(0.375)));
    let middle = s.add(s.mul(top, s.splat(4.0)), s.splat(1.5));
    let lost = s.sub(w, s.mul(code, s.splat(scale)));
    let lost_coarse = s.sub(w, s.mul(middle, s.splat(scale)));
    [w, lost, lost_coarse]
}

/// The nearest integers, ties to even. No closure: that would not get the instruction set's features, and not be inlined.
#[inline(always)]
fn round<S: Simd>(s: S, x: S::F32s) -> S::F32s {
    s.sub(s.add(x, s.splat(ROUND)), s.splat(ROUND))
}

/// Splits the codes of a panel's rows into its lines and the rows' lines of fine codes.
///
/// `codes`: 16 rows of `stride` codes, zeros after a row's last one; `panel`: [`BLOCK_LINES`] lines for 16 inputs; `fine`: a line
/// for 256 inputs, row after row.
#[inline(always)]
pub(crate) fn split_rows(codes: &[i8], stride: usize, panel: &mut [Line], fine: &mut [Line]) {
    let fine_lines = stride / FINE_INPUTS;
    for (r, codes) in codes.chunks_exact(stride).enumerate().take(PANEL_ROWS) {
        let blocks = panel.as_chunks_mut::<BLOCK_LINES>().0;
        for (block, codes) in blocks.iter_mut().zip(codes.as_chunks().0) {
            for (line, word) in block.iter_mut().zip(coarse_words(codes)) {
                line.0[4 * r..4 * r + 4].copy_from_slice(&word);
            }
        }
        let lines = &mut fine[r * fine_lines..(r + 1) * fine_lines];
        for (line, codes) in lines.iter_mut().zip(codes.as_chunks::<FINE_INPUTS>().0) {
            for i in 0..64 {
                let pair =
                    |group: usize| (codes[64 * group + i].cast_unsigned() & 3) << (2 * group);
                line.0[i] = pair(0) | pair(1) | pair(2) | pair(3);
            }
        }
    }
}

/// A row's four bytes of each of the three lines of a block, from 16 codes.
#[inline(always)]
fn coarse_words(codes: &[i8; BLOCK_INPUTS]) -> [[u8; 4]; BLOCK_LINES] {
    /// A byte, four times.
    const fn four(byte: u8) -> u32 {
        u32::from_ne_bytes([byte; 4])
    }
    let words = codes.as_chunks::<4>().0;
    // Codes plus 128, without their two low bits.
    let top = |i: usize| {
        let word = u32::from_le_bytes(words[i].map(i8::cast_unsigned));
        (word ^ four(0x80)) >> 2 & four(63)
    };
    let last = top(3);
    [
        top(0) | (last & four(0x03)) << 6,
        top(1) | (last & four(0x0c)) << 4,
        top(2) | (last & four(0x30)) << 2,
    ]
    .map(u32::to_le_bytes)
}
