//! Work over whole texts that ends in one result: logits, perplexity, embeddings. A job runs in chunks between the steps of
//! the generations, so that these go on.

use llm_kernels::Compute;
use llm_model::{BatchEntry, KvCache, Logits, LogitsOf, Model, Scratch};

use crate::embed::EmbedJob;
use crate::error::EngineError;
use crate::sampler::check_finite;
use crate::task::Reply;

/// How well a model predicts a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Perplexity {
    /// `exp(mean_nll)`.
    pub perplexity: f64,
    /// Mean of `nll`.
    pub mean_nll: f64,
    /// Per predicted token, in nats: `-log p(ids[i + 1] | ids[..= i])`.
    pub nll: Vec<f64>,
    /// Tokens of the text, the first one (which nothing predicts) included.
    pub tokens: usize,
}

/// Work between the steps of the generations.
#[derive(Debug)]
pub(crate) enum Job {
    /// Over one text, every position after the other.
    Text(TextJob),
    /// Many texts, each to a vector.
    Embed(EmbedJob),
}

/// What a job computes with.
pub(crate) struct Workbench<'a> {
    pub(crate) model: &'a dyn Model,
    pub(crate) compute: &'a Compute,
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) logits: &'a mut Logits,
}

impl Job {
    /// Whether nobody waits for it any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        match self {
            Self::Text(job) => job.is_abandoned(),
            Self::Embed(job) => job.is_abandoned(),
        }
    }

    /// Computes the next `chunk` tokens; true when it is through.
    pub(crate) fn step(
        &mut self,
        bench: &mut Workbench<'_>,
        chunk: usize,
    ) -> Result<bool, EngineError> {
        match self {
            Self::Text(job) => job.step(bench, chunk),
            Self::Embed(job) => job.step(bench, chunk),
        }
    }

    /// Hands the result over.
    pub(crate) fn finish(self, outcome: Result<(), EngineError>) {
        match self {
            Self::Text(job) => job.finish(outcome),
            Self::Embed(job) => job.finish(outcome),
        }
    }
}

/// One text and what is wanted of it.
#[derive(Debug)]
pub(crate) struct TextJob {
    ids: Vec<u32>,
    purpose: Purpose,
    cache: Option<KvCache>,
}

#[derive(Debug)]
pub(crate) enum Purpose {
    /// Logits of the last position, or of all.
    Logits {
        all: bool,
        out: Vec<f32>,
        reply: Reply<Vec<f32>>,
    },
    /// Negative log-likelihoods of every token but the first.
    Perplexity {
        nll: Vec<f64>,
        reply: Reply<Perplexity>,
    },
}

impl TextJob {
    /// `ids` are checked; for a perplexity at least two.
    pub(crate) fn new(ids: Vec<u32>, purpose: Purpose) -> Self {
        Self {
            ids,
            purpose,
            cache: None,
        }
    }

    fn is_abandoned(&self) -> bool {
        match &self.purpose {
            Purpose::Logits { reply, .. } => reply.is_abandoned(),
            Purpose::Perplexity { reply, .. } => reply.is_abandoned(),
        }
    }

    fn step(&mut self, bench: &mut Workbench<'_>, chunk: usize) -> Result<bool, EngineError> {
        let model = bench.model;
        let cache = self.cache.get_or_insert_with(|| model.new_cache());
        let from = cache.len();
        // Nothing follows the last token of a perplexity, so its logits tell nothing.
        let n = match self.purpose {
            Purpose::Logits { .. } => self.ids.len(),
            Purpose::Perplexity { .. } => self.ids.len() - 1,
        };
        let to = n.min(from + chunk);
        let wanted = match self.purpose {
            Purpose::Logits { all: false, .. } if to < n => LogitsOf::None,
            Purpose::Logits { all: false, .. } => LogitsOf::Last,
            _ => LogitsOf::All,
        };
        let entry = BatchEntry {
            tokens: &self.ids[from..to],
            cache,
            logits: wanted,
        };
        model.forward(bench.compute, bench.scratch, &mut [entry], bench.logits)?;
        let logits = bench.logits.all();
        check_finite(logits.iter().copied())?;
        match &mut self.purpose {
            Purpose::Logits { out, .. } if wanted != LogitsOf::None => {
                out.extend_from_slice(logits)
            }
            Purpose::Logits { .. } => {}
            Purpose::Perplexity { nll, .. } => {
                let rows = logits.chunks_exact(model.config().n_vocab);
                nll.extend(
                    rows.zip(&self.ids[from + 1..])
                        .map(|(row, &id)| negative_log_likelihood(row, id)),
                );
            }
        }
        Ok(to == n)
    }

    fn finish(self, outcome: Result<(), EngineError>) {
        let tokens = self.ids.len();
        match self.purpose {
            Purpose::Logits { out, reply, .. } => reply.send(outcome.map(|()| out)),
            Purpose::Perplexity { nll, reply } => {
                let mean_nll = nll.iter().sum::<f64>() / nll.len() as f64;
                let perplexity = libm::exp(mean_nll);
                reply.send(outcome.map(|()| Perplexity {
                    perplexity,
                    mean_nll,
                    nll,
                    tokens,
                }));
            }
        }
    }
}

/// `-log softmax(logits)[id]` in f64.
pub(crate) fn negative_log_likelihood(logits: &[f32], id: u32) -> f64 {
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits
        .iter()
        .map(|&logit| libm::exp(f64::from(logit) - max))
        .sum();
    libm::log(sum) + max - f64::from(logits[id as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likelihoods_come_from_the_softmax_of_the_row() {
        let row = [0.1f32.ln(), 0.2f32.ln() + 0.0, 0.7f32.ln()];
        for (id, p) in [(0, 0.1f64), (1, 0.2), (2, 0.7)] {
            let nll = negative_log_likelihood(&row, id);
            assert!((nll + p.ln()).abs() < 1e-6, "id {id}: {nll}");
        }
        let shifted = row.map(|logit| logit + 500.0);
        assert!((negative_log_likelihood(&shifted, 2) + 0.7f64.ln()).abs() < 1e-4);
    }
}
