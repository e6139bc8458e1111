//! The weights of a decoder by what they are for, and what each container calls them.

use crate::config::ModelConfig;

/// A weight of a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The embedding, `[n_vocab, n_embd]`.
    Embedding,
    /// The last norm.
    OutputNorm,
    /// The head, `[n_vocab, n_embd]`, where it is not the embedding.
    Head,
    /// A norm of the block of that number.
    Norm(usize, NormKind),
    /// A projection of the block of that number.
    Projection(usize, ProjectionKind),
    /// The norm inside a projection.
    InputNorm(usize, ProjectionKind),
}

/// Norms of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NormKind {
    /// Before attention.
    Attention,
    /// Of queries, per head.
    Query,
    /// Of keys, per head.
    Key,
    /// Before the output projection.
    AttentionSub,
    /// Behind attention.
    AttentionPost,
    /// Before the feed-forward network.
    FeedForward,
    /// Before the down projection.
    FeedForwardSub,
    /// Behind the feed-forward network.
    FeedForwardPost,
}

/// Projections of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProjectionKind {
    /// Queries.
    Query,
    /// Keys.
    Key,
    /// Values.
    Value,
    /// Back to the residual stream, behind attention.
    Output,
    /// The gate of the feed-forward network.
    Gate,
    /// What the gate is multiplied with.
    Up,
    /// Back to the residual stream, behind the feed-forward network.
    Down,
}

impl ProjectionKind {
    /// All, in the order of a block.
    pub const ALL: [Self; 7] = [
        Self::Query,
        Self::Key,
        Self::Value,
        Self::Output,
        Self::Gate,
        Self::Up,
        Self::Down,
    ];

    /// Output and input features.
    pub(crate) fn shape(self, config: &ModelConfig) -> [usize; 2] {
        let q_width = config.n_head * config.head_dim;
        match self {
            Self::Query => [q_width, config.n_embd],
            Self::Key | Self::Value => [config.n_kv_head * config.head_dim, config.n_embd],
            Self::Output => [config.n_embd, q_width],
            Self::Gate | Self::Up => [config.n_ff, config.n_embd],
            Self::Down => [config.n_embd, config.n_ff],
        }
    }
}

impl NormKind {
    /// Numbers that are normed together.
    pub(crate) fn len(self, config: &ModelConfig) -> usize {
        match self {
            Self::Query | Self::Key => config.head_dim,
            Self::AttentionSub => config.n_head * config.head_dim,
            Self::FeedForwardSub => config.n_ff,
            Self::Attention | Self::AttentionPost | Self::FeedForward | Self::FeedForwardPost => {
                config.n_embd
            }
        }
    }
}

impl Role {
    /// The weight's shape, rows first.
    #[must_use]
    pub fn shape(self, config: &ModelConfig) -> Vec<usize> {
        match self {
            Self::Embedding | Self::Head => vec![config.n_vocab, config.n_embd],
            Self::OutputNorm => vec![config.n_embd],
            Self::Norm(_, kind) => vec![kind.len(config)],
            Self::Projection(_, kind) => kind.shape(config).to_vec(),
            Self::InputNorm(_, kind) => vec![kind.shape(config)[1]],
        }
    }
}

/// Names of a block's modules below its prefix (`model.layers.3.`), without `.weight`; empty where the family has none.
#[derive(Debug)]
pub(crate) struct BlockNames {
    pub(crate) attn_norm: &'static str,
    pub(crate) q_norm: &'static str,
    pub(crate) k_norm: &'static str,
    pub(crate) q: &'static str,
    pub(crate) k: &'static str,
    pub(crate) v: &'static str,
    pub(crate) attn_sub_norm: &'static str,
    pub(crate) o: &'static str,
    pub(crate) attn_post_norm: &'static str,
    pub(crate) ffn_norm: &'static str,
    pub(crate) gate: &'static str,
    pub(crate) up: &'static str,
    pub(crate) ffn_sub_norm: &'static str,
    pub(crate) down: &'static str,
    pub(crate) ffn_post_norm: &'static str,
}

impl BlockNames {
    fn norm(&self, kind: NormKind) -> &'static str {
        match kind {
            NormKind::Attention => self.attn_norm,
            NormKind::Query => self.q_norm,
            NormKind::Key => self.k_norm,
            NormKind::AttentionSub => self.attn_sub_norm,
            NormKind::AttentionPost => self.attn_post_norm,
            NormKind::FeedForward => self.ffn_norm,
            NormKind::FeedForwardSub => self.ffn_sub_norm,
            NormKind::FeedForwardPost => self.ffn_post_norm,
        }
    }

    pub(crate) fn projection(&self, kind: ProjectionKind) -> &'static str {
        match kind {
            ProjectionKind::Query => self.q,
            ProjectionKind::Key => self.k,
            ProjectionKind::Value => self.v,
            ProjectionKind::Output => self.o,
            ProjectionKind::Gate => self.gate,
            ProjectionKind::Up => self.up,
            ProjectionKind::Down => self.down,
        }
    }
}

/// Names of all tensors of a file.
#[derive(Debug, Clone)]
pub(crate) struct TensorNames {
    pub(crate) block_prefix: &'static str,
    pub(crate) block: &'static BlockNames,
    pub(crate) embedding: &'static str,
    pub(crate) output_norm: &'static str,
    pub(crate) head: &'static str,
    /// What follows a projection's name in the name of the norm inside it.
    pub(crate) input_norm_suffix: &'static str,
}

impl TensorNames {
    /// The name of a projection, without `.weight`.
    pub(crate) fn module(&self, layer: usize, kind: ProjectionKind) -> String {
        format!(
            "{}{layer}.{}",
            self.block_prefix,
            self.block.projection(kind)
        )
    }

    /// The name of a weight.
    pub(crate) fn of(&self, role: Role) -> String {
        match role {
            Role::Embedding => format!("{}.weight", self.embedding),
            Role::OutputNorm => format!("{}.weight", self.output_norm),
            Role::Head => format!("{}.weight", self.head),
            Role::Norm(layer, kind) => {
                format!(
                    "{}{layer}.{}.weight",
                    self.block_prefix,
                    self.block.norm(kind)
                )
            }
            Role::Projection(layer, kind) => format!("{}.weight", self.module(layer, kind)),
            Role::InputNorm(layer, kind) => {
                format!("{}{}", self.module(layer, kind), self.input_norm_suffix)
            }
        }
    }
}
