//! The head's search: panels of 6-bit codes, and rows of 2-bit ones.
//!
//! Nothing asks for lines ahead of their use: the hardware's prefetching alone was 6 % faster.

use std::arch::x86_64::*;

use super::broadcast;
use crate::aligned::Line;
use crate::coarse::{BLOCK_INPUTS, BLOCK_LINES, COARSE_TILE, FINE_INPUTS};
use crate::ternary::PANEL_ROWS;

/// [`portable::coarse_tile`](crate::portable::coarse_tile); the lengths are checked by the dispatcher.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vnni")]
pub(crate) fn coarse_tile(panel: &[Line], x: &[i8], n: usize, acc: &mut [[i32; PANEL_ROWS]]) {
    const { assert!(COARSE_TILE == 16, "one arm for each width of a tile") };
    match n {
        2 => tile::<2, 2>(panel, x, acc),
        4 => tile::<4, 1>(panel, x, acc),
        6 => tile::<6, 1>(panel, x, acc),
        8 => tile::<8, 1>(panel, x, acc),
        10 => tile::<10, 1>(panel, x, acc),
        12 => tile::<12, 1>(panel, x, acc),
        14 => tile::<14, 1>(panel, x, acc),
        _ => tile::<16, 1>(panel, x, acc),
    }
}

/// `N` planes, each with `CHAINS` sums a row that hide the latency of `vpdpbusd`.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vnni")]
fn tile<const N: usize, const CHAINS: usize>(
    panel: &[Line],
    x: &[i8],
    acc: &mut [[i32; PANEL_ROWS]],
) {
    let blocks = panel.as_chunks::<BLOCK_LINES>().0;
    assert!(
        x.len() == blocks.len() * BLOCK_INPUTS * N && acc.len() == N,
        "tile of unequal parts"
    );
    let mut sums = [[_mm512_setzero_si512(); N]; CHAINS];
    let mut x: *const i32 = x.as_ptr().cast();
    for block in blocks {
        for (group, codes) in block_codes(block).into_iter().enumerate() {
            for t in 0..N {
                // SAFETY: `x` is at the group's `N` activations of four bytes, which the assertion above covers.
                let inputs = unsafe { broadcast(x.add(t)) };
                let sum = &mut sums[group % CHAINS][t];
                *sum = _mm512_dpbusd_epi32(*sum, codes, inputs);
            }
            x = x.wrapping_add(N);
        }
    }
    for t in 0..N {
        let sum = (1..CHAINS).fold(sums[0][t], |sum, i| _mm512_add_epi32(sum, sums[i][t]));
        // SAFETY: 16 sums are one register; unaligned store.
        unsafe { _mm512_storeu_si512(acc[t].as_mut_ptr().cast(), sum) };
    }
}

/// Four groups of codes from three lines.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn block_codes(block: &[Line; BLOCK_LINES]) -> [__m512i; 4] {
    let low = _mm512_set1_epi8(63);
    // SAFETY: a line is one register, aligned to 64 bytes.
    let [a, b, c] = block
        .each_ref()
        .map(|line| unsafe { _mm512_load_si512(line.0.as_ptr().cast()) });
    // The fourth code's bit pairs go where they belong; what else is shifted along is masked off.
    let last = _mm512_or_si512(
        _mm512_or_si512(
            _mm512_and_si512(_mm512_srli_epi16::<6>(a), _mm512_set1_epi8(0x03)),
            _mm512_and_si512(_mm512_srli_epi16::<4>(b), _mm512_set1_epi8(0x0c)),
        ),
        _mm512_and_si512(_mm512_srli_epi16::<2>(c), _mm512_set1_epi8(0x30)),
    );
    [
        _mm512_and_si512(a, low),
        _mm512_and_si512(b, low),
        _mm512_and_si512(c, low),
        last,
    ]
}

/// [`portable::fine_sums`](crate::portable::fine_sums); the lengths are checked by the dispatcher.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vnni")]
pub(crate) fn fine_sums(fine: &[Line], ahead: &[Line], x: [&[i8]; 2]) -> [i32; 2] {
    let mask = _mm512_set1_epi8(3);
    let mut sums = [_mm512_setzero_si512(); 2];
    for (i, (line, ahead)) in fine.iter().zip(ahead).enumerate() {
        _mm_prefetch::<_MM_HINT_T0>(ahead.0.as_ptr().cast());
        // SAFETY: a line is one register, aligned to 64 bytes.
        let mut codes = unsafe { _mm512_load_si512(line.0.as_ptr().cast()) };
        for group in 0..4 {
            let low = _mm512_and_si512(codes, mask);
            for (sum, x) in sums.iter_mut().zip(x) {
                let x = &x[i * FINE_INPUTS + group * 64..][..64];
                // SAFETY: 64 activations are one register; unaligned load.
                let x = unsafe { _mm512_loadu_si512(x.as_ptr().cast()) };
                *sum = _mm512_dpbusd_epi32(*sum, low, x);
            }
            codes = _mm512_srli_epi16::<2>(codes);
        }
    }
    sums.map(|sum| _mm512_reduce_add_epi32(sum))
}
