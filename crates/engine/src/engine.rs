use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::Instant;

use llm_kernels::Compute;
use llm_model::{Model, Pooling};
use llm_text::{Message, RenderOptions};

use crate::config::{self, Driver, EngineConfig};
use crate::constraint::{Constraint, Grammars};
use crate::embed::EmbedJob;
use crate::error::EngineError;
use crate::events::{self, Generation};
use crate::inbox::{Command, Inbox};
use crate::info::{EngineInfo, MemoryInfo};
use crate::job::{Job, Perplexity, Purpose, TextJob};
use crate::load::{self, LoadProgress, Loaded};
use crate::request::{ContextOverflow, GenerateRequest, TextEvent};
use crate::sampler::Guidance;
use crate::sampling::SamplingOptions;
use crate::scheduler::Scheduler;
use crate::sequence::SequenceRequest;
use crate::speculation::Speculation;
use crate::task::{Task, task};
use crate::vocabulary::Vocabulary;

/// What the logits of one [`Engine::forward`] may take: a quarter of what a 32-bit length can count, and more than a
/// thousand positions of the largest vocabulary.
const MAX_LOGITS_BYTES: usize = 1 << 30;

/// One loaded model that can talk.
///
/// Every method but [`open`](Self::open) returns without waiting for the model: a thread of the engine's own does the
/// computing, or whoever calls [`step`](Self::step) where it was opened so ([`Driver::Caller`]). Dropping the engine ends what
/// is under way with [`EngineError::Closed`] and waits for its thread.
pub struct Engine {
    pub(crate) model: Arc<dyn Model>,
    pub(crate) vocabulary: Arc<Vocabulary>,
    grammars: Grammars,
    sampling: SamplingOptions,
    speculation: Speculation,
    pub(crate) context_size: usize,
    threads: usize,
    isa: llm_kernels::Isa,
    mapped_bytes: u64,
    kv_bytes: Arc<AtomicUsize>,
    pub(crate) inbox: Arc<Inbox>,
    computing: Computing,
}

/// Where the rounds are computed.
enum Computing {
    /// `None` once it has been waited for.
    Thread(Option<JoinHandle<()>>),
    Steps(Box<Mutex<Scheduler>>),
}

impl Engine {
    /// Opens the model at `path`: a GGUF file, a folder in the layout of Hugging Face, or a safetensors file in one.
    ///
    /// # Errors
    /// [`EngineError::InvalidOption`], [`EngineError::IsaUnavailable`] and [`EngineError::OverBudget`] for `config`;
    /// [`EngineError::Format`], [`EngineError::Model`] and [`EngineError::Text`] for the files.
    pub fn open(
        path: &Path,
        config: &EngineConfig,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Self, EngineError> {
        config.sampling.validate()?;
        let compute = load::compute(config)?;
        let loaded = load::load(path, &compute, config, progress)?;
        Self::start(loaded, compute, config)
    }

    /// Starts the thread over what was loaded.
    pub(crate) fn start(
        loaded: Loaded,
        compute: Compute,
        config: &EngineConfig,
    ) -> Result<Self, EngineError> {
        let Loaded {
            model,
            vocabulary,
            recommended,
            mapped_bytes,
            clock,
        } = loaded;
        let context_size =
            config::effective_context_size(config.context_size, model.config().context_length)?;
        let vocabulary = Arc::new(vocabulary);
        let inbox = Arc::new(Inbox::default());
        let kv_bytes = Arc::new(AtomicUsize::new(0));
        config.kv_budget.join(&inbox);
        let budget = config.kv_budget.clone();
        let (threads, isa) = (compute.threads(), compute.kernels().isa());
        let scheduler = Scheduler::new(
            Arc::clone(&model),
            vocabulary.tokenizer().clone(),
            compute,
            context_size,
            Arc::clone(&kv_bytes),
            budget,
            clock,
        );
        let computing = match config.driver {
            Driver::OwnThread => Computing::Thread(Some(spawn(scheduler, Arc::clone(&inbox))?)),
            Driver::Caller => Computing::Steps(Box::new(Mutex::new(scheduler))),
        };
        Ok(Self {
            model,
            vocabulary,
            grammars: Grammars::default(),
            sampling: config.sampling.or(recommended),
            speculation: config.speculation,
            context_size,
            threads,
            isa,
            mapped_bytes,
            kv_bytes,
            inbox,
            computing,
        })
    }

    /// What is loaded and how it runs.
    #[must_use]
    pub fn info(&self) -> EngineInfo {
        let model = self.model.config();
        EngineInfo {
            architecture: model.architecture.clone(),
            parameters: model.parameters,
            ternary_parameters: model.ternary_parameters,
            bits_per_weight: model.bits_per_weight,
            weight_types: model.weight_types.clone(),
            weight_bytes_per_token: model.weight_bytes,
            head_searched: model.head_searched,
            n_vocab: model.n_vocab,
            n_layer: model.n_layer,
            n_embd: model.n_embd,
            context_length: model.context_length,
            context_size: self.context_size,
            has_chat_template: self.vocabulary.has_chat_template(),
            embeds: model.pooling != Pooling::Unstated,
            isa: self.isa,
            threads: self.threads,
            gpu_layers: 0,
            memory: MemoryInfo {
                weights_bytes: model.resident_bytes,
                mapped_bytes: self.mapped_bytes,
                kv_bytes: self.kv_bytes.load(Ordering::Relaxed) as u64,
            },
        }
    }

    /// The token ids of `text`; with `add_special` also those that the tokenizer puts around every text.
    ///
    /// # Errors
    /// [`EngineError::Text`] when the tokenizer refuses.
    pub fn tokenize(&self, text: &str, add_special: bool) -> Result<Vec<u32>, EngineError> {
        Ok(self.vocabulary.tokenizer().encode(text, add_special)?)
    }

    /// The text of `ids`; incomplete characters become U+FFFD, ids without a token nothing. `skip_special` leaves special
    /// tokens out.
    #[must_use]
    pub fn detokenize(&self, ids: &[u32], skip_special: bool) -> String {
        self.vocabulary.tokenizer().decode(ids, skip_special)
    }

    /// `messages` as the model's chat template renders them.
    ///
    /// # Errors
    /// [`EngineError::NoChatTemplate`]; [`EngineError::Text`] when the template is broken or refuses.
    pub fn apply_chat_template(
        &self,
        messages: &[Message],
        options: &RenderOptions,
    ) -> Result<String, EngineError> {
        self.vocabulary.render(messages, options)
    }

    /// Starts to generate. The prompt is tokenised here, everything else happens on the engine's thread.
    ///
    /// # Errors
    /// [`EngineError::InvalidOption`] for an option outside its range; [`EngineError::Grammar`]; [`EngineError::EmptyPrompt`],
    /// [`EngineError::ContextOverflow`] and [`EngineError::TokenOutOfRange`] for the prompt; what tokenizer and template
    /// say; [`EngineError::Closed`].
    pub fn generate(&self, request: GenerateRequest) -> Result<Generation, EngineError> {
        let submitted = Instant::now();
        request.sampling.validate()?;
        let max_tokens = config::validate_max_tokens(request.max_tokens)?;
        config::validate_stop(&request.stop)?;
        let guidance = self.guidance(&request)?;
        let prompt = self.vocabulary.encode_prompt(request.prompt)?;
        self.check_ids(&prompt)?;
        let keep = usize::from(self.vocabulary.starts_with_bos(&prompt));
        let prompt = self.fit(prompt, request.context_overflow, keep, max_tokens)?;
        let end_tokens = if request.ignore_eos {
            Arc::default()
        } else {
            self.vocabulary.end_tokens()
        };
        let (outbox, generation) = events::stream(Arc::clone(&self.inbox));
        self.inbox
            .send(Command::Generate(Box::new(SequenceRequest {
                prompt,
                max_tokens,
                sampling: request.sampling.or(self.sampling).resolve(),
                guidance,
                stop: request.stop,
                end_tokens,
                shift: (request.context_overflow == ContextOverflow::Shift).then_some(keep),
                speculation: request.speculation.unwrap_or(self.speculation),
                outbox,
                submitted,
            })))?;
        Ok(generation)
    }

    /// What `request` asks of the choice of tokens besides sampling.
    fn guidance(&self, request: &GenerateRequest) -> Result<Guidance, EngineError> {
        let n_vocab = self.model.config().n_vocab;
        config::validate_guidance(request.logprobs, &request.logit_bias, n_vocab)?;
        Ok(Guidance {
            constraint: self.constraint(request)?,
            bias: request.logit_bias.clone(),
            logprobs: request.logprobs,
        })
    }

    fn constraint(&self, request: &GenerateRequest) -> Result<Option<Constraint>, EngineError> {
        let Some(format) = &request.response_format else {
            return Ok(None);
        };
        if request.ignore_eos {
            return Err(EngineError::invalid_option(
                "ignoreEos",
                true,
                "false where responseFormat says when an answer is complete",
            ));
        }
        let n_vocab = self.model.config().n_vocab;
        let ends = self.vocabulary.end_tokens();
        self.grammars
            .constraint(format, self.vocabulary.tokenizer(), n_vocab, &ends)
            .map(Some)
    }

    /// The logits after `ids`, in a context of their own: `[n_vocab]` of the last position, or with `all`
    /// `[ids.len()][n_vocab]`.
    ///
    /// # Errors
    /// [`EngineError::EmptyPrompt`], [`EngineError::TokenOutOfRange`], [`EngineError::ContextOverflow`],
    /// [`EngineError::TooManyLogits`], [`EngineError::Closed`].
    pub fn forward(&self, ids: &[u32], all: bool) -> Result<Task<Vec<f32>>, EngineError> {
        self.check_text(ids)?;
        let (tokens, n_vocab) = (ids.len(), self.model.config().n_vocab);
        let rows = if all { tokens } else { 1 };
        let bytes = rows
            .saturating_mul(n_vocab)
            .saturating_mul(size_of::<f32>());
        if bytes > MAX_LOGITS_BYTES {
            return Err(EngineError::TooManyLogits {
                tokens,
                n_vocab,
                bytes,
                limit: MAX_LOGITS_BYTES,
            });
        }
        let (reply, result) = task();
        let purpose = Purpose::Logits {
            all,
            out: Vec::new(),
            reply,
        };
        self.run(Job::Text(TextJob::new(ids.to_vec(), purpose)))?;
        Ok(result)
    }

    /// How well the model predicts `text`, after the tokens that the tokenizer puts before every text.
    ///
    /// # Errors
    /// [`EngineError::TextTooShort`] below two tokens, [`EngineError::ContextOverflow`], [`EngineError::Text`],
    /// [`EngineError::Closed`].
    pub fn perplexity(&self, text: &str) -> Result<Task<Perplexity>, EngineError> {
        self.perplexity_of(self.tokenize(text, true)?)
    }

    /// How well the model predicts each of `ids` but the first, which is taken as it is: no token is put before them.
    ///
    /// # Errors
    /// [`EngineError::TextTooShort`] below two tokens, [`EngineError::TokenOutOfRange`], [`EngineError::ContextOverflow`],
    /// [`EngineError::Closed`].
    pub fn perplexity_of(&self, ids: Vec<u32>) -> Result<Task<Perplexity>, EngineError> {
        if ids.len() < 2 {
            return Err(EngineError::TextTooShort { tokens: ids.len() });
        }
        self.check_text(&ids)?;
        let (reply, result) = task();
        let purpose = Purpose::Perplexity {
            nll: Vec::new(),
            reply,
        };
        self.run(Job::Text(TextJob::new(ids, purpose)))?;
        Ok(result)
    }

    /// One vector of length 1 a text, `[texts.len()][n_embd]`: the normed hidden state of the last of its tokens, those that
    /// the tokenizer puts around every text among them. Models that were made to generate give vectors too, if less telling
    /// ones.
    ///
    /// # Errors
    /// [`EngineError::UnsupportedPooling`] for a model that pools otherwise; [`EngineError::InText`] with the position of a
    /// text that has no tokens, too many, or that the tokenizer refuses; [`EngineError::Closed`].
    pub fn embed(&self, texts: &[impl AsRef<str>]) -> Result<Task<Vec<Vec<f32>>>, EngineError> {
        if let Pooling::Other(pooling) = &self.model.config().pooling {
            return Err(EngineError::UnsupportedPooling {
                pooling: pooling.clone(),
            });
        }
        let encode = |(index, text): (usize, &_)| {
            self.encode_whole(AsRef::as_ref(text))
                .map_err(|source| EngineError::InText {
                    index,
                    source: Box::new(source),
                })
        };
        let ids: Vec<Vec<u32>> = texts
            .iter()
            .enumerate()
            .map(encode)
            .collect::<Result<_, _>>()?;
        let (reply, result) = task();
        if ids.is_empty() {
            reply.send(Ok(Vec::new()));
        } else {
            self.run(Job::Embed(EmbedJob::new(ids, reply)))?;
        }
        Ok(result)
    }

    /// The tokens of a text that must be neither empty nor longer than the context.
    fn encode_whole(&self, text: &str) -> Result<Vec<u32>, EngineError> {
        let ids = self.tokenize(text, true)?;
        self.check_text(&ids)?;
        Ok(ids)
    }

    fn run(&self, job: Job) -> Result<(), EngineError> {
        self.inbox.send(Command::Run(Box::new(job)))
    }

    /// Computes one round of an engine that has no thread of its own; whether there is work for another one. With a thread it
    /// does nothing, and there is none.
    pub fn step(&self) -> bool {
        match &self.computing {
            Computing::Thread(_) => false,
            Computing::Steps(scheduler) => scheduler
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .step(&self.inbox),
        }
    }

    /// The next event of one of this engine's generations: waits for its thread, or computes.
    pub(crate) fn next_event(
        &self,
        generation: &mut Generation,
    ) -> Option<Result<TextEvent, EngineError>> {
        if matches!(self.computing, Computing::Thread(_)) {
            return generation.next_blocking();
        }
        let mut context = Context::from_waker(Waker::noop());
        loop {
            match generation.poll_next(&mut context) {
                Poll::Ready(event) => return event,
                Poll::Pending => {
                    self.step();
                }
            }
        }
    }

    /// Ends what is under way, after the step that is being computed, with [`EngineError::Closed`]; later requests get the
    /// same.
    pub fn close(&self) {
        drop(self.inbox.close());
    }

    fn check_text(&self, ids: &[u32]) -> Result<(), EngineError> {
        self.check_ids(ids)?;
        self.fit(ids.to_vec(), ContextOverflow::Error, 0, 0)
            .map(drop)
    }

    fn check_ids(&self, ids: &[u32]) -> Result<(), EngineError> {
        let n_vocab = self.model.config().n_vocab;
        match ids.iter().find(|&&id| id as usize >= n_vocab) {
            Some(&id) => Err(EngineError::TokenOutOfRange { id, n_vocab }),
            None if ids.is_empty() => Err(EngineError::EmptyPrompt),
            None => Ok(()),
        }
    }

    /// A prompt that fits the context. One that does not loses its oldest tokens behind the first `keep`, if the policy
    /// allows: what is left leaves room for `max_tokens`, but keeps at least half of the context.
    fn fit(
        &self,
        mut prompt: Vec<u32>,
        overflow: ContextOverflow,
        keep: usize,
        max_tokens: usize,
    ) -> Result<Vec<u32>, EngineError> {
        let (prompt_tokens, context_size) = (prompt.len(), self.context_size);
        if prompt_tokens <= context_size {
            return Ok(prompt);
        }
        if overflow == ContextOverflow::Error {
            return Err(EngineError::ContextOverflow {
                prompt_tokens,
                context_size,
            });
        }
        let room = context_size
            .saturating_sub(max_tokens)
            .max(context_size.div_ceil(2));
        let keep = keep.min(room - 1);
        prompt.drain(keep..prompt_tokens - room + keep);
        Ok(prompt)
    }
}

/// A thread that serves `inbox`.
fn spawn(scheduler: Scheduler, inbox: Arc<Inbox>) -> Result<JoinHandle<()>, EngineError> {
    std::thread::Builder::new()
        .name("llm-engine".to_owned())
        .spawn(move || scheduler.run(&inbox))
        .map_err(EngineError::Thread)
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("info", &self.info())
            .finish_non_exhaustive()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
        if let Computing::Thread(Some(thread)) =
            std::mem::replace(&mut self.computing, Computing::Thread(None))
        {
            // The thread catches panics, and there is nobody left to tell about one.
            let _ = thread.join();
        }
    }
}
