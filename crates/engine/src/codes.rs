//! The stable codes of errors, and their messages with causes: the same at every border that the engine is used through.
//! Every match is exhaustive: a new variant does not compile until it has a code. The codes are listed in `docs/errors.md`.

use std::error::Error as StdError;

use llm_format::FormatError;
use llm_kernels::KernelError;
use llm_model::ModelError;
use llm_text::TextError;

use crate::EngineError;

/// The message with those of its causes that it does not repeat itself.
#[must_use]
pub fn with_sources(error: &dyn StdError) -> String {
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

/// The code of an error of an engine that does not open or work.
#[must_use]
pub fn engine_code(error: &EngineError) -> &'static str {
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

/// The code of an error of a model file.
#[must_use]
pub fn format_code(error: &FormatError) -> &'static str {
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

/// The code of an error of a model.
#[must_use]
pub fn model_code(error: &ModelError) -> &'static str {
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

/// The code of an error of a tokenizer or chat template.
#[must_use]
pub fn text_code(error: &TextError) -> &'static str {
    match error {
        TextError::Read { .. } => "IO_ERROR",
        TextError::Metadata(error) => format_code(error),
        TextError::File { .. } | TextError::Vocabulary { .. } => "INVALID_MODEL",
        TextError::Encode { .. } => "TOKENIZER_FAILED",
        TextError::Template { .. } => "TEMPLATE_FAILED",
    }
}

/// The code of an error of a kernel.
#[must_use]
pub fn kernel_code(error: &KernelError) -> &'static str {
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
