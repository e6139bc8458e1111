use std::path::PathBuf;

/// What can go wrong between text and token ids.
///
/// A message names the file or key at fault, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// A tokenizer file cannot be read; the model folder is incomplete or not readable.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// `tokenizer.json`, `tokenizer_config.json` or `special_tokens_map.json` does not say what it should.
    #[error("{file}: {reason}")]
    File {
        /// The file's name, without its folder.
        file: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A GGUF vocabulary is inconsistent or of an unknown kind.
    #[error("tokenizer metadata `{key}`: {reason}")]
    Vocabulary {
        /// The metadata key at fault, e.g. `tokenizer.ggml.merges`.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A tokenizer key of GGUF metadata has another type than it should.
    #[error(transparent)]
    Metadata(#[from] llm_format::FormatError),
    /// Text could not be turned into token ids.
    #[error("tokenizer failed to encode the text: {reason}")]
    Encode {
        /// What the tokenizer said.
        reason: String,
    },
    /// The chat template is invalid, refuses the conversation, or exceeds its time or memory budget.
    #[error("chat template: {reason}")]
    Template {
        /// The template's own message where it raised one, else what went wrong.
        reason: String,
    },
}

impl TextError {
    pub(crate) fn template(reason: impl Into<String>) -> Self {
        Self::Template {
            reason: reason.into(),
        }
    }

    pub(crate) fn vocabulary(key: &'static str, reason: impl Into<String>) -> Self {
        Self::Vocabulary {
            key,
            reason: reason.into(),
        }
    }
}
