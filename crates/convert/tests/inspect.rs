//! What is told of a model file without loading it.

use std::path::{Path, PathBuf};

use llm_convert::{TokenizerInfo, inspect};

fn oracle(place: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/oracle")
        .join(place)
}

#[test]
fn a_folder_and_the_file_made_of_it_hold_the_same_model() {
    let folder = inspect(&oracle("models/bitnet-2b4t"), Some(100), None).unwrap();
    let file = inspect(&oracle("gguf/bitnet-2b4t.I2_S.gguf"), Some(100), None).unwrap();
    assert_eq!((folder.format, file.format), ("huggingface", "gguf"));
    assert_eq!(
        (folder.problem.as_deref(), file.problem.as_deref()),
        (None, None)
    );
    assert_eq!(folder.parameters, file.parameters);
    assert_eq!(folder.ternary_parameters, file.ternary_parameters);
    assert!(folder.ternary_parameters > 0 && folder.ternary_parameters < folder.parameters);
    assert_eq!(folder.memory.kv_bytes, file.memory.kv_bytes);
    assert!(folder.memory.kv_bytes > 0);
    assert_eq!(file.types.get("I2_S"), Some(&14));
    let expected = TokenizerInfo {
        kind: "gpt2".to_owned(),
        pre_tokenizer: Some("llama-bpe".to_owned()),
        tokens: 512,
    };
    assert_eq!(file.tokenizer, Some(expected));
    assert!(folder.has_chat_template && file.has_chat_template);
    assert!(file.bits_per_weight > 1.5 && file.bits_per_weight < 32.0);
}

#[test]
fn a_model_that_cannot_be_loaded_is_shown_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let from = oracle("models/llama-fp16");
    for name in ["model.safetensors", "tokenizer.json"] {
        std::fs::copy(from.join(name), folder.path().join(name)).unwrap();
    }
    std::fs::write(
        folder.path().join("config.json"),
        r#"{ "architectures": ["MambaForCausalLM"] }"#,
    )
    .unwrap();
    let found = inspect(folder.path(), None, None).unwrap();
    assert_eq!(found.architecture, "MambaForCausalLM");
    assert!(found.problem.unwrap().contains("MambaForCausalLM"));
    assert!(found.parameters > 0 && !found.tensors.is_empty());
}

#[test]
fn what_is_no_model_is_an_error() {
    assert!(inspect(&oracle("gguf/nowhere.gguf"), None, None).is_err());
    assert!(inspect(&oracle("models/bitnet-2b4t/tokenizer.json"), None, None).is_err());
}
