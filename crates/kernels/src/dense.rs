use std::fmt;

use crate::{KernelError, portable};

/// How a dense matrix's numbers lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    missing_docs,
    reason = "the names are the formats' own; `blocks.rs` describes each layout"
)]
pub enum DenseType {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Tq1_0,
    Tq2_0,
}

impl DenseType {
    /// Values and bytes of one block; a row is a whole number of blocks.
    pub fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q8_0 => (32, 34),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q2K => (256, 84),
            Self::Q3K => (256, 110),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
            Self::Tq1_0 => (256, 54),
            Self::Tq2_0 => (256, 66),
        }
    }

    /// Bytes of a row of `cols` values; `None` when it is no whole number of blocks or too long to count.
    pub fn row_bytes(self, cols: usize) -> Option<usize> {
        let (values, bytes) = self.block();
        if !cols.is_multiple_of(values) {
            return None;
        }
        (cols / values).checked_mul(bytes)
    }
}

impl fmt::Display for DenseType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q8_0 => "Q8_0",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q2K => "Q2_K",
            Self::Q3K => "Q3_K",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
            Self::Tq1_0 => "TQ1_0",
            Self::Tq2_0 => "TQ2_0",
        };
        f.write_str(name)
    }
}

/// Dense weights as they lie in the file, row after row; only borrowed.
#[derive(Clone, Copy)]
pub struct DenseMatrix<'a> {
    rows: usize,
    cols: usize,
    dtype: DenseType,
    row_bytes: usize,
    data: &'a [u8],
}

impl<'a> DenseMatrix<'a> {
    /// `data`: exactly `rows` rows of `cols` values, without any alignment.
    pub fn new(
        rows: usize,
        cols: usize,
        dtype: DenseType,
        data: &'a [u8],
    ) -> Result<Self, KernelError> {
        if rows == 0 || cols == 0 {
            return Err(KernelError::Shape { rows, cols });
        }
        let row_bytes = row_bytes(dtype, rows, cols)?;
        let expected = rows
            .checked_mul(row_bytes)
            .ok_or(KernelError::Shape { rows, cols })?;
        if data.len() != expected {
            return Err(KernelError::Length {
                what: "dense weights",
                expected,
                actual: data.len(),
            });
        }
        Ok(Self {
            rows,
            cols,
            dtype,
            row_bytes,
            data,
        })
    }

    /// Output features, or vocabulary entries.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Input features.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// How the numbers lie in the file.
    pub fn dtype(&self) -> DenseType {
        self.dtype
    }

    /// Bytes of the whole matrix.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// Row `row` as f32, exactly as the formats' reference decodes it.
    ///
    /// # Panics
    /// When there is no such row or `out` is not `cols` long.
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.cols, "output row of another length");
        portable::decode(self.dtype, self.rows_at(row, 1), out);
    }

    /// The bytes of `count` rows from `first` on.
    pub(crate) fn rows_at(&self, first: usize, count: usize) -> &'a [u8] {
        &self.data[first * self.row_bytes..(first + count) * self.row_bytes]
    }

    /// Bytes of one row.
    pub(crate) fn row_bytes(&self) -> usize {
        self.row_bytes
    }
}

/// Bytes of a row, or why there is no such row.
pub(crate) fn row_bytes(dtype: DenseType, rows: usize, cols: usize) -> Result<usize, KernelError> {
    let (multiple, _) = dtype.block();
    if !cols.is_multiple_of(multiple) {
        return Err(KernelError::NotMultiple {
            layout: "dense weights",
            dimension: "cols",
            multiple,
            actual: cols,
        });
    }
    dtype
        .row_bytes(cols)
        .ok_or(KernelError::Shape { rows, cols })
}
