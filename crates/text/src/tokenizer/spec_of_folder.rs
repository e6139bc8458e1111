//! `tokenizer.json` as the vocabulary keys of GGUF.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use super::folder::{CONFIG, SPECIAL_TOKENS, invalid, named_special_tokens, tokenizer_json};
use super::gguf::token_type;
use super::pre_tokenizer::PreTokenizer;
use super::{Tokenizer, TokenizerSpec, optional_json, token_content};
use crate::decode::byte_token;
use crate::error::TextError;

/// Score of tokens that no merge makes, as converters for llama.cpp write it.
const NO_MERGE: f32 = -1e5;
/// Score of tokens that are found in the text as they stand.
const ADDED: f32 = -1e3;

/// A folder's vocabulary in the terms of GGUF.
#[derive(Debug, Clone)]
pub struct ConvertedVocabulary {
    /// The vocabulary.
    pub spec: TokenizerSpec,
    /// `padding_token_id`.
    pub padding: Option<u32>,
    /// What GGUF has no place for.
    pub losses: Vec<String>,
}

impl TokenizerSpec {
    /// The vocabulary of a model folder, filled up with unused tokens to `n_vocab`.
    ///
    /// # Errors
    /// [`TextError::Read`] and [`TextError::File`] name the file, and what about it GGUF cannot say.
    pub fn from_folder(folder: &Path, n_vocab: usize) -> Result<ConvertedVocabulary, TextError> {
        let tokenizer = Tokenizer::from_folder(folder)?;
        let config = optional_json(folder, CONFIG)?.unwrap_or_default();
        let json: Value = serde_json::from_slice(&tokenizer_json(folder, &config)?)
            .map_err(|error| invalid(error.to_string()))?;
        let special = optional_json(folder, SPECIAL_TOKENS)?.unwrap_or_default();
        let is_pieces = match json["model"]["type"].as_str() {
            Some("BPE") | None => json["model"]["byte_fallback"] == Value::Bool(true),
            Some(other) => {
                return Err(invalid(format!("GGUF has no form for a {other} model")));
            }
        };
        let merges = merges(&json["model"])?;
        let pre = if is_pieces {
            None
        } else {
            Some(split_rule(&json)?)
        };
        let named: Vec<&str> = [&config, &special]
            .into_iter()
            .flat_map(named_special_tokens)
            .collect();
        let id_of = |key: &str| {
            let token = [&config, &special]
                .into_iter()
                .find_map(|file| token_content(file.get(key)?));
            token.and_then(|token| tokenizer.token_to_id(token))
        };
        let unknown = id_of("unk_token")
            .or_else(|| tokenizer.token_to_id(json["model"]["unk_token"].as_str()?));
        let mut tokens = Tokens::read(&json, n_vocab, &named, unknown)?;
        let frame = tokenizer.encode("", true)?;
        Ok(ConvertedVocabulary {
            spec: Self {
                model: if is_pieces { "llama" } else { "gpt2" }.to_owned(),
                pre: Some(pre.map_or("default", PreTokenizer::name).to_owned()),
                scores: is_pieces.then(|| tokens.scores(&merges)),
                token_types: Some(tokens.types(is_pieces)),
                tokens: std::mem::take(&mut tokens.names),
                merges: (!is_pieces)
                    .then(|| merges.iter().map(|(a, b)| format!("{a} {b}")).collect()),
                bos: tokenizer.bos(),
                eos: tokenizer.eos(),
                unknown,
                add_bos: Some(
                    tokenizer.bos().is_some() && frame.first().copied() == tokenizer.bos(),
                ),
                add_eos: Some(
                    tokenizer.eos().is_some() && frame.last().copied() == tokenizer.eos(),
                ),
                add_space_prefix: is_pieces
                    .then(|| json["normalizer"].to_string().contains("\"Prepend\"")),
            },
            padding: id_of("pad_token"),
            losses: losses(&json, is_pieces),
        })
    }
}

/// Tokens by id, and what kind each is.
struct Tokens {
    names: Vec<String>,
    kinds: Vec<i32>,
}

impl Tokens {
    fn read(
        json: &Value,
        n_vocab: usize,
        named: &[&str],
        unknown: Option<u32>,
    ) -> Result<Self, TextError> {
        let vocab = json["model"]["vocab"].as_object();
        let vocab = vocab.ok_or_else(|| invalid("the model has no vocabulary"))?;
        let added = json["added_tokens"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let id = |value: &Value| value.as_u64().and_then(|id| usize::try_from(id).ok());
        let added = added.iter().filter_map(|token| {
            let kind = if token["special"] == Value::Bool(true) {
                token_type::CONTROL
            } else {
                token_type::USER_DEFINED
            };
            Some((id(&token["id"])?, token["content"].as_str()?, kind))
        });
        let normal = vocab.iter().filter_map(|(token, value)| {
            let kind = if named.contains(&token.as_str()) {
                token_type::CONTROL
            } else {
                token_type::NORMAL
            };
            Some((id(value)?, token.as_str(), kind))
        });
        // What was added comes last: it says more of a token than the vocabulary.
        let all: Vec<(usize, &str, i32)> = normal.chain(added).collect();
        let highest = all.iter().map(|&(id, ..)| id).max().unwrap_or(0);
        // A hole larger than the vocabulary would be a number gone wrong.
        if highest >= 2 * all.len().max(n_vocab) {
            return Err(invalid(format!(
                "token id {highest} leaves the vocabulary full of holes"
            )));
        }
        let count = n_vocab.max(highest + 1);
        let mut tokens = Self {
            names: (0..count).map(|id| format!("[PAD{id}]")).collect(),
            kinds: vec![token_type::UNUSED; count],
        };
        for (id, token, kind) in all {
            token.clone_into(&mut tokens.names[id]);
            tokens.kinds[id] = kind;
        }
        if let Some(kind) = unknown.and_then(|id| tokens.kinds.get_mut(id as usize)) {
            *kind = token_type::UNKNOWN;
        }
        Ok(tokens)
    }

    fn types(&self, is_pieces: bool) -> Vec<i32> {
        let types = self.names.iter().zip(&self.kinds).map(|(token, &kind)| {
            if is_pieces && kind == token_type::NORMAL && byte_token(token).is_some() {
                token_type::BYTE
            } else {
                kind
            }
        });
        types.collect()
    }

    /// The earlier a merge, the higher the score of the token that it makes.
    fn scores(&self, merges: &[(String, String)]) -> Vec<f32> {
        let mut ranks: HashMap<String, usize> = HashMap::new();
        for (rank, (left, right)) in merges.iter().enumerate() {
            ranks.entry(format!("{left}{right}")).or_insert(rank);
        }
        let scores = self.names.iter().zip(&self.kinds).map(|(token, &kind)| {
            if kind != token_type::NORMAL {
                return ADDED;
            }
            match ranks.get(token) {
                Some(&rank) => -(rank as f32),
                None if byte_token(token).is_some() || token.chars().count() == 1 => 0.0,
                None => NO_MERGE,
            }
        });
        scores.collect()
    }
}

/// Merges in the order of their rank: `"left right"`, or `["left", "right"]`.
fn merges(model: &Value) -> Result<Vec<(String, String)>, TextError> {
    let list = model["merges"].as_array().map_or(&[][..], Vec::as_slice);
    let merge = |merge: &Value| match merge {
        Value::String(text) => text
            .split_once(' ')
            .map(|(a, b)| (a.to_owned(), b.to_owned())),
        pair => Some((
            pair.get(0)?.as_str()?.to_owned(),
            pair.get(1)?.as_str()?.to_owned(),
        )),
    };
    list.iter()
        .map(|value| merge(value).ok_or_else(|| invalid(format!("merge {value} is no pair"))))
        .collect()
}

/// The split rule by its patterns.
fn split_rule(json: &Value) -> Result<PreTokenizer, TextError> {
    let pre = &json["pre_tokenizer"];
    let steps = match pre["pretokenizers"].as_array() {
        Some(steps) => steps.as_slice(),
        None => std::slice::from_ref(pre),
    };
    let mut patterns: Vec<&str> = steps
        .iter()
        .filter_map(|step| step["pattern"]["Regex"].as_str())
        .collect();
    // ByteLevel can bring GPT-2's pattern along.
    let is_gpt2 = steps
        .iter()
        .any(|step| step["type"] == "ByteLevel" && step["use_regex"] != Value::Bool(false));
    if is_gpt2 {
        patterns.push(PreTokenizer::Gpt2.patterns()[0]);
    }
    let ignores_merges = json["model"]["ignore_merges"] == Value::Bool(true);
    PreTokenizer::from_patterns(&patterns, ignores_merges).ok_or_else(|| {
        invalid("its way to cut text into words has no name in GGUF, so that other programs could not follow it")
    })
}

fn losses(json: &Value, is_pieces: bool) -> Vec<String> {
    let normalizer = json["normalizer"]["type"].as_str();
    match normalizer {
        Some(kind) if !is_pieces => vec![format!(
            "the {kind} normalisation of the tokenizer has no place in GGUF: texts that are not normalised already may get other tokens"
        )],
        _ => Vec::new(),
    }
}
