use super::gather::{CodeOrder, PanelSource};
use super::{ONES, check, check_length, check_multiple, line_word_of_halves, pack_panels};
use crate::ternary::{LINE_INPUTS, PANEL_ROWS};
use crate::{Compute, KernelError, TernaryMatrix};

/// Packs the uint8 tensors of Hugging Face checkpoints: `[rows / 4][cols]` bytes, of which byte `[r][k]` holds the codes of the
/// rows `r`, `r + rows / 4`, `r + 2 rows / 4` and `r + 3 rows / 4` of column `k`, low bits first.
///
/// # Errors
/// A length that does not fit, a code 3, or a scale that is not finite.
pub fn pack_hf(
    compute: &Compute,
    rows: usize,
    cols: usize,
    scale: f32,
    bytes: &[u8],
) -> Result<TernaryMatrix, KernelError> {
    check(rows, cols, scale)?;
    check_multiple("packed uint8", "rows", 4, rows)?;
    check_length("packed uint8 weights", rows / 4 * cols, bytes)?;
    let panel = |first: usize| {
        let (quarter, source) = (first / (rows / 4), first % (rows / 4));
        let is_whole = source + PANEL_ROWS <= rows / 4 && cols.is_multiple_of(LINE_INPUTS);
        is_whole.then(|| PanelSource {
            bytes: &bytes[source * cols..(source + PANEL_ROWS) * cols],
            stride: cols,
            order: CodeOrder::Plane {
                shift: 2 * quarter as u32,
            },
        })
    };
    pack_panels(compute, rows, cols, scale, panel, |row, _, words| {
        let (quarter, source) = (row / (rows / 4), row % (rows / 4));
        let bytes = &bytes[source * cols..][..cols];
        let (chunks, tail) = bytes.as_chunks::<LINE_INPUTS>();
        let mut high_and_low = 0;
        // Codes stay within their bytes, so the halves of a line are shifted apart: 128 bits by a variable take branches.
        let mut word_of = |bytes: &[u8; LINE_INPUTS]| {
            let codes = [0, 8].map(|at| {
                u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i])) >> (2 * quarter)
                    & (3 * ONES as u64)
            });
            high_and_low |= codes[0] & codes[0] >> 1 | codes[1] & codes[1] >> 1;
            line_word_of_halves(codes)
        };
        for (word, chunk) in words.iter_mut().zip(chunks) {
            *word = word_of(chunk);
        }
        if let Some(word) = words.get_mut(chunks.len()) {
            let mut last = [0b01_01_01_01; LINE_INPUTS];
            last[..tail.len()].copy_from_slice(tail);
            *word = word_of(&last);
        }
        if high_and_low & ONES as u64 != 0 {
            Err(KernelError::InvalidCode { row })
        } else {
            Ok(())
        }
    })
}
