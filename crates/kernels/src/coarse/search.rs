//! The search: estimate every row, multiply the best looking ones, leave out what cannot be as large.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::input::{Input, Plane, tile};
use super::{COARSE_TILE, CoarseMatrix, UNIT_ROUNDOFF};
use crate::disjoint::DisjointMut;
use crate::ternary::PANEL_ROWS;
use crate::{Compute, DenseMatrix};

/// How far below the `k`-th product, relative to it, a row may lie and still be found: dividing by a temperature rounds, and may
/// make products equal that lay a last place apart.
const NEAR_TIE: f32 = 8.0 * UNIT_ROUNDOFF;

/// Panels that a thread takes at a time.
const CHUNK_PANELS: usize = 4;

/// Panels whose estimates a thread looks through at a time.
const SIFT_PANELS: usize = 128;

/// From this many vectors on, the products of the codes take longer than reading them. With one plane a vector they are half as
/// many, and the widths grow by a quarter of what the coarse codes make them...
const ONE_PLANE_VECTORS: usize = 3;

/// ...which, of up to this many rows looked for, leaves so few more to sift that it pays.
const ONE_PLANE_TOP: usize = 16;

/// How many rows ahead of their use fine codes are asked for.
const ROWS_AHEAD: usize = 8;

/// A share of candidates above which the whole product is cheaper.
const MAX_CANDIDATE_SHARE: usize = 8;

/// The most rows that [`Compute::top_rows`] looks for.
pub const MAX_TOP: usize = 256;

/// Copies the bytes of an exact row, by its index, to a buffer of their length.
pub type RowReader<'a> = dyn Fn(usize, &mut [u8]) + Sync + 'a;

/// The rows that may be among the largest, and their exact products.
pub type TopRows = Vec<(u32, f32)>;

impl Compute {
    /// For each of `n` rows of `x`, `[n][cols]`: a list of rows of the matrix, by rising index, that holds the `k` with the largest
    /// products and all that tie with the last of them, be it by a last place, each with the very product that
    /// [`dense_matmul`](Self::dense_matmul) gives. `exact` brings the rows that the bound does not exclude.
    ///
    /// Returns `false` where the bound leaves too many rows, the matrix has fewer than 16 `k`, or `x` is not finite or too large;
    /// `out` is then of no use, and the whole product is to be computed.
    ///
    /// # Panics
    /// When lengths do not fit, or `k` is not within 1..=[`MAX_TOP`].
    pub fn top_rows(
        &self,
        coarse: &CoarseMatrix,
        exact: &RowReader<'_>,
        x: &[f32],
        n: usize,
        k: usize,
        out: &mut Vec<TopRows>,
    ) -> bool {
        assert_eq!(x.len(), n * coarse.cols, "x is not [n][cols]");
        assert!((1..=MAX_TOP).contains(&k), "k out of range");
        let planes = if n >= ONE_PLANE_VECTORS && k <= ONE_PLANE_TOP {
            1
        } else {
            2
        };
        let inputs: Vec<Input> = x
            .chunks_exact(coarse.cols)
            .map(|x| Input::new(self.kernels(), x, planes))
            .collect();
        let suited = inputs.iter().all(|input| input.suits(coarse.max_norm));
        if !suited || coarse.panels() < k {
            return false;
        }
        out.resize_with(n, TopRows::new);
        let search = Search {
            compute: self,
            coarse,
            exact,
            x,
            inputs: &inputs,
            planes,
        };
        let panels = coarse.panels();
        self.with_scratch(n * panels * (PANEL_ROWS + 2), |scratch| {
            let (estimates, ends) = scratch.split_at_mut(n * panels * PANEL_ROWS);
            let (best, reach) = ends.split_at_mut(n * panels);
            search.estimate(estimates, best, reach);
            let Some(floors) = search.seed(estimates, best, k, out) else {
                return false;
            };
            search.sift(estimates, reach, &floors, out)
        })
    }
}

/// A search under way.
struct Search<'a> {
    compute: &'a Compute,
    coarse: &'a CoarseMatrix,
    exact: &'a RowReader<'a>,
    x: &'a [f32],
    inputs: &'a [Input],
    /// Of each input, one or two.
    planes: usize,
}

impl Search<'_> {
    /// Reads the coarse codes: estimates of all rows, `[n][panels][16]`; the best one of each panel, and how far its rows' products
    /// may reach, `[n][panels]`.
    fn estimate(&self, estimates: &mut [f32], best: &mut [f32], reach: &mut [f32]) {
        let panels = self.coarse.panels();
        let tiles: Vec<_> = self
            .inputs
            .chunks(COARSE_TILE / self.planes)
            .map(|inputs| (inputs, tile(inputs, self.planes, self.coarse.cols)))
            .collect();
        let estimates = DisjointMut::new(estimates);
        let (best, reach) = (DisjointMut::new(best), DisjointMut::new(reach));
        self.compute.pool().run(panels, CHUNK_PANELS, &|range| {
            let kernels = self.compute.kernels();
            let mut acc = [[0; PANEL_ROWS]; COARSE_TILE];
            for p in range {
                let mut at = p;
                for (inputs, (tile, width)) in &tiles {
                    let acc = &mut acc[..*width];
                    kernels.coarse_tile(self.coarse.panel(p), tile, *width, acc);
                    for (input, sums) in inputs.iter().zip(acc.chunks_exact(self.planes)) {
                        // SAFETY: the pool hands out every panel once, and the vectors' parts do not overlap.
                        let (estimates, best, reach) = unsafe {
                            (
                                estimates.slice(at * PANEL_ROWS..(at + 1) * PANEL_ROWS),
                                &mut best.slice(at..at + 1)[0],
                                &mut reach.slice(at..at + 1)[0],
                            )
                        };
                        let rows = PANEL_ROWS.min(self.coarse.rows - p * PANEL_ROWS);
                        let found =
                            kernels.panel_estimates(&self.coarse.bounds[p], input, sums, rows);
                        estimates.copy_from_slice(&found.rows);
                        (*best, *reach) = (found.best, found.reach);
                        at += panels;
                    }
                }
            }
        });
    }

    /// Multiplies the best looking row of each of the `k` best looking panels exactly, writes them to `out` and takes their
    /// estimates away; returns for each vector what a row must reach to count. `None` where a product is not finite.
    fn seed(
        &self,
        estimates: &mut [f32],
        best: &[f32],
        k: usize,
        out: &mut [TopRows],
    ) -> Option<Vec<f32>> {
        let panels = self.coarse.panels();
        let mut seeds = Vec::with_capacity(out.len() * k);
        let vectors = best
            .chunks_exact(panels)
            .zip(estimates.chunks_exact_mut(panels * PANEL_ROWS));
        for (t, (best, estimates)) in vectors.enumerate() {
            let last = kth_largest(best, k);
            let chosen = best.iter().enumerate().filter(|&(_, &best)| best >= last);
            for (p, best) in chosen.take(k) {
                let rows = &mut estimates[p * PANEL_ROWS..(p + 1) * PANEL_ROWS];
                let r = rows.iter().position(|estimate| estimate == best)?;
                rows[r] = f32::NEG_INFINITY;
                seeds.push((t, p * PANEL_ROWS + r, 0.0));
            }
        }
        let count = seeds.len();
        let parts = DisjointMut::new(&mut seeds);
        self.compute.pool().run(count, 8, &|range| {
            let mut bytes = Vec::new();
            // SAFETY: the pool hands out every seed once.
            for (t, row, product) in unsafe { parts.slice(range) } {
                *product = self.product(*t, *row, &mut bytes);
            }
        });
        out.iter_mut().for_each(Vec::clear);
        for (t, row, product) in seeds {
            // An index fits: a vocabulary has far fewer than 2^32 rows.
            out[t].push((row as u32, product));
        }
        let floors = out.iter().map(|rows| {
            let least = rows.iter().map(|row| row.1).fold(f32::INFINITY, f32::min);
            let finite = rows.iter().all(|row| row.1.is_finite());
            finite.then_some(least - NEAR_TIE * least.abs() - f32::MIN_POSITIVE)
        });
        floors.collect()
    }

    /// Adds to `out` the rows whose products may reach the floors; `false` when they are too many.
    fn sift(&self, estimates: &[f32], reach: &[f32], floors: &[f32], out: &mut [TopRows]) -> bool {
        let panels = self.coarse.panels();
        let most = (self.coarse.rows / MAX_CANDIDATE_SHARE).max(out.first().map_or(0, Vec::len));
        let counts: Vec<AtomicUsize> = out
            .iter()
            .map(|rows| AtomicUsize::new(rows.len()))
            .collect();
        let lists = Mutex::new(out);
        self.compute.pool().run(panels, SIFT_PANELS, &|range| {
            let (mut bytes, mut near) = (Vec::new(), Vec::new());
            for (t, &floor) in floors.iter().enumerate() {
                near.clear();
                for p in range.clone().filter(|p| reach[t * panels + p] >= floor) {
                    let estimates = &estimates[(t * panels + p) * PANEL_ROWS..][..PANEL_ROWS];
                    self.list_near(t, p, estimates, floor, &mut near);
                }
                self.sift_finely(t, floor, &mut near);
                if counts[t].fetch_add(near.len(), Ordering::Relaxed) + near.len() > most {
                    return;
                }
                for (row, product) in &mut near {
                    *product = self.product(t, *row as usize, &mut bytes);
                }
                let mut lists = lists.lock().unwrap_or_else(PoisonError::into_inner);
                lists[t].extend_from_slice(&near);
            }
        });
        let out = lists.into_inner().unwrap_or_else(PoisonError::into_inner);
        out.iter_mut()
            .for_each(|rows| rows.sort_unstable_by_key(|row| row.0));
        counts.into_iter().all(|count| count.into_inner() <= most)
    }

    /// Adds to `near` the rows of panel `p` whose products may reach `floor` by their estimates.
    fn list_near(&self, t: usize, p: usize, estimates: &[f32], floor: f32, near: &mut TopRows) {
        let (input, bounds) = (&self.inputs[t], &self.coarse.bounds[p]);
        for (r, &estimate) in estimates.iter().enumerate() {
            if estimate + input.width(bounds.norm[r], bounds.lost_coarse[r]) >= floor {
                // An index fits: a vocabulary has far fewer than 2^32 rows.
                near.push(((p * PANEL_ROWS + r) as u32, estimate));
            }
        }
    }

    /// Keeps of `near`, rows with their estimates, those whose products may reach `floor` by their finer estimates.
    fn sift_finely(&self, t: usize, floor: f32, near: &mut TopRows) {
        let input = &self.inputs[t];
        let [high, low] = &input.planes;
        let term = |plane: &Plane, sum: i32| (2 * sum - 3 * plane.sum) as f32 * plane.unit;
        let mut kept = 0;
        for i in 0..near.len() {
            let (row, estimate) = near[i];
            let ahead = near[(i + ROWS_AHEAD).min(near.len() - 1)].0;
            let sums = self.compute.kernels().fine_sums(
                self.coarse.fine_row(row as usize),
                self.coarse.fine_row(ahead as usize),
                [&high.codes, &low.codes],
            );
            let bounds = &self.coarse.bounds[row as usize / PANEL_ROWS];
            let r = row as usize % PANEL_ROWS;
            let more = 0.5 * (term(high, sums[0]) + term(low, sums[1]));
            let finer = estimate + bounds.scale[r] * more;
            if finer + input.width(bounds.norm[r], bounds.lost[r]) >= floor {
                near[kept] = near[i];
                kept += 1;
            }
        }
        near.truncate(kept);
    }

    /// The exact product of vector `t` and a row; `bytes`: a buffer to be reused.
    fn product(&self, t: usize, row: usize, bytes: &mut Vec<u8>) -> f32 {
        let (cols, dtype) = (self.coarse.cols, self.coarse.dtype);
        let Some(row_bytes) = dtype.row_bytes(cols) else {
            unreachable!("the copy was made of rows of this type and width");
        };
        bytes.resize(row_bytes, 0);
        (self.exact)(row, bytes);
        let Ok(w) = DenseMatrix::new(1, cols, dtype, bytes) else {
            unreachable!("a row of this type and width has these bytes");
        };
        let mut product = [0.0];
        self.compute
            .dense_rows(&w, 0..1, &self.x[t * cols..][..cols], 1, &mut product);
        product[0]
    }
}

/// The `k`-th largest value, or the smallest when there are fewer.
fn kth_largest(values: &[f32], k: usize) -> f32 {
    // The largest so far, falling; most values do not get past the last of them.
    let mut largest: Vec<f32> = Vec::with_capacity(k + 1);
    for &value in values {
        if largest.len() == k && value <= largest[k - 1] {
            continue;
        }
        let at = largest.partition_point(|&other| other >= value);
        largest.insert(at, value);
        largest.truncate(k);
    }
    largest.last().copied().unwrap_or(f32::NEG_INFINITY)
}
