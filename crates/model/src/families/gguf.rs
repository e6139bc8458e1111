//! GGUF metadata to a recipe. Keys: the GGUF specification, and what the converters of the BitNet forks write.

use llm_format::Gguf;

use super::{BlockNames, FAMILIES, Recipe, TensorNames, unsupported};
use crate::config::{ModelConfig, RopeScaling};
use crate::error::ModelError;
use crate::fields::{Fields, MAX_DIMENSION};
use crate::weights::TernaryRule;

const PLACE: &str = "GGUF metadata";
const ARCHITECTURE: &str = "general.architecture";

const NAMES: BlockNames = BlockNames {
    attn_norm: "attn_norm",
    q: "attn_q",
    k: "attn_k",
    v: "attn_v",
    attn_sub_norm: "attn_sub_norm",
    o: "attn_output",
    ffn_norm: "ffn_norm",
    gate: "ffn_gate",
    up: "ffn_up",
    ffn_sub_norm: "ffn_sub_norm",
    down: "ffn_down",
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
    let config = ModelConfig {
        architecture: architecture.to_owned(),
        // 0: as many as the embedding has rows.
        n_vocab: fields.size("vocab_size", MAX_DIMENSION)?.unwrap_or(0),
        n_embd,
        n_layer: fields.layers("block_count")?,
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
        rope_theta: fields.positive("rope.freq_base")?.unwrap_or(10_000.0),
        rope_scaling: rope_scaling(&fields)?,
        rope_pairing: family.gguf_pairing,
        activation: family.activation,
        ..ModelConfig::uncounted()
    };
    if n_head % n_kv_head != 0 {
        return Err(fields.invalid(
            "attention.head_count_kv",
            n_kv_head,
            format!("a divisor of {n_head}"),
        ));
    }
    Ok(Recipe {
        config,
        names: TensorNames {
            block_prefix: "blk.",
            block: &NAMES,
            embedding: "token_embd",
            output_norm: "output_norm",
            head: "output",
        },
        sub_norms: family.sub_norms,
        rule: TernaryRule::by_type(),
        tied: None,
        rope_factors: Some("rope_freqs.weight"),
    })
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

fn rope_scaling(fields: &Fields<'_>) -> Result<RopeScaling, ModelError> {
    match fields.text("rope.scaling.type")? {
        None | Some("none") => Ok(RopeScaling::None),
        Some("linear") => {
            let factor = fields.positive("rope.scaling.factor")?.unwrap_or(1.0);
            Ok(RopeScaling::Linear { factor })
        }
        Some(other) => {
            Err(fields.unsupported("rope.scaling.type", other, "only none and linear are"))
        }
    }
}
