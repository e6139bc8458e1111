//! What a model is called in a file that it is converted to.

use llm_kernels::Activation;

use super::{Family, Recipe, bitnet, gguf, hugging_face};
use crate::blueprint::{Container, Target};
use crate::config::{Pooling, RopePairing};
use crate::error::ModelError;

pub(crate) fn target(recipe: &Recipe, container: Container) -> Result<Target, ModelError> {
    match container {
        Container::Gguf => of_gguf(recipe),
        Container::Folder => Ok(of_folder(recipe)),
    }
}

/// GGUF knows the activation by the architecture's name alone.
fn of_gguf(recipe: &Recipe) -> Result<Target, ModelError> {
    let activation = recipe.config.activation;
    let family = match (recipe.norms.sub, activation) {
        (true, Activation::Silu) => &bitnet::BITNET_LEGACY,
        (true, _) => &bitnet::BITNET,
        _ => recipe.family,
    };
    let unsupported = |key: &str, given: String, why: &str| ModelError::SettingUnsupported {
        place: "GGUF",
        key: key.to_owned(),
        given,
        why: why.to_owned(),
    };
    if family.activation != activation {
        let why = "the format has no name for the architecture with it";
        return Err(unsupported("hidden_act", format!("{activation:?}"), why));
    }
    if let Some(local) = &recipe.local
        && !family.windows.has_pattern(local)
    {
        let why = "the format cannot say which layers attend within a window";
        return Err(unsupported("sliding_window", local.size.to_string(), why));
    }
    Ok(Target {
        architecture: family.gguf_architectures[0],
        model_type: "",
        rope_pairing: family.gguf_pairing,
        norm_offset: 0.0,
        names: gguf::names(),
    })
}

fn of_folder(recipe: &Recipe) -> Target {
    // The first reproduction differs from the model that transformers knows in names and activation, which can be stated.
    let family: &Family = if recipe.norms.sub {
        &bitnet::BITNET
    } else {
        recipe.family
    };
    let embeds = recipe.config.pooling == Pooling::LastToken && recipe.is_tied;
    let class = usize::from(embeds && family.hf_architectures.len() > 1);
    Target {
        architecture: family.hf_architectures[class],
        model_type: family.hf_model_types[0],
        rope_pairing: RopePairing::Half,
        norm_offset: if family.norms.less_one { 1.0 } else { 0.0 },
        names: hugging_face::names(family, class == 0),
    }
}
