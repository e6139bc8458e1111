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
mod target;

use llm_format::ModelFile;
use llm_kernels::{Activation, Compute};

use crate::config::{ModelConfig, RopePairing};
use crate::error::ModelError;
use crate::roles::{BlockNames, Role, TensorNames};
use crate::weights::{TernaryRule, WeightReader};
use crate::{LoadOptions, Model};

pub use local_layers::LocalLayers;
pub use rotary::ROPE_SCALING_KEY;
pub(crate) use target::target;

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
pub(crate) struct Norms {
    /// Before the output projection and before the down projection.
    pub(crate) sub: bool,
    /// Of queries and keys, per head.
    pub(crate) q_and_k: bool,
    /// Behind attention and behind feed-forward.
    pub(crate) post: bool,
    /// Weights of all norms but those inside projections are stored less one. Hugging Face folders do; GGUF stores them whole.
    pub(crate) less_one: bool,
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

impl Windows {
    /// Whether the family's GGUF keys can say which layers are local.
    fn has_pattern(self, local: &LocalLayers) -> bool {
        matches!(self, Self::AllButEvery(_)) && local.pattern().is_some()
    }
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

/// Everything a file's settings say, ready for its tensors.
pub(crate) struct Recipe {
    family: &'static Family,
    pub(crate) config: ModelConfig,
    pub(crate) names: TensorNames,
    pub(crate) norms: Norms,
    /// The epsilon of norms inside all projections, where there are any.
    pub(crate) projection_norms: Option<f32>,
    /// Layers that attend within a window.
    pub(crate) local: Option<LocalLayers>,
    pub(crate) rule: TernaryRule,
    /// The head is the embedding.
    pub(crate) is_tied: bool,
    /// A tensor of divisors of the rotary frequencies, where the file has it.
    rope_factors: Option<&'static str>,
}

impl Recipe {
    /// The weights of a norm that is not inside a projection, whole whatever the file stores.
    pub(crate) fn norm(
        &self,
        reader: &mut WeightReader<'_>,
        role: Role,
    ) -> Result<Vec<f32>, ModelError> {
        let len = role.shape(&self.config)[0];
        let mut values = reader.vector(&self.names.of(role), len)?;
        if self.norms.less_one {
            values.iter_mut().for_each(|value| *value += 1.0);
        }
        Ok(values)
    }
}

/// The settings of a file.
pub(crate) fn recipe(file: &ModelFile) -> Result<Recipe, ModelError> {
    match file {
        ModelFile::Gguf(gguf) => gguf::recipe(gguf),
        ModelFile::Folder(folder) => hugging_face::recipe(folder),
    }
}

pub(crate) fn load(
    file: &ModelFile,
    compute: &Compute,
    options: &LoadOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Box<dyn Model>, ModelError> {
    let decoder = assemble::decoder(recipe(file)?, file, compute, options, progress)?;
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
