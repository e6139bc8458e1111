//! A running generation, read event by event.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};

use llm_engine::{CancelHandle, ChoiceLogprobs, Completion, Generation, TextEvent, TokenLogprob};
use napi::bindgen_prelude::{Env, PromiseRaw};
use napi_derive::napi;

use crate::error::inference_failed;

/// The next piece of text, or the end: one of the two is there.
#[napi(object)]
#[derive(Debug)]
pub struct GenerationEvent {
    pub text: Option<String>,
    pub done: Option<GenerationEnd>,
}

/// How a generation ended.
#[napi(object)]
#[derive(Debug)]
pub struct GenerationEnd {
    /// `stop` or `length`.
    pub finish_reason: String,
    pub prompt_tokens: u32,
    pub cached_tokens: u32,
    pub completion_tokens: u32,
    pub drafted_tokens: u32,
    pub accepted_tokens: u32,
    pub timings: GenerationTimings,
    pub seed: i64,
    pub token_ids: Vec<u32>,
    pub logprobs: Option<Vec<ChoiceScores>>,
}

/// How probable the model held a token that was chosen, and the likeliest ones.
#[napi(object)]
#[derive(Debug)]
pub struct ChoiceScores {
    pub id: u32,
    pub token: String,
    /// Natural logarithm.
    pub logprob: f64,
    pub top: Vec<TokenScore>,
}

/// How probable the model held a token.
#[napi(object)]
#[derive(Debug)]
pub struct TokenScore {
    pub id: u32,
    pub token: String,
    /// Natural logarithm.
    pub logprob: f64,
}

impl From<TokenLogprob> for TokenScore {
    fn from(TokenLogprob { id, token, logprob }: TokenLogprob) -> Self {
        Self { id, token, logprob }
    }
}

impl From<ChoiceLogprobs> for ChoiceScores {
    fn from(ChoiceLogprobs { chosen, top }: ChoiceLogprobs) -> Self {
        let TokenLogprob { id, token, logprob } = chosen;
        Self {
            id,
            token,
            logprob,
            top: top.into_iter().map(Into::into).collect(),
        }
    }
}

/// Milliseconds of wall clock.
#[napi(object)]
#[derive(Debug)]
pub struct GenerationTimings {
    pub queue_ms: f64,
    pub prefill_ms: f64,
    pub decode_ms: f64,
    pub ttft_ms: f64,
}

impl From<TextEvent> for GenerationEvent {
    fn from(event: TextEvent) -> Self {
        match event {
            TextEvent::Text(text) => Self {
                text: Some(text),
                done: None,
            },
            TextEvent::Done(completion) => Self {
                text: None,
                done: Some(completion.into()),
            },
        }
    }
}

/// Token counts are bounded by the context, far below 2^32.
pub(crate) fn count(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

impl From<Completion> for GenerationEnd {
    fn from(completion: Completion) -> Self {
        let timings = completion.timings;
        Self {
            finish_reason: completion.finish_reason.name().to_owned(),
            prompt_tokens: count(completion.usage.prompt_tokens),
            cached_tokens: count(completion.usage.cached_tokens),
            completion_tokens: count(completion.usage.completion_tokens),
            drafted_tokens: count(completion.usage.drafted_tokens),
            accepted_tokens: count(completion.usage.accepted_tokens),
            timings: GenerationTimings {
                queue_ms: timings.queue_ms,
                prefill_ms: timings.prefill_ms,
                decode_ms: timings.decode_ms,
                ttft_ms: timings.ttft_ms,
            },
            seed: i64::try_from(completion.seed).unwrap_or(i64::MAX),
            token_ids: completion.token_ids,
            logprobs: completion
                .logprobs
                .map(|choices| choices.into_iter().map(Into::into).collect()),
        }
    }
}

/// Dropped by the garbage collector or with its worker, it cancels.
///
/// Node frees this object when a worker ends, whatever promise is pending: futures own what they use (`Arc`), they never
/// borrow it from here.
#[napi]
pub struct NativeGeneration {
    /// Locked for the moment of a poll, never across a wait.
    generation: Arc<Mutex<Generation>>,
    cancel: CancelHandle,
}

impl NativeGeneration {
    pub(crate) fn new(generation: Generation) -> Self {
        Self {
            cancel: generation.handle(),
            generation: Arc::new(Mutex::new(generation)),
        }
    }
}

impl Drop for NativeGeneration {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

#[napi]
impl NativeGeneration {
    /// The next event; null after the end.
    ///
    /// # Errors
    /// What ended the generation early, with its code.
    #[napi(catch_unwind)]
    pub fn next<'env>(
        &self,
        env: &'env Env,
    ) -> napi::Result<PromiseRaw<'env, Option<GenerationEvent>>> {
        let generation = Arc::clone(&self.generation);
        env.spawn_future(async move {
            let event = poll_fn(|context| {
                generation
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .poll_next(context)
            });
            event
                .await
                .transpose()
                .map(|event| event.map(Into::into))
                .map_err(inference_failed)
        })
    }

    /// Ends the work within one step of the engine; the next event is the error ABORTED.
    #[napi(catch_unwind)]
    pub fn cancel(&self) {
        self.cancel.cancel();
    }
}
