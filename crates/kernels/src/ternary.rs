use crate::aligned::Line;

/// Rows of a panel.
pub const PANEL_ROWS: usize = 16;

/// Inputs of a line.
pub(crate) const LINE_INPUTS: usize = 16;

/// Token rows that one call of the product takes at most.
pub(crate) const TOKEN_TILE: usize = 12;

/// Panels that one call of the product takes at most.
pub(crate) const PANEL_TILE: usize = 2;

/// A line whose codes are all 1: weights of zero.
pub(crate) const ZERO_LINE: Line = Line([0b01_01_01_01; 64]);

/// Inputs above which a sum of products might leave an i32 (2 x 128 x 2^22 = 2^30).
pub(crate) const MAX_COLS: usize = 1 << 22;

/// Ternary weights, two bits each, in panels of 16 rows; one layout for every instruction set.
///
/// Rows and inputs are padded to multiples of 16 with weights of zero. Panel `p` holds the rows `16p..16p + 16` in one 64-byte
/// line per 16 inputs: byte `4 r + j` of line `b` holds in its bits `2g` and `2g + 1` (`g` = 0..4) the code, weight + 1, of row
/// `r` and input `16 b + 4 g + j`. So one shift and one mask of a line leave four neighbouring inputs for each of 16 rows, just
/// what a four-way byte dot product takes beside four broadcast activations.
pub struct TernaryMatrix {
    rows: usize,
    cols: usize,
    scale: f32,
    lines: Vec<Line>,
}

impl TernaryMatrix {
    /// `lines`: all panels in order, with codes 0 to 2 only.
    pub(crate) fn new(rows: usize, cols: usize, scale: f32, lines: Vec<Line>) -> Self {
        debug_assert_eq!(
            lines.len(),
            rows.div_ceil(PANEL_ROWS) * cols.div_ceil(LINE_INPUTS)
        );
        Self {
            rows,
            cols,
            scale,
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

    /// Bytes of the panels.
    pub fn bytes(&self) -> usize {
        size_of_val(self.lines.as_slice())
    }

    /// Whether no weight differs from zero.
    pub fn is_zero(&self) -> bool {
        self.lines.iter().all(|line| line.0 == ZERO_LINE.0)
    }

    /// All weights as numbers, `[rows][cols]`, by the plainest possible reading of the layout: for tests.
    pub fn dequantize(&self) -> Vec<f32> {
        let mut weights = Vec::with_capacity(self.rows * self.cols);
        for row in 0..self.rows {
            for col in 0..self.cols {
                let line = &self.lines[row / PANEL_ROWS * self.panel_lines() + col / LINE_INPUTS];
                let byte = line.0[4 * (row % PANEL_ROWS) + col % 4];
                let code = byte >> (2 * (col % LINE_INPUTS / 4)) & 3;
                weights.push((f32::from(code) - 1.0) * self.scale);
            }
        }
        weights
    }

    /// Lines of one panel.
    pub(crate) fn panel_lines(&self) -> usize {
        self.cols.div_ceil(LINE_INPUTS)
    }

    /// Panels, the last of which may be partly padding.
    pub(crate) fn panels(&self) -> usize {
        self.rows.div_ceil(PANEL_ROWS)
    }

    /// The lines of `count` panels from `first` on.
    pub(crate) fn panels_at(&self, first: usize, count: usize) -> &[Line] {
        &self.lines[first * self.panel_lines()..(first + count) * self.panel_lines()]
    }
}
