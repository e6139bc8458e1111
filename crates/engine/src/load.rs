//! From a path to a model and its vocabulary.

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use llm_format::{FormatError, Gguf, HfFolder, KernelShape, ModelFile, read_kernel_config};
use llm_kernels::{Compute, Isa, Kernels};
use llm_model::{LoadOptions, Model};
use llm_text::{ChatTemplate, Tokenizer, TokenizerSpec, gguf_template_override};
use serde_json::Value;

use crate::config::{self, EngineConfig};
use crate::error::EngineError;
use crate::i2s_layout::load_in_order;
use crate::sampling::SamplingOptions;
use crate::threads::default_threads;
use crate::vocabulary::{Vocabulary, token_ids};

/// How far loading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadProgress {
    /// What is being done.
    pub phase: LoadPhase,
    /// Bytes done in this phase.
    pub done: u64,
    /// Bytes of this phase.
    pub total: u64,
}

/// The parts of loading, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadPhase {
    /// Mapping the files and checking what they say about themselves.
    Open,
    /// Packing the weights.
    Weights,
    /// Tokenizer and chat template.
    Tokenizer,
    /// Done.
    Ready,
}

impl LoadPhase {
    /// `open`, `weights`, `tokenizer` or `ready`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Weights => "weights",
            Self::Tokenizer => "tokenizer",
            Self::Ready => "ready",
        }
    }
}

/// What an engine is made of.
pub(crate) struct Loaded {
    pub(crate) model: Arc<dyn Model>,
    pub(crate) vocabulary: Vocabulary,
    /// The model's own advice on sampling.
    pub(crate) recommended: SamplingOptions,
    /// Bytes of the mapped files.
    pub(crate) mapped_bytes: u64,
    /// What passes are timed with.
    pub(crate) clock: Clock,
}

/// Time since some moment.
pub(crate) type Clock = Box<dyn Fn() -> Duration + Send>;

/// The machine's clock.
fn clock() -> Clock {
    let start = Instant::now();
    Box::new(move || start.elapsed())
}

/// The kernels and threads that `config` asks for.
pub(crate) fn compute(config: &EngineConfig) -> Result<Compute, EngineError> {
    let threads = config
        .threads
        .map_or_else(|| Ok(default_threads()), config::validate_threads)?;
    let kernels = match config.isa {
        None => Kernels::detect(),
        Some(isa) => Kernels::for_isa(isa).ok_or_else(|| EngineError::IsaUnavailable {
            isa: isa.name().to_owned(),
            available: Isa::available()
                .into_iter()
                .map(Isa::name)
                .collect::<Vec<_>>()
                .join(", "),
        })?,
    };
    Ok(Compute::new(kernels, threads)?)
}

/// Opens the model at `path` and reads it, if its weights take no more than `config.max_bytes` of memory.
pub(crate) fn load(
    path: &Path,
    compute: &Compute,
    config: &EngineConfig,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<Loaded, EngineError> {
    let mut report = |phase, done, total| progress(LoadProgress { phase, done, total });
    report(LoadPhase::Open, 0, 0);
    let file = llm_format::open(path)?;
    let needed = llm_model::resident_bound(&file, compute.kernels());
    if let Some(limit) = config.max_bytes.filter(|&limit| needed > limit) {
        return Err(EngineError::OverBudget { needed, limit });
    }
    let mapped_bytes = file.file_len();
    report(LoadPhase::Open, mapped_bytes, mapped_bytes);
    let kernel_shapes = kernel_shapes(path, config)?;
    // A large vocabulary takes as long to read as the weights to pack, so both are done at once.
    let (model, vocabulary) = thread::scope(|scope| {
        let reader = thread::Builder::new().spawn_scoped(scope, || read_vocabulary(&file));
        let tokenizer = || Ok(read_vocabulary(&file)?.tokenizer().clone());
        let model = load_in_order(config.i2s_layout, &file, compute, tokenizer, |i2s_order| {
            let options = LoadOptions {
                head: config.head,
                i2s_order,
                kernel_shapes: kernel_shapes.clone(),
            };
            let mut report = |done, total| report(LoadPhase::Weights, done as u64, total as u64);
            Ok(llm_model::load(&file, compute, &options, &mut report)?)
        });
        // Where no thread is to be had, one comes after the other.
        (
            model,
            reader.map_or_else(|_| Ok(read_vocabulary(&file)), ScopedJoinHandle::join),
        )
    });
    let model: Arc<dyn Model> = model?.into();
    report(LoadPhase::Tokenizer, 0, 1);
    let vocabulary = vocabulary.map_err(|_| EngineError::Internal {
        what: "reading the tokenizer panicked".to_owned(),
    })??;
    report(LoadPhase::Tokenizer, 1, 1);
    let recommended = match &file {
        ModelFile::Folder(folder) => folder
            .generation_config()
            .map(SamplingOptions::from_generation_config)
            .unwrap_or_default(),
        ModelFile::Gguf(gguf) => SamplingOptions::from_metadata(gguf.metadata()),
    };
    report(LoadPhase::Ready, mapped_bytes, mapped_bytes);
    Ok(Loaded {
        model,
        vocabulary,
        recommended,
        mapped_bytes,
        clock: clock(),
    })
}

/// Tile sizes of lookup kernels: from the file that `config` names, else from the `kernel_config.ini` beside the model.
fn kernel_shapes(path: &Path, config: &EngineConfig) -> Result<Vec<KernelShape>, FormatError> {
    const NAME: &str = "kernel_config.ini";
    let beside = if path.is_dir() {
        path.join(NAME)
    } else {
        path.with_file_name(NAME)
    };
    match &config.kernel_config {
        Some(given) => read_kernel_config(given),
        None if beside.is_file() => read_kernel_config(&beside),
        None => Ok(Vec::new()),
    }
}

fn read_vocabulary(file: &ModelFile) -> Result<Vocabulary, EngineError> {
    match file {
        ModelFile::Folder(folder) => folder_vocabulary(folder),
        ModelFile::Gguf(gguf) => gguf_vocabulary(gguf),
    }
}

fn folder_vocabulary(folder: &HfFolder) -> Result<Vocabulary, EngineError> {
    let tokenizer = Tokenizer::from_folder(folder.path())?;
    let template = ChatTemplate::from_folder(folder.path()).transpose();
    let of =
        |config: Option<&Value>| token_ids(config.and_then(|config| config.get("eos_token_id")));
    let end_tokens = [of(Some(folder.config())), of(folder.generation_config())].concat();
    Ok(Vocabulary::new(tokenizer, template, end_tokens))
}

fn gguf_vocabulary(gguf: &Gguf) -> Result<Vocabulary, EngineError> {
    let metadata = gguf.metadata();
    let tokenizer = Tokenizer::from_spec(TokenizerSpec::from_metadata(metadata)?)?;
    let token = |id: Option<u32>| id.and_then(|id| tokenizer.id_to_token(id));
    let template = metadata.str("tokenizer.chat_template")?.map(|source| {
        let source = gguf_template_override(source).unwrap_or(source);
        ChatTemplate::new(source, token(tokenizer.bos()), token(tokenizer.eos()))
    });
    let end_of_turn = token_id(gguf, "tokenizer.ggml.eot_token_id")?;
    Ok(Vocabulary::new(tokenizer, template, end_of_turn))
}

/// A token id of the metadata; none when it is beyond 32 bits, as such a token cannot be.
fn token_id(gguf: &Gguf, key: &str) -> Result<Option<u32>, FormatError> {
    Ok(gguf
        .metadata()
        .u64(key)?
        .and_then(|id| u32::try_from(id).ok()))
}
