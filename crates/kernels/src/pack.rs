//! From the files' weight layouts to panels, and back.
//!
//! Every packer makes, for a row and a line, one u32: byte `j` holds the codes of the inputs `4 g + j` in bits `2g`. A panel
//! line is those words of its 16 rows. Where the kernels want weights of 1.6 bits, a panel's lines are coded once all are there.

pub(crate) mod gather;
mod hf;
mod i2s;
mod i2s_arm;
mod iq_bn;
mod master;
mod tiles;
mod tl1;
mod tl2;
mod tq;
mod write;

pub use hf::pack_hf;
pub use i2s::pack_i2s;
pub use i2s_arm::{pack_i2s_arm, write_i2s_arm};
pub use iq_bn::{pack_iq1_bn, pack_iq2_bn, pack_iq2_bn_r4, write_iq1_bn, write_iq2_bn};
pub use master::pack_master;
pub use tiles::{pack_tiles, write_tiles};
pub use tl1::{TlTiles, pack_tl1, write_tl1};
pub use tl2::{pack_tl2, write_tl2};
pub use tq::{pack_tq1_0, pack_tq2_0};
pub use write::{write_hf, write_i2s, write_tq1_0, write_tq2_0};

use std::sync::{Mutex, PoisonError};

use self::gather::PanelSource;
use crate::aligned::{Line, fill_parts};
use crate::ternary::{LINE_INPUTS, MAX_COLS, PANEL_ROWS, Packing, ZERO_LINE};
use crate::{Compute, KernelError, TernaryMatrix};

/// Bytes 0 or 1 in each byte of a word.
const ONES: u128 = 0x0101_0101_0101_0101_0101_0101_0101_0101;

/// Packs codes from any source: `codes(row, out)` writes the codes, 0 to 2, of one row into `out` (`cols` bytes).
///
/// # Errors
/// A code above 2, a scale that is not finite, or a shape that is too large or empty.
pub fn pack_codes<F>(
    compute: &Compute,
    rows: usize,
    cols: usize,
    scale: f32,
    codes: F,
) -> Result<TernaryMatrix, KernelError>
where
    F: Fn(usize, &mut [u8]) + Sync,
{
    pack_rows(compute, rows, cols, scale, |row, buffer, words| {
        words_of_codes(row, cols, buffer, words, &codes)
    })
}

/// The words of a row of `cols` inputs whose codes `codes(row, out)` writes.
fn words_of_codes(
    row: usize,
    cols: usize,
    buffer: &mut Vec<u8>,
    words: &mut [u32],
    codes: impl Fn(usize, &mut [u8]),
) -> Result<(), KernelError> {
    buffer.clear();
    buffer.resize(cols.next_multiple_of(LINE_INPUTS), 1);
    codes(row, &mut buffer[..cols]);
    if buffer.iter().any(|&code| code > 2) {
        return Err(KernelError::InvalidCode { row });
    }
    for (word, codes) in words.iter_mut().zip(buffer.as_chunks::<LINE_INPUTS>().0) {
        *word = line_word(u128::from_le_bytes(*codes));
    }
    Ok(())
}

/// A matrix whose row `i` is the row `order[i]` of another.
///
/// # Errors
/// [`KernelError::Shape`] for another number of rows, or a row that is not there; no memory.
pub fn reorder_rows(
    compute: &Compute,
    matrix: &TernaryMatrix,
    order: &[usize],
) -> Result<TernaryMatrix, KernelError> {
    let (rows, cols) = (matrix.rows(), matrix.cols());
    if order.len() != rows || order.iter().any(|&row| row >= rows) {
        return Err(KernelError::Shape {
            rows: order.len(),
            cols,
        });
    }
    pack_codes(compute, rows, cols, matrix.scale(), |row, codes| {
        matrix.reader().read(order[row], codes);
    })
}

/// The word of 16 codes, one in each byte.
#[inline(always)]
fn line_word(codes: u128) -> u32 {
    line_word_of_halves([codes as u64, (codes >> 64) as u64])
}

/// The same of codes 0 to 7 and 8 to 15.
#[inline(always)]
fn line_word_of_halves([group0, group1]: [u64; 2]) -> u32 {
    let pairs = group0 | group1 << 4;
    pairs as u32 | ((pairs >> 32) as u32) << 2
}

/// Packs row by row: `words(row, buffer, words)` makes the words of one row; `buffer` is scratch that may be of any length.
fn pack_rows<F>(
    compute: &Compute,
    rows: usize,
    cols: usize,
    scale: f32,
    words: F,
) -> Result<TernaryMatrix, KernelError>
where
    F: Fn(usize, &mut Vec<u8>, &mut [u32]) -> Result<(), KernelError> + Sync,
{
    pack_panels(compute, rows, cols, scale, |_| None, words)
}

/// Packs panel by panel where `source(first)` knows the rows from there on in the file, and there is no code 3 among them; else
/// row by row like [`pack_rows`].
fn pack_panels<'a, F>(
    compute: &Compute,
    rows: usize,
    cols: usize,
    scale: f32,
    source: impl Fn(usize) -> Option<PanelSource<'a>> + Sync,
    words: F,
) -> Result<TernaryMatrix, KernelError>
where
    F: Fn(usize, &mut Vec<u8>, &mut [u32]) -> Result<(), KernelError> + Sync,
{
    check(rows, cols, scale)?;
    let by_rows = |first: usize, out: &mut [Line]| {
        let (mut buffer, mut row_words) = (Vec::new(), vec![0_u32; out.len()]);
        out.fill(ZERO_LINE);
        for row in first..rows.min(first + PANEL_ROWS) {
            words(row, &mut buffer, &mut row_words).map_err(|error| (row, error))?;
            for (line, word) in out.iter_mut().zip(&row_words) {
                line.0.as_chunks_mut::<4>().0[row - first] = word.to_le_bytes();
            }
        }
        Ok(())
    };
    let lines = cols.div_ceil(LINE_INPUTS);
    let packing = Packing::of(compute.kernels(), cols);
    let failure = FirstFailure::default();
    let panels = fill_parts(
        compute,
        rows.div_ceil(PANEL_ROWS),
        packing.stored_lines(lines),
        ZERO_LINE,
        |panel, stored| {
            let mut two_bits = vec![ZERO_LINE; lines];
            let out = &mut two_bits;
            let first = panel * PANEL_ROWS;
            let whole = (first + PANEL_ROWS <= rows)
                .then(|| source(first))
                .flatten();
            if whole.is_none_or(|whole| compute.kernels().gather_lines(whole, out))
                && let Err((row, error)) = by_rows(first, out)
            {
                failure.keep(row, error);
                return;
            }
            match packing {
                Packing::TwoBits => stored.copy_from_slice(out),
                Packing::Trits => compute.kernels().encode_trits(out, stored),
            }
        },
    )?;
    failure.into_result()?;
    Ok(TernaryMatrix::new(rows, cols, scale, packing, panels))
}

fn check(rows: usize, cols: usize, scale: f32) -> Result<(), KernelError> {
    if rows == 0 || cols == 0 || cols > MAX_COLS || rows.checked_mul(cols).is_none() {
        return Err(KernelError::Shape { rows, cols });
    }
    if !scale.is_finite() {
        return Err(KernelError::NonFiniteScale { scale });
    }
    Ok(())
}

fn check_length(what: &'static str, expected: usize, bytes: &[u8]) -> Result<(), KernelError> {
    if bytes.len() != expected {
        return Err(KernelError::Length {
            what,
            expected,
            actual: bytes.len(),
        });
    }
    Ok(())
}

fn check_multiple(
    layout: &'static str,
    dimension: &'static str,
    multiple: usize,
    actual: usize,
) -> Result<(), KernelError> {
    if !actual.is_multiple_of(multiple) {
        return Err(KernelError::NotMultiple {
            layout,
            dimension,
            multiple,
            actual,
        });
    }
    Ok(())
}

/// The error of the lowest row, whichever thread came first.
#[derive(Default)]
pub(crate) struct FirstFailure(Mutex<Option<(usize, KernelError)>>);

impl FirstFailure {
    pub(crate) fn keep(&self, row: usize, error: KernelError) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_none_or(|(first, _)| row < *first) {
            *kept = Some((row, error));
        }
    }

    pub(crate) fn into_result(self) -> Result<(), KernelError> {
        match self.0.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }
}
