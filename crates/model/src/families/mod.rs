//! The families: what each calls its tensors and which constants go with it. All share [`crate::decoder`].
//!
//! A new family of that shape is one file here with a [`Family`] and a line in [`FAMILIES`].

mod assemble;
mod bitnet;
mod gemma3;
mod gguf;
mod hugging_face;
mod llama;
mod local_layers;
mod qwen3;
mod rotary;

use llm_format::ModelFile;
use llm_kernels::{Activation, Compute, RopePairing};

use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::weights::TernaryRule;
use crate::{LoadOptions, Model};
use local_layers::LocalLayers;

/// Every family, in the order in which they are tried.
const FAMILIES: [&Family; 5] = [
    &bitnet::BITNET,
    &bitnet::BITNET_LEGACY,
    &llama::LLAMA,
    &qwen3::QWEN3,
    &gemma3::GEMMA3,
];

/// What tells one family from another.
#[derive(Debug)]
struct Family {
    /// `architectures` in config.json.
    hf_architectures: &'static [&'static str],
    /// `model_type` in config.json, for folders that name no architecture.
    hf_model_types: &'static [&'static str],
    /// `general.architecture` in GGUF.
    gguf_architectures: &'static [&'static str],
    /// Tensor names in Hugging Face folders.
    hf_names: &'static BlockNames,
    /// Which norms a block has beside the two that all have.
    norms: Norms,
    /// The activation when the file does not name one; GGUF never does.
    activation: Activation,
    /// The order of query and key rows in GGUF; Hugging Face's is always by halves.
    gguf_pairing: RopePairing,
    /// Float projections in a Hugging Face folder are master weights, whether or not it says so.
    master_weights: bool,
    /// Embeddings are multiplied by the square root of their width.
    scaled_embedding: bool,
    /// Which layers attend within a window.
    windows: Windows,
    /// What config.json may leave out.
    defaults: Defaults,
}

/// Norms of a block beside those before attention and feed-forward.
#[derive(Debug, Clone, Copy)]
struct Norms {
    /// Before the output projection and before the down projection.
    sub: bool,
    /// Of queries and keys, per head.
    q_and_k: bool,
    /// Behind attention and behind feed-forward.
    post: bool,
    /// Weights of all norms but those inside projections are stored less one. Hugging Face folders do; GGUF stores them whole.
    less_one: bool,
}

impl Norms {
    /// None.
    const LLAMA: Self = Self {
        sub: false,
        q_and_k: false,
        post: false,
        less_one: false,
    };
}

/// Which layers attend within a window.
#[derive(Debug, Clone, Copy)]
enum Windows {
    /// None.
    Never,
    /// Where config.json turns windows on, those from `max_window_layers` on.
    FromLayer,
    /// All but every n-th, with rotary frequencies of their own.
    AllButEvery(usize),
}

/// Settings for which the reference has values of its own when config.json is silent.
#[derive(Debug, Clone, Copy)]
struct Defaults {
    /// `None`: the even share of the residual stream.
    head_dim: Option<usize>,
    rope_theta: f64,
    /// `query_pre_attn_scalar`, whose inverse root scales the scores; `None`: the width of a head.
    query_scalar: Option<f64>,
}

impl Defaults {
    const LLAMA: Self = Self {
        head_dim: None,
        rope_theta: 10_000.0,
        query_scalar: None,
    };
}

/// Names of a block's modules below its prefix (`model.layers.3.`), without `.weight`; empty where the family has none.
#[derive(Debug)]
struct BlockNames {
    attn_norm: &'static str,
    q_norm: &'static str,
    k_norm: &'static str,
    q: &'static str,
    k: &'static str,
    v: &'static str,
    attn_sub_norm: &'static str,
    o: &'static str,
    attn_post_norm: &'static str,
    ffn_norm: &'static str,
    gate: &'static str,
    up: &'static str,
    ffn_sub_norm: &'static str,
    down: &'static str,
    ffn_post_norm: &'static str,
}

/// Names of all tensors of a file.
#[derive(Debug)]
struct TensorNames {
    block_prefix: &'static str,
    block: &'static BlockNames,
    embedding: &'static str,
    output_norm: &'static str,
    head: &'static str,
}

/// Everything a file's settings say, ready for its tensors.
struct Recipe {
    config: ModelConfig,
    names: TensorNames,
    norms: Norms,
    /// Norms inside the projections.
    projection_norms: Option<ProjectionNorms>,
    /// Layers that attend within a window.
    local: Option<LocalLayers>,
    rule: TernaryRule,
    /// The head is the embedding; `None`: it is when the file has no head of its own.
    tied: Option<bool>,
    /// A tensor of divisors of the rotary frequencies, where the file has it.
    rope_factors: Option<&'static str>,
}

/// Norms inside all projections of a model.
#[derive(Debug, Clone, Copy)]
struct ProjectionNorms {
    /// What follows the projection's name in the norm's.
    suffix: &'static str,
    eps: f32,
}

pub(crate) fn load(
    file: &ModelFile,
    compute: &Compute,
    options: &LoadOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Box<dyn Model>, ModelError> {
    let recipe = match file {
        ModelFile::Gguf(gguf) => gguf::recipe(gguf)?,
        ModelFile::Folder(folder) => hugging_face::recipe(folder)?,
    };
    let decoder = assemble::decoder(recipe, file, compute, options, progress)?;
    Ok(Box::new(decoder))
}

/// What the embeddings of a family are multiplied by.
fn embedding_scale(family: &Family, n_embd: usize) -> f32 {
    if family.scaled_embedding {
        (n_embd as f32).sqrt()
    } else {
        1.0
    }
}

fn unsupported(architecture: &str) -> ModelError {
    let names = |family: &&Family| {
        family
            .hf_architectures
            .iter()
            .chain(family.gguf_architectures)
            .copied()
    };
    let supported: Vec<&str> = FAMILIES.iter().flat_map(names).collect();
    ModelError::UnsupportedArchitecture {
        architecture: architecture.chars().take(60).collect(),
        supported: supported.join(", "),
    }
}
