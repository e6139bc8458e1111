//! Dense weights into other types: what comes back, how far it is off, and what is refused.

use llm_kernels::{Compute, DenseMatrix, DenseType, Isa, KernelError, encode_rows};

use crate::common::{compute, random_floats};

fn two_threads() -> Compute {
    compute(Isa::best(), 2).expect("best is available")
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// `values`, `[rows][cols]`, through `dtype` and back.
fn there_and_back(values: &[f32], rows: usize, cols: usize, dtype: DenseType) -> Vec<f32> {
    let bytes = bytes_of(values);
    let source = DenseMatrix::new(rows, cols, DenseType::F32, &bytes).unwrap();
    let encoded = encode_rows(&two_threads(), &source, 0..rows, dtype).unwrap();
    let encoded = DenseMatrix::new(rows, cols, dtype, &encoded).unwrap();
    let mut back = vec![0.0; rows * cols];
    for (row, out) in back.chunks_exact_mut(cols).enumerate() {
        encoded.dequantize_row(row, out);
    }
    back
}

#[test]
fn values_that_a_type_holds_come_back_as_they_were() {
    let (rows, cols) = (7, 512);
    let coarse: Vec<f32> = random_floats(rows * cols, 21)
        .iter()
        .map(|x| (x * 8.0).round() / 8.0)
        .collect();
    for dtype in [DenseType::F32, DenseType::F16, DenseType::Bf16] {
        assert_eq!(
            there_and_back(&coarse, rows, cols, dtype),
            coarse,
            "{dtype}"
        );
    }
    let zeros = vec![0.0; 512];
    for dtype in [DenseType::Q8_0, DenseType::Q6K] {
        assert_eq!(there_and_back(&zeros, 1, 512, dtype), zeros, "{dtype}");
    }
}

#[test]
fn rounded_types_are_off_by_no_more_than_their_bits() {
    let (rows, cols) = (16, 1024);
    let values = random_floats(rows * cols, 22);
    let power = values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
    // Relative root mean square error of uniform numbers: about a code's width over the root of twelve.
    for (dtype, most) in [
        (DenseType::F16, 3e-4),
        (DenseType::Bf16, 3e-3),
        (DenseType::Q8_0, 5e-3),
        (DenseType::Q6K, 1.8e-2),
    ] {
        let back = there_and_back(&values, rows, cols, dtype);
        let error = values
            .iter()
            .zip(&back)
            .map(|(a, b)| f64::from(a - b).powi(2))
            .sum::<f64>();
        let relative = (error / power).sqrt();
        assert!(relative < most, "{dtype}: {relative}");
    }
}

#[test]
fn rows_are_cut_out_and_any_number_of_threads_gives_the_same() {
    let (rows, cols) = (9, 256);
    let bytes = bytes_of(&random_floats(rows * cols, 23));
    let source = DenseMatrix::new(rows, cols, DenseType::F32, &bytes).unwrap();
    for dtype in [DenseType::F16, DenseType::Q8_0, DenseType::Q6K] {
        let all = encode_rows(&two_threads(), &source, 0..rows, dtype).unwrap();
        let row_bytes = all.len() / rows;
        let part = encode_rows(&compute(Isa::Scalar, 1).unwrap(), &source, 3..7, dtype).unwrap();
        assert_eq!(part, all[3 * row_bytes..7 * row_bytes], "{dtype}");
    }
}

#[test]
fn what_a_type_cannot_hold_is_refused() {
    let refused = |values: &[f32], dtype| {
        let bytes = bytes_of(values);
        let source = DenseMatrix::new(1, values.len(), DenseType::F32, &bytes).unwrap();
        encode_rows(&two_threads(), &source, 0..1, dtype).unwrap_err()
    };
    let mut large = vec![0.0; 256];
    large[5] = 70_000.0;
    for dtype in [DenseType::F16, DenseType::Q8_0, DenseType::Q6K] {
        assert!(
            matches!(
                refused(&large, dtype),
                KernelError::OutOfRange { row: 0, .. }
            ),
            "{dtype}"
        );
    }
    large[5] = f32::NAN;
    assert!(matches!(
        refused(&large, DenseType::F32),
        KernelError::OutOfRange { row: 0, .. }
    ));
    assert!(matches!(
        refused(&[0.0; 33], DenseType::Q8_0),
        KernelError::NotMultiple { .. }
    ));
    assert!(matches!(
        refused(&[0.0; 256], DenseType::Q4K),
        KernelError::EncodeType { .. }
    ));
}
