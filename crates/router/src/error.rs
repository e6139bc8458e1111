use std::io;
use std::path::PathBuf;

use llm_convert::ConvertError;
use llm_engine::EngineError;
use llm_hub::HubError;
use thiserror::Error;

/// Why a model could not be loaded or found.
#[derive(Debug, Error)]
pub enum RouterError {
    /// The source leads to no model.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The model was found and cannot be opened.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There is no file of the packing that was asked for, and none can be made.
    #[error("`{path}` is not stored as {wanted}, and cannot be converted: {source}")]
    Convert {
        /// What was found.
        path: PathBuf,
        /// The packing.
        wanted: &'static str,
        /// Why not.
        source: Box<ConvertError>,
    },
    /// The folder for converted models, or the original, cannot be used.
    #[error(
        "`{path}`: a converted model cannot be kept (the option cacheDir says where): {source}"
    )]
    Converted {
        /// The folder, or the original.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The quantisation is unknown, or nothing has it and it is not made on this processor.
    #[error("quantType `{given}` is not supported on {arch}; supported: {supported}")]
    UnsupportedQuant {
        /// What was asked for.
        given: String,
        /// The processor's architecture.
        arch: &'static str,
        /// What it supports, comma separated.
        supported: String,
    },
    /// An id must be something.
    #[error("id must not be empty")]
    EmptyId,
    /// No model has this id.
    #[error("Model not found: {id} ({})", loaded_ids(.loaded))]
    UnknownModel {
        /// The id.
        id: String,
        /// The ids that there are.
        loaded: Vec<String>,
    },
    /// The model was unloaded.
    #[error("model `{id}` is not loaded any more")]
    Unloaded {
        /// The id that it had.
        id: String,
    },
}

fn loaded_ids(loaded: &[String]) -> String {
    match loaded {
        [] => "no model is loaded".to_owned(),
        ids => format!("loaded: {}", ids.join(", ")),
    }
}
