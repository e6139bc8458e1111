//! Keys and values of one sequence, in blocks of [`KV_BLOCK`] positions that are allocated as the sequence grows.
//!
//! A block holds all layers: for layer `l` the keys `[n_kv_head][KV_BLOCK][head_dim]`, then the values of the same
//! shape, both f32: the oracle's tolerance for dense models leaves no room for f16.

use llm_kernels::{KV_BLOCK, KvView};

use crate::error::ModelError;

/// Shape of a cache: what one position takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct KvShape {
    n_layer: usize,
    n_kv_head: usize,
    head_dim: usize,
}

impl KvShape {
    /// Floats of the keys (or the values) of one layer in one block.
    fn plane(self) -> usize {
        self.n_kv_head * KV_BLOCK * self.head_dim
    }

    fn block(self) -> usize {
        self.n_layer * 2 * self.plane()
    }
}

/// Keys and values of one sequence.
#[derive(Debug)]
pub struct KvCache {
    shape: KvShape,
    blocks: Vec<Box<[f32]>>,
    len: usize,
}

impl KvCache {
    /// An empty cache; memory is taken as positions are added.
    #[must_use]
    pub fn new(n_layer: usize, n_kv_head: usize, head_dim: usize) -> Self {
        Self {
            shape: KvShape {
                n_layer,
                n_kv_head,
                head_dim,
            },
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

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.blocks.len() * self.shape.block() * size_of::<f32>()
    }

    /// Makes room for `n` positions more.
    ///
    /// # Errors
    /// [`ModelError::OutOfMemory`]; the cache is as before then.
    pub(crate) fn reserve(&mut self, n: usize) -> Result<(), ModelError> {
        let wanted = (self.len + n).div_ceil(KV_BLOCK);
        while self.blocks.len() < wanted {
            let floats = self.shape.block();
            let mut block: Vec<f32> = Vec::new();
            block
                .try_reserve_exact(floats)
                .map_err(|_| ModelError::OutOfMemory {
                    bytes: floats * size_of::<f32>(),
                })?;
            block.resize(floats, 0.0);
            self.blocks.push(block.into_boxed_slice());
        }
        Ok(())
    }

    /// Writes the rows `k` and `v`, `[n][n_kv_head * head_dim]`, of `layer` at the positions from `len` on, which
    /// [`reserve`](Self::reserve) made room for. The length moves with [`advance`](Self::advance), once a pass.
    pub(crate) fn write(&mut self, layer: usize, k: &[f32], v: &[f32]) {
        let KvShape {
            n_kv_head,
            head_dim,
            ..
        } = self.shape;
        let width = n_kv_head * head_dim;
        let plane = self.shape.plane();
        let base = layer * 2 * plane;
        for (i, (k_row, v_row)) in k.chunks_exact(width).zip(v.chunks_exact(width)).enumerate() {
            let position = self.len + i;
            let block = &mut self.blocks[position / KV_BLOCK];
            for head in 0..n_kv_head {
                let at = base + (head * KV_BLOCK + position % KV_BLOCK) * head_dim;
                let of = head * head_dim..(head + 1) * head_dim;
                block[at..at + head_dim].copy_from_slice(&k_row[of.clone()]);
                block[at + plane..at + plane + head_dim].copy_from_slice(&v_row[of]);
            }
        }
    }

    /// Counts `n` positions as held.
    pub(crate) fn advance(&mut self, n: usize) {
        self.len += n;
    }

    /// The keys and values of `layer` up to `len` positions, `len` counted from the start of the sequence.
    pub(crate) fn view(&self, layer: usize, len: usize) -> KvView<'_> {
        let plane = self.shape.plane();
        let base = layer * 2 * plane;
        let planes = |from: usize| {
            self.blocks
                .iter()
                .map(|block| &block[from..from + plane])
                .collect()
        };
        KvView {
            k: planes(base),
            v: planes(base + plane),
            len,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_grows_by_blocks_and_gives_them_back() {
        let mut cache = KvCache::new(2, 1, 4);
        cache.reserve(KV_BLOCK + 1).unwrap();
        cache.advance(KV_BLOCK + 1);
        assert_eq!(cache.bytes(), 2 * 2 * 2 * KV_BLOCK * 4 * 4);
        cache.truncate(KV_BLOCK);
        assert_eq!(cache.bytes(), 2 * 2 * KV_BLOCK * 4 * 4);
        cache.truncate(usize::MAX);
        assert_eq!(cache.len(), KV_BLOCK);
    }
}
