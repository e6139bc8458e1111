use super::write::{SCALE_TAIL, scale_tail, zeros};
use super::{FirstFailure, check, check_length};
use crate::aligned::{Line, fill_parts};
use crate::disjoint::DisjointMut;
use crate::ternary::{LINE_INPUTS, PANEL_ROWS, Packing, ZERO_LINE};
use crate::{Compute, KernelError, TernaryMatrix};

/// The lower bit of each code of a byte.
const LOWER: u8 = 0b01_01_01_01;

/// Takes tiles, the panels of [`TernaryMatrix`] as they are, at two bits a weight on every processor: one after another, each a
/// line of 64 bytes for 16 inputs; one f32 scale for the tensor behind them, within a tail of 32 bytes.
///
/// ```text
/// line b of panel p, byte 4 r + j = c[0] | c[1] << 2 | c[2] << 4 | c[3] << 6
/// c[g]: weight + 1 of row 16 p + r and input 16 b + 4 g + j; 1 where there is no such row or input
/// ```
///
/// Any shape has tiles, and each matrix has only one form: other codes than 0 to 2 are refused, and so is a padding other than 1.
///
/// # Errors
/// A length that does not fit, a code that stands for nothing, a shape that is empty or too large, or a scale that is not finite.
pub fn pack_tiles(
    compute: &Compute,
    rows: usize,
    cols: usize,
    bytes: &[u8],
) -> Result<TernaryMatrix, KernelError> {
    check(rows, cols, 0.0)?;
    let (panels, lines) = (rows.div_ceil(PANEL_ROWS), cols.div_ceil(LINE_INPUTS));
    let expected = panels
        .checked_mul(lines * size_of::<Line>())
        .and_then(|len| len.checked_add(SCALE_TAIL))
        .ok_or(KernelError::Shape { rows, cols })?;
    check_length("tiles", expected, bytes)?;
    let (tiles, tail) = bytes.split_at(expected - SCALE_TAIL);
    let scale = f32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]);
    check(rows, cols, scale)?;
    let tiles = tiles.as_chunks::<{ size_of::<Line>() }>().0;
    let packing = Packing::of(compute.kernels(), cols);
    let failure = FirstFailure::default();
    let stored_lines = packing.stored_lines(lines);
    let stored = fill_parts(compute, panels, stored_lines, ZERO_LINE, |index, stored| {
        let panel = &tiles[index * lines..(index + 1) * lines];
        if let Some(row) = invalid_row(panel, rows - index * PANEL_ROWS, cols) {
            let row = (index * PANEL_ROWS + row).min(rows - 1);
            failure.keep(row, KernelError::InvalidCode { row });
            return;
        }
        let panel = panel.iter().map(|line| Line(*line));
        match packing {
            Packing::TwoBits => {
                for (stored, line) in stored.iter_mut().zip(panel) {
                    *stored = line;
                }
            }
            Packing::Trits => {
                let two_bits: Vec<Line> = panel.collect();
                compute.kernels().encode_trits(&two_bits, stored);
            }
        }
    })?;
    failure.into_result()?;
    Ok(TernaryMatrix::new(rows, cols, scale, packing, stored))
}

/// The first row of a panel with a code 3, or with a padding other than 1; `rows`: those of the matrix from this panel on.
fn invalid_row(panel: &[[u8; 64]], rows: usize, cols: usize) -> Option<usize> {
    let threes = |byte: u8| byte & byte >> 1 & LOWER;
    let used = cols - (panel.len() - 1) * LINE_INPUTS;
    if rows >= PANEL_ROWS && used == LINE_INPUTS {
        let codes = panel.as_flattened().iter();
        if codes.fold(0, |found, &byte| found | threes(byte)) == 0 {
            return None;
        }
    }
    let padding = |line: usize, at: usize| {
        let is_outside = |g: &u8| {
            at / 4 >= rows || (line + 1 == panel.len() && 4 * usize::from(*g) + at % 4 >= used)
        };
        let outside = (0..4).filter(is_outside);
        outside.fold(0, |mask, g| mask | 3 << (2 * g))
    };
    let bytes = panel.as_flattened().iter().enumerate();
    let bad = bytes.filter(|&(index, &byte)| {
        let (line, at) = (index / size_of::<Line>(), index % size_of::<Line>());
        threes(byte) != 0 || (byte ^ LOWER) & padding(line, at) != 0
    });
    bad.map(|(index, _)| index % size_of::<Line>() / 4).min()
}

/// Writes tiles.
///
/// # Errors
/// No memory.
pub fn write_tiles(compute: &Compute, matrix: &TernaryMatrix) -> Result<Vec<u8>, KernelError> {
    let panel_bytes = matrix.panel_lines() * size_of::<Line>();
    let mut bytes = zeros(matrix.panels() * panel_bytes + SCALE_TAIL)?;
    let (body, tail) = bytes.split_at_mut(matrix.panels() * panel_bytes);
    tail.copy_from_slice(&scale_tail(matrix.scale()));
    let body = DisjointMut::new(body);
    compute.pool().run(matrix.panels(), 1, &|panels| {
        for index in panels {
            // SAFETY: the pool hands out every panel once, and panels do not overlap.
            let bytes = unsafe { body.slice(index * panel_bytes..(index + 1) * panel_bytes) };
            let lines = bytes.as_chunks_mut::<{ size_of::<Line>() }>().0;
            for (bytes, line) in lines.iter_mut().zip(matrix.two_bit_panel(index).iter()) {
                *bytes = line.0;
            }
        }
    });
    Ok(bytes)
}
