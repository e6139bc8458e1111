//! Requests, as the worker writes them. A field that is not known here is refused, never ignored.

use llm_engine::{
    Driver, EngineConfig, EngineError, GenerateRequest, Message, Prompt, RenderOptions,
    ResponseFormat, SamplingOptions, head_mode,
};
use serde::Deserialize;

use crate::failure::Failure;

/// One request.
#[derive(Debug, Deserialize)]
#[serde(
    tag = "op",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub(crate) enum Request {
    /// Opens the model; there can be one.
    Open(Open),
    /// What is loaded and how it runs.
    Info {},
    /// Looks for signs of a damaged model.
    SelfTest {
        thorough: bool,
    },
    Tokenize {
        text: String,
        add_special: bool,
    },
    Detokenize {
        ids: Vec<u32>,
        skip_special: bool,
    },
    /// `messages` and `variables` are JSON of their own, as the Node layer gets them.
    ApplyChatTemplate {
        messages: String,
        add_generation_prompt: bool,
        variables: String,
    },
    /// Starts a generation; the answer is its number.
    Generate(Box<Generate>),
    /// The next event of a generation.
    Next {
        generation: u32,
    },
    CancelGeneration {
        generation: u32,
    },
    /// Starts to compute logits; the answer is the number of the task.
    Forward {
        ids: Vec<u32>,
        all: bool,
    },
    /// Starts to compute how well a text is predicted.
    Perplexity {
        text: String,
    },
    /// The same of token ids as they are.
    PerplexityOf {
        ids: Vec<u32>,
    },
    /// Starts to turn texts into vectors.
    Embed {
        texts: Vec<String>,
    },
    /// What has become of a task.
    Result {
        task: u32,
    },
    CancelTask {
        task: u32,
    },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Open {
    pub(crate) path: String,
    context_size: Option<usize>,
    isa: Option<String>,
    head: Option<String>,
    speculation: Option<String>,
    max_bytes: Option<u64>,
}

impl Open {
    /// # Errors
    /// An option that cannot be.
    pub(crate) fn config(&self) -> Result<EngineConfig, Failure> {
        Ok(EngineConfig {
            threads: Some(1),
            context_size: self.context_size,
            isa: given(&self.isa, |name| name.parse().map_err(EngineError::Kernel))?,
            head: given(&self.head, head_mode)?.unwrap_or_default(),
            speculation: given(&self.speculation, str::parse)?.unwrap_or_default(),
            driver: Driver::Caller,
            max_bytes: self.max_bytes,
            ..EngineConfig::default()
        })
    }
}

/// What `read` makes of a text, where one was given.
fn given<T>(
    text: &Option<String>,
    read: impl FnOnce(&str) -> Result<T, EngineError>,
) -> Result<Option<T>, EngineError> {
    text.as_deref().map(read).transpose()
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Sampling {
    temperature: Option<f64>,
    top_k: Option<usize>,
    top_p: Option<f64>,
    min_p: Option<f64>,
    repetition_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
    presence_penalty: Option<f64>,
    seed: Option<u64>,
}

/// The prompt is `messages` (JSON) where given, else `text`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Generate {
    text: Option<String>,
    messages: Option<String>,
    #[serde(default)]
    raw: bool,
    #[serde(default)]
    sampling: Sampling,
    max_tokens: Option<usize>,
    #[serde(default)]
    stop: Vec<String>,
    #[serde(default)]
    ignore_eos: bool,
    context_overflow: Option<String>,
    speculation: Option<String>,
    /// An object for the chat template, in JSON.
    variables: Option<String>,
    /// JSON, as [`ResponseFormat::from_json`] reads it.
    response_format: Option<String>,
    #[serde(default)]
    logit_bias: Vec<TokenBias>,
    logprobs: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenBias {
    id: u32,
    bias: f32,
}

impl Generate {
    /// # Errors
    /// An option that cannot be.
    pub(crate) fn into_request(self) -> Result<GenerateRequest, Failure> {
        let prompt = match (self.messages, self.text) {
            (Some(messages), _) => Prompt::Messages {
                messages: parse_messages(&messages)?,
                options: render_options(true, self.variables.as_deref().unwrap_or("{}"))?,
            },
            (None, text) => Prompt::Text {
                text: text.unwrap_or_default(),
                raw: self.raw,
            },
        };
        let Sampling {
            temperature,
            top_k,
            top_p,
            min_p,
            repetition_penalty,
            frequency_penalty,
            presence_penalty,
            seed,
        } = self.sampling;
        Ok(GenerateRequest {
            max_tokens: self.max_tokens,
            sampling: SamplingOptions {
                temperature,
                top_k,
                top_p,
                min_p,
                repetition_penalty,
                frequency_penalty,
                presence_penalty,
                seed,
            },
            stop: self.stop,
            ignore_eos: self.ignore_eos,
            context_overflow: given(&self.context_overflow, str::parse)?.unwrap_or_default(),
            speculation: given(&self.speculation, str::parse)?,
            response_format: self
                .response_format
                .as_deref()
                .map(ResponseFormat::from_json)
                .transpose()
                .map_err(|problem| Failure::argument("responseFormat", problem))?,
            logit_bias: self
                .logit_bias
                .into_iter()
                .map(|TokenBias { id, bias }| (id, bias))
                .collect(),
            logprobs: self.logprobs,
            ..GenerateRequest::new(prompt)
        })
    }
}

/// A chat, from JSON.
pub(crate) fn parse_messages(json: &str) -> Result<Vec<Message>, Failure> {
    serde_json::from_str(json).map_err(|error| Failure::argument("messages", error))
}

/// What a chat template sees besides the messages; `variables` is an object in JSON.
pub(crate) fn render_options(
    add_generation_prompt: bool,
    variables: &str,
) -> Result<RenderOptions, Failure> {
    RenderOptions::from_json(add_generation_prompt, variables)
        .map_err(|error| Failure::argument("variables", error))
}
