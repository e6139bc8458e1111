//! The output head: from hidden states to logits.

use llm_kernels::{CoarseMatrix, Compute, MAX_TOP};

use crate::HeadMode;
use crate::linear::DenseTensor;
use crate::logits::Logits;

/// Vocabularies below this size are multiplied whole: the search would not pay.
const MIN_SEARCHED_ROWS: usize = 8192;

/// Bits of a weight below which a copy of 8 bits would take much more memory than the file. The search itself is faster than any
/// type's whole product: Q8_0 and Q4_0 take 2.5 times as long, the types of 256 a block 4 to 8 times.
const MIN_SEARCHED_BITS: f64 = 6.0;

/// The head's weights, and a rounded copy to find the largest logits with.
pub(crate) struct Head {
    weights: DenseTensor,
    coarse: Option<CoarseMatrix>,
}

impl Head {
    /// The head of `weights`. With [`HeadMode::Auto`], and a vocabulary that is large enough, it gets a rounded copy, and the mapped
    /// pages of the weights themselves, of which only a few rows are read from then on, need not stay in memory.
    pub(crate) fn new(weights: DenseTensor, mode: HeadMode, compute: &Compute) -> Self {
        let view = weights.view();
        let worth_it =
            view.rows() >= MIN_SEARCHED_ROWS && weights.bits_per_weight() >= MIN_SEARCHED_BITS;
        let coarse = (mode == HeadMode::Auto && worth_it)
            .then(|| CoarseMatrix::new(compute, &view, &|rows| weights.release_rows(rows)))
            .flatten();
        if coarse.is_some() {
            weights.release();
        }
        Self { weights, coarse }
    }

    /// Whether the largest logits are looked for.
    pub(crate) fn is_searched(&self) -> bool {
        self.coarse.is_some()
    }

    /// Bytes of the rounded copy.
    pub(crate) fn coarse_bytes(&self) -> usize {
        self.coarse.as_ref().map_or(0, CoarseMatrix::bytes)
    }

    /// Bytes of the full-precision weights in the file.
    pub(crate) fn weight_bytes(&self) -> usize {
        self.weights.n_bytes()
    }

    /// Bytes that a decoded token reads, but for the few rows that the search looks at closely.
    pub(crate) fn bytes_per_token(&self) -> usize {
        self.coarse
            .as_ref()
            .map_or_else(|| self.weights.n_bytes(), CoarseMatrix::bytes_per_search)
    }

    /// For people: what the head is.
    pub(crate) fn describe(&self) -> String {
        let name = self.weights.type_name();
        match self.coarse {
            Some(_) => format!("{name}, searched through an int8 copy with a proved bound"),
            None => name.to_owned(),
        }
    }

    /// All logits of `n` hidden rows, `[n][n_embd]`.
    pub(crate) fn all(&self, compute: &Compute, hidden: &[f32], n: usize, logits: &mut Logits) {
        let view = self.weights.view();
        compute.dense_matmul(&view, hidden, n, logits.reset(n, view.rows()));
    }

    /// The `k` largest logits of each of `n` hidden rows, or all where finding them would not pay.
    pub(crate) fn top(
        &self,
        compute: &Compute,
        hidden: &[f32],
        n: usize,
        k: usize,
        logits: &mut Logits,
    ) {
        if let Some(coarse) = &self.coarse
            && (1..=MAX_TOP).contains(&k)
            && logits.search(n, |lists| {
                let exact = |row: usize, bytes: &mut [u8]| self.weights.read_row(row, bytes);
                compute.top_rows(coarse, &exact, hidden, n, k, lists)
            })
        {
            return;
        }
        self.all(compute, hidden, n, logits);
    }
}
