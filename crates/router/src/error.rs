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
    /// The quantisation is unknown, or none for this processor.
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
