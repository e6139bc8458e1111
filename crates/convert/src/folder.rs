//! The files of a Hugging Face folder beside the weights.

use std::fs;
use std::path::Path;

use llm_format::{Gguf, HfFolder, ModelFile};
use llm_kernels::Activation;
use llm_model::{ModelConfig, Pooling, RopeScaling};
use serde_json::{Map, Value, json};

use crate::error::ConvertError;
use crate::gguf::{llama3_factors, rope_scaling_json};
use crate::plan::{Content, Plan, Request};
use crate::tokenizer::{self, pretty};

/// Files that hold whatever the weights become.
const COPIED: [&str; 10] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "added_tokens.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "modules.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
];

/// Writes all files but the weights into `to`.
pub(crate) fn write_files(
    request: &Request<'_>,
    plan: &Plan,
    to: &Path,
) -> Result<(), ConvertError> {
    let config = match request.file {
        ModelFile::Folder(source) => {
            copy_files(source, to)?;
            let mut config = source.config().as_object().cloned().unwrap_or_default();
            // Code that came with the model knows other names.
            config.remove("auto_map");
            config
        }
        ModelFile::Gguf(gguf) => {
            for (name, text) in tokenizer::files(gguf)? {
                write(&to.join(name), &text)?;
            }
            if request.blueprint.config().pooling == Pooling::LastToken {
                write_pooling(request.blueprint.config(), to)?;
            }
            config(request, gguf)?
        }
    };
    write(
        &to.join("config.json"),
        pretty(&Value::Object(finished(config, request, plan))),
    )
}

fn copy_files(source: &HfFolder, to: &Path) -> Result<(), ConvertError> {
    for name in COPIED {
        let from = source.path().join(name);
        if from.is_file() {
            let bytes = fs::read(&from).map_err(|source| failed(&from, source))?;
            write(&to.join(name), bytes)?;
        }
    }
    Ok(())
}

fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), ConvertError> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder
        .and_then(|()| fs::write(path, bytes))
        .map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: std::io::Error) -> ConvertError {
    ConvertError::Write {
        path: path.to_owned(),
        source: source.into(),
    }
}

/// What follows from the target and its weights.
fn finished(
    mut config: Map<String, Value>,
    request: &Request<'_>,
    plan: &Plan,
) -> Map<String, Value> {
    let activation = match request.blueprint.config().activation {
        Activation::Silu => "silu",
        Activation::Relu2 => "relu2",
        Activation::GeluTanh => "gelu_pytorch_tanh",
    };
    let is_gemma = plan.target.norm_offset != 0.0;
    let activation_key = if is_gemma {
        "hidden_activation"
    } else {
        "hidden_act"
    };
    config.insert(
        "architectures".to_owned(),
        json!([plan.target.architecture]),
    );
    config.insert("model_type".to_owned(), json!(plan.target.model_type));
    config.insert(activation_key.to_owned(), json!(activation));
    config.insert(
        "tie_word_embeddings".to_owned(),
        json!(request.blueprint.is_tied()),
    );
    config.remove("quantization_config");
    if plan.ternary.is_some() {
        let dense = plan.steps.iter().filter_map(|step| match step.content {
            Content::Dense { .. } if step.name.contains("layers.") => {
                step.name.strip_suffix(".weight")
            }
            _ => None,
        });
        let head = (!request.blueprint.is_tied()).then_some("lm_head");
        let skipped: Vec<&str> = dense.chain(head).collect();
        let quantization = json!({
            "quant_method": "bitnet",
            "linear_class": "autobitlinear",
            "quantization_mode": "offline",
            "modules_to_not_convert": skipped,
        });
        config.insert("quantization_config".to_owned(), quantization);
    }
    config
}

/// config.json of what GGUF metadata says.
fn config(request: &Request<'_>, gguf: &Gguf) -> Result<Map<String, Value>, ConvertError> {
    let config = request.blueprint.config();
    let settings = json!({
        "hidden_size": config.n_embd,
        "intermediate_size": config.n_ff,
        "num_hidden_layers": config.n_layer,
        "num_attention_heads": config.n_head,
        "num_key_value_heads": config.n_kv_head,
        "head_dim": config.head_dim,
        "vocab_size": config.n_vocab,
        "max_position_embeddings": config.context_length,
        "rms_norm_eps": f64::from(config.rms_norm_eps),
        "rope_theta": config.rope_theta,
        "rope_scaling": rope_scaling(config, gguf)?,
        "attention_bias": false,
        "torch_dtype": "bfloat16",
        "use_cache": true,
    });
    let Value::Object(mut settings) = settings else {
        return Ok(Map::new());
    };
    let metadata = gguf.metadata();
    for key in ["bos_token_id", "eos_token_id"] {
        if let Some(id) = metadata.u64(&format!("tokenizer.ggml.{key}"))? {
            settings.insert(key.to_owned(), json!(id));
        }
    }
    // Only Gemma scales embeddings; its other settings go along.
    if config.embedding_scale != 1.0 {
        settings.insert(
            "query_pre_attn_scalar".to_owned(),
            json!(query_scalar(config)),
        );
        settings.insert("sliding_window".to_owned(), Value::Null);
    }
    if let Some(local) = request.blueprint.local_layers() {
        let kind = |is_local: &bool| {
            if *is_local {
                "sliding_attention"
            } else {
                "full_attention"
            }
        };
        let kinds: Vec<&str> = local.is_local.iter().map(kind).collect();
        settings.insert("sliding_window".to_owned(), json!(local.size));
        settings.insert("layer_types".to_owned(), json!(kinds));
        if let Some(theta) = local.rope_theta {
            settings.insert("rope_local_base_freq".to_owned(), json!(theta));
        }
    }
    Ok(settings)
}

/// The number whose inverse root is the attention scale: a whole one where one gives it.
fn query_scalar(config: &ModelConfig) -> f64 {
    let scalar = 1.0 / f64::from(config.attention_scale).powi(2);
    let whole = scalar.round();
    if 1.0 / (whole as f32).sqrt() == config.attention_scale {
        whole
    } else {
        scalar
    }
}

/// The scaling in the terms of config.json; where the file has nothing but divisors, the published settings that give them.
fn rope_scaling(config: &ModelConfig, gguf: &Gguf) -> Result<Value, ConvertError> {
    let Some(tensor) = gguf.tensor("rope_freqs.weight") else {
        return Ok(rope_scaling_json(config));
    };
    if config.rope_scaling != RopeScaling::None {
        return Ok(rope_scaling_json(config));
    }
    let bytes = tensor.bytes.as_chunks::<4>().0.iter();
    let factors: Vec<f32> = bytes.map(|bytes| f32::from_le_bytes(*bytes)).collect();
    // Llama 3.1 and 3.2.
    for factor in [8.0, 32.0] {
        let config = ModelConfig {
            rope_scaling: RopeScaling::Llama3 {
                factor,
                low: 1.0,
                high: 4.0,
                original_context: 8192.0,
            },
            ..config.clone()
        };
        let known = llama3_factors(&config);
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * b.abs();
        if known.len() == factors.len() && factors.iter().zip(&known).all(close) {
            return Ok(rope_scaling_json(&config));
        }
    }
    Err(ConvertError::Unsupported {
        what: "tensor `rope_freqs.weight`".to_owned(),
        why: "config.json has no settings that give its factors".to_owned(),
    })
}

/// What sentence-transformers reads.
fn write_pooling(config: &ModelConfig, to: &Path) -> Result<(), ConvertError> {
    let pooling = json!({
        "word_embedding_dimension": config.n_embd,
        "pooling_mode_lasttoken": true,
        "include_prompt": true,
    });
    let module = |index: usize, path: &str, kind: &str| json!({ "idx": index, "name": index.to_string(), "path": path, "type": format!("sentence_transformers.models.{kind}") });
    let modules = json!([
        module(0, "", "Transformer"),
        module(1, "1_Pooling", "Pooling"),
        module(2, "2_Normalize", "Normalize"),
    ]);
    write(&to.join("1_Pooling/config.json"), pretty(&pooling))?;
    write(&to.join("modules.json"), pretty(&modules))
}
