//! The float kernels: vectors are four registers.

use std::arch::x86_64::*;

use crate::simd::{LANES, Simd};

crate::dispatch::float_kernels!(Avx2::new(), #[target_feature(enable = "avx2,f16c")]);

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
    fn load_i16_pairs(self, x: [&[i16; LANES]; 2]) -> [[__m256; 4]; 2] {
        let [low, high]: [*const __m256i; 2] = x.map(|x| x.as_ptr().cast());
        // SAFETY: `self` proves the instructions; each array is two registers; unaligned loads.
        unsafe {
            let pairs = [
                i16_pairs_to_f32(_mm256_loadu_si256(low)),
                i16_pairs_to_f32(_mm256_loadu_si256(low.add(1))),
                i16_pairs_to_f32(_mm256_loadu_si256(high)),
                i16_pairs_to_f32(_mm256_loadu_si256(high.add(1))),
            ];
            [pairs.map(|[even, _]| even), pairs.map(|[_, odd]| odd)]
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
pub(in crate::x86_64) fn fold_8(a: __m256) -> f32 {
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

/// The low halves, then the high ones, as signed numbers 2^16 times as large.
#[inline]
#[target_feature(enable = "avx2")]
fn i16_pairs_to_f32(pairs: __m256i) -> [__m256; 2] {
    let high = _mm256_set1_epi32(0xFFFF_0000_u32.cast_signed());
    [
        _mm256_cvtepi32_ps(_mm256_slli_epi32::<16>(pairs)),
        _mm256_cvtepi32_ps(_mm256_and_si256(pairs, high)),
    ]
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
