//! [`Tokenizer`]: the same interface over `tokenizer.json` and GGUF vocabularies.

mod folder;
mod gguf;
mod metadata;
mod pre_tokenizer;
mod sentencepiece;
mod sentencepiece_file;
mod spec_of_folder;
mod to_folder;

use std::path::Path;
use std::sync::Arc;

use tokenizers::AddedToken;

use crate::decode::{DecodeStream, Decoding};
use crate::error::TextError;
use crate::guard::catch;

pub(crate) use folder::{optional_json, read, token_content};
pub use gguf::TokenizerSpec;
pub use spec_of_folder::ConvertedVocabulary;

/// Tokens that end a turn of a conversation in the common chat formats, for models that do not name theirs.
pub const END_OF_TURN_TOKENS: [&str; 5] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
];

/// Turns text into token ids and back. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    vocabulary: Arc<Vocabulary>,
}

/// What encoding and decoding share.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    pub(crate) decoding: Decoding,
    /// The model folder asks for transformers' `clean_up_tokenization_spaces`.
    pub(crate) clean_up: bool,
    pipeline: tokenizers::Tokenizer,
    bos: Option<u32>,
    eos: Option<u32>,
}

impl Tokenizer {
    /// Reads `tokenizer.json`, or where there is none SentencePiece's `tokenizer.model`, and, where there, `tokenizer_config.json` and
    /// `special_tokens_map.json` from a model folder.
    ///
    /// # Errors
    /// [`TextError::Read`] and [`TextError::File`] name the file.
    pub fn from_folder(folder: &Path) -> Result<Self, TextError> {
        folder::load(folder).map(Self::new)
    }

    /// Builds the tokenizer of a GGUF vocabulary.
    ///
    /// # Errors
    /// [`TextError::Vocabulary`] names the metadata key.
    pub fn from_spec(spec: TokenizerSpec) -> Result<Self, TextError> {
        gguf::build(spec).map(Self::new)
    }

    fn new(vocabulary: Vocabulary) -> Self {
        Self {
            vocabulary: Arc::new(vocabulary),
        }
    }

    /// Token ids of `text`. Special tokens written out in the text become those tokens.
    ///
    /// `add_special`: put BOS, EOS or what else the model's own tokenizer adds around a prompt.
    ///
    /// # Errors
    /// [`TextError::Encode`] when the tokenizer's own rules fail on the text.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, TextError> {
        let encoding = catch(|| self.vocabulary.pipeline.encode_fast(text, add_special))
            .and_then(|result| result.map_err(|error| error.to_string()))
            .map_err(|reason| TextError::Encode { reason })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Text of `ids`; `skip_special` leaves out special tokens. Ids without a token give nothing.
    ///
    /// Bytes that are no UTF-8 become U+FFFD.
    #[must_use]
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        let mut stream = DecodeStream::new(Arc::clone(&self.vocabulary), skip_special);
        let mut text: String = ids.iter().filter_map(|&id| stream.step(id)).collect();
        text.extend(stream.finish());
        text
    }

    /// A decoder for ids that come one at a time; special tokens are left out.
    #[must_use]
    pub fn decode_stream(&self) -> DecodeStream {
        self.decode_stream_with(true)
    }

    /// As [`Self::decode_stream`], with the choice to show special tokens.
    #[must_use]
    pub fn decode_stream_with(&self, skip_special: bool) -> DecodeStream {
        DecodeStream::new(Arc::clone(&self.vocabulary), skip_special)
    }

    /// Number of tokens, those added to the base vocabulary included.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.vocabulary.pipeline.get_vocab_size(true)
    }

    /// The id of a token given by its exact vocabulary string.
    #[must_use]
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.vocabulary.pipeline.token_to_id(token)
    }

    /// The vocabulary string of an id (in byte-level vocabularies not yet text: `Ġthe`).
    #[must_use]
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.vocabulary.pipeline.id_to_token(id)
    }

    /// The bytes that an id adds to a text that has begun; special tokens as they are written. `None` for an id without a token, and
    /// for tokenizers that put spaces between tokens.
    #[must_use]
    pub fn token_bytes(&self, id: u32) -> Option<Vec<u8>> {
        self.vocabulary.decoding.bytes(self.vocabulary.token(id)?)
    }

    /// Beginning-of-sequence token.
    #[must_use]
    pub fn bos(&self) -> Option<u32> {
        self.vocabulary.bos
    }

    /// End-of-sequence token.
    #[must_use]
    pub fn eos(&self) -> Option<u32> {
        self.vocabulary.eos
    }

    /// Whether `id` is a special (control) token, which `skip_special` leaves out.
    #[must_use]
    pub fn is_special(&self, id: u32) -> bool {
        self.vocabulary
            .token(id)
            .is_some_and(|token| self.vocabulary.is_special_token(&token))
    }

    /// Ids of the [`END_OF_TURN_TOKENS`] that the vocabulary has as special tokens.
    #[must_use]
    pub fn end_of_turn_ids(&self) -> Vec<u32> {
        END_OF_TURN_TOKENS
            .iter()
            .filter_map(|token| self.token_to_id(token))
            .filter(|&id| self.is_special(id))
            .collect()
    }
}

impl Vocabulary {
    /// The string by which `id` takes part in decoding.
    pub(crate) fn token(&self, id: u32) -> Option<String> {
        self.pipeline
            .get_added_vocabulary()
            .simple_id_to_token(id)
            .or_else(|| self.pipeline.id_to_token(id))
    }

    pub(crate) fn is_special_token(&self, token: &str) -> bool {
        self.pipeline.get_added_vocabulary().is_special_token(token)
    }
}

/// A token that is found in the text as it stands, before normalisation.
fn literal_token(content: &str, special: bool) -> AddedToken {
    AddedToken::from(content, special).normalized(false)
}
