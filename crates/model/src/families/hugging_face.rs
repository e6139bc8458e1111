//! config.json of a Hugging Face folder to a recipe. Keys: transformers' configuration classes.

use llm_format::HfFolder;
use llm_kernels::Activation;
use serde_json::{Map, Value};

use super::local_layers::LocalLayers;
use super::{FAMILIES, Family, Recipe, embedding_scale, rotary, unsupported};
use crate::config::{ModelConfig, Pooling};
use crate::error::ModelError;
use crate::fields::{Fields, MAX_DIMENSION};
use crate::roles::{ProjectionKind, Role, TensorNames};
use crate::weights::{ScaleDirection, TernaryRule};

const PLACE: &str = "config.json";

pub(super) fn recipe(folder: &HfFolder) -> Result<Recipe, ModelError> {
    let Value::Object(object) = folder.config() else {
        return Err(ModelError::ArchitectureMissing {
            place: PLACE,
            key: "architectures",
        });
    };
    let fields = Fields::Json(object);
    let (family, architecture) = family(&fields, object)?;

    let n_embd = fields.required_size("hidden_size")?;
    let n_head = fields.required_size("num_attention_heads")?;
    let n_kv_head = fields
        .size("num_key_value_heads", n_head as u64)?
        .unwrap_or(n_head);
    if n_head % n_kv_head != 0 {
        return Err(fields.invalid(
            "num_key_value_heads",
            n_kv_head,
            format!("a divisor of {n_head}"),
        ));
    }
    for (key, only) in [
        ("attention_bias", "only projections without biases are"),
        ("mlp_bias", "only projections without biases are"),
        ("use_bidirectional_attention", "only causal attention is"),
    ] {
        if fields.flag(key)? {
            return Err(fields.unsupported(key, true, only));
        }
    }
    refuse_soft_caps(&fields)?;
    let (rope_theta, rope_scaling) =
        rotary::of_config(&fields, object, family.defaults.rope_theta)?;
    let n_layer = fields.layers("num_hidden_layers")?;
    let head_dim = head_dim(&fields, family, n_embd, n_head)?;
    let config = ModelConfig {
        architecture,
        n_vocab: fields.required_size("vocab_size")?,
        n_embd,
        n_layer,
        n_head,
        n_kv_head,
        head_dim,
        n_ff: fields.required_size("intermediate_size")?,
        context_length: fields
            .size("max_position_embeddings", u64::MAX)?
            .ok_or_else(|| fields.missing("max_position_embeddings"))?,
        rms_norm_eps: fields
            .positive("rms_norm_eps")?
            .ok_or_else(|| fields.missing("rms_norm_eps"))? as f32,
        embedding_scale: embedding_scale(family, n_embd),
        attention_scale: attention_scale(&fields, family, head_dim)?,
        pooling: pooling(folder)?,
        rope_theta,
        rope_scaling,
        rope_pairing: crate::config::RopePairing::Half,
        activation: activation(&fields, family)?,
        ..ModelConfig::uncounted()
    };
    let tied = match object.get("tie_word_embeddings") {
        Some(_) => Some(fields.flag("tie_word_embeddings")?),
        None => None,
    };
    // Models that only embed are saved without their head, and without the prefix that sets the body apart from it.
    let has_prefix = folder.tensor("embed_tokens.weight").is_none();
    let mut names = names(family, has_prefix);
    let mut rule = ternary_rule(object, family)?;
    let mut projection_norms = stated_projection_norms(object)?;
    if projection_norms.is_some() {
        names.input_norm_suffix = STATED_INPUT_NORM;
    } else if folder
        .tensor(&names.of(Role::InputNorm(0, ProjectionKind::Query)))
        .is_some()
    {
        // What has such norms was trained to be ternary, whether or not config.json says so.
        rule.master = true;
        projection_norms = Some(config.rms_norm_eps);
    }
    let is_tied = tied.unwrap_or_else(|| folder.tensor(&names.of(Role::Head)).is_none());
    Ok(Recipe {
        family,
        local: LocalLayers::of_config(family, object, n_layer)?,
        config,
        names,
        norms: family.norms,
        projection_norms,
        rule,
        is_tied,
        rope_factors: None,
    })
}

/// What follows a projection's name in the name of the norm inside it, where `use_rms_norm` is stated.
const STATED_INPUT_NORM: &str = ".rms_norm.weight";

/// The names of a folder's tensors. `has_prefix`: `model.` sets the body apart from the head.
pub(super) fn names(family: &Family, has_prefix: bool) -> TensorNames {
    let [block_prefix, embedding, output_norm] = if has_prefix {
        ["model.layers.", "model.embed_tokens", "model.norm"]
    } else {
        ["layers.", "embed_tokens", "norm"]
    };
    TensorNames {
        block_prefix,
        block: family.hf_names,
        embedding,
        output_norm,
        head: "lm_head",
        input_norm_suffix: ".norm.weight",
    }
}

/// By `architectures`, else by `model_type` (some folders give a class of their own a borrowed type).
fn family(
    fields: &Fields<'_>,
    object: &Map<String, Value>,
) -> Result<(&'static Family, String), ModelError> {
    let named = object
        .get("architectures")
        .and_then(Value::as_array)
        .and_then(|list| list.first())
        .and_then(Value::as_str);
    if let Some(name) = named {
        let family = FAMILIES
            .into_iter()
            .find(|family| family.hf_architectures.contains(&name));
        return family
            .map(|family| (family, name.to_owned()))
            .ok_or_else(|| unsupported(name));
    }
    let model_type = fields
        .text("model_type")?
        .ok_or(ModelError::ArchitectureMissing {
            place: PLACE,
            key: "architectures",
        })?;
    let family = FAMILIES
        .into_iter()
        .find(|family| family.hf_model_types.contains(&model_type));
    family
        .map(|family| (family, model_type.to_owned()))
        .ok_or_else(|| unsupported(model_type))
}

/// The width of a head: stated, the family's, or the even share of the residual stream.
fn head_dim(
    fields: &Fields<'_>,
    family: &Family,
    n_embd: usize,
    n_head: usize,
) -> Result<usize, ModelError> {
    let stated = fields.size("head_dim", MAX_DIMENSION)?;
    let head_dim = match stated.or(family.defaults.head_dim) {
        Some(width) => width,
        None if n_embd.is_multiple_of(n_head) => n_embd / n_head,
        None => {
            return Err(fields.invalid(
                "num_attention_heads",
                n_head,
                format!("a divisor of {n_embd}"),
            ));
        }
    };
    if head_dim % 2 == 0 {
        Ok(head_dim)
    } else {
        Err(fields.invalid("head_dim", head_dim, "an even number"))
    }
}

/// `query_pre_attn_scalar ^ -1/2` where the family has one, else `head_dim ^ -1/2`.
fn attention_scale(
    fields: &Fields<'_>,
    family: &Family,
    head_dim: usize,
) -> Result<f32, ModelError> {
    let scalar = match family.defaults.query_scalar {
        Some(default) => fields.positive("query_pre_attn_scalar")?.unwrap_or(default) as f32,
        None => head_dim as f32,
    };
    Ok(1.0 / scalar.sqrt())
}

fn refuse_soft_caps(fields: &Fields<'_>) -> Result<(), ModelError> {
    for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
        if let Some(cap) = fields.number(key)? {
            return Err(fields.unsupported(key, cap, "only uncapped logits are"));
        }
    }
    Ok(())
}

/// What the folder's sentence-transformers files say of pooling.
fn pooling(folder: &HfFolder) -> Result<Pooling, ModelError> {
    let Some(Value::Object(object)) = folder.pooling_config() else {
        return Ok(Pooling::Unstated);
    };
    const PREFIX: &str = "pooling_mode_";
    let fields = Fields::Json(object);
    let mut modes = Vec::new();
    for key in object.keys().filter(|key| key.starts_with(PREFIX)) {
        if fields.flag(key)? {
            modes.push(&key[PREFIX.len()..]);
        }
    }
    Ok(match modes.as_slice() {
        [] => Pooling::Unstated,
        ["lasttoken"] => Pooling::LastToken,
        others => Pooling::Other(others.join(" and ")),
    })
}

fn activation(fields: &Fields<'_>, family: &Family) -> Result<Activation, ModelError> {
    // Gemma calls it by another name.
    let key = match fields.text("hidden_act")? {
        Some(_) => "hidden_act",
        None => "hidden_activation",
    };
    match fields.text(key)? {
        None => Ok(family.activation),
        Some("silu" | "swish") => Ok(Activation::Silu),
        Some("relu2") => Ok(Activation::Relu2),
        Some("gelu_pytorch_tanh") => Ok(Activation::GeluTanh),
        Some(other) => {
            Err(fields.unsupported(key, other, "only silu, relu2 and gelu_pytorch_tanh are"))
        }
    }
}

/// What `quantization_config` says of the projections.
fn ternary_rule(object: &Map<String, Value>, family: &Family) -> Result<TernaryRule, ModelError> {
    let inner = match object.get("quantization_config") {
        None | Some(Value::Null) => {
            return Ok(TernaryRule {
                master: family.master_weights,
                ..TernaryRule::by_type()
            });
        }
        Some(Value::Object(inner)) => inner,
        Some(value) => {
            return Err(Fields::Json(object).invalid(
                "quantization_config",
                value,
                "an object or null",
            ));
        }
    };
    let fields = Fields::Json(inner);
    match fields.text("quant_method")? {
        Some("bitnet") => {}
        Some(other) => return Err(fields.unsupported("quant_method", other, "only bitnet is")),
        None => return Err(fields.missing("quant_method")),
    }
    match fields.text("quantization_mode")? {
        None | Some("offline" | "online") => {}
        Some(other) => return Err(fields.invalid("quantization_mode", other, "offline or online")),
    }
    let direction = match fields.text("linear_class")? {
        None | Some("bitlinear") => ScaleDirection::Divide,
        Some("autobitlinear") => ScaleDirection::Multiply,
        Some(other) => {
            return Err(fields.invalid("linear_class", other, "bitlinear or autobitlinear"));
        }
    };
    Ok(TernaryRule {
        master: true,
        scale: Some(direction),
        skip: skipped_modules(&fields, inner)?,
    })
}

/// `use_rms_norm` of `quantization_config`: the epsilon of the norms.
fn stated_projection_norms(object: &Map<String, Value>) -> Result<Option<f32>, ModelError> {
    let Some(Value::Object(inner)) = object.get("quantization_config") else {
        return Ok(None);
    };
    let fields = Fields::Json(inner);
    if !fields.flag("use_rms_norm")? {
        return Ok(None);
    }
    Ok(Some(fields.positive("rms_norm_eps")?.unwrap_or(1e-6) as f32))
}

fn skipped_modules(
    fields: &Fields<'_>,
    inner: &Map<String, Value>,
) -> Result<Vec<String>, ModelError> {
    const KEY: &str = "modules_to_not_convert";
    match inner.get(KEY) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => list
            .iter()
            .map(|item| {
                item.as_str()
                    .map(str::to_owned)
                    .ok_or_else(|| fields.invalid(KEY, item, "a list of module names"))
            })
            .collect(),
        Some(value) => Err(fields.invalid(KEY, value, "a list of module names")),
    }
}
