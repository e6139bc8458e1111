//! The corpus of broken files: what a reader must refuse, and with which words.

#![cfg(unix)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::oracle;
use serde_json::Value;
use tempfile::TempDir;

/// A JSON file that is known to be good.
fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("readable file")).expect("valid JSON")
}

/// Cases that must fail on opening, by the beginning of their id. The rest of the corpus is about
/// what files mean: architectures, tokenizers, templates. `dirs/idx_missing_shard` is left out:
/// as stored it holds both shards, byte for byte those of the valid `dirs/idx_ok`. A shard that is
/// really missing is tested in `folders.rs`.
const REFUSED: &[&str] = &[
    "gguf/cut_",
    "gguf/magic_",
    "gguf/version_",
    "gguf/n_tensors_9",
    "gguf/n_tensors_1",
    "gguf/n_tensors_plus_1",
    "gguf/n_tensors_zero",
    "gguf/n_kv_",
    "gguf/key_len_",
    "gguf/str_len_",
    "gguf/key_bad_utf8",
    "gguf/str_bad_utf8",
    "gguf/key_duplicate",
    "gguf/kv_type_",
    "gguf/array_",
    "gguf/tensor_duplicate",
    "gguf/alignment_",
    "gguf/dims_",
    "gguf/dim_zero",
    "gguf/dim_overflow",
    "gguf/dim_huge",
    "gguf/dim_row_not_block",
    "gguf/type_4",
    "gguf/type_9999",
    "gguf/type_bigger",
    "gguf/offset_",
    "gguf/i2s_no_scale",
    "gguf/big_endian",
    "gguf/garbage",
    "dirs/st_cut_",
    "dirs/st_header_len_",
    "dirs/st_header_text",
    "dirs/st_header_array",
    "dirs/st_header_utf8",
    "dirs/st_header_nested",
    "dirs/st_meta_nested",
    "dirs/st_off_",
    "dirs/st_shape_more",
    "dirs/st_shape_overflow",
    "dirs/st_shape_negative",
    "dirs/st_shape_missing",
    "dirs/st_dtype_unknown",
    "dirs/st_dtype_f8",
    "dirs/st_no_tensors",
    "dirs/cfg_missing",
    "dirs/cfg_empty",
    "dirs/cfg_text",
    "dirs/cfg_array",
    "dirs/cfg_truncated",
    "dirs/cfg_nested",
    "dirs/cfg_eps_nan",
    "dirs/idx_dotdot",
    "dirs/idx_absolute",
    "dirs/idx_backslash",
    "dirs/idx_nul",
    "dirs/idx_empty_",
    "dirs/idx_long_name",
    "dirs/idx_wrong_shard",
    "dirs/idx_no_map",
    "dirs/idx_map_array",
    "dirs/idx_text",
    "dirs/link_dangling",
    "dirs/link_loop",
    "dirs/link_outside_text",
    "dirs/link_dev_zero",
    "dirs/link_config",
    "dirs/fifo",
    "dirs/weights_are_dir",
    "dirs/sparse",
    "dirs/no_weights",
    "dirs/empty_dir",
    "dirs/absent",
    "dirs/gencfg_text",
    "dirs/tokcfg_text",
];

/// No case may take longer, whatever comes of it.
const TIME_LIMIT: Duration = Duration::from_secs(5);

fn corpus() -> PathBuf {
    oracle().join("malformed")
}

fn strings(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// The path to open for a case; a folder is put together under `work`.
fn prepare(case: &Value, work: &Path) -> PathBuf {
    let path = case["path"].as_str();
    if case["kind"] == "gguf" {
        return corpus().join(path.expect("path"));
    }
    let id = case["id"].as_str().expect("id");
    let folder = work.join(id);
    if id == "dirs/absent" {
        return folder;
    }
    let dropped = strings(&case["drop"]);
    fs::create_dir_all(&folder).expect("folder");
    for entry in fs::read_dir(corpus().join("dirs/ok")).expect("dirs/ok") {
        let entry = entry.expect("entry");
        let name = entry.file_name().into_string().expect("plain name");
        if !dropped.contains(&name.as_str()) {
            fs::copy(entry.path(), folder.join(&name)).expect("copy");
        }
    }
    for name in strings(&case["overlay"]) {
        fs::copy(
            corpus().join(path.expect("path")).join(name),
            folder.join(name),
        )
        .expect("copy");
    }
    set_up(&case["setup"], &folder);
    folder
}

fn set_up(setup: &Value, folder: &Path) {
    use std::os::unix::fs::{PermissionsExt, symlink};
    for link in setup["symlinks"].as_array().into_iter().flatten() {
        let path = folder.join(link["path"].as_str().expect("path"));
        symlink(link["target"].as_str().expect("target"), path).expect("link");
    }
    for name in strings(&setup["fifos"]) {
        let made = std::process::Command::new("mkfifo")
            .arg(folder.join(name))
            .status();
        assert!(made.expect("mkfifo runs").success());
    }
    for name in strings(&setup["dirs"]) {
        fs::create_dir(folder.join(name)).expect("folder");
    }
    for pair in setup["chmod"].as_array().into_iter().flatten() {
        let path = folder.join(pair[0].as_str().expect("path"));
        let mode = pair[1]
            .as_u64()
            .and_then(|mode| u32::try_from(mode).ok())
            .expect("mode");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    }
    for pair in setup["truncate"].as_array().into_iter().flatten() {
        let path = folder.join(pair[0].as_str().expect("path"));
        let file = fs::File::options().write(true).open(path).expect("file");
        file.set_len(pair[1].as_u64().expect("size"))
            .expect("grown");
    }
}

/// What is wrong with the outcome of one case; `None` when it is as it should be.
fn verdict(case: &Value, work: &Path) -> Option<String> {
    let id = case["id"].as_str().expect("id");
    let path = prepare(case, work);
    let start = Instant::now();
    let outcome = llm_format::open(&path);
    if start.elapsed() > TIME_LIMIT {
        return Some(format!("took {:?}", start.elapsed()));
    }
    let is_refused_here = REFUSED.iter().any(|prefix| id.starts_with(prefix));
    let error = match outcome {
        Ok(_) if is_refused_here => return Some("opened".to_owned()),
        Ok(_) => return None,
        Err(error) => error.to_string(),
    };
    if case["expect"] == "ok" {
        return Some(format!("refused: {error}"));
    }
    if error.contains("root:") {
        return Some(format!("quotes a file: {error}"));
    }
    if error.len() > 1000 {
        return Some(format!("message of {} bytes", error.len()));
    }
    // Words in the path itself prove nothing.
    let message = error.replace(&*path.to_string_lossy(), "").to_lowercase();
    let words = strings(&case["mention_any"]);
    let is_said = words.is_empty() || words.iter().any(|word| message.contains(word));
    (!is_said).then(|| format!("`{error}` has none of {words:?}"))
}

#[test]
fn every_broken_file_of_the_corpus_is_refused_in_time_with_the_right_words() {
    let work = TempDir::new().expect("temporary folder");
    prepare(
        &serde_json::json!({ "id": "dirs/ok", "kind": "model_dir" }),
        work.path(),
    );
    let manifest = read_json(&corpus().join("manifest.json"));
    let cases = manifest["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), 321);
    for prefix in REFUSED {
        let is_used = cases
            .iter()
            .any(|case| case["id"].as_str().expect("id").starts_with(prefix));
        assert!(is_used, "{prefix} names no case");
    }
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| Some(format!("{}: {}", case["id"], verdict(case, work.path())?)))
        .collect();
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
