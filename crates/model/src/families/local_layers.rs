//! Which layers attend within a window.

use serde_json::{Map, Value};

use super::{Family, Windows};
use crate::error::ModelError;
use crate::fields::{Fields, MAX_DIMENSION};

/// Rotary base of Gemma's local layers where the file does not say.
const LOCAL_ROPE_THETA: f64 = 10_000.0;

/// The first layer with a window where config.json turns windows on without naming it: the reference's default.
const MAX_WINDOW_LAYERS: usize = 28;

/// Layers that see only the last positions.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalLayers {
    /// Positions that a token of theirs sees, itself included.
    pub size: usize,
    /// Base of the rotary frequencies, where they have their own.
    pub rope_theta: Option<f64>,
    /// By layer.
    pub is_local: Vec<bool>,
}

impl LocalLayers {
    /// The window of a layer.
    pub(super) fn window(&self, layer: usize) -> Option<usize> {
        self.is_local[layer].then_some(self.size)
    }

    /// Which rotary table a layer uses: 0 is the one of the layers that see everything.
    pub(super) fn rope(&self, layer: usize) -> usize {
        usize::from(self.is_local[layer] && self.rope_theta.is_some())
    }

    /// Every how many layers one sees everything, where that is the rule.
    #[must_use]
    pub fn pattern(&self) -> Option<usize> {
        let n_layer = self.is_local.len();
        let first = self.is_local.iter().position(|is_local| !is_local);
        let n = first.map_or(n_layer, |layer| layer) + 1;
        (self.is_local == Self::all_but_every(n, n_layer)).then_some(n)
    }

    fn all_but_every(n: usize, n_layer: usize) -> Vec<bool> {
        (1..=n_layer)
            .map(|count| !count.is_multiple_of(n))
            .collect()
    }

    /// By config.json: `sliding_window` with `layer_types`, or with what the family does without them.
    pub(super) fn of_config(
        family: &Family,
        object: &Map<String, Value>,
        n_layer: usize,
    ) -> Result<Option<Self>, ModelError> {
        let fields = Fields::Json(object);
        let is_used = match family.windows {
            Windows::Never => false,
            Windows::FromLayer => fields.flag("use_sliding_window")?,
            Windows::AllButEvery(_) => true,
        };
        let Some(size) = fields.size("sliding_window", u64::from(u32::MAX))? else {
            return Ok(None);
        };
        if !is_used {
            return Ok(None);
        }
        let (rope_theta, is_local) = match family.windows {
            Windows::AllButEvery(n) => {
                let stated = fields.size("sliding_window_pattern", MAX_DIMENSION)?;
                let theta = local_rope_theta(&fields, object)?;
                (
                    Some(theta),
                    Self::all_but_every(stated.unwrap_or(n), n_layer),
                )
            }
            _ => {
                let stated = fields.size("max_window_layers", MAX_DIMENSION)?;
                let first = stated.unwrap_or(MAX_WINDOW_LAYERS);
                (None, (0..n_layer).map(|layer| layer >= first).collect())
            }
        };
        Ok(Some(Self {
            size,
            rope_theta,
            is_local: layer_types(&fields, object, n_layer)?.unwrap_or(is_local),
        }))
    }

    /// By GGUF metadata, which has windows in the families that always do.
    pub(super) fn of_gguf(
        family: &Family,
        fields: &Fields<'_>,
        n_layer: usize,
    ) -> Result<Option<Self>, ModelError> {
        let size = fields.size("attention.sliding_window", u64::from(u32::MAX))?;
        let (Some(size), Windows::AllButEvery(n)) = (size, family.windows) else {
            return Ok(None);
        };
        let n = fields
            .size("attention.sliding_window_pattern", MAX_DIMENSION)?
            .unwrap_or(n);
        let theta = fields.positive("rope.freq_base_swa")?;
        Ok(Some(Self {
            size,
            rope_theta: Some(theta.unwrap_or(LOCAL_ROPE_THETA)),
            is_local: Self::all_but_every(n, n_layer),
        }))
    }
}

/// `rope_local_base_freq`, or `rope_theta` of `rope_parameters.sliding_attention`.
fn local_rope_theta(fields: &Fields<'_>, object: &Map<String, Value>) -> Result<f64, ModelError> {
    let nested = object
        .get("rope_parameters")
        .and_then(|parameters| parameters.get("sliding_attention"))
        .and_then(Value::as_object);
    let theta = match nested {
        Some(inner) => Fields::Json(inner).positive("rope_theta")?,
        None => fields.positive("rope_local_base_freq")?,
    };
    Ok(theta.unwrap_or(LOCAL_ROPE_THETA))
}

fn layer_types(
    fields: &Fields<'_>,
    object: &Map<String, Value>,
    n_layer: usize,
) -> Result<Option<Vec<bool>>, ModelError> {
    const KEY: &str = "layer_types";
    let list = match object.get(KEY) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) if list.len() == n_layer => list,
        Some(Value::Array(list)) => {
            let given = format!("a list of {}", list.len());
            return Err(fields.invalid(
                KEY,
                given,
                format!("one entry for each of {n_layer} layers"),
            ));
        }
        Some(value) => return Err(fields.invalid(KEY, value, "a list")),
    };
    let kinds = list.iter().map(|kind| match kind.as_str() {
        Some("sliding_attention") => Ok(true),
        Some("full_attention") => Ok(false),
        _ => Err(fields.unsupported(KEY, kind, "only sliding_attention and full_attention are")),
    });
    kinds.collect::<Result<_, _>>().map(Some)
}
