//! Time of the kernels at the shapes of a 2B model (hidden 2560, feed-forward 6912, 30 layers, vocabulary 128256), for each
//! instruction set and thread count, beside a plain read of the same bytes.
//!
//! Every result is compared with the portable kernels' before its time is taken.
//! `cargo bench -p llm-kernels -- decode` runs the benchmarks whose name contains `decode`.

use std::sync::{Arc, LazyLock};

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use llm_kernels::{
    AttentionSpec, Compute, DenseMatrix, DenseType, Isa, KV_BLOCK, Kernels, KvBlock, KvView,
    QuantizedRows, RopeBlock, TernaryMatrix, pack_hf, pack_i2s,
};

/// Rows and columns of a layer's matrices: q, k, v, o, gate, up, down.
const LAYER: [(usize, usize); 7] = [
    (2560, 2560),
    (640, 2560),
    (640, 2560),
    (2560, 2560),
    (6912, 2560),
    (6912, 2560),
    (2560, 6912),
];
const LAYERS: usize = 30;
const VOCABULARY: (usize, usize) = (128_256, 2560);

fn main() {
    divan::main();
}

/// An instruction set and a thread count, as a benchmark's argument.
#[derive(Clone, Copy)]
struct Setup {
    isa: Isa,
    threads: usize,
}

impl std::fmt::Display for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} threads", self.isa, self.threads)
    }
}

impl Setup {
    fn compute(self) -> Compute {
        let kernels = Kernels::for_isa(self.isa).expect("only available sets are benchmarked");
        Compute::new(kernels, self.threads).expect("threads")
    }
}

/// All sets but the portable one, which would take minutes, on one thread and on all.
fn setups() -> Vec<Setup> {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let sets = Isa::available()
        .into_iter()
        .filter(|&isa| isa != Isa::Scalar);
    sets.flat_map(|isa| [1, all].map(|threads| Setup { isa, threads }))
        .collect()
}

/// Bytes of no pattern, always the same.
fn random_bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(len).collect()
}

fn random_i2s(rows: usize, cols: usize, seed: u64) -> Vec<u8> {
    let mut bytes = random_bytes(rows * cols / 4, seed);
    bytes.extend(1.0_f32.to_le_bytes());
    bytes.resize(rows * cols / 4 + 32, 0);
    bytes
}

/// Half precision numbers of -2 to 2.
fn random_f16(count: usize) -> Vec<u8> {
    let mut bytes = random_bytes(count * 2, 5);
    for high in bytes.iter_mut().skip(1).step_by(2) {
        *high &= 0b1011_1111;
    }
    bytes
}

fn activations(n: usize, cols: usize) -> Vec<f32> {
    random_bytes(n * cols, 7)
        .into_iter()
        .map(|byte| f32::from(byte.cast_signed()) / 32.0)
        .collect()
}

/// The ternary matrices of the whole model, packed as the instruction set wants them: far larger than any cache.
fn model(isa: Isa) -> &'static [TernaryMatrix] {
    static TWO_BITS: LazyLock<Vec<TernaryMatrix>> = LazyLock::new(|| pack_model(Isa::Scalar));
    static TRITS: LazyLock<Vec<TernaryMatrix>> = LazyLock::new(|| pack_model(Isa::Avx512Vbmi));
    match isa {
        Isa::Avx512Vbmi => &TRITS,
        _ => &TWO_BITS,
    }
}

fn pack_model(isa: Isa) -> Vec<TernaryMatrix> {
    let compute = Setup { isa, threads: 2 }.compute();
    let layer: Vec<_> = LAYER
        .iter()
        .zip(1..)
        .map(|(&(rows, cols), seed)| random_i2s(rows, cols, seed))
        .collect();
    (0..LAYERS * LAYER.len())
        .map(|index| {
            let (rows, cols) = LAYER[index % LAYER.len()];
            pack_i2s(&compute, rows, cols, &layer[index % LAYER.len()]).expect("valid weights")
        })
        .collect()
}

fn bytes(model: &[TernaryMatrix]) -> usize {
    model.iter().map(TernaryMatrix::bytes).sum()
}

/// Every ternary matrix of the model once, for `n` tokens.
struct Pass {
    model: &'static [TernaryMatrix],
    narrow: QuantizedRows,
    wide: QuantizedRows,
    outs: Vec<Vec<f32>>,
}

impl Pass {
    fn new(compute: &Compute, n: usize) -> Self {
        let (mut narrow, mut wide) = (QuantizedRows::new(), QuantizedRows::new());
        compute.quantize_rows(&activations(n, 2560), n, 2560, &mut narrow);
        compute.quantize_rows(&activations(n, 6912), n, 6912, &mut wide);
        let outs = LAYER.iter().map(|(rows, _)| vec![0.0; n * rows]).collect();
        let model = model(compute.kernels().isa());
        Self {
            model,
            narrow,
            wide,
            outs,
        }
    }

    /// The forks of a real layer: q, k and v; o; gate and up; down.
    fn run(&mut self, compute: &Compute) {
        for layer in self.model.chunks_exact(LAYER.len()) {
            let mut outs: Vec<&mut [f32]> = self.outs.iter_mut().map(Vec::as_mut_slice).collect();
            compute.ternary_matmul_many(
                &[&layer[0], &layer[1], &layer[2]],
                &self.narrow,
                &mut outs[..3],
            );
            compute.ternary_matmul(&layer[3], &self.narrow, outs[3]);
            compute.ternary_matmul_many(&[&layer[4], &layer[5]], &self.narrow, &mut outs[4..6]);
            compute.ternary_matmul(&layer[6], &self.wide, outs[6]);
        }
    }

    /// Compares the last layer's results with the portable kernels', for the first token.
    fn check(&self) {
        let compute =
            Compute::new(Kernels::for_isa(Isa::Scalar).expect("always there"), 2).expect("threads");
        let mut reference = Self::new(&compute, 1);
        let layer = &self.model[self.model.len() - LAYER.len()..];
        for (index, w) in layer.iter().enumerate() {
            let x = if index == 6 {
                &reference.wide
            } else {
                &reference.narrow
            };
            compute.ternary_matmul(w, x, &mut reference.outs[index]);
            assert_eq!(
                reference.outs[index],
                self.outs[index][..w.rows()],
                "matrix {index}"
            );
        }
    }
}

/// One token through all ternary matrices.
#[divan::bench(args = setups(), sample_count = 15, sample_size = 1)]
fn decode_ternary(bencher: Bencher, setup: &Setup) {
    let compute = setup.compute();
    let mut pass = Pass::new(&compute, 1);
    pass.run(&compute);
    pass.check();
    bencher
        .counter(BytesCount::new(bytes(pass.model)))
        .bench_local(|| pass.run(&compute));
}

/// Four tokens of different sequences through all ternary matrices.
#[divan::bench(args = setups(), sample_count = 15, sample_size = 1)]
fn decode_ternary_batch_of_4(bencher: Bencher, setup: &Setup) {
    let compute = setup.compute();
    let mut pass = Pass::new(&compute, 4);
    pass.run(&compute);
    pass.check();
    bencher
        .counter(BytesCount::new(bytes(pass.model)))
        .bench_local(|| pass.run(&compute));
}

/// A chunk of 64 prompt tokens through all ternary matrices; items are tokens.
#[divan::bench(args = setups(), sample_count = 5, sample_size = 1)]
fn prefill_ternary(bencher: Bencher, setup: &Setup) {
    let compute = setup.compute();
    let mut pass = Pass::new(&compute, 64);
    pass.run(&compute);
    pass.check();
    bencher
        .counter(ItemsCount::new(64_usize))
        .bench_local(|| pass.run(&compute));
}

/// Reading as many bytes as the ternary matrices hold at two bits a weight, and at 1.6: the bound of decoding.
#[divan::bench(args = [(1, 521), (2, 521), (1, 417), (2, 417)], sample_count = 15, sample_size = 1)]
fn decode_read_only(bencher: Bencher, (threads, megabytes): (usize, usize)) {
    static WORDS: LazyLock<Vec<u64>> = LazyLock::new(|| vec![3; 521_000_000 / 8]);
    let compute = Compute::new(Kernels::detect(), threads).expect("threads");
    let words = &WORDS[..megabytes * 1_000_000 / 8];
    bencher
        .counter(BytesCount::of_slice(words))
        .bench_local(|| {
            compute.parallel_for(words.len() / 8192, &|range| {
                black_box(sum(&words[range.start * 8192..range.end * 8192]));
            });
        });
}

/// The sum of whole cache lines, eight words at a time.
fn sum(words: &[u64]) -> u64 {
    let mut lanes = [0_u64; 32];
    for line in words.as_chunks::<32>().0 {
        for (lane, word) in lanes.iter_mut().zip(line) {
            *lane = lane.wrapping_add(*word);
        }
    }
    lanes.iter().fold(0, |sum, lane| sum.wrapping_add(*lane))
}

/// The output head for one token, as half precision rows.
#[divan::bench(args = setups(), sample_count = 15, sample_size = 1)]
fn decode_head_f16(bencher: Bencher, setup: &Setup) {
    let (rows, cols) = VOCABULARY;
    decode_head(
        bencher,
        *setup,
        DenseType::F16,
        random_bytes(rows * cols * 2, 5),
    );
}

/// The output head for one token, as Q8_0 blocks.
#[divan::bench(args = setups(), sample_count = 15, sample_size = 1)]
fn decode_head_q8_0(bencher: Bencher, setup: &Setup) {
    let (rows, cols) = VOCABULARY;
    decode_head(
        bencher,
        *setup,
        DenseType::Q8_0,
        random_bytes(rows * cols / 32 * 34, 5),
    );
}

/// The output head for one token, as Q6_K blocks.
#[divan::bench(args = setups(), sample_count = 5, sample_size = 1)]
fn decode_head_q6_k(bencher: Bencher, setup: &Setup) {
    let (rows, cols) = VOCABULARY;
    decode_head(
        bencher,
        *setup,
        DenseType::Q6K,
        random_bytes(rows * cols / 256 * 210, 5),
    );
}

fn decode_head(bencher: Bencher, setup: Setup, dtype: DenseType, bytes: Vec<u8>) {
    let (rows, cols) = VOCABULARY;
    let w = DenseMatrix::new(rows, cols, dtype, &bytes).expect("valid shape");
    let compute = setup.compute();
    let scalar = Setup {
        isa: Isa::Scalar,
        threads: 2,
    }
    .compute();
    let x = activations(1, cols);
    let (mut out, mut expected) = (vec![0.0; rows], vec![0.0; rows]);
    compute.dense_matmul(&w, &x, 1, &mut out);
    scalar.dense_matmul(&w, &x, 1, &mut expected);
    assert!(
        out.iter()
            .zip(&expected)
            .all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
    );
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench_local(|| compute.dense_matmul(&w, &x, 1, &mut out));
}

/// A dense layer of f16 weights for 64 prompt tokens; items are multiplications.
#[divan::bench(args = setups(), sample_count = 9, sample_size = 1)]
fn prefill_dense_f16(bencher: Bencher, setup: &Setup) {
    let (rows, cols, n) = (2560, 2560, 64);
    let bytes = random_f16(rows * cols);
    let w = DenseMatrix::new(rows, cols, DenseType::F16, &bytes).expect("valid shape");
    let compute = setup.compute();
    let x = activations(n, cols);
    let mut out = vec![0.0; n * rows];
    bencher
        .counter(ItemsCount::new(rows * cols * n))
        .bench_local(|| compute.dense_matmul(&w, &x, n, &mut out));
}

/// Positions of the attention's cache.
const CONTEXT: usize = 2048;

/// What a layer's cache holds: whole multiples of a factor, as ternary products are, or any numbers.
#[derive(Clone, Copy, PartialEq)]
enum Cached {
    Codes,
    Floats,
}

/// Attention of all 30 layers (20 heads, 5 of keys and values) for one token at position 2047.
#[divan::bench(args = setups(), consts = [false, true], sample_count = 20, sample_size = 1)]
fn decode_attention_at_2048<const CODED: bool>(bencher: Bencher, setup: &Setup) {
    attention(
        bencher,
        *setup,
        1,
        if CODED { Cached::Codes } else { Cached::Floats },
    );
}

/// The same for a chunk of 64 tokens.
#[divan::bench(args = setups(), consts = [false, true], sample_count = 5, sample_size = 1)]
fn prefill_attention_at_2048<const CODED: bool>(bencher: Bencher, setup: &Setup) {
    attention(
        bencher,
        *setup,
        64,
        if CODED { Cached::Codes } else { Cached::Floats },
    );
}

/// Keys and values of all layers and the whole context; each layer's in planes of its own.
fn cache(kind: Cached) -> Vec<Arc<KvBlock>> {
    const FACTOR: f32 = 0.003;
    let rows = |plane| {
        let bytes = random_bytes(2 * 640 * KV_BLOCK, plane as u64 + 1);
        let numbers = bytes.as_chunks().0.iter();
        let rows = numbers.map(|&b| f32::from(i16::from_le_bytes(b) / 4) * FACTOR);
        rows.collect::<Vec<f32>>()
    };
    let planes: Vec<Vec<f32>> = (0..2 * LAYERS).map(rows).collect();
    let block = |_| {
        let coded = [kind == Cached::Codes; 2 * LAYERS];
        let mut block = KvBlock::new(5, 128, &coded).expect("memory");
        for (plane, rows) in planes.iter().enumerate() {
            for (at, row) in rows.chunks_exact(640).enumerate() {
                block.write(plane, at, row, Some(FACTOR)).expect("memory");
            }
        }
        Arc::new(block)
    };
    (0..CONTEXT / KV_BLOCK).map(block).collect()
}

fn attention(bencher: Bencher, setup: Setup, n: usize, kind: Cached) {
    let spec = AttentionSpec {
        n_head: 20,
        n_kv_head: 5,
        head_dim: 128,
        scale: 0.088,
        window: None,
    };
    let blocks = cache(kind);
    let angles = |block| {
        let angle = move |pair, place| {
            let angle = (block * KV_BLOCK + place) as f32 / (1 + pair) as f32;
            (angle.cos(), angle.sin())
        };
        Arc::new(RopeBlock::new(64, angle))
    };
    let rope: Vec<_> = (0..CONTEXT / KV_BLOCK).map(angles).collect();
    let q = activations(n, 20 * 128);
    let compute = setup.compute();
    let mut out = vec![0.0; q.len()];
    bencher.bench_local(|| {
        for layer in 0..LAYERS {
            let view = KvView {
                blocks: &blocks,
                planes: [2 * layer, 2 * layer + 1],
                first_pos: CONTEXT - n,
                n,
            };
            compute.attention(&q, &[view], &rope, &spec, &mut out);
        }
    });
}

/// Packing all ternary matrices of the model: the load time.
#[divan::bench(args = [1, 2], sample_count = 3, sample_size = 1)]
fn load_pack_i2s(bencher: Bencher, threads: usize) {
    let compute = Compute::new(Kernels::detect(), threads).expect("threads");
    let layer: Vec<_> = LAYER
        .iter()
        .zip(1..)
        .map(|(&(rows, cols), seed)| random_i2s(rows, cols, seed))
        .collect();
    bencher
        .counter(BytesCount::new(521_011_200_usize))
        .bench_local(|| {
            for _ in 0..LAYERS {
                for (&(rows, cols), bytes) in LAYER.iter().zip(&layer) {
                    black_box(pack_i2s(&compute, rows, cols, bytes).expect("valid weights"));
                }
            }
        });
}

/// The same from uint8 tensors.
#[divan::bench(args = [1, 2], sample_count = 3, sample_size = 1)]
fn load_pack_hf(bencher: Bencher, threads: usize) {
    let compute = Compute::new(Kernels::detect(), threads).expect("threads");
    // Clearing the low bit of every pair where both are set leaves codes 0 to 2.
    let valid = |byte: u8| byte & !(byte >> 1 & 0x55);
    let layer: Vec<Vec<u8>> = LAYER
        .iter()
        .map(|&(rows, cols)| {
            random_bytes(rows * cols / 4, 3)
                .into_iter()
                .map(valid)
                .collect()
        })
        .collect();
    bencher
        .counter(BytesCount::new(521_011_200_usize))
        .bench_local(|| {
            for _ in 0..LAYERS {
                for (&(rows, cols), bytes) in LAYER.iter().zip(&layer) {
                    black_box(pack_hf(&compute, rows, cols, 1.0, bytes).expect("valid weights"));
                }
            }
        });
}
