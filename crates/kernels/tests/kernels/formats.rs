//! Dequantised tensors of the golden GGUF files, bit for bit.

use std::fs;
use std::path::{Path, PathBuf};

use llm_kernels::{DenseMatrix, DenseType, Isa, pack_i2s, pack_tq1_0, pack_tq2_0};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::common::compute;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/oracle/gguf")
}

/// The types of GGUF tensors, by their names there.
fn dense_type(name: &str) -> Option<DenseType> {
    Some(match name {
        "F32" => DenseType::F32,
        "F16" => DenseType::F16,
        "BF16" => DenseType::Bf16,
        "Q8_0" => DenseType::Q8_0,
        "Q4_0" => DenseType::Q4_0,
        "Q4_1" => DenseType::Q4_1,
        "Q5_0" => DenseType::Q5_0,
        "Q5_1" => DenseType::Q5_1,
        "Q2_K" => DenseType::Q2K,
        "Q3_K" => DenseType::Q3K,
        "Q4_K" => DenseType::Q4K,
        "Q5_K" => DenseType::Q5K,
        "Q6_K" => DenseType::Q6K,
        "TQ1_0" => DenseType::Tq1_0,
        "TQ2_0" => DenseType::Tq2_0,
        _ => return None,
    })
}

/// A tensor of a golden file: name, type, rows, columns, bytes and the checksum of its values.
struct Tensor<'a> {
    name: String,
    dtype: &'a str,
    rows: usize,
    cols: usize,
    bytes: &'a [u8],
    checksum: &'a str,
}

fn number(value: &Value) -> usize {
    value.as_u64().expect("a count") as usize
}

fn tensors<'a>(goldens: &'a Value, data: &'a [u8]) -> Vec<Tensor<'a>> {
    let data = &data[number(&goldens["data_start"])..];
    let tensor = |golden: &'a Value| {
        let dims: Vec<usize> = golden["ne"]
            .as_array()
            .expect("dims")
            .iter()
            .map(number)
            .collect();
        Tensor {
            name: format!("{} of {}", golden["name"], goldens["file"]),
            dtype: golden["type_name"].as_str().expect("a type"),
            rows: dims[1..].iter().product(),
            cols: dims[0],
            bytes: &data[number(&golden["offset"])..][..number(&golden["nbytes"])],
            checksum: golden["sha256_f32le"].as_str().expect("a checksum"),
        }
    };
    goldens["tensors"]
        .as_array()
        .expect("tensors")
        .iter()
        .map(tensor)
        .collect()
}

/// Calls `check` with each tensor of each golden file; returns the types met.
fn each_tensor(check: impl Fn(&Tensor<'_>)) -> Vec<String> {
    let mut types = Vec::new();
    for entry in fs::read_dir(folder()).expect("testdata") {
        let path = entry.expect("testdata").path();
        if !path.to_string_lossy().ends_with(".goldens.json") {
            continue;
        }
        let goldens: Value =
            serde_json::from_slice(&fs::read(&path).expect("readable")).expect("json");
        let data =
            fs::read(folder().join(goldens["file"].as_str().expect("a name"))).expect("readable");
        for tensor in tensors(&goldens, &data) {
            check(&tensor);
            types.push(tensor.dtype.to_owned());
        }
    }
    types.sort();
    types.dedup();
    types
}

fn checksum(values: &[f32]) -> String {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn dense_rows_decode_to_the_golden_values() {
    let types = each_tensor(|tensor| {
        let Some(dtype) = dense_type(tensor.dtype) else {
            return;
        };
        let matrix = DenseMatrix::new(tensor.rows, tensor.cols, dtype, tensor.bytes).expect("fits");
        let mut values = vec![0.0; tensor.rows * tensor.cols];
        for (row, values) in values.chunks_exact_mut(tensor.cols).enumerate() {
            matrix.dequantize_row(row, values);
        }
        assert_eq!(checksum(&values), tensor.checksum, "{}", tensor.name);
    });
    for expected in [
        "F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q6_K", "TQ1_0",
        "TQ2_0",
    ] {
        assert!(
            types.iter().any(|name| name == expected),
            "no golden tensor of type {expected}"
        );
    }
}

#[test]
fn packed_ternary_tensors_hold_the_golden_values() {
    let compute = compute(Isa::best(), 2).expect("best is available");
    let types = each_tensor(|tensor| {
        let (rows, cols, bytes) = (tensor.rows, tensor.cols, tensor.bytes);
        let packed = match tensor.dtype {
            "I2_S" => Some(pack_i2s(&compute, rows, cols, bytes).expect("valid")),
            "TQ1_0" => pack_tq1_0(&compute, rows, cols, bytes).expect("valid"),
            "TQ2_0" => pack_tq2_0(&compute, rows, cols, bytes).expect("valid"),
            _ => return,
        };
        let packed = packed.unwrap_or_else(|| panic!("{}: several scales", tensor.name));
        let values: Vec<f32> = packed.dequantize();
        assert_eq!(checksum(&values), tensor.checksum, "{}", tensor.name);
    });
    for expected in ["I2_S", "TQ1_0", "TQ2_0"] {
        assert!(
            types.iter().any(|name| name == expected),
            "no golden tensor of type {expected}"
        );
    }
}

#[test]
fn dense_matrices_of_the_wrong_length_or_shape_are_refused() {
    let message = |rows, cols, dtype, bytes: &[u8]| match DenseMatrix::new(rows, cols, dtype, bytes)
    {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.to_string(),
    };
    assert_eq!(
        message(2, 3, DenseType::F16, &[0; 11]),
        "dense weights: expected 12 bytes, found 11"
    );
    assert_eq!(
        message(2, 33, DenseType::Q8_0, &[0; 70]),
        "dense weights: cols must be a multiple of 32, found 33"
    );
    assert_eq!(
        message(0, 32, DenseType::Q8_0, &[]),
        "unsupported matrix shape 0 x 32"
    );
    assert!(message(usize::MAX, 32, DenseType::F32, &[]).starts_with("unsupported matrix shape"));
    assert!(message(1, usize::MAX, DenseType::F32, &[]).starts_with("unsupported matrix shape"));
}
