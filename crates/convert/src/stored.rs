//! What the ternary weights of a model file are stored as.

use std::path::Path;

use llm_format::Dtype;
use llm_model::{Blueprint, ModelError};

use crate::error::ConvertError;
use crate::options::OutputType;

/// Whether all ternary weights of the model at `path` are of the type `wanted`. The packed uint8 of folders counts as I2_S too:
/// the same codes in two bits each.
///
/// # Errors
/// What keeps the file from being read; [`ConvertError::NotTernary`].
pub fn is_stored_as(path: &Path, wanted: OutputType) -> Result<bool, ConvertError> {
    let file = llm_format::open(path)?;
    let blueprint = Blueprint::read(&file)?;
    let (mut has_ternary, mut is_wanted) = (false, true);
    for role in blueprint.roles() {
        if blueprint.is_ternary(role)? {
            let name = blueprint.name(role);
            let tensor = file.tensor(&name);
            let dtype = tensor.ok_or(ModelError::TensorMissing { name })?.dtype;
            has_ternary = true;
            is_wanted &=
                dtype == wanted.dtype() || (dtype == Dtype::U8 && wanted.dtype() == Dtype::I2S);
        }
    }
    if has_ternary {
        Ok(is_wanted)
    } else {
        Err(ConvertError::NotTernary {
            wanted: wanted.name(),
        })
    }
}
