//! The pre-norm transformer decoder that the supported families share; [`crate::families`] fills it.
//!
//! A block, as in the Llama and BitNet b1.58 papers (arXiv 2302.13971, 2402.17764), `⊕` marking what only some have:
//!
//! ```text
//! h = rms_norm(x);  q, k, v = Wq h, Wk h, Wv h
//! a = attention(rope(q), rope(k), v);       x += Wo (⊕ rms_norm(a))
//! h = rms_norm(x);  f = act(Wgate h) * (Wup h);  x += Wdown (⊕ rms_norm(f))
//! ```
//!
//! then `logits = Whead rms_norm(x)`.

use std::sync::Arc;

use llm_kernels::{AttentionSpec, Compute, KvView};

use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::head::Head;
use crate::kv_cache::{KvCache, KvShape};
use crate::linear::{DenseTensor, Linear, project};
use crate::logits::Logits;
use crate::rope::RopeTable;
use crate::{BatchEntry, LogitsOf, Model, Scratch};

/// Weights of one block. Norms are f32 `[n_embd]`, but `attn_sub_norm` is `[n_head * head_dim]` and `ffn_sub_norm` `[n_ff]`.
pub(crate) struct Layer {
    pub(crate) attn_norm: Vec<f32>,
    pub(crate) wq: Linear,
    pub(crate) wk: Linear,
    pub(crate) wv: Linear,
    pub(crate) attn_sub_norm: Option<Vec<f32>>,
    pub(crate) wo: Linear,
    pub(crate) ffn_norm: Vec<f32>,
    pub(crate) gate: Linear,
    pub(crate) up: Linear,
    pub(crate) ffn_sub_norm: Option<Vec<f32>>,
    pub(crate) down: Linear,
}

/// A loaded decoder.
pub struct Decoder {
    pub(crate) config: ModelConfig,
    pub(crate) kv_shape: Arc<KvShape>,
    pub(crate) rope: RopeTable,
    pub(crate) embedding: DenseTensor,
    pub(crate) layers: Vec<Layer>,
    pub(crate) output_norm: Vec<f32>,
    pub(crate) head: Head,
}

impl Model for Decoder {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn new_cache(&self) -> KvCache {
        KvCache::new(Arc::clone(&self.kv_shape))
    }

    fn forward(
        &self,
        compute: &Compute,
        scratch: &mut Scratch,
        batch: &mut [BatchEntry<'_>],
        logits: &mut Logits,
    ) -> Result<(), ModelError> {
        self.check_tokens(batch)?;
        for entry in batch.iter_mut() {
            entry.cache.reserve(entry.tokens.len())?;
        }
        let n = self.embed(batch, scratch);
        for (index, layer) in self.layers.iter().enumerate() {
            self.attention_block(index, layer, compute, scratch, batch, n)?;
            self.ffn_block(layer, compute, scratch, n);
        }
        for entry in batch.iter_mut() {
            entry.cache.advance(entry.tokens.len());
        }
        self.project_logits(compute, scratch, batch, logits);
        Ok(())
    }
}

impl Decoder {
    fn check_tokens(&self, batch: &[BatchEntry<'_>]) -> Result<(), ModelError> {
        let n_vocab = self.config.n_vocab;
        match batch
            .iter()
            .flat_map(|entry| entry.tokens)
            .find(|&&id| id as usize >= n_vocab)
        {
            Some(&id) => Err(ModelError::TokenOutOfRange { id, n_vocab }),
            None => Ok(()),
        }
    }

    /// `x = embedding[tokens]` for all entries one after another, and the rotary tables of their positions. Returns the
    /// number of rows.
    fn embed(&self, batch: &[BatchEntry<'_>], scratch: &mut Scratch) -> usize {
        let n_embd = self.config.n_embd;
        let n = batch.iter().map(|entry| entry.tokens.len()).sum();
        scratch.x.resize(n * n_embd, 0.0);
        let mut rows = scratch.x.chunks_exact_mut(n_embd);
        for entry in batch {
            for (&id, row) in entry.tokens.iter().zip(&mut rows) {
                self.embedding
                    .row_values(id as usize, &mut scratch.bytes, row);
            }
        }
        let end = |entry: &BatchEntry<'_>| entry.cache.len() + entry.tokens.len();
        let positions = batch.iter().map(end).max();
        self.rope.cover(positions.unwrap_or(0), &mut scratch.rope);
        n
    }

    /// `x += Wo attention(…)`, and the new keys and values into the caches.
    fn attention_block(
        &self,
        index: usize,
        layer: &Layer,
        compute: &Compute,
        scratch: &mut Scratch,
        batch: &mut [BatchEntry<'_>],
        n: usize,
    ) -> Result<(), ModelError> {
        let ModelConfig {
            n_head,
            n_kv_head,
            head_dim,
            rms_norm_eps: eps,
            ..
        } = self.config;
        let Scratch {
            x,
            normed,
            q,
            k,
            v,
            attention,
            projected,
            rope,
            quantized,
            ..
        } = scratch;
        normed.resize(x.len(), 0.0);
        compute.rms_norm(x, &layer.attn_norm, eps, n, normed);
        project(
            compute,
            &[&layer.wq, &layer.wk, &layer.wv],
            normed,
            n,
            quantized,
            &mut [q, k, v],
        );
        let kv_width = n_kv_head * head_dim;
        let mut first = 0;
        for entry in batch.iter_mut() {
            let rows = first..first + entry.tokens.len();
            let kv = rows.start * kv_width..rows.end * kv_width;
            let factors = |i| [&layer.wk, &layer.wv].map(|w| w.factor(quantized, rows.start + i));
            entry.cache.write(index, &k[kv.clone()], &v[kv], factors)?;
            first = rows.end;
        }
        let views: Vec<KvView<'_>> = batch
            .iter()
            .map(|entry| entry.cache.view(index, entry.tokens.len()))
            .collect();
        let spec = AttentionSpec {
            n_head,
            n_kv_head,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            window: None,
        };
        attention.resize(q.len(), 0.0);
        compute.attention(q, &views, rope, &spec, attention);

        let attended = match &layer.attn_sub_norm {
            Some(weight) => {
                normed.resize(attention.len(), 0.0);
                compute.rms_norm(attention, weight, eps, n, normed);
                normed
            }
            None => attention,
        };
        project(
            compute,
            &[&layer.wo],
            attended,
            n,
            quantized,
            &mut [projected],
        );
        compute.add(x, projected);
        Ok(())
    }

    /// `x += Wdown (act(Wgate h) * (Wup h))`.
    fn ffn_block(&self, layer: &Layer, compute: &Compute, scratch: &mut Scratch, n: usize) {
        let eps = self.config.rms_norm_eps;
        let Scratch {
            x,
            normed,
            gate,
            up,
            projected,
            quantized,
            ..
        } = scratch;
        normed.resize(x.len(), 0.0);
        compute.rms_norm(x, &layer.ffn_norm, eps, n, normed);
        project(
            compute,
            &[&layer.gate, &layer.up],
            normed,
            n,
            quantized,
            &mut [gate, up],
        );
        compute.gated(gate, up, self.config.activation);
        let hidden = match &layer.ffn_sub_norm {
            Some(weight) => {
                // `up` has been multiplied into `gate` and is free to hold the result.
                compute.rms_norm(gate, weight, eps, n, up);
                up
            }
            None => gate,
        };
        project(
            compute,
            &[&layer.down],
            hidden,
            n,
            quantized,
            &mut [projected],
        );
        compute.add(x, projected);
    }

    /// The wanted rows through the final norm and the head.
    fn project_logits(
        &self,
        compute: &Compute,
        scratch: &mut Scratch,
        batch: &[BatchEntry<'_>],
        logits: &mut Logits,
    ) {
        let n_embd = self.config.n_embd;
        let Scratch {
            x,
            normed,
            projected,
            ..
        } = scratch;
        projected.clear();
        // The largest logits suffice when no entry wants all of them; then as many as the neediest wants.
        let mut top = Some(0);
        let mut first = 0;
        for entry in batch {
            let end = first + entry.tokens.len();
            let from = end - entry.logits.rows(entry.tokens.len());
            top = match entry.logits {
                LogitsOf::None => top,
                LogitsOf::Top(k) | LogitsOf::TopOfEach(k) => top.map(|most| k.max(most)),
                LogitsOf::Last | LogitsOf::All => None,
            };
            projected.extend_from_slice(&x[from * n_embd..end * n_embd]);
            first = end;
        }
        let rows = projected.len() / n_embd;
        if rows == 0 {
            logits.reset(0, self.config.n_vocab);
            return;
        }
        normed.resize(projected.len(), 0.0);
        compute.rms_norm(
            projected,
            &self.output_norm,
            self.config.rms_norm_eps,
            rows,
            normed,
        );
        match top {
            Some(k) => self.head.top(compute, normed, rows, k, logits),
            None => self.head.all(compute, normed, rows, logits),
        }
    }
}
