//! AVX2: `vpmaddubsw` takes 32 codes and 32 activations to 16 sums of two products.
//!
//! Needs AVX2 and F16C (half precision conversion).

mod coarse;
mod float;

use std::arch::x86_64::*;

pub(in crate::x86_64) use self::coarse::half_codes;
pub(crate) use self::coarse::{coarse_tile, fine_sums};
pub(crate) use self::float::*;
use crate::aligned::Line;
use crate::dot::PREFETCH_BYTES;
use crate::ternary::{LINE_INPUTS, PANEL_ROWS};

/// Lines after which 16-bit sums are widened: each line adds four sums of two products of at most 2 x 128, and
/// 15 x 4 x 512 = 30720 <= 32767.
const LINES_PER_WIDENING: usize = 15;

/// Rows multiplied at a time: ten sums, two registers of codes packed and two unpacked, an activation and a product take the
/// 16. A tile is parted evenly, as 3 + 3 rather than 5 + 1.
const MAX_ROWS: usize = 5;

/// Groups of four inputs in a line.
pub(in crate::x86_64) const GROUPS: usize = LINE_INPUTS / 4;

/// Whether this processor has the instructions.
pub(crate) fn is_available() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c")
}

/// [`portable::ternary_tile`](crate::portable::ternary_tile); the lengths are checked by the dispatcher.
#[target_feature(enable = "avx2,f16c")]
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
                5.. => panel_times_rows::<MAX_ROWS>(panel, x, n, acc),
                4 => panel_times_rows::<4>(panel, x, n, acc),
                3 => panel_times_rows::<3>(panel, x, n, acc),
                2 => panel_times_rows::<2>(panel, x, n, acc),
                _ => panel_times_rows::<1>(panel, x, n, acc),
            };
        }
    }
}

/// One panel and the first `N` rows of a tile of `width` rows; returns `N`.
#[target_feature(enable = "avx2,f16c")]
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
    let acc = &mut acc[..N];
    acc.fill([0; PANEL_ROWS]);
    let mut x = x.as_ptr();
    for lines in panel.chunks(LINES_PER_WIDENING) {
        let mut sums = [[_mm256_setzero_si256(); 2]; N];
        for line in lines {
            prefetch(line);
            let mut codes = load_line(line);
            let end = x.wrapping_add(GROUPS * width);
            if N <= 3 {
                for _ in 0..GROUPS {
                    // SAFETY: `x` is at a group that the assertion above covers, and so are its `N` rows.
                    add_products(&mut sums, &mut codes, unsafe { &*x.cast() });
                    x = x.wrapping_add(width);
                }
            }
            // Unrolled, the sums of more rows would not stay in registers: the turns of this loop cannot be foreseen.
            while x != end {
                // SAFETY: as above.
                add_products(&mut sums, &mut codes, unsafe { &*x.cast() });
                x = x.wrapping_add(width);
            }
        }
        widen(&sums, acc);
    }
    N
}

/// Adds the products of the lowest group's codes and `N` rows' activations; brings the next group down.
#[inline]
#[target_feature(enable = "avx2")]
fn add_products<const N: usize>(
    sums: &mut [[__m256i; 2]; N],
    codes: &mut [__m256i; 2],
    x: &[[i8; 4]; N],
) {
    let mask = _mm256_set1_epi8(3);
    let low = codes.map(|codes| _mm256_and_si256(codes, mask));
    *codes = codes.map(|codes| _mm256_srli_epi16::<2>(codes));
    for (sums, x) in sums.iter_mut().zip(x) {
        let inputs = broadcast(x);
        for (sum, low) in sums.iter_mut().zip(low) {
            // Codes are the unsigned operand, so activations of -128 are as good as any.
            *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(low, inputs));
        }
    }
}

/// Adds neighbouring 16-bit sums, which belong to one row, and adds that to the row's sum.
#[inline]
#[target_feature(enable = "avx2")]
fn widen<const N: usize>(sums: &[[__m256i; 2]; N], acc: &mut [[i32; PANEL_ROWS]]) {
    let ones = _mm256_set1_epi16(1);
    for (narrow, acc) in sums.iter().zip(acc) {
        let mut wide = load_sums(acc);
        for (wide, narrow) in wide.iter_mut().zip(narrow) {
            *wide = _mm256_add_epi32(*wide, _mm256_madd_epi16(*narrow, ones));
        }
        store_sums(acc, wide);
    }
}

/// Four activations, eight times.
#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::x86_64) fn broadcast(x: &[i8; 4]) -> __m256i {
    _mm256_set1_epi32(i32::from_le_bytes(x.map(i8::cast_unsigned)))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::x86_64) fn load_sums(sums: &[i32; PANEL_ROWS]) -> [__m256i; 2] {
    let sums: *const __m256i = sums.as_ptr().cast();
    // SAFETY: 16 sums are two registers; unaligned loads.
    unsafe { [_mm256_loadu_si256(sums), _mm256_loadu_si256(sums.add(1))] }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::x86_64) fn store_sums(out: &mut [i32; PANEL_ROWS], sums: [__m256i; 2]) {
    let out: *mut __m256i = out.as_mut_ptr().cast();
    // SAFETY: 16 sums are two registers; unaligned stores.
    unsafe {
        _mm256_storeu_si256(out, sums[0]);
        _mm256_storeu_si256(out.add(1), sums[1]);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::x86_64) fn load_line(line: &Line) -> [__m256i; 2] {
    let bytes: *const __m256i = line.0.as_ptr().cast();
    // SAFETY: a line is two registers, and is aligned to 64 bytes.
    unsafe { [_mm256_load_si256(bytes), _mm256_load_si256(bytes.add(1))] }
}

/// Asks for the line a page ahead.
#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::x86_64) fn prefetch(line: &Line) {
    _mm_prefetch::<_MM_HINT_T0>(line.0.as_ptr().wrapping_add(PREFETCH_BYTES).cast());
}
