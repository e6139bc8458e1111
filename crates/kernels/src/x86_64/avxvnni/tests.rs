//! The kernels in the encodings that this machine has, against the portable ones.

use super::*;
use crate::coarse::{BLOCK_INPUTS, BLOCK_LINES, COARSE_TILE};
use crate::portable;
use crate::ternary::LINE_INPUTS;

/// The encoding of AVX-512 VL.
#[derive(Clone, Copy)]
struct Evex(());

impl DotProduct for Evex {
    #[inline(always)]
    fn add_products(self, sums: __m256i, codes: __m256i, inputs: __m256i) -> __m256i {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm256_dpbusd_epi32(sums, codes, inputs) }
    }
}

#[target_feature(enable = "avx2,avx512vl,avx512vnni")]
fn evex_tile(panels: &[Line], lines: usize, x: &[i8], n: usize, acc: &mut [[i32; PANEL_ROWS]]) {
    tile(Evex(()), panels, lines, x, n, acc);
}

#[target_feature(enable = "avx2,avx512vl,avx512vnni")]
fn evex_coarse(panel: &[Line], x: &[i8], n: usize, acc: &mut [[i32; PANEL_ROWS]]) {
    coarse::tile(Evex(()), panel, x, n, acc);
}

type Tile = unsafe fn(&[Line], usize, &[i8], usize, &mut [[i32; PANEL_ROWS]]);
type Coarse = unsafe fn(&[Line], &[i8], usize, &mut [[i32; PANEL_ROWS]]);

/// The kernels in each encoding that this processor has.
fn encodings() -> Vec<(&'static str, Tile, Coarse)> {
    let mut found: Vec<(_, Tile, Coarse)> = Vec::new();
    if is_available() {
        found.push(("VEX", ternary_tile, coarse_tile));
    }
    let evex = is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("avx512vnni");
    if evex && crate::x86_64::avx2::is_available() {
        found.push(("EVEX", evex_tile, evex_coarse));
    }
    found
}

/// Bytes of no pattern, always the same.
fn bytes() -> impl Iterator<Item = u8> {
    let mut state = 5_u32;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
}

/// Lines of any bytes: even code 3 must come out right here.
fn lines(count: usize) -> Vec<Line> {
    let bytes: Vec<u8> = bytes().take(64 * count).collect();
    bytes.as_chunks().0.iter().copied().map(Line).collect()
}

fn activations(len: usize) -> Vec<i8> {
    bytes().skip(7).take(len).map(u8::cast_signed).collect()
}

#[test]
fn ternary_sums_equal_the_portable_ones_in_each_encoding() {
    for panel_lines in [1, 2, 63, 64, 65, 160] {
        for n in 1..=12 {
            let (panels, x) = (
                lines(2 * panel_lines),
                activations(n * panel_lines * LINE_INPUTS),
            );
            let mut expected = vec![[0; PANEL_ROWS]; 2 * n];
            portable::ternary_tile(&panels, panel_lines, &x, n, &mut expected);
            for (encoding, tile, _) in encodings() {
                let mut acc = vec![[-1; PANEL_ROWS]; 2 * n];
                // SAFETY: the processor has the encoding.
                unsafe { tile(&panels, panel_lines, &x, n, &mut acc) };
                assert_eq!(acc, expected, "{encoding}: {panel_lines} lines, {n} rows");
            }
        }
    }
}

#[test]
fn coarse_sums_equal_the_portable_ones_in_each_encoding() {
    for blocks in [1, 2, 3, 40] {
        for n in (2..=COARSE_TILE).step_by(2) {
            let (panel, x) = (
                lines(BLOCK_LINES * blocks),
                activations(n * blocks * BLOCK_INPUTS),
            );
            let mut expected = vec![[0; PANEL_ROWS]; n];
            portable::coarse_tile(&panel, &x, n, &mut expected);
            for (encoding, _, coarse) in encodings() {
                let mut acc = vec![[-1; PANEL_ROWS]; n];
                // SAFETY: the processor has the encoding.
                unsafe { coarse(&panel, &x, n, &mut acc) };
                assert_eq!(acc, expected, "{encoding}: {blocks} blocks, {n} planes");
            }
        }
    }
}
