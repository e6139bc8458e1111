//! Tests of the crate's public interface.

mod folder;
mod gguf;
mod goldens;
mod hostile_templates;
mod malformed;
mod sentencepiece;
mod streaming;
mod support;
mod templates;
