use super::{FirstFailure, check, check_length, pack_codes};
use crate::disjoint::DisjointMut;
use crate::{Compute, DenseType, KernelError, TernaryMatrix, dense};

/// Smallest scale, as the models were trained: a matrix of zeros keeps a finite inverse.
const MIN_SCALE: f64 = 1e-5;

/// Rows that a thread takes at a time.
const ROWS: usize = 16;

/// Rounds master weights (F32, F16 or BF16) to ternary ones: `a = max(mean |W|, 1e-5)` over the whole tensor,
/// `q = clamp(round_half_even(W / a), -1, 1)`, scale `a`; computed in f64 (arXiv 2402.17764, section 2).
///
/// # Errors
/// A length that does not fit, another type, or a weight that is not finite.
pub fn pack_master(
    compute: &Compute,
    rows: usize,
    cols: usize,
    dtype: DenseType,
    bytes: &[u8],
) -> Result<TernaryMatrix, KernelError> {
    if !matches!(dtype, DenseType::F32 | DenseType::F16 | DenseType::Bf16) {
        return Err(KernelError::MasterType { dtype });
    }
    check(rows, cols, 0.0)?;
    let row_bytes = dense::row_bytes(dtype, rows, cols)?;
    let expected = rows
        .checked_mul(row_bytes)
        .ok_or(KernelError::Shape { rows, cols })?;
    check_length("master weights", expected, bytes)?;
    let row = |row: usize, out: &mut [f32]| {
        compute
            .kernels()
            .decode(dtype, &bytes[row * row_bytes..][..row_bytes], out)
    };

    let mean = sum_of_magnitudes(compute, rows, cols, &row)? / (rows as f64 * cols as f64);
    let scale = mean.max(MIN_SCALE);
    let limit = largest_f32_up_to(scale / 2.0);
    pack_codes(compute, rows, cols, scale as f32, |index, codes| {
        compute.with_scratch(cols, |weights| {
            row(index, weights);
            for (code, &weight) in codes.iter_mut().zip(weights.iter()) {
                // Exactly half of the scale rounds to the even neighbour, zero.
                *code = 1 + u8::from(weight > limit) - u8::from(weight < -limit);
            }
        });
    })
}

/// The sum of all |W|: row sums, added in row order, so that the number of threads does not change it.
fn sum_of_magnitudes(
    compute: &Compute,
    rows: usize,
    cols: usize,
    row: &(impl Fn(usize, &mut [f32]) + Sync),
) -> Result<f64, KernelError> {
    let mut sums = vec![0.0_f64; rows];
    let failure = FirstFailure::default();
    let disjoint = DisjointMut::new(&mut sums);
    compute.pool().run(rows, ROWS, &|range| {
        // SAFETY: the pool hands out every row once.
        let sums = unsafe { disjoint.slice(range.clone()) };
        compute.with_scratch(cols, |weights| {
            for (index, sum) in range.zip(sums) {
                row(index, weights);
                *sum = row_sum_of_magnitudes(weights);
                if !sum.is_finite() {
                    failure.keep(index, KernelError::NonFiniteWeight { row: index });
                }
            }
        });
    });
    failure.into_result()?;
    Ok(sums.iter().sum())
}

/// Finite whenever the weights are: f64 reaches far beyond the sum of as many f32 as memory holds.
fn row_sum_of_magnitudes(weights: &[f32]) -> f64 {
    let (blocks, tail) = weights.as_chunks::<8>();
    let mut lanes = [0.0_f64; 8];
    for block in blocks {
        for (lane, weight) in lanes.iter_mut().zip(block) {
            *lane += f64::from(weight.abs());
        }
    }
    lanes.iter().sum::<f64>()
        + tail
            .iter()
            .map(|weight| f64::from(weight.abs()))
            .sum::<f64>()
}

/// Comparing an f32 with this bound is comparing it with `x`, exactly.
fn largest_f32_up_to(x: f64) -> f32 {
    let nearest = x as f32;
    if f64::from(nearest) > x {
        nearest.next_down()
    } else {
        nearest
    }
}
