//! What goes into a generation and what comes out.

use std::str::FromStr;

use llm_text::{Message, RenderOptions};

use crate::constraint::ResponseFormat;
use crate::error::EngineError;
use crate::sampling::SamplingOptions;
use crate::speculation::Speculation;

/// What the model continues.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one per request, and it is moved a few times"
)]
pub enum Prompt {
    /// A text. With `raw`, or without a chat template, the model continues it as it stands; otherwise it is one message
    /// of the user.
    Text {
        /// The text.
        text: String,
        /// Skip the chat template.
        raw: bool,
    },
    /// A conversation, rendered by the model's chat template.
    Messages {
        /// Oldest first.
        messages: Vec<Message>,
        /// What the template gets to see besides.
        options: RenderOptions,
    },
    /// Token ids, taken as they are.
    Tokens(Vec<u32>),
}

/// One request.
#[derive(Debug, Clone)]
pub struct GenerateRequest {
    /// What the model continues.
    pub prompt: Prompt,
    /// At most so many tokens, at least 1. Default [`DEFAULT_MAX_TOKENS`](crate::DEFAULT_MAX_TOKENS).
    pub max_tokens: Option<usize>,
    /// How tokens are chosen.
    pub sampling: SamplingOptions,
    /// The answer ends before the first of these; they are found across token borders.
    pub stop: Vec<String>,
    /// Go on past the model's end tokens.
    pub ignore_eos: bool,
    /// What happens when the context is full.
    pub context_overflow: ContextOverflow,
    /// The form of the answer: it ends when it is complete, or with [`FinishReason::Length`] before.
    pub response_format: Option<ResponseFormat>,
    /// Added to the logits of tokens, -100 to 100 each, an id at most once.
    pub logit_bias: Vec<(u32, f32)>,
    /// Log-probabilities in the result, and with each those of so many of the likeliest tokens, at most 20.
    pub logprobs: Option<usize>,
    /// Whether to speculate; `None` leaves it to [`EngineConfig`](crate::EngineConfig).
    pub speculation: Option<Speculation>,
}

impl GenerateRequest {
    /// A request with every option left to the defaults.
    #[must_use]
    pub fn new(prompt: Prompt) -> Self {
        Self {
            prompt,
            max_tokens: None,
            sampling: SamplingOptions::default(),
            stop: Vec::new(),
            ignore_eos: false,
            context_overflow: ContextOverflow::default(),
            response_format: None,
            logit_bias: Vec::new(),
            logprobs: None,
            speculation: None,
        }
    }
}

/// What happens when the context is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContextOverflow {
    /// A prompt that does not fit is an error; an answer ends where the context ends.
    #[default]
    Error,
    /// The oldest tokens are dropped, of the prompt and again of the text whenever the context is full.
    Shift,
    /// The oldest tokens of a prompt that does not fit are dropped; an answer ends where the context ends.
    Truncate,
}

impl FromStr for ContextOverflow {
    type Err = EngineError;

    fn from_str(name: &str) -> Result<Self, EngineError> {
        match name {
            "error" => Ok(Self::Error),
            "shift" => Ok(Self::Shift),
            "truncate" => Ok(Self::Truncate),
            other => Err(EngineError::invalid_option(
                "contextOverflow",
                other,
                "error, shift or truncate",
            )),
        }
    }
}

/// One item of a generation's stream.
#[derive(Debug, Clone, PartialEq)]
pub enum TextEvent {
    /// The next piece of the answer: never empty, whole characters only.
    Text(String),
    /// The end.
    Done(Completion),
}

/// How a generation ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Tokens read and written.
    pub usage: Usage,
    /// Where the time went.
    pub timings: Timings,
    /// The seed in force: with it the same request gives the same tokens.
    pub seed: u64,
    /// Every token chosen, with the end token when that ended it.
    pub token_ids: Vec<u32>,
    /// How probable the model held each of them, if that was asked for.
    pub logprobs: Option<Vec<ChoiceLogprobs>>,
}

/// How probable the model held what was chosen: by its logits as they are, before penalties, temperature, bias and grammar.
#[derive(Debug, Clone, PartialEq)]
pub struct ChoiceLogprobs {
    /// The token that was chosen.
    pub chosen: TokenLogprob,
    /// The likeliest tokens, likeliest first, equal ones by id.
    pub top: Vec<TokenLogprob>,
}

/// How probable a token is.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprob {
    /// Its id.
    pub id: u32,
    /// Its text; bytes that are no text by themselves are U+FFFD.
    pub token: String,
    /// The natural logarithm of its probability.
    pub logprob: f64,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model's end token or a stop string.
    Stop,
    /// `max_tokens` or the end of the context.
    Length,
}

impl FinishReason {
    /// `stop` or `length`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// Tokens of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of these, those whose keys and values were still there from an earlier request.
    pub cached_tokens: usize,
    /// Tokens chosen.
    pub completion_tokens: usize,
    /// Tokens guessed and computed beside others. How many is up to the machine's speed, and may differ from run to run.
    pub drafted_tokens: usize,
    /// Of these, those that were right: each saved a forward pass.
    pub accepted_tokens: usize,
}

/// Where the time of a generation went, in milliseconds of wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Timings {
    /// From the request to its first step.
    pub queue_ms: f64,
    /// From the first step to the first token.
    pub prefill_ms: f64,
    /// From the first token to the last, waiting for a slow reader included.
    pub decode_ms: f64,
    /// From the request to the first token.
    pub ttft_ms: f64,
}
