//! What one pass of an attention works on.

use std::ops::Range;

use super::{AttentionSpec, KvView, QUERIES};
use crate::kv::KV_BLOCK;
use crate::simd::LANES;

/// Scores that are held at a time: 16 MiB.
const MAX_SCORES: usize = 4 << 20;

/// Tokens of a pass whatever their scores take, so that a value that has been read serves several.
const MIN_TOKENS: usize = 8;

/// Some tokens of some sequences.
pub(super) struct Pass<'a> {
    pub(super) spec: &'a AttentionSpec,
    pub(super) parts: Vec<Part<'a>>,
    /// Queries of all heads and parts.
    pub(super) queries: usize,
    /// Numbers that the scores take.
    pub(super) scores: usize,
}

impl<'a> Pass<'a> {
    pub(super) fn new(spec: &'a AttentionSpec) -> Self {
        Self {
            spec,
            parts: Vec::new(),
            queries: 0,
            scores: 0,
        }
    }

    /// How many of the tokens can be added.
    pub(super) fn room(&self, view: &KvView<'_>, tokens: Range<usize>) -> usize {
        let seen =
            seen_from(self.spec, view.first_pos + tokens.start).start..view.first_pos + tokens.end;
        let room = MAX_SCORES.saturating_sub(self.scores)
            / (self.spec.n_head * seen.len().next_multiple_of(LANES));
        let least = if self.parts.is_empty() { MIN_TOKENS } else { 0 };
        room.max(least).min(tokens.len())
    }

    /// Adds tokens of a sequence; `row` is the index of the first one among all sequences' tokens.
    pub(super) fn push(&mut self, view: &'a KvView<'a>, tokens: Range<usize>, row: usize) {
        let first_pos = view.first_pos + tokens.start;
        let part = Part {
            view,
            first_pos,
            n: tokens.len(),
            row,
            first_query: self.queries,
            first_score: self.scores,
            seen: seen_from(self.spec, first_pos).start..view.first_pos + tokens.end,
        };
        self.queries += part.n * self.spec.n_head;
        self.scores += part.n * self.spec.n_head * part.stride();
        self.parts.push(part);
    }

    /// The most positions that a part sees.
    pub(super) fn longest(&self) -> usize {
        let lengths = self.parts.iter().map(|part| part.seen.len());
        lengths.max().unwrap_or(0)
    }

    /// The most queries of a key and value head that a part has, but at most `most`.
    pub(super) fn widest(&self, most: usize) -> usize {
        let widths = self.parts.iter().map(|part| part.queries(self.spec));
        widths.max().unwrap_or(0).min(most)
    }
}

/// Some tokens of a sequence.
///
/// Their queries are counted for each key and value head: query `i` is token `i / group`, head `i % group` of its group.
pub(super) struct Part<'a> {
    pub(super) view: &'a KvView<'a>,
    /// Position of the first token.
    first_pos: usize,
    n: usize,
    /// Index of the first token among all sequences' tokens.
    row: usize,
    /// Index of the first query among those of the pass, `[n_kv_head][queries]`.
    first_query: usize,
    /// Where its scores begin: `[n_kv_head][queries][stride]`.
    first_score: usize,
    /// The positions that any of its queries sees.
    pub(super) seen: Range<usize>,
}

impl Part<'_> {
    /// Queries of a key and value head.
    pub(super) fn queries(&self, spec: &AttentionSpec) -> usize {
        self.n * spec.group()
    }

    /// How many pieces of at most [`QUERIES`] the queries of a head are cut into.
    pub(super) fn shares(&self, spec: &AttentionSpec) -> usize {
        self.queries(spec).div_ceil(QUERIES)
    }

    /// The queries of such a piece.
    pub(super) fn share(&self, spec: &AttentionSpec, index: usize) -> Range<usize> {
        index * QUERIES..self.queries(spec).min((index + 1) * QUERIES)
    }

    /// The index of a query among those of the pass.
    pub(super) fn query(&self, spec: &AttentionSpec, kv_head: usize, query: usize) -> usize {
        self.first_query + kv_head * self.queries(spec) + query
    }

    /// Where a query lies in `q`, and its output in `out`.
    pub(super) fn offset(&self, spec: &AttentionSpec, kv_head: usize, query: usize) -> usize {
        let head = kv_head * spec.group() + query % spec.group();
        ((self.row + query / spec.group()) * spec.n_head + head) * spec.head_dim
    }

    /// The position of a query's token.
    pub(super) fn position(&self, spec: &AttentionSpec, query: usize) -> usize {
        self.first_pos + query / spec.group()
    }

    /// The first of some queries whose token is at a position or behind it.
    pub(super) fn first_at(
        &self,
        spec: &AttentionSpec,
        position: usize,
        queries: &Range<usize>,
    ) -> usize {
        let first = position.saturating_sub(self.first_pos) * spec.group();
        first.clamp(queries.start, queries.end)
    }

    /// The positions that any of some queries sees; at least one.
    pub(super) fn seen_by(&self, spec: &AttentionSpec, queries: &Range<usize>) -> Range<usize> {
        let (first, last) = (queries.start, queries.end - 1);
        seen_from(spec, self.position(spec, first)).start..self.position(spec, last) + 1
    }

    /// The blocks of all positions.
    pub(super) fn blocks(&self) -> Range<usize> {
        self.seen.start / KV_BLOCK..self.seen.end.div_ceil(KV_BLOCK)
    }

    /// Scores from one query's to the next one's: whole cache lines, since threads write neighbouring rows.
    pub(super) fn stride(&self) -> usize {
        self.seen.len().next_multiple_of(LANES)
    }

    /// Where the score of a query at a position lies.
    pub(super) fn score(
        &self,
        spec: &AttentionSpec,
        kv_head: usize,
        query: usize,
        position: usize,
    ) -> usize {
        let row = kv_head * self.queries(spec) + query;
        self.first_score + row * self.stride() + position - self.seen.start
    }
}

/// The positions that a token sees.
fn seen_from(spec: &AttentionSpec, position: usize) -> Range<usize> {
    let end = position + 1;
    let first = |window: usize| end.saturating_sub(window.max(1));
    spec.window.map_or(0, first)..end
}

/// Those of `positions` that lie in a block; maybe none.
pub(super) fn in_block(positions: &Range<usize>, block: usize) -> Range<usize> {
    let all = block * KV_BLOCK..(block + 1) * KV_BLOCK;
    let start = positions.start.max(all.start);
    start..positions.end.min(all.end).max(start)
}
