//! Making the copy.

use std::ops::Range;

use super::{
    CoarseMatrix, FINE_INPUTS, MAX_COLS, PanelBounds, UNIT_ROUNDOFF, WIDEN, fine_lines, norm,
    panel_lines,
};
use crate::aligned::{Line, fill_parts_of};
use crate::disjoint::DisjointMut;
use crate::ternary::PANEL_ROWS;
use crate::{Compute, DenseMatrix, Kernels};

/// Panels between two reports of what has been read.
const PANELS_PER_REPORT: usize = 64;

/// What the bound needs of one row.
#[derive(Default)]
struct RowBound {
    scale: f32,
    norm: f32,
    lost_coarse: f32,
    lost: f32,
}

impl CoarseMatrix {
    /// Rounds `w` row by row; `None` when a weight is NaN, infinite or as good as that, rows are too long, or memory is short.
    ///
    /// `read` is told of rows that have been read (nearly all of them: threads do not wait for each other), so that the caller can
    /// let their pages go before all of them are in memory.
    pub fn new(
        compute: &Compute,
        w: &DenseMatrix<'_>,
        read: &(dyn Fn(Range<usize>) + Sync),
    ) -> Option<Self> {
        let (rows, cols) = (w.rows(), w.cols());
        if cols > MAX_COLS {
            return None;
        }
        let panels = rows.div_ceil(PANEL_ROWS);
        let mut bounds = vec![PanelBounds::default(); panels];
        let bound_parts = DisjointMut::new(&mut bounds);
        let parts = [panel_lines(cols), PANEL_ROWS * fine_lines(cols)];
        let [coarse, fine] =
            fill_parts_of(compute, panels, parts, Line([0; 64]), |p, [panel, fine]| {
                // SAFETY: each panel is filled once.
                let bounds = unsafe { &mut bound_parts.slice(p..p + 1)[0] };
                compute.fill_panel(w, p, panel, fine, bounds);
                let done = p + 1;
                if done.is_multiple_of(PANELS_PER_REPORT) {
                    read((done - PANELS_PER_REPORT) * PANEL_ROWS..done * PANEL_ROWS);
                }
            })
            .ok()?;
        let norms = bounds.iter().flat_map(|bounds| bounds.norm);
        // Of any that is not a number, the result is none either.
        let max_norm = norms.fold(0.0, |max: f32, norm| if norm <= max { max } else { norm });
        let losses = bounds
            .iter()
            .flat_map(|bounds| bounds.lost_coarse.iter().chain(&bounds.lost));
        let finite = max_norm.is_finite() && losses.into_iter().all(|lost| lost.is_finite());
        finite.then_some(Self {
            rows,
            cols,
            dtype: w.dtype(),
            coarse,
            fine,
            bounds,
            max_norm,
        })
    }
}

impl Compute {
    /// Rounds and splits the rows of panel `p`.
    fn fill_panel(
        &self,
        w: &DenseMatrix<'_>,
        p: usize,
        panel: &mut [Line],
        fine: &mut [Line],
        bounds: &mut PanelBounds,
    ) {
        let stride = fine_lines(w.cols()) * FINE_INPUTS;
        // Rows and inputs beyond the matrix are zeros.
        let mut codes = vec![0_i8; PANEL_ROWS * stride];
        let rows = p * PANEL_ROWS..((p + 1) * PANEL_ROWS).min(w.rows());
        self.with_scratch(w.cols(), |weights| {
            for (r, row) in rows.enumerate() {
                self.kernels().decode(w.dtype(), w.rows_at(row, 1), weights);
                let codes = &mut codes[r * stride..][..w.cols()];
                let bound = round_row(self.kernels(), weights, codes);
                bounds.scale[r] = bound.scale;
                bounds.norm[r] = bound.norm;
                bounds.lost_coarse[r] = bound.lost_coarse;
                bounds.lost[r] = bound.lost;
            }
        });
        self.kernels().split_rows(&codes, stride, panel, fine);
    }
}

/// Rounds a row to int8 codes.
fn round_row(kernels: Kernels, weights: &[f32], codes: &mut [i8]) -> RowBound {
    let absmax = kernels.absmax(weights);
    if absmax == 0.0 {
        return RowBound::default();
    }
    let (scale, inverse) = (absmax / 127.0, 127.0 / absmax);
    if !(scale.is_normal() && inverse.is_finite()) {
        // Weights too small to be scaled: all of the row is lost. Not finite: the caller looks at the norm.
        let norm = absmax * (weights.len() as f32).sqrt() * WIDEN;
        return RowBound {
            scale: 0.0,
            norm,
            lost_coarse: norm,
            lost: norm,
        };
    }
    let [whole, lost, lost_coarse] = kernels.round_row(weights, scale, inverse, codes).map(norm);
    // Each difference was rounded twice, by at most u (|v| + |e|) <= 10 u |w|.
    let rounding = 16.0 * UNIT_ROUNDOFF * whole;
    RowBound {
        scale,
        norm: whole,
        lost_coarse: lost_coarse + rounding,
        lost: lost + rounding,
    }
}
