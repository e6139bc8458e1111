//! Requests, as the worker writes them. A field that is not known here is refused, never ignored.

use llm_engine::{
    ContextOverflow, Driver, EngineConfig, GenerateRequest, HeadMode, Message, Prompt,
    RenderOptions, ResponseFormat, SamplingOptions, Speculation,
};
use serde::Deserialize;
use serde_json::{Map, Value};

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
    /// The name and value of an option that cannot be.
    pub(crate) fn config(&self) -> Result<EngineConfig, (&'static str, String)> {
        let isa = self.isa.as_deref().map(str::parse).transpose();
        Ok(EngineConfig {
            threads: Some(1),
            context_size: self.context_size,
            isa: isa.map_err(|_| ("isa", self.isa.clone().unwrap_or_default()))?,
            head: match self.head.as_deref() {
                None | Some("auto") => HeadMode::Auto,
                Some("full") => HeadMode::Full,
                Some(other) => return Err(("head", other.to_owned())),
            },
            speculation: speculation(self.speculation.as_deref())?.unwrap_or_default(),
            driver: Driver::Caller,
            max_bytes: self.max_bytes,
            ..EngineConfig::default()
        })
    }
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
    /// The name and value of an option that cannot be.
    pub(crate) fn into_request(self) -> Result<GenerateRequest, (&'static str, String)> {
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
            context_overflow: context_overflow(self.context_overflow.as_deref())?,
            speculation: speculation(self.speculation.as_deref())?,
            response_format: self
                .response_format
                .as_deref()
                .map(ResponseFormat::from_json)
                .transpose()
                .map_err(|problem| ("responseFormat", problem))?,
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

pub(crate) fn parse_messages(json: &str) -> Result<Vec<Message>, (&'static str, String)> {
    serde_json::from_str(json).map_err(|error| ("messages", error.to_string()))
}

pub(crate) fn render_options(
    add_generation_prompt: bool,
    variables: &str,
) -> Result<RenderOptions, (&'static str, String)> {
    let extra: Map<String, Value> =
        serde_json::from_str(variables).map_err(|error| ("variables", error.to_string()))?;
    Ok(RenderOptions {
        add_generation_prompt,
        extra,
        ..RenderOptions::default()
    })
}

fn context_overflow(name: Option<&str>) -> Result<ContextOverflow, (&'static str, String)> {
    match name {
        None => Ok(ContextOverflow::default()),
        Some("error") => Ok(ContextOverflow::Error),
        Some("shift") => Ok(ContextOverflow::Shift),
        Some("truncate") => Ok(ContextOverflow::Truncate),
        Some(other) => Err(("contextOverflow", other.to_owned())),
    }
}

fn speculation(name: Option<&str>) -> Result<Option<Speculation>, (&'static str, String)> {
    match name {
        None => Ok(None),
        Some("auto") => Ok(Some(Speculation::Auto)),
        Some("off") => Ok(Some(Speculation::Off)),
        Some(other) => Err(("speculation", other.to_owned())),
    }
}
