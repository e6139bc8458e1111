//! Decoders of the blocks that dense weights come in: bytes to f32, exact (one rounding at most).
//!
//! `d`, `m` and `dmin` are f16 scales of the block. Layouts are those of the GGUF container's types. The loops run over
//! neighbouring bytes with one shift for all, so that the compiler can use whatever vectors the caller's function may use.

use crate::DenseType;
use crate::simd::{bf16_to_f32, f16_to_f32};

/// Decodes block after block. A macro, since a closure would not be compiled for the caller's vectors.
macro_rules! each {
    ($bytes:expr, $out:expr, $decode:path) => {
        for (block, out) in $bytes.as_chunks().0.iter().zip($out.as_chunks_mut().0) {
            $decode(block, out);
        }
    };
}

/// Decodes whole blocks: `out` holds as many values as `bytes` encodes.
#[inline(always)]
pub(crate) fn decode(dtype: DenseType, bytes: &[u8], out: &mut [f32]) {
    match dtype {
        DenseType::F32 => each!(bytes, out, f32),
        DenseType::F16 => each!(bytes, out, f16),
        DenseType::Bf16 => each!(bytes, out, bf16),
        DenseType::Q8_0 => each!(bytes, out, q8_0),
        DenseType::Q4_0 => each!(bytes, out, q4_0),
        DenseType::Q4_1 => each!(bytes, out, q4_1),
        DenseType::Q5_0 => each!(bytes, out, q5_0),
        DenseType::Q5_1 => each!(bytes, out, q5_1),
        DenseType::Q2K => each!(bytes, out, q2_k),
        DenseType::Q3K => each!(bytes, out, q3_k),
        DenseType::Q4K => each!(bytes, out, q4_k),
        DenseType::Q5K => each!(bytes, out, q5_k),
        DenseType::Q6K => each!(bytes, out, q6_k),
        DenseType::Tq1_0 => each!(bytes, out, tq1_0),
        DenseType::Tq2_0 => each!(bytes, out, tq2_0),
    }
}

#[inline(always)]
fn f32(bytes: &[u8; 4], [x]: &mut [f32; 1]) {
    *x = f32::from_le_bytes(*bytes);
}

#[inline(always)]
fn f16(bytes: &[u8; 2], [x]: &mut [f32; 1]) {
    *x = f16_to_f32(*bytes);
}

/// The upper half of an f32.
#[inline(always)]
fn bf16(bytes: &[u8; 2], [x]: &mut [f32; 1]) {
    *x = bf16_to_f32(*bytes);
}

/// The f16 at `bytes[at..]`.
#[inline(always)]
pub(crate) fn f16_at(bytes: &[u8], at: usize) -> f32 {
    f16_to_f32([bytes[at], bytes[at + 1]])
}

/// d, then 32 signed bytes: `d q`.
#[inline(always)]
fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = f16_at(block, 0);
    for (x, byte) in out.iter_mut().zip(&block[2..]) {
        *x = d * f32::from(byte.cast_signed());
    }
}

/// 32 values of five bits at most: low nibbles of 16 bytes, then the high ones, with the bits of `fifth` on top.
#[inline(always)]
fn nibbles(bytes: &[u8], fifth: u32) -> [f32; 32] {
    let mut values = [0.0; 32];
    let (low, high) = values.split_at_mut(16);
    for (l, byte) in bytes[..16].iter().enumerate() {
        low[l] = (bits(*byte, 0, 4) | ((fifth >> l & 1) << 4) as i32) as f32;
        high[l] = (bits(*byte, 4, 4) | ((fifth >> (l + 16) & 1) << 4) as i32) as f32;
    }
    values
}

/// The four bytes at `bytes[at..]`, whose bit `j` is the fifth bit of value `j`.
#[inline(always)]
fn fifth_bits(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// d, then 32 nibbles: `d (n - 8)`.
#[inline(always)]
fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = f16_at(block, 0);
    for (x, n) in out.iter_mut().zip(nibbles(&block[2..], 0)) {
        *x = d * (n - 8.0);
    }
}

/// d, m, then 32 nibbles: `d n + m`.
#[inline(always)]
fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (f16_at(block, 0), f16_at(block, 2));
    for (x, n) in out.iter_mut().zip(nibbles(&block[4..], 0)) {
        *x = d * n + m;
    }
}

/// d, fifth bits, then 32 nibbles: `d (n - 16)`.
#[inline(always)]
fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let d = f16_at(block, 0);
    for (x, n) in out
        .iter_mut()
        .zip(nibbles(&block[6..], fifth_bits(block, 2)))
    {
        *x = d * (n - 16.0);
    }
}

/// d, m, fifth bits, then 32 nibbles: `d n + m`.
#[inline(always)]
fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m) = (f16_at(block, 0), f16_at(block, 2));
    for (x, n) in out
        .iter_mut()
        .zip(nibbles(&block[8..], fifth_bits(block, 4)))
    {
        *x = d * n + m;
    }
}

/// `width` bits of a byte from `shift` on. Computed in 32 bits, which vectors can shift by any count.
#[inline(always)]
fn bits(byte: u8, shift: usize, width: u32) -> i32 {
    i32::from(byte) >> shift & ((1 << width) - 1)
}

/// Where the 16 values of a group lie in the K types' blocks of 256: in 16 neighbouring bytes of a half, at one shift.
#[derive(Clone, Copy)]
struct Group {
    /// Half of the block.
    half: usize,
    /// 32 values of the half.
    quarter: usize,
    /// First byte within the 32 that a quarter's values share with the other quarters'.
    byte: usize,
}

/// The groups in the order of their values.
#[inline(always)]
fn groups() -> impl Iterator<Item = Group> {
    (0..16).map(|g| Group {
        half: g / 8,
        quarter: g % 8 / 2,
        byte: 16 * (g % 2),
    })
}

/// 16 bytes of 4-bit scales and minima, 64 bytes of 2-bit values, d, dmin: `d sc q - dmin mn`.
#[inline(always)]
fn q2_k(block: &[u8; 84], out: &mut [f32; 256]) {
    let (d, dmin) = (f16_at(block, 80), f16_at(block, 82));
    for ((out, group), packed) in out
        .as_chunks_mut::<16>()
        .0
        .iter_mut()
        .zip(groups())
        .zip(block)
    {
        let (scale, minimum) = (d * f32::from(packed & 15), dmin * f32::from(packed >> 4));
        let low = &block[16 + 32 * group.half + group.byte..][..16];
        for (x, low) in out.iter_mut().zip(low) {
            *x = scale * bits(*low, 2 * group.quarter, 2) as f32 - minimum;
        }
    }
}

/// 32 bytes of third bits, 64 of 2-bit values, 12 of 6-bit scales, d: `d sc (q - (third bit ? 0 : 4))`.
#[inline(always)]
fn q3_k(block: &[u8; 110], out: &mut [f32; 256]) {
    let d = f16_at(block, 108);
    let packed = &block[96..108];
    for (g, (out, group)) in out
        .as_chunks_mut::<16>()
        .0
        .iter_mut()
        .zip(groups())
        .enumerate()
    {
        let nibble = packed[g % 8] >> (4 * (g / 8)) & 15;
        let high = packed[8 + g % 4] >> (2 * (g / 4)) & 3;
        let scale = d * (f32::from(nibble | high << 4) - 32.0);
        let low = &block[32 + 32 * group.half + group.byte..][..16];
        let third = &block[group.byte..][..16];
        for ((x, low), third) in out.iter_mut().zip(low).zip(third) {
            let value = bits(*low, 2 * group.quarter, 2) | bits(*third, g / 2, 1) << 2;
            *x = scale * (value - 4) as f32;
        }
    }
}

/// Scale and minimum of each 32 values, six bits each, from the 12 bytes that Q4_K and Q5_K share.
#[inline(always)]
fn scales_and_minima(s: &[u8], d: f32, dmin: f32) -> [(f32, f32); 8] {
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
fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let scales = scales_and_minima(&block[4..16], f16_at(block, 0), f16_at(block, 2));
    for (g, (out, (scale, minimum))) in out
        .as_chunks_mut::<32>()
        .0
        .iter_mut()
        .zip(scales)
        .enumerate()
    {
        let bytes = &block[16 + 32 * (g / 2)..][..32];
        for (x, byte) in out.iter_mut().zip(bytes) {
            *x = scale * bits(*byte, 4 * (g % 2), 4) as f32 - minimum;
        }
    }
}

/// As Q4_K, with 32 bytes of fifth bits before the nibbles: bit `j / 32` of byte `j % 32`.
#[inline(always)]
fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    let scales = scales_and_minima(&block[4..16], f16_at(block, 0), f16_at(block, 2));
    for (g, (out, (scale, minimum))) in out
        .as_chunks_mut::<32>()
        .0
        .iter_mut()
        .zip(scales)
        .enumerate()
    {
        let bytes = &block[48 + 32 * (g / 2)..][..32];
        for ((x, byte), fifth) in out.iter_mut().zip(bytes).zip(&block[16..48]) {
            let value = bits(*byte, 4 * (g % 2), 4) | bits(*fifth, g, 1) << 4;
            *x = scale * value as f32 - minimum;
        }
    }
}

/// 128 bytes of low nibbles, 64 of high bit pairs, 16 signed scales, d: `d sc (q - 32)`.
#[inline(always)]
fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let d = f16_at(block, 208);
    for ((out, group), scale) in out
        .as_chunks_mut::<16>()
        .0
        .iter_mut()
        .zip(groups())
        .zip(&block[192..])
    {
        let scale = d * f32::from(scale.cast_signed());
        let low = &block[64 * group.half + 32 * (group.quarter % 2) + group.byte..][..16];
        let high = &block[128 + 32 * group.half + group.byte..][..16];
        for ((x, low), high) in out.iter_mut().zip(low).zip(high) {
            let low = bits(*low, 4 * (group.quarter / 2), 4);
            let value = low | bits(*high, 2 * group.quarter, 2) << 4;
            *x = scale * (value - 32) as f32;
        }
    }
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

#[inline(always)]
fn tq1_0(block: &[u8; 54], out: &mut [f32; 256]) {
    ternary_values(&tq1_0_codes(block), f16_at(block, 52), out);
}

#[inline(always)]
fn tq2_0(block: &[u8; 66], out: &mut [f32; 256]) {
    ternary_values(&tq2_0_codes(block), f16_at(block, 64), out);
}

#[inline(always)]
fn ternary_values(codes: &[u8; 256], d: f32, out: &mut [f32; 256]) {
    for (x, code) in out.iter_mut().zip(codes) {
        *x = d * (f32::from(*code) - 1.0);
    }
}
