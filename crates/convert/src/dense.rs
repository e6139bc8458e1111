//! Dense weights on their way: piece by piece, in their own type or another.

use std::borrow::Cow;

use llm_format::{Dtype, Tensor};
use llm_kernels::{Compute, DenseMatrix, DenseType, encode_rows};
use llm_model::dense_type;

use crate::error::ConvertError;

/// Bytes of numbers that are converted at a time.
const PIECE_BYTES: usize = 16 << 20;

/// The files' name of a type.
pub(crate) fn file_type(dtype: DenseType) -> Dtype {
    match dtype {
        DenseType::F32 => Dtype::F32,
        DenseType::F16 => Dtype::F16,
        DenseType::Bf16 => Dtype::Bf16,
        DenseType::Q8_0 => Dtype::Q8_0,
        DenseType::Q4_0 => Dtype::Q4_0,
        DenseType::Q4_1 => Dtype::Q4_1,
        DenseType::Q5_0 => Dtype::Q5_0,
        DenseType::Q5_1 => Dtype::Q5_1,
        DenseType::Q2K => Dtype::Q2K,
        DenseType::Q3K => Dtype::Q3K,
        DenseType::Q4K => Dtype::Q4K,
        DenseType::Q5K => Dtype::Q5K,
        DenseType::Q6K => Dtype::Q6K,
        DenseType::Tq1_0 => Dtype::Tq1_0,
        DenseType::Tq2_0 => Dtype::Tq2_0,
    }
}

/// Hands the bytes of `tensor` as `dtype` to `write`, a number of rows at a time; the rows in the `order` given, if one is.
pub(crate) fn write_matrix(
    compute: &Compute,
    tensor: &Tensor,
    dtype: Dtype,
    order: Option<&[usize]>,
    mut write: impl FnMut(&[u8]) -> Result<(), ConvertError>,
) -> Result<(), ConvertError> {
    let &[rows, cols] = tensor.shape.as_slice() else {
        return Err(unsupported(tensor, dtype));
    };
    let row_bytes = tensor.bytes.len() / rows.max(1);
    // Only projections are reordered, which are small enough to be held.
    let bytes: Cow<'_, [u8]> = match order {
        Some(order) => {
            let row = |&row: &usize| &tensor.bytes[row * row_bytes..(row + 1) * row_bytes];
            Cow::Owned(order.iter().flat_map(row).copied().collect())
        }
        None => Cow::Borrowed(&tensor.bytes),
    };
    let types = (dense_type(tensor.dtype), dense_type(dtype));
    let piece = (PIECE_BYTES / (4 * cols).max(1)).clamp(1, rows.max(1));
    for start in (0..rows).step_by(piece) {
        let end = rows.min(start + piece);
        let range = start * row_bytes..end * row_bytes;
        if tensor.dtype == dtype {
            write(&bytes[range.clone()])?;
        } else {
            let (Some(from), Some(to)) = types else {
                return Err(unsupported(tensor, dtype));
            };
            let named = |source| ConvertError::Weights {
                name: tensor.name.clone(),
                source,
            };
            let view = DenseMatrix::new(rows, cols, from, &bytes).map_err(named)?;
            write(&encode_rows(compute, &view, start..end, to).map_err(named)?)?;
        }
        tensor.bytes.release_part(range);
    }
    Ok(())
}

fn unsupported(tensor: &Tensor, dtype: Dtype) -> ConvertError {
    ConvertError::Unsupported {
        what: format!("tensor `{}`, {}, as {dtype}", tensor.name, tensor.dtype),
        why: "there is no conversion between the types".to_owned(),
    }
}

/// The order of rows that takes a head's pairs from one place to the other: row `i` of the result is row `order[i]`.
/// `adjacent`: from halves to neighbours, else back.
pub(crate) fn paired_rows(rows: usize, head_dim: usize, adjacent: bool) -> Vec<usize> {
    let half = head_dim / 2;
    let place = |i: usize| match adjacent {
        true => i % 2 * half + i / 2,
        false => i % half * 2 + i / half,
    };
    (0..rows)
        .map(|row| row / head_dim * head_dim + place(row % head_dim))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_become_neighbours_and_back() {
        assert_eq!(paired_rows(8, 4, true), [0, 2, 1, 3, 4, 6, 5, 7]);
        let there = paired_rows(24, 12, true);
        let back = paired_rows(24, 12, false);
        let both: Vec<usize> = back.iter().map(|&row| there[row]).collect();
        assert_eq!(both, (0..24).collect::<Vec<_>>());
    }
}
