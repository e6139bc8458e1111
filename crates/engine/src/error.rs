use std::fmt::Display;
use std::path::PathBuf;

use llm_format::FormatError;
use llm_kernels::KernelError;
use llm_model::ModelError;
use llm_text::TextError;
use thiserror::Error;

/// Why an engine could not be opened, or a request not be served.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The model file cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The model cannot be loaded or computed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The tokenizer or the chat template refuses.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The thread pool cannot be started.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// An option has a value outside its range.
    #[error("{name} must be {allowed}, but is {given}")]
    InvalidOption {
        /// The option, as JavaScript spells it.
        name: &'static str,
        /// The value.
        given: String,
        /// The range.
        allowed: String,
    },
    /// The wanted instruction set is not there.
    #[error("isa `{isa}` is not available on this machine; available: {available}")]
    IsaUnavailable {
        /// What was asked for.
        isa: String,
        /// What there is, comma separated.
        available: String,
    },
    /// The form that an answer is to have cannot be enforced.
    #[error("the response format cannot be enforced: {reason}")]
    Grammar {
        /// What is wrong with it.
        reason: String,
    },
    /// A model that makes as much, or as little, sense in either block order.
    #[error(
        "cannot tell the block order of the I2_S tensors: the model predicts a text equally well in both; set i2sLayout to \
         \"x86\" or \"arm\""
    )]
    I2sLayoutUnclear,
    /// Messages need a chat template.
    #[error("the model has no chat template: give a text prompt instead of messages")]
    NoChatTemplate,
    /// The chat template cannot be read.
    #[error("the model's chat template is broken: {reason}")]
    ChatTemplateBroken {
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing to start from.
    #[error("the prompt is empty: it has no tokens, and this model adds none")]
    EmptyPrompt,
    /// The prompt does not fit.
    #[error(
        "the prompt has {prompt_tokens} tokens, but contextSize is {context_size}: shorten the prompt, raise \
         contextSize, or set contextOverflow to \"truncate\" or \"shift\""
    )]
    ContextOverflow {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens that fit.
        context_size: usize,
    },
    /// A token id that the model has no embedding for.
    #[error("token id {id} is outside the model's vocabulary of {n_vocab}")]
    TokenOutOfRange {
        /// The id.
        id: u32,
        /// Size of the vocabulary.
        n_vocab: usize,
    },
    /// A perplexity needs a token and one after it.
    #[error("a perplexity needs a text of at least 2 tokens, this one has {tokens}")]
    TextTooShort {
        /// Tokens of the text.
        tokens: usize,
    },
    /// One of several texts is refused.
    #[error("text {index}: {source}")]
    InText {
        /// Which, from 0.
        index: usize,
        /// Why.
        source: Box<Self>,
    },
    /// The model makes a text's vector in a way that this engine does not compute.
    #[error("the model pools by {pooling}, but only last-token pooling is supported")]
    UnsupportedPooling {
        /// The way, as the model names it.
        pooling: String,
    },
    /// Logits of all positions would take too much memory.
    #[error(
        "logits of {tokens} tokens over a vocabulary of {n_vocab} take {bytes} bytes, above the limit of {limit}: ask \
         for fewer tokens at once"
    )]
    TooManyLogits {
        /// Tokens asked for.
        tokens: usize,
        /// Logits per token.
        n_vocab: usize,
        /// What they would take.
        bytes: usize,
        /// What they may take.
        limit: usize,
    },
    /// The weights may not fit the memory that is left for them.
    #[error("the weights take up to {needed} bytes, but {limit} bytes are left for them")]
    OverBudget {
        /// What they take at most.
        needed: u64,
        /// What they may take.
        limit: u64,
    },
    /// Keys and values take more than they may.
    #[error(
        "keys and values take {used} bytes, but {limit} bytes are left for them: ask for less at once, shorten prompts, or \
         raise maxMemory"
    )]
    KvOverBudget {
        /// What all engines of the budget take.
        used: u64,
        /// What they may take.
        limit: u64,
    },
    /// The model loads, but what it computes or holds shows that it is damaged.
    #[error("the model failed its self-test: {finding}. {cause}")]
    SelfTest {
        /// What was seen.
        finding: String,
        /// What it likely means.
        cause: &'static str,
    },
    /// The model computed NaN or infinity.
    #[error(
        "the model computed logits that are not finite: its weights are damaged, or the input leaves their range"
    )]
    NonFiniteLogits,
    /// The keys and values of a conversation cannot be written.
    #[error("{path} cannot be written")]
    PrefixFile {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The request was cancelled.
    #[error("the request was cancelled")]
    Cancelled,
    /// The engine was closed.
    #[error("the model was unloaded")]
    Closed,
    /// The thread of the engine could not be started.
    #[error("the engine's thread could not be started")]
    Thread(#[source] std::io::Error),
    /// A mistake of ours: please report it.
    #[error("internal error, please report it: {what}")]
    Internal {
        /// What the panic said.
        what: String,
    },
}

impl EngineError {
    /// An option outside its range.
    pub(crate) fn invalid_option(name: &'static str, given: impl Display, allowed: &str) -> Self {
        Self::InvalidOption {
            name,
            given: given.to_string(),
            allowed: allowed.to_owned(),
        }
    }
}
