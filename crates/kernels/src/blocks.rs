//! Decoders of the blocks that dense weights come in: bytes to f32, exact (one rounding at most).
//!
//! `d` and `m` are f16 scales of the block. Layouts are those of the GGUF container's types.

use half::{bf16, f16};

use crate::DenseType;

/// Decodes whole blocks: `out` holds as many values as `bytes` encodes.
pub(crate) fn decode(dtype: DenseType, bytes: &[u8], out: &mut [f32]) {
    match dtype {
        DenseType::F32 => each(bytes, out, |bytes: &[u8; 4]| [f32::from_le_bytes(*bytes)]),
        DenseType::F16 => each(bytes, out, |bytes: &[u8; 2]| {
            [f16::from_le_bytes(*bytes).to_f32()]
        }),
        DenseType::Bf16 => each(bytes, out, |bytes: &[u8; 2]| {
            [bf16::from_le_bytes(*bytes).to_f32()]
        }),
        DenseType::Q8_0 => each(bytes, out, q8_0),
        DenseType::Q4_0 => each(bytes, out, q4_0),
        DenseType::Q4_1 => each(bytes, out, q4_1),
        DenseType::Q5_0 => each(bytes, out, q5_0),
        DenseType::Q5_1 => each(bytes, out, q5_1),
        DenseType::Q2K => each(bytes, out, q2_k),
        DenseType::Q3K => each(bytes, out, q3_k),
        DenseType::Q4K => each(bytes, out, q4_k),
        DenseType::Q5K => each(bytes, out, q5_k),
        DenseType::Q6K => each(bytes, out, q6_k),
        DenseType::Tq1_0 => each(bytes, out, |block: &[u8; 54]| {
            ternary_values(tq1_0_codes(block), &block[52..])
        }),
        DenseType::Tq2_0 => each(bytes, out, |block: &[u8; 66]| {
            ternary_values(tq2_0_codes(block), &block[64..])
        }),
    }
}

fn each<const BYTES: usize, const VALUES: usize>(
    bytes: &[u8],
    out: &mut [f32],
    decode: impl Fn(&[u8; BYTES]) -> [f32; VALUES],
) {
    for (block, out) in bytes
        .as_chunks::<BYTES>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<VALUES>().0)
    {
        *out = decode(block);
    }
}

/// The f16 at `bytes[at..]`.
pub(crate) fn f16_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// d, then 32 signed bytes: `d q`.
fn q8_0(block: &[u8; 34]) -> [f32; 32] {
    let d = f16_at(block, 0);
    std::array::from_fn(|j| d * f32::from(block[2 + j].cast_signed()))
}

/// Nibble `j` of 16 bytes: low nibbles first, then the high ones.
fn nibble(bytes: &[u8], j: usize) -> u8 {
    if j < 16 {
        bytes[j] & 15
    } else {
        bytes[j - 16] >> 4
    }
}

/// d, then 32 nibbles: `d (n - 8)`.
fn q4_0(block: &[u8; 18]) -> [f32; 32] {
    let d = f16_at(block, 0);
    std::array::from_fn(|j| d * (f32::from(nibble(&block[2..], j)) - 8.0))
}

/// d, m, then 32 nibbles: `d n + m`.
fn q4_1(block: &[u8; 20]) -> [f32; 32] {
    let (d, m) = (f16_at(block, 0), f16_at(block, 2));
    std::array::from_fn(|j| d * f32::from(nibble(&block[4..], j)) + m)
}

/// Bit `j` of four bytes, as the fifth bit of a value.
fn fifth_bit(bytes: &[u8], j: usize) -> u8 {
    (bytes[j / 8] >> (j % 8) & 1) << 4
}

/// d, four bytes of fifth bits, then 32 nibbles: `d (n - 16)`.
fn q5_0(block: &[u8; 22]) -> [f32; 32] {
    let d = f16_at(block, 0);
    std::array::from_fn(|j| {
        d * (f32::from(nibble(&block[6..], j) | fifth_bit(&block[2..], j)) - 16.0)
    })
}

/// d, m, four bytes of fifth bits, then 32 nibbles: `d n + m`.
fn q5_1(block: &[u8; 24]) -> [f32; 32] {
    let (d, m) = (f16_at(block, 0), f16_at(block, 2));
    std::array::from_fn(|j| d * f32::from(nibble(&block[8..], j) | fifth_bit(&block[4..], j)) + m)
}

/// 16 bytes of 4-bit scales and minima for 16 values each, 64 bytes of 2-bit values, d, dmin: `d sc q - dmin mn`.
fn q2_k(block: &[u8; 84]) -> [f32; 256] {
    let (d, dmin) = (f16_at(block, 80), f16_at(block, 82));
    std::array::from_fn(|j| {
        let (half, k, l) = (j / 128, j % 128 / 32, j % 32);
        let q = block[16 + 32 * half + l] >> (2 * k) & 3;
        let scale = block[j / 16];
        d * f32::from(scale & 15) * f32::from(q) - dmin * f32::from(scale >> 4)
    })
}

/// 32 bytes of third bits, 64 of 2-bit values, 12 of 6-bit scales, d: `d sc (q - (third bit ? 0 : 4))`.
fn q3_k(block: &[u8; 110]) -> [f32; 256] {
    let d = f16_at(block, 108);
    let packed = &block[96..108];
    let scales: [f32; 16] = std::array::from_fn(|j| {
        let low = if j < 8 {
            packed[j] & 15
        } else {
            packed[j - 8] >> 4
        };
        let high = packed[8 + j % 4] >> (2 * (j / 4)) & 3;
        d * (f32::from(low | high << 4) - 32.0)
    });
    std::array::from_fn(|j| {
        let (half, k, l) = (j / 128, j % 128 / 32, j % 32);
        let q = block[32 + 32 * half + l] >> (2 * k) & 3;
        let offset = if block[l] >> (j / 32) & 1 == 1 {
            0.0
        } else {
            4.0
        };
        scales[j / 16] * (f32::from(q) - offset)
    })
}

/// Scale and minimum of each group of 32 values, six bits each, from the 12 bytes that Q4_K and Q5_K share.
fn scales_and_minima(s: &[u8], d: f32, dmin: f32) -> [(f32, f32); 8] {
    std::array::from_fn(|j| {
        let (scale, minimum) = if j < 4 {
            (s[j] & 63, s[j + 4] & 63)
        } else {
            (
                s[j + 4] & 15 | s[j - 4] >> 6 << 4,
                s[j + 4] >> 4 | s[j] >> 6 << 4,
            )
        };
        (d * f32::from(scale), dmin * f32::from(minimum))
    })
}

/// Nibble of value `j` of 256: bytes of 64 values, low nibbles for the first 32.
fn nibble_of_64(bytes: &[u8], j: usize) -> u8 {
    let byte = bytes[32 * (j / 64) + j % 32];
    if (j / 32).is_multiple_of(2) {
        byte & 15
    } else {
        byte >> 4
    }
}

/// d, dmin, 12 bytes of scales and minima, 128 bytes of nibbles: `d sc n - dmin mn`.
fn q4_k(block: &[u8; 144]) -> [f32; 256] {
    let groups = scales_and_minima(&block[4..16], f16_at(block, 0), f16_at(block, 2));
    std::array::from_fn(|j| {
        let (scale, minimum) = groups[j / 32];
        scale * f32::from(nibble_of_64(&block[16..], j)) - minimum
    })
}

/// As Q4_K, with 32 bytes of fifth bits before the nibbles: bit `j / 32` of byte `j % 32`.
fn q5_k(block: &[u8; 176]) -> [f32; 256] {
    let groups = scales_and_minima(&block[4..16], f16_at(block, 0), f16_at(block, 2));
    std::array::from_fn(|j| {
        let (scale, minimum) = groups[j / 32];
        let high = (block[16 + j % 32] >> (j / 32) & 1) << 4;
        scale * f32::from(nibble_of_64(&block[48..], j) | high) - minimum
    })
}

/// 128 bytes of low nibbles, 64 of high bit pairs, 16 signed scales, d: `d sc (q - 32)`.
fn q6_k(block: &[u8; 210]) -> [f32; 256] {
    let d = f16_at(block, 208);
    std::array::from_fn(|j| {
        let (half, k, l) = (j / 128, j % 128 / 32, j % 32);
        let low = block[64 * half + 32 * (k & 1) + l] >> (4 * (k / 2)) & 15;
        let high = block[128 + 32 * half + l] >> (2 * k) & 3;
        d * f32::from(block[192 + j / 16].cast_signed()) * (f32::from(low | high << 4) - 32.0)
    })
}

/// 32 bytes of five base-3 digits, 16 more, four bytes of four digits, d: the codes, first digit most significant.
pub(crate) fn tq1_0_codes(block: &[u8; 54]) -> [u8; 256] {
    const POWERS: [u8; 5] = [1, 3, 9, 27, 81];
    std::array::from_fn(|j| {
        let (byte, digit) = match j {
            0..160 => (j % 32, j / 32),
            160..240 => (32 + j % 16, (j - 160) / 16),
            _ => (48 + j % 4, (j - 240) / 4),
        };
        // A byte holds ceil(256 n / 243), so the digit is the integer part after multiplying by powers of three.
        let fraction = block[byte].wrapping_mul(POWERS[digit]);
        ((u16::from(fraction) * 3) >> 8) as u8
    })
}

/// 64 bytes of 2-bit codes, low bits first, in two halves of 32 bytes; d.
pub(crate) fn tq2_0_codes(block: &[u8; 66]) -> [u8; 256] {
    std::array::from_fn(|j| block[32 * (j / 128) + j % 32] >> (2 * (j % 128 / 32)) & 3)
}

fn ternary_values(codes: [u8; 256], d: &[u8]) -> [f32; 256] {
    let d = f16_at(d, 0);
    codes.map(|code| d * (f32::from(code) - 1.0))
}
