use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::aligned::{Line, Scratch};
use crate::disjoint::DisjointMut;
use crate::memory::Memory;
use crate::pool::Pool;
use crate::ternary::{MAX_TRIT_ROWS, PANEL_ROWS, PANEL_TILE, Packing, TOKEN_TILE};
use crate::{DenseMatrix, DenseType, KernelError, Kernels, QuantizedRows, TernaryMatrix};

/// Weight bytes that a thread takes at a time: long enough to stream, short enough that a slowed thread holds nobody up.
const CHUNK_BYTES: usize = 64 * 1024;

/// Elements of a float operation below which a fork costs more than it saves.
pub(crate) const FORK_ELEMENTS: usize = 16 * 1024;

/// What the gate of a feed-forward layer goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x / (1 + exp(-x))`.
    Silu,
    /// `max(x, 0)^2`.
    Relu2,
    /// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`.
    GeluTanh,
}

/// What a forward pass computes with: the kernels of one instruction set and a thread pool of its own.
///
/// It may be shared between threads; while one caller's operation uses the pool, another's runs on its own thread alone.
/// Every operation's result is the same for any instruction set and any number of threads, and a token row's result does not
/// depend on the rows beside it.
///
/// # Panics
/// All operations panic when a slice's length does not fit the shape that its argument list states.
pub struct Compute {
    kernels: Kernels,
    pool: Pool,
    /// Buffers of threads at work, kept for the next operation.
    scratch: Mutex<Vec<Scratch>>,
    memory: Memory,
}

impl Compute {
    /// The largest thread count.
    pub const MAX_THREADS: usize = Pool::MAX_THREADS;

    /// Starts a pool of `threads` threads, the caller of the operations among them; dropping it ends them.
    ///
    /// # Errors
    /// A thread count of zero or above [`Self::MAX_THREADS`], or a system that refuses threads.
    pub fn new(kernels: Kernels, threads: usize) -> Result<Self, KernelError> {
        Ok(Self {
            kernels,
            pool: Pool::new(threads)?,
            scratch: Mutex::new(Vec::new()),
            memory: Memory::default(),
        })
    }

    /// The kernels in use.
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// Threads, the caller among them.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Calls `work` with ranges that together cover `0..items` once, on the pool's threads; returns when all are done.
    pub fn parallel_for(&self, items: usize, work: &(dyn Fn(Range<usize>) + Sync)) {
        self.pool
            .run(items, items.div_ceil(8 * self.threads()), work);
    }

    /// `out[t][r] = (sum of W[r][k] x[t][k]) (w.scale / x.scale(t))`; `out` is `[n][rows]`.
    ///
    /// The sum is exact; it is rounded to f32, then multiplied by the rounded quotient of the scales.
    pub fn ternary_matmul(&self, w: &TernaryMatrix, x: &QuantizedRows, out: &mut [f32]) {
        self.ternary_matmul_many(&[w], x, &mut [out]);
    }

    /// Several products with the same activations under one fork: query, key and value, or gate and up.
    pub fn ternary_matmul_many(
        &self,
        ws: &[&TernaryMatrix],
        x: &QuantizedRows,
        outs: &mut [&mut [f32]],
    ) {
        assert_eq!(ws.len(), outs.len(), "as many outputs as matrices");
        let mut products = Vec::with_capacity(ws.len());
        let mut items = 0;
        for (&w, out) in ws.iter().zip(outs) {
            assert_eq!(
                w.cols(),
                x.cols(),
                "matrix and activations of different widths"
            );
            assert_eq!(out.len(), x.n() * w.rows(), "out is not [n][rows]");
            let first_item = items;
            items += w.panels().div_ceil(PANEL_TILE);
            products.push(TernaryProduct {
                w,
                first_item,
                items,
                out: DisjointMut::new(out),
            });
        }
        if x.n() == 0 {
            return;
        }
        let item_bytes = PANEL_TILE * ws.first().map_or(1, |w| w.panel_bytes());
        self.pool
            .run(items, CHUNK_BYTES.div_ceil(item_bytes), &|range| {
                let mut acc = TileSums::default();
                for product in &products {
                    for item in range.start.max(product.first_item)..range.end.min(product.items) {
                        // SAFETY: the pool hands out every item once.
                        unsafe {
                            self.ternary_item(product, x, item - product.first_item, &mut acc)
                        };
                    }
                }
            });
    }

    /// The rows of one item, [`PANEL_TILE`] panels, for all tokens.
    ///
    /// # Safety
    /// No other thread works on the same item.
    unsafe fn ternary_item(
        &self,
        product: &TernaryProduct<'_>,
        x: &QuantizedRows,
        item: usize,
        acc: &mut TileSums,
    ) {
        let w = product.w;
        let first = item * PANEL_TILE;
        let count = PANEL_TILE.min(w.panels() - first);
        let (panels, lines) = (w.panels_at(first, count), w.panel_lines());
        match w.packing() {
            // SAFETY: the caller's promise.
            Packing::TwoBits => unsafe {
                self.item_tiles(product, x, first, acc, &|x, n, acc| {
                    self.kernels.ternary_tile(panels, lines, x, n, acc);
                });
            },
            // SAFETY: the caller's promise.
            Packing::Trits if self.kernels.prefers_trits() && x.tile_rows() <= MAX_TRIT_ROWS => unsafe {
                self.item_tiles(product, x, first, acc, &|x, n, acc| {
                    self.kernels.trit_tile(panels, lines, x, n, acc);
                });
            },
            Packing::Trits => self.with_lines(count * lines, |two_bits| {
                self.kernels.decode_trits(panels, lines, two_bits);
                // SAFETY: the caller's promise.
                unsafe {
                    self.item_tiles(product, x, first, acc, &|x, n, acc| {
                        self.kernels.ternary_tile(two_bits, lines, x, n, acc);
                    });
                }
            }),
        }
    }

    /// Goes through the tiles of token rows with the [`PANEL_TILE`] panels from `first` on; `multiply` does a tile's products.
    ///
    /// # Safety
    /// No other thread works on the same panels.
    unsafe fn item_tiles(
        &self,
        product: &TernaryProduct<'_>,
        x: &QuantizedRows,
        first: usize,
        acc: &mut TileSums,
        multiply: &TileProduct<'_>,
    ) {
        let w = product.w;
        let count = PANEL_TILE.min(w.panels() - first);
        let rows = first * PANEL_ROWS..((first + count) * PANEL_ROWS).min(w.rows());
        for tile in x.tiles() {
            let n = tile.len();
            let acc = &mut acc.0[..count * n];
            multiply(x.tile_data(&tile), n, acc);
            for (t, token) in tile.enumerate() {
                let (sum, scale) = (x.sum(token), w.scale() / x.scale(token));
                let start = token * w.rows();
                // SAFETY: only this item writes these rows, and the tokens' parts do not overlap.
                let out = unsafe { product.out.slice(start + rows.start..start + rows.end) };
                for (panel, out) in out.chunks_mut(PANEL_ROWS).enumerate() {
                    let sums = &acc[panel * n + t..][..1];
                    self.kernels.scale_sums(sums, sum, scale, out);
                }
            }
        }
    }

    /// `out[t][r] = w[r] . x[t]` with `x` `[n][cols]` and `out` `[n][rows]`.
    pub fn dense_matmul(&self, w: &DenseMatrix<'_>, x: &[f32], n: usize, out: &mut [f32]) {
        assert_eq!(x.len(), n * w.cols(), "x is not [n][cols]");
        assert_eq!(out.len(), n * w.rows(), "out is not [n][rows]");
        if n == 0 {
            return;
        }
        self.with_scratch(x.len(), |aligned| {
            aligned.copy_from_slice(x);
            self.dense_aligned(w, aligned, n, out);
        });
    }

    /// The product; for speed, `x` should begin at a cache line.
    fn dense_aligned(&self, w: &DenseMatrix<'_>, x: &[f32], n: usize, out: &mut [f32]) {
        let out = DisjointMut::new(out);
        let chunk = (CHUNK_BYTES / w.row_bytes()).clamp(1, 64);
        self.pool.run(w.rows(), chunk, &|rows| {
            self.with_scratch(n * rows.len(), |products| {
                self.dense_rows(w, rows.clone(), x, n, products);
                for (t, products) in products.chunks_exact(rows.len()).enumerate() {
                    let start = t * w.rows();
                    // SAFETY: the pool hands out every row once.
                    let out = unsafe { out.slice(start + rows.start..start + rows.end) };
                    out.copy_from_slice(products);
                }
            });
        });
    }

    /// `out[t][r]` for some rows only: `[n][rows.len()]`.
    pub(crate) fn dense_rows(
        &self,
        w: &DenseMatrix<'_>,
        rows: Range<usize>,
        x: &[f32],
        n: usize,
        out: &mut [f32],
    ) {
        let bytes = w.rows_at(rows.start, rows.len());
        match w.dtype() {
            DenseType::F16 if n == 1 => self.kernels.dot_rows_f16(bytes, x, out),
            DenseType::Bf16 if n == 1 => self.kernels.dot_rows_bf16(bytes, x, out),
            DenseType::Q8_0 if n == 1 => self.kernels.dot_rows_q8_0(bytes, x, out),
            _ => self.with_scratch(rows.len() * w.cols(), |weights| {
                self.kernels.decode(w.dtype(), bytes, weights);
                self.kernels
                    .dot_rows(weights, x, w.cols(), n, out, rows.len());
            }),
        }
    }

    /// `out = x (1 / sqrt(mean(x^2) + eps)) weight` for each of `n` rows as long as `weight`.
    pub fn rms_norm(&self, x: &[f32], weight: &[f32], eps: f32, n: usize, out: &mut [f32]) {
        let cols = weight.len();
        assert_eq!(x.len(), n * cols, "x is not [n][cols]");
        assert_eq!(out.len(), n * cols, "out is not [n][cols]");
        let out = DisjointMut::new(out);
        self.pool
            .run(n, FORK_ELEMENTS.div_ceil(cols.max(1)), &|range| {
                for i in range {
                    // SAFETY: the pool hands out every row once.
                    let out = unsafe { out.slice(i * cols..(i + 1) * cols) };
                    self.kernels
                        .rms_norm(&x[i * cols..(i + 1) * cols], weight, eps, out);
                }
            });
    }

    /// `gate = activation(gate) * up`, element by element.
    pub fn gated(&self, gate: &mut [f32], up: &[f32], activation: Activation) {
        assert_eq!(gate.len(), up.len(), "gate and up of different lengths");
        let len = gate.len();
        let gate = DisjointMut::new(gate);
        self.pool.run(len, FORK_ELEMENTS, &|range| {
            // SAFETY: the pool hands out every element once.
            let gate = unsafe { gate.slice(range.clone()) };
            self.kernels.gated(gate, &up[range], activation);
        });
    }

    /// `x += y`, element by element.
    pub fn add(&self, x: &mut [f32], y: &[f32]) {
        assert_eq!(x.len(), y.len(), "x and y of different lengths");
        let len = x.len();
        let x = DisjointMut::new(x);
        self.pool.run(len, FORK_ELEMENTS, &|range| {
            // SAFETY: the pool hands out every element once.
            let x = unsafe { x.slice(range.clone()) };
            for (x, y) in x.iter_mut().zip(&y[range]) {
                *x += y;
            }
        });
    }

    /// Where packed weights are put.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Lends `work` a buffer of `len` numbers of any value, aligned to cache lines.
    pub(crate) fn with_scratch<R>(&self, len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
        self.with_buffer(|buffer| work(buffer.f32s(len)))
    }

    /// Lends `work` a buffer of `len` lines of any content.
    pub(crate) fn with_lines<R>(&self, len: usize, work: impl FnOnce(&mut [Line]) -> R) -> R {
        self.with_buffer(|buffer| work(buffer.lines(len)))
    }

    fn with_buffer<R>(&self, work: impl FnOnce(&mut Scratch) -> R) -> R {
        let lock = || self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = lock().pop().unwrap_or_default();
        let result = work(&mut buffer);
        lock().push(buffer);
        result
    }
}

/// Multiplies panels with a tile of token rows: its activations, its rows, and one entry of sums for each panel and row.
type TileProduct<'a> = dyn Fn(&[i8], usize, &mut [[i32; PANEL_ROWS]]) + 'a;

/// The integer products of a tile, by panel and token; what they hold is left over from the tile before.
#[derive(Default)]
struct TileSums([[i32; PANEL_ROWS]; PANEL_TILE * TOKEN_TILE]);

/// One matrix of [`Compute::ternary_matmul_many`]: its part of the items, and where its results go.
struct TernaryProduct<'a> {
    w: &'a TernaryMatrix,
    first_item: usize,
    /// One past its last item.
    items: usize,
    out: DisjointMut<'a, f32>,
}
