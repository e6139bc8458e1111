//! A GGUF vocabulary as `tokenizer.json`.

use serde_json::{Value, json};
use tokenizers::DecoderWrapper;

use super::gguf::{SPACE_MARKER, TOKENS};
use super::{TokenizerSpec, gguf};
use crate::error::TextError;

impl TokenizerSpec {
    /// The text of the `tokenizer.json` that encodes and decodes as this vocabulary does.
    ///
    /// # Errors
    /// [`TextError::Vocabulary`] names the metadata key.
    pub fn to_tokenizer_json(&self) -> Result<String, TextError> {
        let refused = |reason: String| TextError::vocabulary(TOKENS, reason);
        let is_pieces = self.model == "llama";
        let strips_first_space = self.add_space_prefix.unwrap_or(true);
        let mut pipeline = gguf::build(self.clone())?.pipeline;
        let decoder =
            serde_json::from_value::<DecoderWrapper>(decoder(is_pieces, strips_first_space))
                .map_err(|error| refused(error.to_string()))?;
        pipeline.with_decoder(Some(decoder));
        pipeline
            .to_string(false)
            .map_err(|error| refused(error.to_string()))
    }
}

fn decoder(is_pieces: bool, strips_first_space: bool) -> Value {
    if !is_pieces {
        return json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true });
    }
    let mut steps = vec![
        json!({ "type": "Replace", "pattern": { "String": SPACE_MARKER }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if strips_first_space {
        steps.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    json!({ "type": "Sequence", "decoders": steps })
}
