//! Model files into other model files.
//!
//! [`convert`] reads a GGUF file or a Hugging Face folder through [`llm_model::Blueprint`], weight by weight, and writes the other
//! kind, or the same with other weight types. Nothing is lost on the way: a model gives the same logits, bit for bit, before and
//! after, and what a format has no place for is told ([`Converted::losses`]). An interrupted conversion leaves nothing behind.
//!
//! [`inspect`] tells what a model file holds without loading it, [`compare`] whether two hold the same.
#![forbid(unsafe_code)]

mod dense;
mod error;
mod folder;
mod gguf;
mod inspect;
mod options;
mod output;
mod plan;
mod run;
mod sampling;
mod stored;
mod tiles;
mod tokenizer;
mod verify;

pub use error::ConvertError;
pub use inspect::{Inspection, Memory, Shape, TensorInfo, TokenizerInfo, inspect};
pub use llm_model::I2sOrder;
pub use options::{ConvertOptions, OutputType, embedding_type};
pub use run::{Converted, Progress, VERSION, convert};
pub use stored::is_stored_as;
pub use verify::{Comparison, Difference, Side, compare};
