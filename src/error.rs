//! The only place where a Rust error becomes a JavaScript error. Its message crosses as "[CODE] message", which
//! `lib/errors.js` takes apart, because a rejected promise cannot carry a code of its own. Every match is exhaustive: a
//! new variant does not compile until it has a code. The codes are listed in `docs/errors.md`.

use std::error::Error as StdError;
use std::fmt::Display;

use llm_convert::ConvertError;
use llm_engine::EngineError;
use llm_format::{FormatError, WriteError};
use llm_kernels::KernelError;
use llm_model::ModelError;
use llm_router::{HubError, RouterError};
use llm_text::TextError;

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

/// The message with those of its causes that it does not repeat itself.
fn with_sources(error: &dyn StdError) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        source = cause.source();
    }
    message
}

fn router_code(error: &RouterError) -> &'static str {
    match error {
        RouterError::Hub(error) => hub_code(error),
        RouterError::Engine(error) => engine_code(error),
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

fn engine_code(error: &EngineError) -> &'static str {
    match error {
        EngineError::Format(error) => format_code(error),
        EngineError::Model(error) => model_code(error),
        EngineError::Text(error) => text_code(error),
        EngineError::Kernel(error) => kernel_code(error),
        EngineError::InvalidOption { .. }
        | EngineError::I2sLayoutUnclear
        | EngineError::NoChatTemplate
        | EngineError::EmptyPrompt
        | EngineError::TokenOutOfRange { .. }
        | EngineError::TextTooShort { .. }
        | EngineError::TooManyLogits { .. } => "INVALID_ARGUMENT",
        EngineError::Grammar { .. } => "GRAMMAR_UNSUPPORTED",
        EngineError::InText { source, .. } => engine_code(source),
        EngineError::UnsupportedPooling { .. } => "UNSUPPORTED_MODEL",
        EngineError::IsaUnavailable { .. } => "ISA_UNAVAILABLE",
        EngineError::ChatTemplateBroken { .. } => "TEMPLATE_FAILED",
        EngineError::ContextOverflow { .. } => "CONTEXT_OVERFLOW",
        EngineError::OverBudget { .. } | EngineError::KvOverBudget { .. } => "INSUFFICIENT_MEMORY",
        EngineError::SelfTest { .. } => "MODEL_SELFTEST_FAILED",
        EngineError::PrefixFile { .. } => "IO_ERROR",
        EngineError::NonFiniteLogits => "INFERENCE_FAILED",
        EngineError::Cancelled => "ABORTED",
        EngineError::Closed => "MODEL_NOT_LOADED",
        EngineError::Thread(_) => "OUT_OF_MEMORY",
        EngineError::Internal { .. } => "INTERNAL",
    }
}

fn format_code(error: &FormatError) -> &'static str {
    match error {
        FormatError::NotFound { .. } => "MODEL_NOT_FOUND",
        FormatError::Io { .. } => "IO_ERROR",
        FormatError::NotAFile { .. }
        | FormatError::UnknownFormat { .. }
        | FormatError::NoModel { .. }
        | FormatError::SeveralGguf { .. } => "UNSUPPORTED_FORMAT",
        FormatError::FileTooLarge { .. }
        | FormatError::NoWeights { .. }
        | FormatError::PickledWeights { .. }
        | FormatError::Json { .. }
        | FormatError::JsonNotObject { .. }
        | FormatError::NotUtf8 { .. }
        | FormatError::Gguf { .. }
        | FormatError::Safetensors { .. }
        | FormatError::Shards { .. }
        | FormatError::KernelConfig { .. }
        | FormatError::MetadataType { .. } => "INVALID_MODEL",
    }
}

fn model_code(error: &ModelError) -> &'static str {
    match error {
        ModelError::UnsupportedArchitecture { .. } | ModelError::SettingUnsupported { .. } => {
            "UNSUPPORTED_MODEL"
        }
        ModelError::ArchitectureMissing { .. }
        | ModelError::SettingMissing { .. }
        | ModelError::SettingInvalid { .. }
        | ModelError::TensorMissing { .. }
        | ModelError::TensorShape { .. }
        | ModelError::TensorType { .. }
        | ModelError::TensorValue { .. }
        | ModelError::Weights { .. } => "INVALID_MODEL",
        ModelError::TilesUnknown { .. } => "UNSUPPORTED_QUANT",
        ModelError::TokenOutOfRange { .. } => "INVALID_ARGUMENT",
        ModelError::OutOfMemory { .. } => "OUT_OF_MEMORY",
        ModelError::Format(error) => format_code(error),
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

fn text_code(error: &TextError) -> &'static str {
    match error {
        TextError::Read { .. } => "IO_ERROR",
        TextError::Metadata(error) => format_code(error),
        TextError::File { .. } | TextError::Vocabulary { .. } => "INVALID_MODEL",
        TextError::Encode { .. } => "TOKENIZER_FAILED",
        TextError::Template { .. } => "TEMPLATE_FAILED",
    }
}

fn kernel_code(error: &KernelError) -> &'static str {
    match error {
        KernelError::UnknownIsa { .. }
        | KernelError::ThreadCount { .. }
        | KernelError::EncodeType { .. } => "INVALID_ARGUMENT",
        KernelError::OutOfRange { .. } => "INVALID_MODEL",
        KernelError::IsaUnavailable { .. } => "ISA_UNAVAILABLE",
        KernelError::Length { .. }
        | KernelError::NotMultiple { .. }
        | KernelError::Shape { .. }
        | KernelError::InvalidCode { .. }
        | KernelError::RowScales { .. }
        | KernelError::Tiles { .. }
        | KernelError::NonFiniteScale { .. }
        | KernelError::NonFiniteWeight { .. }
        | KernelError::MasterType { .. } => "INVALID_MODEL",
        KernelError::ThreadSpawn { .. } | KernelError::OutOfMemory { .. } => "OUT_OF_MEMORY",
    }
}
