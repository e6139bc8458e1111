//! The families: what each calls its tensors and which constants go with it. All share [`crate::decoder`].
//!
//! A new family of that shape is one file here with a [`Family`] and a line in [`FAMILIES`].

mod assemble;
mod bitnet;
mod gguf;
mod hugging_face;
mod llama;

use llm_format::ModelFile;
use llm_kernels::{Activation, Compute, RopePairing};

use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::weights::TernaryRule;
use crate::{LoadOptions, Model};

/// Every family, in the order in which they are tried.
const FAMILIES: [&Family; 3] = [&bitnet::BITNET, &bitnet::BITNET_LEGACY, &llama::LLAMA];

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
    /// Norms before the output projection and before the down projection.
    sub_norms: bool,
    /// The activation when the file does not name one; GGUF never does.
    activation: Activation,
    /// The order of query and key rows in GGUF; Hugging Face's is always by halves.
    gguf_pairing: RopePairing,
    /// Float projections in a Hugging Face folder are master weights, whether or not it says so.
    master_weights: bool,
}

/// Names of a block's modules below its prefix (`model.layers.3.`), without `.weight`.
#[derive(Debug)]
struct BlockNames {
    attn_norm: &'static str,
    q: &'static str,
    k: &'static str,
    v: &'static str,
    attn_sub_norm: &'static str,
    o: &'static str,
    ffn_norm: &'static str,
    gate: &'static str,
    up: &'static str,
    ffn_sub_norm: &'static str,
    down: &'static str,
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
    sub_norms: bool,
    rule: TernaryRule,
    /// The head is the embedding; `None`: it is when the file has no head of its own.
    tied: Option<bool>,
    /// A tensor of divisors of the rotary frequencies, where the file has it.
    rope_factors: Option<&'static str>,
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
