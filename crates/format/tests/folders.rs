//! Hugging Face folders: what they list, what may be missing, and what the messages say.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::oracle;
use llm_format::{FormatError, ModelFile, open};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A JSON file that is known to be good.
fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("readable file")).expect("valid JSON")
}

/// Type, shape and bytes by name, read from the headers in the plainest way.
fn naive_tensors(folder: &Path) -> BTreeMap<String, (String, Value, Vec<u8>)> {
    let mut tensors = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path
            .extension()
            .is_none_or(|extension| extension != "safetensors")
        {
            continue;
        }
        let bytes = fs::read(&path).expect("weights");
        let header_len = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes"));
        let data = 8 + usize::try_from(header_len).expect("64 bits");
        let header: Value = serde_json::from_slice(&bytes[8..data]).expect("header");
        for (name, info) in header.as_object().expect("object") {
            if name == "__metadata__" {
                continue;
            }
            let offset = |i: usize| {
                let offset = info["data_offsets"][i].as_u64().expect("offset");
                data + usize::try_from(offset).expect("64 bits")
            };
            let dtype = info["dtype"].as_str().expect("dtype").to_owned();
            let bytes = bytes[offset(0)..offset(1)].to_vec();
            tensors.insert(name.clone(), (dtype, info["shape"].clone(), bytes));
        }
    }
    tensors
}

/// A copy of a valid folder that a test may change.
fn copy_of(model: &str) -> TempDir {
    let copy = TempDir::new().expect("temporary folder");
    for entry in fs::read_dir(oracle().join(model)).expect("model") {
        let path = entry.expect("entry").path();
        if path.is_file() {
            fs::copy(&path, copy.path().join(path.file_name().expect("name"))).expect("copy");
        }
    }
    copy
}

fn error_of(path: &Path) -> String {
    match open(path) {
        Ok(file) => panic!("{file:?} opened"),
        Err(error) => error.to_string(),
    }
}

fn n_tensors(path: &Path) -> usize {
    open(path).expect("valid model").tensors().count()
}

#[test]
fn every_model_lists_the_tensors_of_its_headers_with_their_bytes() {
    let mut seen = 0;
    for entry in fs::read_dir(oracle().join("models")).expect("models") {
        let folder = entry.expect("entry").path();
        let file = open(&folder).expect("valid model");
        let expected = naive_tensors(&folder);
        assert_eq!(file.tensors().count(), expected.len(), "{folder:?}");
        for (name, (dtype, shape, bytes)) in &expected {
            let tensor = file.tensor(name).expect("found by name");
            assert_eq!(
                (tensor.dtype.name(), json!(tensor.shape)),
                (dtype.as_str(), shape.clone())
            );
            assert_eq!(&*tensor.bytes, bytes.as_slice(), "{folder:?} {name}");
            assert_eq!(&tensor.name, name);
        }
        assert!(file.tensor("no.such.tensor").is_none());
        seen += 1;
    }
    assert_eq!(seen, 10);
}

#[test]
fn configuration_files_are_read_where_they_exist() {
    let path = oracle().join("models/llama3-158");
    let ModelFile::Folder(folder) = open(&path).expect("valid model") else {
        panic!("not a folder");
    };
    assert_eq!(folder.config(), &read_json(&path.join("config.json")));
    let optional = |name| Some(read_json(&path.join(name)));
    assert_eq!(
        folder.generation_config().cloned(),
        optional("generation_config.json")
    );
    assert_eq!(
        folder.tokenizer_config().cloned(),
        optional("tokenizer_config.json")
    );
    assert_eq!(
        folder.special_tokens_map().cloned(),
        optional("special_tokens_map.json")
    );
    let template = fs::read_to_string(path.join("chat_template.jinja")).expect("template");
    assert_eq!(folder.chat_template_jinja(), Some(template.as_str()));
    assert_eq!(folder.tokenizer_json(), path.join("tokenizer.json"));
    let len = fs::metadata(path.join("model.safetensors"))
        .expect("weights")
        .len();
    assert_eq!(folder.file_len(), len);

    let copy = copy_of("models/llama3-158");
    for name in [
        "generation_config.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    ] {
        fs::remove_file(copy.path().join(name)).expect("removed");
    }
    let ModelFile::Folder(folder) = open(copy.path()).expect("still valid") else {
        panic!("not a folder");
    };
    assert!(folder.generation_config().is_none() && folder.tokenizer_config().is_none());
    assert_eq!(folder.chat_template_jinja(), None);
}

#[test]
fn a_weight_file_stands_for_its_folder() {
    let sharded = oracle().join("models/falcon3-158");
    let all = n_tensors(&sharded);
    assert_eq!(
        n_tensors(&sharded.join("model-00002-of-00002.safetensors")),
        all
    );

    let copy = copy_of("models/falcon3-158");
    fs::remove_file(copy.path().join("model.safetensors.index.json")).expect("removed");
    let part = n_tensors(&copy.path().join("model-00002-of-00002.safetensors"));
    assert!(part < all, "{part} of {all}");
    assert!(error_of(copy.path()).starts_with("no weights in `"));

    fs::remove_file(copy.path().join("model-00001-of-00002.safetensors")).expect("removed");
    assert_eq!(
        n_tensors(copy.path()),
        part,
        "the only weight file is taken whatever its name"
    );
}

#[test]
fn a_missing_shard_is_named() {
    let copy = copy_of("models/falcon3-158");
    fs::remove_file(copy.path().join("model-00002-of-00002.safetensors")).expect("removed");
    let error = error_of(copy.path());
    assert!(
        error.contains("shard `model-00002-of-00002.safetensors` is missing"),
        "{error}"
    );
}

#[test]
fn a_tensor_in_two_shards_is_refused() {
    let copy = copy_of("models/falcon3-158");
    let shard = |n: u32| {
        copy.path()
            .join(format!("model-0000{n}-of-00002.safetensors"))
    };
    fs::copy(shard(1), shard(2)).expect("copied");
    let error = error_of(copy.path());
    assert!(error.contains("is in more than one shard"), "{error}");
}

#[test]
fn shard_names_that_are_no_plain_file_names_are_refused() {
    let copy = copy_of("models/falcon3-158");
    for (name, problem) in [
        ("", "it is empty"),
        ("..", "it is a folder"),
        ("../x", "it is a path"),
        ("/etc/hostname", "it is a path"),
        ("..\\x", "it is a path"),
        ("C:x", "it is a path"),
        ("x\u{0}", "it has a control character"),
        (&*"x".repeat(256), "it is too long"),
    ] {
        let index = json!({ "weight_map": { "w": name } }).to_string();
        fs::write(copy.path().join("model.safetensors.index.json"), index).expect("written");
        let error = error_of(copy.path());
        assert!(error.contains("invalid shard name"), "{error}");
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn a_folder_with_one_gguf_file_is_that_file() {
    let folder = TempDir::new().expect("temporary folder");
    let error = error_of(folder.path());
    assert!(
        error.contains("no model in `") && error.contains("config.json is missing"),
        "{error}"
    );

    let put = |name: &str| {
        fs::copy(
            oracle().join("malformed/gguf/ok.gguf"),
            folder.path().join(name),
        )
        .expect("copy")
    };
    put("one.gguf");
    assert!(matches!(open(folder.path()), Ok(ModelFile::Gguf(_))));
    put("two.GGUF");
    let error = error_of(folder.path());
    assert!(
        error.contains("name one of them: one.gguf, two.GGUF"),
        "{error}"
    );
}

#[test]
fn what_is_no_model_is_told_apart() {
    let folder = TempDir::new().expect("temporary folder");
    let missing = folder.path().join("missing.gguf");
    assert!(matches!(open(&missing), Err(FormatError::NotFound { path }) if path == missing));

    let put = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        path
    };
    let error = error_of(&put("notes.txt", b"to do"));
    assert!(error.contains("is not a model file"), "{error}");
    let error = error_of(&put("empty.gguf", b""));
    assert!(error.contains("unexpected end of file in magic"), "{error}");
    let error = error_of(&put("wrong.gguf", b"ggml, long ago"));
    assert!(error.contains("the magic bytes are missing"), "{error}");
    let bytes = fs::read(oracle().join("malformed/gguf/ok.gguf")).expect("valid file");
    assert!(open(&put("a-blob-without-extension", &bytes)).is_ok());
}

#[test]
fn broken_configuration_files_are_named_and_never_quoted() {
    for (name, text, expected) in [
        (
            "config.json",
            "password",
            "config.json` is not valid JSON: expected value at line 1",
        ),
        (
            "config.json",
            "[1]",
            "config.json` is invalid: expected a JSON object, found an array",
        ),
        (
            "generation_config.json",
            "{\"a\":",
            "generation_config.json` is not valid JSON: EOF",
        ),
        (
            "tokenizer_config.json",
            "\"secret\"",
            "expected a JSON object, found a string",
        ),
        (
            "special_tokens_map.json",
            "1",
            "expected a JSON object, found a number",
        ),
    ] {
        let copy = copy_of("malformed/dirs/ok");
        fs::write(copy.path().join(name), text).expect("written");
        let error = error_of(copy.path());
        assert!(error.contains(expected), "{error}");
        assert!(
            !error.contains("password") && !error.contains("secret"),
            "{error}"
        );
    }
}

#[test]
fn a_byte_order_mark_is_skipped_and_a_giant_configuration_refused() {
    let copy = copy_of("malformed/dirs/ok");
    let config = copy.path().join("config.json");
    let text = fs::read_to_string(&config).expect("config");
    fs::write(&config, format!("\u{feff}{text}")).expect("written");
    assert!(open(copy.path()).is_ok());

    fs::write(&config, [0xff, 0xfe, b'{']).expect("written");
    assert!(error_of(copy.path()).contains("config.json` is not UTF-8 text"));

    fs::File::create(&config)
        .expect("created")
        .set_len(1 << 40)
        .expect("grown");
    let error = error_of(copy.path());
    assert!(
        error.contains("is too large: 1099511627776 bytes"),
        "{error}"
    );
}

#[test]
fn pytorch_files_are_refused_with_advice_unless_safetensors_lie_beside_them() {
    let folder = copy_of("models/bitnet-2b4t");
    fs::write(folder.path().join("pytorch_model.bin"), b"\x80\x02").expect("written");
    assert!(open(folder.path()).is_ok());
    fs::remove_file(folder.path().join("model.safetensors")).expect("removed");
    let error = open(folder.path()).expect_err("pickles");
    assert!(
        matches!(&error, FormatError::PickledWeights { name, .. } if name == "pytorch_model.bin")
    );
    assert!(
        error.to_string().contains("safe_serialization=True"),
        "{error}"
    );
}
