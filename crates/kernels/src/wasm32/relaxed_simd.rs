//! WebAssembly's relaxed SIMD: `i32x4.relaxed_dot_i8x16_i7x16_add_s` adds four products of a code and an activation to each of four
//! rows. The rest is the kernels of [`simd128`](super::simd128).
//!
//! What engines may do each in their own way, a second factor above 127 and sums of two products beyond 16 bits, does not come
//! up: a code is below 64, and two products are at most 2 x 63 x 128.

use std::arch::wasm32::*;

use super::products::{self, DotProduct};
pub(crate) use super::simd128::*;
use crate::aligned::Line;
use crate::ternary::PANEL_ROWS;

/// [`portable::ternary_tile`](crate::portable::ternary_tile); the lengths are checked by the dispatcher.
pub(crate) fn ternary_tile(
    panels: &[Line],
    lines: usize,
    x: &[i8],
    n: usize,
    acc: &mut [[i32; PANEL_ROWS]],
) {
    products::ternary_tile::<Relaxed, 1, 4>(panels, lines, x, n, acc);
}

/// [`portable::coarse_tile`](crate::portable::coarse_tile); the lengths are checked by the dispatcher.
pub(crate) fn coarse_tile(panel: &[Line], x: &[i8], n: usize, acc: &mut [[i32; PANEL_ROWS]]) {
    products::coarse_tile::<Relaxed, 1, 4>(panel, x, n, acc);
}

/// [`portable::fine_sums`](crate::portable::fine_sums); the lengths are checked by the dispatcher.
pub(crate) fn fine_sums(fine: &[Line], _ahead: &[Line], x: [&[i8]; 2]) -> [i32; 2] {
    products::fine_sums::<Relaxed, 1>(fine, x)
}

/// Products of 8 bits.
struct Relaxed;

impl DotProduct<1> for Relaxed {
    #[inline(always)]
    fn broadcast(x: &[i8; 4]) -> v128 {
        i32x4_splat(i32::from_le_bytes(x.map(i8::cast_unsigned)))
    }

    #[inline(always)]
    fn add_products(sums: &mut [v128; 1], codes: v128, x: v128) {
        sums[0] = Self::add_all(sums[0], codes, x);
    }

    #[inline(always)]
    fn total([sum]: [v128; 1]) -> v128 {
        sum
    }

    #[inline(always)]
    fn add_all(sum: v128, codes: v128, x: v128) -> v128 {
        i32x4_relaxed_dot_i8x16_i7x16_add(x, codes, sum)
    }
}
