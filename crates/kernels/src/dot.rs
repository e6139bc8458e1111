//! Dot products and weighted sums of float rows, written once over [`Simd`] like the kernels of `float.rs`.

use crate::blocks::{bytes_at, f16_at, load_16_bit};
use crate::simd::{LANES, Simd, padded};

/// How far ahead of its use a weight is asked for: the hardware prefetcher stops at the end of a 4 KiB page.
pub(crate) const PREFETCH_BYTES: usize = 4096;

/// `out[t * out_stride + r] = w[r] . x[t]` for rows of `cols` numbers in `w` and `n` rows in `x`.
#[inline(always)]
pub(crate) fn dot_rows<S: Simd>(
    s: S,
    w: &[f32],
    x: &[f32],
    cols: usize,
    n: usize,
    out: &mut [f32],
    out_stride: usize,
) {
    let mut t = 0;
    while t < n {
        let x = &x[t * cols..];
        let out = &mut out[t * out_stride..];
        t += match (n - t).min(S::TOKEN_TILE) {
            4.. => dot_tile::<S, 4>(s, w, x, cols, out, out_stride),
            2 | 3 => dot_tile::<S, 2>(s, w, x, cols, out, out_stride),
            _ => dot_tile::<S, 1>(s, w, x, cols, out, out_stride),
        };
    }
}

/// The products of the first `N` rows of `x`; returns `N`.
#[inline(always)]
fn dot_tile<S: Simd, const N: usize>(
    s: S,
    w: &[f32],
    x: &[f32],
    cols: usize,
    out: &mut [f32],
    out_stride: usize,
) -> usize {
    let mut rows: [&[f32]; N] = [&[]; N];
    for t in 0..N {
        rows[t] = &x[t * cols..][..cols];
    }
    let mut r = 0;
    while r < w.len() / cols {
        let w = &w[r * cols..];
        let out = &mut out[r..];
        r += if S::ROW_TILE == 2 && w.len() >= 2 * cols {
            let (first, second) = w[..2 * cols].split_at(cols);
            store_products(dots(s, [first, second], rows), out, out_stride)
        } else {
            store_products(dots(s, [&w[..cols]], rows), out, out_stride)
        };
    }
    N
}

/// `out[t * out_stride + r] = products[r][t]`; returns `R`.
#[inline(always)]
fn store_products<const R: usize, const N: usize>(
    products: [[f32; N]; R],
    out: &mut [f32],
    out_stride: usize,
) -> usize {
    for t in 0..N {
        for r in 0..R {
            out[t * out_stride + r] = products[r][t];
        }
    }
    R
}

/// `w[r] . x[t]` for rows of the same length.
#[inline(always)]
pub(crate) fn dots<S: Simd, const R: usize, const N: usize>(
    s: S,
    w: [&[f32]; R],
    x: [&[f32]; N],
) -> [[f32; N]; R] {
    let whole = w[0].len() / LANES;
    let tail = whole * LANES..w[0].len();
    let mut w_blocks: [&[[f32; LANES]]; R] = [&[]; R];
    for r in 0..R {
        w_blocks[r] = &w[r].as_chunks().0[..whole];
    }
    let mut x_blocks: [&[[f32; LANES]]; N] = [&[]; N];
    for t in 0..N {
        x_blocks[t] = &x[t].as_chunks().0[..whole];
    }
    let mut sums = [[s.splat(0.0); N]; R];
    for i in 0..whole {
        let mut loaded = [s.splat(0.0); R];
        for r in 0..R {
            loaded[r] = s.load(&w_blocks[r][i]);
        }
        for t in 0..N {
            let x = s.load(&x_blocks[t][i]);
            for r in 0..R {
                sums[r][t] = s.add(sums[r][t], s.mul(loaded[r], x));
            }
        }
    }
    if !tail.is_empty() {
        for r in 0..R {
            let w = s.load(&padded(&w[r][tail.clone()]));
            for t in 0..N {
                let x = s.load(&padded(&x[t][tail.clone()]));
                sums[r][t] = s.add(sums[r][t], s.mul(w, x));
            }
        }
    }
    let mut products = [[0.0; N]; R];
    for r in 0..R {
        for t in 0..N {
            products[r][t] = s.fold(sums[r][t]);
        }
    }
    products
}

/// `out[r] = w[r] . x` for rows of half precision numbers.
#[inline(always)]
pub(crate) fn dot_rows_f16<S: Simd>(s: S, w: &[u8], x: &[f32], out: &mut [f32]) {
    dot_rows_16_bit::<S, false>(s, w, x, out);
}

/// `out[r] = w[r] . x` for rows of bfloat16 numbers.
#[inline(always)]
pub(crate) fn dot_rows_bf16<S: Simd>(s: S, w: &[u8], x: &[f32], out: &mut [f32]) {
    dot_rows_16_bit::<S, true>(s, w, x, out);
}

#[inline(always)]
fn dot_rows_16_bit<S: Simd, const BF16: bool>(s: S, w: &[u8], x: &[f32], out: &mut [f32]) {
    let (x_blocks, x_tail) = x.as_chunks::<LANES>();
    for (row, out) in w.chunks_exact(2 * x.len()).zip(out) {
        let (blocks, tail) = row.as_chunks::<{ 2 * LANES }>();
        let mut sum = s.splat(0.0);
        for (i, (block, x)) in blocks.iter().zip(x_blocks).enumerate() {
            s.prefetch(row, i * 2 * LANES + PREFETCH_BYTES);
            sum = s.add(sum, s.mul(load_16_bit::<S, BF16>(s, block), s.load(x)));
        }
        if !tail.is_empty() {
            sum = s.add(
                sum,
                s.mul(
                    load_16_bit::<S, BF16>(s, &padded(tail)),
                    s.load(&padded(x_tail)),
                ),
            );
        }
        *out = s.fold(sum);
    }
}

/// `out[r] = w[r] . x` for rows of Q8_0 blocks: an f16 scale, then 32 signed bytes.
#[inline(always)]
pub(crate) fn dot_rows_q8_0<S: Simd>(s: S, w: &[u8], x: &[f32], out: &mut [f32]) {
    const BLOCK: usize = 2 + LANES;
    let (x_blocks, _) = x.as_chunks::<LANES>();
    for (row, out) in w.chunks_exact(x_blocks.len() * BLOCK).zip(out) {
        let (blocks, _) = row.as_chunks::<BLOCK>();
        let mut sum = s.splat(0.0);
        for (i, (block, x)) in blocks.iter().zip(x_blocks).enumerate() {
            s.prefetch(row, i * BLOCK + PREFETCH_BYTES);
            let scale = s.splat(f16_at(block, 0));
            let values = bytes_at(block, 2);
            sum = s.add(sum, s.mul(s.mul(scale, s.load_i8(values)), s.load(x)));
        }
        *out = s.fold(sum);
    }
}

/// `out[t] += sum over p of weights[t * weight_stride + p] * v[p]`, position after position, for rows of `dim` numbers.
#[inline(always)]
pub(crate) fn add_weighted_rows<S: Simd>(
    s: S,
    v: &[f32],
    dim: usize,
    weights: &[f32],
    weight_stride: usize,
    n: usize,
    out: &mut [f32],
) {
    let mut t = 0;
    while t < n {
        let weights = &weights[t * weight_stride..];
        let out = &mut out[t * dim..];
        let tile = (n - t).min(S::TOKEN_TILE);
        match tile {
            4 => add_weighted_tile::<S, 4>(s, v, dim, weights, weight_stride, out),
            2 | 3 => add_weighted_tile::<S, 2>(s, v, dim, weights, weight_stride, out),
            _ => add_weighted_tile::<S, 1>(s, v, dim, weights, weight_stride, out),
        }
        t += if tile == 3 { 2 } else { tile };
    }
}

#[inline(always)]
fn add_weighted_tile<S: Simd, const N: usize>(
    s: S,
    v: &[f32],
    dim: usize,
    weights: &[f32],
    weight_stride: usize,
    out: &mut [f32],
) {
    let whole = dim / LANES * LANES;
    for column in (0..whole).step_by(LANES) {
        let mut sums = [s.splat(0.0); N];
        for t in 0..N {
            sums[t] = s.load(block_at(out, t * dim + column));
        }
        for (p, row) in v.chunks_exact(dim).enumerate() {
            let v = s.load(block_at(row, column));
            for t in 0..N {
                sums[t] = s.add(sums[t], s.mul(s.splat(weights[t * weight_stride + p]), v));
            }
        }
        for t in 0..N {
            let mut block = [0.0; LANES];
            s.store(sums[t], &mut block);
            out[t * dim + column..][..LANES].copy_from_slice(&block);
        }
    }
    for t in 0..N {
        for (p, row) in v.chunks_exact(dim).enumerate() {
            for column in whole..dim {
                out[t * dim + column] += weights[t * weight_stride + p] * row[column];
            }
        }
    }
}

/// `x[at..at + LANES]`.
#[inline(always)]
fn block_at(x: &[f32], at: usize) -> &[f32; LANES] {
    match x[at..].first_chunk() {
        Some(block) => block,
        None => panic!("row ends within a vector"),
    }
}
