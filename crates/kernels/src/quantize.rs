use crate::ternary::LINE_INPUTS;

/// Smallest absolute maximum that a row is scaled by, so that a row of zeros stays finite.
const MIN_ABSMAX: f32 = 1e-5;

/// Token rows rounded to int8, each by its own scale; the buffers are kept from call to call.
///
/// Per row: `scale = 127 / max(absmax, 1e-5)` in f32 and `q = clamp(round_half_even(x * scale), -128, 127)`, as the ternary
/// models were trained. A row with a NaN or an infinity gets a scale that makes its products NaN or infinite.
#[derive(Debug, Default)]
pub struct QuantizedRows {
    n: usize,
    cols: usize,
    /// Bytes from row to row.
    stride: usize,
    data: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<i32>,
}

impl QuantizedRows {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Rows.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Numbers of a row, without padding.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Row `i`, padded with zeros to a multiple of 16.
    pub fn row(&self, i: usize) -> &[i8] {
        &self.data[i * self.stride..][..self.cols.next_multiple_of(LINE_INPUTS)]
    }

    /// What row `i` was multiplied by before rounding.
    pub fn scale(&self, i: usize) -> f32 {
        self.scales[i]
    }

    /// The sum of row `i`.
    pub fn sum(&self, i: usize) -> i32 {
        self.sums[i]
    }

    /// The rows from `first` on, [`stride`](Self::stride) bytes apart.
    pub(crate) fn rows_from(&self, first: usize) -> &[i8] {
        &self.data[first * self.stride..]
    }

    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// Makes room for `n` rows of `cols` numbers; returns the stride and the buffers to fill: data, scales and sums.
    pub(crate) fn reset(
        &mut self,
        n: usize,
        cols: usize,
    ) -> (usize, &mut [i8], &mut [f32], &mut [i32]) {
        let padded = cols.next_multiple_of(LINE_INPUTS);
        // Rows a multiple of 512 bytes apart would share the few sets of the first-level cache.
        self.stride = if padded.is_multiple_of(512) {
            padded + 64
        } else {
            padded
        };
        (self.n, self.cols) = (n, cols);
        self.data.clear();
        self.data.resize(n * self.stride, 0);
        self.scales.resize(n, 0.0);
        self.sums.resize(n, 0);
        (
            self.stride,
            &mut self.data,
            &mut self.scales,
            &mut self.sums,
        )
    }
}

/// The scale of a row whose largest magnitude is `absmax`; NaN stays NaN.
pub(crate) fn scale_of(absmax: f32) -> f32 {
    127.0
        / if absmax < MIN_ABSMAX {
            MIN_ABSMAX
        } else {
            absmax
        }
}
