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
use crate::kv::{HeadRows, KEY_TILES, KV_BLOCK, KvBlock};
use crate::kv_read::{ColumnRows, KeyTile};
use crate::rope::{RopeBlock, rotate};
use crate::simd::LANES;

use pass::{Part, Pass, in_block};

/// Queries of one key and value head that share what one thread reads from the cache.
const QUERIES: usize = 64;

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

    /// Numbers of a query row, padded to whole pairs.
    fn row_len(&self) -> usize {
        self.head_dim.next_multiple_of(2)
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
        let (spec, row_len) = (self.spec, self.spec.row_len());
        let mut angles = Vec::new();
        for part in &self.pass.parts {
            for query in 0..part.queries(spec) {
                let position = part.position(spec, query);
                let rope = &self.rope[position / KV_BLOCK];
                if query.is_multiple_of(spec.group()) {
                    angles.clear();
                    angles.extend(rope.angles(position % KV_BLOCK));
                }
                for kv_head in 0..spec.n_kv_head {
                    let at = part.query(spec, kv_head, query) * row_len;
                    let (row, padding) = queries[at..at + row_len].split_at_mut(spec.head_dim);
                    let at = part.offset(spec, kv_head, query);
                    row.copy_from_slice(&q[at..at + spec.head_dim]);
                    padding.fill(0.0);
                    rotate(&mut row[..2 * angles.len()], &angles);
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

    /// The scores of some queries of some heads at the positions of a block; `rows` are all queries.
    ///
    /// # Safety
    /// No other thread works on the same.
    unsafe fn score_block(
        &self,
        task: &ScoreTask<'_>,
        rows: &[f32],
        scores: &DisjointMut<'_, f32>,
    ) {
        let (spec, part, row_len) = (self.spec, task.part, self.spec.row_len());
        let seen = in_block(&part.seen_by(spec, &task.queries), task.block);
        if seen.is_empty() {
            return;
        }
        let len = LANES * (row_len + task.queries.len());
        self.compute.with_scratch(len, |buffer| {
            let (room, products) = buffer.as_chunks_mut().0.split_at_mut(row_len);
            for tile in seen.start / LANES..seen.end.div_ceil(LANES) {
                let positions = seen.start.max(tile * LANES)..seen.end.min((tile + 1) * LANES);
                // Queries before these see nothing of the tile.
                let queries = part.first_at(spec, positions.start, &task.queries)..task.queries.end;
                for kv_head in task.kv_heads.clone() {
                    let keys = self.key_tile(task, tile, kv_head);
                    let at = part.query(spec, kv_head, queries.start) * row_len;
                    let x = &rows[at..at + queries.len() * row_len];
                    let products = &mut products[..queries.len()];
                    let (kernels, rope) = (self.compute.kernels(), &self.rope[task.block]);
                    kernels.key_scores(keys, rope, spec.scale, x, room, products);
                    for (query, products) in queries.clone().zip(products) {
                        let at = part.score(spec, kv_head, query, positions.start);
                        // SAFETY: the caller's promise.
                        let scores = unsafe { scores.slice(at..at + positions.len()) };
                        scores.copy_from_slice(
                            &products[positions.start % LANES..][..positions.len()],
                        );
                    }
                }
            }
        });
    }

    /// One of a task's tiles of keys, and which one comes after it.
    fn key_tile<'t>(&self, task: &ScoreTask<'t>, tile: usize, kv_head: usize) -> KeyTile<'t> {
        let (part, heads) = (task.part, &task.kv_heads);
        let (next_head, next) = if kv_head + 1 < heads.end {
            (kv_head + 1, tile)
        } else {
            (heads.start, tile + 1)
        };
        let next_block = (next / KEY_TILES).min(part.blocks().end - 1);
        KeyTile {
            head: part.view.keys(task.block, kv_head),
            tile: tile % KEY_TILES,
            next: (part.view.keys(next_block, next_head), next % KEY_TILES),
        }
    }

    /// `scores = exp(scores - max)` over what each query sees, times the values' factors; `totals` are the sums without
    /// them, one for each query of the pass.
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
            for block in seen.start / KV_BLOCK..seen.end.div_ceil(KV_BLOCK) {
                let positions = in_block(&seen, block);
                let factors = part.view.values(block, kv_head).factors;
                let row = &mut row[positions.start - seen.start..][..positions.len()];
                for (weight, factor) in row.iter_mut().zip(&factors[places(&positions)]) {
                    *weight *= factor;
                }
            }
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
