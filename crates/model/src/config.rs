use llm_kernels::Activation;

/// Sizes, constants and names of a loaded model.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// As the file names it: `BitNetForCausalLM`, `bitnet-b1.58`, `llama` …
    pub architecture: String,
    /// Rows of the embedding.
    pub n_vocab: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Decoder blocks.
    pub n_layer: usize,
    /// Query heads.
    pub n_head: usize,
    /// Key and value heads; divides `n_head`.
    pub n_kv_head: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Width of the feed-forward network.
    pub n_ff: usize,
    /// The longest sequence the model was made for, in tokens.
    pub context_length: usize,
    /// Epsilon of every RMS norm.
    pub rms_norm_eps: f32,
    /// What embeddings are multiplied by.
    pub embedding_scale: f32,
    /// What attention scores are multiplied by.
    pub attention_scale: f32,
    /// How a text becomes one vector.
    pub pooling: Pooling,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Long-context change of the rotary frequencies.
    pub rope_scaling: RopeScaling,
    /// Which elements rotate together.
    pub rope_pairing: RopePairing,
    /// Activation of the feed-forward gate.
    pub activation: Activation,
    /// All parameters.
    pub parameters: u64,
    /// Those that are ternary.
    pub ternary_parameters: u64,
    /// Bytes of weights that a decoded token reads: packed ternary, norms, head.
    pub weight_bytes: u64,
    /// Whether the largest logits are found through a rounded copy of the head ([`HeadMode`](crate::HeadMode)).
    pub head_searched: bool,
    /// Bytes of weights held in memory of our own (packed ternary, norms); the rest stays in the mapped file.
    pub resident_bytes: u64,
    /// Bits per weight over all parameters.
    pub bits_per_weight: f64,
    /// What the projections and the head are stored in, for people: `ternary (2-bit panels), head bf16`.
    pub weight_types: String,
    /// Ternary tensors that hold nothing but zeros: allowed, but a sign of a damaged upload.
    pub all_zero_tensors: Vec<String>,
}

impl ModelConfig {
    /// A configuration without sizes, whose counts are filled in once the weights are read.
    #[must_use]
    pub fn uncounted() -> Self {
        Self {
            architecture: String::new(),
            n_vocab: 0,
            n_embd: 0,
            n_layer: 0,
            n_head: 0,
            n_kv_head: 0,
            head_dim: 0,
            n_ff: 0,
            context_length: 0,
            rms_norm_eps: 0.0,
            embedding_scale: 1.0,
            attention_scale: 1.0,
            pooling: Pooling::Unstated,
            rope_theta: 0.0,
            rope_scaling: RopeScaling::None,
            rope_pairing: RopePairing::Half,
            activation: Activation::Silu,
            parameters: 0,
            ternary_parameters: 0,
            weight_bytes: 0,
            head_searched: false,
            resident_bytes: 0,
            bits_per_weight: 0.0,
            weight_types: String::new(),
            all_zero_tensors: Vec::new(),
        }
    }
}

/// Which two numbers of a head the file has the rotary embedding turn together, for `i` below half of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopePairing {
    /// `i` and `i + half` (also called NEOX).
    Half,
    /// `2 i` and `2 i + 1`.
    Adjacent,
}

/// How the vectors of a text's tokens become the vector of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pooling {
    /// The model does not say: it was made to generate.
    Unstated,
    /// The last token's vector.
    LastToken,
    /// Another way, by its name; not computed here.
    Other(String),
}

/// Changes of the rotary frequencies for long contexts.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum RopeScaling {
    /// None.
    #[default]
    None,
    /// All frequencies divided by `factor`.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3.1's: long waves divided by `factor`, short ones kept, a blend between.
    Llama3 {
        /// The divisor of long waves.
        factor: f64,
        /// `low_freq_factor`.
        low: f64,
        /// `high_freq_factor`.
        high: f64,
        /// `original_max_position_embeddings`.
        original_context: f64,
    },
}

impl RopeScaling {
    /// The scaled inverse frequency.
    #[must_use]
    pub fn apply(&self, inv_freq: f64) -> f64 {
        match *self {
            Self::None => inv_freq,
            Self::Linear { factor } => inv_freq / factor,
            Self::Llama3 {
                factor,
                low,
                high,
                original_context,
            } => {
                let wave_length = 2.0 * std::f64::consts::PI / inv_freq;
                if wave_length > original_context / low {
                    inv_freq / factor
                } else if wave_length < original_context / high {
                    inv_freq
                } else {
                    let keep = (original_context / wave_length - low) / (high - low);
                    (1.0 - keep) * inv_freq / factor + keep * inv_freq
                }
            }
        }
    }
}
