//! Every instruction set and thread count against the portable kernels on one thread: the results must be the same bits.
//!
//! A set that this machine lacks is passed over.

use crate::common::{
    assert_same_bits, compute, kv_blocks, random_bytes, random_codes, random_floats, rope_blocks,
    scalar,
};
use llm_kernels::{
    Activation, AttentionSpec, Compute, DenseMatrix, DenseType, Isa, KvView, QuantizedRows,
    TernaryMatrix, pack_codes,
};

const DENSE_TYPES: [DenseType; 15] = [
    DenseType::F32,
    DenseType::F16,
    DenseType::Bf16,
    DenseType::Q8_0,
    DenseType::Q4_0,
    DenseType::Q4_1,
    DenseType::Q5_0,
    DenseType::Q5_1,
    DenseType::Q2K,
    DenseType::Q3K,
    DenseType::Q4K,
    DenseType::Q5K,
    DenseType::Q6K,
    DenseType::Tq1_0,
    DenseType::Tq2_0,
];

const ACTIVATIONS: [Activation; 3] = [Activation::Silu, Activation::Relu2, Activation::GeluTanh];

/// Around every edge of a line (16), a vector (32), a widening (15 lines) and a block of rounding (512).
const WIDTHS: [usize; 16] = [
    1, 3, 4, 15, 16, 17, 31, 32, 33, 63, 100, 239, 240, 241, 512, 530,
];

/// Around every edge of a panel (16 rows) and a pair of panels.
const HEIGHTS: [usize; 8] = [1, 2, 15, 16, 17, 32, 33, 70];

/// WebAssembly has no threads.
const MOST_THREADS: usize = if cfg!(target_family = "wasm") { 1 } else { 3 };

/// Calls `check` with every thread count on the instruction set.
fn on(isa: Isa, check: impl Fn(&Compute, &str)) {
    for threads in 1..=MOST_THREADS {
        if let Some(compute) = compute(isa, threads) {
            check(&compute, &format!("{isa}, {threads} threads"));
        }
    }
}

fn ternary(packer: &Compute, rows: usize, cols: usize, codes: &[u8]) -> TernaryMatrix {
    pack_codes(packer, rows, cols, 0.37, |row, out| {
        out.copy_from_slice(&codes[row * cols..(row + 1) * cols]);
    })
    .expect("valid codes")
}

/// One for each way in which weights are stored: any instruction set multiplies all of them.
fn packers() -> Vec<Compute> {
    let sets = [Isa::Scalar, Isa::Avx512Vbmi];
    sets.iter().filter_map(|&isa| compute(isa, 1)).collect()
}

/// The product by its definition, from weights and rounded activations.
fn plain_product(w: &TernaryMatrix, codes: &[u8], x: &QuantizedRows) -> Vec<f32> {
    let mut out = Vec::new();
    for t in 0..x.n() {
        let row = x.row(t);
        for codes in codes.chunks_exact(w.cols()) {
            let terms = codes
                .iter()
                .zip(&row)
                .map(|(c, x)| (i32::from(*c) - 1) * i32::from(*x));
            out.push(terms.sum::<i32>() as f32 * (w.scale() / x.scale(t)));
        }
    }
    out
}

fn ternary_product(
    compute: &Compute,
    case: &str,
    rows: usize,
    cols: usize,
    x: &[f32],
    codes: &[u8],
) {
    let n = x.len() / cols;
    let (mut rounded, mut expected) = (QuantizedRows::new(), QuantizedRows::new());
    compute.quantize_rows(x, n, cols, &mut rounded);
    scalar().quantize_rows(x, n, cols, &mut expected);
    for t in 0..n {
        assert_eq!(rounded.row(t), expected.row(t), "{case}: row {t}");
        assert_eq!(rounded.sum(t), expected.sum(t), "{case}: sum of row {t}");
        assert_eq!(
            rounded.scale(t).to_bits(),
            expected.scale(t).to_bits(),
            "{case}: scale {t}"
        );
    }
    for packer in packers() {
        let w = ternary(&packer, rows, cols, codes);
        let mut out = vec![f32::NAN; n * rows];
        compute.ternary_matmul(&w, &rounded, &mut out);
        let case = format!("{case}, {} bytes", w.bytes());
        assert_same_bits(&out, &plain_product(&w, codes, &expected), &case);
    }
}

fn ternary_products_of_all_shapes(isa: Isa) {
    on(isa, |compute, set| {
        for cols in WIDTHS {
            for rows in HEIGHTS {
                for n in [1, 2, 3, 4, 5, 6, 9, 12, 13, 25] {
                    let case = format!("{set}: {rows} x {cols}, {n} tokens");
                    let codes = random_codes(rows * cols, 11);
                    ternary_product(
                        compute,
                        &case,
                        rows,
                        cols,
                        &random_floats(n * cols, 5),
                        &codes,
                    );
                }
            }
        }
    });
}

fn ternary_products_of_extremes(isa: Isa) {
    on(isa, |compute, set| {
        for cols in [240, 256, 4096] {
            for (code, x) in [(0, -1.0), (0, 1.0), (2, -1.0), (2, 1.0), (1, 1.0), (2, 0.0)] {
                let case = format!("{set}: {cols} times code {code} and {x}");
                let codes = vec![code; 33 * cols];
                ternary_product(compute, &case, 33, cols, &vec![x; 5 * cols], &codes);
            }
        }
    });
}

fn several_products_at_once(isa: Isa) {
    on(isa, |compute, set| {
        let (n, cols) = (3, 100);
        let shapes = [70, 1, 33];
        let all: Vec<_> = shapes
            .iter()
            .map(|&rows| ternary(compute, rows, cols, &random_codes(rows * cols, 3)))
            .collect();
        let mut x = QuantizedRows::new();
        compute.quantize_rows(&random_floats(n * cols, 8), n, cols, &mut x);
        let mut outs: Vec<Vec<f32>> = shapes.iter().map(|rows| vec![0.0; n * rows]).collect();
        let mut slices: Vec<&mut [f32]> = outs.iter_mut().map(Vec::as_mut_slice).collect();
        compute.ternary_matmul_many(&all.iter().collect::<Vec<_>>(), &x, &mut slices);
        for (w, out) in all.iter().zip(&outs) {
            let mut alone = vec![0.0; out.len()];
            compute.ternary_matmul(w, &x, &mut alone);
            assert_same_bits(out, &alone, set);
        }
    });
}

fn not_finite_activations_stay_visible(isa: Isa) {
    on(isa, |compute, set| {
        for (bad, cols) in [(f32::NAN, 40), (f32::INFINITY, 40), (f32::NEG_INFINITY, 3)] {
            let mut x = random_floats(2 * cols, 9);
            x[cols - 1] = bad;
            let w = ternary(compute, 16, cols, &vec![2; 16 * cols]);
            let mut rounded = QuantizedRows::new();
            compute.quantize_rows(&x, 2, cols, &mut rounded);
            let mut out = vec![0.0; 32];
            compute.ternary_matmul(&w, &rounded, &mut out);
            assert!(
                out[..16].iter().all(|y| !y.is_finite()),
                "{set}: {bad} became {:?}",
                &out[..16]
            );
            assert!(
                out[16..].iter().all(|y| y.is_finite()),
                "{set}: {bad} reached the next token"
            );
        }
    });
}

fn dense_products_of_all_types(isa: Isa) {
    on(isa, |compute, set| {
        for dtype in DENSE_TYPES {
            let (values, _) = dtype.block();
            for cols in WIDTHS.map(|cols| cols.next_multiple_of(values)) {
                for (rows, n) in [(1, 1), (37, 1), (5, 2), (6, 3), (9, 4), (3, 9)] {
                    let case = format!("{set}: {dtype} {rows} x {cols}, {n} tokens");
                    let bytes =
                        random_bytes(rows * dtype.row_bytes(cols).expect("whole blocks"), 21);
                    // From the second byte on, so that no number is where its type would be aligned.
                    let shifted = [&[0], bytes.as_slice()].concat();
                    let w = DenseMatrix::new(rows, cols, dtype, &shifted[1..]).expect("fits");
                    let x = random_floats(n * cols + 1, 4);
                    let (mut out, mut expected) = (vec![0.0; n * rows], vec![0.0; n * rows]);
                    compute.dense_matmul(&w, &x[1..], n, &mut out);
                    for t in 0..n {
                        let x = &x[1 + t * cols..][..cols];
                        scalar().dense_matmul(&w, x, 1, &mut expected[t * rows..(t + 1) * rows]);
                    }
                    assert_same_bits(&out, &expected, &case);
                }
            }
        }
    });
}

fn norms(isa: Isa) {
    on(isa, |compute, set| {
        for cols in WIDTHS {
            let n = 20_000 / cols;
            let (x, weight) = (random_floats(n * cols + 3, 6), random_floats(cols + 1, 7));
            let (mut out, mut expected) = (vec![0.0; n * cols], vec![0.0; n * cols]);
            compute.rms_norm(&x[3..], &weight[1..], 1e-5, n, &mut out);
            scalar().rms_norm(&x[3..], &weight[1..], 1e-5, n, &mut expected);
            assert_same_bits(&out, &expected, &format!("{set}: {n} rows of {cols}"));
        }
    });
}

fn gates(isa: Isa) {
    let special = [
        0.0,
        -0.0,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        1e-40,
        -90.0,
        90.0,
    ];
    on(isa, |compute, set| {
        for activation in ACTIVATIONS {
            for len in [1, 31, 32, 33, 40_001] {
                let mut gate: Vec<f32> = special.into_iter().chain(random_floats(len, 2)).collect();
                let (up, mut expected) = (random_floats(gate.len(), 3), gate.clone());
                compute.gated(&mut gate, &up, activation);
                scalar().gated(&mut expected, &up, activation);
                assert_same_bits(&gate, &expected, &format!("{set}: {activation:?} of {len}"));
            }
        }
    });
}

fn attention_of_all_shapes(isa: Isa) {
    let shapes = [(4, 1, 32), (6, 3, 20), (8, 2, 96), (3, 3, 64), (20, 5, 128)];
    on(isa, |compute, set| {
        for (n_head, n_kv_head, head_dim) in shapes {
            for (first_pos, n, window) in [
                (0, 1, None),
                (0, 7, None),
                (62, 5, Some(3)),
                (130, 3, None),
                (90, 19, Some(70)),
            ] {
                for (half, factor) in [(head_dim / 2, Some(1.0 / 8192.0)), (head_dim / 4, None)] {
                    let spec = AttentionSpec {
                        n_head,
                        n_kv_head,
                        head_dim,
                        scale: 0.3,
                        window,
                    };
                    let len: usize = first_pos + n;
                    let rows = |seed| random_floats(len * n_kv_head * head_dim, seed);
                    let cache = kv_blocks([&rows(1), &rows(2)], n_kv_head, head_dim, factor);
                    let rope = rope_blocks(cache.len(), half);
                    let view = |first_pos, n| KvView {
                        blocks: &cache,
                        planes: [0, 1],
                        first_pos,
                        n,
                    };
                    // A second sequence beside the first: the same cache, seen from further back.
                    let views = [view(first_pos, n), view(first_pos / 2, 1)];
                    let width = n_head * head_dim;
                    let q = random_floats((n + 1) * width, 3);
                    let (mut out, mut expected) = (vec![0.0; q.len()], vec![0.0; q.len()]);
                    compute.attention(&q, &views, &rope, &spec, &mut out);
                    let positions = (first_pos..len).chain([first_pos / 2]);
                    for ((q, out), position) in q
                        .chunks_exact(width)
                        .zip(expected.chunks_exact_mut(width))
                        .zip(positions)
                    {
                        scalar().attention(q, &[view(position, 1)], &rope, &spec, out);
                    }
                    let case = format!("{set}: {spec:?} at {first_pos}, {n} tokens, {half}");
                    assert_same_bits(&out, &expected, &case);
                }
            }
        }
    });
}

/// One test for each check and instruction set.
macro_rules! twins {
    ($($module:ident $isa:expr => $($check:ident)*;)*) => {
        $(mod $module {
            $(#[test]
            fn $check() {
                super::$check($isa);
            })*
        })*
    };
}

macro_rules! suite {
    ($($module:ident $isa:expr;)*) => {
        twins! {
            $($module $isa =>
                ternary_products_of_all_shapes ternary_products_of_extremes several_products_at_once
                not_finite_activations_stay_visible dense_products_of_all_types norms gates
                attention_of_all_shapes;
            )*
        }
    };
}

suite! {
    scalar_kernels llm_kernels::Isa::Scalar;
    avx2_kernels llm_kernels::Isa::Avx2;
    avxvnni_kernels llm_kernels::Isa::AvxVnni;
    avx512vnni_kernels llm_kernels::Isa::Avx512Vnni;
    avx512vbmi_kernels llm_kernels::Isa::Avx512Vbmi;
    neon_kernels llm_kernels::Isa::Neon;
    neondotprod_kernels llm_kernels::Isa::NeonDotprod;
    neoni8mm_kernels llm_kernels::Isa::NeonI8mm;
    simd128_kernels llm_kernels::Isa::Simd128;
    relaxed_simd_kernels llm_kernels::Isa::RelaxedSimd;
}
