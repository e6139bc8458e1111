//! The text side of a model: tokenizer, chat template, and the tokens that end an answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use llm_text::{ChatTemplate, Message, RenderOptions, TextError, Tokenizer};
use serde_json::Value;

use crate::error::EngineError;
use crate::request::Prompt;

/// What turns text into tokens and back.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    tokenizer: Tokenizer,
    /// A broken template is an error when it is needed: the model can still continue plain text.
    template: Option<Result<ChatTemplate, TextError>>,
    /// The token that the tokenizer puts before every text, if that is what the model calls its beginning.
    bos: Option<u32>,
    end_tokens: Arc<[u32]>,
}

impl Vocabulary {
    /// `end_tokens`: ids that the model's files name besides the tokenizer's own end token and the known ends of a turn.
    pub(crate) fn new(
        tokenizer: Tokenizer,
        template: Option<Result<ChatTemplate, TextError>>,
        end_tokens: impl IntoIterator<Item = u32>,
    ) -> Self {
        let frame = tokenizer.encode("", true).unwrap_or_default();
        let bos = tokenizer.bos().filter(|bos| frame.first() == Some(bos));
        let ends: BTreeSet<u32> = end_tokens
            .into_iter()
            .chain(tokenizer.eos())
            .chain(tokenizer.end_of_turn_ids())
            .collect();
        Self {
            tokenizer,
            template,
            bos,
            end_tokens: ends.into_iter().collect(),
        }
    }

    /// The tokenizer.
    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Whether there is a chat template, broken or not.
    pub(crate) fn has_chat_template(&self) -> bool {
        self.template.is_some()
    }

    /// Tokens that end an answer, ascending.
    pub(crate) fn end_tokens(&self) -> Arc<[u32]> {
        Arc::clone(&self.end_tokens)
    }

    /// Whether `ids` start with the token that begins every text.
    pub(crate) fn starts_with_bos(&self, ids: &[u32]) -> bool {
        self.bos.is_some() && ids.first().copied() == self.bos
    }

    /// `messages` as the chat template writes them.
    pub(crate) fn render(
        &self,
        messages: &[Message],
        options: &RenderOptions,
    ) -> Result<String, EngineError> {
        match &self.template {
            None => Err(EngineError::NoChatTemplate),
            Some(Err(broken)) => Err(EngineError::ChatTemplateBroken {
                reason: broken.to_string(),
            }),
            Some(Ok(template)) => Ok(template.render(messages, options)?),
        }
    }

    /// The ids of a prompt.
    pub(crate) fn encode_prompt(&self, prompt: Prompt) -> Result<Vec<u32>, EngineError> {
        match prompt {
            Prompt::Tokens(ids) => Ok(ids),
            Prompt::Messages { messages, options } => self.encode_chat(&messages, &options),
            Prompt::Text { text, raw: false } if self.template.is_some() => {
                let options = RenderOptions {
                    add_generation_prompt: true,
                    ..RenderOptions::default()
                };
                self.encode_chat(&[Message::new("user", text)], &options)
            }
            Prompt::Text { text, .. } => Ok(self.tokenizer.encode(&text, true)?),
        }
    }

    /// Renders and encodes. Templates write the beginning token or leave it out; it is there once in the end.
    fn encode_chat(
        &self,
        messages: &[Message],
        options: &RenderOptions,
    ) -> Result<Vec<u32>, EngineError> {
        let mut ids = self
            .tokenizer
            .encode(&self.render(messages, options)?, false)?;
        if let Some(bos) = self.bos
            && !self.starts_with_bos(&ids)
        {
            ids.insert(0, bos);
        }
        Ok(ids)
    }
}

/// The ids in a configuration's `eos_token_id`: a number or a list of them; anything else gives none.
pub(crate) fn token_ids(value: Option<&Value>) -> Vec<u32> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(id).collect(),
        Some(value) => id(value).into_iter().collect(),
        None => Vec::new(),
    }
}
