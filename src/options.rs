//! What JavaScript passes in. The ranges are checked twice on purpose: `lib/options.js` words the messages for users,
//! the engine protects itself.

use std::path::PathBuf;

use llm_engine::{
    EngineConfig, GenerateRequest, KvBudget, Message, Prompt, RenderOptions, ResponseFormat,
    SamplingOptions, head_mode,
};
use llm_router::{Cancel, LoadSpec};
use napi_derive::napi;

use crate::error::Failure;
use crate::hub::{HubSettings, SearchFields};

/// How tokens are chosen; what is absent is decided further down.
#[napi(object)]
#[derive(Debug, Default)]
pub struct SamplingFields {
    pub temperature: Option<f64>,
    pub top_k: Option<u32>,
    pub top_p: Option<f64>,
    pub min_p: Option<f64>,
    pub repetition_penalty: Option<f64>,
    pub frequency_penalty: Option<f64>,
    pub presence_penalty: Option<f64>,
    /// 0 to 2^53 - 1.
    pub seed: Option<i64>,
}

impl From<SamplingFields> for SamplingOptions {
    fn from(fields: SamplingFields) -> Self {
        Self {
            temperature: fields.temperature,
            top_k: fields.top_k.map(|k| k as usize),
            top_p: fields.top_p,
            min_p: fields.min_p,
            repetition_penalty: fields.repetition_penalty,
            frequency_penalty: fields.frequency_penalty,
            presence_penalty: fields.presence_penalty,
            seed: fields.seed.map(i64::unsigned_abs),
        }
    }
}

/// One model to load.
#[napi(object)]
pub struct LoadRequest {
    pub id: String,
    pub source: String,
    pub quant_type: Option<String>,
    pub threads: Option<u32>,
    pub context_size: Option<u32>,
    pub isa: Option<String>,
    /// `auto` or `full`.
    pub head: Option<String>,
    /// `x86`, `arm` or `detect`.
    #[napi(js_name = "i2sLayout")]
    pub i2s_layout: Option<String>,
    /// A `kernel_config.ini`.
    pub kernel_config: Option<String>,
    pub sampling: SamplingFields,
    /// `auto` or `off`.
    pub speculation: Option<String>,
    /// Bytes that the weights may take in memory.
    pub max_bytes: Option<f64>,
    pub search: SearchFields,
    /// Where converted models are kept.
    pub converted: String,
    /// A branch, tag or commit of an id.
    pub revision: Option<String>,
    /// Where a model that is not on the disk is fetched; absent: nothing is fetched.
    pub hub: Option<HubSettings>,
}

impl LoadRequest {
    pub(crate) fn into_spec(
        self,
        cancel: Cancel,
        kv_budget: KvBudget,
    ) -> Result<LoadSpec, Failure> {
        let cache = PathBuf::from(&self.search.hf_cache);
        Ok(LoadSpec {
            id: Some(self.id),
            source: self.source,
            quant_type: self.quant_type,
            revision: self.revision,
            search: self.search.into(),
            converted: PathBuf::from(self.converted),
            hub: self.hub.map(|hub| hub.into_config(cache)).transpose()?,
            cancel,
            engine: EngineConfig {
                threads: self.threads.map(|threads| threads as usize),
                context_size: self.context_size.map(|size| size as usize),
                isa: given(self.isa, str::parse)?,
                head: given(self.head, head_mode)?.unwrap_or_default(),
                i2s_layout: given(self.i2s_layout, str::parse)?,
                kernel_config: self.kernel_config.map(PathBuf::from),
                sampling: self.sampling.into(),
                speculation: given(self.speculation, str::parse)?.unwrap_or_default(),
                max_bytes: self.max_bytes.map(|bytes| bytes as u64),
                kv_budget,
                ..EngineConfig::default()
            },
        })
    }
}

/// One generation: `messages` (JSON) where given, else `text`.
#[napi(object)]
#[derive(Debug)]
pub struct GenerateCall {
    pub text: Option<String>,
    pub messages: Option<String>,
    /// What the chat template sees besides the messages: an object in JSON.
    pub variables: Option<String>,
    pub raw: Option<bool>,
    pub sampling: SamplingFields,
    pub max_tokens: Option<u32>,
    pub stop: Vec<String>,
    pub ignore_eos: Option<bool>,
    /// `error`, `shift` or `truncate`.
    pub context_overflow: Option<String>,
    /// JSON: `type` is `json_object`, `json_schema` (with `schema`), `regex` (`pattern`) or `grammar` (`grammar`).
    pub response_format: Option<String>,
    pub logit_bias: Option<Vec<TokenBias>>,
    /// Log-probabilities, each with those of so many of the likeliest tokens.
    pub logprobs: Option<u32>,
    /// `auto` or `off`.
    pub speculation: Option<String>,
}

/// What is added to the logit of a token.
#[napi(object)]
#[derive(Debug)]
pub struct TokenBias {
    pub id: u32,
    pub bias: f64,
}

impl GenerateCall {
    pub(crate) fn into_request(self) -> Result<GenerateRequest, Failure> {
        let prompt = match (self.messages, self.text) {
            (Some(messages), _) => Prompt::Messages {
                messages: parse_messages(&messages)?,
                options: render_options(true, self.variables.as_deref().unwrap_or("{}"))?,
            },
            (None, text) => Prompt::Text {
                text: text.unwrap_or_default(),
                raw: self.raw.unwrap_or(false),
            },
        };
        Ok(GenerateRequest {
            prompt,
            max_tokens: self.max_tokens.map(|tokens| tokens as usize),
            sampling: self.sampling.into(),
            stop: self.stop,
            ignore_eos: self.ignore_eos.unwrap_or(false),
            context_overflow: given(self.context_overflow, str::parse)?.unwrap_or_default(),
            response_format: given(self.response_format, response_format)?,
            logit_bias: self
                .logit_bias
                .unwrap_or_default()
                .into_iter()
                .map(|TokenBias { id, bias }| (id, bias as f32))
                .collect(),
            logprobs: self.logprobs.map(|top| top as usize),
            speculation: given(self.speculation, str::parse)?,
        })
    }
}

/// What `read` makes of a text, where one was given.
fn given<T, E: Into<Failure>>(
    text: Option<String>,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, Failure> {
    text.as_deref().map(read).transpose().map_err(Into::into)
}

fn response_format(json: &str) -> Result<ResponseFormat, Failure> {
    ResponseFormat::from_json(json).map_err(|problem| Failure::argument("responseFormat", problem))
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
