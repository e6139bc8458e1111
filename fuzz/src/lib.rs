//! Broken input for every parser of model files: whatever the bytes are, the answer is a value or an error.
//!
//! A [`Target`] puts the bytes in the place of one file of a small valid model and does with it what a user would: opens it,
//! and where it opens, asks it for tokens, a rendered chat and a few words; and converts it. Two programs feed it: the tests beside this file
//! replay the kept corpus and damage it a little, and `npm run fuzz` runs a coverage-guided fuzzer for as long as one likes.
#![forbid(unsafe_code)]

mod damage;
mod seeds;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use llm_convert::{ConvertError, ConvertOptions, OutputType, convert};
use llm_engine::{
    Engine, EngineConfig, EngineError, GenerateRequest, Message, Prompt, RenderOptions,
};

pub use damage::Damage;
pub use seeds::{corpus_folder, seeds};

/// The file beside which a configuration of kernels lies.
const TL1: &str = "tl1.gguf";

/// Where tile sizes are read from.
const KERNEL_CONFIG: &str = "kernel_config.ini";

/// The file that the bytes stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A GGUF file: header, metadata, tensors, vocabulary, template.
    Gguf,
    /// The same with weights in our own tiles.
    Tiles,
    /// `model.safetensors`.
    Safetensors,
    /// `model.safetensors.index.json`.
    Index,
    /// `config.json`.
    Config,
    /// `generation_config.json`.
    GenerationConfig,
    /// `tokenizer.json`.
    Tokenizer,
    /// `tokenizer.model`.
    SentencePiece,
    /// `tokenizer_config.json`.
    TokenizerConfig,
    /// `chat_template.jinja`.
    Template,
    /// `kernel_config.ini` beside a TL1 file.
    KernelConfig,
}

impl Target {
    /// Every target.
    pub const ALL: [Self; 11] = [
        Self::Gguf,
        Self::Tiles,
        Self::Safetensors,
        Self::Index,
        Self::Config,
        Self::GenerationConfig,
        Self::Tokenizer,
        Self::SentencePiece,
        Self::TokenizerConfig,
        Self::Template,
        Self::KernelConfig,
    ];

    /// The name that the command line takes, and that of the folder with its corpus.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gguf => "gguf",
            Self::Tiles => "tiles",
            Self::Safetensors => "safetensors",
            Self::Index => "index",
            Self::Config => "config",
            Self::GenerationConfig => "generation_config",
            Self::Tokenizer => "tokenizer",
            Self::SentencePiece => "sentencepiece",
            Self::TokenizerConfig => "tokenizer_config",
            Self::Template => "template",
            Self::KernelConfig => "kernel_config",
        }
    }

    /// The target of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.name() == name)
    }

    /// The file's name in a model folder.
    fn file(self) -> &'static str {
        match self {
            Self::Gguf | Self::Tiles => "model.gguf",
            Self::Safetensors => "model.safetensors",
            Self::Index => "model.safetensors.index.json",
            Self::Config => "config.json",
            Self::GenerationConfig => "generation_config.json",
            Self::Tokenizer => "tokenizer.json",
            Self::SentencePiece => "tokenizer.model",
            Self::TokenizerConfig => "tokenizer_config.json",
            Self::Template => "chat_template.jinja",
            Self::KernelConfig => KERNEL_CONFIG,
        }
    }
}

/// A folder with a small valid model, one of whose files is exchanged again and again.
#[derive(Debug)]
pub struct Fixture {
    target: Target,
    folder: tempfile::TempDir,
}

impl Fixture {
    /// Lays out the folder.
    ///
    /// # Errors
    /// When the system's folder for temporary files cannot be written, or the project's test data cannot be read.
    pub fn new(target: Target) -> std::io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let source = match target {
            Target::Gguf | Target::Tiles => None,
            Target::KernelConfig => {
                make_tl1(&folder.path().join(TL1))?;
                None
            }
            Target::Index => Some("idx_ok"),
            _ => Some("ok"),
        };
        if let Some(source) = source {
            copy_files(&seeds::malformed().join("dirs/ok"), folder.path())?;
            if source != "ok" {
                fs::remove_file(folder.path().join("model.safetensors"))?;
                copy_files(&seeds::malformed().join("dirs").join(source), folder.path())?;
            }
            if target == Target::SentencePiece {
                fs::remove_file(folder.path().join("tokenizer.json"))?;
            }
        }
        Ok(Self { target, folder })
    }

    /// Puts `bytes` in the place of the target's file and uses the model.
    ///
    /// # Errors
    /// What is wrong with the bytes: as good an end as any.
    ///
    /// # Panics
    /// That is what fuzzing looks for.
    pub fn run(&self, bytes: &[u8]) -> Result<(), EngineError> {
        let file = self.folder.path().join(self.target.file());
        fs::write(&file, bytes).expect("the folder for temporary files can be written");
        let place = match self.target {
            Target::Gguf | Target::Tiles => file,
            Target::KernelConfig => self.folder.path().join(TL1),
            _ => self.folder.path().to_path_buf(),
        };
        let used = use_model(&place);
        // Converting reads what loading does not; why it refuses, if it does, is no matter.
        let _refused = convert_model(&place, self.folder.path());
        used
    }
}

fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// A small TL1 file.
fn make_tl1(place: &Path) -> std::io::Result<()> {
    let options = ConvertOptions {
        to: Some(OutputType::Tl1),
        threads: Some(1),
        ..ConvertOptions::default()
    };
    let model = root().join("testdata/oracle/models/bitnet-2b4t");
    convert(&model, place, &options, &mut go_on)
        .map(drop)
        .map_err(std::io::Error::other)
}

/// Converts the model, a file to a folder and a folder to a file; nothing is kept.
fn convert_model(place: &Path, folder: &Path) -> Result<(), ConvertError> {
    let options = ConvertOptions {
        threads: Some(1),
        ..ConvertOptions::default()
    };
    let name = if place.is_dir() { "out.gguf" } else { "out" };
    // Beside the model, not in it.
    let output = folder.with_extension(name);
    let converted = convert(place, &output, &options, &mut go_on).map(drop);
    let _nothing_there = if output.is_dir() {
        fs::remove_dir_all(&output)
    } else {
        fs::remove_file(&output)
    };
    converted
}

fn go_on(_: &llm_convert::Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Opens the model and asks it for tokens, a rendered chat and two words.
fn use_model(place: &Path) -> Result<(), EngineError> {
    let config = EngineConfig {
        threads: Some(1),
        context_size: Some(64),
        ..EngineConfig::default()
    };
    let engine = Engine::open(place, &config, &mut |_| {})?;
    let ids = engine.tokenize("Hello, wörld 1!", true)?;
    let _text = engine.detokenize(&ids, false);
    let chat = [
        Message::new("system", "Be brief."),
        Message::new("user", "Hello"),
    ];
    // A template that refuses is no reason to leave the rest untried.
    let _prompt = engine.apply_chat_template(&chat, &RenderOptions::default());
    let request = GenerateRequest {
        max_tokens: Some(2),
        ..GenerateRequest::new(Prompt::Text {
            text: "Hello".to_owned(),
            raw: true,
        })
    };
    engine.generate(request)?.collect_blocking().map(drop)
}

/// Where the project lies.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
