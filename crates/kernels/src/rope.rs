use crate::kv::KEY_TILES;
use crate::simd::LANES;

/// The cosines and sines of a pair at neighbouring positions.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct RopeRow {
    pub(crate) cos: [f32; LANES],
    pub(crate) sin: [f32; LANES],
}

/// The rotary angles of the positions of one cache block.
///
/// A pair `(a, b)` of a head, its numbers `i` and `i + half`, becomes `(a cos - b sin, a sin + b cos)`.
#[derive(Debug)]
pub struct RopeBlock {
    half: usize,
    /// `[KEY_TILES][half]`, as keys lie.
    table: Vec<RopeRow>,
}

impl RopeBlock {
    /// A table for `half` pairs of a head; `angle(i, p)` is the cosine and the sine of pair `i` at place `p` of the block.
    pub fn new(half: usize, angle: impl Fn(usize, usize) -> (f32, f32)) -> Self {
        let row = |(tile, pair)| {
            let angles: [_; LANES] = std::array::from_fn(|lane| angle(pair, tile * LANES + lane));
            RopeRow {
                cos: angles.map(|(cos, _)| cos),
                sin: angles.map(|(_, sin)| sin),
            }
        };
        let rows = (0..KEY_TILES).flat_map(|tile| (0..half).map(move |pair| (tile, pair)));
        Self {
            half,
            table: rows.map(row).collect(),
        }
    }

    /// Pairs of a head that are turned.
    pub(crate) fn half(&self) -> usize {
        self.half
    }

    /// The angles of [`LANES`] positions, pair by pair.
    pub(crate) fn tile(&self, tile: usize) -> &[RopeRow] {
        &self.table[tile * self.half..(tile + 1) * self.half]
    }

    /// Cosines and sines of a place in the block, pair by pair.
    ///
    /// # Panics
    /// When the block has no such place.
    pub fn angles(&self, place: usize) -> impl Iterator<Item = (f32, f32)> {
        let (rows, lane) = (self.tile(place / LANES), place % LANES);
        rows.iter().map(move |row| (row.cos[lane], row.sin[lane]))
    }
}

/// Turns the pairs of `x`, of twice the length of `angles`.
pub(crate) fn rotate(x: &mut [f32], angles: &[(f32, f32)]) {
    let (low, high) = x.split_at_mut(angles.len());
    for ((a, b), (cos, sin)) in low.iter_mut().zip(high).zip(angles) {
        (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::KV_BLOCK;

    #[test]
    fn rotary_embedding_turns_pairs_half_a_head_apart() {
        // The first pair is rotated by a quarter turn, the second not at all.
        let angles = [(0.0, 1.0), (1.0, 0.0)];
        let mut half = [1.0, 2.0, 3.0, 4.0];
        rotate(&mut half, &angles);
        assert_eq!(half, [-3.0, 2.0, 1.0, 4.0]);
    }

    #[test]
    fn a_block_gives_each_place_its_own_angles() {
        for half in [0, 1, 31, 32, 33] {
            let angle = |pair, place| ((100 * place + pair) as f32, -(pair as f32));
            let block = RopeBlock::new(half, angle);
            for place in [0, 1, LANES - 1, LANES, KV_BLOCK - 1] {
                let expected: Vec<_> = (0..half).map(|i| angle(i, place)).collect();
                let found: Vec<_> = block.angles(place).collect();
                assert_eq!(found, expected, "{half}, {place}");
            }
        }
    }
}
