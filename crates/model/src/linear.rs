//! A projection: a ternary matrix fed with int8 activations, or a dense one fed with f32.

use std::ops::Range;

use llm_format::Bytes;
use llm_kernels::{Compute, DenseMatrix, DenseType, KernelError, QuantizedRows, TernaryMatrix};

/// Dense weights that stay in the mapped file.
#[derive(Debug, Clone)]
pub(crate) struct DenseTensor {
    rows: usize,
    cols: usize,
    dtype: DenseType,
    type_name: &'static str,
    bytes: Bytes,
}

impl DenseTensor {
    /// Checks the length once; [`view`](Self::view) relies on it.
    pub(crate) fn new(
        rows: usize,
        cols: usize,
        dtype: DenseType,
        type_name: &'static str,
        bytes: Bytes,
    ) -> Result<Self, KernelError> {
        DenseMatrix::new(rows, cols, dtype, &bytes)?;
        Ok(Self {
            rows,
            cols,
            dtype,
            type_name,
            bytes,
        })
    }

    /// The type as the file format spells it.
    pub(crate) fn type_name(&self) -> &'static str {
        self.type_name
    }

    /// Whether both are the same bytes of the same file.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq(self.bytes.as_ptr(), other.bytes.as_ptr())
    }

    /// Bits that one weight takes in the file.
    pub(crate) fn bits_per_weight(&self) -> f64 {
        self.bytes.len() as f64 * 8.0 / (self.rows * self.cols).max(1) as f64
    }

    /// Tells the system that the mapped pages need not stay in memory.
    pub(crate) fn release(&self) {
        self.bytes.release();
    }

    /// Copies the bytes of a row to `out`, as long as it is; its pages stay unmapped.
    pub(crate) fn read_row(&self, row: usize, out: &mut [u8]) {
        self.bytes.read_part(row * out.len(), out);
    }

    /// Copies a row to `bytes`, a buffer to be reused, and its values to `out`.
    pub(crate) fn row_values(&self, row: usize, bytes: &mut Vec<u8>, out: &mut [f32]) {
        bytes.resize(self.bytes.len() / self.rows.max(1), 0);
        self.read_row(row, bytes);
        DenseMatrix::new(1, self.cols, self.dtype, bytes)
            .expect("the length was checked when the tensor was made")
            .dequantize_row(0, out);
    }

    /// Tells the system that the mapped pages of some rows need not stay in memory.
    pub(crate) fn release_rows(&self, rows: Range<usize>) {
        let row_bytes = self.bytes.len() / self.rows.max(1);
        self.bytes
            .release_part(rows.start * row_bytes..rows.end * row_bytes);
    }

    pub(crate) fn n_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The matrix as the kernels take it.
    pub(crate) fn view(&self) -> DenseMatrix<'_> {
        DenseMatrix::new(self.rows, self.cols, self.dtype, &self.bytes)
            .expect("the length was checked when the tensor was made")
    }
}

/// `y = W x`, in the arithmetic that the weights were trained for.
pub(crate) enum Linear {
    /// Weights in {-1, 0, +1} times one scale; activations are rounded to int8 per token.
    Ternary(TernaryMatrix),
    /// Weights as the file stores them, f32 activations, the output multiplied by `scale`.
    Dense {
        /// The weights.
        weights: DenseTensor,
        /// GGUF's optional `.scale`, else 1.
        scale: f32,
    },
}

impl Linear {
    fn rows(&self) -> usize {
        match self {
            Self::Ternary(matrix) => matrix.rows(),
            Self::Dense { weights, .. } => weights.rows,
        }
    }
}

/// A projection with the norm that some models put inside it: `y = W rms_norm(x)`.
pub(crate) struct Projection {
    pub(crate) linear: Linear,
    pub(crate) norm: Option<InputNorm>,
}

impl Projection {
    /// Whether its results are whole numbers times a [`factor`](Self::factor).
    pub(crate) fn gives_products(&self) -> bool {
        matches!(self.linear, Linear::Ternary(_)) && self.norm.is_none()
    }

    /// What all results of row `row` of the last [`project`] are whole multiples of, if they are: the rounded input of
    /// projections without a norm of their own is still in `scratch`.
    pub(crate) fn factor(&self, scratch: &ProjectScratch, row: usize) -> Option<f32> {
        match &self.linear {
            Linear::Ternary(matrix) if self.norm.is_none() => {
                Some(matrix.scale() / scratch.quantized.scale(row))
            }
            _ => None,
        }
    }
}

/// An RMS norm of a projection's own, over its input.
pub(crate) struct InputNorm {
    /// `[cols]`.
    pub(crate) weight: Vec<f32>,
    pub(crate) eps: f32,
}

/// What [`project`] writes between its steps; kept from call to call.
#[derive(Debug, Default)]
pub(crate) struct ProjectScratch {
    normed: Vec<f32>,
    quantized: QuantizedRows,
}

/// Several projections of the same input: `outs[i] = projections[i](x)`, each `[n][rows]`.
///
/// The input `[n][cols]` is quantised once for all ternary ones without a norm of their own (q, k and v share it, so do gate
/// and up), which then run in one fork and join.
pub(crate) fn project(
    compute: &Compute,
    projections: &[&Projection],
    x: &[f32],
    n: usize,
    scratch: &mut ProjectScratch,
    outs: &mut [&mut Vec<f32>],
) {
    let ProjectScratch { normed, quantized } = scratch;
    let mut ternary: Vec<&TernaryMatrix> = Vec::with_capacity(projections.len());
    let mut ternary_outs: Vec<&mut [f32]> = Vec::with_capacity(projections.len());
    for (projection, out) in projections.iter().zip(outs.iter_mut()) {
        out.resize(n * projection.linear.rows(), 0.0);
        let input = match &projection.norm {
            Some(norm) => {
                normed.resize(x.len(), 0.0);
                compute.rms_norm(x, &norm.weight, norm.eps, n, normed);
                normed.as_slice()
            }
            None => x,
        };
        match &projection.linear {
            Linear::Ternary(matrix) if projection.norm.is_none() => {
                ternary.push(matrix);
                ternary_outs.push(out.as_mut_slice());
            }
            Linear::Ternary(matrix) => {
                compute.quantize_rows(input, n, matrix.cols(), quantized);
                compute.ternary_matmul(matrix, quantized, out);
            }
            Linear::Dense { weights, scale } => {
                compute.dense_matmul(&weights.view(), input, n, out);
                if *scale != 1.0 {
                    out.iter_mut().for_each(|y| *y *= scale);
                }
            }
        }
    }
    if let Some(first) = ternary.first() {
        compute.quantize_rows(x, n, first.cols(), quantized);
        compute.ternary_matmul_many(&ternary, quantized, &mut ternary_outs);
    }
}
