//! Base and scaling of the rotary frequencies, as files state them.

use llm_format::Metadata;
use serde_json::{Map, Value};

use crate::config::RopeScaling;
use crate::error::ModelError;
use crate::fields::Fields;

/// Base and scaling of the rotary frequencies in config.json: `rope_theta` and `rope_scaling`, or both in `rope_parameters`,
/// or those of the layers that see everything in `rope_parameters.full_attention`.
pub(super) fn of_config(
    fields: &Fields<'_>,
    object: &Map<String, Value>,
    default_theta: f64,
) -> Result<(f64, RopeScaling), ModelError> {
    let nested = |key: &'static str| match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(inner)) => Ok(Some(inner)),
        Some(value) => Err(fields.invalid(key, value, "an object or null")),
    };
    let parameters = match nested("rope_parameters")? {
        Some(inner) => match inner.get("full_attention") {
            Some(Value::Object(full)) => Some(full),
            _ => Some(inner),
        },
        None => None,
    };
    let stated = match parameters {
        Some(inner) => Fields::Json(inner).positive("rope_theta")?,
        None => None,
    };
    let theta = match stated {
        Some(theta) => theta,
        None => fields.positive("rope_theta")?.unwrap_or(default_theta),
    };
    let scaling = match nested("rope_scaling")?.or(parameters) {
        Some(inner) => scaling_of(&Fields::Json(inner))?,
        None => RopeScaling::None,
    };
    Ok((theta, scaling))
}

fn scaling_of(fields: &Fields<'_>) -> Result<RopeScaling, ModelError> {
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

/// The metadata key under which our own files keep the `rope_scaling` of a config.json, as JSON: `rope_freqs.weight`, which other
/// programs read, rounds what follows from it.
pub const ROPE_SCALING_KEY: &str = "llm_runner.rope_scaling";

/// The scaling that a GGUF file of our own states exactly.
pub(super) fn own_scaling(metadata: &Metadata) -> Result<Option<RopeScaling>, ModelError> {
    let Some(text) = metadata.str(ROPE_SCALING_KEY)? else {
        return Ok(None);
    };
    let invalid = || ModelError::SettingInvalid {
        place: "GGUF metadata",
        key: ROPE_SCALING_KEY.to_owned(),
        given: text.chars().take(60).collect(),
        expected: "an object as JSON".to_owned(),
    };
    let object: Map<String, Value> = serde_json::from_str(text).map_err(|_| invalid())?;
    scaling_of(&Fields::Json(&object)).map(Some)
}

/// Scaling of the rotary frequencies in GGUF metadata.
pub(super) fn scaling_of_gguf(fields: &Fields<'_>) -> Result<RopeScaling, ModelError> {
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
