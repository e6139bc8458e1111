use llm_format::FormatError;
use llm_kernels::{KernelError, KvOutOfMemory};
use thiserror::Error;

/// Why a model could not be loaded or run.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The file names an architecture that no family here covers.
    #[error(
        "architecture `{architecture}` is not supported; supported are: {supported}. Where to add one: docs/formats.md, Models"
    )]
    UnsupportedArchitecture {
        /// What the file says.
        architecture: String,
        /// The known ones, comma separated.
        supported: String,
    },
    /// The file does not say what it is.
    #[error("{place} does not name an architecture (expected `{key}`)")]
    ArchitectureMissing {
        /// config.json or the GGUF metadata.
        place: &'static str,
        /// The key that should hold it.
        key: &'static str,
    },
    /// A needed setting is absent.
    #[error("{place}: `{key}` is missing")]
    SettingMissing {
        /// config.json or the GGUF metadata.
        place: &'static str,
        /// The absent key.
        key: String,
    },
    /// A setting has a value that cannot be used.
    #[error("{place}: `{key}` is {given}, expected {expected}")]
    SettingInvalid {
        /// config.json or the GGUF metadata.
        place: &'static str,
        /// The key.
        key: String,
        /// The value found, shortened.
        given: String,
        /// What would be accepted.
        expected: String,
    },
    /// A setting asks for something that this engine does not do.
    #[error("{place}: `{key}` = {given} is not supported: {why}")]
    SettingUnsupported {
        /// config.json or the GGUF metadata.
        place: &'static str,
        /// The key.
        key: String,
        /// The value found, shortened.
        given: String,
        /// What is supported instead.
        why: String,
    },
    /// A tensor that the architecture needs is absent.
    #[error("tensor `{name}` is missing from the model file")]
    TensorMissing {
        /// The tensor's name in the file.
        name: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error("tensor `{name}`: shape {found:?}, expected {expected:?} from the configuration")]
    TensorShape {
        /// The tensor's name in the file.
        name: String,
        /// Shape by the configuration, rows first.
        expected: Vec<usize>,
        /// Shape in the file, rows first.
        found: Vec<usize>,
    },
    /// A tensor has a type that its place cannot take.
    #[error("tensor `{name}` has type {found}, expected {expected}")]
    TensorType {
        /// The tensor's name in the file.
        name: String,
        /// Type in the file.
        found: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A tensor holds values that cannot be right (NaN, infinite).
    #[error("tensor `{name}` holds {found}: the file is damaged")]
    TensorValue {
        /// The tensor's name in the file.
        name: String,
        /// What was found.
        found: String,
    },
    /// A weight could not be brought into the form the kernels use.
    #[error("tensor `{name}`: {source}")]
    Weights {
        /// The tensor's name in the file.
        name: String,
        /// What the kernels said.
        source: KernelError,
    },
    /// Weights in the order of lookup kernels whose tile sizes nothing states.
    #[error(
        "tensor `{name}`: {dtype} weights of {rows} x {cols} are laid out for kernels whose tile sizes the file does not \
         state: give kernelConfig, the kernel_config.ini of the conversion"
    )]
    TilesUnknown {
        /// The tensor's name in the file.
        name: String,
        /// TL1 or TL2.
        dtype: &'static str,
        /// Output features.
        rows: usize,
        /// Input features.
        cols: usize,
    },
    /// A token id that the model has no embedding for.
    #[error("token id {id} is outside the model's vocabulary of {n_vocab}")]
    TokenOutOfRange {
        /// The id.
        id: u32,
        /// Rows of the embedding.
        n_vocab: usize,
    },
    /// The cache of a sequence could not grow.
    #[error("out of memory: {bytes} bytes more for the key-value cache (reduce contextSize)")]
    OutOfMemory {
        /// Bytes asked for.
        bytes: usize,
    },
    /// The container said no.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl From<KvOutOfMemory> for ModelError {
    fn from(KvOutOfMemory { bytes }: KvOutOfMemory) -> Self {
        Self::OutOfMemory { bytes }
    }
}
