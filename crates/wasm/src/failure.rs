//! An error on its way out: a code of `docs/errors.md`, and a message for people.

use std::fmt::Display;

use llm_engine::EngineError;
use llm_engine::codes::{engine_code, with_sources};

#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Failure {
    /// An option that the JavaScript half should have refused.
    pub(crate) fn argument(option: &str, problem: impl Display) -> Self {
        Self {
            code: "INVALID_ARGUMENT",
            message: format!("Invalid option {option}: {problem}"),
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self {
            code: engine_code(&error),
            message: with_sources(&error),
        }
    }
}
