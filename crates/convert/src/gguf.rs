//! The metadata of a GGUF file.

use llm_format::{Array, Dtype, Gguf, HfFolder, ModelFile, Value};
use llm_model::{
    EXACT_SCALES_KEYS, I2S_ARM_KEY, I2sOrder, ModelConfig, Pooling, ROPE_SCALING_KEY, RopeScaling,
    TILES_KEY,
};
use serde_json::json;

use crate::error::ConvertError;
use crate::plan::{Content, Plan, Request};
use crate::{sampling, tokenizer};

/// What stands before the tensors.
pub(crate) struct Header {
    pub(crate) architecture: String,
    pub(crate) pairs: Pairs,
}

type Pairs = Vec<(String, Value)>;

const ARCHITECTURE: &str = "general.architecture";
const FILE_TYPE: &str = "general.file_type";

/// Every how many layers Gemma 3 sees everything, and the rotary base of the others, where a file does not say.
const GEMMA3_PATTERN: usize = 6;
const GEMMA3_LOCAL_THETA: f64 = 10_000.0;

/// The metadata of the planned file. Losses are added to the plan's.
pub(crate) fn metadata(request: &Request<'_>, plan: &mut Plan) -> Result<Header, ConvertError> {
    let mut pairs = match request.file {
        ModelFile::Gguf(source) => copied(source),
        ModelFile::Folder(folder) => built(request, plan, folder)?,
    };
    let file_type = match plan.ternary {
        Some(output) => output.file_type(),
        None => dense_file_type(plan),
    };
    if file_type.is_some() || plan.ternary.is_some() {
        pairs.retain(|(key, _)| key != FILE_TYPE);
    }
    if let Some(file_type) = file_type {
        pairs.push((FILE_TYPE.to_owned(), Value::U32(file_type)));
    }
    if !plan.tiles.is_empty() {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let tiles = plan.tiles.iter().flat_map(|&(rows, cols, tiles)| {
            [rows, cols, tiles.bm, tiles.bk, tiles.bmm].map(number)
        });
        pairs.push((
            TILES_KEY.to_owned(),
            Value::Array(Array::U32(tiles.collect())),
        ));
    }
    if request.options.output_i2s_order == I2sOrder::Arm {
        pairs.push((I2S_ARM_KEY.to_owned(), Value::Bool(true)));
    }
    if plan.ternary.is_some_and(|output| output.rounds_scales()) {
        let is_ternary = |content: &Content| matches!(content, Content::Ternary { .. });
        let ternary = plan.steps.iter().filter(|step| is_ternary(&step.content));
        let names: Vec<String> = ternary.map(|step| step.name.clone()).collect();
        // The scales are filled in once all weights have been read.
        let scales = vec![0.0; names.len()];
        let [names_key, scales_key] = EXACT_SCALES_KEYS.map(str::to_owned);
        pairs.push((names_key, Value::Array(Array::String(names))));
        pairs.push((scales_key, Value::Array(Array::F32(scales))));
    }
    let architecture = pairs.iter().find(|(key, _)| key == ARCHITECTURE);
    let architecture = match architecture {
        Some((_, Value::String(name))) => name.clone(),
        _ => plan.target.architecture.to_owned(),
    };
    Ok(Header {
        architecture,
        pairs,
    })
}

/// What another GGUF file says, but for what only holds of it.
fn copied(source: &Gguf) -> Pairs {
    let stays = |key: &str| {
        let only_of_its_weights = [TILES_KEY, I2S_ARM_KEY, "general.alignment"];
        !only_of_its_weights.contains(&key) && !EXACT_SCALES_KEYS.contains(&key)
    };
    let (first, rest): (Pairs, Pairs) = source
        .metadata()
        .iter()
        .filter(|(key, _)| stays(key))
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .partition(|(key, _)| key == ARCHITECTURE);
    [first, rest].concat()
}

/// `general.file_type` of a file without ternary weights, by its first projection.
fn dense_file_type(plan: &Plan) -> Option<u32> {
    let dtype = plan.steps.iter().find_map(|step| match step.content {
        Content::Dense { dtype, .. } if step.name.starts_with("blk.") => Some(dtype),
        _ => None,
    });
    match dtype? {
        Dtype::F32 => Some(0),
        Dtype::F16 => Some(1),
        Dtype::Bf16 => Some(32),
        _ => None,
    }
}

fn built(request: &Request<'_>, plan: &mut Plan, folder: &HfFolder) -> Result<Pairs, ConvertError> {
    let config = request.blueprint.config();
    let architecture = plan.target.architecture;
    let name = folder
        .path()
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let mut pairs = vec![
        (
            ARCHITECTURE.to_owned(),
            Value::String(architecture.to_owned()),
        ),
        ("general.name".to_owned(), Value::String(name.into_owned())),
        ("general.quantization_version".to_owned(), Value::U32(2)),
    ];
    let mut put = |key: &str, value| pairs.push((format!("{architecture}.{key}"), value));
    let count = |n: usize| Value::U32(u32::try_from(n).unwrap_or(u32::MAX));
    put("vocab_size", count(config.n_vocab));
    put("context_length", count(config.context_length));
    put("embedding_length", count(config.n_embd));
    put("block_count", count(config.n_layer));
    put("feed_forward_length", count(config.n_ff));
    put("attention.head_count", count(config.n_head));
    put("attention.head_count_kv", count(config.n_kv_head));
    put("attention.key_length", count(config.head_dim));
    put("attention.value_length", count(config.head_dim));
    put(
        "attention.layer_norm_rms_epsilon",
        Value::F32(config.rms_norm_eps),
    );
    put("rope.dimension_count", count(config.head_dim));
    put("rope.freq_base", Value::F32(config.rope_theta as f32));
    if config.attention_scale != 1.0 / (config.head_dim as f32).sqrt() {
        put("attention.scale", Value::F32(config.attention_scale));
    }
    if config.pooling == Pooling::LastToken {
        put("pooling_type", Value::U32(3));
    }
    if let RopeScaling::Linear { factor } = config.rope_scaling {
        put("rope.scaling.type", Value::String("linear".to_owned()));
        put("rope.scaling.factor", Value::F32(factor as f32));
    }
    if let Some(local) = request.blueprint.local_layers() {
        put("attention.sliding_window", count(local.size));
        if let Some(n) = local.pattern().filter(|&n| n != GEMMA3_PATTERN) {
            put("attention.sliding_window_pattern", count(n));
        }
        if let Some(theta) = local
            .rope_theta
            .filter(|&theta| theta != GEMMA3_LOCAL_THETA)
        {
            put("rope.freq_base_swa", Value::F32(theta as f32));
        }
    }
    if let RopeScaling::Llama3 { .. } = config.rope_scaling {
        let text = rope_scaling_json(config).to_string();
        pairs.push((ROPE_SCALING_KEY.to_owned(), Value::String(text)));
    }
    pairs.extend(sampling::pairs(folder));
    pairs.extend(tokenizer::pairs(folder, config.n_vocab, &mut plan.losses)?);
    Ok(pairs)
}

/// `rope_scaling` of config.json.
pub(crate) fn rope_scaling_json(config: &ModelConfig) -> serde_json::Value {
    match config.rope_scaling {
        RopeScaling::None => serde_json::Value::Null,
        RopeScaling::Linear { factor } => json!({ "rope_type": "linear", "factor": factor }),
        RopeScaling::Llama3 {
            factor,
            low,
            high,
            original_context,
        } => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low,
            "high_freq_factor": high,
            "original_max_position_embeddings": original_context,
        }),
    }
}

/// What `rope_freqs.weight` holds: one divisor for each rotary frequency.
pub(crate) fn llama3_factors(config: &ModelConfig) -> Vec<f32> {
    let factor = |pair: usize| {
        let exponent = 2.0 * pair as f64 / config.head_dim as f64;
        let frequency = 1.0 / libm::pow(config.rope_theta, exponent);
        (frequency / config.rope_scaling.apply(frequency)) as f32
    };
    (0..config.head_dim / 2).map(factor).collect()
}
