//! The kernels in portable Rust: what every instruction set's kernels must equal bit for bit.

use crate::aligned::Line;
use crate::simd::Scalar;
use crate::ternary::{LINE_INPUTS, PANEL_ROWS};

crate::dispatch::float_kernels!(Scalar,);

/// `acc[p * n + t][r]` = sum of code x activation of panel `p`, row `r` and token `t`.
///
/// `panels`: whole panels of `lines` lines; `x`: `n` rows, `stride` bytes apart; `acc`: one entry a panel and token.
pub(crate) fn ternary_tile(
    panels: &[Line],
    lines: usize,
    x: &[i8],
    stride: usize,
    n: usize,
    acc: &mut [[i32; PANEL_ROWS]],
) {
    for (panel, acc) in panels.chunks_exact(lines).zip(acc.chunks_exact_mut(n)) {
        for (t, acc) in acc.iter_mut().enumerate() {
            *acc = panel_times_row(panel, &x[t * stride..]);
        }
    }
}

fn panel_times_row(panel: &[Line], x: &[i8]) -> [i32; PANEL_ROWS] {
    // |sum| <= 2 x 128 x 2^22 inputs = 2^30.
    let mut sums = [0_i32; PANEL_ROWS];
    for (line, x) in panel.iter().zip(x.as_chunks::<LINE_INPUTS>().0) {
        for (sum, bytes) in sums.iter_mut().zip(line.0.as_chunks::<4>().0) {
            for group in 0..4 {
                for (j, byte) in bytes.iter().enumerate() {
                    *sum += i32::from(byte >> (2 * group) & 3) * i32::from(x[4 * group + j]);
                }
            }
        }
    }
    sums
}
