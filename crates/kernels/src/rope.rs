use crate::aligned::Line;
use crate::kv::KV_BLOCK;
use crate::simd::LANES;

/// The rotary angles of the positions of one cache block.
///
/// A pair `(a, b)` of a head, its numbers `i` and `i + half`, becomes `(a cos - b sin, a sin + b cos)`.
#[derive(Debug)]
pub struct RopeBlock {
    half: usize,
    /// From `start` on `[KV_BLOCK]` rows of the cosines, then the sines, each padded to whole vectors.
    table: Vec<f32>,
    /// Where the first cache line begins.
    start: usize,
}

impl RopeBlock {
    /// A table for `half` pairs of a head; `angle(i, p)` is the cosine and the sine of pair `i` at place `p` of the block.
    pub fn new(half: usize, angle: impl Fn(usize, usize) -> (f32, f32)) -> Self {
        let padded = half.next_multiple_of(LANES);
        let (len, line) = (KV_BLOCK * 2 * padded, size_of::<Line>());
        let mut table = vec![0.0; len + line / size_of::<f32>()];
        let start = table.as_ptr().align_offset(line);
        let rows = table[start..start + len].chunks_exact_mut((2 * padded).max(1));
        for (place, row) in rows.enumerate() {
            for pair in 0..half {
                (row[pair], row[padded + pair]) = angle(pair, place);
            }
        }
        Self { half, table, start }
    }

    /// Pairs of a head that are turned.
    pub(crate) fn half(&self) -> usize {
        self.half
    }

    /// Cosines and sines of a place in the block.
    ///
    /// # Panics
    /// When the block has no such place.
    #[inline]
    pub fn row(&self, place: usize) -> (&[f32], &[f32]) {
        let padded = self.half.next_multiple_of(LANES);
        let row = &self.table[self.start + place * 2 * padded..][..2 * padded];
        let (cos, sin) = row.split_at(padded);
        (&cos[..self.half], &sin[..self.half])
    }
}

/// Turns the pairs of `x`, of twice the length of `cos` and `sin`.
#[inline(always)]
pub(crate) fn rotate(x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (low, high) = x.split_at_mut(cos.len());
    for (((a, b), cos), sin) in low.iter_mut().zip(high).zip(cos).zip(sin) {
        (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotary_embedding_turns_pairs_half_a_head_apart() {
        let (cos, sin) = ([0.0, 1.0], [1.0, 0.0]);
        // The first pair is rotated by a quarter turn, the second not at all.
        let mut half = [1.0, 2.0, 3.0, 4.0];
        rotate(&mut half, &cos, &sin);
        assert_eq!(half, [-3.0, 2.0, 1.0, 4.0]);
    }

    #[test]
    fn a_block_gives_each_place_its_own_angles() {
        for half in [0, 1, 31, 32, 33] {
            let angle = |pair, place| ((100 * place + pair) as f32, -(pair as f32));
            let block = RopeBlock::new(half, angle);
            for place in [0, 1, KV_BLOCK - 1] {
                let (cos, sin) = block.row(place);
                let expected: (Vec<f32>, Vec<f32>) = (0..half).map(|i| angle(i, place)).unzip();
                assert_eq!((cos, sin), (&*expected.0, &*expected.1), "{half}, {place}");
            }
        }
    }
}
