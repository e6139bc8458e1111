//! AVX-512 with VNNI: `vpdpbusd` adds four products of a code and an activation to each of a panel's 16 rows; f32 vectors
//! are two registers.
//!
//! Needs AVX-512 F, BW and VNNI.

mod coarse;
mod gather;

use std::arch::x86_64::*;

pub(crate) use self::coarse::{coarse_tile, fine_sums};
pub(crate) use self::gather::gather_lines;
use super::avx2::fold_8;
use crate::aligned::Line;
use crate::dot::PREFETCH_BYTES;
use crate::simd::{LANES, Simd};
use crate::ternary::{LINE_INPUTS, PANEL_ROWS, TOKEN_TILE};

/// Groups of four inputs in a line.
const GROUPS: usize = LINE_INPUTS / 4;

/// Whether this processor has the instructions.
pub(crate) fn is_available() -> bool {
    super::avx2::is_available()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni")
}

crate::dispatch::float_kernels!(
    Avx512::new(),
    #[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vnni")]
);

/// [`portable::ternary_tile`](crate::portable::ternary_tile); the lengths are checked by the dispatcher.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vnni")]
pub(crate) fn ternary_tile(
    panels: &[Line],
    lines: usize,
    x: &[i8],
    n: usize,
    acc: &mut [[i32; PANEL_ROWS]],
) {
    if n == 1 {
        for (panel, acc) in panels.chunks_exact(lines).zip(acc) {
            *acc = panel_times_row(panel, x);
        }
    } else if panels.len() == lines {
        panels_times_rows::<1>(panels, lines, x, n, acc);
    } else {
        panels_times_rows::<2>(panels, lines, x, n, acc);
    }
}

/// One panel and one row: a stream of weights, so what counts is to have enough of them on their way.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vnni")]
fn panel_times_row(panel: &[Line], x: &[i8]) -> [i32; PANEL_ROWS] {
    let mask = _mm512_set1_epi8(3);
    // Four chains hide the latency of `vpdpbusd`. |sum| <= 2 x 128 x 2^22 inputs = 2^30.
    let mut sums = [_mm512_setzero_si512(); 4];
    for (line, x) in panel.iter().zip(x.as_chunks::<LINE_INPUTS>().0) {
        let codes = load_line(line);
        let group0 = _mm512_and_si512(codes, mask);
        let group1 = _mm512_and_si512(_mm512_srli_epi16::<2>(codes), mask);
        let group2 = _mm512_and_si512(_mm512_srli_epi16::<4>(codes), mask);
        let group3 = _mm512_and_si512(_mm512_srli_epi16::<6>(codes), mask);
        let x = x.as_ptr().cast::<i32>();
        // SAFETY: the 16 activations of a line are four groups of four bytes.
        unsafe {
            sums[0] = _mm512_dpbusd_epi32(sums[0], group0, broadcast(x));
            sums[1] = _mm512_dpbusd_epi32(sums[1], group1, broadcast(x.add(1)));
            sums[2] = _mm512_dpbusd_epi32(sums[2], group2, broadcast(x.add(2)));
            sums[3] = _mm512_dpbusd_epi32(sums[3], group3, broadcast(x.add(3)));
        }
    }
    let low = _mm512_add_epi32(sums[0], sums[1]);
    let high = _mm512_add_epi32(sums[2], sums[3]);
    let mut out = [0; PANEL_ROWS];
    // SAFETY: 16 sums are one register; unaligned store.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_add_epi32(low, high)) };
    out
}

/// `P` panels and a tile of `n` rows.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vnni")]
fn panels_times_rows<const P: usize>(
    panels: &[Line],
    lines: usize,
    x: &[i8],
    n: usize,
    acc: &mut [[i32; PANEL_ROWS]],
) {
    const { assert!(TOKEN_TILE == 12, "one arm for each width of a tile") };
    match n {
        12 => tile::<P, 12>(panels, lines, x, acc),
        11 => tile::<P, 11>(panels, lines, x, acc),
        10 => tile::<P, 10>(panels, lines, x, acc),
        9 => tile::<P, 9>(panels, lines, x, acc),
        8 => tile::<P, 8>(panels, lines, x, acc),
        7 => tile::<P, 7>(panels, lines, x, acc),
        6 => tile::<P, 6>(panels, lines, x, acc),
        5 => tile::<P, 5>(panels, lines, x, acc),
        4 => tile::<P, 4>(panels, lines, x, acc),
        3 => tile::<P, 3>(panels, lines, x, acc),
        _ => tile::<P, 2>(panels, lines, x, acc),
    }
}

/// `P` panels and a tile of `N` rows, all sums in registers: with two panels and 12 rows, 24 sums, two lines of codes, a
/// mask, a shift and an activation take 29 of the 32.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vnni")]
fn tile<const P: usize, const N: usize>(
    panels: &[Line],
    lines: usize,
    x: &[i8],
    acc: &mut [[i32; PANEL_ROWS]],
) {
    assert!(
        panels.len() == P * lines && acc.len() == P * N,
        "tile of unequal parts"
    );
    assert_eq!(x.len(), N * lines * LINE_INPUTS, "tile of another width");
    let mask = _mm512_set1_epi8(3);
    // |sum| <= 2 x 128 x 2^22 inputs = 2^30.
    let mut sums = [[_mm512_setzero_si512(); N]; P];
    let mut x: *const i32 = x.as_ptr().cast();
    // A line is loaded anew for each of its groups: unrolled over the groups, the sums would not stay in registers.
    for group in 0..lines * GROUPS {
        let shift = _mm_cvtsi64_si128((group % GROUPS * 2) as i64);
        let mut codes = [_mm512_setzero_si512(); P];
        for p in 0..P {
            let line = load_line(&panels[p * lines + group / GROUPS]);
            codes[p] = _mm512_and_si512(_mm512_srl_epi16(line, shift), mask);
        }
        for t in 0..N {
            // SAFETY: `x` is at the group's `N` activations of four bytes, which the assertion above covers.
            let inputs = unsafe { broadcast(x.add(t)) };
            for p in 0..P {
                sums[p][t] = _mm512_dpbusd_epi32(sums[p][t], codes[p], inputs);
            }
        }
        x = x.wrapping_add(N);
    }
    for p in 0..P {
        for t in 0..N {
            // SAFETY: 16 sums are one register; unaligned store.
            unsafe { _mm512_storeu_si512(acc[p * N + t].as_mut_ptr().cast(), sums[p][t]) };
        }
    }
}

/// Loads a line and asks for the one a page ahead.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load_line(line: &Line) -> __m512i {
    let bytes = line.0.as_ptr();
    // SAFETY: a line is one register, aligned to 64 bytes; a prefetch of any address is allowed.
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(bytes.wrapping_add(PREFETCH_BYTES).cast());
        _mm512_load_si512(bytes.cast())
    }
}

/// # Safety
/// Four bytes can be read from `x`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn broadcast(x: *const i32) -> __m512i {
    // SAFETY: the caller's promise.
    _mm512_set1_epi32(unsafe { x.read_unaligned() })
}

/// Proof that the processor has AVX-512 F, BW and VNNI.
#[derive(Clone, Copy)]
struct Avx512(());

impl Avx512 {
    #[inline]
    #[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vnni")]
    fn new() -> Self {
        Self(())
    }
}

/// Applies an operation on registers to each of the two.
macro_rules! lanewise {
    ($name:ident($($argument:ident),*), $instruction:ident) => {
        #[inline(always)]
        fn $name(self, $($argument: [__m512; 2]),*) -> [__m512; 2] {
            // SAFETY: `self` proves the instructions.
            unsafe { [$instruction($($argument[0]),*), $instruction($($argument[1]),*)] }
        }
    };
}

impl Simd for Avx512 {
    type F32s = [__m512; 2];

    const ROW_TILE: usize = 2;
    const TOKEN_TILE: usize = 4;

    #[inline(always)]
    fn splat(self, x: f32) -> [__m512; 2] {
        // SAFETY: `self` proves the instructions.
        unsafe { [_mm512_set1_ps(x); 2] }
    }
    #[inline(always)]
    fn splat_halves(self, low: f32, high: f32) -> [__m512; 2] {
        // SAFETY: `self` proves the instructions.
        unsafe { [_mm512_set1_ps(low), _mm512_set1_ps(high)] }
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> [__m512; 2] {
        let x = x.as_ptr();
        // SAFETY: `self` proves the instructions; the array is two registers; unaligned loads.
        unsafe { [_mm512_loadu_ps(x), _mm512_loadu_ps(x.add(16))] }
    }
    #[inline(always)]
    fn load_f16(self, x: &[u8; 2 * LANES]) -> [__m512; 2] {
        let x: *const __m256i = x.as_ptr().cast();
        // SAFETY: `self` proves the instructions; the array is two half registers; unaligned loads.
        unsafe {
            [
                _mm512_cvtph_ps(_mm256_loadu_si256(x)),
                _mm512_cvtph_ps(_mm256_loadu_si256(x.add(1))),
            ]
        }
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u8; 2 * LANES]) -> [__m512; 2] {
        let x: *const __m256i = x.as_ptr().cast();
        // SAFETY: `self` proves the instructions; the array is two half registers; unaligned loads.
        unsafe {
            [
                bf16_to_f32(_mm256_loadu_si256(x)),
                bf16_to_f32(_mm256_loadu_si256(x.add(1))),
            ]
        }
    }
    #[inline(always)]
    fn load_i8(self, x: &[u8; LANES]) -> [__m512; 2] {
        let x: *const __m128i = x.as_ptr().cast();
        // SAFETY: `self` proves the instructions; the array is two quarter registers; unaligned loads.
        unsafe {
            [
                i8_to_f32(_mm_loadu_si128(x)),
                i8_to_f32(_mm_loadu_si128(x.add(1))),
            ]
        }
    }
    #[inline(always)]
    fn load_i16(self, x: &[i16; LANES]) -> [__m512; 2] {
        let x: *const __m256i = x.as_ptr().cast();
        // SAFETY: `self` proves the instructions; the array is two half registers; unaligned loads.
        unsafe {
            [
                i16_to_f32(_mm256_loadu_si256(x)),
                i16_to_f32(_mm256_loadu_si256(x.add(1))),
            ]
        }
    }
    #[inline(always)]
    fn load_i16_pairs(self, x: [&[i16; LANES]; 2]) -> [[__m512; 2]; 2] {
        // SAFETY: `self` proves the instructions; each array is a register; unaligned loads.
        unsafe {
            let [first, second] =
                x.map(|x| i16_pairs_to_f32(_mm512_loadu_si512(x.as_ptr().cast())));
            [[first[0], second[0]], [first[1], second[1]]]
        }
    }
    #[inline(always)]
    fn load_bits(self, x: &[u8; LANES], shift: usize, mask: u8) -> [__m512; 2] {
        let x: *const __m128i = x.as_ptr().cast();
        // SAFETY: `self` proves the instructions; the array is two quarter registers; unaligned loads.
        unsafe {
            let (shift, mask) = (
                _mm_cvtsi64_si128(shift as i64),
                _mm512_set1_epi32(mask.into()),
            );
            [
                bits_to_f32(_mm_loadu_si128(x), shift, mask),
                bits_to_f32(_mm_loadu_si128(x.add(1)), shift, mask),
            ]
        }
    }
    #[inline(always)]
    fn load_nibbles(self, x: &[u8; LANES / 2]) -> [__m512; 2] {
        // SAFETY: `self` proves the instructions; the array is a quarter register; unaligned load.
        unsafe {
            let (x, mask) = (_mm_loadu_si128(x.as_ptr().cast()), _mm512_set1_epi32(15));
            [
                bits_to_f32(x, _mm_setzero_si128(), mask),
                bits_to_f32(x, _mm_cvtsi32_si128(4), mask),
            ]
        }
    }
    #[inline(always)]
    fn store(self, a: [__m512; 2], out: &mut [f32; LANES]) {
        let out = out.as_mut_ptr();
        // SAFETY: `self` proves the instructions; the array is two registers; unaligned stores.
        unsafe {
            _mm512_storeu_ps(out, a[0]);
            _mm512_storeu_ps(out.add(16), a[1]);
        }
    }
    #[inline(always)]
    fn store_i8(self, a: [__m512; 2], out: &mut [i8; LANES]) {
        let out: *mut __m128i = out.as_mut_ptr().cast();
        // SAFETY: `self` proves the instructions; the array is two quarter registers; unaligned stores.
        unsafe {
            _mm_storeu_si128(out, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a[0])));
            _mm_storeu_si128(out.add(1), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a[1])));
        }
    }

    lanewise!(add(a, b), _mm512_add_ps);
    lanewise!(sub(a, b), _mm512_sub_ps);
    lanewise!(mul(a, b), _mm512_mul_ps);
    lanewise!(div(a, b), _mm512_div_ps);
    lanewise!(min(a, b), _mm512_min_ps);
    lanewise!(max(a, b), _mm512_max_ps);
    lanewise!(max_abs(a, b), register_max_abs);
    lanewise!(exp2_of_rounded(a), register_exp2_of_rounded);

    #[inline(always)]
    fn fold(self, a: [__m512; 2]) -> f32 {
        // SAFETY: `self` proves the instructions.
        unsafe { fold_16(_mm512_add_ps(a[0], a[1])) }
    }
    #[inline(always)]
    fn fold_4(self, [a, b, c, d]: [[__m512; 2]; 4]) -> [f32; 4] {
        let mut out = [0.0; 4];
        // SAFETY: `self` proves the instructions; unaligned store.
        unsafe {
            let sums = fold_16s([
                _mm512_add_ps(a[0], a[1]),
                _mm512_add_ps(b[0], b[1]),
                _mm512_add_ps(c[0], c[1]),
                _mm512_add_ps(d[0], d[1]),
            ]);
            _mm_storeu_ps(out.as_mut_ptr(), sums);
        }
        out
    }
    #[inline(always)]
    fn prefetch<T>(self, address: *const T) {
        // SAFETY: `self` proves the instructions; a prefetch of any address is allowed.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
}

/// The sum of sixteen lanes: lane `i` += lane `i + half` for halves 8, 4, 2, 1.
#[inline]
#[target_feature(enable = "avx512f,avx2")]
fn fold_16(a: __m512) -> f32 {
    let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(a)));
    fold_8(_mm256_add_ps(_mm512_castps512_ps256(a), high))
}

/// [`fold_16`] of four vectors at once, which share the additions.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold_16s([a, b, c, d]: [__m512; 4]) -> __m128 {
    // The low quarters of two vectors, and their high ones: lanes `i` and `i + 8` of each stand above each other.
    let ab = _mm512_add_ps(
        _mm512_shuffle_f32x4::<0b01_00_01_00>(a, b),
        _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b),
    );
    let cd = _mm512_add_ps(
        _mm512_shuffle_f32x4::<0b01_00_01_00>(c, d),
        _mm512_shuffle_f32x4::<0b11_10_11_10>(c, d),
    );
    // A quarter each from here on.
    let four = _mm512_add_ps(
        _mm512_shuffle_f32x4::<0b10_00_10_00>(ab, cd),
        _mm512_shuffle_f32x4::<0b11_01_11_01>(ab, cd),
    );
    let two = _mm512_add_ps(four, _mm512_permute_ps::<0b01_00_11_10>(four));
    let one = _mm512_add_ps(two, _mm512_permute_ps::<0b10_11_00_01>(two));
    let firsts = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    _mm512_castps512_ps128(_mm512_permutexvar_ps(firsts, one))
}

/// Non-negative floats order as their bits, with NaN on top.
#[inline]
#[target_feature(enable = "avx512f")]
fn register_max_abs(a: __m512, b: __m512) -> __m512 {
    let magnitude = _mm512_set1_epi32(i32::MAX);
    let a = _mm512_and_si512(_mm512_castps_si512(a), magnitude);
    let b = _mm512_and_si512(_mm512_castps_si512(b), magnitude);
    _mm512_castsi512_ps(_mm512_max_epi32(a, b))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn register_exp2_of_rounded(a: __m512) -> __m512 {
    let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(a));
    _mm512_castsi512_ps(_mm512_add_epi32(
        exponent,
        _mm512_castps_si512(_mm512_set1_ps(1.0)),
    ))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn bf16_to_f32(x: __m256i) -> __m512 {
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(x)))
}

/// The low halves, then the high ones, as signed numbers 2^16 times as large.
#[inline]
#[target_feature(enable = "avx512f")]
fn i16_pairs_to_f32(pairs: __m512i) -> [__m512; 2] {
    let high = _mm512_set1_epi32(0xFFFF_0000_u32.cast_signed());
    [
        _mm512_cvtepi32_ps(_mm512_slli_epi32::<16>(pairs)),
        _mm512_cvtepi32_ps(_mm512_and_si512(pairs, high)),
    ]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn i16_to_f32(x: __m256i) -> __m512 {
    _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(x))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn i8_to_f32(x: __m128i) -> __m512 {
    _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(x))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn bits_to_f32(x: __m128i, shift: __m128i, mask: __m512i) -> __m512 {
    let bytes = _mm512_srl_epi32(_mm512_cvtepu8_epi32(x), shift);
    _mm512_cvtepi32_ps(_mm512_and_si512(bytes, mask))
}
