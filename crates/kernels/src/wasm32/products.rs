//! The integer products over a [`DotProduct`], which the instruction sets differ in.
//!
//! A line is four registers, each with four codes of four rows.

use std::arch::wasm32::*;

use crate::aligned::Line;
use crate::coarse::{BLOCK_INPUTS, BLOCK_LINES, FINE_INPUTS};
use crate::ternary::{LINE_INPUTS, PANEL_ROWS};

/// Groups of four inputs in a line.
const GROUPS: usize = LINE_INPUTS / 4;

/// Registers of a line.
const QUARTERS: usize = 4;

/// Bytes of a register.
const BYTES: usize = 16;

/// Sums of products of codes, 0 to 63, and activations; `S`: registers that the sums of one register of codes take.
pub(super) trait DotProduct<const S: usize> {
    /// Four activations for each of four rows, as [`add_products`](Self::add_products) takes them.
    fn broadcast(x: &[i8; 4]) -> v128;
    /// Adds the products of four rows' codes with theirs.
    fn add_products(sums: &mut [v128; S], codes: v128, x: v128);
    /// The sums of four rows.
    fn total(sums: [v128; S]) -> v128;
    /// `sum`, and the products of 16 codes and 16 activations somewhere in its lanes.
    fn add_all(sum: v128, codes: v128, x: v128) -> v128;
}

/// [`portable::ternary_tile`](crate::portable::ternary_tile): `Q` registers of a line at a time, so that the sums of two rows stay
/// in the 16 registers that most processors have.
#[inline(always)]
pub(super) fn ternary_tile<D: DotProduct<S>, const S: usize, const Q: usize>(
    panels: &[Line],
    lines: usize,
    x: &[i8],
    n: usize,
    acc: &mut [[i32; PANEL_ROWS]],
) {
    let x = x.as_chunks::<4>().0;
    for (panel, acc) in panels.chunks_exact(lines).zip(acc.chunks_exact_mut(n)) {
        for first in (0..QUARTERS).step_by(Q) {
            let mut t = 0;
            while t + 1 < n {
                ternary_rows::<D, S, Q, 2>(panel, first, &x[t..], n, &mut acc[t..]);
                t += 2;
            }
            if t < n {
                ternary_rows::<D, S, Q, 1>(panel, first, &x[t..], n, &mut acc[t..]);
            }
        }
    }
}

/// The first `N` rows of a tile of `width`, with the `Q` registers of every line from `first` on.
#[inline(always)]
fn ternary_rows<D: DotProduct<S>, const S: usize, const Q: usize, const N: usize>(
    panel: &[Line],
    first: usize,
    x: &[[i8; 4]],
    width: usize,
    acc: &mut [[i32; PANEL_ROWS]],
) {
    let low = u8x16_splat(3);
    // |sum| <= 2 x 128 x 2^22 inputs = 2^30.
    let mut sums = [[[i32x4_splat(0); S]; Q]; N];
    for (line, x) in panel.iter().zip(x.chunks(GROUPS * width)) {
        let quarters: [v128; Q] = std::array::from_fn(|q| load(line, first + q));
        for group in 0..GROUPS {
            // Bits of a neighbour that are shifted in are masked off.
            let codes = quarters.map(|codes| v128_and(u16x8_shr(codes, 2 * group as u32), low));
            for t in 0..N {
                let inputs = D::broadcast(&x[group * width + t]);
                for q in 0..Q {
                    D::add_products(&mut sums[t][q], codes[q], inputs);
                }
            }
        }
    }
    for (acc, sums) in acc.iter_mut().zip(sums) {
        store::<D, S, Q>(sums, first, acc);
    }
}

/// [`portable::coarse_tile`](crate::portable::coarse_tile): `Q` registers of a line at a time, and two of the planes, of which there
/// is an even number.
#[inline(always)]
pub(super) fn coarse_tile<D: DotProduct<S>, const S: usize, const Q: usize>(
    panel: &[Line],
    x: &[i8],
    n: usize,
    acc: &mut [[i32; PANEL_ROWS]],
) {
    let x = x.as_chunks::<4>().0;
    for first in (0..QUARTERS).step_by(Q) {
        for t in (0..n).step_by(2) {
            coarse_planes::<D, S, Q>(panel, first, &x[t..], n, &mut acc[t..t + 2]);
        }
    }
}

/// The first two planes of a tile of `width`.
#[inline(always)]
fn coarse_planes<D: DotProduct<S>, const S: usize, const Q: usize>(
    panel: &[Line],
    first: usize,
    x: &[[i8; 4]],
    width: usize,
    acc: &mut [[i32; PANEL_ROWS]],
) {
    // |sum| <= 63 x 128 x 2^16 inputs < 2^31.
    let mut sums = [[[i32x4_splat(0); S]; Q]; 2];
    let blocks = panel.as_chunks::<BLOCK_LINES>().0;
    for (block, x) in blocks.iter().zip(x.chunks(BLOCK_INPUTS / 4 * width)) {
        for q in 0..Q {
            let codes = block_codes(block.each_ref().map(|line| load(line, first + q)));
            for (group, codes) in codes.into_iter().enumerate() {
                for (sums, x) in sums.iter_mut().zip(&x[group * width..]) {
                    D::add_products(&mut sums[q], codes, D::broadcast(x));
                }
            }
        }
    }
    for (acc, sums) in acc.iter_mut().zip(sums) {
        store::<D, S, Q>(sums, first, acc);
    }
}

/// Four groups of codes of four rows from a block's three lines.
#[inline(always)]
fn block_codes([a, b, c]: [v128; BLOCK_LINES]) -> [v128; 4] {
    let low = u8x16_splat(63);
    let first = v128_and(u16x8_shr(a, 6), u8x16_splat(0x03));
    let second = v128_and(u16x8_shr(b, 4), u8x16_splat(0x0c));
    let third = v128_and(u16x8_shr(c, 2), u8x16_splat(0x30));
    [
        v128_and(a, low),
        v128_and(b, low),
        v128_and(c, low),
        v128_or(v128_or(first, second), third),
    ]
}

/// [`portable::fine_sums`](crate::portable::fine_sums).
#[inline(always)]
pub(super) fn fine_sums<D: DotProduct<S>, const S: usize>(
    fine: &[Line],
    x: [&[i8]; 2],
) -> [i32; 2] {
    let low = u8x16_splat(3);
    let mut sums = [i32x4_splat(0); 2];
    for (i, line) in fine.iter().enumerate() {
        let inputs = x.map(|x| x[i * FINE_INPUTS..][..FINE_INPUTS].as_chunks::<BYTES>().0);
        for quarter in 0..QUARTERS {
            let line = load(line, quarter);
            for group in 0..4 {
                let codes = v128_and(u16x8_shr(line, 2 * group as u32), low);
                for (sum, x) in sums.iter_mut().zip(inputs) {
                    *sum = D::add_all(*sum, codes, load_i8(&x[group * QUARTERS + quarter]));
                }
            }
        }
    }
    sums.map(|sum| {
        let sum = i32x4_add(sum, i32x4_shuffle::<2, 3, 0, 1>(sum, sum));
        i32x4_extract_lane::<0>(sum) + i32x4_extract_lane::<1>(sum)
    })
}

/// The register of rows `4 quarter..4 quarter + 4`.
#[inline(always)]
fn load(line: &Line, quarter: usize) -> v128 {
    let bytes = &line.0.as_chunks::<BYTES>().0[quarter];
    // SAFETY: the array is one register; a load of any alignment.
    unsafe { v128_load(bytes.as_ptr().cast()) }
}

#[inline(always)]
fn load_i8(x: &[i8; BYTES]) -> v128 {
    // SAFETY: the array is one register; a load of any alignment.
    unsafe { v128_load(x.as_ptr().cast()) }
}

/// Puts the sums of the rows from `4 first` on in their places.
#[inline(always)]
fn store<D: DotProduct<S>, const S: usize, const Q: usize>(
    sums: [[v128; S]; Q],
    first: usize,
    acc: &mut [i32; PANEL_ROWS],
) {
    for (acc, sums) in acc.as_chunks_mut::<4>().0[first..].iter_mut().zip(sums) {
        // SAFETY: four sums are one register; a store of any alignment.
        unsafe { v128_store(acc.as_mut_ptr().cast(), D::total(sums)) };
    }
}
