//! One model and what is asked of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use llm_engine::{
    ChoiceLogprobs, Completion, Engine, EngineError, EngineInfo, Generation, LoadProgress,
    Perplexity, Task, TextEvent, TokenLogprob,
};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::request::{Open, Request, parse_messages, render_options};

/// What a request comes to.
#[derive(Debug, Default)]
pub struct Answer {
    /// `{"ok": …}` or `{"error": {"code", "message"}}`.
    pub json: Vec<u8>,
    /// Numbers that would be too many for JSON; `ok.floats` is their count.
    pub floats: Vec<f32>,
}

/// Work whose one result comes later.
enum Job {
    Floats(Task<Vec<f32>>),
    Vectors(Task<Vec<Vec<f32>>>),
    Perplexity(Task<Perplexity>),
}

/// One model, at most, and its running work. Generations and tasks are known by numbers.
#[derive(Default)]
pub struct Host {
    engine: Option<Engine>,
    generations: BTreeMap<u32, Generation>,
    jobs: BTreeMap<u32, Job>,
    last_number: u32,
}

impl Host {
    /// Answers a request in JSON. Loading is over when this returns; everything else that computes goes on in
    /// [`step`](Self::step).
    pub fn handle(&mut self, request: &[u8], progress: &mut dyn FnMut(LoadProgress)) -> Answer {
        let mut floats = Vec::new();
        let outcome = serde_json::from_slice(request)
            .map_err(|error| Failure::argument("request", error))
            .and_then(|request| self.answer(request, progress, &mut floats));
        let json = match outcome {
            Ok(ok) => json!({ "ok": ok }),
            Err(Failure { code, message }) => {
                json!({ "error": { "code": code, "message": message } })
            }
        };
        Answer {
            json: json.to_string().into_bytes(),
            floats,
        }
    }

    /// Computes one round; whether there is work for another one.
    #[must_use]
    pub fn step(&self) -> bool {
        self.engine.as_ref().is_some_and(Engine::step)
    }

    fn answer(
        &mut self,
        request: Request,
        progress: &mut dyn FnMut(LoadProgress),
        floats: &mut Vec<f32>,
    ) -> Result<Value, Failure> {
        match request {
            Request::Open(open) => self.open(&open, progress),
            Request::Info {} => Ok(info(&self.engine()?.info())),
            Request::SelfTest { thorough } => {
                Ok(self.engine()?.self_test(thorough).map(|()| Value::Null)?)
            }
            Request::Tokenize { text, add_special } => {
                Ok(json!(self.engine()?.tokenize(&text, add_special)?))
            }
            Request::Detokenize { ids, skip_special } => {
                Ok(json!(self.engine()?.detokenize(&ids, skip_special)))
            }
            Request::ApplyChatTemplate {
                messages,
                add_generation_prompt,
                variables,
            } => {
                let options = render_options(add_generation_prompt, &variables)?;
                let messages = parse_messages(&messages)?;
                Ok(json!(
                    self.engine()?.apply_chat_template(&messages, &options)?
                ))
            }
            Request::Generate(generate) => {
                let generation = self.engine()?.generate(generate.into_request()?)?;
                let number = self.number();
                self.generations.insert(number, generation);
                Ok(json!(number))
            }
            Request::Next { generation } => self.next(generation),
            Request::CancelGeneration { generation } => {
                if let Some(generation) = self.generations.get(&generation) {
                    generation.handle().cancel();
                }
                Ok(Value::Null)
            }
            Request::Forward { ids, all } => {
                let task = self.engine()?.forward(&ids, all)?;
                Ok(self.start(Job::Floats(task)))
            }
            Request::Perplexity { text } => {
                let task = self.engine()?.perplexity(&text)?;
                Ok(self.start(Job::Perplexity(task)))
            }
            Request::PerplexityOf { ids } => {
                let task = self.engine()?.perplexity_of(ids)?;
                Ok(self.start(Job::Perplexity(task)))
            }
            Request::Embed { texts } => {
                let task = self.engine()?.embed(&texts)?;
                Ok(self.start(Job::Vectors(task)))
            }
            Request::Result { task } => self.result(task, floats),
            Request::CancelTask { task } => {
                match self.jobs.get(&task) {
                    Some(Job::Floats(task)) => task.handle().cancel(),
                    Some(Job::Vectors(task)) => task.handle().cancel(),
                    Some(Job::Perplexity(task)) => task.handle().cancel(),
                    None => {}
                }
                Ok(Value::Null)
            }
        }
    }

    fn engine(&self) -> Result<&Engine, Failure> {
        self.engine
            .as_ref()
            .ok_or_else(|| EngineError::Closed.into())
    }

    fn open(
        &mut self,
        open: &Open,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Value, Failure> {
        let engine = Engine::open(Path::new(&open.path), &open.config()?, progress)?;
        let about = info(&engine.info());
        self.engine = Some(engine);
        Ok(about)
    }

    fn number(&mut self) -> u32 {
        self.last_number = self.last_number.wrapping_add(1);
        self.last_number
    }

    fn start(&mut self, job: Job) -> Value {
        let number = self.number();
        self.jobs.insert(number, job);
        json!(number)
    }

    /// `{"text"}`, `{"done"}`, `{"pending": true}`, or null after the end.
    fn next(&mut self, number: u32) -> Result<Value, Failure> {
        let Some(generation) = self.generations.get_mut(&number) else {
            return Ok(Value::Null);
        };
        match generation.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Ok(json!({ "pending": true })),
            Poll::Ready(Some(Ok(TextEvent::Text(text)))) => Ok(json!({ "text": text })),
            Poll::Ready(Some(Ok(TextEvent::Done(completion)))) => {
                self.generations.remove(&number);
                Ok(json!({ "done": end(&completion) }))
            }
            Poll::Ready(Some(Err(error))) => {
                self.generations.remove(&number);
                Err(error.into())
            }
            Poll::Ready(None) => {
                self.generations.remove(&number);
                Ok(Value::Null)
            }
        }
    }

    /// The result of a task, or `{"pending": true}`. It can be had once.
    fn result(&mut self, number: u32, floats: &mut Vec<f32>) -> Result<Value, Failure> {
        let Some(job) = self.jobs.get_mut(&number) else {
            return Err(Failure::argument(
                "task",
                format!("{number} is not under way"),
            ));
        };
        let Some(value) = poll_job(job, floats) else {
            return Ok(json!({ "pending": true }));
        };
        self.jobs.remove(&number);
        Ok(value?)
    }
}

/// `None` while it is under way.
fn poll_job(job: &mut Job, floats: &mut Vec<f32>) -> Option<Result<Value, EngineError>> {
    fn poll<T>(task: &mut Task<T>) -> Option<Result<T, EngineError>> {
        match Pin::new(task).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }
    match job {
        Job::Floats(task) => poll(task).map(|result| {
            result.map(|logits| {
                *floats = logits;
                json!({ "floats": floats.len() })
            })
        }),
        Job::Vectors(task) => poll(task).map(|result| {
            result.map(|vectors| {
                *floats = vectors.concat();
                json!({ "floats": floats.len(), "vectors": vectors.len() })
            })
        }),
        Job::Perplexity(task) => poll(task).map(|result| {
            result.map(|of| {
                json!({ "perplexity": of.perplexity, "nll": of.mean_nll, "tokens": of.tokens, "tokenNll": of.nll })
            })
        }),
    }
}

/// As the Node layer's `GenerationEnd`.
fn end(completion: &Completion) -> Value {
    let (usage, timings) = (&completion.usage, &completion.timings);
    json!({
        "finishReason": completion.finish_reason.name(),
        "promptTokens": usage.prompt_tokens,
        "cachedTokens": usage.cached_tokens,
        "completionTokens": usage.completion_tokens,
        "draftedTokens": usage.drafted_tokens,
        "acceptedTokens": usage.accepted_tokens,
        "timings": {
            "queueMs": timings.queue_ms,
            "prefillMs": timings.prefill_ms,
            "decodeMs": timings.decode_ms,
            "ttftMs": timings.ttft_ms,
        },
        "seed": completion.seed,
        "tokenIds": completion.token_ids,
        "logprobs": completion.logprobs.as_deref().map(|choices| choices.iter().map(scores).collect::<Vec<_>>()),
    })
}

fn scores(ChoiceLogprobs { chosen, top }: &ChoiceLogprobs) -> Value {
    let score = |token: &TokenLogprob| json!({ "id": token.id, "token": token.token, "logprob": token.logprob });
    let mut scores = score(chosen);
    scores["top"] = top.iter().map(score).collect();
    scores
}

/// As the Node layer's `ModelInfo`, but for the path.
fn info(info: &EngineInfo) -> Value {
    json!({
        "architecture": info.architecture,
        "parameters": info.parameters,
        "ternaryParameters": info.ternary_parameters,
        "bitsPerWeight": info.bits_per_weight,
        "weightTypes": info.weight_types,
        "weightBytesPerToken": info.weight_bytes_per_token,
        "head": if info.head_searched { "searched" } else { "full" },
        "vocabSize": info.n_vocab,
        "layers": info.n_layer,
        "embeddingSize": info.n_embd,
        "contextLength": info.context_length,
        "contextSize": info.context_size,
        "hasChatTemplate": info.has_chat_template,
        "embeds": info.embeds,
        "isa": info.isa.name(),
        "threads": info.threads,
        "gpuLayers": info.gpu_layers,
        "memory": {
            "weightsBytes": info.memory.weights_bytes,
            "mappedBytes": info.memory.mapped_bytes,
            "kvBytes": info.memory.kv_bytes,
        },
    })
}
