//! Keys and values of one sequence, in blocks of [`KV_BLOCK`] positions that are allocated as the sequence grows.
//!
//! They are kept without loss, in 16 bits a number where the projections are ternary ([`KvPlane`]).

use std::sync::Arc;

use llm_kernels::{KV_BLOCK, KvOutOfMemory, KvPlane, KvView};

use crate::error::ModelError;

/// Shape of a cache, the same for all sequences of a model.
#[derive(Debug)]
pub(crate) struct KvShape {
    pub(crate) n_kv_head: usize,
    pub(crate) head_dim: usize,
    /// For each layer whether its keys, and its values, come from ternary products.
    pub(crate) ternary: Vec<[bool; 2]>,
}

/// Keys and values of one sequence.
#[derive(Debug)]
pub struct KvCache {
    shape: Arc<KvShape>,
    /// Keys and values of each layer.
    blocks: Vec<Vec<[KvPlane; 2]>>,
    len: usize,
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

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let planes = self.blocks.iter().flatten().flatten();
        planes.map(KvPlane::bytes).sum()
    }

    /// Makes room for `n` positions more.
    ///
    /// # Errors
    /// [`ModelError::OutOfMemory`]; the cache is as before then.
    pub(crate) fn reserve(&mut self, n: usize) -> Result<(), ModelError> {
        let KvShape {
            n_kv_head,
            head_dim,
            ref ternary,
        } = *self.shape;
        let plane = |ternary| KvPlane::new(n_kv_head, head_dim, ternary);
        let layer = |&[k, v]: &[bool; 2]| Ok([plane(k)?, plane(v)?]);
        while self.blocks.len() < (self.len + n).div_ceil(KV_BLOCK) {
            let block: Result<_, KvOutOfMemory> = ternary.iter().map(layer).collect();
            self.blocks.push(block?);
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
            let position = self.len + i;
            let planes = &mut self.blocks[position / KV_BLOCK][layer];
            for ((plane, row), factor) in planes.iter_mut().zip([k, v]).zip(factors(i)) {
                plane.write(position % KV_BLOCK, row, factor)?;
            }
        }
        Ok(())
    }

    /// Counts `n` positions as held.
    pub(crate) fn advance(&mut self, n: usize) {
        self.len += n;
    }

    /// The keys and values of `layer` for the `n` tokens after those held.
    pub(crate) fn view(&self, layer: usize, n: usize) -> KvView<'_> {
        let planes = |which: usize| {
            let blocks = self.blocks.iter();
            blocks.map(|block| &block[layer][which]).collect()
        };
        KvView {
            k: planes(0),
            v: planes(1),
            first_pos: self.len,
            n,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_grows_by_blocks_and_gives_them_back() {
        // Two layers of one head of 4 numbers, padded to 32; the first layer's keys are ternary, with a factor a position.
        let shape = KvShape {
            n_kv_head: 1,
            head_dim: 4,
            ternary: vec![[true, false], [false, false]],
        };
        let block = KV_BLOCK * (32 * (2 + 3 * 4) + 4);
        let mut cache = KvCache::new(Arc::new(shape));
        cache.reserve(KV_BLOCK + 1).unwrap();
        cache.advance(KV_BLOCK + 1);
        assert_eq!(cache.bytes(), 2 * block);
        cache.truncate(KV_BLOCK);
        assert_eq!(cache.bytes(), block);
        cache.truncate(usize::MAX);
        assert_eq!(cache.len(), KV_BLOCK);
    }
}
