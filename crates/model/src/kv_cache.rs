//! Keys and values of one sequence, in blocks of [`KV_BLOCK`] positions that are allocated as the sequence grows.
//!
//! They are kept without loss, in 16 bits a number where the projections are ternary ([`KvBlock`]). Sequences that begin alike
//! share the blocks of what they have in common; a block that is shared is copied before it is written.

use std::collections::HashSet;
use std::sync::Arc;

use llm_kernels::{KV_BLOCK, KvBlock, KvView};

use crate::error::ModelError;

/// Shape of a cache, the same for all sequences of a model.
#[derive(Debug)]
pub(crate) struct KvShape {
    pub(crate) n_kv_head: usize,
    pub(crate) head_dim: usize,
    /// For the keys of the first layer, its values, the keys of the next: whether they come from ternary products.
    pub(crate) ternary: Vec<bool>,
}

/// Keys and values of one sequence.
#[derive(Debug)]
pub struct KvCache {
    shape: Arc<KvShape>,
    blocks: Vec<Arc<KvBlock>>,
    len: usize,
}

/// What caches hold together, blocks that they share counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvUsage {
    /// Positions that there is memory for.
    pub positions: usize,
    /// Bytes.
    pub bytes: usize,
}

impl KvCache {
    /// An empty cache; memory is taken as positions are added.
    pub(crate) fn new(shape: Arc<KvShape>) -> Self {
        Self {
            shape,
            blocks: Vec::new(),
            len: 0,
        }
    }

    /// Positions held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no position is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets the positions from `len` on and gives back whole blocks. Longer than the cache: nothing happens.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.blocks.truncate(self.len.div_ceil(KV_BLOCK));
    }

    /// A cache of the first `len` positions, or of all, for another sequence; it takes no memory of its own before it grows.
    #[must_use]
    pub fn fork(&self, len: usize) -> Self {
        let len = self.len.min(len);
        Self {
            shape: Arc::clone(&self.shape),
            blocks: self.blocks[..len.div_ceil(KV_BLOCK)].to_vec(),
            len,
        }
    }

    /// Bytes held, shared ones among them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.bytes()).sum()
    }

    /// What several caches hold together.
    pub fn usage<'a>(caches: impl IntoIterator<Item = &'a Self>) -> KvUsage {
        let mut seen = HashSet::new();
        let blocks = caches.into_iter().flat_map(|cache| &cache.blocks);
        let distinct = blocks.filter(|block| seen.insert(Arc::as_ptr(block)));
        let bytes = distinct.map(|block| block.bytes()).sum();
        KvUsage {
            positions: seen.len() * KV_BLOCK,
            bytes,
        }
    }

    /// Makes room for `n` positions more.
    ///
    /// # Errors
    /// [`ModelError::OutOfMemory`]; what the cache holds is as before then.
    pub(crate) fn reserve(&mut self, n: usize) -> Result<(), ModelError> {
        if let Some(block) = self.blocks.get_mut(self.len / KV_BLOCK)
            && Arc::get_mut(block).is_none()
        {
            *block = Arc::new(block.try_clone()?);
        }
        let shape = &self.shape;
        while self.blocks.len() < (self.len + n).div_ceil(KV_BLOCK) {
            let block = KvBlock::new(shape.n_kv_head, shape.head_dim, &shape.ternary)?;
            self.blocks.push(Arc::new(block));
        }
        Ok(())
    }

    /// Keeps the rows `k` and `v`, `[n][n_kv_head * head_dim]`, of `layer` at the positions from `len` on, which
    /// [`reserve`](Self::reserve) made room for; keys without their rotary embedding. `factors` gives what the numbers of a
    /// row of keys, and of values, are whole multiples of. The length moves with [`advance`](Self::advance), once a pass.
    ///
    /// # Errors
    /// [`ModelError::OutOfMemory`] when a row needs more room than most; what was held stays.
    pub(crate) fn write(
        &mut self,
        layer: usize,
        k: &[f32],
        v: &[f32],
        factors: impl Fn(usize) -> [Option<f32>; 2],
    ) -> Result<(), ModelError> {
        let width = self.shape.n_kv_head * self.shape.head_dim;
        for (i, (k, v)) in k.chunks_exact(width).zip(v.chunks_exact(width)).enumerate() {
            let (index, at) = ((self.len + i) / KV_BLOCK, (self.len + i) % KV_BLOCK);
            let block = Arc::get_mut(&mut self.blocks[index])
                .expect("reserve leaves no shared block where rows are written");
            for ((plane, row), factor) in planes(layer).into_iter().zip([k, v]).zip(factors(i)) {
                block.write(plane, at, row, factor)?;
            }
        }
        Ok(())
    }

    /// Keeps one row at the position `len`, which [`reserve`](Self::reserve) made room for.
    ///
    /// # Errors
    /// As [`write`](Self::write)'s.
    pub(crate) fn write_row(
        &mut self,
        plane: usize,
        row: &[f32],
        factor: Option<f32>,
    ) -> Result<(), ModelError> {
        let block = Arc::get_mut(&mut self.blocks[self.len / KV_BLOCK])
            .expect("reserve leaves no shared block where rows are written");
        Ok(block.write(plane, self.len % KV_BLOCK, row, factor)?)
    }

    /// Its shape.
    pub(crate) fn shape(&self) -> &KvShape {
        &self.shape
    }

    /// Its blocks.
    pub(crate) fn blocks(&self) -> &[Arc<KvBlock>] {
        &self.blocks
    }

    /// Counts `n` positions as held.
    pub(crate) fn advance(&mut self, n: usize) {
        self.len += n;
    }

    /// The keys and values of `layer` for the `n` tokens after those held.
    pub(crate) fn view(&self, layer: usize, n: usize) -> KvView<'_> {
        KvView {
            blocks: &self.blocks,
            planes: planes(layer),
            first_pos: self.len,
            n,
        }
    }
}

/// The planes of a layer's keys and values.
fn planes(layer: usize) -> [usize; 2] {
    [2 * layer, 2 * layer + 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of a block of [`cache`].
    const BLOCK: usize = KV_BLOCK * (4 * (2 + 4) + 4 + 2 * 32 * 4);

    /// Two layers of one head of 4 numbers, of which values are padded to 32; the first layer's keys are ternary, with a factor a
    /// position.
    fn cache() -> KvCache {
        KvCache::new(Arc::new(KvShape {
            n_kv_head: 1,
            head_dim: 4,
            ternary: vec![true, false, false, false],
        }))
    }

    /// Adds a position whose numbers are all `x`.
    fn push(cache: &mut KvCache, x: f32) {
        cache.reserve(1).unwrap();
        for layer in 0..2 {
            let row = [x; 4];
            cache
                .write(layer, &row, &row, |_| [Some(1.0), None])
                .unwrap();
        }
        cache.advance(1);
    }

    /// The first number of the keys of the first layer at every position.
    fn held(cache: &KvCache) -> Vec<f32> {
        let number = |position: usize| {
            let mut row = [0.0; 4];
            cache.blocks[position / KV_BLOCK].read(0, position % KV_BLOCK, &mut row);
            row[0]
        };
        (0..cache.len()).map(number).collect()
    }

    #[test]
    fn a_cache_grows_by_blocks_and_gives_them_back() {
        let mut cache = cache();
        cache.reserve(KV_BLOCK + 1).unwrap();
        cache.advance(KV_BLOCK + 1);
        assert_eq!(cache.bytes(), 2 * BLOCK);
        cache.truncate(KV_BLOCK);
        assert_eq!(cache.bytes(), BLOCK);
        cache.truncate(usize::MAX);
        assert_eq!(cache.len(), KV_BLOCK);
    }

    #[test]
    fn forks_share_what_they_have_in_common_and_write_apart() {
        let mut first = cache();
        (0..100_u8).for_each(|x| push(&mut first, x.into()));
        let mut second = first.fork(80);
        let usage = |caches: [&KvCache; 2]| KvCache::usage(caches);
        let (positions, bytes) = (2 * KV_BLOCK, 2 * BLOCK);
        assert_eq!(usage([&first, &second]), KvUsage { positions, bytes });
        push(&mut second, -1.0);
        push(&mut first, -2.0);
        let (positions, bytes) = (3 * KV_BLOCK, 3 * BLOCK);
        assert_eq!(usage([&first, &second]), KvUsage { positions, bytes });
        let numbers = |n: u8, last| (0..n).map(f32::from).chain([last]).collect::<Vec<_>>();
        assert_eq!(held(&first), numbers(100, -2.0));
        assert_eq!(held(&second), numbers(80, -1.0));
    }
}
