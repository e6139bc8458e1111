//! BitNet b1.58: Llama with a norm before the output projection and before the down projection (arXiv 2402.17764).

use llm_kernels::Activation;

use super::{Defaults, Family, Norms, Windows};
use crate::config::RopePairing;
use crate::roles::BlockNames;

/// microsoft/bitnet-b1.58-2B-4T and what follows its layout: squared ReLU.
pub(super) const BITNET: Family = Family {
    hf_architectures: &["BitNetForCausalLM"],
    hf_model_types: &["bitnet"],
    gguf_architectures: &["bitnet-b1.58", "bitnet-25"],
    hf_names: &BlockNames {
        attn_norm: "input_layernorm",
        q_norm: "self_attn.q_norm",
        k_norm: "self_attn.k_norm",
        q: "self_attn.q_proj",
        k: "self_attn.k_proj",
        v: "self_attn.v_proj",
        attn_sub_norm: "self_attn.attn_sub_norm",
        o: "self_attn.o_proj",
        attn_post_norm: "",
        ffn_norm: "post_attention_layernorm",
        gate: "mlp.gate_proj",
        up: "mlp.up_proj",
        ffn_sub_norm: "mlp.ffn_sub_norm",
        down: "mlp.down_proj",
        ffn_post_norm: "",
    },
    norms: Norms {
        sub: true,
        ..Norms::LLAMA
    },
    activation: Activation::Relu2,
    gguf_pairing: RopePairing::Half,
    master_weights: false,
    scaled_embedding: false,
    windows: Windows::Never,
    defaults: Defaults::LLAMA,
};

/// 1bitLLM/bitnet_b1_58-*, the first reproduction: SiLU, other names, master weights without a quantization_config.
pub(super) const BITNET_LEGACY: Family = Family {
    hf_architectures: &["BitnetForCausalLM"],
    hf_model_types: &[],
    gguf_architectures: &["bitnet"],
    hf_names: &BlockNames {
        attn_sub_norm: "self_attn.inner_attn_ln",
        ffn_sub_norm: "mlp.ffn_layernorm",
        ..*BITNET.hf_names
    },
    activation: Activation::Silu,
    master_weights: true,
    ..BITNET
};
