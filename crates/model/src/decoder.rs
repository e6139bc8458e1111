//! The pre-norm transformer decoder that the supported families share; [`crate::families`] fills it.
//!
//! A block, as in the Llama and BitNet b1.58 papers (arXiv 2302.13971, 2402.17764), `⊕` marking what only some have:
//!
//! ```text
//! h = rms_norm(x);  q, k, v = Wq h, Wk h, Wv h;  q, k = rope(q), rope(k)
//! a = attention(q, k, v);      x += Wo (⊕ rms_norm(a))
//! h = rms_norm(x);  f = act(Wgate h) * (Wup h);  x += Wdown (⊕ rms_norm(f))
//! ```
//!
//! then `logits = Whead rms_norm(x)`.

use llm_kernels::{AttentionSpec, Compute};

use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::head::Head;
use crate::kv_cache::KvCache;
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
        KvCache::new(
            self.config.n_layer,
            self.config.n_kv_head,
            self.config.head_dim,
        )
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
            self.attention_block(index, layer, compute, scratch, batch, n);
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

    /// `x = embedding[tokens]` and the rotary tables of the tokens' positions, for all entries one after another.
    /// Returns the number of rows.
    fn embed(&self, batch: &[BatchEntry<'_>], scratch: &mut Scratch) -> usize {
        let n_embd = self.config.n_embd;
        let n = batch.iter().map(|entry| entry.tokens.len()).sum();
        scratch.x.resize(n * n_embd, 0.0);
        scratch.cos.clear();
        scratch.sin.clear();
        let mut rows = scratch.x.chunks_exact_mut(n_embd);
        for entry in batch {
            for ((i, &id), row) in entry.tokens.iter().enumerate().zip(&mut rows) {
                self.embedding
                    .row_values(id as usize, &mut scratch.bytes, row);
                self.rope
                    .push_row(entry.cache.len() + i, &mut scratch.cos, &mut scratch.sin);
            }
        }
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
    ) {
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
            cos,
            sin,
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
        compute.rope(q, n, n_head, head_dim, cos, sin, self.config.rope_pairing);
        compute.rope(
            k,
            n,
            n_kv_head,
            head_dim,
            cos,
            sin,
            self.config.rope_pairing,
        );

        attention.resize(q.len(), 0.0);
        let spec = AttentionSpec {
            n_head,
            n_kv_head,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            window: None,
        };
        let (q_width, kv_width) = (n_head * head_dim, n_kv_head * head_dim);
        let mut first = 0;
        for entry in batch {
            let rows = entry.tokens.len();
            let (kv, qs) = (
                first * kv_width..(first + rows) * kv_width,
                first * q_width..(first + rows) * q_width,
            );
            entry.cache.write(index, &k[kv.clone()], &v[kv]);
            let position = entry.cache.len();
            let view = entry.cache.view(index, position + rows);
            compute.attention(
                &q[qs.clone()],
                &view,
                &spec,
                position,
                rows,
                &mut attention[qs],
            );
            first += rows;
        }

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
