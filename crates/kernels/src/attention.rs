//! Causal attention over cached keys and values, of several sequences under the same forks.
//!
//! Three steps, each in parallel over what its sums do not run along: scores over blocks of positions and heads, the softmax
//! over queries, the weighted sums over heads and columns of a head. So one token of one sequence keeps many threads busy, and
//! every sum has the same order whatever their number.

mod pass;

use std::ops::Range;
use std::sync::Arc;

use crate::Compute;
use crate::compute::FORK_ELEMENTS;
use crate::disjoint::DisjointMut;
use crate::kv::{HeadRows, KV_BLOCK, KvBlock};
use crate::kv_read::ColumnRows;
use crate::rope::{RopeBlock, rotate};
use crate::simd::LANES;

use pass::{Part, Pass, in_block, tiles};

/// Positions whose keys are rotated at a time: with heads of 128, they and what they are made of stay in the first cache.
const KEY_TILE: usize = 16;

/// Queries of one key and value head that share what one thread reads from the cache.
const QUERIES: usize = 64;

/// Queries that are scored against the same keys, those behind some of the queries included.
const SCORE_TILE: usize = 16;

/// How many blocks ahead values are asked for.
const BLOCKS_AHEAD: usize = 2;

/// Products of a query's number and a cached one below which a fork costs more than it saves.
const FORK_PRODUCTS: usize = 128 * 1024;

/// Elements of a softmax below which a fork costs more than it saves.
const FORK_SOFTMAX: usize = FORK_ELEMENTS / 4;

/// One sequence's part of an attention.
pub struct KvView<'a> {
    /// Block `b` holds the positions `64 b..64 (b + 1)`, the attending tokens' among them.
    pub blocks: &'a [Arc<KvBlock>],
    /// The plane of the layer's keys, not rotated, and that of its values.
    pub planes: [usize; 2],
    /// The position of the first token that attends.
    pub first_pos: usize,
    /// Tokens that attend, each to the positions up to its own.
    pub n: usize,
}

impl<'a> KvView<'a> {
    fn keys(&self, block: usize, kv_head: usize) -> HeadRows<'a> {
        self.blocks[block].head(self.planes[0], kv_head)
    }

    fn values(&self, block: usize, kv_head: usize) -> HeadRows<'a> {
        self.blocks[block].head(self.planes[1], kv_head)
    }
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

impl AttentionSpec {
    /// Query heads of a key and value head.
    fn group(&self) -> usize {
        self.n_head / self.n_kv_head
    }

    /// Columns of a head, the last of which may be partly padding.
    fn columns(&self) -> usize {
        self.head_dim.div_ceil(LANES)
    }

    /// Numbers of a query row, padded to whole columns.
    fn row_len(&self) -> usize {
        self.columns() * LANES
    }
}

impl Compute {
    /// Causal attention of the sequences' tokens: `softmax(scale rope(q) rope(k)) v` for each head.
    ///
    /// `q` and `out` are `[n][n_head][head_dim]`, the sequences' tokens one after another; `rope` has the blocks of all their
    /// positions. Queries and keys are rotated here.
    ///
    /// # Panics
    /// When lengths and shape do not fit.
    pub fn attention(
        &self,
        q: &[f32],
        sequences: &[KvView<'_>],
        rope: &[Arc<RopeBlock>],
        spec: &AttentionSpec,
        out: &mut [f32],
    ) {
        check(q, sequences, rope.len(), spec, out);
        let out = DisjointMut::new(out);
        let run = |pass: &Pass<'_>| {
            let compute = self;
            Run {
                compute,
                spec,
                pass,
                rope,
            }
            .run(q, &out);
        };
        let mut pass = Pass::new(spec);
        let mut row = 0;
        for view in sequences {
            let mut tokens = 0..view.n;
            while !tokens.is_empty() {
                let n = pass.room(view, tokens.clone());
                if n == 0 {
                    run(&pass);
                    pass = Pass::new(spec);
                    continue;
                }
                pass.push(view, tokens.start..tokens.start + n, row);
                tokens.start += n;
                row += n;
            }
        }
        run(&pass);
    }
}

/// One pass on the threads of `compute`.
struct Run<'a> {
    compute: &'a Compute,
    spec: &'a AttentionSpec,
    pass: &'a Pass<'a>,
    rope: &'a [Arc<RopeBlock>],
}

impl Run<'_> {
    fn run(&self, q: &[f32], out: &DisjointMut<'_, f32>) {
        let (n_queries, row_len) = (self.pass.queries, self.spec.row_len());
        let len = n_queries * (row_len + 1) + self.pass.scores;
        self.compute.with_scratch(len, |buffer| {
            let (queries, buffer) = buffer.split_at_mut(n_queries * row_len);
            let (scores, totals) = buffer.split_at_mut(self.pass.scores);
            self.rotate_queries(q, queries);
            self.score(queries, scores);
            self.soften(scores, totals);
            self.mix(scores, totals, out);
        });
    }

    /// `queries`: all queries of the pass as rotated rows, padded with zeros.
    fn rotate_queries(&self, q: &[f32], queries: &mut [f32]) {
        let spec = self.spec;
        let mut rows = queries.chunks_exact_mut(spec.row_len());
        for part in &self.pass.parts {
            for kv_head in 0..spec.n_kv_head {
                for (query, row) in (0..part.queries(spec)).zip(&mut rows) {
                    let (row, padding) = row.split_at_mut(spec.head_dim);
                    let at = part.offset(spec, kv_head, query);
                    row.copy_from_slice(&q[at..at + spec.head_dim]);
                    padding.fill(0.0);
                    let position = part.position(spec, query);
                    let rope = &self.rope[position / KV_BLOCK];
                    let (cos, sin) = rope.row(position % KV_BLOCK);
                    rotate(&mut row[..2 * cos.len()], cos, sin);
                }
            }
        }
    }

    /// `scores[q][p] = scale q . k[p]` for all positions `p` that query `q` sees, and some that it does not.
    fn score(&self, queries: &[f32], scores: &mut [f32]) {
        let spec = self.spec;
        let scores = DisjointMut::new(scores);
        let blocks = |part: &Part<'_>| part.blocks().len() * part.shares(spec);
        let all_blocks: usize = self.pass.parts.iter().map(blocks).sum();
        // Heads that take turns within an item share the rotary angles in the first cache.
        let turns = if all_blocks < 4 * self.compute.threads() {
            1
        } else {
            spec.n_kv_head
        };
        let items = |part: &Part<'_>| blocks(part) * (spec.n_kv_head / turns);
        let products = KV_BLOCK * self.pass.widest(QUERIES) * spec.row_len() * turns;
        self.for_items(items, FORK_PRODUCTS / products, &|part, item| {
            let (head, item) = (
                item % (spec.n_kv_head / turns),
                item / (spec.n_kv_head / turns),
            );
            let (block, index) = (item % part.blocks().len(), item / part.blocks().len());
            let task = ScoreTask {
                part,
                kv_heads: head * turns..(head + 1) * turns,
                queries: part.share(spec, index),
                block: part.blocks().start + block,
            };
            // SAFETY: every item is run once, and no two share a head, a query and a block.
            unsafe { self.score_block(&task, queries, &scores) };
        });
    }

    /// The scores of some queries of some heads at the positions of a block.
    ///
    /// # Safety
    /// No other thread works on the same.
    unsafe fn score_block(
        &self,
        task: &ScoreTask<'_>,
        queries: &[f32],
        scores: &DisjointMut<'_, f32>,
    ) {
        let (part, row_len) = (task.part, self.spec.row_len());
        let seen = in_block(&part.seen_by(self.spec, &task.queries), task.block);
        let len = KEY_TILE * (row_len + SCORE_TILE);
        self.compute.with_scratch(len, |buffer| {
            let (keys, products) = buffer.split_at_mut(KEY_TILE * row_len);
            for tile in tiles(&seen, KEY_TILE) {
                let after = (tile.end / KV_BLOCK).min(part.blocks().end - 1);
                for kv_head in task.kv_heads.clone() {
                    let heads = [task.block, after].map(|block| part.view.keys(block, kv_head));
                    let keys = &mut keys[..tile.len() * row_len];
                    let rope = &self.rope[task.block];
                    let kernels = self.compute.kernels();
                    kernels.rotated_keys(heads, places(&tile), rope, keys);
                    // SAFETY: the caller's promise.
                    unsafe {
                        self.score_keys(task, kv_head, &tile, queries, keys, products, scores)
                    };
                }
            }
        });
    }

    /// The scores of some queries of a head at the positions of `tile`, of which `keys` are the keys.
    ///
    /// # Safety
    /// No other thread works on the same.
    unsafe fn score_keys(
        &self,
        task: &ScoreTask<'_>,
        kv_head: usize,
        tile: &Range<usize>,
        queries: &[f32],
        keys: &[f32],
        products: &mut [f32],
        scores: &DisjointMut<'_, f32>,
    ) {
        let (spec, part, row_len) = (self.spec, task.part, self.spec.row_len());
        for some in tiles(&task.queries, SCORE_TILE) {
            // The last of the queries sees most.
            let end = part.seen_by(spec, &some).end.min(tile.end);
            let n = end.saturating_sub(tile.start);
            let at = part.query(spec, kv_head, some.start) * row_len;
            let x = &queries[at..at + some.len() * row_len];
            let keys = &keys[..n * row_len];
            let kernels = self.compute.kernels();
            kernels.dot_rows(keys, x, row_len, some.len(), products, KEY_TILE);
            for (query, products) in some.zip(products.chunks_exact(KEY_TILE)) {
                let at = part.score(spec, kv_head, query, tile.start);
                // SAFETY: the caller's promise.
                let scores = unsafe { scores.slice(at..at + n) };
                for (score, product) in scores.iter_mut().zip(products) {
                    *score = product * spec.scale;
                }
            }
        }
    }

    /// `scores = exp(scores - max)` over what each query sees; `totals` are the sums, one for each query of the pass.
    fn soften(&self, scores: &mut [f32], totals: &mut [f32]) {
        let spec = self.spec;
        let (scores, totals) = (DisjointMut::new(scores), DisjointMut::new(totals));
        let items = |part: &Part<'_>| spec.n_kv_head * part.queries(spec);
        self.for_items(items, FORK_SOFTMAX / self.pass.longest(), &|part, item| {
            let (kv_head, query) = (item / part.queries(spec), item % part.queries(spec));
            let seen = part.seen_by(spec, &(query..query + 1));
            let at = part.score(spec, kv_head, query, seen.start);
            let index = part.query(spec, kv_head, query);
            // SAFETY: every item is run once, and it is a query.
            let row = unsafe { scores.slice(at..at + seen.len()) };
            // SAFETY: as above.
            let total = unsafe { totals.slice(index..index + 1) };
            total[0] = self.compute.kernels().exp_of_differences(row);
        });
    }

    /// `out[q] = (sum of weights[q][p] v[p]) / totals[q]` over the positions `p` that query `q` sees, in their order.
    fn mix(&self, weights: &[f32], totals: &[f32], out: &DisjointMut<'_, f32>) {
        let spec = self.spec;
        let items = |part: &Part<'_>| spec.n_kv_head * spec.columns() * part.shares(spec);
        let products = self.pass.longest() * self.pass.widest(QUERIES) * LANES;
        self.for_items(items, FORK_PRODUCTS / products, &|part, item| {
            let (column, item) = (item % spec.columns(), item / spec.columns());
            let (kv_head, index) = (item % spec.n_kv_head, item / spec.n_kv_head);
            let task = MixTask {
                part,
                kv_head,
                column,
                queries: part.share(spec, index),
            };
            // SAFETY: every item is run once, and no two share a head, a query and a column.
            unsafe { self.mix_column(&task, weights, totals, out) };
        });
    }

    /// One column of a head of some queries' outputs.
    ///
    /// # Safety
    /// No other thread works on the same.
    unsafe fn mix_column(
        &self,
        task: &MixTask<'_>,
        weights: &[f32],
        totals: &[f32],
        out: &DisjointMut<'_, f32>,
    ) {
        let (spec, part) = (self.spec, task.part);
        let len = task.queries.len() * LANES;
        self.compute.with_scratch(len, |sums| {
            sums.fill(0.0);
            let sums = sums.as_chunks_mut::<LANES>().0;
            self.add_values(task, weights, sums);
            let width = LANES.min(spec.head_dim - task.column * LANES);
            for (query, sums) in task.queries.clone().zip(sums) {
                let total = totals[part.query(spec, task.kv_head, query)];
                let at = part.offset(spec, task.kv_head, query) + task.column * LANES;
                // SAFETY: the caller's promise.
                let out = unsafe { out.slice(at..at + width) };
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = *sum / total;
                }
            }
        });
    }

    /// `sums[q] += sum of weights[q][p] v[p]`.
    fn add_values(&self, task: &MixTask<'_>, weights: &[f32], sums: &mut [[f32; LANES]]) {
        let (spec, part, queries) = (self.spec, task.part, &task.queries);
        let seen = part.seen_by(spec, queries);
        let blocks = seen.start / KV_BLOCK..seen.end.div_ceil(KV_BLOCK);
        for block in blocks.clone() {
            let head = |block: usize| part.view.values(block, task.kv_head);
            let values = ColumnRows {
                head: head(block),
                next: head((block + BLOCKS_AHEAD).min(blocks.end - 1)),
                column: task.column,
            };
            let seen = |query| in_block(&part.seen_by(spec, &(query..query + 1)), block);
            let mut first = queries.start;
            while first < queries.end {
                // Queries that see the same of this block go together.
                let positions = seen(first);
                let end = (first..queries.end)
                    .find(|&query| seen(query) != positions)
                    .unwrap_or(queries.end);
                let at = part.score(spec, task.kv_head, first, positions.start);
                self.compute.kernels().add_weighted_values(
                    values,
                    places(&positions),
                    &weights[at..],
                    part.stride(),
                    &mut sums[first - queries.start..end - queries.start],
                );
                first = end;
            }
        }
    }

    /// Runs `work` on every item of every part, `chunk` at a time; `items` tells how many a part has.
    fn for_items(
        &self,
        items: impl Fn(&Part<'_>) -> usize,
        chunk: usize,
        work: &(dyn Fn(&Part<'_>, usize) + Sync),
    ) {
        let parts = &self.pass.parts;
        let mut first_items = Vec::with_capacity(parts.len());
        let mut total = 0;
        for part in parts {
            first_items.push(total);
            total += items(part);
        }
        // Neighbouring items ask for each other's part of the cache.
        let chunk = chunk.max(total / (4 * self.compute.threads()));
        self.compute.pool().run(total, chunk, &|range| {
            for item in range {
                let index = first_items.partition_point(|&first| first <= item) - 1;
                work(&parts[index], item - first_items[index]);
            }
        });
    }
}

/// Queries of some key and value heads, and a block of keys.
struct ScoreTask<'a> {
    part: &'a Part<'a>,
    kv_heads: Range<usize>,
    queries: Range<usize>,
    block: usize,
}

/// Queries of a key and value head, and a column of its values.
struct MixTask<'a> {
    part: &'a Part<'a>,
    kv_head: usize,
    column: usize,
    queries: Range<usize>,
}

/// Where positions of one block lie in it.
fn places(positions: &Range<usize>) -> Range<usize> {
    let start = positions.start % KV_BLOCK;
    start..start + positions.len()
}

fn check(q: &[f32], sequences: &[KvView<'_>], ropes: usize, spec: &AttentionSpec, out: &[f32]) {
    assert!(
        spec.n_kv_head > 0 && spec.n_head.is_multiple_of(spec.n_kv_head),
        "query heads do not divide into groups"
    );
    assert!(
        spec.n_head > 0 && spec.head_dim > 0,
        "attention without heads"
    );
    let n: usize = sequences.iter().map(|view| view.n).sum();
    assert_eq!(
        q.len(),
        n * spec.n_head * spec.head_dim,
        "q is not [n][n_head][head_dim]"
    );
    assert_eq!(out.len(), q.len(), "out is not [n][n_head][head_dim]");
    for view in sequences {
        let blocks = (view.first_pos + view.n).div_ceil(KV_BLOCK);
        assert!(
            blocks <= view.blocks.len() && blocks <= ropes,
            "too few cache blocks"
        );
        let planes = view.planes[0].max(view.planes[1]) + 1;
        let fits = |block: &Arc<KvBlock>| {
            (block.heads(), block.head_dim()) == (spec.n_kv_head, spec.head_dim)
                && planes <= block.planes()
        };
        assert!(
            view.blocks.iter().all(fits),
            "a cache block of another shape"
        );
    }
}
