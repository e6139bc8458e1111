use llm_kernels::Isa;

/// What is loaded and how it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineInfo {
    /// As the model file names it: `BitNetForCausalLM`, `bitnet-b1.58`, `llama` …
    pub architecture: String,
    /// All parameters.
    pub parameters: u64,
    /// Those that are ternary.
    pub ternary_parameters: u64,
    /// Bits per weight over all parameters.
    pub bits_per_weight: f64,
    /// What projections and head are stored in, for people.
    pub weight_types: String,
    /// Bytes of weights that a decoded token reads.
    pub weight_bytes_per_token: u64,
    /// Whether the largest logits are found through a rounded copy of the head.
    pub head_searched: bool,
    /// Size of the vocabulary.
    pub n_vocab: usize,
    /// Decoder blocks.
    pub n_layer: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// The model's own limit, in tokens.
    pub context_length: usize,
    /// The limit in force, in tokens.
    pub context_size: usize,
    /// Whether conversations can be rendered.
    pub has_chat_template: bool,
    /// Whether the model was made to turn texts into vectors.
    pub embeds: bool,
    /// Instruction set of the kernels.
    pub isa: Isa,
    /// Threads that compute.
    pub threads: usize,
    /// Layers on a GPU: this engine has none there.
    pub gpu_layers: u32,
    /// Where the memory goes.
    pub memory: MemoryInfo,
}

/// Where the memory of an engine goes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryInfo {
    /// Weights held in memory of our own.
    pub weights_bytes: u64,
    /// Model files mapped; the system keeps of them what is used.
    pub mapped_bytes: u64,
    /// Keys and values of running and kept conversations.
    pub kv_bytes: u64,
}
