//! config.json of a Hugging Face folder to a recipe. Keys: transformers' configuration classes.

use llm_format::HfFolder;
use llm_kernels::Activation;
use serde_json::{Map, Value};

use super::{FAMILIES, Family, Recipe, TensorNames, unsupported};
use crate::config::{ModelConfig, RopeScaling};
use crate::error::ModelError;
use crate::fields::{Fields, MAX_DIMENSION};
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
    for key in ["attention_bias", "mlp_bias"] {
        if fields.flag(key)? {
            return Err(fields.unsupported(key, true, "only projections without biases are"));
        }
    }
    let (rope_theta, rope_scaling) = rope(&fields, object)?;
    let config = ModelConfig {
        architecture,
        n_vocab: fields.required_size("vocab_size")?,
        n_embd,
        n_layer: fields.layers("num_hidden_layers")?,
        n_head,
        n_kv_head,
        head_dim: head_dim(&fields, n_embd, n_head)?,
        n_ff: fields.required_size("intermediate_size")?,
        context_length: fields
            .size("max_position_embeddings", u64::MAX)?
            .ok_or_else(|| fields.missing("max_position_embeddings"))?,
        rms_norm_eps: fields
            .positive("rms_norm_eps")?
            .ok_or_else(|| fields.missing("rms_norm_eps"))? as f32,
        rope_theta,
        rope_scaling,
        rope_pairing: llm_kernels::RopePairing::Half,
        activation: activation(&fields, family)?,
        ..ModelConfig::uncounted()
    };
    let tied = match object.get("tie_word_embeddings") {
        Some(_) => Some(fields.flag("tie_word_embeddings")?),
        None => None,
    };
    Ok(Recipe {
        config,
        names: TensorNames {
            block_prefix: "model.layers.",
            block: family.hf_names,
            embedding: "model.embed_tokens",
            output_norm: "model.norm",
            head: "lm_head",
        },
        sub_norms: family.sub_norms,
        rule: ternary_rule(object, family)?,
        tied,
        rope_factors: None,
    })
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

/// The width of a head: stated, or the even share of the residual stream.
fn head_dim(fields: &Fields<'_>, n_embd: usize, n_head: usize) -> Result<usize, ModelError> {
    let head_dim = match fields.size("head_dim", MAX_DIMENSION)? {
        Some(stated) => stated,
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

fn activation(fields: &Fields<'_>, family: &Family) -> Result<Activation, ModelError> {
    match fields.text("hidden_act")? {
        None => Ok(family.activation),
        Some("silu" | "swish") => Ok(Activation::Silu),
        Some("relu2") => Ok(Activation::Relu2),
        Some("gelu_pytorch_tanh") => Ok(Activation::GeluTanh),
        Some(other) => Err(fields.unsupported(
            "hidden_act",
            other,
            "only silu, relu2 and gelu_pytorch_tanh are",
        )),
    }
}

/// Base and scaling of the rotary frequencies: `rope_theta` and `rope_scaling`, or both in `rope_parameters`.
fn rope(
    fields: &Fields<'_>,
    object: &Map<String, Value>,
) -> Result<(f64, RopeScaling), ModelError> {
    let nested = |key: &'static str| match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(inner)) => Ok(Some(inner)),
        Some(value) => Err(fields.invalid(key, value, "an object or null")),
    };
    let parameters = nested("rope_parameters")?;
    let stated = match parameters {
        Some(inner) => Fields::Json(inner).positive("rope_theta")?,
        None => None,
    };
    let theta = match stated {
        Some(theta) => theta,
        None => fields.positive("rope_theta")?.unwrap_or(10_000.0),
    };
    let scaling = match nested("rope_scaling")?.or(parameters) {
        Some(inner) => rope_scaling(&Fields::Json(inner))?,
        None => RopeScaling::None,
    };
    Ok((theta, scaling))
}

fn rope_scaling(fields: &Fields<'_>) -> Result<RopeScaling, ModelError> {
    let needed = |key: &str| fields.positive(key)?.ok_or_else(|| fields.missing(key));
    let kind = match fields.text("rope_type")? {
        Some(kind) => Some(kind),
        None => fields.text("type")?,
    };
    match kind {
        None | Some("default") => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear {
            factor: needed("factor")?,
        }),
        Some("llama3") => {
            let (low, high) = (needed("low_freq_factor")?, needed("high_freq_factor")?);
            if low >= high {
                return Err(fields.invalid(
                    "high_freq_factor",
                    high,
                    format!("more than low_freq_factor, {low}"),
                ));
            }
            Ok(RopeScaling::Llama3 {
                factor: needed("factor")?,
                low,
                high,
                original_context: needed("original_max_position_embeddings")?,
            })
        }
        Some(other) => {
            Err(fields.unsupported("rope_scaling", other, "only default, linear and llama3 are"))
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
    if fields.flag("use_rms_norm")? {
        return Err(fields.unsupported(
            "use_rms_norm",
            true,
            "norms inside the projections are not",
        ));
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
