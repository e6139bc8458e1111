//! What a model file holds, without loading it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use llm_format::{HfFolder, ModelFile, Tensor};
use llm_kernels::{Isa, KernelError, Kernels};
use llm_model::{Blueprint, ModelConfig, ProjectionKind, Role, resident_bound};
use llm_text::TokenizerSpec;
use serde::Serialize;
use serde_json::Value;

use crate::error::ConvertError;

/// What is known of a model file. Its JSON has the same names in camel case; what is `None` is left out.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// File or folder.
    pub path: PathBuf,
    /// `gguf` or `huggingface`.
    pub format: &'static str,
    /// As the file names it; empty where it does not.
    pub architecture: String,
    /// Why the engine cannot load it, if it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Sizes, where the architecture is known.
    #[serde(flatten)]
    pub shape: Option<Shape>,
    /// Weights in all tensors.
    pub parameters: u64,
    /// Those that are ternary.
    pub ternary_parameters: u64,
    /// Bytes of all tensors.
    pub bytes: u64,
    /// Bits that a weight takes, over all.
    pub bits_per_weight: f64,
    /// Bits that a ternary weight takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ternary_bits_per_weight: Option<f64>,
    /// Tensors of each type.
    pub types: BTreeMap<String, usize>,
    /// All tensors.
    pub tensors: Vec<TensorInfo>,
    /// Tokens that [`memory`](Self::memory) is for.
    pub context_size: usize,
    /// What it takes once it is loaded.
    pub memory: Memory,
    /// The tokenizer, where there is one that can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<TokenizerInfo>,
    /// Whether there is a chat template.
    pub has_chat_template: bool,
    /// The kernels that this machine would run it with.
    pub isa: &'static str,
    /// How they multiply its projections.
    pub kernel: &'static str,
}

/// Sizes of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shape {
    /// Decoder blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub embedding_size: usize,
    /// Width of the feed-forward network.
    pub feed_forward_size: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// The longest sequence that it was made for, in tokens.
    pub context_length: usize,
}

/// Bytes that a loaded model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// Weights in memory of the engine's own, at most.
    pub weights_bytes: u64,
    /// Dense weights that stay in the mapped file; the system keeps of them what is used.
    pub mapped_bytes: u64,
    /// Keys and values of the whole context.
    pub kv_bytes: u64,
}

/// A tokenizer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenizerInfo {
    /// `gpt2` or `llama` in GGUF, `tokenizer.json` or `tokenizer.model` in a folder.
    pub kind: String,
    /// How texts are cut before they are encoded, where GGUF says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_tokenizer: Option<String>,
    /// Size of the vocabulary.
    pub tokens: usize,
}

/// One tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// Its type.
    pub dtype: &'static str,
    /// Its shape, rows first; of packed weights, that of the bytes.
    pub shape: Vec<usize>,
    /// Its bytes.
    pub bytes: u64,
}

impl Inspection {
    /// One line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Numbers and strings under fixed names always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Looks at the model at `path`, for a context of `context` tokens, or of as many as it was made for, with the kernels of `isa`,
/// or the best of this machine.
///
/// # Errors
/// What keeps the file from being opened, kernels that the machine lacks; a model that cannot be loaded is told in [`Inspection::problem`].
pub fn inspect(
    path: &Path,
    context: Option<usize>,
    isa: Option<Isa>,
) -> Result<Inspection, ConvertError> {
    let file = llm_format::open(path)?;
    let blueprint = Blueprint::read(&file);
    let config = blueprint.as_ref().ok().map(Blueprint::config);
    let context_size = context
        .or(config.map(|config| config.context_length))
        .unwrap_or(0);
    let tensors: Vec<TensorInfo> = file.tensors().map(info).collect();
    let mut types = BTreeMap::new();
    for tensor in &tensors {
        *types.entry(tensor.dtype.to_owned()).or_default() += 1;
    }
    let counts = match &blueprint {
        Ok(blueprint) => Counts::of(blueprint, &file),
        Err(_) => Counts {
            all: file
                .tensors()
                .map(|tensor| tensor.n_elements() as u64)
                .sum(),
            ..Counts::default()
        },
    };
    let bytes = tensors.iter().map(|tensor| tensor.bytes).sum();
    let isa = isa.unwrap_or_else(Isa::best);
    let kernels = Kernels::for_isa(isa).ok_or(KernelError::IsaUnavailable { isa })?;
    Ok(Inspection {
        path: path.to_owned(),
        format: match &file {
            ModelFile::Gguf(_) => "gguf",
            ModelFile::Folder(_) => "huggingface",
        },
        architecture: architecture(&file, config),
        problem: blueprint.as_ref().err().map(ToString::to_string),
        shape: config.map(shape),
        parameters: counts.all,
        ternary_parameters: counts.ternary,
        bytes,
        bits_per_weight: bits(bytes, counts.all),
        ternary_bits_per_weight: (counts.ternary > 0)
            .then(|| bits(counts.ternary_bytes, counts.ternary)),
        types,
        tensors,
        context_size,
        memory: Memory {
            weights_bytes: resident_bound(&file, kernels),
            mapped_bytes: bytes - counts.ternary_bytes,
            kv_bytes: blueprint
                .as_ref()
                .map_or(0, |blueprint| kv_bytes(blueprint, context_size)),
        },
        tokenizer: tokenizer(&file),
        has_chat_template: has_chat_template(&file),
        isa: kernels.isa().name(),
        kernel: match (counts.ternary > 0, kernels.prefers_trits()) {
            (true, true) => "ternary weights of 1.6 bits x int8",
            (true, false) => "ternary weights of 2 bits x int8",
            (false, _) => "dense weights x f32",
        },
    })
}

fn bits(bytes: u64, weights: u64) -> f64 {
    bytes as f64 * 8.0 / weights.max(1) as f64
}

fn shape(config: &ModelConfig) -> Shape {
    Shape {
        layers: config.n_layer,
        embedding_size: config.n_embd,
        feed_forward_size: config.n_ff,
        heads: config.n_head,
        kv_heads: config.n_kv_head,
        vocab_size: config.n_vocab,
        context_length: config.context_length,
    }
}

fn info(tensor: Tensor) -> TensorInfo {
    TensorInfo {
        dtype: tensor.dtype.name(),
        bytes: tensor.bytes.len() as u64,
        name: tensor.name,
        shape: tensor.shape,
    }
}

/// Weights in all, ternary ones, and the bytes of those.
#[derive(Default)]
struct Counts {
    all: u64,
    ternary: u64,
    ternary_bytes: u64,
}

impl Counts {
    fn of(blueprint: &Blueprint<'_>, file: &ModelFile) -> Self {
        let mut counts = Self::default();
        for role in blueprint.roles() {
            let shape = role.shape(blueprint.config());
            let n = shape.iter().map(|&n| n as u64).product::<u64>();
            counts.all += n;
            // A file that lacks a weight is told of when it is loaded.
            if blueprint.is_ternary(role).unwrap_or(false) {
                counts.ternary += n;
                let tensor = file.tensor(&blueprint.name(role));
                counts.ternary_bytes += tensor.map_or(0, |tensor| tensor.bytes.len() as u64);
            }
        }
        counts
    }
}

/// Keys and values of `context` tokens: 16 bits a number where projections are ternary, else 32.
fn kv_bytes(blueprint: &Blueprint<'_>, context: usize) -> u64 {
    let config = blueprint.config();
    let key = Role::Projection(0, ProjectionKind::Key);
    let bytes = if blueprint.is_ternary(key).unwrap_or(false) {
        2
    } else {
        4
    };
    let numbers = 2 * config.n_layer * config.n_kv_head * config.head_dim;
    (numbers * bytes) as u64 * context as u64
}

fn architecture(file: &ModelFile, config: Option<&ModelConfig>) -> String {
    if let Some(config) = config {
        return config.architecture.clone();
    }
    let named = match file {
        ModelFile::Gguf(gguf) => gguf
            .metadata()
            .str("general.architecture")
            .ok()
            .flatten()
            .map(str::to_owned),
        ModelFile::Folder(folder) => folder.config()["architectures"][0]
            .as_str()
            .map(str::to_owned),
    };
    named.unwrap_or_default()
}

fn tokenizer(file: &ModelFile) -> Option<TokenizerInfo> {
    match file {
        ModelFile::Gguf(gguf) => {
            let spec = TokenizerSpec::from_metadata(gguf.metadata()).ok()?;
            Some(TokenizerInfo {
                kind: spec.model,
                pre_tokenizer: spec.pre,
                tokens: spec.tokens.len(),
            })
        }
        ModelFile::Folder(folder) => {
            let tokenizer = llm_text::Tokenizer::from_folder(folder.path()).ok()?;
            Some(TokenizerInfo {
                kind: tokenizer_file(folder).to_owned(),
                pre_tokenizer: None,
                tokens: tokenizer.vocab_size(),
            })
        }
    }
}

/// Older folders have SentencePiece's file alone.
fn tokenizer_file(folder: &HfFolder) -> &'static str {
    if folder.tokenizer_json().exists() {
        "tokenizer.json"
    } else {
        "tokenizer.model"
    }
}

fn has_chat_template(file: &ModelFile) -> bool {
    match file {
        ModelFile::Gguf(gguf) => gguf.metadata().get("tokenizer.chat_template").is_some(),
        ModelFile::Folder(folder) => {
            let stated = folder
                .tokenizer_config()
                .and_then(|config| config.get("chat_template"));
            folder.chat_template_jinja().is_some()
                || stated.is_some_and(|value| *value != Value::Null)
        }
    }
}
