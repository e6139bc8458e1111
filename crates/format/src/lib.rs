//! Model files: bytes in, validated views out; and tables and bytes out again.
//!
//! [`open`] takes a path and returns a [`ModelFile`]: a GGUF file, or a Hugging Face folder with
//! `config.json` and safetensors weights. Everything a file claims about itself (counts, lengths,
//! offsets, shapes, types) is checked before a value is handed out, so every [`Tensor`] lies inside
//! its file and has exactly as many bytes as its type and shape need. Weights are mapped, never
//! copied; nothing here knows what a tensor means.
//!
//! ```no_run
//! # fn main() -> Result<(), llm_format::FormatError> {
//! let file = llm_format::open("ggml-model-i2_s.gguf".as_ref())?;
//! if let Some(embedding) = file.tensor("token_embd.weight") {
//!     println!("{} {:?}", embedding.dtype, embedding.shape);
//! }
//! # Ok(())
//! # }
//! ```

#![deny(unsafe_code)]

mod dtype;
mod error;
mod files;
mod gguf;
mod hf_folder;
mod kernel_config;
#[cfg_attr(
    not(target_family = "wasm"),
    expect(
        unsafe_code,
        reason = "mapping a file and advising on it are unsafe calls"
    )
)]
mod mmap;
mod model_file;
mod reader;
mod safetensors;
mod shards;
mod tensor;
mod write;

pub use dtype::Dtype;
pub use error::{FormatError, GgufError, SafetensorsError, ShardError};
pub use gguf::{Array, Gguf, Metadata, Value};
pub use hf_folder::HfFolder;
pub use kernel_config::{KernelShape, read_kernel_config};
pub use model_file::{ModelFile, open};
pub use tensor::{Bytes, Tensor};
pub use write::{GgufWriter, SafetensorsWriter, TensorPlan, WriteError};
