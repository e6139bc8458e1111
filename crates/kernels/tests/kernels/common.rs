//! What several test files need.

use std::sync::Arc;

use llm_kernels::{Compute, Isa, KV_BLOCK, Kernels, KvBlock, RopeBlock};

/// Bytes of no pattern, always the same for a seed.
pub(crate) fn random_bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Numbers of about -4 to 4.
pub(crate) fn random_floats(len: usize, seed: u64) -> Vec<f32> {
    let bytes = random_bytes(2 * len, seed);
    let value = |pair: &[u8; 2]| f32::from(i16::from_le_bytes(*pair)) / 8192.0;
    bytes.as_chunks::<2>().0.iter().map(value).collect()
}

/// Codes 0 to 2.
pub(crate) fn random_codes(len: usize, seed: u64) -> Vec<u8> {
    random_bytes(len, seed)
        .into_iter()
        .map(|byte| byte % 3)
        .collect()
}

/// `None` where this machine lacks the instruction set.
pub(crate) fn compute(isa: Isa, threads: usize) -> Option<Compute> {
    let kernels = Kernels::for_isa(isa)?;
    Some(Compute::new(kernels, threads).expect("threads can be started"))
}

/// The portable kernels on one thread: the reference.
pub(crate) fn scalar() -> Compute {
    compute(Isa::Scalar, 1).expect("always there")
}

/// Panics with the first place where the bits differ; any NaN equals any NaN.
#[track_caller]
pub(crate) fn assert_same_bits(actual: &[f32], expected: &[f32], case: &str) {
    assert_eq!(actual.len(), expected.len(), "{case}: lengths");
    for (index, (a, e)) in actual.iter().zip(expected).enumerate() {
        let same = a.to_bits() == e.to_bits() || a.is_nan() && e.is_nan();
        assert!(same, "{case}: element {index} is {a:?}, expected {e:?}");
    }
}

/// Rows of keys and of values, `[positions][heads * head_dim]`, as the cache keeps them: keys in plane 0, values in plane 1.
pub(crate) fn kv_blocks(
    [k, v]: [&[f32]; 2],
    heads: usize,
    head_dim: usize,
    factor: Option<f32>,
) -> Vec<Arc<KvBlock>> {
    let (width, coded) = (heads * head_dim, [factor.is_some(); 2]);
    let chunks = k.chunks(KV_BLOCK * width).zip(v.chunks(KV_BLOCK * width));
    let block = |(k, v): (&[f32], &[f32])| {
        let mut block = KvBlock::new(heads, head_dim, &coded).expect("small");
        for (plane, rows) in [k, v].into_iter().enumerate() {
            for (at, row) in rows.chunks_exact(width).enumerate() {
                block.write(plane, at, row, factor).expect("small");
            }
        }
        Arc::new(block)
    };
    chunks.map(block).collect()
}

/// Angles of no meaning for `blocks` blocks.
pub(crate) fn rope_blocks(blocks: usize, half: usize) -> Vec<Arc<RopeBlock>> {
    let block = |block| {
        let angle = |pair, place| {
            let angle = ((block * KV_BLOCK + place) as f32) / (1.0 + pair as f32);
            (angle.cos(), angle.sin())
        };
        Arc::new(RopeBlock::new(half, angle))
    };
    (0..blocks).map(block).collect()
}
