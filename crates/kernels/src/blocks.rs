//! Decoders of the blocks that dense weights come in: bytes to f32, exact (one rounding at most).
//!
//! `d`, `m` and `dmin` are f16 scales of the block. Layouts are those of the GGUF container's types. Integers are put together
//! as f32, which is exact for so few bits.

use crate::DenseType;
use crate::simd::{LANES, Simd, f16_to_f32};

/// Decodes block after block. A macro, since a closure would not be compiled for the caller's vectors.
macro_rules! each {
    ($simd:expr, $bytes:expr, $out:expr, $decode:path) => {
        for (block, out) in $bytes.as_chunks().0.iter().zip($out.as_chunks_mut().0) {
            $decode($simd, block, out);
        }
    };
}

/// Decodes whole blocks: `out` holds as many values as `bytes` encodes.
#[inline(always)]
pub(crate) fn decode<S: Simd>(s: S, dtype: DenseType, bytes: &[u8], out: &mut [f32]) {
    match dtype {
        DenseType::F32 => each!(s, bytes, out, f32),
        DenseType::F16 => decode_16_bit::<S, false>(s, bytes, out),
        DenseType::Bf16 => decode_16_bit::<S, true>(s, bytes, out),
        DenseType::Q8_0 => each!(s, bytes, out, q8_0),
        DenseType::Q4_0 => each!(s, bytes, out, q4_0),
        DenseType::Q4_1 => each!(s, bytes, out, q4_1),
        DenseType::Q5_0 => each!(s, bytes, out, q5_0),
        DenseType::Q5_1 => each!(s, bytes, out, q5_1),
        DenseType::Q2K => each!(s, bytes, out, q2_k),
        DenseType::Q3K => each!(s, bytes, out, q3_k),
        DenseType::Q4K => each!(s, bytes, out, q4_k),
        DenseType::Q5K => each!(s, bytes, out, q5_k),
        DenseType::Q6K => each!(s, bytes, out, q6_k),
        DenseType::Tq1_0 => each!(s, bytes, out, tq1_0),
        DenseType::Tq2_0 => each!(s, bytes, out, tq2_0),
    }
}

/// Half precision numbers or, with `BF16`, upper halves of f32. A parameter, since a closure would not be compiled for the
/// caller's vectors.
#[inline(always)]
pub(crate) fn load_16_bit<S: Simd, const BF16: bool>(s: S, block: &[u8; 2 * LANES]) -> S::F32s {
    if BF16 {
        s.load_bf16(block)
    } else {
        s.load_f16(block)
    }
}

#[inline(always)]
fn decode_16_bit<S: Simd, const BF16: bool>(s: S, bytes: &[u8], out: &mut [f32]) {
    let (blocks, tail) = bytes.as_chunks();
    let (outs, out_tail) = out.as_chunks_mut();
    for (block, out) in blocks.iter().zip(outs) {
        s.store(load_16_bit::<S, BF16>(s, block), out);
    }
    let (mut last, mut values) = ([0; 2 * LANES], [0.0; LANES]);
    last[..tail.len()].copy_from_slice(tail);
    s.store(load_16_bit::<S, BF16>(s, &last), &mut values);
    out_tail.copy_from_slice(&values[..out_tail.len()]);
}

#[inline(always)]
fn f32<S: Simd>(_: S, bytes: &[u8; 4], [x]: &mut [f32; 1]) {
    *x = f32::from_le_bytes(*bytes);
}

/// The f16 at `bytes[at..]`.
#[inline(always)]
pub(crate) fn f16_at(bytes: &[u8], at: usize) -> f32 {
    f16_to_f32([bytes[at], bytes[at + 1]])
}

/// `N` bytes from `bytes[at]` on, which lie within the block that `bytes` is.
#[inline(always)]
pub(crate) fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> &[u8; N] {
    match bytes[at..].first_chunk() {
        Some(bytes) => bytes,
        None => panic!("part outside of the block"),
    }
}

/// `scale * values + offset`.
#[inline(always)]
fn scaled<S: Simd>(s: S, values: S::F32s, scale: f32, offset: f32) -> S::F32s {
    s.add(s.mul(s.splat(scale), values), s.splat(offset))
}

/// `scale * (values - offset)`.
#[inline(always)]
fn shifted<S: Simd>(s: S, values: S::F32s, scale: f32, offset: f32) -> S::F32s {
    s.mul(s.splat(scale), s.sub(values, s.splat(offset)))
}

/// d, then 32 signed bytes: `d q`.
#[inline(always)]
fn q8_0<S: Simd>(s: S, block: &[u8; 34], out: &mut [f32; 32]) {
    s.store(
        s.mul(s.splat(f16_at(block, 0)), s.load_i8(bytes_at(block, 2))),
        out,
    );
}

/// d, then 16 bytes of nibbles, low ones first: `d (n - 8)`.
#[inline(always)]
fn q4_0<S: Simd>(s: S, block: &[u8; 18], out: &mut [f32; 32]) {
    s.store(
        shifted(s, s.load_nibbles(bytes_at(block, 2)), f16_at(block, 0), 8.0),
        out,
    );
}

/// d, m, then 16 bytes of nibbles, low ones first: `d n + m`.
#[inline(always)]
fn q4_1<S: Simd>(s: S, block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (f16_at(block, 0), f16_at(block, 2));
    s.store(scaled(s, s.load_nibbles(bytes_at(block, 4)), d, m), out);
}

/// Four bytes, whose bit `j` is the fifth bit of value `j`, then 16 bytes of nibbles, low ones first.
#[inline(always)]
fn five_bits<S: Simd>(s: S, bytes: &[u8; 20]) -> S::F32s {
    let mut fifth = [0; LANES];
    for (j, fifth) in fifth.iter_mut().enumerate() {
        *fifth = (bytes[j / 8] >> (j % 8) & 1) << 4;
    }
    s.add(s.load_nibbles(bytes_at(bytes, 4)), s.load_i8(&fifth))
}

/// d, then 32 values of five bits: `d (n - 16)`.
#[inline(always)]
fn q5_0<S: Simd>(s: S, block: &[u8; 22], out: &mut [f32; 32]) {
    s.store(
        shifted(s, five_bits(s, bytes_at(block, 2)), f16_at(block, 0), 16.0),
        out,
    );
}

/// d, m, then 32 values of five bits: `d n + m`.
#[inline(always)]
fn q5_1<S: Simd>(s: S, block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m) = (f16_at(block, 0), f16_at(block, 2));
    s.store(scaled(s, five_bits(s, bytes_at(block, 4)), d, m), out);
}

/// 16 bytes of 4-bit scales and minima of 16 values each, 64 bytes of 2-bit values, d, dmin: `d sc q - dmin mn`.
#[inline(always)]
fn q2_k<S: Simd>(s: S, block: &[u8; 84], out: &mut [f32; 256]) {
    let (d, dmin) = (f16_at(block, 80), f16_at(block, 82));
    for (g, (out, [a, b])) in thirty_twos(out).zip(block.as_chunks::<2>().0).enumerate() {
        let scales = s.splat_halves(d * f32::from(a & 15), d * f32::from(b & 15));
        let minima = s.splat_halves(dmin * f32::from(a >> 4), dmin * f32::from(b >> 4));
        let values = s.load_bits(bytes_at(block, 16 + 32 * (g / 4)), 2 * (g % 4), 3);
        s.store(s.sub(s.mul(scales, values), minima), out);
    }
}

/// 32 bytes of third bits, 64 of 2-bit values, 12 of 6-bit scales, d: `d sc (q - (third bit ? 0 : 4))`.
#[inline(always)]
fn q3_k<S: Simd>(s: S, block: &[u8; 110], out: &mut [f32; 256]) {
    let d = f16_at(block, 108);
    let packed: &[u8; 12] = bytes_at(block, 96);
    let scale = |j: usize| {
        let low = packed[j % 8] >> (4 * (j / 8)) & 15;
        let high = packed[8 + j % 4] >> (2 * (j / 4)) & 3;
        d * (f32::from(low | high << 4) - 32.0)
    };
    for (g, out) in thirty_twos(out).enumerate() {
        let low = s.load_bits(bytes_at(block, 32 + 32 * (g / 4)), 2 * (g % 4), 3);
        let third = s.load_bits(bytes_at(block, 0), g, 1);
        let values = s.sub(s.add(low, s.mul(s.splat(4.0), third)), s.splat(4.0));
        s.store(
            s.mul(s.splat_halves(scale(2 * g), scale(2 * g + 1)), values),
            out,
        );
    }
}

/// Scale and minimum of each 32 values, six bits each, from the 12 bytes that Q4_K and Q5_K share.
#[inline(always)]
fn scales_and_minima(s: &[u8; 12], d: f32, dmin: f32) -> [(f32, f32); 8] {
    let mut pairs = [(0.0, 0.0); 8];
    for j in 0..4 {
        let (scale, minimum) = (s[j] & 63, s[j + 4] & 63);
        pairs[j] = (d * f32::from(scale), dmin * f32::from(minimum));
        let (scale, minimum) = (
            s[j + 8] & 15 | s[j] >> 6 << 4,
            s[j + 8] >> 4 | s[j + 4] >> 6 << 4,
        );
        pairs[j + 4] = (d * f32::from(scale), dmin * f32::from(minimum));
    }
    pairs
}

/// d, dmin, 12 bytes of scales and minima, 128 bytes of nibbles, low ones for the even 32 values: `d sc n - dmin mn`.
#[inline(always)]
fn q4_k<S: Simd>(s: S, block: &[u8; 144], out: &mut [f32; 256]) {
    let pairs = scales_and_minima(bytes_at(block, 4), f16_at(block, 0), f16_at(block, 2));
    for (g, (out, (scale, minimum))) in thirty_twos(out).zip(pairs).enumerate() {
        let values = s.load_bits(bytes_at(block, 16 + 32 * (g / 2)), 4 * (g % 2), 15);
        s.store(scaled(s, values, scale, -minimum), out);
    }
}

/// As Q4_K, with 32 bytes of fifth bits before the nibbles: bit `j / 32` of byte `j % 32`.
#[inline(always)]
fn q5_k<S: Simd>(s: S, block: &[u8; 176], out: &mut [f32; 256]) {
    let pairs = scales_and_minima(bytes_at(block, 4), f16_at(block, 0), f16_at(block, 2));
    for (g, (out, (scale, minimum))) in thirty_twos(out).zip(pairs).enumerate() {
        let low = s.load_bits(bytes_at(block, 48 + 32 * (g / 2)), 4 * (g % 2), 15);
        let fifth = s.load_bits(bytes_at(block, 16), g, 1);
        let values = s.add(low, s.mul(s.splat(16.0), fifth));
        s.store(scaled(s, values, scale, -minimum), out);
    }
}

/// 128 bytes of low nibbles, 64 of high bit pairs, 16 signed scales, d: `d sc (q - 32)`.
#[inline(always)]
fn q6_k<S: Simd>(s: S, block: &[u8; 210], out: &mut [f32; 256]) {
    let d = f16_at(block, 208);
    let scales: &[u8; 16] = bytes_at(block, 192);
    for (g, (out, [a, b])) in thirty_twos(out).zip(scales.as_chunks::<2>().0).enumerate() {
        let (half, quarter) = (g / 4, g % 4);
        let low = bytes_at(block, 64 * half + 32 * (quarter % 2));
        let low = s.load_bits(low, 4 * (quarter / 2), 15);
        let high = s.load_bits(bytes_at(block, 128 + 32 * half), 2 * quarter, 3);
        let values = s.sub(s.add(low, s.mul(s.splat(16.0), high)), s.splat(32.0));
        let scales = s.splat_halves(
            d * f32::from(a.cast_signed()),
            d * f32::from(b.cast_signed()),
        );
        s.store(s.mul(scales, values), out);
    }
}

#[inline(always)]
fn tq1_0<S: Simd>(s: S, block: &[u8; 54], out: &mut [f32; 256]) {
    ternary_values(s, &tq1_0_codes(block), f16_at(block, 52), out);
}

#[inline(always)]
fn tq2_0<S: Simd>(s: S, block: &[u8; 66], out: &mut [f32; 256]) {
    ternary_values(s, &tq2_0_codes(block), f16_at(block, 64), out);
}

#[inline(always)]
fn ternary_values<S: Simd>(s: S, codes: &[u8; 256], d: f32, out: &mut [f32; 256]) {
    for (out, codes) in thirty_twos(out).zip(codes.as_chunks().0) {
        s.store(shifted(s, s.load_i8(codes), d, 1.0), out);
    }
}

#[inline(always)]
fn thirty_twos(out: &mut [f32; 256]) -> impl Iterator<Item = &mut [f32; LANES]> {
    out.as_chunks_mut().0.iter_mut()
}

/// 32 bytes of five base-3 digits, 16 more, four bytes of four digits, d: the codes, first digit most significant.
#[inline(always)]
pub(crate) fn tq1_0_codes(block: &[u8; 54]) -> [u8; 256] {
    let mut codes = [0; 256];
    let (of_32, rest) = codes.split_at_mut(160);
    let (of_16, of_4) = rest.split_at_mut(80);
    digits(&block[..32], of_32);
    digits(&block[32..48], of_16);
    digits(&block[48..52], of_4);
    codes
}

/// The first digits of all bytes, then their second digits, and so on.
#[inline(always)]
fn digits(bytes: &[u8], codes: &mut [u8]) {
    let mut power = 1_u8;
    for codes in codes.chunks_exact_mut(bytes.len()) {
        for (code, byte) in codes.iter_mut().zip(bytes) {
            // A byte is ceil(256 n / 243): a fraction whose digits come out above the point one after the other.
            *code = ((u16::from(byte.wrapping_mul(power)) * 3) >> 8) as u8;
        }
        power = power.wrapping_mul(3);
    }
}

/// 64 bytes of 2-bit codes, low bits first, in two halves of 32 bytes; d.
#[inline(always)]
pub(crate) fn tq2_0_codes(block: &[u8; 66]) -> [u8; 256] {
    let mut codes = [0; 256];
    for (g, codes) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        for (code, byte) in codes.iter_mut().zip(&block[32 * (g / 4)..]) {
            *code = byte >> (2 * (g % 4)) & 3;
        }
    }
    codes
}
