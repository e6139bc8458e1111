//! The kernels in portable Rust: what every instruction set's kernels must equal bit for bit.

use crate::aligned::Line;
use crate::coarse::COARSE_INPUTS;
use crate::simd::Scalar;
use crate::ternary::{LINE_INPUTS, PANEL_ROWS};
use crate::trits;

crate::dispatch::float_kernels!(Scalar,);

/// `acc[p * n + t][r]` = sum of code x activation of panel `p`, row `r` and token `t`.
///
/// `panels`: whole panels of `lines` lines; `x`: a tile of `n` rows, as in [`QuantizedRows`](crate::QuantizedRows); `acc`: one
/// entry for each panel and token.
pub(crate) fn ternary_tile(
    panels: &[Line],
    lines: usize,
    x: &[i8],
    n: usize,
    acc: &mut [[i32; PANEL_ROWS]],
) {
    for (panel, acc) in panels.chunks_exact(lines).zip(acc.chunks_exact_mut(n)) {
        for (t, acc) in acc.iter_mut().enumerate() {
            let row = x.as_chunks::<4>().0.iter().skip(t).step_by(n);
            *acc = panel_times_row(panel, row);
        }
    }
}

/// `row`: the activations in groups of four, as many as the panel has groups.
fn panel_times_row<'a>(
    panel: &[Line],
    mut row: impl Iterator<Item = &'a [i8; 4]>,
) -> [i32; PANEL_ROWS] {
    // |sum| <= 2 x 128 x 2^22 inputs = 2^30.
    let mut sums = [0_i32; PANEL_ROWS];
    for line in panel {
        for (group, x) in row.by_ref().take(LINE_INPUTS / 4).enumerate() {
            for (sum, bytes) in sums.iter_mut().zip(line.0.as_chunks::<4>().0) {
                for (byte, x) in bytes.iter().zip(x) {
                    *sum += i32::from((byte >> (2 * group)) & 3) * i32::from(*x);
                }
            }
        }
    }
    sums
}

/// [`ternary_tile`] for panels that [`trits::encode`] made.
pub(crate) fn trit_tile(
    panels: &[Line],
    lines: usize,
    x: &[i8],
    n: usize,
    acc: &mut [[i32; PANEL_ROWS]],
) {
    let mut two_bits = vec![Line([0; 64]); acc.len() / n * lines];
    trits::decode(panels, lines, &mut two_bits);
    ternary_tile(&two_bits, lines, x, n, acc);
}

/// Sums of code x activation of a panel's rows, for each of two planes of activations; the codes of
/// [`CoarseMatrix`](crate::CoarseMatrix) are stored plus 128.
///
/// `x`: the planes, padded as the panel is; `x_sums`: their sums.
pub(crate) fn coarse_panel(
    panel: &[Line],
    x: [&[i8]; 2],
    x_sums: [i32; 2],
) -> [[i32; PANEL_ROWS]; 2] {
    // |sum| <= 255 x 128 x 2^16 inputs < 2^31.
    let mut sums = x_sums.map(|x_sum| [-128 * x_sum; PANEL_ROWS]);
    for (sums, x) in sums.iter_mut().zip(x) {
        for (line, x) in panel.iter().zip(x.as_chunks::<COARSE_INPUTS>().0) {
            for (sum, codes) in sums.iter_mut().zip(line.0.as_chunks::<COARSE_INPUTS>().0) {
                for (code, x) in codes.iter().zip(x) {
                    *sum += i32::from(*code) * i32::from(*x);
                }
            }
        }
    }
    sums
}
