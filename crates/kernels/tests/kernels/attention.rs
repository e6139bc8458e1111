//! Attention against its definition in f64, and what the cache keeps.

use std::sync::Arc;

use llm_kernels::{AttentionSpec, KV_BLOCK, KvBlock, KvView};

use crate::common::{assert_same_bits, kv_blocks, random_floats, rope_blocks, scalar};

/// Softmax of weights in f32 against f64: sums of some hundred terms.
const TOLERANCE: f64 = 2e-5;

/// One head of the row of a position.
fn head_of<'a>(rows: &'a [f32], spec: &AttentionSpec, position: usize, head: usize) -> &'a [f32] {
    &rows[(position * spec.n_kv_head + head) * spec.head_dim..][..spec.head_dim]
}

/// A head turned by the angles of its position: the first 2 `half` numbers, by halves.
fn turned(head: &[f32], half: usize, position: usize) -> Vec<f64> {
    let mut out: Vec<f64> = head.iter().map(|&x| f64::from(x)).collect();
    for pair in 0..half {
        // As the table has it, rounded to f32.
        let angle = position as f32 / (1.0 + pair as f32);
        let (cos, sin) = (f64::from(angle.cos()), f64::from(angle.sin()));
        let (a, b) = (out[pair], out[pair + half]);
        (out[pair], out[pair + half]) = (a * cos - b * sin, a * sin + b * cos);
    }
    out
}

/// The output of one head of the token at position `last`, which sees the positions from `first` on.
fn naive(
    q: &[f32],
    [k, v]: [&[f32]; 2],
    spec: &AttentionSpec,
    half: usize,
    kv_head: usize,
    first: usize,
    last: usize,
) -> Vec<f64> {
    let q = turned(q, half, last);
    let score = |position| -> f64 {
        let k = turned(head_of(k, spec, position, kv_head), half, position);
        let terms = q.iter().zip(k).map(|(q, k)| q * k);
        terms.sum::<f64>() * f64::from(spec.scale)
    };
    let scores: Vec<f64> = (first..=last).map(score).collect();
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = scores.iter().map(|score| (score - max).exp()).sum();
    let output = |i: usize| {
        let terms = (first..=last).zip(&scores);
        let value = |p| f64::from(head_of(v, spec, p, kv_head)[i]);
        terms
            .map(|(p, score)| (score - max).exp() / total * value(p))
            .sum()
    };
    (0..spec.head_dim).map(output).collect()
}

#[test]
fn attention_equals_its_definition() {
    let half = 16;
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
        let [k, v] = [1, 2].map(|seed| random_floats(len * 80, seed));
        let cache = kv_blocks([&k, &v], 2, 40, None);
        let view = KvView {
            blocks: &cache,
            planes: [0, 1],
            first_pos,
            n,
        };
        let rope = rope_blocks(len.div_ceil(KV_BLOCK), half);
        let q = random_floats(n * spec.n_head * spec.head_dim, 3);
        let mut out = vec![0.0; q.len()];
        scalar().attention(&q, &[view], &rope, &spec, &mut out);
        for (index, (q, out)) in q
            .chunks(spec.head_dim)
            .zip(out.chunks(spec.head_dim))
            .enumerate()
        {
            let (last, head) = (first_pos + index / spec.n_head, index % spec.n_head);
            let first = window.map_or(0, |window| (last + 1).saturating_sub(window));
            let expected = naive(q, [&k, &v], &spec, half, head / 3, first, last);
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
    let (mut k, v) = (random_floats(64 * 32, 1), random_floats(64 * 32, 2));
    let q = random_floats(3 * 64, 3);
    let rope = rope_blocks(1, 16);
    let attend = |k: &[f32]| {
        let cache = kv_blocks([k, &v], 1, 32, None);
        let view = KvView {
            blocks: &cache,
            planes: [0, 1],
            first_pos: 10,
            n: 3,
        };
        let mut out = vec![0.0; q.len()];
        scalar().attention(&q, &[view], &rope, &spec, &mut out);
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

/// More scores than are held at a time: the tokens go through in several passes.
#[test]
fn a_long_context_gives_each_token_what_it_gets_alone() {
    let spec = AttentionSpec {
        n_head: 64,
        n_kv_head: 1,
        head_dim: 8,
        scale: 0.5,
        window: None,
    };
    let (len, n) = (4096, 40);
    let [k, v] = [1, 2].map(|seed| random_floats(len * 8, seed));
    let cache = kv_blocks([&k, &v], 1, 8, None);
    let rope = rope_blocks(len / KV_BLOCK, 4);
    let view = |first_pos, n| KvView {
        blocks: &cache,
        planes: [0, 1],
        first_pos,
        n,
    };
    let q = random_floats(n * 512, 3);
    let (mut together, mut alone) = (vec![0.0; q.len()], vec![0.0; q.len()]);
    let compute = scalar();
    compute.attention(&q, &[view(len - n, n)], &rope, &spec, &mut together);
    for ((q, out), position) in q.chunks(512).zip(alone.chunks_mut(512)).zip(len - n..) {
        compute.attention(q, &[view(position, 1)], &rope, &spec, out);
    }
    assert_same_bits(&together, &alone, "40 tokens at 4096 positions");
}

/// Rows of two heads of 40 numbers: whole multiples of a factor, as ternary products are.
fn multiples(factor: f32, seed: u64) -> Vec<f32> {
    let numbers = random_floats(KV_BLOCK * 80, seed);
    numbers
        .iter()
        .map(|x| (x * 8192.0).round() * factor)
        .collect()
}

#[test]
fn whole_multiples_of_a_factor_are_kept_in_half_the_memory() {
    for factor in [1.0, 0.003, -1e-12, 3e20] {
        let rows = multiples(factor, 4);
        let block = &kv_blocks([&rows, &rows], 2, 40, Some(factor))[0];
        // Values of 40 numbers take two columns of 32.
        let planes = 2 * (40 + 64) * KV_BLOCK * 2 + 2 * 4 * KV_BLOCK;
        assert_eq!(block.bytes(), planes, "{factor}");
        let mut row = [0.0; 80];
        for (plane, (at, expected)) in
            (0..2).flat_map(|p| rows.chunks(80).enumerate().map(move |r| (p, r)))
        {
            block.read(plane, at, &mut row);
            assert_same_bits(
                &row,
                expected,
                &format!("{factor}, plane {plane}, row {at}"),
            );
        }
    }
}

#[test]
fn a_row_that_codes_cannot_hold_makes_its_plane_keep_floats() {
    let factor = 0.25;
    let odd = [
        ("a number between multiples", Some(factor), 0.3),
        ("beyond 16 bits", Some(factor), 32_768.0 * factor),
        ("far beyond", Some(factor), 1e30),
        ("negative zero", Some(factor), -0.0),
        ("NaN", Some(factor), f32::NAN),
        ("infinity", Some(factor), f32::INFINITY),
        ("a factor that is infinite", Some(f32::INFINITY), 1.0),
        ("a factor that is not a number", Some(f32::NAN), f32::NAN),
        ("a factor of zero", Some(0.0), 1.0),
        ("no factor", None, 1.0),
    ];
    for (what, own_factor, bad) in odd {
        let mut block = KvBlock::new(2, 40, &[true, false, true]).expect("small");
        let before = block.bytes();
        let mut rows = [1, 2, 3].map(|seed| multiples(factor, seed));
        rows[2][7 * 80 + 79] = bad;
        for (plane, rows) in rows.iter().enumerate() {
            for (at, row) in rows.chunks(80).enumerate() {
                let odd = plane == 2 && at == 7;
                let factor = if odd { own_factor } else { Some(factor) };
                block.write(plane, at, row, factor).expect("small");
            }
        }
        // The plane's codes stay, unused.
        let wider = 2 * 40 * KV_BLOCK * 4;
        assert_eq!(block.bytes(), before + wider, "{what}");
        let mut row = [0.0; 80];
        for (plane, rows) in rows.iter().enumerate() {
            for (at, expected) in rows.chunks(80).enumerate() {
                block.read(plane, at, &mut row);
                assert_same_bits(&row, expected, &format!("{what}, plane {plane}, row {at}"));
            }
        }
    }
}

/// So what a block comes to hold later does not change what was computed before.
#[test]
fn rows_mean_the_same_whatever_else_their_block_holds() {
    let spec = AttentionSpec {
        n_head: 4,
        n_kv_head: 2,
        head_dim: 40,
        scale: 0.3,
        window: None,
    };
    let [k, v] = [5, 6].map(|seed| multiples(0.000_7, seed));
    let mut cache = kv_blocks([&k, &v], 2, 40, Some(0.000_7));
    let q = random_floats(3 * 160, 7);
    let rope = rope_blocks(1, 20);
    let attend = |blocks: &[Arc<KvBlock>]| {
        let view = KvView {
            blocks,
            planes: [0, 1],
            first_pos: 30,
            n: 3,
        };
        let mut out = vec![0.0; q.len()];
        scalar().attention(&q, &[view], &rope, &spec, &mut out);
        out
    };
    let before = attend(&cache);
    let block = Arc::get_mut(&mut cache[0]).expect("not shared");
    let bytes = block.bytes();
    // Behind the tokens that attend.
    for plane in 0..2 {
        let odd = [0.1; 80];
        block.write(plane, 50, &odd, None).expect("small");
    }
    assert!(block.bytes() > bytes, "the planes keep f32 now");
    assert_same_bits(&attend(&cache), &before, "after an odd row");
    // Written anew, rows are as they were before.
    let block = Arc::get_mut(&mut cache[0]).expect("not shared");
    for (plane, rows) in [&k, &v].into_iter().enumerate() {
        for (at, row) in rows.chunks(80).enumerate().take(33) {
            block.write(plane, at, row, Some(0.000_7)).expect("small");
        }
    }
    assert_same_bits(&attend(&cache), &before, "written into the wide block");
}
