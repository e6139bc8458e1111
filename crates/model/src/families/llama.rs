//! Llama (arXiv 2302.13971) with grouped heads, dense or ternary: HF1BitLLM/Llama3-8B-1.58, tiiuae/Falcon3-*-1.58bit.

use llm_kernels::Activation;

use super::{Family, Norms, bitnet};
use crate::config::RopePairing;
use crate::roles::BlockNames;

pub(super) const LLAMA: Family = Family {
    hf_architectures: &["LlamaForCausalLM"],
    hf_model_types: &["llama"],
    gguf_architectures: &["llama"],
    hf_names: &BlockNames {
        ..*bitnet::BITNET.hf_names
    },
    norms: Norms::LLAMA,
    activation: Activation::Silu,
    // Converters permute the query and key rows of this architecture so that rotated pairs lie side by side.
    gguf_pairing: RopePairing::Adjacent,
    ..bitnet::BITNET
};
