//! `tokenizer.model`: SentencePiece's own file, a protobuf message `ModelProto` (`sentencepiece_model.proto`).
//!
//! Byte-pair models are read, as those of Llama, Gemma and the first BitNet models are. What a fast tokenizer cannot say (a table of
//! normalisation, unigram models) is refused.

use serde_json::Value;

use super::gguf::token_type;
use super::{TokenizerSpec, token_content};
use crate::error::TextError;

pub(super) const SENTENCEPIECE: &str = "tokenizer.model";

/// `TrainerSpec.model_type` of byte-pair models; 1, unigram, where it is not given.
const BPE: u64 = 2;

/// The vocabulary of the file's `bytes`, with what `tokenizer_config.json` and `added_tokens.json` say of it.
pub(super) fn read(
    bytes: &[u8],
    config: &Value,
    added: &Value,
) -> Result<TokenizerSpec, TextError> {
    let mut model = Model::default();
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Bytes(piece)) => model.add_piece(piece)?,
            (2, Wire::Bytes(trainer)) => model.read_trainer(trainer)?,
            (3, Wire::Bytes(normalizer)) => model.read_normalizer(normalizer)?,
            _ => {}
        }
    }
    if model.model_type != Some(BPE) {
        return Err(refused(
            "it is no byte-pair model; save the tokenizer with transformers, which writes a tokenizer.json",
        ));
    }
    if model.normalizes {
        return Err(refused(
            "it normalises texts; save the tokenizer with transformers, which writes a tokenizer.json",
        ));
    }
    model.add_tokens(config, added)?;
    let flag = |key: &str| config[key].as_bool();
    let count = model.tokens.len();
    let id = |id: i64| u32::try_from(id).ok().filter(|&id| (id as usize) < count);
    Ok(TokenizerSpec {
        model: "llama".to_owned(),
        bos: id(model.bos),
        eos: id(model.eos),
        unknown: id(model.unknown),
        add_bos: Some(flag("add_bos_token").unwrap_or(true)),
        add_eos: Some(flag("add_eos_token").unwrap_or(false)),
        add_space_prefix: Some(model.adds_space),
        tokens: model.tokens,
        scores: Some(model.scores),
        token_types: Some(model.types),
        ..TokenizerSpec::default()
    })
}

/// What is read of the message; its defaults are those of the format.
struct Model {
    tokens: Vec<String>,
    scores: Vec<f32>,
    types: Vec<i32>,
    model_type: Option<u64>,
    unknown: i64,
    bos: i64,
    eos: i64,
    adds_space: bool,
    normalizes: bool,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            tokens: Vec::new(),
            scores: Vec::new(),
            types: Vec::new(),
            model_type: None,
            unknown: 0,
            bos: 1,
            eos: 2,
            adds_space: true,
            normalizes: false,
        }
    }
}

impl Model {
    fn add_piece(&mut self, message: &[u8]) -> Result<(), TextError> {
        let (mut text, mut score, mut kind) = ("", 0.0, token_type::NORMAL);
        for field in Fields(message) {
            match field? {
                (1, Wire::Bytes(bytes)) => {
                    text = std::str::from_utf8(bytes)
                        .map_err(|_| refused("a piece is no UTF-8 text"))?;
                }
                (2, Wire::Fixed32(bits)) => score = f32::from_bits(bits),
                (3, Wire::Varint(value)) => {
                    kind = i32::try_from(value)
                        .ok()
                        .filter(|kind| (token_type::NORMAL..=token_type::BYTE).contains(kind))
                        .ok_or_else(|| refused(format!("a piece is of the kind {value}")))?;
                }
                _ => {}
            }
        }
        self.push(text, score, kind);
        Ok(())
    }

    fn push(&mut self, text: &str, score: f32, kind: i32) {
        self.tokens.push(text.to_owned());
        self.scores.push(score);
        self.types.push(kind);
    }

    fn read_trainer(&mut self, message: &[u8]) -> Result<(), TextError> {
        for field in Fields(message) {
            if let (number, Wire::Varint(value)) = field? {
                match number {
                    3 => self.model_type = Some(value),
                    // Negative ids, of tokens that are not there, are 64 bits in two's complement.
                    40 => self.unknown = value.cast_signed(),
                    41 => self.bos = value.cast_signed(),
                    42 => self.eos = value.cast_signed(),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn read_normalizer(&mut self, message: &[u8]) -> Result<(), TextError> {
        // Both are on where nothing is said of them.
        let (mut removes_spaces, mut escapes_spaces, mut has_table) = (true, true, false);
        for field in Fields(message) {
            match field? {
                (2, Wire::Bytes(table)) => has_table = !table.is_empty(),
                (3, Wire::Varint(value)) => self.adds_space = value != 0,
                (4, Wire::Varint(value)) => removes_spaces = value != 0,
                (5, Wire::Varint(value)) => escapes_spaces = value != 0,
                _ => {}
            }
        }
        self.normalizes = has_table || removes_spaces || !escapes_spaces;
        Ok(())
    }

    /// Tokens that were added after training: they have the next ids, and an id that is there says what kind it is.
    fn add_tokens(&mut self, config: &Value, added: &Value) -> Result<(), TextError> {
        let named = |text: &str| {
            ["bos_token", "eos_token", "unk_token", "pad_token"]
                .iter()
                .any(|key| token_content(&config[*key]) == Some(text))
        };
        let of_config = config["added_tokens_decoder"]
            .as_object()
            .into_iter()
            .flatten();
        let mut tokens: Vec<(usize, &str, bool)> = of_config
            .filter_map(|(id, token)| {
                let special = token["special"] == Value::Bool(true);
                Some((id.parse().ok()?, token_content(token)?, special))
            })
            .collect();
        let of_file = added.as_object().into_iter().flatten();
        tokens.extend(of_file.filter_map(|(text, id)| {
            let id = usize::try_from(id.as_u64()?).ok()?;
            Some((id, text.as_str(), named(text)))
        }));
        // Of an id that both name, the configuration says more.
        tokens.sort_by_key(|&(id, ..)| id);
        tokens.dedup_by_key(|&mut (id, ..)| id);
        for (id, text, special) in tokens {
            let kind = if special {
                token_type::CONTROL
            } else {
                token_type::USER_DEFINED
            };
            match id.checked_sub(self.tokens.len()) {
                Some(0) => self.push(text, 0.0, kind),
                Some(_) => {
                    return Err(refused(format!(
                        "the added token {text:?} has the id {id}, but there are {} tokens before it",
                        self.tokens.len()
                    )));
                }
                None if self.types[id] == token_type::NORMAL => self.types[id] = kind,
                None => {}
            }
        }
        Ok(())
    }
}

/// A field's value, by its wire type.
enum Wire<'a> {
    Varint(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
    /// 64 bits, which nothing here has.
    Skipped,
}

/// The fields of a message, by number.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    /// A number in groups of seven bits, the low ones first.
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn field(&mut self) -> Option<(u64, Wire<'a>)> {
        let key = self.varint()?;
        let wire = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => self.take(8).map(|_| Wire::Skipped)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(*self.take(4)?.first_chunk()?)),
            _ => return None,
        };
        Some((key >> 3, wire))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Wire<'a>), TextError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| refused("it is no SentencePiece model, or damaged")))
    }
}

fn refused(reason: impl Into<String>) -> TextError {
    TextError::File {
        file: SENTENCEPIECE,
        reason: reason.into(),
    }
}
