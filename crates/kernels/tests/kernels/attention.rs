//! Attention against its definition in f64.

use llm_kernels::{AttentionSpec, KV_BLOCK, KvView};

use crate::common::{assert_same_bits, random_floats, scalar};

/// Softmax of weights in f32 against f64: sums of some hundred terms.
const TOLERANCE: f64 = 2e-5;

/// The cache's number for a position, head and dimension.
fn cached(blocks: &[f32], spec: &AttentionSpec, position: usize, head: usize, i: usize) -> f64 {
    let block = position / KV_BLOCK * spec.n_kv_head * KV_BLOCK * spec.head_dim;
    let row = head * KV_BLOCK + position % KV_BLOCK;
    f64::from(blocks[block + row * spec.head_dim + i])
}

/// The output of one head of one token, which sees the positions from `first` to `last`.
fn naive(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    spec: &AttentionSpec,
    kv_head: usize,
    first: usize,
    last: usize,
) -> Vec<f64> {
    let score = |position| -> f64 {
        let terms = q
            .iter()
            .enumerate()
            .map(|(i, q)| f64::from(*q) * cached(k, spec, position, kv_head, i));
        terms.sum::<f64>() * f64::from(spec.scale)
    };
    let scores: Vec<f64> = (first..=last).map(score).collect();
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = scores.iter().map(|score| (score - max).exp()).sum();
    let output = |i| {
        let terms = (first..=last).zip(&scores);
        terms
            .map(|(p, score)| (score - max).exp() / total * cached(v, spec, p, kv_head, i))
            .sum()
    };
    (0..spec.head_dim).map(output).collect()
}

#[test]
fn attention_equals_its_definition() {
    let compute = scalar();
    for (first_pos, n, window) in [
        (0, 1, None),
        (0, 5, None),
        (61, 6, None),
        (200, 2, None),
        (100, 4, Some(70)),
        (3, 4, Some(1)),
    ] {
        let spec = AttentionSpec {
            n_head: 6,
            n_kv_head: 2,
            head_dim: 40,
            scale: 0.16,
            window,
        };
        let len: usize = first_pos + n;
        let block = spec.n_kv_head * KV_BLOCK * spec.head_dim;
        let k = random_floats(len.div_ceil(KV_BLOCK) * block, 1);
        let v = random_floats(k.len(), 2);
        let kv = KvView {
            k: k.chunks(block).collect(),
            v: v.chunks(block).collect(),
            len,
        };
        let q = random_floats(n * spec.n_head * spec.head_dim, 3);
        let mut out = vec![0.0; q.len()];
        compute.attention(&q, &kv, &spec, first_pos, n, &mut out);
        for (index, (q, out)) in q
            .chunks(spec.head_dim)
            .zip(out.chunks(spec.head_dim))
            .enumerate()
        {
            let (last, head) = (first_pos + index / spec.n_head, index % spec.n_head);
            let first = window.map_or(0, |window| (last + 1).saturating_sub(window));
            let expected = naive(q, &k, &v, &spec, head / 3, first, last);
            for (a, e) in out.iter().zip(&expected) {
                assert!(
                    (f64::from(*a) - e).abs() < TOLERANCE,
                    "head {head} at {last}, {window:?}: {a} or {e}"
                );
            }
        }
    }
}

#[test]
fn what_lies_behind_the_last_token_has_no_effect() {
    let spec = AttentionSpec {
        n_head: 2,
        n_kv_head: 1,
        head_dim: 32,
        scale: 1.0,
        window: None,
    };
    let block = KV_BLOCK * spec.head_dim;
    let (mut k, v) = (random_floats(block, 1), random_floats(block, 2));
    let q = random_floats(3 * 64, 3);
    let attend = |k: &[f32]| {
        let kv = KvView {
            k: vec![k],
            v: vec![&v],
            len: 40,
        };
        let mut out = vec![0.0; q.len()];
        scalar().attention(&q, &kv, &spec, 10, 3, &mut out);
        out
    };
    let before = attend(&k);
    // The second token of three must not see the third's position, nor any of them those after it.
    k[12 * 32..].fill(f32::NAN);
    assert_same_bits(
        &attend(&k)[..128],
        &before[..128],
        "tokens before the damage",
    );
    assert!(
        attend(&k)[128..].iter().all(|x| x.is_nan()),
        "the third token sees its own position"
    );
}
