//! The only place where a Rust error becomes a JavaScript error. Its message crosses as "[CODE] message", which
//! `lib/errors.js` takes apart, because a rejected promise cannot carry a code of its own. Every match is exhaustive: a new variant does
//! not compile until it has a code. What may go wrong within the engine has its codes in `llm_engine::codes`.

use std::fmt::Display;

use llm_convert::ConvertError;
use llm_engine::EngineError;
use llm_engine::codes::{
    engine_code, format_code, kernel_code, model_code, text_code, with_sources,
};
use llm_format::WriteError;
use llm_kernels::KernelError;
use llm_router::{HubError, RouterError};

/// A code and a message, on their way to JavaScript.
#[derive(Debug)]
pub(crate) struct Failure {
    code: &'static str,
    message: String,
}

impl Failure {
    /// An option that the JavaScript half should have refused.
    pub(crate) fn argument(option: &str, problem: impl Display) -> Self {
        Self {
            code: "INVALID_ARGUMENT",
            message: format!("Invalid option {option}: {problem}"),
        }
    }

    /// A panic or a lost task: a mistake of ours.
    pub(crate) fn internal(what: impl Display) -> Self {
        Self {
            code: "INTERNAL",
            message: format!("Internal error, please report it: {what}"),
        }
    }

    /// An error while a loaded model works, in the words of the guide.
    fn of_inference(self) -> Self {
        match self.code {
            "ABORTED" | "INVALID_ARGUMENT" | "INTERNAL" => self,
            _ => Self {
                message: format!("Inference failed: {}", self.message),
                ..self
            },
        }
    }
}

impl From<Failure> for napi::Error {
    fn from(failure: Failure) -> Self {
        Self::from_reason(format!("[{}] {}", failure.code, failure.message))
    }
}

impl From<RouterError> for Failure {
    fn from(error: RouterError) -> Self {
        Self {
            code: router_code(&error),
            message: with_sources(&error),
        }
    }
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self {
            code: hub_code(&error),
            message: with_sources(&error),
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

impl From<ConvertError> for Failure {
    fn from(error: ConvertError) -> Self {
        Self {
            code: convert_code(&error),
            message: with_sources(&error),
        }
    }
}

impl From<KernelError> for Failure {
    fn from(error: KernelError) -> Self {
        Self {
            code: kernel_code(&error),
            message: with_sources(&error),
        }
    }
}

/// For `map_err` at the end of a generation, a forward pass or a perplexity.
pub(crate) fn inference_failed(error: impl Into<Failure>) -> napi::Error {
    error.into().of_inference().into()
}

fn router_code(error: &RouterError) -> &'static str {
    match error {
        RouterError::Hub(error) => hub_code(error),
        RouterError::Engine(error) => engine_code(error),
        RouterError::Convert { source, .. } => convert_code(source),
        RouterError::Converted { .. } => "IO_ERROR",
        RouterError::UnsupportedQuant { .. } => "UNSUPPORTED_QUANT",
        RouterError::EmptyId => "INVALID_ARGUMENT",
        RouterError::UnknownModel { .. } => "MODEL_NOT_FOUND",
        RouterError::Unloaded { .. } => "MODEL_NOT_LOADED",
    }
}

fn hub_code(error: &HubError) -> &'static str {
    match error {
        HubError::EmptySource | HubError::RevisionOfPath { .. } | HubError::Setting { .. } => {
            "INVALID_ARGUMENT"
        }
        HubError::NotFound { .. }
        | HubError::RepoNotFound { .. }
        | HubError::RevisionNotFound { .. } => "MODEL_NOT_FOUND",
        HubError::NothingToLoad { .. } => "UNSUPPORTED_FORMAT",
        HubError::Gated { .. } => "MODEL_GATED",
        HubError::Refused { .. } => "UNAUTHORIZED",
        HubError::RateLimited { .. } => "RATE_LIMITED",
        HubError::Transfer { .. } | HubError::Answer { .. } => "DOWNLOAD_FAILED",
        HubError::Checksum { .. } => "CHECKSUM_MISMATCH",
        HubError::DiskFull { .. } => "DISK_FULL",
        HubError::Io { .. } => "IO_ERROR",
        HubError::Cancelled => "ABORTED",
    }
}

fn convert_code(error: &ConvertError) -> &'static str {
    match error {
        ConvertError::Format(error) => format_code(error),
        ConvertError::Model(error) => model_code(error),
        ConvertError::Text(error) => text_code(error),
        ConvertError::Weights { source, .. } | ConvertError::Kernel(source) => kernel_code(source),
        ConvertError::Write { source, .. } => match source {
            WriteError::Io(_) => "IO_ERROR",
            WriteError::Shape { .. } | WriteError::Type { .. } => "UNSUPPORTED_QUANT",
            WriteError::Length { .. } => "INTERNAL",
        },
        ConvertError::InvalidOption { .. } => "INVALID_ARGUMENT",
        ConvertError::OutputExists { .. } => "OUTPUT_EXISTS",
        ConvertError::NotTernary { .. } => "UNSUPPORTED_QUANT",
        ConvertError::Unsupported { .. } => "UNSUPPORTED_MODEL",
        ConvertError::Cancelled => "ABORTED",
    }
}
