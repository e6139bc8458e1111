//! What a forward pass says of the next tokens.

use llm_kernels::TopRows;

/// The logits of a pass, row after row; the buffers are kept from pass to pass.
#[derive(Debug, Default)]
pub struct Logits {
    n_vocab: usize,
    n_rows: usize,
    /// Whether the rows are in `top`.
    searched: bool,
    /// Whole rows, one after another.
    all: Vec<f32>,
    /// The largest logits of each row.
    top: Vec<TopRows>,
}

/// The logits of one token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LogitsRow<'a> {
    /// Of the whole vocabulary, `[n_vocab]`.
    All(&'a [f32]),
    /// Of some ids, rising: among them the largest ones that were asked for.
    Top(&'a [(u32, f32)]),
}

impl Logits {
    /// The rows, in the order in which they were asked for.
    pub fn rows(&self) -> impl Iterator<Item = LogitsRow<'_>> {
        (0..self.n_rows).map(|row| {
            if self.searched {
                LogitsRow::Top(&self.top[row])
            } else {
                LogitsRow::All(&self.all[row * self.n_vocab..(row + 1) * self.n_vocab])
            }
        })
    }

    /// All logits of all rows, `[rows][n_vocab]`; empty after a pass that asked for the largest ones only and got them.
    #[must_use]
    pub fn all(&self) -> &[f32] {
        if self.searched { &[] } else { &self.all }
    }

    /// Makes room for `n_rows` whole rows, to be filled: `[n_rows][n_vocab]`.
    pub fn reset(&mut self, n_rows: usize, n_vocab: usize) -> &mut [f32] {
        (self.n_rows, self.n_vocab, self.searched) = (n_rows, n_vocab, false);
        self.all.resize(n_rows * n_vocab, 0.0);
        &mut self.all
    }

    /// Has `search` fill one list a row; `false`, and no rows, when it does not.
    pub(crate) fn search(
        &mut self,
        n_rows: usize,
        search: impl FnOnce(&mut Vec<TopRows>) -> bool,
    ) -> bool {
        self.searched = search(&mut self.top);
        self.n_rows = if self.searched { n_rows } else { 0 };
        self.searched
    }
}
