//! NEON with the 8-bit matrix extension: `smmla` multiplies two rows of weights with two rows of activations, eight inputs at a
//! time. The rest, a single row of activations above all, is the kernels of [`neon_dotprod`](super::neon_dotprod).
//!
//! A register of a panel's line holds four inputs of four rows. Two groups of it, zipped, are eight inputs of two rows each; the
//! activations of a pair of tokens are zipped likewise.
//!
//! `vmmlaq_s32` is unstable in Rust, so it is written in assembly.

use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

use super::neon::{GROUPS, load_line, prefetch};
use super::neon_dotprod::panel_times_row;
pub(crate) use super::neon_dotprod::*;
use crate::aligned::Line;
use crate::dot::PREFETCH_BYTES;
use crate::ternary::{PANEL_ROWS, TOKEN_TILE};

/// Whether this processor has the instructions.
pub(crate) fn is_available() -> bool {
    super::neon_dotprod::is_available() && is_aarch64_feature_detected!("i8mm")
}

/// [`portable::ternary_tile`](crate::portable::ternary_tile); the lengths are checked by the dispatcher.
#[target_feature(enable = "neon,dotprod,i8mm")]
pub(crate) fn ternary_tile(
    panels: &[Line],
    lines: usize,
    x: &[i8],
    n: usize,
    acc: &mut [[i32; PANEL_ROWS]],
) {
    const { assert!(TOKEN_TILE == 12, "one arm for each number of pairs") };
    for (panel, acc) in panels.chunks_exact(lines).zip(acc.chunks_exact_mut(n)) {
        if n == 1 {
            acc[0] = panel_times_row(panel, x);
            continue;
        }
        let x = x.as_chunks::<4>().0;
        // Sums of four quarters of a panel and three pairs of tokens, or of two and six, take 24 of the 32 registers.
        match n.div_ceil(2) {
            1 => quarters_times_pairs::<4, 1>(panel, 0, x, n, acc),
            2 => quarters_times_pairs::<4, 2>(panel, 0, x, n, acc),
            3 => quarters_times_pairs::<4, 3>(panel, 0, x, n, acc),
            pairs => {
                for first in [0, 2] {
                    match pairs {
                        4 => quarters_times_pairs::<2, 4>(panel, first, x, n, acc),
                        5 => quarters_times_pairs::<2, 5>(panel, first, x, n, acc),
                        _ => quarters_times_pairs::<2, 6>(panel, first, x, n, acc),
                    }
                }
            }
        }
    }
}

/// `Q` quarters of a panel, from the `first` on, and a tile of `n` rows in `P` pairs; of an odd number of rows, the last pair takes
/// one a second time.
#[target_feature(enable = "neon,dotprod,i8mm")]
fn quarters_times_pairs<const Q: usize, const P: usize>(
    panel: &[Line],
    first: usize,
    x: &[[i8; 4]],
    n: usize,
    acc: &mut [[i32; PANEL_ROWS]],
) {
    assert!(
        n >= 2 && n.div_ceil(2) == P,
        "tile of another number of pairs"
    );
    assert!(
        x.len() == panel.len() * GROUPS * n && acc.len() == n,
        "tile of unequal parts"
    );
    let starts: [usize; P] = std::array::from_fn(|pair| (2 * pair).min(n - 2));
    // Of two rows of weights and two tokens each. |sum| <= 2 x 128 x 2^22 inputs = 2^30.
    let mut sums = [[[vdupq_n_s32(0); 2]; Q]; P];
    let mut x: *const i32 = x.as_ptr().cast();
    for line in panel {
        prefetch(line.0.as_ptr().wrapping_add(PREFETCH_BYTES));
        let line = load_line(line);
        for half in 0..2 {
            let mut codes = [[vdupq_n_s8(0); 2]; Q];
            for quarter in 0..Q {
                codes[quarter] = rows_of_eight(line[first + quarter], half);
            }
            for pair in 0..P {
                // SAFETY: `x` is at two of the line's groups, which the assertion above covers, and so are its pairs.
                let inputs = unsafe { inputs_of_pair(x.add(starts[pair]), n) };
                for quarter in 0..Q {
                    for rows in 0..2 {
                        let sum = &mut sums[pair][quarter][rows];
                        *sum = multiply_add(*sum, codes[quarter][rows], inputs);
                    }
                }
            }
            x = x.wrapping_add(2 * n);
        }
    }
    for (pair, start) in starts.into_iter().enumerate() {
        for quarter in 0..Q {
            let [low, high] = sums[pair][quarter];
            let at = 4 * (first + quarter);
            // SAFETY: a quarter's sums are one register.
            unsafe {
                vst1q_s32(acc[start][at..].as_mut_ptr(), vuzp1q_s32(low, high));
                vst1q_s32(acc[start + 1][at..].as_mut_ptr(), vuzp2q_s32(low, high));
            }
        }
    }
}

/// Eight inputs, those of groups 0 and 1 or of 2 and 3, of the first two and the last two rows of a quarter.
#[inline]
#[target_feature(enable = "neon")]
fn rows_of_eight(quarter: uint8x16_t, half: usize) -> [int8x16_t; 2] {
    let mask = vdupq_n_u8(3);
    let [first, second] = if half == 0 {
        [quarter, vshrq_n_u8::<2>(quarter)]
    } else {
        [vshrq_n_u8::<4>(quarter), vshrq_n_u8::<6>(quarter)]
    };
    let [first, second] = [first, second].map(|codes| vreinterpretq_s32_u8(vandq_u8(codes, mask)));
    [vzip1q_s32(first, second), vzip2q_s32(first, second)].map(|rows| vreinterpretq_s8_s32(rows))
}

/// Eight inputs, those of two neighbouring groups, of two tokens.
///
/// # Safety
/// Eight bytes can be read from `x` and from `n` times four bytes on.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn inputs_of_pair(x: *const i32, n: usize) -> int8x16_t {
    // SAFETY: the caller's promise; unaligned loads.
    let (first, second) = unsafe { (vld1_s32(x), vld1_s32(x.add(n))) };
    let zero = vdup_n_s32(0);
    vreinterpretq_s8_s32(vzip1q_s32(
        vcombine_s32(first, zero),
        vcombine_s32(second, zero),
    ))
}

/// `sum[2 i + j] + a[8 i..8 i + 8] . b[8 j..8 j + 8]`.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn multiply_add(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: the instruction is there, and works on the given registers only.
    unsafe {
        asm!(
            "smmla {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inout(vreg) sum,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
