//! The vector's side of the search.

use super::{BLOCK_INPUTS, ESTIMATE_ROUNDING, FINE_INPUTS, UNIT_ROUNDOFF, WIDEN};
use crate::Kernels;
use crate::simd::LANES;

/// The largest magnitude below which a plane is left to its bound: its scale would not be a normal number.
const MIN_PLANE: f32 = 1e-30;

/// The largest norm of a vector, and of a vector times that of a row, with which no estimate overflows.
const MAX_NORM: f32 = 1e30;

/// A vector rounded to two planes of int8, and what the error bound needs of it.
pub(crate) struct Input {
    pub(crate) planes: [Plane; 2],
    norm: f32,
    /// What a row's width has for each unit of its norm.
    per_norm: f32,
    /// What a row's width has for each unit of what its rounding lost.
    per_lost: f32,
}

/// A rounded vector.
pub(crate) struct Plane {
    /// Codes, padded with zeros to a multiple of [`FINE_INPUTS`].
    pub(crate) codes: Vec<i8>,
    /// The sum of the codes.
    pub(crate) sum: i32,
    /// What a code of one stands for.
    pub(crate) unit: f32,
}

impl Input {
    /// `x` in `planes` planes; with one, the second is all zeros.
    pub(crate) fn new(kernels: Kernels, x: &[f32], planes: usize) -> Self {
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt() as f32 * WIDEN;
        let mut rest: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        let whole = norm(&rest);
        let high = Plane::of(kernels, &mut rest);
        let low = if planes == 2 {
            Plane::of(kernels, &mut rest)
        } else {
            Plane::zeros(high.codes.len())
        };
        let lost = norm(&rest);
        // One product, the additions of a lane, five folds; doubled for good measure.
        let roundings = (1 + x.len().div_ceil(LANES) + 5) as f32;
        let gamma = 2.0 * roundings * UNIT_ROUNDOFF + ESTIMATE_ROUNDING;
        Self {
            planes: [high, low],
            norm: whole,
            per_norm: (lost + gamma * whole) * WIDEN,
            per_lost: (lost + whole) * WIDEN,
        }
    }

    /// How far a row's product may lie from its estimate; `lost`: the norm of what the row's rounding lost.
    #[inline(always)]
    pub(crate) fn width(&self, norm: f32, lost: f32) -> f32 {
        norm * self.per_norm + lost * self.per_lost + f32::MIN_POSITIVE
    }

    /// Whether estimates of products with rows whose norms are at most `max_norm` are what the bound takes them for.
    pub(crate) fn suits(&self, max_norm: f32) -> bool {
        self.norm < MAX_NORM && max_norm * self.norm < MAX_NORM
    }
}

impl Plane {
    fn zeros(len: usize) -> Self {
        Self {
            codes: vec![0; len],
            sum: 0,
            unit: 0.0,
        }
    }

    /// Rounds `rest`, of which only what was lost stays.
    fn of(kernels: Kernels, rest: &mut [f64]) -> Self {
        let x: Vec<f32> = rest.iter().map(|&x| x as f32).collect();
        let mut codes = vec![0; x.len().next_multiple_of(FINE_INPUTS)];
        let absmax = kernels.absmax(&x);
        let scale = if absmax > MIN_PLANE {
            127.0 / absmax
        } else {
            1.0
        };
        let sum = kernels.quantize(&x, scale, &mut codes);
        for (rest, &code) in rest.iter_mut().zip(&codes) {
            *rest -= f64::from(code) / f64::from(scale);
        }
        Self {
            codes,
            sum,
            unit: 1.0 / scale,
        }
    }
}

/// The first `planes` planes of some vectors as [`coarse_tile`](crate::portable::coarse_tile) takes them, and how many there are:
/// an even number, the last of zeros where need be.
pub(crate) fn tile(inputs: &[Input], planes: usize, cols: usize) -> (Vec<i8>, usize) {
    let groups = cols.next_multiple_of(BLOCK_INPUTS) / 4;
    let listed: Vec<&[[i8; 4]]> = inputs
        .iter()
        .flat_map(|input| &input.planes[..planes])
        .map(|plane| plane.codes.as_chunks().0)
        .collect();
    let width = listed.len().next_multiple_of(2);
    let mut tile = vec![0; groups * 4 * width];
    for (group, places) in tile.chunks_exact_mut(4 * width).enumerate() {
        for (place, plane) in places.as_chunks_mut().0.iter_mut().zip(&listed) {
            *place = plane[group];
        }
    }
    (tile, width)
}
