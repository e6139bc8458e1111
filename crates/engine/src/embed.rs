//! Texts to vectors: the normed hidden state of each text's last token, divided by its length (L2).

use llm_model::{BatchEntry, KvCache, LogitsOf, Model};

use crate::error::EngineError;
use crate::job::Workbench;
use crate::sampler::check_finite;
use crate::task::Reply;

/// Texts on their way to vectors. A pass takes in as many texts as its tokens allow; a longer one goes in chunks.
#[derive(Debug)]
pub(crate) struct EmbedJob {
    /// Token ids of each, checked; none is empty.
    texts: Vec<Vec<u32>>,
    /// The vectors of the first texts.
    done: Vec<Vec<f32>>,
    /// The cache of the text that a chunk has been computed of.
    begun: Option<KvCache>,
    hidden: Vec<f32>,
    reply: Reply<Vec<Vec<f32>>>,
}

/// One text's share of a pass.
struct Share {
    text: usize,
    tokens: std::ops::Range<usize>,
    cache: KvCache,
}

impl EmbedJob {
    pub(crate) fn new(texts: Vec<Vec<u32>>, reply: Reply<Vec<Vec<f32>>>) -> Self {
        Self {
            done: Vec::with_capacity(texts.len()),
            texts,
            begun: None,
            hidden: Vec::new(),
            reply,
        }
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.reply.is_abandoned()
    }

    /// Computes the next `chunk` tokens of however many texts; true when all are through.
    pub(crate) fn step(
        &mut self,
        bench: &mut Workbench<'_>,
        chunk: usize,
    ) -> Result<bool, EngineError> {
        let mut shares = self.shares(bench.model, chunk);
        let mut batch: Vec<BatchEntry<'_>> = shares
            .iter_mut()
            .map(|share| BatchEntry {
                logits: if share.tokens.end == self.texts[share.text].len() {
                    LogitsOf::Last
                } else {
                    LogitsOf::None
                },
                tokens: &self.texts[share.text][share.tokens.clone()],
                cache: &mut share.cache,
            })
            .collect();
        let (compute, scratch) = (bench.compute, &mut *bench.scratch);
        bench
            .model
            .hidden_states(compute, scratch, &mut batch, &mut self.hidden)?;
        check_finite(self.hidden.iter().copied())?;
        let states = self.hidden.chunks_exact(bench.model.config().n_embd);
        self.done.extend(states.map(normalized));
        if let Some(last) = shares.pop()
            && last.tokens.end < self.texts[last.text].len()
        {
            self.begun = Some(last.cache);
        }
        Ok(self.done.len() == self.texts.len())
    }

    /// The next `chunk` tokens, of the text that has been begun and of those behind it.
    fn shares(&mut self, model: &dyn Model, chunk: usize) -> Vec<Share> {
        let (mut shares, mut room) = (Vec::new(), chunk);
        for (text, ids) in self.texts.iter().enumerate().skip(self.done.len()) {
            if room == 0 {
                break;
            }
            let cache = self.begun.take().unwrap_or_else(|| model.new_cache());
            let tokens = cache.len()..ids.len().min(cache.len() + room);
            room -= tokens.len();
            shares.push(Share {
                text,
                tokens,
                cache,
            });
        }
        shares
    }

    /// Hands the vectors over.
    pub(crate) fn finish(self, outcome: Result<(), EngineError>) {
        self.reply.send(outcome.map(|()| self.done));
    }
}

/// `x / |x|`, each component rounded once from f64; a vector of zeros stays one.
fn normalized(x: &[f32]) -> Vec<f32> {
    let squares = x.iter().map(|&x| f64::from(x) * f64::from(x));
    let length = squares.sum::<f64>().sqrt();
    if length == 0.0 {
        return x.to_vec();
    }
    x.iter().map(|&x| (f64::from(x) / length) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::normalized;

    #[test]
    fn vectors_get_length_one_and_zeros_stay_zeros() {
        assert_eq!(normalized(&[3.0, -4.0]), [0.6, -0.8]);
        assert_eq!(normalized(&[0.0, 0.0]), [0.0, 0.0]);
        assert_eq!(normalized(&[f32::MAX, 0.0]), [1.0, 0.0]);
    }
}
