//! Packers against naive encoders, one for each layout, and what they refuse.

use crate::common::{compute, random_bytes, random_codes, random_floats};
use llm_kernels::{
    Compute, DenseType, Isa, KernelError, TernaryMatrix, pack_codes, pack_hf, pack_i2s,
    pack_master, pack_tq1_0, pack_tq2_0,
};
use proptest::prelude::*;

fn two_threads() -> Compute {
    compute(Isa::best(), 2).expect("best is available")
}

/// `[rows / 4][cols]` bytes: quarter `i` of the rows in bits `2 i`.
fn encode_hf(codes: &[u8], rows: usize, cols: usize) -> Vec<u8> {
    let quarter = rows / 4 * cols;
    (0..quarter)
        .map(|at| (0..4).map(|i| codes[i * quarter + at] << (2 * i)).sum())
        .collect()
}

/// Blocks of 128 values in 32 bytes, high bits first; the scale behind all codes.
fn encode_i2s(codes: &[u8], scale: f32) -> Vec<u8> {
    let mut bytes = vec![0_u8; codes.len() / 4];
    for (at, code) in codes.iter().enumerate() {
        bytes[at / 128 * 32 + at % 32] |= code << (6 - 2 * (at % 128 / 32));
    }
    bytes.extend(scale.to_le_bytes());
    // What follows the scale may be anything.
    bytes.extend([0xA5; 28]);
    bytes
}

/// 1.5 as f16.
const D: [u8; 2] = [0x00, 0x3E];

fn encode_tq2_0(codes: &[u8]) -> Vec<u8> {
    let block = |codes: &[u8]| {
        let byte = |at: usize| {
            (0..4)
                .map(|i| codes[at / 32 * 128 + 32 * i + at % 32] << (2 * i))
                .sum::<u8>()
        };
        (0..64).map(byte).chain(D).collect::<Vec<_>>()
    };
    codes.chunks_exact(256).flat_map(block).collect()
}

fn encode_tq1_0(codes: &[u8]) -> Vec<u8> {
    let digits = |codes: Vec<u8>| {
        let n = (0..5).fold(0_u32, |n, i| 3 * n + u32::from(*codes.get(i).unwrap_or(&0)));
        (n * 256).div_ceil(243) as u8
    };
    let block = |codes: &[u8]| {
        let first = (0..32).map(|m| digits((0..5).map(|i| codes[32 * i + m]).collect()));
        let second = (0..16).map(|m| digits((0..5).map(|i| codes[160 + 16 * i + m]).collect()));
        let third = (0..4).map(|m| digits((0..4).map(|i| codes[240 + 4 * i + m]).collect()));
        first
            .chain(second)
            .chain(third)
            .chain(D)
            .collect::<Vec<_>>()
    };
    codes.chunks_exact(256).flat_map(block).collect()
}

#[track_caller]
fn assert_codes(matrix: &TernaryMatrix, codes: &[u8], scale: f32) {
    let expected: Vec<f32> = codes
        .iter()
        .map(|code| (f32::from(*code) - 1.0) * scale)
        .collect();
    assert_eq!(matrix.dequantize(), expected);
    assert_eq!(matrix.scale(), scale);
    assert_eq!(matrix.is_zero(), codes.iter().all(|code| *code == 1));
}

#[test]
fn a_matrix_of_zeros_says_so() {
    let zeros = encode_hf(&[1; 8 * 20], 8, 20);
    assert!(
        pack_hf(&two_threads(), 8, 20, 1.0, &zeros)
            .unwrap()
            .is_zero()
    );
}

#[test]
fn hugging_face_bytes_become_the_rows_they_stand_for() {
    let compute = two_threads();
    for (rows, cols) in [
        (4, 1),
        (8, 2),
        (12, 15),
        (32, 16),
        (64, 17),
        (76, 40),
        (128, 256),
        // Panels at once: quarters of whole panels, and quarters with rows beside them.
        (192, 48),
        (144, 64),
    ] {
        let codes = random_codes(rows * cols, 1);
        let packed = pack_hf(&compute, rows, cols, 0.5, &encode_hf(&codes, rows, cols)).unwrap();
        assert_eq!((packed.rows(), packed.cols()), (rows, cols));
        assert_codes(&packed, &codes, 0.5);
    }
}

#[test]
fn the_published_example_of_hugging_face_bytes_is_read() {
    let weights = [1, 0, -1, 1, 0, -1, 1, 1, 0, 0, -1, -1, 1, 0, 0, 1].map(|w: i8| (w + 1) as u8);
    let packed = pack_hf(&two_threads(), 8, 2, 1.0, &[0x96, 0x51, 0x48, 0x8A]).unwrap();
    assert_codes(&packed, &weights, 1.0);
}

#[test]
fn i2s_blocks_become_the_rows_they_stand_for() {
    for (rows, cols) in [(1, 128), (16, 128), (17, 384), (40, 256)] {
        let codes = random_codes(rows * cols, 2);
        let packed = pack_i2s(&two_threads(), rows, cols, &encode_i2s(&codes, -0.25)).unwrap();
        assert_codes(&packed, &codes, -0.25);
    }
}

#[test]
fn the_published_example_of_an_i2s_block_is_read() {
    let mut codes = [1; 128];
    (codes[0], codes[1], codes[32], codes[96]) = (2, 0, 0, 2);
    let bytes = encode_i2s(&codes, 1.0);
    assert_eq!(bytes[..4], [0x86, 0x15, 0x55, 0x55]);
    assert_codes(
        &pack_i2s(&two_threads(), 1, 128, &bytes).unwrap(),
        &codes,
        1.0,
    );
}

#[test]
fn code_three_is_zero_in_i2s() {
    let bytes = encode_i2s(&[3; 128], 2.0);
    assert_codes(
        &pack_i2s(&two_threads(), 1, 128, &bytes).unwrap(),
        &[1; 128],
        2.0,
    );
    // One of them within panels that are packed at once.
    let mut codes = random_codes(48 * 256, 9);
    codes[20 * 256 + 77] = 3;
    let bytes = encode_i2s(&codes, 2.0);
    codes[20 * 256 + 77] = 1;
    assert_codes(
        &pack_i2s(&two_threads(), 48, 256, &bytes).unwrap(),
        &codes,
        2.0,
    );
}

#[test]
fn code_three_is_told_by_its_row_among_panels_packed_at_once() {
    let mut codes = random_codes(192 * 48, 10);
    codes[100 * 48 + 47] = 3;
    let packed = pack_hf(&two_threads(), 192, 48, 1.0, &encode_hf(&codes, 192, 48));
    assert!(matches!(
        packed.err(),
        Some(KernelError::InvalidCode { row: 100 })
    ));
}

#[test]
fn tq_blocks_of_one_scale_become_the_rows_they_stand_for() {
    let compute = two_threads();
    for (rows, cols) in [(1, 256), (18, 512)] {
        let codes = random_codes(rows * cols, 3);
        let first = pack_tq1_0(&compute, rows, cols, &encode_tq1_0(&codes))
            .unwrap()
            .unwrap();
        assert_codes(&first, &codes, 1.5);
        let second = pack_tq2_0(&compute, rows, cols, &encode_tq2_0(&codes))
            .unwrap()
            .unwrap();
        assert_codes(&second, &codes, 1.5);
    }
}

#[test]
fn tq_blocks_of_scale_zero_are_zeros_beside_any_scale() {
    let mut bytes = encode_tq2_0(&random_codes(512, 4));
    bytes[64..66].fill(0);
    let packed = pack_tq2_0(&two_threads(), 1, 512, &bytes).unwrap().unwrap();
    assert_eq!(packed.dequantize()[..256], [0.0; 256]);
    assert_eq!(packed.scale(), 1.5);
}

#[test]
fn tq_blocks_of_different_scales_or_with_code_three_are_left_dense() {
    let compute = two_threads();
    let mut bytes = encode_tq2_0(&random_codes(512, 5));
    bytes[131] = 0x40;
    assert!(pack_tq2_0(&compute, 1, 512, &bytes).unwrap().is_none());
    let mut bytes = encode_tq1_0(&random_codes(512, 5));
    bytes[107] = 0x40;
    assert!(pack_tq1_0(&compute, 1, 512, &bytes).unwrap().is_none());
    assert!(
        pack_tq2_0(&compute, 1, 256, &encode_tq2_0(&[3; 256]))
            .unwrap()
            .is_none()
    );
}

#[test]
fn master_weights_are_rounded_by_their_mean_magnitude() {
    let weights = random_floats(24 * 50, 6);
    let bytes: Vec<u8> = weights.iter().flat_map(|w| w.to_le_bytes()).collect();
    let packed = pack_master(&two_threads(), 24, 50, DenseType::F32, &bytes).unwrap();
    let mean = weights.iter().map(|w| f64::from(w.abs())).sum::<f64>() / 1200.0;
    let codes: Vec<u8> = weights
        .iter()
        .map(|w| ((f64::from(*w) / mean).round_ties_even().clamp(-1.0, 1.0) + 1.0) as u8)
        .collect();
    assert_codes(&packed, &codes, mean as f32);
}

#[test]
fn half_of_the_mean_magnitude_rounds_to_zero() {
    // Magnitudes 0.5, 1, 1, 1.5: the mean is 1.
    let bytes: Vec<u8> = [0.5_f32, -1.0, 1.0, -1.5]
        .iter()
        .flat_map(|w| w.to_le_bytes())
        .collect();
    let packed = pack_master(&two_threads(), 1, 4, DenseType::F32, &bytes).unwrap();
    assert_codes(&packed, &[1, 0, 2, 0], 1.0);
}

#[test]
fn master_weights_of_every_type_agree() {
    let weights: Vec<f32> = random_floats(16 * 40, 7)
        .iter()
        .map(|w| (w * 16.0).round() / 16.0)
        .collect();
    let bytes =
        |encode: fn(f32) -> Vec<u8>| weights.iter().flat_map(|w| encode(*w)).collect::<Vec<_>>();
    let compute = two_threads();
    let full = bytes(|w| w.to_le_bytes().to_vec());
    let full = pack_master(&compute, 16, 40, DenseType::F32, &full).unwrap();
    let half = bytes(|w| half::f16::from_f32(w).to_le_bytes().to_vec());
    let half = pack_master(&compute, 16, 40, DenseType::F16, &half).unwrap();
    let brain = bytes(|w| half::bf16::from_f32(w).to_le_bytes().to_vec());
    let brain = pack_master(&compute, 16, 40, DenseType::Bf16, &brain).unwrap();
    assert_eq!(full.dequantize(), half.dequantize());
    assert_eq!(full.dequantize(), brain.dequantize());
}

#[test]
fn master_weights_of_zero_keep_the_smallest_scale() {
    let packed = pack_master(&two_threads(), 3, 5, DenseType::F32, &[0; 60]).unwrap();
    assert_codes(&packed, &[1; 15], 1e-5);
}

#[test]
fn packing_gives_the_same_on_any_number_of_threads() {
    let weights: Vec<u8> = random_floats(100 * 70, 9)
        .iter()
        .flat_map(|w| w.to_le_bytes())
        .collect();
    let pack = |threads| {
        let compute = compute(Isa::Scalar, threads).unwrap();
        let packed = pack_master(&compute, 100, 70, DenseType::F32, &weights).unwrap();
        (packed.scale().to_bits(), packed.dequantize())
    };
    assert_eq!(pack(1), pack(2));
    assert_eq!(pack(1), pack(3));
}

/// A call that must fail, and the start of its message.
type Refusal = (fn(&Compute) -> Result<(), KernelError>, &'static str);

#[test]
fn what_does_not_fit_is_refused_with_the_reason() {
    let refusals: [Refusal; 14] = [
        (
            |c| pack_hf(c, 6, 2, 1.0, &[0; 3]).map(drop),
            "packed uint8: rows must be a multiple of 4",
        ),
        (
            |c| pack_hf(c, 8, 2, 1.0, &[0; 3]).map(drop),
            "packed uint8 weights: expected 4 bytes, found 3",
        ),
        (
            |c| pack_hf(c, 0, 2, 1.0, &[]).map(drop),
            "unsupported matrix shape 0 x 2",
        ),
        (
            |c| pack_hf(c, 8, 1, 1.0, &[0, 0xC0]).map(drop),
            "row 7: code 3",
        ),
        (
            |c| pack_hf(c, 8, 1, f32::NAN, &[0; 2]).map(drop),
            "weight scale is NaN",
        ),
        (
            |c| pack_i2s(c, 1, 64, &[0; 48]).map(drop),
            "I2_S: cols must be a multiple of 128",
        ),
        (
            |c| pack_i2s(c, 1, 128, &[0; 32]).map(drop),
            "I2_S weights: expected 64 bytes, found 32",
        ),
        (
            |c| pack_i2s(c, 1, 128, &encode_i2s(&[1; 128], f32::INFINITY)).map(drop),
            "weight scale is inf",
        ),
        (
            |c| pack_tq1_0(c, 1, 128, &[0; 27]).map(drop),
            "ternary blocks: cols must be a multiple of 256",
        ),
        (
            |c| pack_tq2_0(c, 1, 256, &[0; 65]).map(drop),
            "ternary blocks: expected 66 bytes, found 65",
        ),
        (
            |c| pack_master(c, 1, 2, DenseType::F32, &[0; 7]).map(drop),
            "master weights: expected 8 bytes",
        ),
        (
            |c| pack_master(c, 1, 2, DenseType::Q8_0, &[0; 8]).map(drop),
            "master weights cannot be of type Q8_0",
        ),
        (
            |c| pack_master(c, 1, 1, DenseType::F32, &[0, 0, 0xC0, 0x7F]).map(drop),
            "row 0: a weight is NaN",
        ),
        (
            |c| pack_codes(c, usize::MAX, 16, 1.0, |_, _| {}).map(drop),
            "unsupported matrix shape",
        ),
    ];
    for (call, expected) in refusals {
        let message = call(&two_threads()).expect_err(expected).to_string();
        assert!(
            message.starts_with(expected),
            "`{message}` should start with `{expected}`"
        );
    }
}

#[test]
fn the_first_bad_row_is_named_whichever_thread_finds_it() {
    let packed = pack_codes(&two_threads(), 400, 16, 1.0, |row, codes| {
        codes.fill(if row % 100 == 57 { 3 } else { 1 })
    });
    assert!(matches!(packed, Err(KernelError::InvalidCode { row: 57 })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn codes_of_any_shape_come_back(rows in 1_usize..80, cols in 1_usize..200, seed: u64) {
        let codes = random_codes(rows * cols, seed);
        let packed = pack_codes(&two_threads(), rows, cols, 2.0, |row, out| {
            out.copy_from_slice(&codes[row * cols..(row + 1) * cols]);
        });
        assert_codes(&packed.unwrap(), &codes, 2.0);
    }

    #[test]
    fn random_bytes_never_panic(rows in 0_usize..20, cols in 0_usize..600, len in 0_usize..4000, seed: u64) {
        let (compute, bytes) = (two_threads(), random_bytes(len, seed));
        let _ = pack_hf(&compute, rows, cols, 1.0, &bytes);
        let _ = pack_i2s(&compute, rows, cols, &bytes);
        let _ = pack_tq1_0(&compute, rows, cols, &bytes);
        let _ = pack_tq2_0(&compute, rows, cols, &bytes);
        let _ = pack_master(&compute, rows, cols, DenseType::F16, &bytes);
    }
}
