//! Fork and join over a fixed set of threads, for work of some ten microseconds and more.
//!
//! A fork costs about a microsecond while the workers spin, which they do for [`SPIN`] after their last work; then they sleep.
//! Each thread begins with a run of neighbouring items of its own, so that it streams through memory, and helps with the others'
//! when its own are done.
//!
//! The caller takes part and never waits for a worker that has not begun: it closes the job when no work is left and waits only
//! for those inside. So a worker that the system has put aside costs its share of the speed, not the whole step.

use std::any::Any;
use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::KernelError;

/// How long an idle worker looks for work before it sleeps: longer than the pauses between the steps of a forward pass.
const SPIN: Duration = Duration::from_micros(60);

/// Looks between two glances at the clock, which costs more than a look.
const LOOKS_PER_CLOCK: u32 = 64;

/// `state` counts forks from this bit on; below are the workers inside (bits 1 to 15) and whether the job is open (bit 0).
const EPOCH: u64 = 1 << 16;
const WORKER: u64 = 1 << 1;
const OPEN: u64 = 1;

type Work<'a> = dyn Fn(Range<usize>) + Sync + 'a;

/// The threads, and the job that they share.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Held by the one caller whose job the workers run.
    caller: Mutex<()>,
}

impl Pool {
    /// The largest `threads`: far above any machine, and far below what `state` can count.
    pub(crate) const MAX_THREADS: usize = 1024;

    /// A pool of `threads` threads, the caller among them.
    pub(crate) fn new(threads: usize) -> Result<Self, KernelError> {
        if !(1..=Self::MAX_THREADS).contains(&threads) {
            return Err(KernelError::ThreadCount {
                threads,
                max: Self::MAX_THREADS,
            });
        }
        let shared = Arc::new(Shared::new(threads - 1));
        let mut pool = Self {
            shared,
            workers: Vec::with_capacity(threads - 1),
            caller: Mutex::new(()),
        };
        for index in 0..threads - 1 {
            let shared = Arc::clone(&pool.shared);
            let worker = std::thread::Builder::new()
                .name(format!("llm-compute-{}", index + 1))
                .spawn(move || shared.serve(index))
                .map_err(|source| KernelError::ThreadSpawn { source })?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// Threads, the caller among them.
    pub(crate) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `work` with ranges of at most `chunk` items that together cover `0..items` once, and returns when all are done.
    ///
    /// While another thread's job runs, or when called from within a job, the caller does all of the work alone.
    ///
    /// # Panics
    /// With the panic of `work`, once no thread is inside it any more.
    pub(crate) fn run(&self, items: usize, chunk: usize, work: &Work<'_>) {
        let chunk = chunk.max(1);
        let shares = items.div_ceil(chunk).min(self.threads());
        let helpers = shares.saturating_sub(1);
        let turn = match self.caller.try_lock() {
            Ok(turn) => Some(turn),
            Err(std::sync::TryLockError::Poisoned(turn)) => Some(turn.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        };
        if helpers == 0 || turn.is_none() {
            for start in (0..items).step_by(chunk) {
                work(start..(start + chunk).min(items));
            }
            return;
        }
        // SAFETY: only the lifetime changes; workers use the pointer between `fork` and `join` below, while `work` is borrowed.
        let erased = unsafe { std::mem::transmute::<*const Work<'_>, *const Work<'static>>(work) };
        let job = Job {
            work: erased,
            items,
            chunk,
            shares,
        };
        // SAFETY: `turn` makes this the only caller; `fork` is followed by `join`, after which no worker uses `work`.
        unsafe { self.shared.fork(job, &self.workers) };
        self.shared.take_part(work, &job, 0);
        self.shared.join();
        if let Some(panic) = self.shared.take_panic() {
            drop(turn);
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        for worker in &self.workers {
            worker.thread().unpark();
        }
        for worker in self.workers.drain(..) {
            // A worker catches every panic of the work that it runs, so there is none to pass on here.
            let _ = worker.join();
        }
    }
}

/// What the caller shares with the workers; `work` lives until `join` returns.
#[derive(Clone, Copy)]
struct Job {
    work: *const Work<'static>,
    items: usize,
    /// Items handed out at a time.
    chunk: usize,
    /// Runs of chunks, each of which is some thread's to begin with.
    shares: usize,
}

impl Job {
    /// The first chunk of a share; that of the share after the last is the number of chunks.
    fn first_chunk(&self, share: usize) -> usize {
        let chunks = self.items.div_ceil(self.chunk);
        let (even, rest) = (chunks / self.shares, chunks % self.shares);
        share * even + share.min(rest)
    }
}

/// A counter in a cache line of its own.
#[repr(align(64))]
struct Counter(AtomicUsize);

struct Shared {
    /// Fork count, workers inside and open bit: see [`EPOCH`].
    state: AtomicU64,
    /// The first chunk of each share that is not handed out yet.
    next: Box<[Counter]>,
    job: UnsafeCell<Option<Job>>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    sleeping: Box<[AtomicBool]>,
    closing: AtomicBool,
}

// SAFETY: `job` is written by the caller only while the job is closed and no worker is inside, and read by workers only
// between entering an open job and leaving it; `state` orders the two. Its pointer leads to a `Sync` closure.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is used only while the caller keeps the closure alive.
unsafe impl Send for Shared {}

impl Shared {
    fn new(workers: usize) -> Self {
        Self {
            state: AtomicU64::new(0),
            next: (0..=workers)
                .map(|_| Counter(AtomicUsize::new(0)))
                .collect(),
            job: UnsafeCell::new(None),
            panic: Mutex::new(None),
            sleeping: (0..workers).map(|_| AtomicBool::new(false)).collect(),
            closing: AtomicBool::new(false),
        }
    }

    /// Opens `job` to the workers and wakes as many as it has shares for.
    ///
    /// # Safety
    /// No other job is open, and `job.work` outlives the call of `join` that must follow.
    unsafe fn fork(&self, job: Job, workers: &[JoinHandle<()>]) {
        // SAFETY: no job is open and no worker is inside, so nobody reads the cell.
        unsafe { *self.job.get() = Some(job) };
        for (share, next) in self.next.iter().enumerate().take(job.shares) {
            next.0.store(job.first_chunk(share), Ordering::Relaxed);
        }
        let epoch = self.state.load(Ordering::Relaxed) & !(EPOCH - 1);
        // Sequentially consistent, as are the workers' accesses around sleeping: either they see this job or we see them asleep.
        self.state
            .store(epoch.wrapping_add(EPOCH) | OPEN, Ordering::SeqCst);
        for (sleeping, worker) in self.sleeping.iter().zip(workers).take(job.shares - 1) {
            if sleeping.load(Ordering::SeqCst) {
                worker.thread().unpark();
            }
        }
    }

    /// Closes the job and waits for the workers inside.
    fn join(&self) {
        self.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut looks = 0_u32;
        while self.state.load(Ordering::Acquire) & (EPOCH - 1) != 0 {
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(1024) {
                // The worker may wait for this very processor.
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }

    /// Runs chunks of the job until none is left, those of the thread's own share first; a panic is kept and ends the job.
    fn take_part(&self, work: &Work<'_>, job: &Job, thread: usize) {
        let result = catch_unwind(AssertUnwindSafe(|| {
            for share in (0..job.shares).map(|turn| (thread + turn) % job.shares) {
                let end = job.first_chunk(share + 1);
                loop {
                    let chunk = self.next[share].0.fetch_add(1, Ordering::Relaxed);
                    if chunk >= end {
                        break;
                    }
                    work(chunk * job.chunk..((chunk + 1) * job.chunk).min(job.items));
                }
            }
        }));
        if let Err(panic) = result {
            for next in &self.next {
                next.0.store(job.items, Ordering::Relaxed);
            }
            self.panic
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert(panic);
        }
    }

    fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        self.panic
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// A worker's life.
    fn serve(&self, index: usize) {
        let mut seen = 0;
        while let Some(state) = self.wait_for_fork(index, seen) {
            seen = state & !(EPOCH - 1);
            if !self.enter(seen) {
                continue;
            }
            // SAFETY: this worker is inside an open job, so the caller leaves the cell alone and keeps `work` alive.
            let job = unsafe { *self.job.get() };
            if let Some(job) = job {
                // SAFETY: as above.
                let work = unsafe { &*job.work };
                self.take_part(work, &job, index + 1);
            }
            self.state.fetch_sub(WORKER, Ordering::Release);
        }
    }

    /// Counts this worker in, unless the job of `epoch` has been closed meanwhile.
    fn enter(&self, epoch: u64) -> bool {
        self.state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
                (state & !(EPOCH - 1) == epoch && state & OPEN != 0).then_some(state + WORKER)
            })
            .is_ok()
    }

    /// The state once it shows a fork other than `seen`; `None` when the pool closes.
    fn wait_for_fork(&self, index: usize, seen: u64) -> Option<u64> {
        let look = || {
            let state = self.state.load(Ordering::SeqCst);
            (state & !(EPOCH - 1) != seen).then_some(state)
        };
        let start = Instant::now();
        loop {
            for _ in 0..LOOKS_PER_CLOCK {
                if let Some(state) = look() {
                    return Some(state);
                }
                std::hint::spin_loop();
            }
            if start.elapsed() > SPIN {
                break;
            }
        }
        loop {
            self.sleeping[index].store(true, Ordering::SeqCst);
            let state = look();
            let closing = self.closing.load(Ordering::SeqCst);
            if state.is_none() && !closing {
                std::thread::park();
            }
            self.sleeping[index].store(false, Ordering::SeqCst);
            if closing {
                return None;
            }
            if state.is_some() {
                return state;
            }
        }
    }
}
