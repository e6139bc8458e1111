use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::clean_up::CleanUp;
use crate::error::TextError;
use crate::tokenizer::Vocabulary;

/// How token strings become text; the decoders of the `tokenizers` crate that language models use.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decoding {
    /// Every character of a token stands for a byte (GPT-2's alphabet).
    ByteLevel,
    /// SentencePiece tokens.
    Pieces(PieceDecoding),
    /// No decoder: tokens are joined with a space.
    Spaced,
}

/// Steps of a SentencePiece-style decoder, in this order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PieceDecoding {
    /// Applied within each token, one after the other: (from, to).
    replace: Vec<(String, String)>,
    /// Tokens `<0xNN>` are bytes. A run of them that is not UTF-8 shows as one U+FFFD a byte.
    byte_fallback: bool,
    /// How many of a character go at the start of the text (or of each token if tokens were not fused before).
    strip: Option<(char, usize)>,
    /// `strip` applies to the whole text.
    fused: bool,
    /// Metaspace: the marker of the first token vanishes instead of becoming a space.
    first_marker: Option<char>,
}

impl Decoding {
    /// Reads the `decoder` of a tokenizer.json.
    pub(crate) fn from_json(decoder: &Value) -> Result<Self, TextError> {
        if decoder.is_null() {
            return Ok(Self::Spaced);
        }
        let steps = match decoder["decoders"].as_array() {
            Some(steps) if kind(decoder) == "Sequence" => steps.as_slice(),
            _ => std::slice::from_ref(decoder),
        };
        if let [only] = steps
            && kind(only) == "ByteLevel"
        {
            return Ok(Self::ByteLevel);
        }
        let mut pieces = PieceDecoding::default();
        for step in steps {
            pieces.add_step(step)?;
        }
        Ok(Self::Pieces(pieces))
    }

    /// The bytes of one token within a text.
    pub(crate) fn bytes(&self, token: String) -> Option<Vec<u8>> {
        match self {
            // Added tokens may be outside the byte alphabet: such a token is its own text.
            Self::ByteLevel => Some(
                token
                    .chars()
                    .map(byte_of)
                    .collect::<Option<_>>()
                    .unwrap_or_else(|| token.into_bytes()),
            ),
            Self::Pieces(pieces) => {
                let token = pieces.replaced(token);
                let byte = byte_token(&token).filter(|_| pieces.byte_fallback);
                Some(byte.map_or_else(|| token.into_bytes(), |byte| vec![byte]))
            }
            Self::Spaced => None,
        }
    }

    /// The decoder of SentencePiece models: markers become spaces, and the one put before the text goes again.
    pub(crate) fn sentencepiece(marker: &str, space_prefix: bool) -> Self {
        Self::Pieces(PieceDecoding {
            replace: vec![(marker.to_owned(), " ".to_owned())],
            byte_fallback: true,
            strip: space_prefix.then_some((' ', 1)),
            fused: true,
            first_marker: None,
        })
    }
}

impl PieceDecoding {
    fn replaced(&self, token: String) -> String {
        self.replace
            .iter()
            .fold(token, |token, (from, to)| token.replace(from.as_str(), to))
    }

    fn add_step(&mut self, step: &Value) -> Result<(), TextError> {
        let supported = match kind(step) {
            "Replace" if !self.byte_fallback && !self.fused => {
                match (step["pattern"]["String"].as_str(), step["content"].as_str()) {
                    (Some(from), Some(to)) if !from.is_empty() => {
                        self.replace.push((from.to_owned(), to.to_owned()));
                        true
                    }
                    _ => false,
                }
            }
            "ByteFallback" if !self.fused => {
                self.byte_fallback = true;
                true
            }
            "Fuse" => {
                self.fused = true;
                true
            }
            "Strip" if self.fused && self.strip.is_none() && step["stop"].as_u64() == Some(0) => {
                match (single_char(&step["content"]), step["start"].as_u64()) {
                    (Some(content), Some(start)) => {
                        self.strip = Some((content, usize::try_from(start).unwrap_or(usize::MAX)));
                        true
                    }
                    _ => false,
                }
            }
            "Metaspace" if *self == Self::default() => {
                let Some(marker) = single_char(&step["replacement"]) else {
                    return Err(unsupported(step));
                };
                if step["prepend_scheme"].as_str() != Some("never") {
                    self.first_marker = Some(marker);
                }
                self.replace.push((marker.to_string(), " ".to_owned()));
                true
            }
            _ => false,
        };
        if supported {
            Ok(())
        } else {
            Err(unsupported(step))
        }
    }
}

/// Decodes ids one at a time; the pieces joined are exactly [`crate::Tokenizer::decode`] of all ids.
///
/// A step gives text as soon as nothing that follows can change it: bytes of an unfinished character are withheld, and so
/// is a run of `<0xNN>` byte tokens (SentencePiece), whose meaning is settled by the first other token. With
/// `clean_up_tokenization_spaces` a trailing space waits too. Work per token does not depend on how many came before.
#[derive(Clone, Debug)]
pub struct DecodeStream {
    vocabulary: Arc<Vocabulary>,
    skip_special: bool,
    state: State,
    clean_up: Option<CleanUp>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Bytes that do not form text yet.
    bytes: Vec<u8>,
    /// A token went by (special tokens that are skipped do not count).
    started: bool,
    /// Characters stripped from the start so far; `None` once the start is over.
    stripped: Option<usize>,
}

impl DecodeStream {
    pub(crate) fn new(vocabulary: Arc<Vocabulary>, skip_special: bool) -> Self {
        let clean_up = vocabulary.clean_up.then(CleanUp::new);
        Self {
            vocabulary,
            skip_special,
            state: State {
                stripped: Some(0),
                ..State::default()
            },
            clean_up,
        }
    }

    /// The text of one token within a text, special or not; bytes that are no text by themselves become U+FFFD.
    #[must_use]
    pub fn token_text(&self, id: u32) -> String {
        let token = self.vocabulary.token(id).unwrap_or_default();
        match self.vocabulary.decoding.bytes(token.clone()) {
            Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            None => token,
        }
    }

    /// Leaves spaces as the tokens have them, whatever `clean_up_tokenization_spaces` says.
    #[must_use]
    pub fn keep_spaces(self) -> Self {
        Self {
            clean_up: None,
            ..self
        }
    }

    /// Takes the next id; gives the text that is settled by it, if any. Ids without a token are skipped.
    pub fn step(&mut self, id: u32) -> Option<String> {
        let token = self.vocabulary.token(id)?;
        if self.skip_special && self.vocabulary.is_special_token(&token) {
            return None;
        }
        let mut text = match &self.vocabulary.decoding {
            Decoding::ByteLevel => self.state.push_byte_level(&token),
            Decoding::Pieces(pieces) => self.state.push_piece(pieces, token),
            Decoding::Spaced if self.state.started => format!(" {token}"),
            Decoding::Spaced => token,
        };
        self.state.started = true;
        if let Some(clean_up) = &mut self.clean_up {
            text = clean_up.push(&text);
        }
        (!text.is_empty()).then_some(text)
    }

    /// The end of the ids: gives what was withheld, with U+FFFD for bytes that are no text.
    pub fn finish(&mut self) -> Option<String> {
        let mut text = match &self.vocabulary.decoding {
            Decoding::ByteLevel => {
                let bytes = std::mem::take(&mut self.state.bytes);
                String::from_utf8_lossy(&bytes).into_owned()
            }
            Decoding::Pieces(pieces) => {
                let run = self.state.end_byte_run();
                self.state.strip(pieces, run)
            }
            Decoding::Spaced => String::new(),
        };
        if let Some(clean_up) = &mut self.clean_up {
            text = clean_up.push(&text) + &clean_up.finish();
        }
        (!text.is_empty()).then_some(text)
    }
}

impl State {
    fn push_byte_level(&mut self, token: &str) -> String {
        let start = self.bytes.len();
        for character in token.chars() {
            match byte_of(character) {
                Some(byte) => self.bytes.push(byte),
                None => {
                    // Added tokens may be outside the byte alphabet: such a token is its own text.
                    self.bytes.truncate(start);
                    self.bytes.extend_from_slice(token.as_bytes());
                    break;
                }
            }
        }
        self.take_whole_characters()
    }

    /// Takes from `bytes` all that is settled; invalid sequences become U+FFFD as in `String::from_utf8_lossy`.
    fn take_whole_characters(&mut self) -> String {
        let mut unfinished = 0;
        for chunk in self.bytes.utf8_chunks() {
            // Only the last chunk can be a character cut short: any other invalid bytes have a successor.
            unfinished = chunk.invalid().len();
            if !is_character_start(chunk.invalid()) {
                unfinished = 0;
            }
        }
        let tail = self.bytes.split_off(self.bytes.len() - unfinished);
        let settled = std::mem::replace(&mut self.bytes, tail);
        String::from_utf8_lossy(&settled).into_owned()
    }

    fn push_piece(&mut self, pieces: &PieceDecoding, mut token: String) -> String {
        if !self.started
            && let Some(marker) = pieces.first_marker
        {
            token = token.replace(marker, "");
        }
        token = pieces.replaced(token);
        if pieces.byte_fallback
            && let Some(byte) = byte_token(&token)
        {
            self.bytes.push(byte);
            return String::new();
        }
        let text = self.end_byte_run() + &token;
        self.strip(pieces, text)
    }

    fn end_byte_run(&mut self) -> String {
        let bytes = std::mem::take(&mut self.bytes);
        String::from_utf8(bytes).unwrap_or_else(|error| {
            char::REPLACEMENT_CHARACTER
                .to_string()
                .repeat(error.as_bytes().len())
        })
    }

    /// Removes the leading characters that the decoder strips from the whole text.
    fn strip(&mut self, pieces: &PieceDecoding, text: String) -> String {
        let (Some((content, limit)), Some(done)) = (pieces.strip, self.stripped) else {
            return text;
        };
        let count = text
            .chars()
            .take(limit - done)
            .take_while(|&character| character == content)
            .count();
        let rest = &text[count * content.len_utf8()..];
        let over = !rest.is_empty() || done + count >= limit;
        self.stripped = (!over).then_some(done + count);
        rest.to_owned()
    }
}

/// Whether `bytes` (the invalid part of a chunk, at the end of the data) may become a character with more bytes.
fn is_character_start(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// The byte of a SentencePiece byte token `<0xNN>`.
pub(crate) fn byte_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (token.len() == 6)
        .then(|| u8::from_str_radix(digits, 16).ok())
        .flatten()
}

/// The byte for which a character stands in GPT-2's byte-level alphabet.
///
/// Printable Latin-1 characters stand for themselves; the other 68 bytes are, in order, U+0100 and up.
fn byte_of(character: char) -> Option<u8> {
    static SHIFTED: LazyLock<Vec<u8>> = LazyLock::new(|| {
        (0..=u8::MAX)
            .filter(|&byte| !stands_for_itself(byte))
            .collect()
    });
    let code = u32::from(character);
    match u8::try_from(code) {
        Ok(byte) => stands_for_itself(byte).then_some(byte),
        Err(_) => SHIFTED.get(usize::try_from(code - 0x100).ok()?).copied(),
    }
}

fn stands_for_itself(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

fn kind(decoder: &Value) -> &str {
    decoder["type"].as_str().unwrap_or_default()
}

fn single_char(value: &Value) -> Option<char> {
    let mut characters = value.as_str()?.chars();
    let first = characters.next()?;
    characters.next().is_none().then_some(first)
}

fn unsupported(step: &Value) -> TextError {
    TextError::File {
        file: "tokenizer.json",
        reason: format!("decoder step {step} is not supported here"),
    }
}
