//! The head's search: panels of 6-bit codes, and rows of 2-bit ones.
//!
//! `vpmaddubsw` takes the codes as they are, unsigned: two sums of two products, 4 x 63 x 128 = 32256, stay within 16 bits.

use std::arch::x86_64::*;

use super::{load_line, store_sums};
use crate::aligned::Line;
use crate::coarse::{BLOCK_INPUTS, BLOCK_LINES, FINE_INPUTS};
use crate::ternary::PANEL_ROWS;

/// [`portable::coarse_tile`](crate::portable::coarse_tile); the lengths are checked by the dispatcher.
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn coarse_tile(panel: &[Line], x: &[i8], n: usize, acc: &mut [[i32; PANEL_ROWS]]) {
    let x = x.as_chunks::<4>().0;
    let mut t = 0;
    while t < n {
        let (x, acc) = (&x[t..], &mut acc[t..]);
        // Eight sums, four registers of codes, two of products and a constant: 15 of the 16.
        t += match n - t {
            4.. => planes::<4>(panel, x, n, acc),
            _ => planes::<2>(panel, x, n, acc),
        };
    }
}

/// The first `N` planes of a tile of `width`; returns `N`.
#[target_feature(enable = "avx2,f16c")]
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
    let ones = _mm256_set1_epi16(1);
    let mut sums = [[_mm256_setzero_si256(); 2]; N];
    let mut x: *const i32 = x.as_ptr().cast();
    for block in blocks {
        let lines = block.each_ref().map(|line| load_line(line));
        for half in 0..2 {
            let codes = half_codes(lines.map(|line| line[half]));
            for t in 0..N {
                let products = |group: usize| {
                    // SAFETY: `x` is at the block's four groups, `width` times four bytes apart, which the assertion above covers.
                    let inputs = unsafe { x.add(group * width + t).read_unaligned() };
                    _mm256_maddubs_epi16(codes[group], _mm256_set1_epi32(inputs))
                };
                let first = _mm256_add_epi16(products(0), products(1));
                let second = _mm256_add_epi16(products(2), products(3));
                let wide = _mm256_add_epi32(
                    _mm256_madd_epi16(first, ones),
                    _mm256_madd_epi16(second, ones),
                );
                sums[t][half] = _mm256_add_epi32(sums[t][half], wide);
            }
        }
        x = x.wrapping_add(BLOCK_INPUTS / 4 * width);
    }
    for (acc, sums) in acc.iter_mut().zip(sums) {
        store_sums(acc, sums);
    }
    N
}

/// Four groups of eight rows' codes from the halves of three lines.
#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::x86_64) fn half_codes([a, b, c]: [__m256i; BLOCK_LINES]) -> [__m256i; 4] {
    let low = _mm256_set1_epi8(63);
    // The fourth code's bit pairs go where they belong; what else is shifted along is masked off.
    let last = _mm256_or_si256(
        _mm256_or_si256(
            _mm256_and_si256(_mm256_srli_epi16::<6>(a), _mm256_set1_epi8(0x03)),
            _mm256_and_si256(_mm256_srli_epi16::<4>(b), _mm256_set1_epi8(0x0c)),
        ),
        _mm256_and_si256(_mm256_srli_epi16::<2>(c), _mm256_set1_epi8(0x30)),
    );
    [
        _mm256_and_si256(a, low),
        _mm256_and_si256(b, low),
        _mm256_and_si256(c, low),
        last,
    ]
}

/// [`portable::fine_sums`](crate::portable::fine_sums); the lengths are checked by the dispatcher.
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn fine_sums(fine: &[Line], ahead: &[Line], x: [&[i8]; 2]) -> [i32; 2] {
    let (mask, ones) = (_mm256_set1_epi8(3), _mm256_set1_epi16(1));
    let mut sums = [_mm256_setzero_si256(); 2];
    for (i, (line, ahead)) in fine.iter().zip(ahead).enumerate() {
        _mm_prefetch::<_MM_HINT_T0>(ahead.0.as_ptr().cast());
        let mut codes = load_line(line);
        // Of eight sums of two products each, at most 2 x 3 x 128.
        let mut narrow = [_mm256_setzero_si256(); 2];
        for group in 0..4 {
            for (half, codes) in codes.iter_mut().enumerate() {
                let low = _mm256_and_si256(*codes, mask);
                for (narrow, x) in narrow.iter_mut().zip(x) {
                    let x = &x[i * FINE_INPUTS + group * 64 + half * 32..][..32];
                    // SAFETY: 32 activations are one register; unaligned load.
                    let x = unsafe { _mm256_loadu_si256(x.as_ptr().cast()) };
                    *narrow = _mm256_add_epi16(*narrow, _mm256_maddubs_epi16(low, x));
                }
                *codes = _mm256_srli_epi16::<2>(*codes);
            }
        }
        for (sum, narrow) in sums.iter_mut().zip(narrow) {
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(narrow, ones));
        }
    }
    sums.map(|sum| sum_of_8(sum))
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum_of_8(a: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two)))
}
