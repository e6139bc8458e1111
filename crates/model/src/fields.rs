//! Settings of config.json and of GGUF metadata, checked as they are read.

use llm_format::Metadata;
use serde_json::{Map, Value};

use crate::error::ModelError;

/// Caps of sizes that a configuration may state; far above any model, low enough that products fit 64 bits.
pub(crate) const MAX_DIMENSION: u64 = 1 << 24;
const MAX_LAYERS: u64 = 4096;

/// One place of settings: config.json, or the GGUF metadata under an architecture's prefix.
pub(crate) enum Fields<'a> {
    /// config.json.
    Json(&'a Map<String, Value>),
    /// GGUF metadata and the prefix of its keys, with the dot.
    Gguf(&'a Metadata, String),
}

impl Fields<'_> {
    pub(crate) fn place(&self) -> &'static str {
        match self {
            Self::Json(_) => "config.json",
            Self::Gguf(..) => "GGUF metadata",
        }
    }

    fn full_key(&self, key: &str) -> String {
        match self {
            Self::Json(_) => key.to_owned(),
            Self::Gguf(_, prefix) => format!("{prefix}{key}"),
        }
    }

    pub(crate) fn missing(&self, key: &str) -> ModelError {
        ModelError::SettingMissing {
            place: self.place(),
            key: self.full_key(key),
        }
    }

    pub(crate) fn invalid(
        &self,
        key: &str,
        given: impl ToString,
        expected: impl Into<String>,
    ) -> ModelError {
        ModelError::SettingInvalid {
            place: self.place(),
            key: self.full_key(key),
            given: shorten(&given.to_string()),
            expected: expected.into(),
        }
    }

    pub(crate) fn unsupported(
        &self,
        key: &str,
        given: impl ToString,
        why: impl Into<String>,
    ) -> ModelError {
        ModelError::SettingUnsupported {
            place: self.place(),
            key: self.full_key(key),
            given: shorten(&given.to_string()),
            why: why.into(),
        }
    }

    /// Whether the key is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        match self {
            Self::Json(object) => object.contains_key(key),
            Self::Gguf(metadata, _) => metadata.get(&self.full_key(key)).is_some(),
        }
    }

    /// A whole number from 1 to `max`; `None` when absent (or null in JSON).
    pub(crate) fn size(&self, key: &str, max: u64) -> Result<Option<usize>, ModelError> {
        let expected = || format!("a whole number from 1 to {max}");
        let number = match self {
            Self::Json(object) => match object.get(key) {
                None | Some(Value::Null) => return Ok(None),
                Some(value) => value
                    .as_u64()
                    .ok_or_else(|| self.invalid(key, value, expected()))?,
            },
            Self::Gguf(metadata, _) => match metadata.u64(&self.full_key(key))? {
                None => return Ok(None),
                Some(number) => number,
            },
        };
        if !(1..=max).contains(&number) {
            return Err(self.invalid(key, number, expected()));
        }
        usize::try_from(number)
            .map(Some)
            .map_err(|_| self.invalid(key, number, expected()))
    }

    /// A width or count that must be there.
    pub(crate) fn required_size(&self, key: &str) -> Result<usize, ModelError> {
        self.size(key, MAX_DIMENSION)?
            .ok_or_else(|| self.missing(key))
    }

    /// The number of decoder blocks.
    pub(crate) fn layers(&self, key: &str) -> Result<usize, ModelError> {
        self.size(key, MAX_LAYERS)?.ok_or_else(|| self.missing(key))
    }

    /// A finite number; `None` when absent (or null in JSON).
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, ModelError> {
        let number = match self {
            Self::Json(object) => match object.get(key) {
                None | Some(Value::Null) => return Ok(None),
                Some(value) => value
                    .as_f64()
                    .ok_or_else(|| self.invalid(key, value, "a number"))?,
            },
            Self::Gguf(metadata, _) => match metadata.f64(&self.full_key(key))? {
                None => return Ok(None),
                Some(number) => number,
            },
        };
        if number.is_finite() {
            Ok(Some(number))
        } else {
            Err(self.invalid(key, number, "a finite number"))
        }
    }

    /// A number above zero.
    pub(crate) fn positive(&self, key: &str) -> Result<Option<f64>, ModelError> {
        match self.number(key)? {
            Some(number) if number <= 0.0 => Err(self.invalid(key, number, "a number above 0")),
            number => Ok(number),
        }
    }

    /// A text; `None` when absent (or null in JSON).
    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, ModelError> {
        match self {
            Self::Json(object) => match object.get(key) {
                None | Some(Value::Null) => Ok(None),
                Some(Value::String(text)) => Ok(Some(text)),
                Some(value) => Err(self.invalid(key, value, "a text")),
            },
            Self::Gguf(metadata, _) => Ok(metadata.str(&self.full_key(key))?),
        }
    }

    /// A truth value, `false` when absent.
    pub(crate) fn flag(&self, key: &str) -> Result<bool, ModelError> {
        match self {
            Self::Json(object) => match object.get(key) {
                None | Some(Value::Null) => Ok(false),
                Some(Value::Bool(flag)) => Ok(*flag),
                Some(value) => Err(self.invalid(key, value, "true or false")),
            },
            Self::Gguf(metadata, _) => Ok(metadata.bool(&self.full_key(key))?.unwrap_or(false)),
        }
    }
}

/// A value from a file, short enough for a message.
fn shorten(text: &str) -> String {
    const MAX: usize = 60;
    if text.chars().count() <= MAX {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(MAX).collect();
    short.push('…');
    short
}
