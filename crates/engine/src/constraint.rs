//! Answers of a given form: which tokens may follow, by a grammar.
//!
//! A grammar never changes logits, it takes tokens out of the choice: what is left keeps the proportions that the model gives it. The
//! model chooses the tokens of a text that is prescribed as well, so how a text is cut into tokens is always its own choice.

use std::fmt;
use std::sync::{Arc, OnceLock};

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, INVALID_TOKEN, SimpleVob, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use llm_text::Tokenizer;
use serde_json::{Value, json};

use crate::error::EngineError;

/// The form of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum ResponseFormat {
    /// Any JSON object.
    JsonObject,
    /// JSON that a schema describes; keywords that cannot be enforced are refused.
    JsonSchema(Value),
    /// A text that a regular expression matches from beginning to end, in the syntax of Rust's `regex` crate without look-around.
    Regex(String),
    /// A text that a grammar in the syntax of Lark derives from `start`.
    Grammar(String),
}

/// White space between the tokens of JSON: as JSON has it, but never so much that a model could go on with it for ever.
const JSON_SPACE: &str = r"[\x20\x0A\x0D\x09]{1,40}";

/// The key under which the compiler of schemas takes its options: ours, never those of a schema.
const COMPILER_OPTIONS: &str = "x-guidance";

impl ResponseFormat {
    /// Reads the form that calls give: `type` is `json_object`, `json_schema` (with `schema`), `regex` (`pattern`) or `grammar`
    /// (`grammar`).
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn from_json(json: &str) -> Result<Self, String> {
        let mut format: serde_json::Map<String, Value> =
            serde_json::from_str(json).map_err(|error| error.to_string())?;
        let text = |value: Option<Value>| match value {
            Some(Value::String(text)) => Ok(text),
            _ => Err("a string is missing".to_owned()),
        };
        match text(format.remove("type"))?.as_str() {
            "json_object" => Ok(Self::JsonObject),
            "json_schema" => Ok(Self::JsonSchema(
                format.remove("schema").unwrap_or_default(),
            )),
            "regex" => text(format.remove("pattern")).map(Self::Regex),
            "grammar" => text(format.remove("grammar")).map(Self::Grammar),
            other => Err(other.to_owned()),
        }
    }

    fn grammar(&self) -> Result<TopLevelGrammar, EngineError> {
        match self {
            Self::JsonObject => json_grammar(&json!({"type": "object"})),
            Self::JsonSchema(schema) => json_grammar(schema),
            Self::Regex(pattern) => Ok(TopLevelGrammar::from_regex(pattern)),
            Self::Grammar(grammar) => Ok(TopLevelGrammar::from_lark(grammar.clone())),
        }
    }
}

fn json_grammar(schema: &Value) -> Result<TopLevelGrammar, EngineError> {
    let mut keywords = match schema {
        Value::Object(keywords) => keywords.clone(),
        Value::Bool(true) => serde_json::Map::new(),
        other => {
            return Err(refused(format!(
                "a schema is an object or true, not {other}"
            )));
        }
    };
    if keywords.contains_key(COMPILER_OPTIONS) {
        return Err(refused(format!("unsupported keyword {COMPILER_OPTIONS}")));
    }
    keywords.insert(
        COMPILER_OPTIONS.to_owned(),
        json!({ "whitespace_pattern": JSON_SPACE }),
    );
    Ok(TopLevelGrammar::from_json_schema(Value::Object(keywords)))
}

fn refused(reason: String) -> EngineError {
    EngineError::Grammar { reason }
}

/// What the compiler says, in words that fit our options.
fn worded(message: &str) -> String {
    let message = message.split("\n<").next().unwrap_or(message).trim();
    if message.contains("oneOf constraints are not supported") {
        return "unsupported keyword oneOf where its branches may overlap: use anyOf".to_owned();
    }
    if message.contains("'referencing' feature") {
        return "a $ref must point into the schema itself: #/…".to_owned();
    }
    message.replace("Unimplemented keys:", "unsupported keywords")
}

/// Compiles formats for one vocabulary; what that takes is prepared when the first one comes.
#[derive(Default)]
pub(crate) struct Grammars {
    factory: OnceLock<Result<ParserFactory, String>>,
}

impl Grammars {
    /// The way through `format`, at its beginning.
    ///
    /// # Errors
    /// [`EngineError::Grammar`] for one that is malformed, unsupported or too complex.
    pub(crate) fn constraint(
        &self,
        format: &ResponseFormat,
        tokenizer: &Tokenizer,
        n_vocab: usize,
        end_tokens: &[u32],
    ) -> Result<Constraint, EngineError> {
        let factory = self
            .factory
            .get_or_init(|| factory(tokenizer, n_vocab, end_tokens))
            .as_ref()
            .map_err(|reason| refused(reason.clone()))?;
        let parser = factory.create_parser(format.grammar()?);
        let matcher = Matcher::new(parser);
        match matcher.get_error() {
            Some(error) => Err(refused(worded(&error))),
            None => Ok(Constraint { matcher }),
        }
    }
}

impl fmt::Debug for Grammars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grammars").finish_non_exhaustive()
    }
}

fn factory(
    tokenizer: &Tokenizer,
    n_vocab: usize,
    end_tokens: &[u32],
) -> Result<ParserFactory, String> {
    let size = u32::try_from(n_vocab).map_err(|_| "the vocabulary is too large".to_owned())?;
    let words: Vec<Vec<u8>> = (0..size)
        .map(|id| match tokenizer.token_bytes(id) {
            // Special tokens are no text; the marker, a byte that no UTF-8 text has, says so.
            _ if tokenizer.is_special(id) || end_tokens.contains(&id) => [
                &[TokTrie::SPECIAL_TOKEN_MARKER][..],
                tokenizer.id_to_token(id).unwrap_or_default().as_bytes(),
            ]
            .concat(),
            Some(bytes) => bytes,
            None => Vec::new(),
        })
        .collect();
    if words.iter().all(|word| {
        word.first()
            .is_none_or(|&byte| byte == TokTrie::SPECIAL_TOKEN_MARKER)
    }) {
        return Err("the tokens of this model are no pieces of text".to_owned());
    }
    let first_end = end_tokens.first().copied().unwrap_or(INVALID_TOKEN);
    let trie = TokTrie::from(&TokRxInfo::new(size, first_end), &words);
    let trie = match end_tokens {
        [] => trie,
        ends => trie.with_eos_tokens(ends),
    };
    let environment = Arc::new(ApproximateTokEnv::new(trie));
    let mut factory =
        ParserFactory::new_simple(&(environment as _)).map_err(|error| error.to_string())?;
    factory.quiet().limits_mut().verbose_errors = false;
    Ok(factory)
}

/// One answer's way through its grammar.
pub(crate) struct Constraint {
    matcher: Matcher,
}

impl Constraint {
    /// The tokens that may come next: one bit an id.
    ///
    /// # Errors
    /// [`EngineError::Grammar`] when the grammar turns out to be too complex.
    pub(crate) fn allowed(&mut self) -> Result<SimpleVob, EngineError> {
        self.matcher.compute_mask_or_eos().map_err(failed)
    }

    /// Goes on by a token that is allowed.
    ///
    /// # Errors
    /// As [`allowed`](Self::allowed)'s.
    pub(crate) fn accept(&mut self, id: u32) -> Result<(), EngineError> {
        self.matcher.consume_token(id).map_err(failed)
    }

    /// Whether nothing may follow.
    pub(crate) fn is_complete(&self) -> bool {
        self.matcher.is_stopped()
    }
}

fn failed(error: impl fmt::Display) -> EngineError {
    refused(worded(&error.to_string()))
}

impl fmt::Debug for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Constraint").finish_non_exhaustive()
    }
}
