//! NEON with the dot product extension: `sdot` by element adds four products of a code and an activation to each of four rows.
//! The rest is the kernels of [`neon`](super::neon).
//!
//! `vdotq_s32` and its like are unstable in Rust, so they are written in assembly.

mod coarse;

use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

pub(crate) use self::coarse::{coarse_tile, fine_sums};
pub(crate) use super::neon::*;
use super::neon::{GROUPS, QUARTERS, load_line, prefetch};
use crate::aligned::Line;
use crate::dot::PREFETCH_BYTES;
use crate::ternary::{LINE_INPUTS, PANEL_ROWS};

/// Rows multiplied at a time: sixteen sums, four registers of codes, one of them unpacked, a mask and the rows' activations take
/// 23 of the 32. A tile is parted evenly, as 3 + 3 rather than 4 + 2.
const MAX_ROWS: usize = 4;

/// Lines after which the sums of a single row, some of them 16 times too large, are brought to size:
/// 2^16 lines x 4 inputs x 16 x 2 x 128 = 2^30.
const LINES_PER_BLOCK: usize = 1 << 16;

/// Whether this processor has the instructions.
pub(crate) fn is_available() -> bool {
    super::neon::is_available() && is_aarch64_feature_detected!("dotprod")
}

/// [`portable::ternary_tile`](crate::portable::ternary_tile); the lengths are checked by the dispatcher.
#[target_feature(enable = "neon,dotprod")]
pub(crate) fn ternary_tile(
    panels: &[Line],
    lines: usize,
    x: &[i8],
    n: usize,
    acc: &mut [[i32; PANEL_ROWS]],
) {
    for (panel, acc) in panels.chunks_exact(lines).zip(acc.chunks_exact_mut(n)) {
        if n == 1 {
            acc[0] = panel_times_row(panel, x);
            continue;
        }
        let x = x.as_chunks::<4>().0;
        let mut t = 0;
        while t < n {
            let (x, acc) = (&x[t..], &mut acc[t..]);
            let rest = n - t;
            t += match rest.div_ceil(rest.div_ceil(MAX_ROWS)) {
                4.. => panel_times_rows::<MAX_ROWS>(panel, x, n, acc),
                3 => panel_times_rows::<3>(panel, x, n, acc),
                _ => panel_times_rows::<2>(panel, x, n, acc),
            };
        }
    }
}

/// One panel and one row. Most codes are used where they lie in their byte, masked but not shifted: the sums of groups 1 and 2 are
/// 4 and 16 times too large until the end. The codes of group 3 would be negative there; shifted, they need no mask.
#[target_feature(enable = "neon,dotprod")]
pub(in crate::aarch64) fn panel_times_row(panel: &[Line], x: &[i8]) -> [i32; PANEL_ROWS] {
    let masks = [0x03, 0x0C, 0x30].map(|mask| vdupq_n_u8(mask));
    let mut out = [0; PANEL_ROWS];
    let x = x.as_chunks::<LINE_INPUTS>().0;
    for (lines, x) in panel.chunks(LINES_PER_BLOCK).zip(x.chunks(LINES_PER_BLOCK)) {
        let mut sums = [[vdupq_n_s32(0); 3]; QUARTERS];
        for (line, x) in lines.iter().zip(x) {
            prefetch(line.0.as_ptr().wrapping_add(PREFETCH_BYTES));
            // SAFETY: 16 activations are one register.
            let x = unsafe { vld1q_s8(x.as_ptr()) };
            for (sums, codes) in sums.iter_mut().zip(load_line(line)) {
                let [group0, group1, group2] =
                    masks.map(|mask| vreinterpretq_s8_u8(vandq_u8(codes, mask)));
                let group3 = vreinterpretq_s8_u8(vshrq_n_u8::<6>(codes));
                sums[0] = dot_element::<0>(sums[0], group0, x);
                sums[1] = dot_element::<1>(sums[1], group1, x);
                sums[2] = dot_element::<2>(sums[2], group2, x);
                sums[0] = dot_element::<3>(sums[0], group3, x);
            }
        }
        for (out, sums) in out.as_chunks_mut::<4>().0.iter_mut().zip(sums) {
            // SAFETY: four sums are one register.
            let sum = vaddq_s32(sums[0], unsafe { vld1q_s32(out.as_ptr()) });
            let sum = vsraq_n_s32::<4>(vsraq_n_s32::<2>(sum, sums[1]), sums[2]);
            // SAFETY: as above.
            unsafe { vst1q_s32(out.as_mut_ptr(), sum) };
        }
    }
    out
}

/// One panel and the first `N` rows, two to four, of a tile of `width` rows; returns `N`.
#[target_feature(enable = "neon,dotprod")]
fn panel_times_rows<const N: usize>(
    panel: &[Line],
    x: &[[i8; 4]],
    width: usize,
    acc: &mut [[i32; PANEL_ROWS]],
) -> usize {
    assert!(
        x.len() >= (panel.len() * GROUPS - 1) * width + N,
        "token rows too short"
    );
    let mask = vdupq_n_u8(3);
    // |sum| <= 2 x 128 x 2^22 inputs = 2^30.
    let mut sums = [[vdupq_n_s32(0); QUARTERS]; N];
    let mut x: *const i32 = x.as_ptr().cast();
    for line in panel {
        prefetch(line.0.as_ptr().wrapping_add(PREFETCH_BYTES));
        let mut codes = load_line(line);
        for _ in 0..GROUPS {
            // SAFETY: `x` is at a group that the assertion above covers, and so are the `N` rows there.
            let inputs = unsafe { load_inputs::<N>(x) };
            for quarter in 0..QUARTERS {
                let low = vreinterpretq_s8_u8(vandq_u8(codes[quarter], mask));
                codes[quarter] = vshrq_n_u8::<2>(codes[quarter]);
                for t in 0..N {
                    let sum = &mut sums[t][quarter];
                    *sum = match t {
                        0 => dot_element::<0>(*sum, low, inputs),
                        1 => dot_element::<1>(*sum, low, inputs),
                        2 => dot_element::<2>(*sum, low, inputs),
                        _ => dot_element::<3>(*sum, low, inputs),
                    };
                }
            }
            x = x.wrapping_add(width);
        }
    }
    for (acc, sums) in acc.iter_mut().zip(sums) {
        for (acc, sum) in acc.as_chunks_mut::<4>().0.iter_mut().zip(sums) {
            // SAFETY: four sums are one register.
            unsafe { vst1q_s32(acc.as_mut_ptr(), sum) };
        }
    }
    N
}

/// A group's activations of two to four rows, one row to an element.
///
/// # Safety
/// `N` times four bytes can be read from `x`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load_inputs<const N: usize>(x: *const i32) -> int8x16_t {
    // SAFETY: the caller's promise; all are unaligned loads.
    let inputs = unsafe {
        if N == 4 {
            vld1q_s32(x)
        } else {
            let third = if N == 3 { x.add(2).read_unaligned() } else { 0 };
            vsetq_lane_s32::<2>(third, vcombine_s32(vld1_s32(x), vdup_n_s32(0)))
        }
    };
    vreinterpretq_s8_s32(inputs)
}

/// `sum[i] + a[4 i..4 i + 4] . b[4 i..4 i + 4]`, all signed: ternary codes, 0 to 2, are as good signed as unsigned.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: the instruction is there, and works on the given registers only.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inout(vreg) sum,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// `sum[i] + a[4 i..4 i + 4] . b[4 E..4 E + 4]`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot_element<const E: usize>(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: as above.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.4b[{element}]",
            sum = inout(vreg) sum,
            a = in(vreg) a,
            b = in(vreg) b,
            element = const E,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
