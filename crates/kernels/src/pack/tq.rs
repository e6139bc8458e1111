use super::{check, check_length, check_multiple, pack_codes};
use crate::blocks::{f16_at, tq1_0_codes, tq2_0_codes};
use crate::{Compute, DenseType, KernelError, TernaryMatrix};

/// Values of a block.
const BLOCK: usize = 256;

/// Packs TQ1_0 blocks; `None` when the tensor has no single scale, so that it must be treated as dense.
///
/// # Errors
/// A length that does not fit, columns that are no multiple of 256, or a scale that is not finite.
pub fn pack_tq1_0(
    compute: &Compute,
    rows: usize,
    cols: usize,
    bytes: &[u8],
) -> Result<Option<TernaryMatrix>, KernelError> {
    pack(compute, DenseType::Tq1_0, rows, cols, bytes, tq1_0_codes)
}

/// Packs TQ2_0 blocks; `None` when the tensor has no single scale or has a code 3 (a weight of two scales), so that it must be
/// treated as dense.
///
/// # Errors
/// A length that does not fit, columns that are no multiple of 256, or a scale that is not finite.
pub fn pack_tq2_0(
    compute: &Compute,
    rows: usize,
    cols: usize,
    bytes: &[u8],
) -> Result<Option<TernaryMatrix>, KernelError> {
    pack(compute, DenseType::Tq2_0, rows, cols, bytes, tq2_0_codes)
}

fn pack<const BYTES: usize>(
    compute: &Compute,
    dtype: DenseType,
    rows: usize,
    cols: usize,
    bytes: &[u8],
    decode: impl Fn(&[u8; BYTES]) -> [u8; BLOCK] + Sync,
) -> Result<Option<TernaryMatrix>, KernelError> {
    check(rows, cols, 0.0)?;
    check_multiple("ternary blocks", "cols", BLOCK, cols)?;
    let row_bytes = cols / BLOCK * BYTES;
    check_length("ternary blocks", rows * row_bytes, bytes)?;
    let blocks = bytes.as_chunks::<BYTES>().0;
    let Some(scale) = common_scale(blocks)? else {
        return Ok(None);
    };
    let packed = pack_codes(compute, rows, cols, scale, |row, codes| {
        let blocks = bytes[row * row_bytes..][..row_bytes].as_chunks::<BYTES>().0;
        for (block, codes) in blocks.iter().zip(codes.as_chunks_mut::<BLOCK>().0) {
            // A block whose scale is zero holds zeros, whatever its codes.
            *codes = if scale_of(block) == 0.0 {
                [1; BLOCK]
            } else {
                decode(block)
            };
        }
    });
    match packed {
        Ok(matrix) => Ok(Some(matrix)),
        Err(KernelError::InvalidCode { .. }) if dtype == DenseType::Tq2_0 => Ok(None),
        Err(error) => Err(error),
    }
}

/// The last two bytes of a block.
fn scale_of(block: &[u8]) -> f32 {
    f16_at(block, block.len() - 2)
}

/// The one scale of all blocks that are not zero; zero when there are none.
fn common_scale<const BYTES: usize>(blocks: &[[u8; BYTES]]) -> Result<Option<f32>, KernelError> {
    let mut common = 0.0;
    for scale in blocks.iter().map(|block| scale_of(block)) {
        if !scale.is_finite() {
            return Err(KernelError::NonFiniteScale { scale });
        }
        if common == 0.0 {
            common = scale;
        }
        if scale != 0.0 && scale != common {
            return Ok(None);
        }
    }
    Ok(Some(common))
}
