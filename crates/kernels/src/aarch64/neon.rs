//! NEON alone: `smlal` adds eight products of a code and an activation to 16-bit sums, for processors without the dot product
//! extension (Cortex-A53, A57, A72).

mod coarse;
mod float;

use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

pub(in crate::aarch64) use self::coarse::quarter_codes;
pub(crate) use self::coarse::{coarse_tile, fine_sums};
pub(crate) use self::float::*;
use crate::aligned::Line;
use crate::dot::PREFETCH_BYTES;
use crate::ternary::{LINE_INPUTS, PANEL_ROWS};

/// Groups of four inputs in a line.
pub(in crate::aarch64) const GROUPS: usize = LINE_INPUTS / 4;

/// Registers of a line: four rows each.
pub(in crate::aarch64) const QUARTERS: usize = PANEL_ROWS / 4;

/// Lines after which 16-bit sums are widened: each adds four products of at most 2 x 128, and 31 x 4 x 256 = 31744 <= 32767.
const LINES_PER_WIDENING: usize = 31;

/// Rows multiplied at a time: 24 sums, four registers of codes, one of them unpacked, a mask and an activation take 31 of the 32.
/// A tile is parted evenly, as 2 + 2 rather than 3 + 1.
const MAX_ROWS: usize = 3;

/// Whether this processor has the instructions.
pub(crate) fn is_available() -> bool {
    is_aarch64_feature_detected!("neon")
}

/// [`portable::ternary_tile`](crate::portable::ternary_tile); the lengths are checked by the dispatcher.
#[target_feature(enable = "neon")]
pub(crate) fn ternary_tile(
    panels: &[Line],
    lines: usize,
    x: &[i8],
    n: usize,
    acc: &mut [[i32; PANEL_ROWS]],
) {
    let x = x.as_chunks::<4>().0;
    for (panel, acc) in panels.chunks_exact(lines).zip(acc.chunks_exact_mut(n)) {
        let mut t = 0;
        while t < n {
            let (x, acc) = (&x[t..], &mut acc[t..]);
            let rest = n - t;
            t += match rest.div_ceil(rest.div_ceil(MAX_ROWS)) {
                3.. => panel_times_rows::<MAX_ROWS>(panel, x, n, acc),
                2 => panel_times_rows::<2>(panel, x, n, acc),
                _ => panel_times_rows::<1>(panel, x, n, acc),
            };
        }
    }
}

/// One panel and the first `N` rows of a tile of `width` rows; returns `N`.
#[target_feature(enable = "neon")]
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
    let acc = &mut acc[..N];
    acc.fill([0; PANEL_ROWS]);
    let mut x: *const i32 = x.as_ptr().cast();
    for lines in panel.chunks(LINES_PER_WIDENING) {
        // Of two rows each, four sums a row.
        let mut sums = [[[vdupq_n_s16(0); 2]; QUARTERS]; N];
        for line in lines {
            prefetch(line.0.as_ptr().wrapping_add(PREFETCH_BYTES));
            let mut codes = load_line(line);
            for _ in 0..GROUPS {
                // SAFETY: `x` is at a group that the assertion above covers, and so are the `N` rows there.
                let inputs: [int8x16_t; N] =
                    std::array::from_fn(|t| unsafe { broadcast(x.add(t)) });
                for quarter in 0..QUARTERS {
                    let low = vreinterpretq_s8_u8(vandq_u8(codes[quarter], mask));
                    codes[quarter] = vshrq_n_u8::<2>(codes[quarter]);
                    for t in 0..N {
                        add_products(&mut sums[t][quarter], low, inputs[t]);
                    }
                }
                x = x.wrapping_add(width);
            }
        }
        for t in 0..N {
            widen(sums[t], &mut acc[t]);
        }
    }
    N
}

/// Adds the products of 16 codes and activations.
#[inline]
#[target_feature(enable = "neon")]
fn add_products(sums: &mut [int16x8_t; 2], codes: int8x16_t, inputs: int8x16_t) {
    sums[0] = vmlal_s8(sums[0], vget_low_s8(codes), vget_low_s8(inputs));
    sums[1] = vmlal_high_s8(sums[1], codes, inputs);
}

/// Adds up the four sums of a row, and adds that to the row's sum.
#[inline]
#[target_feature(enable = "neon")]
fn widen(sums: [[int16x8_t; 2]; QUARTERS], acc: &mut [i32; PANEL_ROWS]) {
    for (acc, [first, second]) in acc.as_chunks_mut::<4>().0.iter_mut().zip(sums) {
        let rows = vpaddq_s32(vpaddlq_s16(first), vpaddlq_s16(second));
        // SAFETY: four sums are one register.
        unsafe { vst1q_s32(acc.as_mut_ptr(), vaddq_s32(vld1q_s32(acc.as_ptr()), rows)) };
    }
}

/// Four activations, four times.
///
/// # Safety
/// Four bytes can be read from `x`.
#[inline]
#[target_feature(enable = "neon")]
pub(in crate::aarch64) unsafe fn broadcast(x: *const i32) -> int8x16_t {
    // SAFETY: the caller's promise.
    vreinterpretq_s8_s32(vdupq_n_s32(unsafe { x.read_unaligned() }))
}

#[inline]
#[target_feature(enable = "neon")]
pub(in crate::aarch64) fn load_line(line: &Line) -> [uint8x16_t; QUARTERS] {
    let bytes = line.0.as_ptr();
    // SAFETY: a line is four registers.
    unsafe {
        [
            vld1q_u8(bytes),
            vld1q_u8(bytes.add(16)),
            vld1q_u8(bytes.add(32)),
            vld1q_u8(bytes.add(48)),
        ]
    }
}

/// Asks for the cache line at an address, which may be any.
#[inline(always)]
pub(in crate::aarch64) fn prefetch(address: *const u8) {
    // SAFETY: a prefetch of any address is allowed, and changes neither memory nor registers.
    unsafe {
        asm!(
            "prfm pldl1keep, [{address}]",
            address = in(reg) address,
            options(readonly, nostack, preserves_flags),
        );
    }
}
