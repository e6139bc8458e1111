//! The largest products of a matrix and a vector without reading the whole matrix: a coarse copy with a proved error bound finds
//! the rows that may be among them, a finer one leaves few of those, and only these are multiplied exactly.
//!
//! # The copy
//! Row `w` is rounded to `a q` with int8 codes `q` and one scale `a`. Of each `q + 128` the six top bits, `c`, lie in panels that
//! every search streams, the two low ones, `r`, in rows of their own that are read where `c` does not suffice. The codes that
//! share a `c` are taken for their middle: `v = a (4 c - 126.5)`.
//!
//! # Why no row is missed
//! The vector `x` is rounded to `y = g / s + h / t`, two planes of int8 codes, the second for what the first leaves (for several
//! vectors at a time there may be no second: `h = 0`). Write
//! `e = w - v` and `f = x - y` for what rounding lost. Then, in exact arithmetic, `w·x = v·y + v·f + e·x`, and by Cauchy and
//! Schwarz, with `|v| <= |w| + |e|`,
//!
//! ```text
//! |w·x - v·y| <= (|w| + |e|) |f| + |e| |x|
//! ```
//!
//! The same holds for `a q` in the place of `v`. The product that [`Compute::dense_matmul`](crate::Compute::dense_matmul) returns for the row differs from `w·x`
//! by at most `γ |w| |x|`, where `γ` counts the roundings on the way of one term: its product, the additions of its lane and the
//! folds. The estimate of `v·y` that is computed differs from it by at most [`ESTIMATE_ROUNDING`] times `|w| |x|`. The sum of the
//! three, the row's *width*, is how far the returned product may lie from the estimate.
//!
//! Any `k` rows whose returned products are at least `L` show that the `k` largest of all, and every product that ties with the
//! last of them, are at least `L`. A search takes the `k` rows that look best for these, and multiplies them exactly. A row may
//! then be left out when its estimate plus its width is below `L`: first with `v`; where that does not exclude it, with `a q`;
//! where that does not either, the row is multiplied exactly.
//!
//! # What computing the estimate rounds
//! Sums of codes are exact integers. With `S = sum of (c - 32) g` and `G = sum of g`, the first plane's part of the estimate is
//! `4 a (S + 0.375 G) / s`; with `R = sum of r g`, the finer estimate adds `a (2 R - 3 G) / (2 s)`; likewise for the second plane.
//! A row has at most 2^16 weights, and none is larger than `127 a`, so the norm of a vector of `a`s is at most `2.02 |w|`, `|e|` at
//! most `4.04 |w|` and `|v|` at most `5.04 |w|`. As rounding to nearest takes no more away than there is, `|g / s| + |h / t|` is at
//! most `4.1 |x|`. Hence `4 a |S| / s` is at most `(5.04 + 3.03) 4.1 |w| |x|` for both planes together, and the parts with `G`
//! and `R` at most `3.03 × 4.1 |w| |x|` each. At most ten roundings on a term's way, adding the width among them, make the error
//! less than `10 × 58 < 1024` half units in the last place of `|w| |x|`. Sizes at which anything would overflow are left to the whole product,
//! see [`Input::suits`](input::Input::suits); what underflows is far below the smallest normal number, which is added.
//!
//! Norms are kept in f32 and widened by more than their own rounding errors, see [`WIDEN`].

mod build;
pub(crate) mod estimate;
pub(crate) mod input;
mod search;
pub(crate) mod split;

pub use search::{MAX_TOP, RowReader, TopRows};

use crate::DenseType;
use crate::aligned::Line;
use crate::memory::Lines;
use crate::ternary::PANEL_ROWS;

/// Lines of a block: 16 rows of [`BLOCK_INPUTS`] inputs.
pub(crate) const BLOCK_LINES: usize = 3;

/// Inputs of a block.
pub(crate) const BLOCK_INPUTS: usize = 16;

/// Inputs of a line of fine codes.
pub(crate) const FINE_INPUTS: usize = 256;

/// The most planes of vectors that a kernel takes at once.
pub(crate) const COARSE_TILE: usize = 16;

/// The most inputs of a row: sums of squares and of codes stay within what the bounds count on.
const MAX_COLS: usize = 1 << 16;

/// Half the distance between two f32 of size one.
const UNIT_ROUNDOFF: f32 = f32::EPSILON / 2.0;

/// What norms and bounds are multiplied by: more than a sum of 2^16 squares in [`LANES`](crate::LANES) lanes can lose.
const WIDEN: f32 = 1.001;

/// What computing an estimate may lose, relative to the norms' product.
const ESTIMATE_ROUNDING: f32 = 1024.0 * UNIT_ROUNDOFF;

/// A rounded copy of a dense matrix in two planes, with what its rounding lost.
///
/// Panel `p` holds the six top bits of the codes of rows `16 p..16 p + 16` in blocks of three lines for 16 inputs: byte `4 r + j`
/// of line `i` holds, below, `c` of row `r` and input `4 i + j`; the two top bits of the three bytes at `4 r + j` are, from low to
/// high, `c` of input `12 + j`.
///
/// ```text
/// line 0   c(12 + j) bits 1:0 | c(j)        byte 4 r + j for row r
/// line 1   c(12 + j) bits 3:2 | c(4 + j)
/// line 2   c(12 + j) bits 5:4 | c(8 + j)
/// ```
///
/// The two low bits lie row after row in lines of 256 inputs: bits `2 i` and `2 i + 1` of byte `j` are input `64 i + j`'s.
pub struct CoarseMatrix {
    rows: usize,
    cols: usize,
    /// Of the exact weights.
    dtype: DenseType,
    coarse: Lines,
    fine: Lines,
    bounds: Vec<PanelBounds>,
    /// At least every row's norm.
    max_norm: f32,
}

/// What the error bound needs of the rows of a panel.
#[derive(Clone, Copy, Default)]
pub(crate) struct PanelBounds {
    /// What a code of one stands for.
    scale: [f32; PANEL_ROWS],
    /// At least the row's norm.
    norm: [f32; PANEL_ROWS],
    /// At least the norm of what the top bits lose.
    lost_coarse: [f32; PANEL_ROWS],
    /// At least the norm of what all bits lose.
    lost: [f32; PANEL_ROWS],
}

impl CoarseMatrix {
    /// Bytes of the copy.
    pub fn bytes(&self) -> usize {
        self.bytes_per_search() + size_of_val(&*self.fine)
    }

    /// Bytes that every search reads.
    pub fn bytes_per_search(&self) -> usize {
        size_of_val(&*self.coarse) + size_of_val(self.bounds.as_slice())
    }

    fn panels(&self) -> usize {
        self.bounds.len()
    }

    fn panel(&self, index: usize) -> &[Line] {
        let lines = panel_lines(self.cols);
        &self.coarse[index * lines..(index + 1) * lines]
    }

    /// The fine codes of a row.
    fn fine_row(&self, row: usize) -> &[Line] {
        let lines = fine_lines(self.cols);
        &self.fine[row * lines..(row + 1) * lines]
    }
}

/// Lines of a panel.
fn panel_lines(cols: usize) -> usize {
    cols.div_ceil(BLOCK_INPUTS) * BLOCK_LINES
}

/// Lines of a row's fine codes.
fn fine_lines(cols: usize) -> usize {
    cols.div_ceil(FINE_INPUTS)
}

/// At least the Euclidean norm, from the sum of squares.
fn norm(square: f32) -> f32 {
    square.sqrt() * WIDEN + f32::MIN_POSITIVE.sqrt()
}

#[cfg(test)]
mod tests;
