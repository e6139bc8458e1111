//! WebAssembly's SIMD: codes and activations are widened to 16 bits, `i32x4.dot_i16x8_s` adds two of their products. The rest is
//! portable Rust, which the compiler puts into vectors.

use std::arch::wasm32::*;

use super::products::{self, DotProduct};
use crate::aligned::Line;
pub(crate) use crate::portable::*;
use crate::ternary::PANEL_ROWS;

/// [`portable::ternary_tile`](crate::portable::ternary_tile); the lengths are checked by the dispatcher.
pub(crate) fn ternary_tile(
    panels: &[Line],
    lines: usize,
    x: &[i8],
    n: usize,
    acc: &mut [[i32; PANEL_ROWS]],
) {
    products::ternary_tile::<Widened, 2, 2>(panels, lines, x, n, acc);
}

/// [`portable::coarse_tile`](crate::portable::coarse_tile); the lengths are checked by the dispatcher.
pub(crate) fn coarse_tile(panel: &[Line], x: &[i8], n: usize, acc: &mut [[i32; PANEL_ROWS]]) {
    products::coarse_tile::<Widened, 2, 2>(panel, x, n, acc);
}

/// [`portable::fine_sums`](crate::portable::fine_sums); the lengths are checked by the dispatcher.
pub(crate) fn fine_sums(fine: &[Line], _ahead: &[Line], x: [&[i8]; 2]) -> [i32; 2] {
    products::fine_sums::<Widened, 2>(fine, x)
}

/// Products of 16 bits. A row's sum comes in two lanes, so that of four rows takes two registers.
struct Widened;

impl DotProduct<2> for Widened {
    #[inline(always)]
    fn broadcast(x: &[i8; 4]) -> v128 {
        i16x8_extend_low_i8x16(i32x4_splat(i32::from_le_bytes(x.map(i8::cast_unsigned))))
    }

    #[inline(always)]
    fn add_products(sums: &mut [v128; 2], codes: v128, x: v128) {
        sums[0] = i32x4_add(sums[0], i32x4_dot_i16x8(i16x8_extend_low_u8x16(codes), x));
        sums[1] = i32x4_add(sums[1], i32x4_dot_i16x8(i16x8_extend_high_u8x16(codes), x));
    }

    #[inline(always)]
    fn total([low, high]: [v128; 2]) -> v128 {
        let even = i32x4_shuffle::<0, 2, 4, 6>(low, high);
        i32x4_add(even, i32x4_shuffle::<1, 3, 5, 7>(low, high))
    }

    #[inline(always)]
    fn add_all(sum: v128, codes: v128, x: v128) -> v128 {
        let low = i32x4_dot_i16x8(i16x8_extend_low_u8x16(codes), i16x8_extend_low_i8x16(x));
        let high = i32x4_dot_i16x8(i16x8_extend_high_u8x16(codes), i16x8_extend_high_i8x16(x));
        i32x4_add(sum, i32x4_add(low, high))
    }
}
