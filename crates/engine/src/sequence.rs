//! One request on the engine's thread: its tokens, its cache, and what its reader gets to see.

use std::sync::Arc;
use std::time::Instant;

use llm_kernels::KV_BLOCK;
use llm_model::{BatchEntry, KvCache, LogitsOf, LogitsRow};
use llm_text::{DecodeStream, StopMatcher, Tokenizer};

use crate::error::EngineError;
use crate::events::Outbox;
use crate::prefix_cache::PrefixCache;
use crate::request::{ChoiceLogprobs, Completion, FinishReason, Timings, TokenLogprob, Usage};
use crate::sampler::{Guidance, History, Record, Sampler};
use crate::sampling::Sampling;
use crate::speculation::{Drafter, Speculation};

/// A validated request, on its way to the engine's thread.
#[derive(Debug)]
pub(crate) struct SequenceRequest {
    /// The prompt; at least one token, at most the context.
    pub(crate) prompt: Vec<u32>,
    pub(crate) max_tokens: usize,
    pub(crate) sampling: Sampling,
    pub(crate) guidance: Guidance,
    pub(crate) stop: Vec<String>,
    /// Tokens that end the answer.
    pub(crate) end_tokens: Arc<[u32]>,
    /// When the context is full: drop the oldest tokens behind the first `n`, or end.
    pub(crate) shift: Option<usize>,
    pub(crate) speculation: Speculation,
    pub(crate) outbox: Outbox,
    pub(crate) submitted: Instant,
}

impl SequenceRequest {
    /// Positions that it has in the end at most, in a context of `context_size`.
    pub(crate) fn most_positions(&self, context_size: usize) -> usize {
        most_positions(self.prompt.len(), self.max_tokens, context_size)
    }
}

/// Whole blocks for a prompt and an answer.
fn most_positions(n_prompt: usize, max_tokens: usize, context_size: usize) -> usize {
    n_prompt
        .saturating_add(max_tokens)
        .min(context_size)
        .next_multiple_of(KV_BLOCK)
}

/// A request that is being served.
pub(crate) struct Sequence {
    /// What the context holds, and then what it is to hold next: the cache has the beginning of it. Ends with `draft`.
    tokens: Vec<u32>,
    /// Guesses that the next pass tries.
    draft: Vec<u32>,
    /// `None`: no guessing.
    drafter: Option<Drafter>,
    n_drafted: usize,
    n_accepted: usize,
    cache: KvCache,
    n_prompt: usize,
    n_cached: usize,
    generated: Vec<u32>,
    max_tokens: usize,
    end_tokens: Arc<[u32]>,
    shift: Option<usize>,
    sampler: Sampler,
    seed: u64,
    history: History,
    decoder: DecodeStream,
    stop: StopMatcher,
    outbox: Outbox,
    submitted: Instant,
    started: Instant,
    first_token: Option<Instant>,
    /// How it ended, once it has.
    end: Option<Result<FinishReason, EngineError>>,
}

impl Sequence {
    /// Starts on `request` with a cache that holds the beginning of its prompt.
    pub(crate) fn new(request: SequenceRequest, cache: KvCache, tokenizer: &Tokenizer) -> Self {
        // Tidied spaces would be another text than the one that the grammar has seen.
        let decoder = match request.guidance.constraint {
            Some(_) => tokenizer.decode_stream().keep_spaces(),
            None => tokenizer.decode_stream(),
        };
        Self {
            n_prompt: request.prompt.len(),
            n_cached: cache.len(),
            history: History::new(&request.prompt),
            tokens: request.prompt,
            draft: Vec::new(),
            drafter: (request.speculation == Speculation::Auto).then(Drafter::new),
            n_drafted: 0,
            n_accepted: 0,
            cache,
            generated: Vec::new(),
            max_tokens: request.max_tokens,
            end_tokens: request.end_tokens,
            shift: request.shift,
            sampler: Sampler::new(&request.sampling, request.guidance),
            seed: request.sampling.seed,
            decoder,
            stop: StopMatcher::new(request.stop),
            outbox: request.outbox,
            submitted: request.submitted,
            started: Instant::now(),
            first_token: None,
            end: None,
        }
    }

    /// How many tokens the model has not seen yet; one while decoding.
    pub(crate) fn n_pending(&self) -> usize {
        self.tokens.len() - self.cache.len()
    }

    /// Its keys and values.
    pub(crate) fn cache(&self) -> &KvCache {
        &self.cache
    }

    /// Positions that it has in the end at most, in a context of `context_size`.
    pub(crate) fn most_positions(&self, context_size: usize) -> usize {
        most_positions(self.n_prompt, self.max_tokens, context_size)
    }

    /// When it began.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Puts guesses behind the token that is due, at most `limit` of them; true when there are any. They stay until
    /// [`advance`](Self::advance) or [`retract`](Self::retract).
    pub(crate) fn guess(&mut self, limit: usize, context_size: usize) -> bool {
        let Some(drafter) = &mut self.drafter else {
            return false;
        };
        // Every token of the draft may be followed by another: that one must fit the answer, the context and the stream.
        let limit = limit
            .min(self.max_tokens - self.generated.len() - 1)
            .min(context_size.saturating_sub(self.tokens.len()))
            .min(self.outbox.room().saturating_sub(1));
        drafter.draft(&self.tokens, limit, &self.end_tokens, &mut self.draft);
        self.tokens.extend_from_slice(&self.draft);
        !self.draft.is_empty()
    }

    /// Takes the guesses back, and makes no more until they prove right; true when there were any.
    pub(crate) fn retract(&mut self) -> bool {
        if self.draft.is_empty() {
            return false;
        }
        self.tokens.truncate(self.tokens.len() - self.draft.len());
        self.draft.clear();
        if let Some(drafter) = &mut self.drafter {
            drafter.lose_trust();
        }
        true
    }

    /// The next tokens for the model, at most `limit`, the cache that they go to, and the logits that are wanted of them.
    pub(crate) fn feed(&mut self, limit: usize) -> BatchEntry<'_> {
        let from = self.cache.len();
        let to = self.tokens.len().min(from.saturating_add(limit));
        let logits = match self.sampler.wanted_logits() {
            _ if to < self.tokens.len() => LogitsOf::None,
            wanted if self.draft.is_empty() => wanted,
            wanted => wanted.of_each(),
        };
        BatchEntry {
            tokens: &self.tokens[from..to],
            cache: &mut self.cache,
            logits,
        }
    }

    /// Whether a step makes sense now: it has not ended and its reader keeps up.
    pub(crate) fn is_ready(&self) -> bool {
        self.end.is_none() && self.outbox.has_room()
    }

    /// Whether it is to be taken away: it ended, or its reader went away.
    pub(crate) fn is_over(&self) -> bool {
        self.end.is_some() || self.outbox.is_cancelled()
    }

    /// Chooses the next token from the logits after the last one, and hands its text on; while the choice is what the draft
    /// says, it goes on to the row after. Takes its rows from `rows`; returns how many tokens were chosen.
    pub(crate) fn advance<'a>(
        &mut self,
        rows: &mut impl Iterator<Item = LogitsRow<'a>>,
        context_size: usize,
    ) -> usize {
        let draft = std::mem::take(&mut self.draft);
        self.tokens.truncate(self.tokens.len() - draft.len());
        let held = self.tokens.len();
        let mut rows = rows.take(1 + draft.len());
        let mut chosen = 0;
        for row in rows.by_ref() {
            self.end = match self.choose(row, context_size) {
                Ok(reason) => reason.map(Ok),
                Err(error) => Some(Err(error)),
            };
            chosen += 1;
            if self.end.is_some() || self.generated.last() != draft.get(chosen - 1) {
                break;
            }
        }
        rows.for_each(drop);
        // What the draft got wrong; after a shift the cache is shorter already.
        self.cache.truncate(held + chosen.saturating_sub(1));
        self.n_drafted += draft.len();
        self.n_accepted += chosen.saturating_sub(1);
        self.draft = draft;
        self.draft.clear();
        chosen
    }

    /// Tells the guessing how many passes a pass with drafts has saved.
    pub(crate) fn account(&mut self, passes: f64) {
        if let Some(drafter) = &mut self.drafter {
            drafter.account(passes);
        }
    }

    /// Ends with an error and lets the cache go.
    pub(crate) fn abort(self, error: EngineError) {
        self.outbox.finish(Err(error));
    }

    /// Ends with an error.
    pub(crate) fn fail(&mut self, error: EngineError) {
        self.end = Some(Err(error));
    }

    fn choose(
        &mut self,
        logits: LogitsRow<'_>,
        context_size: usize,
    ) -> Result<Option<FinishReason>, EngineError> {
        let id = self.sampler.sample(logits, &self.history)?;
        self.first_token.get_or_insert_with(Instant::now);
        self.generated.push(id);
        self.history.push(id);
        if let Some(drafter) = &mut self.drafter {
            drafter.observe(&self.tokens, id);
        }
        if self.end_tokens.contains(&id) {
            return Ok(Some(self.flush(FinishReason::Stop)));
        }
        if let Some(text) = self.decoder.step(id) {
            let found = self.stop.push(&text);
            self.outbox.push(found.emit);
            if found.stopped {
                return Ok(Some(FinishReason::Stop));
            }
        }
        if self.sampler.is_complete() {
            return Ok(Some(self.flush(FinishReason::Stop)));
        }
        if self.generated.len() >= self.max_tokens {
            return Ok(Some(self.flush(FinishReason::Length)));
        }
        self.tokens.push(id);
        if self.tokens.len() > context_size {
            match self.shift {
                Some(keep) => self.shift(keep, context_size),
                None => return Ok(Some(self.flush(FinishReason::Length))),
            }
        }
        Ok(None)
    }

    /// Hands on what decoder and stop matcher have held back; a stop string may still show up in it.
    fn flush(&mut self, reason: FinishReason) -> FinishReason {
        if let Some(text) = self.decoder.finish() {
            let found = self.stop.push(&text);
            self.outbox.push(found.emit);
            if found.stopped {
                return FinishReason::Stop;
            }
        }
        self.outbox.push(self.stop.finish());
        reason
    }

    /// Drops the older half of the tokens behind the first `keep`. What stays moves to new positions, so its keys and
    /// values are computed again.
    fn shift(&mut self, keep: usize, context_size: usize) {
        let keep = keep.min(context_size / 2);
        let dropped = ((self.tokens.len() - keep) / 2).max(1);
        self.tokens.drain(keep..keep + dropped);
        self.cache.truncate(keep);
        if let Some(drafter) = &mut self.drafter {
            drafter.lose_place();
        }
    }

    /// Leaves what it has computed to `prefix_cache`; gives back the reader and what to tell it.
    pub(crate) fn finish(
        self,
        prefix_cache: &mut PrefixCache,
    ) -> (Outbox, Result<Completion, EngineError>) {
        let usage = Usage {
            prompt_tokens: self.n_prompt,
            cached_tokens: self.n_cached,
            completion_tokens: self.generated.len(),
            drafted_tokens: self.n_drafted,
            accepted_tokens: self.n_accepted,
        };
        let timings = self.timings();
        let decoder = self.decoder;
        let logprobs = self.sampler.into_logprobs();
        let logprobs =
            logprobs.map(|records| records.into_iter().map(|r| named(r, &decoder)).collect());
        let end = self
            .end
            .unwrap_or(Err(EngineError::Cancelled))
            .map(|finish_reason| Completion {
                finish_reason,
                usage,
                timings,
                seed: self.seed,
                token_ids: self.generated,
                logprobs,
            });
        prefix_cache.put(self.tokens, self.cache);
        (self.outbox, end)
    }

    fn timings(&self) -> Timings {
        let milliseconds = |from: Instant, to: Instant| (to - from).as_secs_f64() * 1e3;
        let first_token = self.first_token.unwrap_or(self.started);
        Timings {
            queue_ms: milliseconds(self.submitted, self.started),
            prefill_ms: milliseconds(self.started, first_token),
            decode_ms: first_token.elapsed().as_secs_f64() * 1e3,
            ttft_ms: milliseconds(self.submitted, first_token),
        }
    }
}

/// Log-probabilities with the texts of their tokens.
fn named(record: Record, decoder: &DecodeStream) -> ChoiceLogprobs {
    let named = |(id, logprob)| TokenLogprob {
        id,
        token: decoder.token_text(id),
        logprob,
    };
    ChoiceLogprobs {
        chosen: named(record.chosen),
        top: record.top.into_iter().map(named).collect(),
    }
}
