//! A model that says what a test wants, and an engine around it.

use std::path::Path;
use std::sync::{Arc, Condvar, LazyLock, Mutex};
use std::time::Duration;

use llm_kernels::{Compute, Kernels};
use llm_model::{
    BatchEntry, KvCache, LoadOptions, Logits, LogitsOf, Model, ModelConfig, ModelError, Scratch,
};
use llm_text::{ChatTemplate, Tokenizer, TokenizerSpec};

use crate::config::EngineConfig;
use crate::engine::Engine;
use crate::load::Loaded;
use crate::request::{GenerateRequest, Prompt};
use crate::sampling::SamplingOptions;
use crate::speculation::Speculation;
use crate::vocabulary::Vocabulary;

/// Ids below 256 are bytes; then come these.
pub(super) const BOS: u32 = 256;
pub(super) const EOS: u32 = 257;
pub(super) const END_OF_TURN: u32 = 258;
pub(super) const N_VOCAB: usize = 260;

/// A small model of random weights. It fills the caches; what it computes is not looked at.
static INNER: LazyLock<Box<dyn Model>> = LazyLock::new(|| {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/oracle/models/llama-fp16");
    llm_model::load(
        &llm_format::open(&folder).unwrap(),
        &compute(),
        &LoadOptions::default(),
        &mut |_, _| {},
    )
    .unwrap()
});

fn compute() -> Compute {
    Compute::new(Kernels::detect(), 1).unwrap()
}

/// Bytes that a cache of up to 64 positions takes.
pub(super) fn cache_block_bytes() -> u64 {
    let (mut cache, mut logits) = (INNER.new_cache(), Logits::default());
    let entry = BatchEntry {
        tokens: &[0],
        cache: &mut cache,
        logits: LogitsOf::None,
    };
    INNER
        .forward(
            &compute(),
            &mut Scratch::default(),
            &mut [entry],
            &mut logits,
        )
        .unwrap();
    cache.bytes() as u64
}

/// What goes wrong in a forward pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fault {
    Panic,
    NotANumber,
    /// For every sequence longer than this.
    OutOfMemoryBeyond(usize),
}

/// What the model is to do and what it has done.
#[derive(Debug, Default)]
struct State {
    fault: Option<Fault>,
    /// Tokens of each sequence, per forward pass.
    passes: Vec<Vec<usize>>,
    /// How long a pass takes, and how much longer for each further token, by the fake's own clock.
    durations: (Duration, Duration),
    time: Duration,
    /// Forward passes that may still run; `None` = any number.
    allowed: Option<usize>,
}

/// After n tokens the next one is number n of what it says, over and over.
#[derive(Debug)]
pub(super) struct FakeModel {
    config: ModelConfig,
    says: Vec<u32>,
    state: Mutex<State>,
    changed: Condvar,
}

impl FakeModel {
    pub(super) fn saying(says: impl Into<Vec<u32>>) -> Arc<Self> {
        let config = ModelConfig {
            architecture: "fake".to_owned(),
            n_vocab: N_VOCAB,
            context_length: 4096,
            ..INNER.config().clone()
        };
        Arc::new(Self {
            config,
            says: says.into(),
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    pub(super) fn fail_with(&self, fault: impl Into<Option<Fault>>) {
        self.state.lock().unwrap().fault = fault.into();
    }

    /// Makes a pass take so long, and so much longer for every token but the first.
    pub(super) fn take_time(&self, pass: Duration, token: Duration) {
        self.state.lock().unwrap().durations = (pass, token);
    }

    /// Lets `n` more passes run, and holds those after them back.
    pub(super) fn allow(&self, n: usize) {
        let mut state = self.state.lock().unwrap();
        state.allowed = Some(state.allowed.unwrap_or(0) + n);
        self.changed.notify_all();
    }

    /// Lets all passes run again.
    pub(super) fn allow_all(&self) {
        self.state.lock().unwrap().allowed = None;
        self.changed.notify_all();
    }

    /// Waits for the pass number `n` to have begun.
    pub(super) fn wait_for_pass(&self, n: usize) {
        let mut state = self.state.lock().unwrap();
        while state.passes.len() < n {
            state = self.changed.wait(state).unwrap();
        }
    }

    /// Tokens of each sequence, per forward pass so far.
    pub(super) fn passes(&self) -> Vec<Vec<usize>> {
        self.state.lock().unwrap().passes.clone()
    }

    /// Notes the pass, and waits for leave to run it.
    fn begin(&self, batch: &[BatchEntry<'_>]) -> Option<Fault> {
        let mut state = self.state.lock().unwrap();
        state
            .passes
            .push(batch.iter().map(|entry| entry.tokens.len()).collect());
        self.changed.notify_all();
        while state.allowed == Some(0) {
            state = self.changed.wait(state).unwrap();
        }
        state.allowed = state.allowed.map(|n| n - 1);
        let tokens: usize = batch.iter().map(|entry| entry.tokens.len()).sum();
        let (pass, token) = state.durations;
        state.time += pass + token * (tokens as u32 - 1);
        state.fault
    }

    fn row(&self, context: usize) -> impl Iterator<Item = f32> {
        let next = self.says[context % self.says.len()];
        (0..N_VOCAB as u32).map(move |id| if id == next { 20.0 } else { 0.0 })
    }
}

impl Model for FakeModel {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn new_cache(&self) -> KvCache {
        INNER.new_cache()
    }

    fn forward(
        &self,
        compute: &Compute,
        scratch: &mut Scratch,
        batch: &mut [BatchEntry<'_>],
        logits: &mut Logits,
    ) -> Result<(), ModelError> {
        let fault = self.begin(batch);
        assert_ne!(fault, Some(Fault::Panic), "a test asked for this panic");
        if let Some(Fault::OutOfMemoryBeyond(most)) = fault
            && batch
                .iter()
                .any(|entry| entry.cache.len() + entry.tokens.len() > most)
        {
            return Err(ModelError::OutOfMemory { bytes: 1 });
        }
        let mut rows = Vec::new();
        for entry in batch {
            let before = entry.cache.len();
            let tokens = &vec![0; entry.tokens.len()];
            let filling = BatchEntry {
                tokens,
                cache: entry.cache,
                logits: LogitsOf::None,
            };
            INNER.forward(compute, scratch, &mut [filling], logits)?;
            rows.extend(match entry.logits {
                LogitsOf::None => 0..0,
                LogitsOf::Last | LogitsOf::Top(_) => entry.cache.len()..entry.cache.len() + 1,
                LogitsOf::All | LogitsOf::TopOfEach(_) => before + 1..entry.cache.len() + 1,
            });
        }
        let logits = logits.reset(rows.len(), N_VOCAB);
        for (row, context) in logits.chunks_exact_mut(N_VOCAB).zip(rows) {
            row.iter_mut()
                .zip(self.row(context))
                .for_each(|(logit, value)| *logit = value);
        }
        if fault == Some(Fault::NotANumber) {
            logits.fill(f32::NAN);
        }
        Ok(())
    }

    /// The states of a small model of random weights.
    fn hidden_states(
        &self,
        compute: &Compute,
        scratch: &mut Scratch,
        batch: &mut [BatchEntry<'_>],
        hidden: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        let fault = self.begin(batch);
        assert_ne!(fault, Some(Fault::Panic), "a test asked for this panic");
        INNER.hidden_states(compute, scratch, batch, hidden)?;
        if fault == Some(Fault::NotANumber) {
            hidden.fill(f32::NAN);
        }
        Ok(())
    }
}

/// A tokenizer whose tokens are single bytes.
fn tokenizer() -> Tokenizer {
    let stands_for_itself = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut shifted = 0x100..;
    let bytes = (0..=u8::MAX).map(|byte| {
        let code = if stands_for_itself(byte) {
            u32::from(byte)
        } else {
            shifted.next().unwrap()
        };
        char::from_u32(code).unwrap().to_string()
    });
    let special = ["<s>", "</s>", "<|eot_id|>", "<unused>"].map(str::to_owned);
    Tokenizer::from_spec(TokenizerSpec {
        model: "gpt2".to_owned(),
        tokens: bytes.chain(special).collect(),
        token_types: Some([vec![1; 256], vec![3; 4]].concat()),
        merges: Some(Vec::new()),
        bos: Some(BOS),
        eos: Some(EOS),
        add_bos: Some(true),
        ..TokenizerSpec::default()
    })
    .unwrap()
}

/// An engine over `model`; `template` is a chat template.
pub(super) fn engine_with(
    model: &Arc<FakeModel>,
    template: Option<&str>,
    config: &EngineConfig,
) -> Engine {
    let template = template.map(|source| ChatTemplate::new(source, None, None));
    let loaded = Loaded {
        model: Arc::clone(model) as Arc<dyn Model>,
        vocabulary: Vocabulary::new(tokenizer(), template, []),
        recommended: SamplingOptions::default(),
        mapped_bytes: 0,
        clock: {
            let model = Arc::clone(model);
            Box::new(move || model.state.lock().unwrap().time)
        },
    };
    Engine::start(loaded, compute(), config).unwrap()
}

/// An engine over `model` with a context of `context_size` tokens.
pub(super) fn engine(model: &Arc<FakeModel>, context_size: usize) -> Engine {
    let config = EngineConfig {
        context_size: Some(context_size),
        ..EngineConfig::default()
    };
    engine_with(model, None, &config)
}

/// A greedy request to continue `text`, a token a pass.
pub(super) fn greedy(text: &str, max_tokens: usize) -> GenerateRequest {
    GenerateRequest {
        max_tokens: Some(max_tokens),
        sampling: SamplingOptions {
            temperature: Some(0.0),
            ..SamplingOptions::default()
        },
        speculation: Some(Speculation::Off),
        ..GenerateRequest::new(Prompt::Text {
            text: text.to_owned(),
            raw: true,
        })
    }
}

/// The ids of the bytes of `text`.
pub(super) fn bytes(text: &str) -> Vec<u32> {
    text.bytes().map(u32::from).collect()
}
