//! What can be wrong with a model file. Messages name the file, the part and the finding, and never
//! quote a file's contents beyond shortened names, so that a link to a private file tells nothing.

mod gguf;
mod safetensors;

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

pub use gguf::GgufError;
pub use safetensors::{SafetensorsError, ShardError};

/// Why a model file or folder could not be opened or asked.
#[derive(Debug, Error)]
pub enum FormatError {
    /// Nothing lies at the path.
    #[error("`{path}` not found: no such file or folder")]
    NotFound {
        /// The path asked for.
        path: PathBuf,
    },
    /// The operating system refused to open, read or map a file.
    #[error("cannot read `{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something else lies where a regular file is needed.
    #[error("`{path}` is {found}, not a regular file")]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What lies there: "a directory", "a named pipe", ...
        found: &'static str,
    },
    /// A kernel configuration does not say what it should.
    #[error("`{path}` is no kernel configuration: {problem}")]
    KernelConfig {
        /// The file.
        path: PathBuf,
        /// What is missing.
        problem: String,
    },
    /// A file that is read whole is larger than any sensible one.
    #[error("`{path}` is too large: {actual} bytes, the limit is {limit}")]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        actual: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A file is neither of the known formats.
    #[error(
        "`{path}` is not a model file: it has no GGUF magic and its name does not end in .safetensors"
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// A folder holds neither `config.json` nor a GGUF file.
    #[error(
        "no model in `{path}`: config.json is missing (a folder needs config.json and .safetensors \
         weights, or one .gguf file)"
    )]
    NoModel {
        /// The folder.
        path: PathBuf,
    },
    /// A folder holds several GGUF files, so one must be named.
    #[error("`{path}` holds several models, name one of them: {}", .names.join(", "))]
    SeveralGguf {
        /// The folder.
        path: PathBuf,
        /// File names, sorted.
        names: Vec<String>,
    },
    /// A folder with `config.json` has no weights that can be read.
    #[error(
        "no weights in `{path}`: neither model.safetensors nor model.safetensors.index.json was found"
    )]
    NoWeights {
        /// The folder.
        path: PathBuf,
    },
    /// The weights are PyTorch pickles, which are programs.
    #[error(
        "the weights in `{path}` are PyTorch files (`{name}`), which run code as they are read, so they are refused: take the model's \
         safetensors files, or save it anew with `model.save_pretrained(folder, safe_serialization=True)`"
    )]
    PickledWeights {
        /// The folder.
        path: PathBuf,
        /// The first of them.
        name: String,
    },
    /// A JSON file does not parse.
    #[error("`{path}` is not valid JSON: {problem}")]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's finding with line and column; it quotes nothing.
        problem: String,
    },
    /// A JSON file parses, but is not an object.
    #[error("`{path}` is invalid: expected a JSON object, found {found}")]
    JsonNotObject {
        /// The file.
        path: PathBuf,
        /// The JSON type found.
        found: &'static str,
    },
    /// A text file is not UTF-8.
    #[error("`{path}` is not UTF-8 text")]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// A GGUF file is broken or uses what is not supported.
    #[error("`{path}`: {problem}")]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong inside.
        problem: GgufError,
    },
    /// A safetensors file is broken or uses what is not supported.
    #[error("`{path}`: {problem}")]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong inside.
        problem: SafetensorsError,
    },
    /// `model.safetensors.index.json` and the shards do not fit together.
    #[error("`{path}`: {problem}")]
    Shards {
        /// The index file.
        path: PathBuf,
        /// What is wrong.
        problem: ShardError,
    },
    /// A metadata value was asked for as a type that it does not have.
    #[error("metadata key `{key}` has the wrong type: expected {expected}, found {found}")]
    MetadataType {
        /// The key.
        key: String,
        /// The type asked for.
        expected: &'static str,
        /// The type in the file.
        found: &'static str,
    },
}

/// A name from a file as messages show it: in back-ticks, control characters escaped, shortened.
struct Shown<'a>(&'a str);

/// Most characters of a name that a message shows.
const MAX_SHOWN: usize = 80;

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut characters = self.0.chars();
        f.write_str("`")?;
        for character in characters.by_ref().take(MAX_SHOWN) {
            write!(f, "{}", character.escape_debug())?;
        }
        if characters.next().is_some() {
            f.write_str("...")?;
        }
        f.write_str("`")
    }
}

/// A shape as messages show it: a broken header may list millions of dimensions.
struct ShownShape<'a>(&'a [usize]);

/// Most dimensions of a shape that a message shows.
const MAX_SHOWN_DIMS: usize = 8;

impl fmt::Display for ShownShape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self
            .0
            .iter()
            .take(MAX_SHOWN_DIMS)
            .map(usize::to_string)
            .collect();
        let rest = if self.0.len() > MAX_SHOWN_DIMS {
            ", ..."
        } else {
            ""
        };
        write!(f, "[{}{rest}]", shown.join(", "))
    }
}
