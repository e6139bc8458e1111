//! AVX2: `vpmaddubsw` takes 32 codes and 32 activations to 16 sums of two products; f32 vectors are four registers.
//!
//! Needs AVX2 and F16C (half precision conversion).

mod coarse;

use std::arch::x86_64::*;

pub(crate) use self::coarse::{coarse_tile, fine_sums};
use crate::aligned::Line;
use crate::dot::PREFETCH_BYTES;
use crate::simd::{LANES, Simd};
use crate::ternary::{LINE_INPUTS, PANEL_ROWS};

/// Lines after which 16-bit sums are widened: each line adds four sums of two products of at most 2 x 128, and
/// 15 x 4 x 512 = 30720 <= 32767.
const LINES_PER_WIDENING: usize = 15;

/// Groups of four inputs in a line.
const GROUPS: usize = LINE_INPUTS / 4;

/// Whether this processor has the instructions.
pub(crate) fn is_available() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c")
}

crate::dispatch::float_kernels!(Avx2::new(), #[target_feature(enable = "avx2,f16c")]);

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
            // Eight sums, two registers of codes, a mask, a shift, an activation and a product: 14 of the 16.
            t += match n - t {
                4.. => panel_times_rows::<4>(panel, x, n, acc),
                3 => panel_times_rows::<3>(panel, x, n, acc),
                2 => panel_times_rows::<2>(panel, x, n, acc),
                _ => panel_times_rows::<1>(panel, x, n, acc),
            };
        }
    }
}

/// Sums of `N` rows and the 16 rows of a panel, eight of them in a register.
type Sums<const N: usize> = [[__m256i; 2]; N];

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
    // |sum| <= 2 x 128 x 2^22 inputs = 2^30.
    let mut sums: Sums<N> = [[_mm256_setzero_si256(); 2]; N];
    let ones = _mm256_set1_epi16(1);
    let mut x: *const i32 = x.as_ptr().cast();
    for lines in panel.chunks(LINES_PER_WIDENING) {
        // SAFETY: `x` is at the activations of these lines, which the assertion above covers.
        let narrow: Sums<N> = unsafe {
            if N == 1 {
                lines_times_row(lines, x, width)
            } else {
                lines_times_rows(lines, x, width)
            }
        };
        for t in 0..N {
            for half in 0..2 {
                sums[t][half] =
                    _mm256_add_epi32(sums[t][half], _mm256_madd_epi16(narrow[t][half], ones));
            }
        }
        x = x.wrapping_add(lines.len() * GROUPS * width);
    }
    for t in 0..N {
        let out: *mut __m256i = acc[t].as_mut_ptr().cast();
        // SAFETY: the 16 sums of a row are two registers; unaligned stores.
        unsafe {
            _mm256_storeu_si256(out, sums[t][0]);
            _mm256_storeu_si256(out.add(1), sums[t][1]);
        }
    }
    N
}

/// At most [`LINES_PER_WIDENING`] lines, each loaded once: two 16-bit sums for each row of the panel.
///
/// # Safety
/// The groups of the lines can be read from `x`, `width` activations of four bytes apart.
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn lines_times_row<const N: usize>(
    lines: &[Line],
    mut x: *const i32,
    width: usize,
) -> Sums<N> {
    let mask = _mm256_set1_epi8(3);
    let mut sums: Sums<N> = [[_mm256_setzero_si256(); 2]; N];
    for line in lines {
        prefetch(line);
        let mut codes = load_line(line);
        for _ in 0..GROUPS {
            let low = [
                _mm256_and_si256(codes[0], mask),
                _mm256_and_si256(codes[1], mask),
            ];
            // SAFETY: the caller's promise.
            unsafe { add_products(&mut sums, low, x) };
            codes = [
                _mm256_srli_epi16::<2>(codes[0]),
                _mm256_srli_epi16::<2>(codes[1]),
            ];
            x = x.wrapping_add(width);
        }
    }
    sums
}

/// The same, with each line loaded anew for each of its groups: unrolled over the groups, the sums of several rows would not
/// stay in registers.
///
/// # Safety
/// The groups of the lines can be read from `x`, `width` times four bytes apart, `N` activations each.
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn lines_times_rows<const N: usize>(
    lines: &[Line],
    mut x: *const i32,
    width: usize,
) -> Sums<N> {
    let mask = _mm256_set1_epi8(3);
    let mut sums: Sums<N> = [[_mm256_setzero_si256(); 2]; N];
    for group in 0..lines.len() * GROUPS {
        let line = &lines[group / GROUPS];
        prefetch(line);
        let codes = load_line(line);
        let shift = _mm_cvtsi64_si128((group % GROUPS * 2) as i64);
        let low = [
            _mm256_and_si256(_mm256_srl_epi16(codes[0], shift), mask),
            _mm256_and_si256(_mm256_srl_epi16(codes[1], shift), mask),
        ];
        // SAFETY: the caller's promise.
        unsafe { add_products(&mut sums, low, x) };
        x = x.wrapping_add(width);
    }
    sums
}

/// Adds the products of a group's codes with `N` rows' activations.
///
/// # Safety
/// `N` activations of four bytes can be read from `x`.
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn add_products<const N: usize>(sums: &mut Sums<N>, codes: [__m256i; 2], x: *const i32) {
    for t in 0..N {
        // SAFETY: the caller's promise.
        let inputs = _mm256_set1_epi32(unsafe { x.add(t).read_unaligned() });
        for half in 0..2 {
            // Codes are the unsigned operand, so activations of -128 are as good as any.
            let products = _mm256_maddubs_epi16(codes[half], inputs);
            sums[t][half] = _mm256_add_epi16(sums[t][half], products);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_line(line: &Line) -> [__m256i; 2] {
    let bytes: *const __m256i = line.0.as_ptr().cast();
    // SAFETY: a line is two registers, and is aligned to 64 bytes.
    unsafe { [_mm256_load_si256(bytes), _mm256_load_si256(bytes.add(1))] }
}

/// Asks for the line a page ahead.
#[inline]
#[target_feature(enable = "avx2")]
fn prefetch(line: &Line) {
    _mm_prefetch::<_MM_HINT_T0>(line.0.as_ptr().wrapping_add(PREFETCH_BYTES).cast());
}

/// Proof that the processor has AVX2 and F16C.
#[derive(Clone, Copy)]
struct Avx2(());

impl Avx2 {
    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    fn new() -> Self {
        Self(())
    }
}

/// Applies an operation on registers to each of the four.
macro_rules! lanewise {
    ($name:ident($($argument:ident),*), $instruction:ident) => {
        #[inline(always)]
        fn $name(self, $($argument: [__m256; 4]),*) -> [__m256; 4] {
            // SAFETY: `self` proves the instructions.
            unsafe {
                [
                    $instruction($($argument[0]),*),
                    $instruction($($argument[1]),*),
                    $instruction($($argument[2]),*),
                    $instruction($($argument[3]),*),
                ]
            }
        }
    };
}

impl Simd for Avx2 {
    type F32s = [__m256; 4];

    const ROW_TILE: usize = 1;
    const TOKEN_TILE: usize = 2;

    #[inline(always)]
    fn splat(self, x: f32) -> [__m256; 4] {
        // SAFETY: `self` proves the instructions.
        unsafe { [_mm256_set1_ps(x); 4] }
    }
    #[inline(always)]
    fn splat_halves(self, low: f32, high: f32) -> [__m256; 4] {
        // SAFETY: `self` proves the instructions.
        let (low, high) = unsafe { (_mm256_set1_ps(low), _mm256_set1_ps(high)) };
        [low, low, high, high]
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> [__m256; 4] {
        let x = x.as_ptr();
        // SAFETY: `self` proves the instructions; the array is four registers; unaligned loads.
        unsafe {
            [
                _mm256_loadu_ps(x),
                _mm256_loadu_ps(x.add(8)),
                _mm256_loadu_ps(x.add(16)),
                _mm256_loadu_ps(x.add(24)),
            ]
        }
    }
    #[inline(always)]
    fn load_f16(self, x: &[u8; 2 * LANES]) -> [__m256; 4] {
        let x: *const __m128i = x.as_ptr().cast();
        // SAFETY: `self` proves the instructions; the array is four half registers; unaligned loads.
        unsafe {
            [
                _mm256_cvtph_ps(_mm_loadu_si128(x)),
                _mm256_cvtph_ps(_mm_loadu_si128(x.add(1))),
                _mm256_cvtph_ps(_mm_loadu_si128(x.add(2))),
                _mm256_cvtph_ps(_mm_loadu_si128(x.add(3))),
            ]
        }
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u8; 2 * LANES]) -> [__m256; 4] {
        let x: *const __m128i = x.as_ptr().cast();
        // SAFETY: `self` proves the instructions; the array is four half registers; unaligned loads.
        unsafe {
            [
                bf16_to_f32(x),
                bf16_to_f32(x.add(1)),
                bf16_to_f32(x.add(2)),
                bf16_to_f32(x.add(3)),
            ]
        }
    }
    #[inline(always)]
    fn load_i8(self, x: &[u8; LANES]) -> [__m256; 4] {
        let x = x.as_ptr();
        // SAFETY: `self` proves the instructions; the array is four quarter registers; unaligned loads.
        unsafe {
            [
                i8_to_f32(x),
                i8_to_f32(x.add(8)),
                i8_to_f32(x.add(16)),
                i8_to_f32(x.add(24)),
            ]
        }
    }
    #[inline(always)]
    fn load_i16(self, x: &[i16; LANES]) -> [__m256; 4] {
        let x: *const __m128i = x.as_ptr().cast();
        // SAFETY: `self` proves the instructions; the array is four half registers; unaligned loads.
        unsafe {
            [
                i16_to_f32(_mm_loadu_si128(x)),
                i16_to_f32(_mm_loadu_si128(x.add(1))),
                i16_to_f32(_mm_loadu_si128(x.add(2))),
                i16_to_f32(_mm_loadu_si128(x.add(3))),
            ]
        }
    }
    #[inline(always)]
    fn load_bits(self, x: &[u8; LANES], shift: usize, mask: u8) -> [__m256; 4] {
        let x = x.as_ptr();
        // SAFETY: `self` proves the instructions; the array is four quarter registers.
        unsafe {
            let (shift, mask) = (
                _mm_cvtsi64_si128(shift as i64),
                _mm256_set1_epi32(mask.into()),
            );
            [
                bits_to_f32(x, shift, mask),
                bits_to_f32(x.add(8), shift, mask),
                bits_to_f32(x.add(16), shift, mask),
                bits_to_f32(x.add(24), shift, mask),
            ]
        }
    }
    #[inline(always)]
    fn load_nibbles(self, x: &[u8; LANES / 2]) -> [__m256; 4] {
        let x = x.as_ptr();
        // SAFETY: `self` proves the instructions; the array is two quarter registers.
        unsafe {
            let (low, high) = (_mm_setzero_si128(), _mm_cvtsi32_si128(4));
            let mask = _mm256_set1_epi32(15);
            [
                bits_to_f32(x, low, mask),
                bits_to_f32(x.add(8), low, mask),
                bits_to_f32(x, high, mask),
                bits_to_f32(x.add(8), high, mask),
            ]
        }
    }
    #[inline(always)]
    fn store(self, a: [__m256; 4], out: &mut [f32; LANES]) {
        let out = out.as_mut_ptr();
        // SAFETY: `self` proves the instructions; the array is four registers; unaligned stores.
        unsafe {
            _mm256_storeu_ps(out, a[0]);
            _mm256_storeu_ps(out.add(8), a[1]);
            _mm256_storeu_ps(out.add(16), a[2]);
            _mm256_storeu_ps(out.add(24), a[3]);
        }
    }
    #[inline(always)]
    fn store_i8(self, a: [__m256; 4], out: &mut [i8; LANES]) {
        // SAFETY: `self` proves the instructions; the array is one register; unaligned store.
        unsafe {
            let low = _mm256_packs_epi32(_mm256_cvtps_epi32(a[0]), _mm256_cvtps_epi32(a[1]));
            let high = _mm256_packs_epi32(_mm256_cvtps_epi32(a[2]), _mm256_cvtps_epi32(a[3]));
            // Packing works on each half register: the quarters come out as 0, 2, 4, 6, 1, 3, 5, 7.
            let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            let bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
            _mm256_storeu_si256(out.as_mut_ptr().cast(), bytes);
        }
    }

    lanewise!(add(a, b), _mm256_add_ps);
    lanewise!(sub(a, b), _mm256_sub_ps);
    lanewise!(mul(a, b), _mm256_mul_ps);
    lanewise!(div(a, b), _mm256_div_ps);
    lanewise!(min(a, b), _mm256_min_ps);
    lanewise!(max(a, b), _mm256_max_ps);
    lanewise!(max_abs(a, b), register_max_abs);
    lanewise!(exp2_of_rounded(a), register_exp2_of_rounded);

    #[inline(always)]
    fn fold(self, a: [__m256; 4]) -> f32 {
        // SAFETY: `self` proves the instructions.
        unsafe {
            let eight = _mm256_add_ps(_mm256_add_ps(a[0], a[2]), _mm256_add_ps(a[1], a[3]));
            fold_8(eight)
        }
    }
    #[inline(always)]
    fn prefetch<T>(self, address: *const T) {
        // SAFETY: `self` proves the instructions; a prefetch of any address is allowed.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
}

/// The sum of eight lanes: lane `i` += lane `i + half` for halves 4, 2, 1.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn fold_8(a: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

/// Non-negative floats order as their bits, with NaN on top.
#[inline]
#[target_feature(enable = "avx2")]
fn register_max_abs(a: __m256, b: __m256) -> __m256 {
    let magnitude = _mm256_set1_epi32(i32::MAX);
    let a = _mm256_and_si256(_mm256_castps_si256(a), magnitude);
    let b = _mm256_and_si256(_mm256_castps_si256(b), magnitude);
    _mm256_castsi256_ps(_mm256_max_epi32(a, b))
}

#[inline]
#[target_feature(enable = "avx2")]
fn register_exp2_of_rounded(a: __m256) -> __m256 {
    let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(a));
    _mm256_castsi256_ps(_mm256_add_epi32(
        exponent,
        _mm256_castps_si256(_mm256_set1_ps(1.0)),
    ))
}

/// # Safety
/// Eight numbers can be read from `x`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn bf16_to_f32(x: *const __m128i) -> __m256 {
    // SAFETY: the caller's promise; unaligned load.
    let halves = unsafe { _mm_loadu_si128(x) };
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn i16_to_f32(x: __m128i) -> __m256 {
    _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(x))
}

/// # Safety
/// Eight bytes can be read from `x`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn i8_to_f32(x: *const u8) -> __m256 {
    // SAFETY: the caller's promise; unaligned load.
    let bytes = unsafe { _mm_loadl_epi64(x.cast()) };
    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))
}

/// # Safety
/// Eight bytes can be read from `x`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn bits_to_f32(x: *const u8, shift: __m128i, mask: __m256i) -> __m256 {
    // SAFETY: the caller's promise; unaligned load.
    let bytes = _mm256_cvtepu8_epi32(unsafe { _mm_loadl_epi64(x.cast()) });
    _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srl_epi32(bytes, shift), mask))
}
