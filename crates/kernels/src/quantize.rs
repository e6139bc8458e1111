use std::ops::Range;

use crate::Compute;
use crate::compute::FORK_ELEMENTS;
use crate::disjoint::DisjointMut;
use crate::ternary::LINE_INPUTS;

/// Smallest absolute maximum that a row is scaled by, so that a row of zeros stays finite.
const MIN_ABSMAX: f32 = 1e-5;

/// Activations that a dot product instruction takes at once.
const GROUP: usize = 4;

/// Token rows rounded to int8, each by its own scale; the buffers are kept from call to call.
///
/// Per row: `scale = 127 / max(absmax, 1e-5)` in f32 and `q = clamp(round_half_even(x * scale), -128, 127)`, as the ternary
/// models were trained. A row with a NaN or an infinity gets a scale that makes its products NaN or infinite.
///
/// The rows lie in tiles of at most 12, or fewer where the kernels want it so, as even as can be. A tile of `w` rows holds the
/// inputs `4 i..4 i + 4` of all its rows, row after row, at byte `4 i w`, so that a kernel reads it from end to end; a single row
/// lies as it is.
#[derive(Debug, Default)]
pub struct QuantizedRows {
    n: usize,
    cols: usize,
    /// Rows of a tile at most.
    tile_rows: usize,
    data: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<i32>,
}

impl QuantizedRows {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Rows.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Numbers of a row, without padding.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// A copy of row `i`, padded with zeros to a multiple of 16: for tests.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn row(&self, i: usize) -> Vec<i8> {
        let tile = self.tiles().find(|tile| tile.contains(&i)).unwrap_or(i..i);
        let groups = self.tile_data(&tile).as_chunks::<GROUP>().0;
        groups
            .iter()
            .skip(i - tile.start)
            .step_by(tile.len())
            .flatten()
            .copied()
            .collect()
    }

    /// What row `i` was multiplied by before rounding.
    pub fn scale(&self, i: usize) -> f32 {
        self.scales[i]
    }

    /// The sum of row `i`.
    pub fn sum(&self, i: usize) -> i32 {
        self.sums[i]
    }

    /// Rows of a tile at most.
    pub(crate) fn tile_rows(&self) -> usize {
        self.tile_rows
    }

    /// The rows of each tile.
    pub(crate) fn tiles(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (n, count) = (self.n, self.n.div_ceil(self.tile_rows.max(1)));
        (0..count).map(move |i| i * n / count..(i + 1) * n / count)
    }

    /// The activations of a tile.
    pub(crate) fn tile_data(&self, tile: &Range<usize>) -> &[i8] {
        let padded = self.cols.next_multiple_of(LINE_INPUTS);
        &self.data[tile.start * padded..tile.end * padded]
    }
}

impl Compute {
    /// Rounds `n` rows of `cols` numbers to int8; see [`QuantizedRows`].
    pub fn quantize_rows(&self, x: &[f32], n: usize, cols: usize, out: &mut QuantizedRows) {
        assert_eq!(x.len(), n * cols, "x is not [n][cols]");
        let padded = cols.next_multiple_of(LINE_INPUTS);
        (out.n, out.cols) = (n, cols);
        out.tile_rows = self.kernels().tile_rows(n);
        out.data.resize(n * padded, 0);
        out.scales.resize(n, 0.0);
        out.sums.resize(n, 0);
        let tiles: Vec<_> = out.tiles().collect();
        let data = DisjointMut::new(&mut out.data);
        let scales = DisjointMut::new(&mut out.scales);
        let sums = DisjointMut::new(&mut out.sums);
        self.pool().run(
            tiles.len(),
            FORK_ELEMENTS.div_ceil(out.tile_rows * padded.max(1)),
            &|range| {
                for tile in &tiles[range] {
                    // SAFETY: the pool hands out every tile once, and tiles do not overlap.
                    let data = unsafe { data.slice(tile.start * padded..tile.end * padded) };
                    // SAFETY: as above.
                    let scales = unsafe { scales.slice(tile.clone()) };
                    // SAFETY: as above.
                    let sums = unsafe { sums.slice(tile.clone()) };
                    for (t, row) in tile.clone().enumerate() {
                        let x = &x[row * cols..(row + 1) * cols];
                        scales[t] = scale_of(self.kernels().absmax(x));
                        sums[t] = self.quantize_row(x, scales[t], t, tile.len(), data);
                    }
                }
            },
        );
    }

    /// Rounds a row into place `t` of a tile of `width` rows; returns its sum.
    fn quantize_row(&self, x: &[f32], scale: f32, t: usize, width: usize, tile: &mut [i8]) -> i32 {
        /// Numbers rounded at a time.
        const BLOCK: usize = 512;
        let mut sum = 0;
        for (x, tile) in x.chunks(BLOCK).zip(tile.chunks_mut(BLOCK * width)) {
            let mut rounded = [0; BLOCK];
            sum += self.kernels().quantize(x, scale, &mut rounded);
            let places = tile
                .as_chunks_mut::<GROUP>()
                .0
                .iter_mut()
                .skip(t)
                .step_by(width);
            for (place, group) in places.zip(rounded.as_chunks::<GROUP>().0) {
                *place = *group;
            }
        }
        sum
    }
}

/// The scale of a row whose largest magnitude is `absmax`; NaN stays NaN.
fn scale_of(absmax: f32) -> f32 {
    127.0
        / if absmax < MIN_ABSMAX {
            MIN_ABSMAX
        } else {
            absmax
        }
}
