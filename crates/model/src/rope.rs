//! Rotary position embedding: the angles. The rotation itself is a kernel.
//!
//! Frequencies and angles are computed in f64 with a portable libm, so that every platform gets the same f32 table.

use std::sync::{Arc, Mutex, PoisonError};

use llm_kernels::{KV_BLOCK, RopeBlock};

use crate::config::RopeScaling;

/// One inverse frequency per rotated pair, and the tables made of them so far.
#[derive(Debug)]
pub(crate) struct RopeTable {
    inv_freq: Vec<f64>,
    /// The angles of the positions `64 b..64 (b + 1)`, shared by all layers and sequences.
    blocks: Mutex<Vec<Arc<RopeBlock>>>,
}

impl RopeTable {
    /// `theta^(-2i / head_dim)` for the pairs `i`, scaled.
    ///
    /// `factors` is GGUF's `rope_freqs.weight`: one divisor per pair.
    pub(crate) fn new(
        head_dim: usize,
        theta: f64,
        scaling: &RopeScaling,
        factors: Option<&[f32]>,
    ) -> Self {
        let mut inv_freq: Vec<f64> = (0..head_dim / 2)
            .map(|i| 1.0 / libm::pow(theta, 2.0 * i as f64 / head_dim as f64))
            .map(|inv| scaling.apply(inv))
            .collect();
        if let Some(factors) = factors {
            for (inv, &factor) in inv_freq.iter_mut().zip(factors) {
                *inv /= f64::from(factor);
            }
        }
        Self {
            inv_freq,
            blocks: Mutex::default(),
        }
    }

    /// Makes `blocks` the tables of at least the first `positions` positions.
    pub(crate) fn cover(&self, positions: usize, blocks: &mut Vec<Arc<RopeBlock>>) {
        let mut made = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        for block in made.len()..positions.div_ceil(KV_BLOCK) {
            made.push(Arc::new(self.block(block)));
        }
        blocks.clone_from(&made);
    }

    fn block(&self, block: usize) -> RopeBlock {
        RopeBlock::new(self.inv_freq.len(), |pair, place| {
            let angle = (block * KV_BLOCK + place) as f64 * self.inv_freq[pair];
            (libm::cos(angle) as f32, libm::sin(angle) as f32)
        })
    }
}

/// Puts the pairs of every head, stored side by side, half a head apart: the order of folders, in which attention adds up. So a
/// model's logits do not depend on the container that it comes in.
pub(crate) fn halves(heads: &mut [f32], head_dim: usize, buffer: &mut Vec<f32>) {
    for head in heads.chunks_exact_mut(head_dim) {
        buffer.clear();
        buffer.extend(head.iter().step_by(2));
        buffer.extend(head.iter().skip(1).step_by(2));
        head.copy_from_slice(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_come_to_lie_half_a_head_apart() {
        let mut heads = [0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0];
        halves(&mut heads, 4, &mut Vec::new());
        assert_eq!(heads, [0.0, 2.0, 1.0, 3.0, 10.0, 12.0, 11.0, 13.0]);
    }

    #[test]
    fn the_first_pair_turns_by_one_radian_a_position() {
        let table = RopeTable::new(64, 10_000.0, &RopeScaling::None, None);
        let mut blocks = Vec::new();
        table.cover(KV_BLOCK + 1, &mut blocks);
        assert_eq!(blocks.len(), 2);
        for position in [3, KV_BLOCK + 3] {
            let angles: Vec<_> = blocks[position / KV_BLOCK]
                .angles(position % KV_BLOCK)
                .collect();
            assert_eq!(angles.len(), 32);
            let angle = position as f64;
            assert_eq!(angles[0], (angle.cos() as f32, angle.sin() as f32));
        }
    }

    #[test]
    fn llama3_scaling_leaves_short_waves_and_divides_long_ones() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low: 1.0,
            high: 4.0,
            original_context: 8192.0,
        };
        assert_eq!(scaling.apply(1.0), 1.0);
        assert_eq!(scaling.apply(1e-6), 1e-6 / 8.0);
        let between = scaling.apply(2.0 * std::f64::consts::PI / 4096.0);
        assert!(
            between < 2.0 * std::f64::consts::PI / 4096.0
                && between > 2.0 * std::f64::consts::PI / 32768.0
        );
    }
}
