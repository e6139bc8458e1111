//! AVX-512 with VBMI: products with weights of 1.6 bits, which permutations of bytes unpack in registers. The rest is the
//! kernels of [`avx512_vnni`](super::avx512_vnni).
//!
//! Needs AVX-512 F, BW, VNNI and VBMI.

use std::arch::x86_64::*;

use super::avx512_vnni::load_line;
pub(crate) use super::avx512_vnni::*;
use crate::aligned::Line;
use crate::ternary::MAX_TRIT_ROWS;
use crate::ternary::{LINE_INPUTS, PANEL_ROWS};
use crate::trits;
use crate::trits::{BLOCK, CODED, FIFTHS, FOURS, LOW, TWOS};

/// Groups of four inputs in a line.
const GROUPS: usize = LINE_INPUTS / 4;

/// Whether this processor has the instructions.
pub(crate) fn is_available() -> bool {
    super::avx512_vnni::is_available() && is_x86_feature_detected!("avx512vbmi")
}

/// [`portable::trit_tile`]; the lengths are checked by the dispatcher.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vnni,avx512vbmi")]
pub(crate) fn trit_tile(
    panels: &[Line],
    lines: usize,
    x: &[i8],
    n: usize,
    acc: &mut [[i32; PANEL_ROWS]],
) {
    const { assert!(MAX_TRIT_ROWS == 4, "one arm for each width of a tile") };
    match n {
        4 => panels_times_rows::<4>(panels, lines, x, acc),
        3 => panels_times_rows::<3>(panels, lines, x, acc),
        2 => panels_times_rows::<2>(panels, lines, x, acc),
        _ => panels_times_rows::<1>(panels, lines, x, acc),
    }
}

/// Whole panels and a tile of `N` rows.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vnni,avx512vbmi")]
fn panels_times_rows<const N: usize>(
    panels: &[Line],
    lines: usize,
    x: &[i8],
    acc: &mut [[i32; PANEL_ROWS]],
) {
    let panels = panels.chunks_exact(trits::coded_lines(lines));
    for (panel, acc) in panels.zip(acc.as_chunks_mut::<N>().0) {
        *acc = panel_times_rows(panel, lines, x);
    }
}

/// [`trits::decode`]; the lengths are checked by the dispatcher.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vnni,avx512vbmi")]
pub(crate) fn decode_trits(panels: &[Line], lines: usize, out: &mut [Line]) {
    let tables = Tables::new();
    let panels = panels.chunks_exact(trits::coded_lines(lines));
    for (panel, out) in panels.zip(out.chunks_exact_mut(lines)) {
        let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
        let (coded, kept) = panel.split_at(CODED * blocks.len());
        for (coded, block) in coded.as_chunks::<CODED>().0.iter().zip(blocks) {
            let mut fifths = [_mm512_setzero_si512(); CODED];
            for k in 0..CODED {
                let (fours, fifth) = tables.unpack(load_line(&coded[k]));
                store_line(fours, &mut block[k]);
                fifths[k] = fifth;
            }
            let low = _mm512_or_si512(fifths[0], _mm512_slli_epi16::<2>(fifths[1]));
            let high = _mm512_or_si512(fifths[2], _mm512_slli_epi16::<2>(fifths[3]));
            let fifth = _mm512_or_si512(low, _mm512_slli_epi16::<4>(high));
            store_line(fifth, &mut block[CODED]);
        }
        rest.copy_from_slice(kept);
    }
}

/// [`trits::encode`]; the lengths are checked by the dispatcher.
///
/// Bytes are shifted as parts of 16-bit numbers: the masks take away, or the bounds exclude, what comes from a neighbour.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vnni,avx512vbmi")]
pub(crate) fn encode_trits(two_bits: &[Line], out: &mut [Line]) {
    let (blocks, rest) = two_bits.as_chunks::<BLOCK>();
    let (coded, kept) = out.split_at_mut(CODED * blocks.len());
    let two_low_bits = _mm512_set1_epi8(3);
    for (block, coded) in blocks.iter().zip(coded.as_chunks_mut::<CODED>().0) {
        let mut fifths = load_line(&block[CODED]);
        for (line, coded) in block.iter().zip(coded) {
            let fifth = _mm512_and_si512(fifths, two_low_bits);
            store_line(bytes_of(load_line(line), fifth), coded);
            fifths = _mm512_srli_epi16::<2>(fifths);
        }
    }
    kept.copy_from_slice(rest);
}

/// [`trits::byte_of`] of each byte.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn bytes_of(four: __m512i, fifth: __m512i) -> __m512i {
    let (low_pairs, low_nibbles) = (_mm512_set1_epi8(0x33), _mm512_set1_epi8(15));
    let low = _mm512_set1_epi8(LOW.cast_signed());
    let high = _mm512_and_si512(_mm512_srli_epi16::<2>(four), low_pairs);
    let three_times = _mm512_add_epi8(high, _mm512_add_epi8(high, high));
    let pairs = _mm512_add_epi8(_mm512_and_si512(four, low_pairs), three_times);
    // A pair is at most 8, so eight times one stays within its byte.
    let upper = _mm512_and_si512(_mm512_srli_epi16::<4>(pairs), low_nibbles);
    let nine_times = _mm512_add_epi8(upper, _mm512_slli_epi16::<3>(upper));
    let q = _mm512_add_epi8(_mm512_and_si512(pairs, low_nibbles), nine_times);
    let i = _mm512_min_epu8(q, _mm512_sub_epi8(_mm512_set1_epi8(80), q));
    let is_high = _mm512_cmpge_epu8_mask(i, low);
    let bit6 = _mm512_maskz_mov_epi8(is_high, _mm512_sub_epi8(_mm512_set1_epi8(64), low));
    // LOW is 16 + 4 + 1, and a fifth code at most 3.
    const { assert!(LOW == 21, "the sum of shifts below") };
    let times_five = _mm512_add_epi8(fifth, _mm512_slli_epi16::<2>(fifth));
    let fifths = _mm512_add_epi8(times_five, _mm512_slli_epi16::<4>(fifth));
    let is_negated = _mm512_cmpgt_epu8_mask(q, _mm512_set1_epi8(40));
    let bit7 = _mm512_maskz_mov_epi8(is_negated, _mm512_set1_epi8(i8::MIN));
    _mm512_or_si512(_mm512_add_epi8(_mm512_add_epi8(i, bit6), fifths), bit7)
}

/// One panel and a tile of `N` rows.
///
/// The codes of a line's group `g` are masked out where they stand, `4^g` times too large, and so are the group's own sums, which
/// are shifted back at the end, exactly. With four rows, 16 sums, three tables, five masks and four registers of codes take 28
/// of the 32.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vnni,avx512vbmi")]
fn panel_times_rows<const N: usize>(
    panel: &[Line],
    lines: usize,
    x: &[i8],
) -> [[i32; PANEL_ROWS]; N] {
    let tables = Tables::new();
    let masks =
        std::array::from_fn::<_, GROUPS, _>(|g| _mm512_set1_epi8((3_u8 << (2 * g)).cast_signed()));
    // A group's sum is of a quarter of the inputs: |sum| <= 4^3 x 2 x 128 x 2^18 / 4 = 2^30; see `MAX_CODED_COLS`.
    let mut sums = [[_mm512_setzero_si512(); N]; GROUPS + 1];
    // The fifth codes stand where those of group 0 do; a single row needs the chain more than the register.
    let fifth_group = if N == 1 { GROUPS } else { 0 };
    let (coded, rest) = panel.split_at(lines / BLOCK * CODED);
    let groups = x.as_chunks::<4>().0.as_chunks::<N>().0;
    let (block_groups, rest_groups) = groups.split_at(lines / BLOCK * BLOCK * GROUPS);
    let blocks = coded.as_chunks::<CODED>().0.iter();
    for (block, x) in blocks.zip(block_groups.as_chunks::<{ BLOCK * GROUPS }>().0) {
        for (k, line) in block.iter().enumerate() {
            let (fours, fifth) = tables.unpack(load_line(line));
            for t in 0..N {
                let x = broadcast(&x[CODED * GROUPS + k][t]);
                sums[fifth_group][t] = _mm512_dpbusd_epi32(sums[fifth_group][t], fifth, x);
            }
            for g in 0..GROUPS {
                let codes = _mm512_and_si512(fours, masks[g]);
                for t in 0..N {
                    let x = broadcast(&x[k * GROUPS + g][t]);
                    sums[g][t] = _mm512_dpbusd_epi32(sums[g][t], codes, x);
                }
            }
        }
    }
    for (line, x) in rest.iter().zip(rest_groups.as_chunks::<GROUPS>().0) {
        let line = load_line(line);
        for g in 0..GROUPS {
            let codes = _mm512_and_si512(line, masks[g]);
            for t in 0..N {
                sums[g][t] = _mm512_dpbusd_epi32(sums[g][t], codes, broadcast(&x[g][t]));
            }
        }
    }
    let mut out = [[0; PANEL_ROWS]; N];
    for t in 0..N {
        let even = _mm512_add_epi32(sums[0][t], _mm512_srai_epi32::<4>(sums[2][t]));
        let odd = _mm512_add_epi32(sums[1][t], _mm512_srai_epi32::<4>(sums[3][t]));
        let all = _mm512_add_epi32(even, _mm512_srai_epi32::<2>(odd));
        let all = _mm512_add_epi32(all, sums[GROUPS][t]);
        // SAFETY: 16 sums are one register; unaligned store.
        unsafe { _mm512_storeu_si512(out[t].as_mut_ptr().cast(), all) };
    }
    out
}

/// What unpacking takes, in registers.
struct Tables {
    fifths: __m512i,
    fours: [__m512i; 2],
    twos: __m512i,
}

impl Tables {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new() -> Self {
        // SAFETY: a line is one register, aligned to 64 bytes.
        let load = |line: &Line| unsafe { _mm512_load_si512(line.0.as_ptr().cast()) };
        Self {
            fifths: load(&FIFTHS),
            fours: [load(&FOURS[0]), load(&FOURS[1])],
            twos: _mm512_set1_epi8(TWOS.cast_signed()),
        }
    }

    /// Four codes of each byte in two-bit fields, and the fifth.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn unpack(&self, coded: __m512i) -> (__m512i, __m512i) {
        let fours = _mm512_permutex2var_epi8(self.fours[0], coded, self.fours[1]);
        let negative = _mm512_movepi8_mask(coded);
        let fours = _mm512_mask_sub_epi8(fours, negative, self.twos, fours);
        (fours, _mm512_permutexvar_epi8(coded, self.fifths))
    }
}

/// Four activations for each of 16 rows.
#[inline]
#[target_feature(enable = "avx512f")]
fn broadcast(x: &[i8; 4]) -> __m512i {
    _mm512_set1_epi32(i32::from_le_bytes(x.map(i8::cast_unsigned)))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_line(value: __m512i, line: &mut Line) {
    // SAFETY: a line is one register, aligned to 64 bytes.
    unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), value) };
}
