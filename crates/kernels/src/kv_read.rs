//! The kernels that read cached keys and values, written once over [`Simd`] like those of `float.rs`.

use std::ops::Range;

use crate::kv::{CodeRow, FloatRow, HeadRows, KV_BLOCK, Rows};
use crate::rope::{RopeBlock, RopeRow};
use crate::simd::{LANES, Simd};

/// A kind of rows, as vectors.
trait Numbers: Copy {
    /// Pair `pair` of a head's keys at the [`LANES`] positions of a tile.
    fn pair<S: Simd>(self, s: S, pair: usize) -> [S::F32s; 2];
    /// A row of values.
    fn row<S: Simd>(self, s: S, row: usize) -> S::F32s;
}

impl Numbers for &[CodeRow] {
    #[inline(always)]
    fn pair<S: Simd>(self, s: S, pair: usize) -> [S::F32s; 2] {
        s.load_i16_pairs([&self[2 * pair].0, &self[2 * pair + 1].0])
    }
    #[inline(always)]
    fn row<S: Simd>(self, s: S, row: usize) -> S::F32s {
        s.load_i16(&self[row].0)
    }
}

impl Numbers for &[FloatRow] {
    #[inline(always)]
    fn pair<S: Simd>(self, s: S, pair: usize) -> [S::F32s; 2] {
        [s.load(&self[2 * pair].0), s.load(&self[2 * pair + 1].0)]
    }
    #[inline(always)]
    fn row<S: Simd>(self, s: S, row: usize) -> S::F32s {
        s.load(&self[row].0)
    }
}

impl<'a> Rows<'a> {
    /// Asks for a row; any index will do.
    #[inline(always)]
    fn prefetch<S: Simd>(self, s: S, row: usize) {
        match self {
            Self::Codes(rows) => s.prefetch(rows.as_ptr().wrapping_add(row)),
            Self::Floats(rows) => {
                let row: *const [f32; LANES / 2] = rows.as_ptr().wrapping_add(row).cast();
                s.prefetch(row);
                s.prefetch(row.wrapping_add(1));
            }
        }
    }

    /// The keys of a tile of a head with `half` pairs.
    #[inline(always)]
    fn tile(self, tile: usize, half: usize) -> Self {
        let rows = 2 * half * tile..2 * half * (tile + 1);
        match self {
            Self::Codes(all) => Rows::Codes(&all[rows]),
            Self::Floats(all) => Rows::Floats(&all[rows]),
        }
    }
}

/// The keys of a head at the positions of a tile.
#[derive(Clone, Copy)]
pub(crate) struct KeyTile<'a> {
    pub(crate) head: HeadRows<'a>,
    pub(crate) tile: usize,
    /// What is to be read next: rows of keys, and a tile of them.
    pub(crate) next: (HeadRows<'a>, usize),
}

/// `out[t][p] = scale x[t] . k[p]` for the rotated keys at all positions of a tile.
///
/// `x` has a row of `2 half` numbers for each of `out`; `half` pairs are what the keys have. `room` is for as many rows. Each product
/// adds the pairs one after the other, and its numbers in turn; times the position's factor and `scale`.
#[inline(always)]
pub(crate) fn key_scores<S: Simd>(
    s: S,
    keys: KeyTile<'_>,
    rope: &RopeBlock,
    scale: f32,
    x: &[f32],
    room: &mut [[f32; LANES]],
    out: &mut [[f32; LANES]],
) {
    let half = room.len() / 2;
    match keys.head.rows.tile(keys.tile, half) {
        Rows::Codes(rows) => tile_scores(s, rows, keys, rope, x, room, out),
        Rows::Floats(rows) => tile_scores(s, rows, keys, rope, x, room, out),
    }
    let (_, factors) = keys.head.factors.split_at(keys.tile * LANES);
    if let Some(factors) = factors.first_chunk() {
        let factors = s.mul(s.load(factors), s.splat(scale));
        for products in out {
            s.store(s.mul(s.load(products), factors), products);
        }
    }
}

#[inline(always)]
fn tile_scores<S: Simd, N: Numbers>(
    s: S,
    rows: N,
    keys: KeyTile<'_>,
    rope: &RopeBlock,
    x: &[f32],
    room: &mut [[f32; LANES]],
    out: &mut [[f32; LANES]],
) {
    let half = room.len() / 2;
    let angles = rope.tile(keys.tile);
    let stored = Stored {
        rows,
        next: keys.next.0.rows,
        next_row: 2 * keys.next.1 * half,
    };
    // The two numbers of a pair are turned together, so that they need not leave the registers.
    let paired = rope.half() == half;
    if paired && out.len() <= S::TOKEN_TILE {
        return add_pairs(s, Turned { stored, angles }, half, x, out);
    }
    for (pair, room) in room.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let [a, b] = if paired {
            Turned { stored, angles }.pair(s, pair)
        } else {
            stored.pair(s, pair)
        };
        s.store(a, &mut room[0]);
        s.store(b, &mut room[1]);
    }
    if !paired {
        rotate_rows(s, rope, angles, room);
    }
    add_pairs(s, &*room, half, x, out);
}

/// Keys of a tile of positions.
trait Keys: Copy {
    fn pair<S: Simd>(self, s: S, pair: usize) -> [S::F32s; 2];
}

/// As they are kept. What comes next is asked for.
#[derive(Clone, Copy)]
struct Stored<'a, N> {
    rows: N,
    next: Rows<'a>,
    next_row: usize,
}

impl<N: Numbers> Keys for Stored<'_, N> {
    #[inline(always)]
    fn pair<S: Simd>(self, s: S, pair: usize) -> [S::F32s; 2] {
        self.next.prefetch(s, self.next_row + 2 * pair);
        self.next.prefetch(s, self.next_row + 2 * pair + 1);
        self.rows.pair(s, pair)
    }
}

/// The same, rotated.
#[derive(Clone, Copy)]
struct Turned<'a, N> {
    stored: Stored<'a, N>,
    angles: &'a [RopeRow],
}

impl<N: Numbers> Keys for Turned<'_, N> {
    #[inline(always)]
    fn pair<S: Simd>(self, s: S, pair: usize) -> [S::F32s; 2] {
        rotate(s, self.stored.pair(s, pair), &self.angles[pair])
    }
}

impl Keys for &[[f32; LANES]] {
    #[inline(always)]
    fn pair<S: Simd>(self, s: S, pair: usize) -> [S::F32s; 2] {
        [s.load(&self[2 * pair]), s.load(&self[2 * pair + 1])]
    }
}

/// Turns the keys of a tile, of which number `i` is row `2 i` or, from the middle on, one of those between.
#[inline(always)]
fn rotate_rows<S: Simd>(s: S, rope: &RopeBlock, angles: &[RopeRow], rows: &mut [[f32; LANES]]) {
    let half = rows.len() / 2;
    let row = |i: usize| if i < half { 2 * i } else { 2 * (i - half) + 1 };
    for (pair, angles) in angles.iter().enumerate() {
        let [a, b] = [row(pair), row(pair + rope.half())];
        let [turned_a, turned_b] = rotate(s, [s.load(&rows[a]), s.load(&rows[b])], angles);
        s.store(turned_a, &mut rows[a]);
        s.store(turned_b, &mut rows[b]);
    }
}

#[inline(always)]
fn rotate<S: Simd>(s: S, [a, b]: [S::F32s; 2], angles: &RopeRow) -> [S::F32s; 2] {
    let (cos, sin) = (s.load(&angles.cos), s.load(&angles.sin));
    [
        s.sub(s.mul(a, cos), s.mul(b, sin)),
        s.add(s.mul(a, sin), s.mul(b, cos)),
    ]
}

/// `out[t][p] = x[t] . k[p]`, where `keys` gives the pairs of all positions' keys.
#[inline(always)]
fn add_pairs<S: Simd>(
    s: S,
    keys: impl Keys,
    half: usize,
    mut x: &[f32],
    mut out: &mut [[f32; LANES]],
) {
    while !out.is_empty() {
        let tile = match out.len().min(S::TOKEN_TILE) {
            4.. => add_pairs_tile::<S, _, 4>(s, keys, half, x, out),
            2 | 3 => add_pairs_tile::<S, _, 2>(s, keys, half, x, out),
            _ => add_pairs_tile::<S, _, 1>(s, keys, half, x, out),
        };
        out = &mut out[tile..];
        x = &x[2 * half * tile..];
    }
}

/// The first `N` products; returns `N`.
#[inline(always)]
fn add_pairs_tile<S: Simd, K: Keys, const N: usize>(
    s: S,
    keys: K,
    half: usize,
    x: &[f32],
    out: &mut [[f32; LANES]],
) -> usize {
    let mut low: [&[f32]; N] = [&[]; N];
    let mut high: [&[f32]; N] = [&[]; N];
    for t in 0..N {
        (low[t], high[t]) = x[2 * half * t..][..2 * half].split_at(half);
    }
    let mut sums = [s.splat(0.0); N];
    for pair in 0..half {
        let [a, b] = keys.pair(s, pair);
        for t in 0..N {
            sums[t] = s.add(sums[t], s.mul(s.splat(low[t][pair]), a));
        }
        for t in 0..N {
            sums[t] = s.add(sums[t], s.mul(s.splat(high[t][pair]), b));
        }
    }
    for t in 0..N {
        s.store(sums[t], &mut out[t]);
    }
    N
}

/// One column of a head's values.
#[derive(Clone, Copy)]
pub(crate) struct ColumnRows<'a> {
    pub(crate) head: HeadRows<'a>,
    /// What is to be read later.
    pub(crate) next: HeadRows<'a>,
    pub(crate) column: usize,
}

/// `sums[t] += sum over p of weights[t * weight_stride + p] v[positions.start + p]`, position after position. The weights have the
/// positions' factors in them.
#[inline(always)]
pub(crate) fn add_weighted_values<S: Simd>(
    s: S,
    values: ColumnRows<'_>,
    positions: Range<usize>,
    weights: &[f32],
    stride: usize,
    sums: &mut [[f32; LANES]],
) {
    let first = values.column * KV_BLOCK;
    let ahead = |position| values.next.rows.prefetch(s, first + position);
    let column = first..first + KV_BLOCK;
    match values.head.rows {
        Rows::Codes(rows) if sums.len() > S::TOKEN_TILE => {
            // Many queries: each value becomes f32 once.
            let rows = &rows[column];
            let mut wide = [FloatRow([0.0; LANES]); KV_BLOCK];
            for position in positions.clone() {
                ahead(position);
                s.store(rows.row(s, position), &mut wide[position].0);
            }
            add_rows(s, wide.as_slice(), |_| (), positions, weights, stride, sums);
        }
        Rows::Codes(rows) => add_rows(s, &rows[column], ahead, positions, weights, stride, sums),
        Rows::Floats(rows) => add_rows(s, &rows[column], ahead, positions, weights, stride, sums),
    }
}

#[inline(always)]
fn add_rows<S: Simd, R: Numbers>(
    s: S,
    rows: R,
    ahead: impl Fn(usize) + Copy,
    positions: Range<usize>,
    mut weights: &[f32],
    stride: usize,
    mut sums: &mut [[f32; LANES]],
) {
    while !sums.is_empty() {
        let positions = positions.clone();
        let tile = match sums.len().min(S::TOKEN_TILE) {
            4.. => add_tile::<S, R, 4>(s, rows, ahead, positions, weights, stride, sums),
            2 | 3 => add_tile::<S, R, 2>(s, rows, ahead, positions, weights, stride, sums),
            _ => add_tile::<S, R, 1>(s, rows, ahead, positions, weights, stride, sums),
        };
        sums = &mut sums[tile..];
        weights = weights.get(tile * stride..).unwrap_or_default();
    }
}

/// The first `N` sums; returns `N`.
#[inline(always)]
fn add_tile<S: Simd, R: Numbers, const N: usize>(
    s: S,
    values: R,
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
        let value = values.row(s, position);
        for t in 0..N {
            totals[t] = s.add(totals[t], s.mul(s.splat(rows[t][p]), value));
        }
    }
    for t in 0..N {
        s.store(totals[t], &mut sums[t]);
    }
    N
}
