use std::ops::Range;

use crate::Compute;
use crate::disjoint::DisjointMut;

/// Positions of one cache block.
pub const KV_BLOCK: usize = 64;

/// Queries that share the loads of a key or a value.
const QUERY_TILE: usize = 4;

/// The cached keys and values of one sequence and layer.
///
/// Block `b` holds the positions `64 b..64 (b + 1)` as `[n_kv_head][64][head_dim]` numbers.
pub struct KvView<'a> {
    /// Blocks of keys.
    pub k: Vec<&'a [f32]>,
    /// Blocks of values.
    pub v: Vec<&'a [f32]>,
    /// Positions filled.
    pub len: usize,
}

/// The shape of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionSpec {
    /// Query heads, a multiple of `n_kv_head`; query head `h` reads key and value head `h / (n_head / n_kv_head)`.
    pub n_head: usize,
    /// Key and value heads.
    pub n_kv_head: usize,
    /// Numbers of a head.
    pub head_dim: usize,
    /// What every score is multiplied by.
    pub scale: f32,
    /// Positions that a token sees, itself included; `None` for all before it.
    pub window: Option<usize>,
}

impl Compute {
    /// Causal attention of `n` tokens at the positions from `first_pos` on: `softmax(scale q k) v` for each head.
    ///
    /// `q` and `out` are `[n][n_head][head_dim]`; `kv` holds at least the positions up to the last token's own.
    ///
    /// # Panics
    /// When lengths and shape do not fit.
    pub fn attention(
        &self,
        q: &[f32],
        kv: &KvView<'_>,
        spec: &AttentionSpec,
        first_pos: usize,
        n: usize,
        out: &mut [f32],
    ) {
        check(q, kv, spec, first_pos, n, out);
        if n == 0 {
            return;
        }
        let group = spec.n_head / spec.n_kv_head;
        let queries = n * group;
        // Wide tiles save loads; they must leave every thread something to do.
        let mut tile = QUERY_TILE;
        while tile > 1 && spec.n_kv_head * queries.div_ceil(tile) < 4 * self.threads() {
            tile /= 2;
        }
        let tiles = queries.div_ceil(tile);
        let out = DisjointMut::new(out);
        self.pool().run(spec.n_kv_head * tiles, 1, &|items| {
            for item in items {
                let (kv_head, first) = (item / tiles, item % tiles * tile);
                let task = Tile {
                    q,
                    kv,
                    spec,
                    first_pos,
                    kv_head,
                    queries: first..queries.min(first + tile),
                };
                // SAFETY: the pool hands out every item once, and each query belongs to one item.
                unsafe { self.attend(&task, &out) };
            }
        });
    }

    /// Computes the outputs of one tile.
    ///
    /// # Safety
    /// No other thread writes the outputs of the same queries.
    unsafe fn attend(&self, task: &Tile<'_>, out: &DisjointMut<'_, f32>) {
        let (n, dim) = (task.queries.len(), task.spec.head_dim);
        let seen = task.seen();
        self.with_scratch(n * (2 * dim + seen.len()), |scratch| {
            let (queries, scratch) = scratch.split_at_mut(n * dim);
            let (sums, scores) = scratch.split_at_mut(n * dim);
            for (index, query) in task.queries.clone().zip(queries.chunks_exact_mut(dim)) {
                query.copy_from_slice(&task.q[task.offset(index)..][..dim]);
            }
            self.score(task, queries, &seen, scores);
            let mut totals = [0.0; QUERY_TILE];
            for (t, index) in task.queries.clone().enumerate() {
                let own = task.positions(index);
                let scores =
                    &mut scores[t * seen.len()..][own.start - seen.start..own.end - seen.start];
                for score in scores.iter_mut() {
                    *score *= task.spec.scale;
                }
                totals[t] = self.kernels().exp_of_differences(scores);
            }
            sums.fill(0.0);
            self.mix(task, &seen, scores, sums);
            for (t, index) in task.queries.clone().enumerate() {
                let start = task.offset(index);
                // SAFETY: only this task writes this query's output.
                let out = unsafe { out.slice(start..start + dim) };
                for (out, sum) in out.iter_mut().zip(&sums[t * dim..]) {
                    *out = sum / totals[t];
                }
            }
        });
    }

    /// `scores[t][p] = q[t] . k[p]` for all positions `p` that some query of the tile sees.
    fn score(&self, task: &Tile<'_>, queries: &[f32], seen: &Range<usize>, scores: &mut [f32]) {
        let (n, dim) = (task.queries.len(), task.spec.head_dim);
        for positions in blocks(seen) {
            let keys = task.rows(&task.kv.k, &positions);
            let at = positions.start - seen.start;
            self.kernels()
                .dot_rows(keys, queries, dim, n, &mut scores[at..], seen.len());
        }
    }

    /// `sums[t] += sum of weights[t][p] v[p]` over the positions that query `t` sees, in their order.
    fn mix(&self, task: &Tile<'_>, seen: &Range<usize>, weights: &[f32], sums: &mut [f32]) {
        let (n, dim) = (task.queries.len(), task.spec.head_dim);
        let common = task.common();
        let mut add = |positions: Range<usize>, queries: Range<usize>| {
            for positions in blocks(&positions) {
                let values = task.rows(&task.kv.v, &positions);
                let weights = &weights[queries.start * seen.len() + positions.start - seen.start..];
                let sums = &mut sums[queries.start * dim..];
                self.kernels().add_weighted_rows(
                    values,
                    dim,
                    weights,
                    seen.len(),
                    queries.len(),
                    sums,
                );
            }
        };
        if common.is_empty() {
            for (t, index) in task.queries.clone().enumerate() {
                add(task.positions(index), t..t + 1);
            }
            return;
        }
        for (t, index) in task.queries.clone().enumerate() {
            add(task.positions(index).start..common.start, t..t + 1);
        }
        add(common.clone(), 0..n);
        for (t, index) in task.queries.clone().enumerate() {
            add(common.end..task.positions(index).end, t..t + 1);
        }
    }
}

/// Queries of one key and value head; query `i` of a head is token `i / group`, head `i % group` of its group.
struct Tile<'a> {
    q: &'a [f32],
    kv: &'a KvView<'a>,
    spec: &'a AttentionSpec,
    first_pos: usize,
    kv_head: usize,
    queries: Range<usize>,
}

impl Tile<'_> {
    fn group(&self) -> usize {
        self.spec.n_head / self.spec.n_kv_head
    }

    /// Where a query lies in `q`, and its output in `out`.
    fn offset(&self, query: usize) -> usize {
        let head = self.kv_head * self.group() + query % self.group();
        (query / self.group() * self.spec.n_head + head) * self.spec.head_dim
    }

    /// The positions that a query sees.
    fn positions(&self, query: usize) -> Range<usize> {
        let end = self.first_pos + query / self.group() + 1;
        self.spec
            .window
            .map_or(0, |window| end.saturating_sub(window.max(1)))..end
    }

    /// The positions that any query of the tile sees.
    fn seen(&self) -> Range<usize> {
        self.positions(self.queries.start).start..self.positions(self.queries.end - 1).end
    }

    /// The positions that all queries of the tile see; may be empty.
    fn common(&self) -> Range<usize> {
        self.positions(self.queries.end - 1).start..self.positions(self.queries.start).end
    }

    /// The rows of `positions`, which lie in one block, of this tile's head.
    fn rows<'b>(&self, blocks: &[&'b [f32]], positions: &Range<usize>) -> &'b [f32] {
        let dim = self.spec.head_dim;
        let start = (self.kv_head * KV_BLOCK + positions.start % KV_BLOCK) * dim;
        &blocks[positions.start / KV_BLOCK][start..][..positions.len() * dim]
    }
}

/// `positions` cut at the block borders.
fn blocks(positions: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = positions.end;
    let mut start = positions.start;
    std::iter::from_fn(move || {
        let block = start..end.min((start / KV_BLOCK + 1) * KV_BLOCK);
        start = block.end;
        (!block.is_empty()).then_some(block)
    })
}

fn check(
    q: &[f32],
    kv: &KvView<'_>,
    spec: &AttentionSpec,
    first_pos: usize,
    n: usize,
    out: &[f32],
) {
    assert!(
        spec.n_kv_head > 0 && spec.n_head.is_multiple_of(spec.n_kv_head),
        "query heads do not divide into groups"
    );
    assert!(
        spec.n_head > 0 && spec.head_dim > 0,
        "attention without heads"
    );
    assert_eq!(
        q.len(),
        n * spec.n_head * spec.head_dim,
        "q is not [n][n_head][head_dim]"
    );
    assert_eq!(out.len(), q.len(), "out is not [n][n_head][head_dim]");
    assert!(
        first_pos + n <= kv.len,
        "the cache ends before the last token"
    );
    let block = spec.n_kv_head * KV_BLOCK * spec.head_dim;
    for blocks in [&kv.k, &kv.v] {
        assert!(kv.len <= blocks.len() * KV_BLOCK, "too few cache blocks");
        assert!(
            blocks.iter().all(|part| part.len() == block),
            "a cache block of another size"
        );
    }
}
