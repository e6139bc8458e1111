use std::borrow::Cow;

use crate::aligned::Line;
use crate::memory::Lines;
use crate::{KernelError, Kernels, trits};

/// Rows of a panel.
pub const PANEL_ROWS: usize = 16;

/// Inputs of a line.
pub(crate) const LINE_INPUTS: usize = 16;

/// Token rows that one call of the product takes at most.
pub(crate) const TOKEN_TILE: usize = 12;

/// Token rows that one call of the product with coded panels takes at most.
pub(crate) const MAX_TRIT_ROWS: usize = 4;

/// Panels that one call of the product takes at most.
pub(crate) const PANEL_TILE: usize = 2;

/// A line whose codes are all 1: weights of zero.
pub(crate) const ZERO_LINE: Line = Line([0b01_01_01_01; 64]);

/// Inputs above which a sum of products might leave an i32 (2 x 128 x 2^22 = 2^30).
pub(crate) const MAX_COLS: usize = 1 << 22;

/// Inputs above which panels keep two bits a weight: the coded products' sums stand up to 64 times too large in their i32.
pub(crate) const MAX_CODED_COLS: usize = 1 << 18;

/// How a matrix's panels are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// Two bits a weight.
    TwoBits,
    /// 1.6 bits a weight: [`trits`].
    Trits,
}

impl Packing {
    /// The one that `kernels` multiply the fastest.
    pub(crate) fn of(kernels: Kernels, cols: usize) -> Self {
        if kernels.prefers_trits() && cols <= MAX_CODED_COLS {
            Self::Trits
        } else {
            Self::TwoBits
        }
    }

    /// Lines in which a panel of `lines` two-bit lines is stored.
    pub(crate) fn stored_lines(self, lines: usize) -> usize {
        match self {
            Self::TwoBits => lines,
            Self::Trits => trits::coded_lines(lines),
        }
    }
}

/// Ternary weights in panels of 16 rows; one layout of activations serves every instruction set.
///
/// Rows and inputs are padded to multiples of 16 with weights of zero. Panel `p` holds the rows `16p..16p + 16` in one 64-byte
/// line per 16 inputs: byte `4 r + j` of line `b` holds in its bits `2g` and `2g + 1` (`g` = 0..4) the code, weight + 1, of row
/// `r` and input `16 b + 4 g + j`. So one shift and one mask of a line leave four neighbouring inputs for each of 16 rows, just
/// what a four-way byte dot product takes beside four broadcast activations.
///
/// For kernels that unpack them in registers, [`Isa::Avx512Vbmi`](crate::Isa::Avx512Vbmi), five such lines are stored as four,
/// at 1.6 bits a weight (see `trits.rs`). Every instruction set multiplies both.
pub struct TernaryMatrix {
    rows: usize,
    cols: usize,
    scale: f32,
    packing: Packing,
    lines: Lines,
}

impl TernaryMatrix {
    /// Bytes that a matrix of `rows` x `cols` takes where `kernels` multiply it.
    #[must_use]
    pub fn bytes_of(kernels: Kernels, rows: usize, cols: usize) -> u64 {
        let lines = Packing::of(kernels, cols).stored_lines(cols.div_ceil(LINE_INPUTS));
        let panels = rows.div_ceil(PANEL_ROWS) as u64;
        panels
            .saturating_mul(lines as u64)
            .saturating_mul(size_of::<Line>() as u64)
    }

    /// `lines`: all panels in order, with codes 0 to 2 only, packed as [`Packing::of`] says.
    pub(crate) fn new(
        rows: usize,
        cols: usize,
        scale: f32,
        packing: Packing,
        lines: Lines,
    ) -> Self {
        debug_assert_eq!(
            lines.len(),
            rows.div_ceil(PANEL_ROWS) * packing.stored_lines(cols.div_ceil(LINE_INPUTS))
        );
        Self {
            rows,
            cols,
            scale,
            packing,
            lines,
        }
    }

    /// Output features.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Input features.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// What a weight of +1 stands for.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// The same weights with another scale.
    ///
    /// # Errors
    /// A scale that is not finite.
    pub fn with_scale(self, scale: f32) -> Result<Self, KernelError> {
        if scale.is_finite() {
            Ok(Self { scale, ..self })
        } else {
            Err(KernelError::NonFiniteScale { scale })
        }
    }

    /// Bytes of the panels.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.lines)
    }

    /// Whether no weight differs from zero.
    pub fn is_zero(&self) -> bool {
        (0..self.panels()).all(|p| {
            let panel = self.two_bit_panel(p);
            panel.iter().all(|line| line.0 == ZERO_LINE.0)
        })
    }

    /// Whether another matrix, packed by the same kernels, has the same shape and codes; scales are not looked at.
    pub fn same_codes(&self, other: &Self) -> bool {
        let same = |(a, b): (&Line, &Line)| a.0 == b.0;
        (self.rows, self.cols, self.packing) == (other.rows, other.cols, other.packing)
            && self.lines.iter().zip(&*other.lines).all(same)
    }

    /// Writes the codes of a row, weight + 1, to `codes`, as long as the row.
    pub fn read_row(&self, row: usize, codes: &mut [u8]) {
        self.reader().read(row, codes);
    }

    /// All weights as numbers, `[rows][cols]`, by the plainest possible reading of the layout: for tests.
    pub fn dequantize(&self) -> Vec<f32> {
        let mut weights = Vec::with_capacity(self.rows * self.cols);
        for row in 0..self.rows {
            let panel = self.two_bit_panel(row / PANEL_ROWS);
            for col in 0..self.cols {
                let byte = panel[col / LINE_INPUTS].0[4 * (row % PANEL_ROWS) + col % 4];
                let code = byte >> (2 * (col % LINE_INPUTS / 4)) & 3;
                weights.push((f32::from(code) - 1.0) * self.scale);
            }
        }
        weights
    }

    /// Reads rows of codes, however the panels are stored. Rows one after another cost the least.
    pub(crate) fn reader(&self) -> RowReader<'_> {
        RowReader {
            matrix: self,
            panel: Cow::Borrowed(&[]),
            index: None,
        }
    }

    /// How the panels are stored.
    pub(crate) fn packing(&self) -> Packing {
        self.packing
    }

    /// Two-bit lines of one panel.
    pub(crate) fn panel_lines(&self) -> usize {
        self.cols.div_ceil(LINE_INPUTS)
    }

    /// Bytes in which a panel is stored.
    pub(crate) fn panel_bytes(&self) -> usize {
        self.packing.stored_lines(self.panel_lines()) * size_of::<Line>()
    }

    /// Panels, the last of which may be partly padding.
    pub(crate) fn panels(&self) -> usize {
        self.rows.div_ceil(PANEL_ROWS)
    }

    /// The lines of `count` panels from `first` on, as they are stored.
    pub(crate) fn panels_at(&self, first: usize, count: usize) -> &[Line] {
        let stored = self.packing.stored_lines(self.panel_lines());
        &self.lines[first * stored..(first + count) * stored]
    }

    /// The two-bit lines of a panel.
    pub(crate) fn two_bit_panel(&self, index: usize) -> Cow<'_, [Line]> {
        let panel = self.panels_at(index, 1);
        match self.packing {
            Packing::TwoBits => Cow::Borrowed(panel),
            Packing::Trits => {
                let mut two_bits = vec![ZERO_LINE; self.panel_lines()];
                trits::decode(panel, self.panel_lines(), &mut two_bits);
                Cow::Owned(two_bits)
            }
        }
    }
}

/// The panel that rows were last read from.
pub(crate) struct RowReader<'a> {
    matrix: &'a TernaryMatrix,
    panel: Cow<'a, [Line]>,
    /// Which panel it is.
    index: Option<usize>,
}

impl RowReader<'_> {
    /// Writes the codes of a row, weight + 1, to `codes`, as long as the row.
    pub(crate) fn read(&mut self, row: usize, codes: &mut [u8]) {
        let index = row / PANEL_ROWS;
        if self.index != Some(index) {
            self.panel = self.matrix.two_bit_panel(index);
            self.index = Some(index);
        }
        let word = |line: &Line| u32::from_le_bytes(line.0.as_chunks::<4>().0[row % PANEL_ROWS]);
        let group = |word: u32, g: usize| (word >> (2 * g) & 0x0303_0303).to_le_bytes();
        let (whole, tail) = codes.as_chunks_mut::<LINE_INPUTS>();
        for (codes, line) in whole.iter_mut().zip(self.panel.iter()) {
            for (g, codes) in codes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                *codes = group(word(line), g);
            }
        }
        if let (Some(line), false) = (self.panel.last(), tail.is_empty()) {
            for (g, codes) in tail.chunks_mut(4).enumerate() {
                codes.copy_from_slice(&group(word(line), g)[..codes.len()]);
            }
        }
    }
}
