//! What a model tells about itself.

use std::path::Path;

use llm_engine::EngineInfo;
use napi_derive::napi;

/// As `ModelInfo` of `index.d.ts`; numbers are counts unless said otherwise.
#[napi(object)]
#[derive(Debug)]
pub struct ModelInfo {
    /// File or folder.
    pub path: String,
    pub architecture: String,
    pub parameters: f64,
    pub ternary_parameters: f64,
    pub bits_per_weight: f64,
    pub weight_types: String,
    /// Bytes of weights that a decoded token reads.
    pub weight_bytes_per_token: f64,
    /// `searched` or `full`.
    pub head: String,
    pub vocab_size: u32,
    pub layers: u32,
    pub embedding_size: u32,
    /// Tokens that the model was made for.
    pub context_length: u32,
    /// Tokens that fit as it is loaded.
    pub context_size: u32,
    pub has_chat_template: bool,
    /// Made to turn texts into vectors.
    pub embeds: bool,
    pub isa: String,
    pub threads: u32,
    pub gpu_layers: u32,
    pub memory: ModelMemory,
}

/// Bytes.
#[napi(object)]
#[derive(Debug)]
pub struct ModelMemory {
    /// Weights in memory of the engine.
    pub weights_bytes: f64,
    /// Mapped files.
    pub mapped_bytes: f64,
    /// Keys and values of running and kept chats.
    pub kv_bytes: f64,
}

/// Sizes of models are far below 2^32; a larger one is shown as the most.
fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl ModelInfo {
    pub(crate) fn new(path: &Path, info: EngineInfo) -> Self {
        Self {
            path: path.display().to_string(),
            architecture: info.architecture,
            parameters: info.parameters as f64,
            ternary_parameters: info.ternary_parameters as f64,
            bits_per_weight: info.bits_per_weight,
            weight_types: info.weight_types,
            weight_bytes_per_token: info.weight_bytes_per_token as f64,
            head: if info.head_searched {
                "searched"
            } else {
                "full"
            }
            .to_owned(),
            vocab_size: count(info.n_vocab),
            layers: count(info.n_layer),
            embedding_size: count(info.n_embd),
            context_length: count(info.context_length),
            context_size: count(info.context_size),
            has_chat_template: info.has_chat_template,
            embeds: info.embeds,
            isa: info.isa.name().to_owned(),
            threads: count(info.threads),
            gpu_layers: info.gpu_layers,
            memory: ModelMemory {
                weights_bytes: info.memory.weights_bytes as f64,
                mapped_bytes: info.memory.mapped_bytes as f64,
                kv_bytes: info.memory.kv_bytes as f64,
            },
        }
    }
}
