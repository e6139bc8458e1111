//! [`ChatTemplate`]: a conversation to a prompt, as transformers renders it.

mod bitnet;
mod bounds;
mod helpers;
mod methods;
mod python_json;
mod render;
mod rewrite;

use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use bitnet::{BITNET_2B4T_TEMPLATE, gguf_template_override};

use crate::error::TextError;
use crate::tokenizer::{optional_json, read, token_content};

/// One message of a conversation. Fields beyond `role` and `content` (`tool_calls`, `name`, ...) reach the template as
/// they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool`, or what else the template knows.
    pub role: String,
    /// A string, or a list of parts for templates that take those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Value>,
    /// All other fields.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Message {
    /// A message of plain text.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: Some(Value::String(content.into())),
            extra: Map::new(),
        }
    }
}

/// What a template gets to see besides the messages.
#[derive(Clone, Debug, Default)]
pub struct RenderOptions {
    /// End the prompt with the beginning of the assistant's turn.
    pub add_generation_prompt: bool,
    /// Tool descriptions; with them a template named `tool_use` is preferred.
    pub tools: Option<Value>,
    /// Documents for retrieval templates.
    pub documents: Option<Value>,
    /// Further variables, such as `enable_thinking`; they come before all others of the same name.
    pub extra: Map<String, Value>,
    /// The time that `strftime_now` shows, in UTC; now if not given.
    pub now: Option<SystemTime>,
}

impl RenderOptions {
    /// With the variables of a JSON object. Tools may be among them: the default template shows them then, never one named `tool_use`.
    ///
    /// # Errors
    /// A text that is no JSON object.
    pub fn from_json(
        add_generation_prompt: bool,
        variables: &str,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self {
            add_generation_prompt,
            extra: serde_json::from_str(variables)?,
            ..Self::default()
        })
    }
}

/// A model's chat template: Jinja source with the helpers that transformers offers.
///
/// A template comes with a model file and is not trusted: it cannot read files, and rendering stops with an error when it
/// exceeds its budget of time and memory.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    default: Option<String>,
    tool_use: Option<String>,
    /// `bos_token`, `eos_token`, ... by name.
    special_tokens: Map<String, Value>,
}

impl ChatTemplate {
    /// A template given as text, for a model with these BOS and EOS tokens.
    ///
    /// # Errors
    /// [`TextError::Template`] if the template is not valid.
    pub fn new(source: &str, bos: Option<String>, eos: Option<String>) -> Result<Self, TextError> {
        render::check(source)?;
        let special_tokens = [("bos_token", bos), ("eos_token", eos)]
            .into_iter()
            .filter_map(|(name, token)| Some((name.to_owned(), Value::String(token?))))
            .collect();
        Ok(Self {
            default: Some(source.to_owned()),
            tool_use: None,
            special_tokens,
        })
    }

    /// The template of a model folder: `chat_template.jinja`, else `chat_template` of `tokenizer_config.json`, which may be
    /// a list of named templates. `None` if there is none.
    ///
    /// # Errors
    /// [`TextError::Read`] and [`TextError::File`] name the file; [`TextError::Template`] says why a template is not valid.
    pub fn from_folder(folder: &Path) -> Result<Option<Self>, TextError> {
        let config = optional_json(folder, "tokenizer_config.json")?.unwrap_or_default();
        let special_tokens_map =
            optional_json(folder, "special_tokens_map.json")?.unwrap_or_default();
        let path = folder.join("chat_template.jinja");
        let source = if path.exists() {
            let source = String::from_utf8(read(&path)?);
            Value::String(source.map_err(|error| TextError::template(error.to_string()))?)
        } else {
            config["chat_template"].clone()
        };
        let (default, tool_use) = match &source {
            Value::Null => return Ok(None),
            Value::String(source) => (Some(source.clone()), None),
            other => named_templates(other)?,
        };
        for source in [&default, &tool_use].into_iter().flatten() {
            render::check(source)?;
        }
        Ok(Some(Self {
            default,
            tool_use,
            special_tokens: special_tokens(&[&special_tokens_map, &config]),
        }))
    }

    /// Renders a conversation to a prompt. Encode it without adding special tokens: the template writes them out.
    ///
    /// # Errors
    /// [`TextError::Template`] if the template refuses the conversation, fails, or exceeds its budget.
    pub fn render(
        &self,
        messages: &[Message],
        options: &RenderOptions,
    ) -> Result<String, TextError> {
        let source = match (&self.tool_use, &self.default) {
            (Some(source), _) if options.tools.is_some() => source,
            (_, Some(source)) => source,
            _ => {
                return Err(TextError::template(
                    "there are only named templates, none of them `default`",
                ));
            }
        };
        render::render(source, self.context(messages, options)?, options.now)
    }

    /// The variables that transformers gives to a template. `tools` and `documents` are always defined.
    fn context(
        &self,
        messages: &[Message],
        options: &RenderOptions,
    ) -> Result<Map<String, Value>, TextError> {
        let messages = serde_json::to_value(messages)
            .map_err(|error| TextError::template(error.to_string()))?;
        let mut context = self.special_tokens.clone();
        let or_null = |value: &Option<Value>| value.clone().unwrap_or_default();
        context.insert("messages".to_owned(), messages);
        context.insert("tools".to_owned(), or_null(&options.tools));
        context.insert("documents".to_owned(), or_null(&options.documents));
        context.insert(
            "add_generation_prompt".to_owned(),
            Value::Bool(options.add_generation_prompt),
        );
        context.extend(options.extra.clone());
        Ok(context)
    }
}

/// `default` and `tool_use` of a list of `{name, template}` or of an object by name.
fn named_templates(value: &Value) -> Result<(Option<String>, Option<String>), TextError> {
    let invalid = || {
        TextError::template(
            "`chat_template` is neither text nor a list of objects with `name` and `template`",
        )
    };
    let by_name: Vec<(&str, &str)> = match value {
        Value::Array(list) => list
            .iter()
            .map(|entry| {
                Some((
                    entry.get("name")?.as_str()?,
                    entry.get("template")?.as_str()?,
                ))
            })
            .collect::<Option<_>>(),
        Value::Object(map) => map
            .iter()
            .map(|(name, source)| Some((name.as_str(), source.as_str()?)))
            .collect::<Option<_>>(),
        _ => None,
    }
    .ok_or_else(invalid)?;
    let named = |wanted: &str| {
        by_name
            .iter()
            .rev()
            .find(|(name, _)| *name == wanted)
            .map(|(_, source)| (*source).to_owned())
    };
    Ok((named("default"), named("tool_use")))
}

/// The `*_token` entries and `additional_special_tokens` of the files; later files come first.
fn special_tokens(files: &[&Value]) -> Map<String, Value> {
    let mut tokens = Map::new();
    for (key, value) in files.iter().filter_map(|file| file.as_object()).flatten() {
        if key == "additional_special_tokens" {
            let list = value.as_array().into_iter().flatten();
            let contents = list.filter_map(token_content).map(Value::from).collect();
            tokens.insert(key.clone(), contents);
        } else if key.ends_with("_token")
            && let Some(content) = token_content(value)
        {
            tokens.insert(key.clone(), Value::from(content));
        }
    }
    tokens
}
