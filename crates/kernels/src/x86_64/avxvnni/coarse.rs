//! The head's search: panels of 6-bit codes.

use std::arch::x86_64::*;

use super::super::avx2::{broadcast, half_codes, load_line, store_sums};
use super::{DotProduct, Vex};
use crate::aligned::Line;
use crate::coarse::{BLOCK_INPUTS, BLOCK_LINES};
use crate::ternary::PANEL_ROWS;

/// [`portable::coarse_tile`](crate::portable::coarse_tile); the lengths are checked by the dispatcher.
#[target_feature(enable = "avx2,f16c,avxvnni")]
pub(crate) fn coarse_tile(panel: &[Line], x: &[i8], n: usize, acc: &mut [[i32; PANEL_ROWS]]) {
    tile(Vex::new(), panel, x, n, acc);
}

#[inline(always)]
pub(super) fn tile<D: DotProduct>(
    d: D,
    panel: &[Line],
    x: &[i8],
    n: usize,
    acc: &mut [[i32; PANEL_ROWS]],
) {
    let x = x.as_chunks::<4>().0;
    let mut t = 0;
    while t < n {
        let (x, acc) = (&x[t..], &mut acc[t..]);
        // Eight sums, four registers of codes, two of lines, an activation: 15 of the 16.
        t += match n - t {
            4.. => planes::<D, 4, 1>(d, panel, x, n, acc),
            _ => planes::<D, 2, 2>(d, panel, x, n, acc),
        };
    }
}

/// The first `N` planes of a tile of `width`, each with `CHAINS` sums a row that hide the latency of `vpdpbusd`; returns `N`.
#[inline(always)]
fn planes<D: DotProduct, const N: usize, const CHAINS: usize>(
    d: D,
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
    // SAFETY: `d` proves AVX2.
    let mut sums = unsafe { [[[_mm256_setzero_si256(); CHAINS]; 2]; N] };
    let mut x = x.as_ptr();
    for block in blocks {
        for half in 0..2 {
            // SAFETY: `d` proves AVX2; `x` is at the block's four groups, `width` apart, which the assertion above covers.
            unsafe {
                let lines = block.each_ref().map(|line| load_line(line)[half]);
                for (group, codes) in half_codes(lines).into_iter().enumerate() {
                    for t in 0..N {
                        let inputs = broadcast(&*x.wrapping_add(group * width + t));
                        let sum = &mut sums[t][half][group % CHAINS];
                        *sum = d.add_products(*sum, codes, inputs);
                    }
                }
            }
        }
        x = x.wrapping_add(BLOCK_INPUTS / 4 * width);
    }
    for (acc, sums) in acc.iter_mut().zip(sums) {
        // SAFETY: `d` proves AVX2.
        unsafe {
            let total = sums.map(|chains| {
                let zero = _mm256_setzero_si256();
                chains.into_iter().fold(zero, |a, b| _mm256_add_epi32(a, b))
            });
            store_sums(acc, total);
        }
    }
    N
}
