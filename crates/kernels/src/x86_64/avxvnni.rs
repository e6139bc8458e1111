//! AVX-VNNI: 256-bit `vpdpbusd` adds four products of a code and an activation to each of eight rows, for processors that have
//! it without AVX-512.
//!
//! A code is used where it lies in its byte, masked but not shifted: the products of group `g` are then 4^g times too large.
//! The groups are gone through from the highest down, and the sums are divided by four from one to the next, so that all end
//! at the right size.
//!
//! The rest is the kernels of [`avx2`](super::avx2). Needs AVX-VNNI, AVX2 and F16C. The same instruction in the
//! encoding of AVX-512 VL does the same; the tests run the kernels with it too, on machines that have only that one.

mod coarse;

use std::arch::x86_64::*;

pub(crate) use self::coarse::coarse_tile;
pub(crate) use super::avx2::*;
use super::avx2::{GROUPS, broadcast, load_line, load_sums, store_sums};
use crate::aligned::Line;
use crate::ternary::PANEL_ROWS;

/// Lines that are gone through group by group: 4 KiB of codes, and 1 KiB of activations a row, stay in the first cache. Sums are
/// at most 64 lines x 4 inputs x 2 x 64 x 128 = 2^22.
const LINES_PER_BLOCK: usize = 64;

/// Rows multiplied at a time: twelve sums, two registers of codes, a mask and an activation take the 16. A tile is parted evenly,
/// as 4 + 4 rather than 6 + 2.
const MAX_ROWS: usize = 6;

/// Whether this processor has the instructions.
pub(crate) fn is_available() -> bool {
    super::avx2::is_available() && is_x86_feature_detected!("avxvnni")
}

/// [`portable::ternary_tile`](crate::portable::ternary_tile); the lengths are checked by the dispatcher.
#[target_feature(enable = "avx2,f16c,avxvnni")]
pub(crate) fn ternary_tile(
    panels: &[Line],
    lines: usize,
    x: &[i8],
    n: usize,
    acc: &mut [[i32; PANEL_ROWS]],
) {
    tile(Vex::new(), panels, lines, x, n, acc);
}

/// `vpdpbusd` on 256 bits in one of its encodings; a value proves that the processor has it, and AVX2.
trait DotProduct: Copy {
    /// `sums[i] + codes[4 i..4 i + 4] . inputs[4 i..4 i + 4]`, of unsigned codes and signed inputs.
    fn add_products(self, sums: __m256i, codes: __m256i, inputs: __m256i) -> __m256i;
}

/// The encoding of AVX-VNNI.
#[derive(Clone, Copy)]
struct Vex(());

impl Vex {
    #[inline]
    #[target_feature(enable = "avx2,avxvnni")]
    fn new() -> Self {
        Self(())
    }
}

impl DotProduct for Vex {
    #[inline(always)]
    fn add_products(self, sums: __m256i, codes: __m256i, inputs: __m256i) -> __m256i {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm256_dpbusd_avx_epi32(sums, codes, inputs) }
    }
}

#[inline(always)]
fn tile<D: DotProduct>(
    d: D,
    panels: &[Line],
    lines: usize,
    x: &[i8],
    n: usize,
    acc: &mut [[i32; PANEL_ROWS]],
) {
    let x = x.as_chunks::<4>().0;
    acc.fill([0; PANEL_ROWS]);
    for (panel, acc) in panels.chunks_exact(lines).zip(acc.chunks_exact_mut(n)) {
        let blocks = panel.chunks(LINES_PER_BLOCK);
        for (lines, x) in blocks.zip(x.chunks(LINES_PER_BLOCK * GROUPS * n)) {
            let mut t = 0;
            while t < n {
                let (x, acc) = (&x[t..], &mut acc[t..]);
                let rest = n - t;
                // The fewer rows, the more groups at once: eight sums at least hide the instruction's latency.
                t += match rest.div_ceil(rest.div_ceil(MAX_ROWS)) {
                    6.. => block_times_rows::<D, MAX_ROWS, 1>(d, lines, x, n, acc),
                    5 => block_times_rows::<D, 5, 1>(d, lines, x, n, acc),
                    4 => block_times_rows::<D, 4, 1>(d, lines, x, n, acc),
                    3 => block_times_rows::<D, 3, 2>(d, lines, x, n, acc),
                    2 => block_times_rows::<D, 2, 2>(d, lines, x, n, acc),
                    _ => block_times_rows::<D, 1, 4>(d, lines, x, n, acc),
                };
            }
        }
    }
}

/// Adds the products of a block of lines, `G` groups at a time, and the first `N` rows of a tile of `width` rows; returns `N`.
#[inline(always)]
fn block_times_rows<D: DotProduct, const N: usize, const G: usize>(
    d: D,
    lines: &[Line],
    x: &[[i8; 4]],
    width: usize,
    acc: &mut [[i32; PANEL_ROWS]],
) -> usize {
    assert!(
        x.len() >= (lines.len() * GROUPS - 1) * width + N,
        "token rows too short"
    );
    // SAFETY: `d` proves AVX2.
    let mut sums = unsafe { [[[_mm256_setzero_si256(); 2]; N]; G] };
    // Asks for the next block while going through this one several times, evenly: all at once, it would have to wait.
    let mut ahead = lines.as_ptr().wrapping_add(LINES_PER_BLOCK).cast::<u8>();
    for first in (0..GROUPS).step_by(G).rev() {
        // SAFETY: as above.
        unsafe {
            let digits = _mm_cvtsi64_si128(2 * G as i64);
            for sum in sums.as_flattened_mut().as_flattened_mut() {
                *sum = _mm256_sra_epi32(*sum, digits);
            }
        }
        let mut x = x.as_ptr().wrapping_add(first * width);
        for line in lines {
            // SAFETY: as above.
            let codes = unsafe {
                _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
                load_line(line)
            };
            ahead = ahead.wrapping_add(size_of::<Line>() * G / GROUPS);
            for g in 0..G {
                // SAFETY: as above; `x` is at the groups from `first` on, which the assertion covers with their `N` rows.
                unsafe {
                    let mask = _mm256_set1_epi8((3_u8 << (2 * (first + g))).cast_signed());
                    let codes = codes.map(|codes| _mm256_and_si256(codes, mask));
                    for t in 0..N {
                        let inputs = broadcast(&*x.wrapping_add(g * width + t));
                        for half in 0..2 {
                            let sum = &mut sums[g][t][half];
                            *sum = d.add_products(*sum, codes[half], inputs);
                        }
                    }
                }
            }
            x = x.wrapping_add(GROUPS * width);
        }
    }
    for t in 0..N {
        // SAFETY: as above.
        unsafe {
            let mut total = load_sums(&acc[t]);
            for g in 0..G {
                let digits = _mm_cvtsi64_si128(2 * g as i64);
                for half in 0..2 {
                    let sum = _mm256_sra_epi32(sums[g][t][half], digits);
                    total[half] = _mm256_add_epi32(total[half], sum);
                }
            }
            store_sums(&mut acc[t], total);
        }
    }
    N
}

#[cfg(test)]
mod tests;
