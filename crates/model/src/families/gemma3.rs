//! Gemma 3 (arXiv 2503.19786), text only: norms on both sides of attention and feed-forward, most layers within a window; the
//! backbone of microsoft/bitnet-embedding-270m.

use llm_kernels::Activation;

use super::{Defaults, Family, Norms, Windows, llama};
use crate::config::RopePairing;
use crate::roles::BlockNames;

pub(super) const GEMMA3: Family = Family {
    hf_architectures: &["Gemma3ForCausalLM", "Gemma3TextModel"],
    hf_model_types: &["gemma3_text"],
    gguf_architectures: &["gemma3"],
    hf_names: &BlockNames {
        attn_post_norm: "post_attention_layernorm",
        ffn_norm: "pre_feedforward_layernorm",
        ffn_post_norm: "post_feedforward_layernorm",
        ..*llama::LLAMA.hf_names
    },
    norms: Norms {
        q_and_k: true,
        post: true,
        less_one: true,
        ..Norms::LLAMA
    },
    activation: Activation::GeluTanh,
    gguf_pairing: RopePairing::Half,
    scaled_embedding: true,
    windows: Windows::AllButEvery(6),
    defaults: Defaults {
        head_dim: Some(256),
        rope_theta: 1e6,
        query_scalar: Some(256.0),
    },
    ..llama::LLAMA
};
