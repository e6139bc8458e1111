//! Dense weights into another of the files' types.

use std::ops::Range;

use half::{bf16, f16};

use crate::disjoint::DisjointMut;
use crate::{Compute, DenseMatrix, DenseType, KernelError};

/// Rows that a thread takes at a time.
const ROWS: usize = 4;

/// Rows of `weights` as `dtype`, one after another: F32, F16, BF16, Q8_0 or Q6_K.
///
/// F16 and BF16 round to the nearest, Q8_0 divides each 32 values by a 127th of the largest, and Q6_K looks for the scale of each
/// 16 values that leaves the smallest squared error, weighted by the values' squares.
///
/// # Errors
/// Another type, columns that are no whole blocks, a value that is not finite or leaves the range of the type, no memory.
pub fn encode_rows(
    compute: &Compute,
    weights: &DenseMatrix<'_>,
    rows: Range<usize>,
    dtype: DenseType,
) -> Result<Vec<u8>, KernelError> {
    let cols = weights.cols();
    let encode: fn(&[f32], &mut [u8]) = match dtype {
        DenseType::F32 => |values, out| each(values, out, f32::to_le_bytes),
        DenseType::F16 => |values, out| each(values, out, |x| f16::from_f32(x).to_le_bytes()),
        DenseType::Bf16 => |values, out| each(values, out, |x| bf16::from_f32(x).to_le_bytes()),
        DenseType::Q8_0 => |values, out| blocks(values, out, q8_0),
        DenseType::Q6K => |values, out| blocks(values, out, q6_k),
        _ => return Err(KernelError::EncodeType { dtype }),
    };
    let (block, _) = dtype.block();
    let row_bytes = dtype.row_bytes(cols).ok_or(KernelError::NotMultiple {
        layout: "dense blocks",
        dimension: "cols",
        multiple: block,
        actual: cols,
    })?;
    // What F16 holds at most; the scales of the block types are F16 as well.
    let limit = if matches!(dtype, DenseType::F32 | DenseType::Bf16) {
        f32::MAX
    } else {
        f16::MAX.to_f32()
    };
    let mut bytes = Vec::new();
    let len = rows.len() * row_bytes;
    bytes
        .try_reserve_exact(len)
        .map_err(|_| KernelError::OutOfMemory { bytes: len })?;
    bytes.resize(len, 0);
    let failure = crate::pack::FirstFailure::default();
    let out = DisjointMut::new(&mut bytes);
    compute.pool().run(rows.len(), ROWS, &|range| {
        compute.with_scratch(cols, |values| {
            for index in range {
                let row = rows.start + index;
                compute
                    .kernels()
                    .decode(weights.dtype(), weights.rows_at(row, 1), values);
                if !values.iter().all(|value| value.abs() <= limit) {
                    failure.keep(row, KernelError::OutOfRange { row, dtype });
                    return;
                }
                // SAFETY: the pool hands out every row once.
                let out = unsafe { out.slice(index * row_bytes..(index + 1) * row_bytes) };
                encode(values, out);
            }
        });
    });
    failure.into_result()?;
    Ok(bytes)
}

fn each<const N: usize>(values: &[f32], out: &mut [u8], bytes: impl Fn(f32) -> [u8; N]) {
    for (out, &value) in out.as_chunks_mut::<N>().0.iter_mut().zip(values) {
        *out = bytes(value);
    }
}

fn blocks<const VALUES: usize, const BYTES: usize>(
    values: &[f32],
    out: &mut [u8],
    block: impl Fn(&[f32; VALUES]) -> [u8; BYTES],
) {
    let (values, outs) = (values.as_chunks().0, out.as_chunks_mut().0);
    for (values, out) in values.iter().zip(outs) {
        *out = block(values);
    }
}

/// f16 scale, then 32 int8.
fn q8_0(values: &[f32; 32]) -> [u8; 34] {
    let scale = largest(values).abs() / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let mut block = [0; 34];
    block[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    for (byte, value) in block[2..].iter_mut().zip(values) {
        *byte = (value * inverse).round().clamp(-127.0, 127.0) as i8 as u8;
    }
    block
}

/// The value of the largest magnitude.
fn largest(values: &[f32]) -> f32 {
    let further = |most: f32, &value: &f32| {
        if value.abs() > most.abs() {
            value
        } else {
            most
        }
    };
    values.iter().fold(0.0, further)
}

/// 128 bytes of low halves, 64 of high quarters, 16 int8 scales of 16 values each, f16 scale of those.
fn q6_k(values: &[f32; 256]) -> [u8; 210] {
    let mut block = [0; 210];
    let groups = values.as_chunks::<16>().0;
    let mut scales = [0.0_f32; 16];
    for (scale, group) in scales.iter_mut().zip(groups) {
        *scale = q6_scale(group);
    }
    let extreme = largest(&scales);
    if extreme == 0.0 {
        // Every code of a zero scale stands for zero; 32 is the code of zero.
        write_q6_codes(&[32; 256], &mut block);
        return block;
    }
    // The scale of the largest magnitude becomes -128, the longer end of an int8.
    let unit = f16::from_f32(extreme / -128.0);
    block[208..].copy_from_slice(&unit.to_le_bytes());
    let mut codes = [32_u8; 256];
    for (index, (group, scale)) in groups.iter().zip(scales).enumerate() {
        let code = (scale / (extreme / -128.0))
            .round_ties_even()
            .clamp(-128.0, 127.0) as i8;
        block[192 + index] = code.cast_unsigned();
        let step = unit.to_f32() * f32::from(code);
        if step == 0.0 {
            continue;
        }
        for (code, value) in codes[16 * index..].iter_mut().zip(group) {
            *code = (nearest((value / step).clamp(-32.0, 31.0)) + 32.0) as u8;
        }
    }
    write_q6_codes(&codes, &mut block);
    block
}

/// The scale of 16 values at codes of -32 to 31 with the smallest squared error, weighted by the values' squares: of those
/// that put the largest value near -32, each with its best fit.
fn q6_scale(values: &[f32; 16]) -> f32 {
    /// Inverse scales that are tried on either side, and how far apart they lie.
    const TRIALS: i32 = 9;
    const STEP: f32 = 0.1;
    let extreme = largest(values);
    if extreme == 0.0 {
        return 0.0;
    }
    let (mut best, mut best_gain) = (0.0, 0.0);
    for trial in -TRIALS..=TRIALS {
        let inverse = -(32.0 + STEP * trial as f32) / extreme;
        let (mut product, mut square) = (0.0_f32, 0.0_f32);
        for value in values {
            let code = nearest((value * inverse).clamp(-32.0, 31.0));
            product += value * value * value * code;
            square += value * value * code * code;
        }
        // With the best scale for these codes, product / square, the error falls by product^2 / square.
        if square > 0.0 && product * product > best_gain * square {
            best_gain = product * product / square;
            best = product / square;
        }
    }
    best
}

/// The nearest whole number of one below 2^22, the even one of two: an addition leaves no place for what is behind the point.
#[inline(always)]
fn nearest(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0; // 1.5 x 2^23
    (x + SHIFT) - SHIFT
}

/// Codes of 0 to 63 into the places that `blocks::q6_k` reads.
fn write_q6_codes(codes: &[u8; 256], block: &mut [u8; 210]) {
    for (at, code) in codes.iter().enumerate() {
        let (half, quarter, place) = (at / 128, at % 128 / 32, at % 32);
        block[64 * half + 32 * (quarter % 2) + place] |= (code & 15) << (4 * (quarter / 2));
        block[128 + 32 * half + place] |= code >> 4 << (2 * quarter);
    }
}
