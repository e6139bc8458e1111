//! GGUF metadata to a recipe. Keys: the GGUF specification, and what the converters of the BitNet forks write.

use llm_format::Gguf;

use super::local_layers::LocalLayers;
use super::{Defaults, FAMILIES, Family, Norms, Recipe, embedding_scale, rotary, unsupported};
use crate::config::{ModelConfig, Pooling};
use crate::error::ModelError;
use crate::fields::{Fields, MAX_DIMENSION};
use crate::roles::{BlockNames, ProjectionKind, Role, TensorNames};
use crate::weights::TernaryRule;

const PLACE: &str = "GGUF metadata";
const ARCHITECTURE: &str = "general.architecture";

const NAMES: BlockNames = BlockNames {
    attn_norm: "attn_norm",
    q_norm: "attn_q_norm",
    k_norm: "attn_k_norm",
    q: "attn_q",
    k: "attn_k",
    v: "attn_v",
    attn_sub_norm: "attn_sub_norm",
    o: "attn_output",
    attn_post_norm: "post_attention_norm",
    ffn_norm: "ffn_norm",
    gate: "ffn_gate",
    up: "ffn_up",
    ffn_sub_norm: "ffn_sub_norm",
    down: "ffn_down",
    ffn_post_norm: "post_ffw_norm",
};

pub(super) fn recipe(gguf: &Gguf) -> Result<Recipe, ModelError> {
    let metadata = gguf.metadata();
    let architecture = metadata
        .str(ARCHITECTURE)?
        .ok_or(ModelError::ArchitectureMissing {
            place: PLACE,
            key: ARCHITECTURE,
        })?;
    let family = FAMILIES
        .into_iter()
        .find(|family| family.gguf_architectures.contains(&architecture))
        .ok_or_else(|| unsupported(architecture))?;
    let fields = Fields::Gguf(metadata, format!("{architecture}."));

    let n_embd = fields.required_size("embedding_length")?;
    let n_head = fields.required_size("attention.head_count")?;
    let n_kv_head = fields
        .size("attention.head_count_kv", n_head as u64)?
        .unwrap_or(n_head);
    let head_dim = head_dim(&fields, n_embd, n_head)?;
    refuse_what_is_not_computed(&fields)?;
    let n_layer = fields.layers("block_count")?;
    let own_scaling = rotary::own_scaling(metadata)?;
    let has_own_scaling = own_scaling.is_some();
    let rope_scaling = match own_scaling {
        Some(scaling) => scaling,
        None => rotary::scaling_of_gguf(&fields)?,
    };
    let mut config = ModelConfig {
        architecture: architecture.to_owned(),
        // 0: as many as the embedding has rows.
        n_vocab: fields.size("vocab_size", MAX_DIMENSION)?.unwrap_or(0),
        n_embd,
        n_layer,
        n_head,
        n_kv_head,
        head_dim,
        n_ff: fields.required_size("feed_forward_length")?,
        context_length: fields
            .size("context_length", u64::from(u32::MAX))?
            .ok_or_else(|| fields.missing("context_length"))?,
        rms_norm_eps: fields
            .positive("attention.layer_norm_rms_epsilon")?
            .ok_or_else(|| fields.missing("attention.layer_norm_rms_epsilon"))?
            as f32,
        embedding_scale: embedding_scale(family, n_embd),
        pooling: pooling(&fields)?,
        rope_theta: fields
            .positive("rope.freq_base")?
            .unwrap_or(Defaults::LLAMA.rope_theta),
        rope_scaling,
        rope_pairing: family.gguf_pairing,
        activation: family.activation,
        ..ModelConfig::uncounted()
    };
    config.attention_scale = attention_scale(&fields, family, &config)?;
    if n_head % n_kv_head != 0 {
        return Err(fields.invalid(
            "attention.head_count_kv",
            n_kv_head,
            format!("a divisor of {n_head}"),
        ));
    }
    let names = names();
    let has_input_norms = gguf
        .tensor(&names.of(Role::InputNorm(0, ProjectionKind::Query)))
        .is_some();
    if config.n_vocab == 0 {
        let name = names.of(Role::Embedding);
        let embedding = gguf
            .tensor(&name)
            .ok_or(ModelError::TensorMissing { name })?;
        config.n_vocab = embedding.shape.first().copied().unwrap_or(0);
    }
    Ok(Recipe {
        family,
        projection_norms: has_input_norms.then_some(config.rms_norm_eps),
        config,
        norms: Norms {
            less_one: false,
            ..family.norms
        },
        local: LocalLayers::of_gguf(family, &fields, n_layer)?,
        rule: TernaryRule::by_type(),
        is_tied: gguf.tensor(&names.of(Role::Head)).is_none(),
        names,
        rope_factors: (!has_own_scaling).then_some("rope_freqs.weight"),
    })
}

/// The names of the tensors, the same for all families.
pub(super) fn names() -> TensorNames {
    TensorNames {
        block_prefix: "blk.",
        block: &NAMES,
        embedding: "token_embd",
        output_norm: "output_norm",
        head: "output",
        input_norm_suffix: "_norm_in.weight",
    }
}

/// The width of a head: stated, or the even share of the residual stream.
fn head_dim(fields: &Fields<'_>, n_embd: usize, n_head: usize) -> Result<usize, ModelError> {
    let head_dim = match fields.size("attention.key_length", MAX_DIMENSION)? {
        Some(stated) => stated,
        None if n_embd.is_multiple_of(n_head) => n_embd / n_head,
        None => {
            return Err(fields.invalid(
                "attention.head_count",
                n_head,
                format!("a divisor of {n_embd}"),
            ));
        }
    };
    for key in ["attention.value_length", "rope.dimension_count"] {
        if let Some(other) = fields.size(key, MAX_DIMENSION)?
            && other != head_dim
        {
            return Err(fields.unsupported(
                key,
                other,
                format!("only the head width, {head_dim}, is"),
            ));
        }
    }
    if head_dim % 2 == 0 {
        Ok(head_dim)
    } else {
        Err(fields.invalid("rope.dimension_count", head_dim, "an even number"))
    }
}

/// What every score is multiplied by: stated, or `head_dim ^ -1/2`. The largest Gemma 3, which its depth alone tells apart,
/// takes the even share of the residual stream for the width.
fn attention_scale(
    fields: &Fields<'_>,
    family: &Family,
    config: &ModelConfig,
) -> Result<f32, ModelError> {
    const LAYERS_OF_GEMMA3_27B: usize = 62;
    if let Some(scale) = fields.positive("attention.scale")? {
        return Ok(scale as f32);
    }
    let even_share = family.scaled_embedding && config.n_layer == LAYERS_OF_GEMMA3_27B;
    let width = if even_share {
        config.n_embd / config.n_head
    } else {
        config.head_dim
    };
    Ok(1.0 / (width as f32).sqrt())
}

fn refuse_what_is_not_computed(fields: &Fields<'_>) -> Result<(), ModelError> {
    const CAUSAL: &str = "attention.causal";
    if fields.has(CAUSAL) && !fields.flag(CAUSAL)? {
        return Err(fields.unsupported(CAUSAL, false, "only causal attention is"));
    }
    for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
        if let Some(cap) = fields.number(key)?
            && cap != 0.0
        {
            return Err(fields.unsupported(key, cap, "only uncapped logits are"));
        }
    }
    Ok(())
}

fn pooling(fields: &Fields<'_>) -> Result<Pooling, ModelError> {
    Ok(match fields.number("pooling_type")? {
        None | Some(0.0) => Pooling::Unstated,
        Some(1.0) => Pooling::Other("mean".to_owned()),
        Some(2.0) => Pooling::Other("cls".to_owned()),
        Some(3.0) => Pooling::LastToken,
        Some(other) => Pooling::Other(format!("pooling type {other}")),
    })
}
