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
        r += if S::ROW_TILE == 2 && N == 4 && w.len() >= 2 * cols {
            let (first, second) = w[..2 * cols].split_at(cols);
            let x = [rows[0], rows[1], rows[2], rows[3]];
            store_products(dots_2x4(s, [first, second], x), out, out_stride)
        } else if S::ROW_TILE == 2 && w.len() >= 2 * cols {
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

/// [`dots`] of two rows and four: without loops over the sums, which compilers keep in memory otherwise.
#[inline(always)]
fn dots_2x4<S: Simd>(s: S, w: [&[f32]; 2], x: [&[f32]; 4]) -> [[f32; 4]; 2] {
    let (w_blocks, w_tails) = (
        [w[0].as_chunks().0, w[1].as_chunks().0],
        [0, 1].map(|r| w[r].as_chunks::<LANES>().1),
    );
    let mut sums = [[s.splat(0.0); 4]; 2];
    let x_blocks: [&[[f32; LANES]]; 4] = [
        x[0].as_chunks().0,
        x[1].as_chunks().0,
        x[2].as_chunks().0,
        x[3].as_chunks().0,
    ];
    for (i, (a, b)) in w_blocks[0].iter().zip(w_blocks[1]).enumerate() {
        let w = [s.load(a), s.load(b)];
        sums = add_products(
            s,
            sums,
            w,
            [
                &x_blocks[0][i],
                &x_blocks[1][i],
                &x_blocks[2][i],
                &x_blocks[3][i],
            ],
        );
    }
    if !w_tails[0].is_empty() {
        let w = [s.load(&padded(w_tails[0])), s.load(&padded(w_tails[1]))];
        let tail = w_blocks[0].len() * LANES;
        sums = add_products(
            s,
            sums,
            w,
            [
                &padded(&x[0][tail..]),
                &padded(&x[1][tail..]),
                &padded(&x[2][tail..]),
                &padded(&x[3][tail..]),
            ],
        );
    }
    [s.fold_4(sums[0]), s.fold_4(sums[1])]
}

#[inline(always)]
fn add_products<S: Simd>(
    s: S,
    sums: [[S::F32s; 4]; 2],
    [a, b]: [S::F32s; 2],
    x: [&[f32; LANES]; 4],
) -> [[S::F32s; 4]; 2] {
    let x = [s.load(x[0]), s.load(x[1]), s.load(x[2]), s.load(x[3])];
    let [first, second] = sums;
    [
        [
            s.add(first[0], s.mul(a, x[0])),
            s.add(first[1], s.mul(a, x[1])),
            s.add(first[2], s.mul(a, x[2])),
            s.add(first[3], s.mul(a, x[3])),
        ],
        [
            s.add(second[0], s.mul(b, x[0])),
            s.add(second[1], s.mul(b, x[1])),
            s.add(second[2], s.mul(b, x[2])),
            s.add(second[3], s.mul(b, x[3])),
        ],
    ]
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
            s.prefetch(row.as_ptr().wrapping_add(i * 2 * LANES + PREFETCH_BYTES));
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
            s.prefetch(row.as_ptr().wrapping_add(i * BLOCK + PREFETCH_BYTES));
            let scale = s.splat(f16_at(block, 0));
            let values = bytes_at(block, 2);
            sum = s.add(sum, s.mul(s.mul(scale, s.load_i8(values)), s.load(x)));
        }
        *out = s.fold(sum);
    }
}
