//! GGUF files against what the reference reader found in them.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::oracle;
use llm_format::{Array, Gguf, Value as GgufValue};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A JSON file that is known to be good.
fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("readable file")).expect("valid JSON")
}

/// Every file with the goldens made from it.
fn files() -> Vec<(PathBuf, Value)> {
    let folder = oracle().join("gguf");
    let mut files: Vec<(PathBuf, Value)> = fs::read_dir(&folder)
        .expect("testdata/oracle/gguf")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.to_string_lossy().ends_with(".goldens.json"))
        .map(|path| {
            let goldens = read_json(&path);
            (
                folder.join(goldens["file"].as_str().expect("file")),
                goldens,
            )
        })
        .collect();
    files.sort_by(|left, right| left.0.cmp(&right.0));
    assert_eq!(files.len(), 19);
    files
}

fn as_json(value: &GgufValue) -> Value {
    match value {
        GgufValue::String(text) => json!(text),
        GgufValue::Bool(flag) => json!(flag),
        GgufValue::F32(_) | GgufValue::F64(_) => json!(value.as_f64()),
        _ => json!(value.as_u64()),
    }
}

/// Length, first three and last element, as the goldens show arrays.
fn array_summary(array: &Array) -> Value {
    fn summary<T: serde::Serialize>(items: &[T]) -> Value {
        json!({ "n": items.len(), "first": &items[..items.len().min(3)], "last": items.last() })
    }
    match array {
        Array::String(items) => summary(items),
        Array::I32(items) => summary(items),
        Array::U32(items) => summary(items),
        Array::F32(items) => summary(items),
        Array::Bool(items) => summary(items),
        other => panic!("no golden has {other:?}"),
    }
}

#[test]
fn metadata_of_every_file_matches_its_goldens() {
    for (path, goldens) in files() {
        let gguf = Gguf::open(&path).expect("valid file");
        assert_eq!(json!(gguf.version()), goldens["version"], "{path:?}");
        assert_eq!(json!(gguf.alignment()), goldens["alignment"], "{path:?}");
        assert_eq!(
            gguf.file_len(),
            fs::metadata(&path).expect("file").len(),
            "{path:?}"
        );
        let mut scalars = 0;
        for (key, expected) in goldens["metadata"].as_object().expect("object") {
            let found = gguf.metadata().get(key).map(as_json);
            assert_eq!(found.as_ref(), Some(expected), "{path:?} {key}");
            scalars += 1;
        }
        let mut arrays = 0;
        for (key, expected) in goldens["metadata_arrays"].as_object().expect("object") {
            let Some(GgufValue::Array(array)) = gguf.metadata().get(key) else {
                panic!("{path:?}: {key} is no array");
            };
            assert_eq!(&array_summary(array), expected, "{path:?} {key}");
            arrays += 1;
        }
        let n_kv = json!(gguf.metadata().iter().count());
        assert_eq!(
            n_kv, goldens["n_kv"],
            "{path:?}: {scalars} scalars and {arrays} arrays"
        );
    }
}

#[test]
fn tensors_of_every_file_match_their_goldens_byte_for_byte() {
    for (path, goldens) in files() {
        let gguf = Gguf::open(&path).expect("valid file");
        let expected = goldens["tensors"].as_array().expect("array");
        assert_eq!(gguf.tensors().count(), expected.len(), "{path:?}");
        for (tensor, expected) in gguf.tensors().zip(expected) {
            let at = format!("{path:?} {}", tensor.name);
            assert_eq!(json!(tensor.name), expected["name"], "{at}");
            assert_eq!(json!(tensor.dtype.name()), expected["type_name"], "{at}");
            let dims: Vec<usize> = tensor.shape.iter().rev().copied().collect();
            assert_eq!(json!(dims), expected["ne"], "{at}");
            assert_eq!(json!(tensor.bytes.len()), expected["nbytes"], "{at}");
            let hash: String = Sha256::digest(&*tensor.bytes)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(json!(hash), expected["sha256_raw"], "{at}");
            let again = gguf.tensor(&tensor.name).expect("found by name");
            assert_eq!(*again.bytes, *tensor.bytes, "{at}");
        }
    }
}

#[test]
fn released_pages_read_the_same_bytes_again() {
    let (path, _) = files().remove(0);
    let gguf = Gguf::open(&path).expect("valid file");
    for tensor in gguf.tensors() {
        let before = tensor.bytes.to_vec();
        tensor.bytes.release();
        assert_eq!(*tensor.bytes, *before, "{}", tensor.name);
    }
}

#[test]
fn typed_getters_tell_missing_keys_from_wrong_types() {
    let path = oracle().join("gguf/bitnet-2b4t.I2_S.gguf");
    let gguf = Gguf::open(&path).expect("valid file");
    let metadata = gguf.metadata();
    assert_eq!(
        metadata.str("general.architecture").expect("string"),
        Some("bitnet-b1.58")
    );
    assert_eq!(
        metadata.u64("bitnet-b1.58.block_count").expect("number"),
        Some(2)
    );
    assert_eq!(
        metadata.f64("bitnet-b1.58.rope.freq_base").expect("number"),
        Some(500_000.0)
    );
    assert_eq!(
        metadata.bool("tokenizer.ggml.add_bos_token").expect("bool"),
        Some(true)
    );
    assert_eq!(
        metadata
            .strings("tokenizer.ggml.tokens")
            .expect("strings")
            .map(<[_]>::len),
        Some(512)
    );
    assert_eq!(
        metadata
            .i32s("tokenizer.ggml.token_type")
            .expect("i32s")
            .map(<[_]>::len),
        Some(512)
    );
    assert_eq!(
        metadata.f32s("tokenizer.ggml.scores").expect("absent"),
        None
    );
    let error = metadata
        .u64("general.architecture")
        .expect_err("a string")
        .to_string();
    assert_eq!(
        error,
        "metadata key `general.architecture` has the wrong type: expected unsigned integer, \
         found string"
    );
    assert!(metadata.f32s("tokenizer.ggml.tokens").is_err());
}
