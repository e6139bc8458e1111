//! The largest products of a matrix and a vector without reading the whole matrix: an int8 copy with a proved error bound finds
//! the rows that may be among them, and only those are multiplied exactly.
//!
//! # Why no row is missed
//! Row `w` is stored as `a q` with int8 codes `q`, the vector `x` as `y = g / s + h / t` in two planes of int8 codes, the second
//! for what the first leaves. Write `e = w - a q` and `f = x - y` for what rounding lost. Then, in exact arithmetic,
//! `w·x = a q·y + a q·f + e·x`, and by Cauchy and Schwarz, with `|a q| <= |w| + |e|`,
//!
//! ```text
//! |w·x - a q·y| <= (|w| + |e|) |f| + |e| |x|
//! ```
//!
//! `q·g` and `q·h` are exact integers; scaling and adding them in f32 rounds seven times. The product that
//! [`Compute::dense_matmul`] returns for the row differs from `w·x` by at most `γ |w| |x|`, where `γ` counts the roundings on the
//! way of one term: its product, the additions of its lane and the folds. Together they give each row an interval that holds the
//! returned product. Let `L` be the `k`-th largest lower end: `k` rows have products of at least `L`, so every row among the `k`
//! largest, and every row that ties with the last of them, has its upper end at or above `L`. Those are the candidates.
//!
//! Norms are kept in f32 and widened by more than their own rounding errors, see [`WIDEN`].

use std::ops::Range;

use crate::aligned::{Line, fill_parts};
use crate::disjoint::DisjointMut;
use crate::simd::LANES;
use crate::ternary::{LINE_INPUTS, PANEL_ROWS};
use crate::{Compute, DenseMatrix, DenseType, Kernels};

/// Inputs of a line of codes: 16 rows of four.
pub(crate) const COARSE_INPUTS: usize = 4;

/// Half the distance between two f32 of size one.
const UNIT_ROUNDOFF: f32 = f32::EPSILON / 2.0;

/// What norms and bounds are multiplied by: more than a sum of 2^16 squares in [`LANES`] lanes can lose.
const WIDEN: f32 = 1.001;

/// How far below the `k`-th product, relative to it, a row may lie and still be found: dividing by a temperature rounds, and may
/// make products equal that lay a last place apart.
const NEAR_TIE: f32 = 8.0 * UNIT_ROUNDOFF;

/// The largest magnitude below which a plane is left to its bound: its scale would not be a normal number.
const MIN_PLANE: f32 = 1e-30;

/// Panels between two reports of what has been read.
const PANELS_PER_REPORT: usize = 64;

/// Panels that a thread takes at a time.
const CHUNK_PANELS: usize = 4;

/// A share of candidates above which the whole product is cheaper.
const MAX_CANDIDATE_SHARE: usize = 8;

/// The most rows that [`Compute::top_rows`] looks for.
pub const MAX_TOP: usize = 256;

/// An int8 copy of a dense matrix, with what its rounding lost.
///
/// Panel `p` holds the rows `16 p..16 p + 16` in one 64-byte line per four inputs: byte `4 r + j` of line `b` is the code of row
/// `r` and input `4 b + j`, plus 128.
pub struct CoarseMatrix {
    rows: usize,
    cols: usize,
    /// Of the exact weights.
    dtype: DenseType,
    lines: Vec<Line>,
    bounds: Vec<RowBound>,
}

/// What the error bound needs of a row.
#[derive(Clone, Copy, Default)]
struct RowBound {
    /// What a code of one stands for.
    scale: f32,
    /// At least the row's norm.
    norm: f32,
    /// At least the norm of what rounding lost.
    lost: f32,
}

impl CoarseMatrix {
    /// Rounds `w` to int8, row by row; `None` when a weight is NaN or infinite, or memory is short.
    ///
    /// `read` is told of rows that have been read (nearly all of them: threads do not wait for each other), so that the caller can
    /// let their pages go before all of them are in memory.
    pub fn new(
        compute: &Compute,
        w: &DenseMatrix<'_>,
        read: &(dyn Fn(Range<usize>) + Sync),
    ) -> Option<Self> {
        let panel_lines = panel_lines(w.cols());
        let mut bounds = vec![RowBound::default(); w.rows()];
        let bound_parts = DisjointMut::new(&mut bounds);
        // Code 128 is a weight of zero: rows and inputs beyond the matrix.
        let lines = fill_parts(
            compute.pool(),
            w.rows().div_ceil(PANEL_ROWS),
            panel_lines,
            Line([128; 64]),
            |p, panel| {
                let rows = p * PANEL_ROWS..((p + 1) * PANEL_ROWS).min(w.rows());
                // SAFETY: each panel is filled once, and panels have different rows.
                let bounds = unsafe { bound_parts.slice(rows.clone()) };
                compute.with_scratch(w.cols(), |weights| {
                    let mut codes = vec![0_i8; w.cols()];
                    for (r, (row, bound)) in rows.zip(bounds).enumerate() {
                        w.dequantize_row(row, weights);
                        *bound = compute.round_row(weights, &mut codes);
                        for (line, codes) in panel.iter_mut().zip(codes.chunks(COARSE_INPUTS)) {
                            for (byte, code) in line.0[4 * r..].iter_mut().zip(codes) {
                                *byte = code.cast_unsigned() ^ 0x80;
                            }
                        }
                    }
                });
                let done = p + 1;
                if done.is_multiple_of(PANELS_PER_REPORT) {
                    read((done - PANELS_PER_REPORT) * PANEL_ROWS..done * PANEL_ROWS);
                }
            },
        )
        .ok()?;
        let finite = bounds
            .iter()
            .all(|bound| bound.norm.is_finite() && bound.lost.is_finite());
        finite.then_some(Self {
            rows: w.rows(),
            cols: w.cols(),
            dtype: w.dtype(),
            lines,
            bounds,
        })
    }

    /// Bytes of the codes.
    pub fn bytes(&self) -> usize {
        size_of_val(self.lines.as_slice()) + size_of_val(self.bounds.as_slice())
    }

    fn panel(&self, index: usize) -> &[Line] {
        let lines = panel_lines(self.cols);
        &self.lines[index * lines..(index + 1) * lines]
    }
}

/// Lines of a panel; the activations are padded to a multiple of [`LINE_INPUTS`], and so are the panels.
fn panel_lines(cols: usize) -> usize {
    cols.next_multiple_of(LINE_INPUTS) / COARSE_INPUTS
}

/// Copies the bytes of an exact row, by its index, to a buffer of their length.
pub type RowReader<'a> = dyn Fn(usize, &mut [u8]) + Sync + 'a;

/// The rows that may be among the largest, and their exact products.
pub type TopRows = Vec<(u32, f32)>;

impl Compute {
    /// Rounds a row in place to what it lost; returns its bound. `codes` gets the int8 codes.
    fn round_row(&self, weights: &mut [f32], codes: &mut [i8]) -> RowBound {
        let kernels = self.kernels();
        let absmax = kernels.absmax(weights);
        if absmax == 0.0 {
            codes.fill(0);
            return RowBound::default();
        }
        let (scale, inverse) = (absmax / 127.0, 127.0 / absmax);
        if !(scale.is_normal() && inverse.is_finite()) {
            // Weights too small to be scaled: all of the row is lost. Not finite: the caller looks at the norm.
            codes.fill(0);
            let norm = absmax * (weights.len() as f32).sqrt() * WIDEN;
            return RowBound {
                scale: 0.0,
                norm,
                lost: norm,
            };
        }
        kernels.quantize(weights, inverse, codes);
        let norm = self.norm(weights);
        for (weight, &code) in weights.iter_mut().zip(codes.iter()) {
            *weight -= scale * f32::from(code);
        }
        // Each difference was rounded twice, by at most 2 u |w|.
        let lost = self.norm(weights) + 4.0 * UNIT_ROUNDOFF * norm;
        RowBound { scale, norm, lost }
    }

    /// At least the Euclidean norm.
    fn norm(&self, x: &[f32]) -> f32 {
        let mut square = [0.0];
        self.kernels().dot_rows(x, x, x.len(), 1, &mut square, 1);
        square[0].sqrt() * WIDEN + f32::MIN_POSITIVE.sqrt()
    }

    /// For each of `n` rows of `x`, `[n][cols]`: a list of rows of the matrix, by index, that holds the `k` with the largest products
    /// and all that tie with the last of them, be it by a last place, each with the very product that
    /// [`dense_matmul`](Self::dense_matmul) gives. `exact` brings the rows that the bound does not exclude.
    ///
    /// Returns `false` where the bound leaves too many rows or `x` is not finite; `out` is then of no use, and the whole product
    /// is to be computed.
    ///
    /// # Panics
    /// When lengths do not fit, or `k` is not within 1..=[`MAX_TOP`].
    pub fn top_rows(
        &self,
        coarse: &CoarseMatrix,
        exact: &RowReader<'_>,
        x: &[f32],
        n: usize,
        k: usize,
        out: &mut Vec<TopRows>,
    ) -> bool {
        let (rows, cols) = (coarse.rows, coarse.cols);
        assert_eq!(x.len(), n * cols, "x is not [n][cols]");
        assert!((1..=MAX_TOP).contains(&k), "k out of range");
        let inputs: Vec<Input> = x
            .chunks_exact(cols)
            .map(|x| Input::new(self.kernels(), x))
            .collect();
        if !inputs.iter().all(|input| input.norm.is_finite()) {
            return false;
        }
        out.resize_with(n, TopRows::new);
        self.with_scratch(2 * n * rows, |ends| {
            let (lower, upper) = ends.split_at_mut(n * rows);
            self.intervals(coarse, &inputs, lower, upper);
            (0..n).all(|t| {
                let span = t * rows..(t + 1) * rows;
                let few = candidates(&lower[span.clone()], &upper[span], k, &mut out[t]);
                if few {
                    self.rescore(coarse, exact, &x[t * cols..][..cols], &mut out[t]);
                }
                few
            })
        })
    }

    /// The ends of every row's interval, `[n][rows]`.
    fn intervals(
        &self,
        coarse: &CoarseMatrix,
        inputs: &[Input],
        lower: &mut [f32],
        upper: &mut [f32],
    ) {
        let rows = coarse.rows;
        let (lower, upper) = (DisjointMut::new(lower), DisjointMut::new(upper));
        self.pool()
            .run(rows.div_ceil(PANEL_ROWS), CHUNK_PANELS, &|panels| {
                for p in panels {
                    let span = p * PANEL_ROWS..((p + 1) * PANEL_ROWS).min(rows);
                    for (t, input) in inputs.iter().enumerate() {
                        let [high, low] = self.kernels().coarse_panel(
                            coarse.panel(p),
                            [&input.planes[0].codes, &input.planes[1].codes],
                            [input.planes[0].sum, input.planes[1].sum],
                        );
                        let part = t * rows + span.start..t * rows + span.end;
                        // SAFETY: the pool hands out every panel once, and the tokens' parts do not overlap.
                        let (lower, upper) =
                            unsafe { (lower.slice(part.clone()), upper.slice(part)) };
                        for (i, bound) in coarse.bounds[span.clone()].iter().enumerate() {
                            (lower[i], upper[i]) = input.interval(bound, [high[i], low[i]]);
                        }
                    }
                }
            });
    }

    /// Fills in the exact products of the candidates.
    fn rescore(&self, coarse: &CoarseMatrix, exact: &RowReader<'_>, x: &[f32], out: &mut TopRows) {
        let Some(row_bytes) = coarse.dtype.row_bytes(coarse.cols) else {
            unreachable!("the coarse copy was made of rows of this type and width");
        };
        let len = out.len();
        let out = DisjointMut::new(out);
        self.pool().run(len, 8, &|range| {
            let mut bytes = vec![0; row_bytes];
            // SAFETY: the pool hands out every candidate once.
            for (row, product) in unsafe { out.slice(range) } {
                exact(*row as usize, &mut bytes);
                match DenseMatrix::new(1, coarse.cols, coarse.dtype, &bytes) {
                    Ok(w) => self.dense_rows(&w, 0..1, x, 1, std::slice::from_mut(product)),
                    Err(_) => unreachable!("a row of this type and width has these bytes"),
                }
            }
        });
    }
}

/// Lists the rows whose intervals reach among the `k` largest; `false` when they are too many.
fn candidates(lower: &[f32], upper: &[f32], k: usize, out: &mut TopRows) -> bool {
    let threshold = kth_largest(lower, k);
    let threshold = threshold - NEAR_TIE * threshold.abs() - f32::MIN_POSITIVE;
    out.clear();
    let reaching = upper
        .iter()
        .enumerate()
        .filter(|&(_, &end)| end >= threshold);
    // Indices fit: a vocabulary has far fewer than 2^32 rows.
    out.extend(reaching.map(|(row, _)| (row as u32, 0.0)));
    out.len() <= (upper.len() / MAX_CANDIDATE_SHARE).max(k)
}

/// A vector rounded to two planes of int8, and what the error bound needs of it.
struct Input {
    planes: [Plane; 2],
    /// At least its norm.
    norm: f32,
    /// At least the norm of what rounding lost.
    lost: f32,
    /// Relative rounding error of the exact product.
    gamma: f32,
}

/// A rounded vector.
struct Plane {
    /// Codes, padded with zeros to a multiple of [`LINE_INPUTS`].
    codes: Vec<i8>,
    /// The sum of the codes.
    sum: i32,
    /// What the vector was multiplied by before rounding.
    scale: f32,
}

impl Plane {
    /// Rounds `rest`, of which only what was lost stays.
    fn of(kernels: Kernels, rest: &mut [f64]) -> Self {
        let x: Vec<f32> = rest.iter().map(|&x| x as f32).collect();
        let mut codes = vec![0; x.len().next_multiple_of(LINE_INPUTS)];
        let absmax = kernels.absmax(&x);
        let scale = if absmax > MIN_PLANE {
            127.0 / absmax
        } else {
            1.0
        };
        let sum = kernels.quantize(&x, scale, &mut codes);
        for (rest, &code) in rest.iter_mut().zip(&codes) {
            *rest -= f64::from(code) / f64::from(scale);
        }
        Self { codes, sum, scale }
    }
}

impl Input {
    fn new(kernels: Kernels, x: &[f32]) -> Self {
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt() as f32 * WIDEN;
        let mut rest: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        let whole = norm(&rest);
        let planes = [(); 2].map(|()| Plane::of(kernels, &mut rest));
        // One product, the additions of a lane, five folds; doubled for good measure.
        let roundings = (1 + x.len().div_ceil(LANES) + 5) as f32;
        Self {
            planes,
            norm: whole,
            lost: norm(&rest),
            gamma: 2.0 * roundings * UNIT_ROUNDOFF,
        }
    }

    /// The interval that holds a row's product; `sums`: of its codes with the planes'.
    fn interval(&self, row: &RowBound, sums: [i32; 2]) -> (f32, f32) {
        let term = |plane: usize| sums[plane] as f32 * (row.scale / self.planes[plane].scale);
        let (high, low) = (term(0), term(1));
        let rounding = 8.0 * UNIT_ROUNDOFF * (high.abs() + low.abs());
        let exact =
            row.norm * (self.lost + self.gamma * self.norm) + row.lost * (self.lost + self.norm);
        let width = exact * WIDEN + rounding + f32::MIN_POSITIVE;
        let (lower, upper) = (high + low - width, high + low + width);
        if lower.is_finite() && upper.is_finite() {
            (lower, upper)
        } else {
            // Beyond f32: nothing is known of this row.
            (f32::NEG_INFINITY, f32::INFINITY)
        }
    }
}

/// The `k`-th largest value, or the smallest when there are fewer.
fn kth_largest(values: &[f32], k: usize) -> f32 {
    // The largest so far, falling; most values do not get past the last of them.
    let mut largest: Vec<f32> = Vec::with_capacity(k + 1);
    for &value in values {
        if largest.len() == k && value <= largest[k - 1] {
            continue;
        }
        let at = largest.partition_point(|&other| other >= value);
        largest.insert(at, value);
        largest.truncate(k);
    }
    largest.last().copied().unwrap_or(f32::NEG_INFINITY)
}

#[cfg(test)]
mod tests;
