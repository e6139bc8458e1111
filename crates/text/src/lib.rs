//! Strings to token ids and back.
//!
//! [`Tokenizer`] comes from a model folder's `tokenizer.json` or from a GGUF vocabulary ([`TokenizerSpec`]); both build a
//! pipeline of the `tokenizers` crate. [`DecodeStream`] turns ids into whole characters one token at a time,
//! [`StopMatcher`] cuts the text at stop strings, and [`ChatTemplate`] renders a conversation to a prompt.
//!
//! Model files are untrusted: a broken or hostile tokenizer or template gives a [`TextError`], never a panic, and a
//! template runs on a budget of time and memory.
#![forbid(unsafe_code)]

mod chat;
mod clean_up;
mod decode;
mod error;
mod guard;
mod stop;
mod tokenizer;

pub use chat::{
    BITNET_2B4T_TEMPLATE, ChatTemplate, Message, RenderOptions, gguf_template_override,
};
pub use decode::DecodeStream;
pub use error::TextError;
pub use stop::{StopMatcher, StopStep};
pub use tokenizer::{ConvertedVocabulary, END_OF_TURN_TOKENS, Tokenizer, TokenizerSpec};
