//! From the sums of a panel's codes to estimates of its rows' products: plain loops over 16 rows, for the compiler to turn into
//! each instruction set's vectors.

use super::PanelBounds;
use super::input::Input;
use crate::ternary::PANEL_ROWS;

/// What a search keeps of a panel and a vector.
pub(crate) struct PanelEstimates {
    /// Estimates of the rows' products.
    pub(crate) rows: [f32; PANEL_ROWS],
    /// The largest estimate.
    pub(crate) best: f32,
    /// At least the largest product.
    pub(crate) reach: f32,
}

/// `sums`: of codes times the planes of `input`, or only the first when the second is all zeros. Rows past the panel's first `rows` are minus infinity.
#[inline(always)]
pub(crate) fn estimates(
    bounds: &PanelBounds,
    input: &Input,
    sums: &[[i32; PANEL_ROWS]],
    rows: usize,
) -> PanelEstimates {
    let sums = [sums[0], sums.get(1).copied().unwrap_or([0; PANEL_ROWS])];
    let [high, low] = &input.planes;
    let [high_offset, low_offset] = [32 * high.sum, 32 * low.sum];
    let [high_middle, low_middle] = [0.375 * high.sum as f32, 0.375 * low.sum as f32];
    let mut estimates = [0.0; PANEL_ROWS];
    let mut reach = [0.0; PANEL_ROWS];
    for r in 0..PANEL_ROWS {
        let high_term = ((sums[0][r] - high_offset) as f32 + high_middle) * high.unit;
        let low_term = ((sums[1][r] - low_offset) as f32 + low_middle) * low.unit;
        estimates[r] = 4.0 * bounds.scale[r] * (high_term + low_term);
        reach[r] = estimates[r] + input.width(bounds.norm[r], bounds.lost_coarse[r]);
    }
    for r in rows..PANEL_ROWS {
        (estimates[r], reach[r]) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    }
    PanelEstimates {
        rows: estimates,
        best: largest(estimates),
        reach: largest(reach),
    }
}

/// The largest of 16 finite values or infinities.
#[inline(always)]
fn largest(mut values: [f32; PANEL_ROWS]) -> f32 {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            let (a, b) = (values[i], values[i + half]);
            values[i] = if a > b { a } else { b };
        }
    }
    values[0]
}
