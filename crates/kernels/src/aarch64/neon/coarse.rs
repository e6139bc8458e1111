//! The head's search: panels of 6-bit codes, and rows of 2-bit ones; both are as good signed as unsigned.

use std::arch::aarch64::*;

use super::{QUARTERS, add_products, broadcast, load_line, prefetch};
use crate::aligned::Line;
use crate::coarse::{BLOCK_INPUTS, BLOCK_LINES, FINE_INPUTS};
use crate::dot::PREFETCH_BYTES;
use crate::ternary::PANEL_ROWS;

/// Planes multiplied at a time: 16 sums, eight activations, four registers of codes and two of products take 30 of the 32.
const PLANES: usize = 2;

/// [`portable::coarse_tile`](crate::portable::coarse_tile); the lengths are checked by the dispatcher.
#[target_feature(enable = "neon")]
pub(crate) fn coarse_tile(panel: &[Line], x: &[i8], n: usize, acc: &mut [[i32; PANEL_ROWS]]) {
    let x = x.as_chunks::<4>().0;
    for (pair, acc) in acc.as_chunks_mut::<PLANES>().0.iter_mut().enumerate() {
        planes(panel, &x[pair * PLANES..], n, acc);
    }
}

/// The first two planes of a tile of `width`.
#[target_feature(enable = "neon")]
fn planes(panel: &[Line], x: &[[i8; 4]], width: usize, acc: &mut [[i32; PANEL_ROWS]; PLANES]) {
    let blocks = panel.as_chunks::<BLOCK_LINES>().0;
    assert!(
        x.len() >= (blocks.len() * BLOCK_INPUTS / 4 - 1) * width + PLANES,
        "planes too short"
    );
    // Of two rows each, two sums a row.
    let mut sums = [[[vdupq_n_s32(0); 2]; QUARTERS]; PLANES];
    let mut x: *const i32 = x.as_ptr().cast();
    for block in blocks {
        for line in block {
            prefetch(line.0.as_ptr().wrapping_add(PREFETCH_BYTES));
        }
        let lines = block.each_ref().map(|line| load_line(line));
        for quarter in 0..QUARTERS {
            let codes = quarter_codes(lines.map(|line| line[quarter]));
            for t in 0..PLANES {
                // Four products of at most 63 x 128: 32256.
                let mut narrow = [vdupq_n_s16(0); 2];
                for (group, codes) in codes.into_iter().enumerate() {
                    // SAFETY: `x` is at the block's four groups, `width` times four bytes apart, which the assertion above covers.
                    let inputs = unsafe { broadcast(x.add(group * width + t)) };
                    add_products(&mut narrow, codes, inputs);
                }
                for (sum, narrow) in sums[t][quarter].iter_mut().zip(narrow) {
                    *sum = vpadalq_s16(*sum, narrow);
                }
            }
        }
        x = x.wrapping_add(BLOCK_INPUTS / 4 * width);
    }
    for (acc, sums) in acc.iter_mut().zip(sums) {
        for (acc, [first, second]) in acc.as_chunks_mut::<4>().0.iter_mut().zip(sums) {
            // SAFETY: four sums are one register.
            unsafe { vst1q_s32(acc.as_mut_ptr(), vpaddq_s32(first, second)) };
        }
    }
}

/// Four groups of four rows' codes from the quarters of three lines.
#[inline]
#[target_feature(enable = "neon")]
pub(in crate::aarch64) fn quarter_codes([a, b, c]: [uint8x16_t; BLOCK_LINES]) -> [int8x16_t; 4] {
    let low = vdupq_n_u8(63);
    // Inserted from the right, the top bits of a come to lie below those of b, and both below those of c.
    let last = vshrq_n_u8::<2>(vsriq_n_u8::<2>(c, vsriq_n_u8::<2>(b, a)));
    [vandq_u8(a, low), vandq_u8(b, low), vandq_u8(c, low), last]
        .map(|codes| vreinterpretq_s8_u8(codes))
}

/// [`portable::fine_sums`](crate::portable::fine_sums); the lengths are checked by the dispatcher.
#[target_feature(enable = "neon")]
pub(crate) fn fine_sums(fine: &[Line], ahead: &[Line], x: [&[i8]; 2]) -> [i32; 2] {
    let mask = vdupq_n_u8(3);
    let mut sums = [vdupq_n_s32(0); 2];
    for (i, (line, ahead)) in fine.iter().zip(ahead).enumerate() {
        prefetch(ahead.0.as_ptr());
        let mut codes = load_line(line);
        // Of 16 products each, at most 3 x 128.
        let mut narrow = [[vdupq_n_s16(0); 2]; 2];
        for group in 0..4 {
            for (quarter, codes) in codes.iter_mut().enumerate() {
                let low = vreinterpretq_s8_u8(vandq_u8(*codes, mask));
                for (narrow, x) in narrow.iter_mut().zip(x) {
                    let x = &x[i * FINE_INPUTS + group * 64 + quarter * 16..][..16];
                    // SAFETY: 16 activations are one register.
                    add_products(narrow, low, unsafe { vld1q_s8(x.as_ptr()) });
                }
                *codes = vshrq_n_u8::<2>(*codes);
            }
        }
        for (sum, [first, second]) in sums.iter_mut().zip(narrow) {
            *sum = vpadalq_s16(vpadalq_s16(*sum, first), second);
        }
    }
    sums.map(|sum| vaddvq_s32(sum))
}
