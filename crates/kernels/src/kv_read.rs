//! The kernels that read cached keys and values, written once over [`Simd`] like those of `float.rs`.

use std::ops::Range;

use crate::kv::{CodeHead, CodeRow, FloatHead, FloatRow, HeadRows, KV_BLOCK};
use crate::rope::{RopeBlock, rotate};
use crate::simd::{LANES, Simd};

/// How the numbers of a head become f32: 32 of one column and position at a time.
trait Head: Copy {
    fn columns(self) -> usize;
    fn load<S: Simd>(self, s: S, column: usize, position: usize) -> S::F32s;
}

impl Head for CodeHead<'_> {
    #[inline(always)]
    fn columns(self) -> usize {
        self.columns.len()
    }
    #[inline(always)]
    fn load<S: Simd>(self, s: S, column: usize, position: usize) -> S::F32s {
        let CodeRow(codes) = &self.columns[column][position];
        s.mul(s.load_i16(codes), s.splat(self.factors[position]))
    }
}

impl Head for FloatHead<'_> {
    #[inline(always)]
    fn columns(self) -> usize {
        self.columns.len()
    }
    #[inline(always)]
    fn load<S: Simd>(self, s: S, column: usize, position: usize) -> S::F32s {
        s.load(&self.columns[column][position].0)
    }
}

impl HeadRows<'_> {
    /// Asks for what `load` reads.
    #[inline(always)]
    fn prefetch<S: Simd>(self, s: S, column: usize, position: usize) {
        match self {
            Self::Codes(head) => s.prefetch(&head.columns[column][position]),
            Self::Floats(head) => {
                let FloatRow(row) = &head.columns[column][position];
                s.prefetch(&row[0]);
                s.prefetch(&row[LANES / 2]);
            }
        }
    }
}

/// The keys of one head at `positions`, rotated. The next positions are asked for, which lie in the second head where the
/// block of the first one ends.: `out` is `[positions][columns][32]`, the last column padded with zeros.
#[inline(always)]
pub(crate) fn rotated_keys<S: Simd>(
    s: S,
    [head, next]: [HeadRows<'_>; 2],
    positions: Range<usize>,
    rope: &RopeBlock,
    out: &mut [f32],
) {
    match head {
        HeadRows::Codes(codes) => rotated_rows(s, codes, [head, next], positions, rope, out),
        HeadRows::Floats(rows) => rotated_rows(s, rows, [head, next], positions, rope, out),
    }
}

#[inline(always)]
fn rotated_rows<S: Simd, H: Head>(
    s: S,
    head: H,
    ahead: [HeadRows<'_>; 2],
    positions: Range<usize>,
    rope: &RopeBlock,
    out: &mut [f32],
) {
    let half = rope.half();
    // Where the two numbers of a pair are whole columns apart, the rotation takes place in registers.
    let in_registers = half.is_multiple_of(LANES);
    let pairs = if in_registers { half / LANES } else { 0 };
    let (columns, step) = (head.columns(), positions.len());
    for (row, position) in out.chunks_exact_mut(columns * LANES).zip(positions) {
        let (cos, sin) = rope.row(position);
        let (cos_columns, sin_columns) = (cos.as_chunks().0, sin.as_chunks().0);
        let out = row.as_chunks_mut().0;
        let later = position + step;
        for column in 0..columns {
            ahead[later / KV_BLOCK].prefetch(s, column, later % KV_BLOCK);
        }
        for column in 0..pairs {
            let (a, b) = (
                head.load(s, column, position),
                head.load(s, column + pairs, position),
            );
            let (cos, sin) = (s.load(&cos_columns[column]), s.load(&sin_columns[column]));
            s.store(s.sub(s.mul(a, cos), s.mul(b, sin)), &mut out[column]);
            s.store(
                s.add(s.mul(a, sin), s.mul(b, cos)),
                &mut out[column + pairs],
            );
        }
        for column in 2 * pairs..columns {
            s.store(head.load(s, column, position), &mut out[column]);
        }
        if !in_registers {
            rotate(&mut row[..2 * half], cos, sin);
        }
    }
}

/// One column of a head.
#[derive(Clone, Copy)]
pub(crate) struct ColumnRows<'a> {
    pub(crate) head: HeadRows<'a>,
    /// What is to be read later.
    pub(crate) next: HeadRows<'a>,
    pub(crate) column: usize,
}

/// `sums[t] += sum over p of weights[t * weight_stride + p] v[positions.start + p]`, position after position.
#[inline(always)]
pub(crate) fn add_weighted_values<S: Simd>(
    s: S,
    values: ColumnRows<'_>,
    positions: Range<usize>,
    weights: &[f32],
    weight_stride: usize,
    sums: &mut [[f32; LANES]],
) {
    let ColumnRows { head, next, column } = values;
    let ahead = |position| next.prefetch(s, column, position);
    match head {
        HeadRows::Codes(head) if sums.len() > S::TOKEN_TILE => {
            // Many queries: each value becomes f32 once.
            let mut rows = [FloatRow([0.0; LANES]); KV_BLOCK];
            for position in positions.clone() {
                ahead(position);
                s.store(head.load(s, column, position), &mut rows[position].0);
            }
            let head = FloatHead { columns: &[rows] };
            add_rows(s, head, 0, |_| (), positions, weights, weight_stride, sums);
        }
        HeadRows::Codes(head) => {
            add_rows(
                s,
                head,
                column,
                ahead,
                positions,
                weights,
                weight_stride,
                sums,
            );
        }
        HeadRows::Floats(head) => {
            add_rows(
                s,
                head,
                column,
                ahead,
                positions,
                weights,
                weight_stride,
                sums,
            );
        }
    }
}

#[inline(always)]
fn add_rows<S: Simd, H: Head>(
    s: S,
    head: H,
    column: usize,
    ahead: impl Fn(usize) + Copy,
    positions: Range<usize>,
    weights: &[f32],
    stride: usize,
    mut sums: &mut [[f32; LANES]],
) {
    let mut weights = weights;
    while !sums.is_empty() {
        let positions = positions.clone();
        let tile = match sums.len().min(S::TOKEN_TILE) {
            4.. => add_tile::<S, H, 4>(s, head, column, ahead, positions, weights, stride, sums),
            2 | 3 => add_tile::<S, H, 2>(s, head, column, ahead, positions, weights, stride, sums),
            _ => add_tile::<S, H, 1>(s, head, column, ahead, positions, weights, stride, sums),
        };
        sums = &mut sums[tile..];
        weights = weights.get(tile * stride..).unwrap_or_default();
    }
}

/// The first `N` sums; returns `N`.
#[inline(always)]
fn add_tile<S: Simd, H: Head, const N: usize>(
    s: S,
    head: H,
    column: usize,
    ahead: impl Fn(usize),
    positions: Range<usize>,
    weights: &[f32],
    stride: usize,
    sums: &mut [[f32; LANES]],
) -> usize {
    let mut rows: [&[f32]; N] = [&[]; N];
    let mut totals = [s.splat(0.0); N];
    for t in 0..N {
        rows[t] = &weights[t * stride..][..positions.len()];
        totals[t] = s.load(&sums[t]);
    }
    for (p, position) in positions.enumerate() {
        ahead(position);
        let value = head.load(s, column, position);
        for t in 0..N {
            totals[t] = s.add(totals[t], s.mul(s.splat(rows[t][p]), value));
        }
    }
    for t in 0..N {
        s.store(totals[t], &mut sums[t]);
    }
    N
}
