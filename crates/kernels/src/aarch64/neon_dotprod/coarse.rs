//! The head's search: panels of 6-bit codes, and rows of 2-bit ones; both are as good signed as unsigned.

use std::arch::aarch64::*;

use super::super::neon::{QUARTERS, broadcast, load_line, prefetch, quarter_codes};
use super::dot;
use crate::aligned::Line;
use crate::coarse::{BLOCK_INPUTS, BLOCK_LINES, FINE_INPUTS};
use crate::dot::PREFETCH_BYTES;
use crate::ternary::PANEL_ROWS;

/// [`portable::coarse_tile`](crate::portable::coarse_tile); the lengths are checked by the dispatcher.
#[target_feature(enable = "neon,dotprod")]
pub(crate) fn coarse_tile(panel: &[Line], x: &[i8], n: usize, acc: &mut [[i32; PANEL_ROWS]]) {
    let x = x.as_chunks::<4>().0;
    let mut t = 0;
    while t < n {
        let (x, acc) = (&x[t..], &mut acc[t..]);
        // Sixteen sums, three registers of lines, four of codes, activations, a mask: 25 of the 32.
        t += match n - t {
            4.. => planes::<4>(panel, x, n, acc),
            _ => planes::<2>(panel, x, n, acc),
        };
    }
}

/// The first `N` planes of a tile of `width`; returns `N`.
#[target_feature(enable = "neon,dotprod")]
fn planes<const N: usize>(
    panel: &[Line],
    x: &[[i8; 4]],
    width: usize,
    acc: &mut [[i32; PANEL_ROWS]],
) -> usize {
    let blocks = panel.as_chunks::<BLOCK_LINES>().0;
    assert!(
        x.len() >= (blocks.len() * BLOCK_INPUTS / 4 - 1) * width + N,
        "planes too short"
    );
    let mut sums = [[vdupq_n_s32(0); QUARTERS]; N];
    let mut x: *const i32 = x.as_ptr().cast();
    for block in blocks {
        for line in block {
            prefetch(line.0.as_ptr().wrapping_add(PREFETCH_BYTES));
        }
        let lines = block.each_ref().map(|line| load_line(line));
        for quarter in 0..QUARTERS {
            let codes = quarter_codes(lines.map(|line| line[quarter]));
            for t in 0..N {
                for (group, codes) in codes.into_iter().enumerate() {
                    // SAFETY: `x` is at the block's four groups, `width` times four bytes apart, which the assertion above covers.
                    let inputs = unsafe { broadcast(x.add(group * width + t)) };
                    sums[t][quarter] = dot(sums[t][quarter], codes, inputs);
                }
            }
        }
        x = x.wrapping_add(BLOCK_INPUTS / 4 * width);
    }
    for (acc, sums) in acc.iter_mut().zip(sums) {
        for (acc, sum) in acc.as_chunks_mut::<4>().0.iter_mut().zip(sums) {
            // SAFETY: four sums are one register.
            unsafe { vst1q_s32(acc.as_mut_ptr(), sum) };
        }
    }
    N
}

/// [`portable::fine_sums`](crate::portable::fine_sums); the lengths are checked by the dispatcher.
#[target_feature(enable = "neon,dotprod")]
pub(crate) fn fine_sums(fine: &[Line], ahead: &[Line], x: [&[i8]; 2]) -> [i32; 2] {
    let mask = vdupq_n_u8(3);
    let mut sums = [vdupq_n_s32(0); 2];
    for (i, (line, ahead)) in fine.iter().zip(ahead).enumerate() {
        prefetch(ahead.0.as_ptr());
        let mut codes = load_line(line);
        for group in 0..4 {
            for (quarter, codes) in codes.iter_mut().enumerate() {
                let low = vreinterpretq_s8_u8(vandq_u8(*codes, mask));
                for (sum, x) in sums.iter_mut().zip(x) {
                    let x = &x[i * FINE_INPUTS + group * 64 + quarter * 16..][..16];
                    // SAFETY: 16 activations are one register.
                    *sum = dot(*sum, low, unsafe { vld1q_s8(x.as_ptr()) });
                }
                *codes = vshrq_n_u8::<2>(*codes);
            }
        }
    }
    sums.map(|sum| vaddvq_s32(sum))
}
