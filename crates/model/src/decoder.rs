//! The pre-norm transformer decoder that the supported families share; [`crate::families`] fills it.
//!
//! A block, as in the Llama and BitNet b1.58 papers (arXiv 2302.13971, 2402.17764), `⊕` marking what only some have:
//!
//! ```text
//! h = rms_norm(x);  q, k, v = ⊕ rms_norm(Wq h), ⊕ rms_norm(Wk h), Wv h
//! a = attention(rope(q), rope(k), v);  x += ⊕ rms_norm(Wo (⊕ rms_norm(a)))
//! h = rms_norm(x);  f = act(Wgate h) * (Wup h);  x += ⊕ rms_norm(Wdown (⊕ rms_norm(f)))
//! ```
//!
//! then `logits = Whead rms_norm(x)`. The norms of q and k are per head; attention is causal, in some layers within a window.

use std::sync::Arc;

use llm_kernels::{AttentionSpec, Compute, KvView};

use crate::config::{ModelConfig, RopePairing};
use crate::error::ModelError;
use crate::head::Head;
use crate::kv_cache::{KvCache, KvShape};
use crate::linear::{DenseTensor, Projection, project};
use crate::logits::Logits;
use crate::rope::{RopeTable, halves};
use crate::{BatchEntry, LogitsOf, Model, Scratch};

/// Weights of one block. Norms are f32 `[n_embd]`, but those of queries and keys are `[head_dim]`, `attn_sub_norm` is
/// `[n_head * head_dim]` and `ffn_sub_norm` `[n_ff]`.
pub(crate) struct Layer {
    pub(crate) attn_norm: Vec<f32>,
    pub(crate) wq: Projection,
    pub(crate) wk: Projection,
    pub(crate) wv: Projection,
    pub(crate) q_norm: Option<Vec<f32>>,
    pub(crate) k_norm: Option<Vec<f32>>,
    pub(crate) attn_sub_norm: Option<Vec<f32>>,
    pub(crate) wo: Projection,
    pub(crate) attn_post_norm: Option<Vec<f32>>,
    pub(crate) ffn_norm: Vec<f32>,
    pub(crate) gate: Projection,
    pub(crate) up: Projection,
    pub(crate) ffn_sub_norm: Option<Vec<f32>>,
    pub(crate) down: Projection,
    pub(crate) ffn_post_norm: Option<Vec<f32>>,
    /// Positions that a token sees, itself included; `None`: all before it.
    pub(crate) window: Option<usize>,
    /// Which of the decoder's rotary tables.
    pub(crate) rope: usize,
}

impl Layer {
    /// Whether the keys, and the values, are the projections' products as they are.
    pub(crate) fn kv_are_products(&self) -> [bool; 2] {
        [
            self.wk.gives_products() && self.k_norm.is_none(),
            self.wv.gives_products(),
        ]
    }
}

/// A loaded decoder.
pub struct Decoder {
    pub(crate) config: ModelConfig,
    pub(crate) kv_shape: Arc<KvShape>,
    /// One for every kind of layer.
    pub(crate) ropes: Vec<RopeTable>,
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
        self.run_layers(compute, scratch, batch)?;
        self.project_logits(compute, scratch, batch, logits);
        Ok(())
    }

    fn hidden_states(
        &self,
        compute: &Compute,
        scratch: &mut Scratch,
        batch: &mut [BatchEntry<'_>],
        hidden: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        self.run_layers(compute, scratch, batch)?;
        self.normed_states(compute, scratch, batch);
        hidden.clear();
        hidden.extend_from_slice(&scratch.normed);
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

    /// The residual stream `x` of all tokens, behind the last layer; the caches grow by the tokens.
    fn run_layers(
        &self,
        compute: &Compute,
        scratch: &mut Scratch,
        batch: &mut [BatchEntry<'_>],
    ) -> Result<(), ModelError> {
        self.check_tokens(batch)?;
        for entry in batch.iter_mut() {
            entry.cache.reserve(entry.tokens.len())?;
        }
        let n = self.embed(batch, scratch);
        for (index, layer) in self.layers.iter().enumerate() {
            self.queries_keys_values(layer, compute, scratch, n);
            self.attend(index, layer, compute, scratch, batch)?;
            self.attention_output(layer, compute, scratch, n);
            self.ffn_block(layer, compute, scratch, n);
        }
        for entry in batch.iter_mut() {
            entry.cache.advance(entry.tokens.len());
        }
        Ok(())
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
        if self.config.embedding_scale != 1.0 {
            let scale = self.config.embedding_scale;
            scratch.x.iter_mut().for_each(|x| *x *= scale);
        }
        let end = |entry: &BatchEntry<'_>| entry.cache.len() + entry.tokens.len();
        let positions = batch.iter().map(end).max().unwrap_or(0);
        scratch.ropes.resize_with(self.ropes.len(), Vec::new);
        for (rope, blocks) in self.ropes.iter().zip(&mut scratch.ropes) {
            rope.cover(positions, blocks);
        }
        n
    }

    /// `q`, `k` and `v` of `x`, without their rotary embedding.
    fn queries_keys_values(
        &self,
        layer: &Layer,
        compute: &Compute,
        scratch: &mut Scratch,
        n: usize,
    ) {
        let ModelConfig {
            n_head,
            n_kv_head,
            head_dim,
            rope_pairing,
            rms_norm_eps: eps,
            ..
        } = self.config;
        let Scratch {
            x,
            normed,
            q,
            k,
            v,
            project: buffers,
            ..
        } = scratch;
        normed.resize(x.len(), 0.0);
        compute.rms_norm(x, &layer.attn_norm, eps, n, normed);
        let projections = [&layer.wq, &layer.wk, &layer.wv];
        project(compute, &projections, normed, n, buffers, &mut [q, k, v]);
        for (heads, count, norm) in [(q, n_head, &layer.q_norm), (k, n_kv_head, &layer.k_norm)] {
            if let Some(weight) = norm {
                normed.resize(heads.len(), 0.0);
                compute.rms_norm(heads, weight, eps, n * count, normed);
                std::mem::swap(heads, normed);
            }
            if rope_pairing == RopePairing::Adjacent {
                halves(heads, head_dim, normed);
            }
        }
    }

    /// `attention = attention(q, k, v)` of every entry over its cache, which gets the new keys and values.
    fn attend(
        &self,
        index: usize,
        layer: &Layer,
        compute: &Compute,
        scratch: &mut Scratch,
        batch: &mut [BatchEntry<'_>],
    ) -> Result<(), ModelError> {
        let ModelConfig {
            n_head,
            n_kv_head,
            head_dim,
            attention_scale,
            ..
        } = self.config;
        let Scratch {
            q,
            k,
            v,
            attention,
            ropes,
            project: buffers,
            ..
        } = scratch;
        let kv_width = n_kv_head * head_dim;
        let mut first = 0;
        for entry in batch.iter_mut() {
            let rows = first..first + entry.tokens.len();
            let kv = rows.start * kv_width..rows.end * kv_width;
            let factors = |i| {
                let of_k = layer.wk.factor(buffers, rows.start + i);
                let of_v = layer.wv.factor(buffers, rows.start + i);
                // A normed key is no product any more.
                [of_k.filter(|_| layer.k_norm.is_none()), of_v]
            };
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
            scale: attention_scale,
            window: layer.window,
        };
        attention.resize(q.len(), 0.0);
        compute.attention(q, &views, &ropes[layer.rope], &spec, attention);
        Ok(())
    }

    /// `x += Wo attention`.
    fn attention_output(&self, layer: &Layer, compute: &Compute, scratch: &mut Scratch, n: usize) {
        let eps = self.config.rms_norm_eps;
        let Scratch {
            x,
            normed,
            attention,
            projected,
            project: buffers,
            ..
        } = scratch;
        let attended = match &layer.attn_sub_norm {
            Some(weight) => {
                normed.resize(attention.len(), 0.0);
                compute.rms_norm(attention, weight, eps, n, normed);
                &*normed
            }
            None => &*attention,
        };
        project(
            compute,
            &[&layer.wo],
            attended,
            n,
            buffers,
            &mut [projected],
        );
        self.add_to_stream(
            layer.attn_post_norm.as_deref(),
            compute,
            x,
            projected,
            normed,
        );
    }

    /// `x += projected`, through a norm in the models that have one there.
    fn add_to_stream(
        &self,
        norm: Option<&[f32]>,
        compute: &Compute,
        x: &mut [f32],
        projected: &[f32],
        normed: &mut Vec<f32>,
    ) {
        let Some(weight) = norm else {
            return compute.add(x, projected);
        };
        normed.resize(x.len(), 0.0);
        let n = x.len() / self.config.n_embd;
        compute.rms_norm(projected, weight, self.config.rms_norm_eps, n, normed);
        compute.add(x, normed);
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
            project: buffers,
            ..
        } = scratch;
        normed.resize(x.len(), 0.0);
        compute.rms_norm(x, &layer.ffn_norm, eps, n, normed);
        project(
            compute,
            &[&layer.gate, &layer.up],
            normed,
            n,
            buffers,
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
            buffers,
            &mut [projected],
        );
        self.add_to_stream(
            layer.ffn_post_norm.as_deref(),
            compute,
            x,
            projected,
            normed,
        );
    }

    /// `normed`: the rows whose logits are wanted, through the final norm. Returns their number.
    fn normed_states(
        &self,
        compute: &Compute,
        scratch: &mut Scratch,
        batch: &[BatchEntry<'_>],
    ) -> usize {
        let n_embd = self.config.n_embd;
        let Scratch {
            x,
            normed,
            projected,
            ..
        } = scratch;
        projected.clear();
        let mut first = 0;
        for entry in batch {
            let end = first + entry.tokens.len();
            let from = end - entry.logits.rows(entry.tokens.len());
            projected.extend_from_slice(&x[from * n_embd..end * n_embd]);
            first = end;
        }
        let rows = projected.len() / n_embd;
        normed.resize(projected.len(), 0.0);
        let eps = self.config.rms_norm_eps;
        compute.rms_norm(projected, &self.output_norm, eps, rows, normed);
        rows
    }

    /// The wanted rows through the final norm and the head.
    fn project_logits(
        &self,
        compute: &Compute,
        scratch: &mut Scratch,
        batch: &[BatchEntry<'_>],
        logits: &mut Logits,
    ) {
        let rows = self.normed_states(compute, scratch, batch);
        if rows == 0 {
            logits.reset(0, self.config.n_vocab);
            return;
        }
        // The largest logits suffice when no entry wants all of them; then as many as the neediest wants.
        let top = batch.iter().try_fold(0, |most, entry| match entry.logits {
            LogitsOf::None => Some(most),
            LogitsOf::Top(k) | LogitsOf::TopOfEach(k) => Some(k.max(most)),
            LogitsOf::Last | LogitsOf::All => None,
        });
        match top {
            Some(k) => self.head.top(compute, &scratch.normed, rows, k, logits),
            None => self.head.all(compute, &scratch.normed, rows, logits),
        }
    }
}
