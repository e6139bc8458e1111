//! The kernels in portable Rust: what every instruction set's kernels must equal bit for bit.

use crate::aligned::Line;
use crate::coarse::{BLOCK_INPUTS, BLOCK_LINES, FINE_INPUTS};
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

/// `acc[t][r]` = sum of code x activation of row `r` of a panel of [`CoarseMatrix`](crate::CoarseMatrix) and plane `t`; codes
/// count from zero.
///
/// `x`: a tile of `n` planes: the inputs `4 i..4 i + 4` of all of them, plane after plane, at byte `4 i n`.
pub(crate) fn coarse_tile(panel: &[Line], x: &[i8], n: usize, acc: &mut [[i32; PANEL_ROWS]]) {
    // |sum| <= 63 x 128 x 2^16 inputs < 2^31.
    acc.fill([0; PANEL_ROWS]);
    let blocks = panel.as_chunks::<BLOCK_LINES>().0;
    for (block, x) in blocks.iter().zip(x.chunks_exact(BLOCK_INPUTS * n)) {
        for (codes, x) in block_codes(block).iter().zip(x.chunks_exact(4 * n)) {
            for (sums, x) in acc.iter_mut().zip(x.as_chunks::<4>().0) {
                for (sum, codes) in sums.iter_mut().zip(codes.as_chunks::<4>().0) {
                    for (code, x) in codes.iter().zip(x) {
                        *sum += i32::from(*code) * i32::from(*x);
                    }
                }
            }
        }
    }
}

/// The codes of a block: four groups of four inputs of the 16 rows.
fn block_codes(block: &[Line; BLOCK_LINES]) -> [[u8; 64]; 4] {
    let [a, b, c] = block.map(|line| line.0);
    let low = |line: [u8; 64]| line.map(|byte| byte & 63);
    let last = std::array::from_fn(|i| a[i] >> 6 | b[i] >> 6 << 2 | c[i] >> 6 << 4);
    [low(a), low(b), low(c), last]
}

/// Sum of fine code x activation of one row, for each of two planes of activations.
///
/// `fine`: the row's fine codes as [`CoarseMatrix`](crate::CoarseMatrix) keeps them; `x`: as many activations a plane;
/// `ahead`: a row that may be wanted soon, to be asked for.
pub(crate) fn fine_sums(fine: &[Line], _ahead: &[Line], x: [&[i8]; 2]) -> [i32; 2] {
    // |sum| <= 3 x 128 x 2^16 inputs < 2^25.
    x.map(|x| {
        let mut sum = 0;
        for (line, x) in fine.iter().zip(x.chunks_exact(FINE_INPUTS)) {
            for (group, x) in x.as_chunks::<64>().0.iter().enumerate() {
                for (byte, x) in line.0.iter().zip(x) {
                    sum += i32::from(byte >> (2 * group) & 3) * i32::from(*x);
                }
            }
        }
        sum
    })
}
