use std::path::PathBuf;

use llm_format::{FormatError, WriteError};
use llm_kernels::KernelError;
use llm_model::ModelError;
use llm_text::TextError;
use thiserror::Error;

/// Why a model could not be converted or inspected.
#[derive(Debug, Error)]
pub enum ConvertError {
    /// The input cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The input's settings or weights are refused.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The tokenizer is refused.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The weights do not fit the type.
    #[error("tensor `{name}`: {source}")]
    Weights {
        /// The tensor's name in the output.
        name: String,
        /// What the packer said.
        source: KernelError,
    },
    /// The threads cannot be started.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The output cannot be written.
    #[error("`{path}`: {source}")]
    Write {
        /// The output.
        path: PathBuf,
        /// Why.
        source: WriteError,
    },
    /// An option has a value that it cannot have.
    #[error("{name} takes {allowed}; {given} was given")]
    InvalidOption {
        /// The option, as JavaScript spells it.
        name: &'static str,
        /// The value.
        given: String,
        /// What it can be.
        allowed: String,
    },
    /// Something lies where the output should go.
    #[error("`{path}` is there already: remove it, or choose another place")]
    OutputExists {
        /// The output.
        path: PathBuf,
    },
    /// A ternary type was asked for a model without ternary weights.
    #[error(
        "the model has no ternary weights, so there is nothing to store as {wanted}: it was not trained for them, and rounding its \
         weights would ruin it"
    )]
    NotTernary {
        /// The type.
        wanted: &'static str,
    },
    /// The output's format cannot say something of the model.
    #[error("{what} cannot be written: {why}")]
    Unsupported {
        /// What.
        what: String,
        /// Why not.
        why: String,
    },
    /// Asked to stop.
    #[error("the conversion was cancelled")]
    Cancelled,
}

impl ConvertError {
    /// A tensor that cannot be written.
    pub(crate) fn tensor(name: &str, why: impl Into<String>) -> Self {
        Self::Unsupported {
            what: format!("tensor `{name}`"),
            why: why.into(),
        }
    }
}
