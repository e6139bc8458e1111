//! The engine's thread: rounds over all running sequences until the engine closes.
//!
//! A round is one forward pass. Every sequence that decodes brings one token, and with it what is guessed to follow
//! ([`crate::speculation`]); one of those that still read their
//! prompt brings a chunk; they take turns. Weights are so read once for all, nobody waits for another's prompt to end,
//! and a cancelled request stops the work after the pass that is under way.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use llm_kernels::{Compute, Kernels};
use llm_model::{BatchEntry, KvCache, Logits, LogitsOf, Model, ModelError, Scratch};
use llm_text::Tokenizer;

use crate::error::EngineError;
use crate::inbox::{Command, Inbox};
use crate::job::{Job, Workbench};
use crate::kv_budget::KvBudget;
use crate::load::Clock;
use crate::prefix_cache::PrefixCache;
use crate::prefix_file::{PROOF, PrefixWork};
use crate::sequence::{Sequence, SequenceRequest};
use crate::speculation::{PlainPass, draft_limit};

/// Prompt tokens of one pass: enough to reuse every weight that is read, few enough that other sequences and a
/// cancellation do not wait long.
pub(crate) const PREFILL_CHUNK: usize = 64;

/// Sequences that run at once, those whose readers are behind not counted; more wait their turn. Each holds a cache.
const MAX_RUNNING: usize = 16;

/// Rounds in which the budget of keys and values may be exceeded, while other engines wake and give up what they keep, and the
/// pause before each.
const PATIENCE: usize = 20;
const PAUSE: Duration = Duration::from_millis(1);

/// Pauses that a request without room waits for readers that hold up all that runs. Then it may try: one who reads only when this
/// request is served would wait for ever.
const PATIENCE_WITH_READERS: usize = 2000;

/// What the engine's thread works with.
pub(crate) struct Scheduler {
    model: Arc<dyn Model>,
    tokenizer: Tokenizer,
    compute: Compute,
    scratch: Scratch,
    logits: Logits,
    context_size: usize,
    waiting: VecDeque<SequenceRequest>,
    running: Vec<Sequence>,
    jobs: VecDeque<Job>,
    prefix_work: VecDeque<PrefixWork>,
    prefix_cache: PrefixCache,
    clock: Clock,
    plain_pass: PlainPass,
    /// Bytes of all key-value caches, for others to read.
    kv_bytes: Arc<AtomicUsize>,
    budget: KvBudget,
    /// Bytes that the budget has been told of.
    accounted: u64,
    /// Bytes of a position in the caches, as far as it is known: before, any number of them is too much.
    position_bytes: f64,
    /// Rounds in a row that have found the budget exceeded with nothing left to give up.
    rounds_over: usize,
    /// Rounds in a row in which a request had no room and readers held up all that runs.
    rounds_held_up: usize,
}

impl Scheduler {
    pub(crate) fn new(
        model: Arc<dyn Model>,
        tokenizer: Tokenizer,
        compute: Compute,
        context_size: usize,
        kv_bytes: Arc<AtomicUsize>,
        budget: KvBudget,
        clock: Clock,
    ) -> Self {
        Self {
            model,
            tokenizer,
            compute,
            scratch: Scratch::default(),
            logits: Logits::default(),
            context_size,
            waiting: VecDeque::new(),
            running: Vec::new(),
            jobs: VecDeque::new(),
            prefix_work: VecDeque::new(),
            prefix_cache: PrefixCache::new(context_size),
            clock,
            plain_pass: PlainPass::default(),
            kv_bytes,
            budget,
            accounted: 0,
            position_bytes: f64::INFINITY,
            rounds_over: 0,
            rounds_held_up: 0,
        }
    }

    /// Serves `inbox` until it is closed. What is unfinished then ends with [`EngineError::Closed`].
    pub(crate) fn run(mut self, inbox: &Inbox) {
        while let Some(commands) = inbox.receive(self.is_idle()) {
            self.serve(commands);
        }
    }

    /// One round with what `inbox` holds, without waiting; whether there is work for another one.
    pub(crate) fn step(&mut self, inbox: &Inbox) -> bool {
        let Some(commands) = inbox.receive(false) else {
            // Closed: what is unfinished says so as it is dropped.
            self.running.clear();
            self.waiting.clear();
            self.jobs.clear();
            self.prefix_work.clear();
            return false;
        };
        self.serve(commands);
        !self.is_idle()
    }

    fn serve(&mut self, commands: VecDeque<Command>) {
        for command in commands {
            match command {
                Command::Generate(request) => self.waiting.push_back(*request),
                Command::Run(job) => self.jobs.push_back(*job),
                Command::Prefix(work) => self.prefix_work.push_back(*work),
            }
        }
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.round())) {
            self.recover(&panic);
        }
    }

    /// Whether nothing can be done before the inbox changes.
    fn is_idle(&self) -> bool {
        let blocked = |sequence: &Sequence| !sequence.is_ready() && !sequence.is_over();
        self.jobs.is_empty()
            && self.prefix_work.is_empty()
            && self.waiting.is_empty()
            && self.running.iter().all(blocked)
    }

    fn round(&mut self) {
        self.sweep();
        self.keep_to_budget();
        self.work_on_prefixes();
        self.admit();
        let batch = self.pick();
        self.pass(&batch);
        self.sweep();
        self.run_job();
    }

    /// Takes away what is over and keeps its cache.
    fn sweep(&mut self) {
        let over = self.running.extract_if(.., |sequence| sequence.is_over());
        let ends: Vec<_> = over
            .map(|sequence| sequence.finish(&mut self.prefix_cache))
            .collect();
        self.waiting
            .retain(|request| !request.outbox.is_cancelled());
        self.jobs.retain(|job| !job.is_abandoned());
        self.count_bytes();
        // Told last: a reader that sees the end may look at the memory, or ask on, at once.
        for (outbox, end) in ends {
            outbox.finish(end);
        }
    }

    /// Looks up and takes over what is kept of finished requests.
    fn work_on_prefixes(&mut self) {
        while let Some(work) = self.prefix_work.pop_front() {
            match work {
                PrefixWork::Find(tokens, reply) => reply.send(Ok(self.prefix_cache.find(&tokens))),
                PrefixWork::Adopt(tokens, cache, reply) => {
                    let proved = self.proves(&tokens, &cache);
                    if let Ok(true) = proved {
                        self.prefix_cache.put(tokens, cache);
                        self.count_bytes();
                    }
                    reply.send(proved);
                }
            }
        }
    }

    /// Whether the beginning of `cache` is what this model computes of that of `tokens`.
    fn proves(&mut self, tokens: &[u32], cache: &KvCache) -> Result<bool, EngineError> {
        let n = tokens.len().min(PROOF);
        let mut own = self.model.new_cache();
        let entry = BatchEntry {
            tokens: &tokens[..n],
            cache: &mut own,
            logits: LogitsOf::None,
        };
        self.model.forward(
            &self.compute,
            &mut self.scratch,
            &mut [entry],
            &mut self.logits,
        )?;
        Ok(cache.begins_like(&own, n))
    }

    /// Tells others what the caches take.
    fn count_bytes(&mut self) {
        let running = self.running.iter().map(Sequence::cache);
        let usage = KvCache::usage(running.chain(self.prefix_cache.caches()));
        let bytes = usage.bytes;
        if usage.positions > 0 {
            self.position_bytes = bytes as f64 / usage.positions as f64;
        }
        self.kv_bytes.store(bytes, Ordering::Relaxed);
        self.budget.account(self.accounted, bytes as u64);
        self.accounted = bytes as u64;
    }

    /// Where the budget is exceeded: gives up what is kept of finished requests, has other engines do so, and if that was not
    /// enough ends the newest request.
    fn keep_to_budget(&mut self) {
        while self.budget.is_exceeded() && self.prefix_cache.drop_oldest() {
            self.count_bytes();
        }
        if !self.budget.is_exceeded() || self.running.is_empty() {
            self.rounds_over = 0;
            return;
        }
        self.rounds_over += 1;
        if self.rounds_over < PATIENCE {
            self.budget.wake();
            std::thread::sleep(PAUSE);
            return;
        }
        let (used, limit) = (self.budget.used(), self.budget.limit());
        let times = self.running.iter().map(Sequence::started).enumerate();
        if let Some((newest, _)) = times.max_by_key(|&(_, started)| started) {
            let newest = self.running.remove(newest);
            self.count_bytes();
            newest.abort(EngineError::KvOverBudget { used, limit });
        }
    }

    /// Starts waiting requests while there is room.
    fn admit(&mut self) {
        while self.ready() < MAX_RUNNING {
            let Some(request) = self.waiting.front() else {
                return;
            };
            if !self.has_room_for(request) && !self.is_stuck() {
                return;
            }
            let Some(request) = self.waiting.pop_front() else {
                return;
            };
            let cache = self.prefix_cache.take(&request.prompt);
            let cache = cache.unwrap_or_else(|| self.model.new_cache());
            self.running
                .push(Sequence::new(request, cache, &self.tokenizer));
        }
    }

    /// Sequences whose readers are not behind.
    fn ready(&self) -> usize {
        self.running.iter().filter(|s| s.is_ready()).count()
    }

    /// Whether nothing that runs will make room: nothing runs, or all of it has waited long enough for its readers.
    fn is_stuck(&mut self) -> bool {
        if self.running.is_empty() || self.ready() > 0 {
            self.rounds_held_up = 0;
            return self.running.is_empty();
        }
        self.rounds_held_up += 1;
        if self.rounds_held_up < PATIENCE_WITH_READERS {
            std::thread::sleep(PAUSE);
            return false;
        }
        true
    }

    /// Whether `request` and all that run may grow to their full length within the budget.
    fn has_room_for(&self, request: &SequenceRequest) -> bool {
        let limit = self.context_size;
        let running = self.running.iter().map(|s| s.most_positions(limit));
        let positions = running.sum::<usize>() + request.most_positions(limit);
        let share = self.budget.share(self.accounted);
        share == u64::MAX || positions as f64 * self.position_bytes <= share as f64
    }

    /// The sequences of this round: all that decode, and the first that still reads its prompt, which then goes to the
    /// end of the line.
    fn pick(&mut self) -> Vec<usize> {
        let reads_prompt = |s: &Sequence| s.n_pending() > 1 && s.is_ready();
        let reader = self.running.iter().position(reads_prompt);
        if let Some(at) = reader {
            self.running[at..].rotate_left(1);
        }
        let last = self.running.len().wrapping_sub(1);
        let belongs = |&at: &usize| {
            let sequence = &self.running[at];
            sequence.is_ready() && (sequence.n_pending() == 1 || reader.is_some() && at == last)
        };
        (0..self.running.len()).filter(belongs).collect()
    }

    /// One forward pass over the sequences at `batch`, and what follows from it. When it fails for several together, or with
    /// guesses, each is tried alone and without, so that only the culprit ends.
    fn pass(&mut self, batch: &[usize]) {
        if batch.is_empty() {
            return;
        }
        let decoding = batch.iter().all(|&at| self.running[at].n_pending() == 1);
        let guessing = decoding && self.guess(batch);
        let started = (self.clock)();
        if let Err(error) = self.forward(batch) {
            let guessed = batch
                .iter()
                .fold(false, |any, &at| self.running[at].retract() | any);
            match batch {
                [at] if !guessed => self.running[*at].fail(error.into()),
                _ => batch.iter().for_each(|&at| self.pass(&[at])),
            }
            return;
        }
        let seconds = (self.clock)().saturating_sub(started).as_secs_f64();
        let chosen = self.advance(batch);
        if guessing {
            self.account(batch, chosen, seconds);
        } else if decoding {
            self.plain_pass.record(batch.len(), seconds);
        }
    }

    /// Lets the sequences at `batch`, which all decode, guess; true when any did. Not before it is known what a pass without
    /// guesses takes.
    fn guess(&mut self, batch: &[usize]) -> bool {
        let known = self.plain_pass.seconds(batch.len()).is_some();
        let limit = if known { draft_limit(batch.len()) } else { 0 };
        batch.iter().fold(false, |any, &at| {
            self.running[at].guess(limit, self.context_size) | any
        })
    }

    /// Tells the sequences at `batch` what guessing was good for: a pass of `seconds` has given them `chosen` tokens.
    fn account(&mut self, batch: &[usize], chosen: usize, seconds: f64) {
        if let Some(plain) = self.plain_pass.seconds(batch.len()) {
            let saved = chosen as f64 / batch.len() as f64 - seconds / plain;
            for &at in batch {
                self.running[at].account(saved);
            }
        }
    }

    fn forward(&mut self, batch: &[usize]) -> Result<(), ModelError> {
        let members = self
            .running
            .iter_mut()
            .enumerate()
            .filter(|(at, _)| batch.contains(at));
        let mut entries: Vec<BatchEntry<'_>> = members
            .map(|(_, sequence)| sequence.feed(PREFILL_CHUNK))
            .collect();
        self.model.forward(
            &self.compute,
            &mut self.scratch,
            &mut entries,
            &mut self.logits,
        )
    }

    /// Hands each sequence of the pass its rows of logits, unless it still reads its prompt; returns how many tokens they
    /// have chosen.
    fn advance(&mut self, batch: &[usize]) -> usize {
        let mut rows = self.logits.rows();
        let mut chosen = 0;
        for &at in batch {
            let sequence = &mut self.running[at];
            if sequence.n_pending() == 0 {
                chosen += sequence.advance(&mut rows, self.context_size);
            }
        }
        chosen
    }

    /// One chunk of the oldest job.
    fn run_job(&mut self) {
        let Some(job) = self.jobs.front_mut() else {
            return;
        };
        let mut bench = Workbench {
            model: &*self.model,
            compute: &self.compute,
            scratch: &mut self.scratch,
            logits: &mut self.logits,
        };
        let done = job.step(&mut bench, PREFILL_CHUNK);
        let outcome = match done {
            Ok(false) => return,
            Ok(true) => Ok(()),
            Err(error) => Err(error),
        };
        if let Some(job) = self.jobs.pop_front() {
            job.finish(outcome);
        }
    }

    /// After a panic: everything under way ends with an error, and whatever may have been left half written is made anew.
    fn recover(&mut self, panic: &Box<dyn Any + Send>) {
        let what = panic_message(panic);
        for sequence in self.running.drain(..) {
            sequence.abort(EngineError::Internal { what: what.clone() });
        }
        for work in self.prefix_work.drain(..) {
            work.fail(EngineError::Internal { what: what.clone() });
        }
        if let Some(job) = self.jobs.pop_front() {
            job.finish(Err(EngineError::Internal { what }));
        }
        self.scratch = Scratch::default();
        self.logits = Logits::default();
        let kernels: Kernels = self.compute.kernels();
        if let Ok(compute) = Compute::new(kernels, self.compute.threads()) {
            self.compute = compute;
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.budget.account(self.accounted, 0);
    }
}

fn panic_message(panic: &Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic".to_owned())
}
