//! Rotary position embedding: the angles. The rotation itself is a kernel.
//!
//! Frequencies and angles are computed in f64 with a portable libm, so that every platform gets the same f32 table.

use crate::config::RopeScaling;

/// One inverse frequency per rotated pair.
#[derive(Debug, Clone)]
pub(crate) struct RopeTable {
    inv_freq: Vec<f64>,
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
        Self { inv_freq }
    }

    /// Appends the row of `position` to the tables `cos` and `sin`, `[n][head_dim / 2]`.
    pub(crate) fn push_row(&self, position: usize, cos: &mut Vec<f32>, sin: &mut Vec<f32>) {
        for inv in &self.inv_freq {
            let angle = position as f64 * inv;
            cos.push(libm::cos(angle) as f32);
            sin.push(libm::sin(angle) as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pair_turns_by_one_radian_a_position() {
        let table = RopeTable::new(64, 10_000.0, &RopeScaling::None, None);
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        table.push_row(3, &mut cos, &mut sin);
        assert_eq!(cos.len(), 32);
        assert_eq!((cos[0], sin[0]), (3f64.cos() as f32, 3f64.sin() as f32));
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
