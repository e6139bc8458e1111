//! Qwen3 (arXiv 2505.09388): Llama with norms of queries and keys; the backbone of microsoft/bitnet-embedding-0.6b.

use super::{Defaults, Family, Norms, Windows, llama};
use crate::config::RopePairing;

pub(super) const QWEN3: Family = Family {
    hf_architectures: &["Qwen3ForCausalLM", "Qwen3Model"],
    hf_model_types: &["qwen3"],
    gguf_architectures: &["qwen3"],
    norms: Norms {
        q_and_k: true,
        ..Norms::LLAMA
    },
    gguf_pairing: RopePairing::Half,
    windows: Windows::FromLayer,
    defaults: Defaults {
        head_dim: Some(128),
        ..Defaults::LLAMA
    },
    ..llama::LLAMA
};
