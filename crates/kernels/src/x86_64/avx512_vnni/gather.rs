//! Panels from a file's rows: four registers of four rows each are folded into a line at once.

use std::arch::x86_64::*;

use crate::aligned::Line;
use crate::pack::gather::PanelSource;

/// [`gather_lines`](crate::pack::gather::gather_lines); the lengths are checked by the dispatcher.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vnni")]
pub(crate) fn gather_lines(source: PanelSource<'_>, out: &mut [Line]) -> bool {
    let stride = source.stride;
    let two_bits = _mm512_set1_epi8(3);
    // Four inputs on, a code belongs two bits higher in the same byte.
    let places = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 2, 4, 6));
    let mut threes = _mm512_setzero_si512();
    for (l, line) in out.iter_mut().enumerate() {
        let (at, shift) = source.order.place(l);
        let shift = _mm_cvtsi32_si128(shift.cast_signed());
        let mut rows = [_mm512_setzero_si512(); 4];
        for (r, codes) in rows.iter_mut().enumerate() {
            let first = source.bytes.as_ptr().wrapping_add(at + r * stride);
            // SAFETY: the dispatcher has checked that all 16 rows hold the bytes of every line.
            let bytes = unsafe { load_rows(first, 4 * stride) };
            *codes = _mm512_and_si512(_mm512_srl_epi32(bytes, shift), two_bits);
            // threes | codes & codes >> 1
            threes =
                _mm512_ternarylogic_epi32::<0xF8>(threes, *codes, _mm512_srli_epi16::<1>(*codes));
            *codes = _mm512_sllv_epi32(*codes, places);
        }
        let (a, b) = (fold_halves(rows[0], rows[1]), fold_halves(rows[2], rows[3]));
        let words = _mm512_or_si512(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
        // SAFETY: a line is one register, aligned to 64 bytes.
        unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), words) };
    }
    _mm512_test_epi8_mask(threes, _mm512_set1_epi8(1)) != 0
}

/// Of each row's four words in `a`, and in `b` after it: the first or the third, then the second or the fourth.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold_halves(a: __m512i, b: __m512i) -> __m512i {
    _mm512_or_si512(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b))
}

/// 16 bytes of each of four rows, `stride` apart.
///
/// # Safety
/// They can be read.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load_rows(first: *const u8, stride: usize) -> __m512i {
    // SAFETY: the caller's promise; unaligned loads.
    let [a, b, c, d] = unsafe {
        [
            _mm_loadu_si128(first.cast()),
            _mm_loadu_si128(first.wrapping_add(stride).cast()),
            _mm_loadu_si128(first.wrapping_add(2 * stride).cast()),
            _mm_loadu_si128(first.wrapping_add(3 * stride).cast()),
        ]
    };
    let low = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(a), b);
    let high = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(c), d);
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
}
