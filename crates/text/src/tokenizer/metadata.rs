//! The tokenizer keys of GGUF metadata.

use llm_format::Metadata;

use super::TokenizerSpec;
use super::gguf::{BOS, EOS, MERGES, MODEL, SCORES, TOKEN_TYPE, TOKENS, UNKNOWN};
use crate::error::TextError;

impl TokenizerSpec {
    /// The vocabulary of a GGUF file.
    ///
    /// # Errors
    /// [`TextError::Vocabulary`] without a model or tokens, [`TextError::Metadata`] for values of other types.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, TextError> {
        let text = |key| metadata.str(key).map(|value| value.map(str::to_owned));
        let strings = |key| {
            metadata
                .strings(key)
                .map(|value| value.map(<[String]>::to_vec))
        };
        let missing = |key| TextError::vocabulary(key, "missing: the file has no tokenizer");
        Ok(Self {
            model: text(MODEL)?.ok_or_else(|| missing(MODEL))?,
            pre: text("tokenizer.ggml.pre")?,
            tokens: strings(TOKENS)?.ok_or_else(|| missing(TOKENS))?,
            scores: metadata.f32s(SCORES)?.map(<[f32]>::to_vec),
            token_types: metadata.i32s(TOKEN_TYPE)?.map(<[i32]>::to_vec),
            merges: strings(MERGES)?,
            bos: token_id(metadata, BOS)?,
            eos: token_id(metadata, EOS)?,
            unknown: token_id(metadata, UNKNOWN)?,
            add_bos: metadata.bool("tokenizer.ggml.add_bos_token")?,
            add_eos: metadata.bool("tokenizer.ggml.add_eos_token")?,
            add_space_prefix: metadata.bool("tokenizer.ggml.add_space_prefix")?,
        })
    }
}

/// A token id of the metadata; none when it is beyond 32 bits, as such a token cannot be.
fn token_id(metadata: &Metadata, key: &str) -> Result<Option<u32>, TextError> {
    Ok(metadata.u64(key)?.and_then(|id| u32::try_from(id).ok()))
}
