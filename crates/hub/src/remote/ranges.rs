//! A large file over several connections at once.
//!
//! Each connection takes the next range, keeps it in memory, and hands it over; the caller's thread appends the ranges in
//! their order. The file on the disk has no holes at any moment, and its hash is computed on the way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::blob::Source;
use super::partial::Partial;
use super::progress::Reporter;
use crate::error::HubError;

/// Lengths of a range. It should take [`RANGE_TIME`]: a kill loses little, and asking costs little.
const FIRST_RANGE: u64 = 1 << 20;
const MIN_RANGE: u64 = 1 << 18;
const MAX_RANGE: u64 = 1 << 23;
const RANGE_TIME: Duration = Duration::from_secs(2);
/// Bytes that are fetched ahead of what is written: they are in memory.
const WINDOW: u64 = 96 << 20;
const REPORT_PAUSE: Duration = Duration::from_millis(100);

/// What the connections and the writer share.
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Bytes that came in, for the progress.
    received: AtomicU64,
    size: u64,
}

struct State {
    /// Where the next range begins.
    next: u64,
    range_len: u64,
    /// Everything before is in the file.
    written: u64,
    /// Ranges that wait for those before them, by their first byte.
    ready: BTreeMap<u64, Vec<u8>>,
    /// Ranges that are on their way.
    active: usize,
    end: Option<End>,
}

/// Why the connections stop before the end of the file.
enum End {
    /// The server sends whole files only.
    NoRanges,
    /// One of them gave up: the others finish their range, so that as much as possible is kept.
    Failed(HubError),
    /// The writer has left.
    Left,
}

/// Appends all that is missing. `false` when the server knows no ranges; what has been written stays.
pub(crate) fn fetch(
    source: &Source<'_>,
    partial: &mut Partial,
    connections: usize,
    reporter: &mut Reporter<'_>,
) -> Result<bool, HubError> {
    let start = partial.written();
    let shared = Shared {
        state: Mutex::new(State {
            next: start,
            range_len: FIRST_RANGE,
            written: start,
            ready: BTreeMap::new(),
            active: 0,
            end: None,
        }),
        changed: Condvar::new(),
        received: AtomicU64::new(0),
        size: source.size,
    };
    thread::scope(|scope| {
        let mut running = 0;
        for _ in 0..connections {
            let connection = || shared.work(source);
            let spawned = thread::Builder::new()
                .name("llm-download".to_owned())
                .spawn_scoped(scope, connection);
            running += usize::from(spawned.is_ok());
        }
        if running == 0 {
            // No thread is to be had: one connection needs none.
            return Ok(false);
        }
        let written = shared.write(source, partial, start, reporter);
        shared.lock().end = Some(End::Left);
        shared.changed.notify_all();
        written
    })
}

impl Shared {
    /// Fetches ranges until there are none left.
    fn work(&self, source: &Source<'_>) {
        while let Some((first, last)) = self.claim() {
            let range = self.range(source, first, last);
            let mut state = self.lock();
            state.active -= 1;
            match range {
                Ok(Some(bytes)) => {
                    state.ready.insert(first, bytes);
                }
                Ok(None) => state.end = Some(End::NoRanges),
                Err(error) => {
                    state.end.get_or_insert(End::Failed(error));
                }
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    /// The next range, once there is room for it; `None` when there is none or nobody wants it.
    fn claim(&self) -> Option<(u64, u64)> {
        let mut state = self.lock();
        while state.end.is_none() && state.next < self.size {
            if state.next < state.written + WINDOW {
                let first = state.next;
                state.active += 1;
                state.next = self.size.min(first + state.range_len);
                return Some((first, state.next - 1));
            }
            state = self.wait(state);
        }
        None
    }

    /// One range, in as many requests as it takes; `None` when the server sends whole files only.
    fn range(
        &self,
        source: &Source<'_>,
        first: u64,
        last: u64,
    ) -> Result<Option<Vec<u8>>, HubError> {
        let started = Instant::now();
        let wanted = last - first + 1;
        let mut bytes: Vec<u8> = Vec::with_capacity(usize::try_from(wanted).unwrap_or(0));
        let mut patience = source.client.patience();
        let mut knows_ranges = true;
        while (bytes.len() as u64) < wanted && knows_ranges {
            let here = bytes.len() as u64;
            let result = source.open(first + here, last).and_then(|reply| {
                knows_ranges = reply.is_partial();
                let wanted = if knows_ranges { wanted - here } else { 0 };
                source.client.read(reply, wanted, &mut |piece| {
                    bytes.extend_from_slice(piece);
                    self.received
                        .fetch_add(piece.len() as u64, Ordering::Relaxed);
                    self.check()
                })
            });
            patience.renew(bytes.len() as u64 - here);
            if let Err(failure) = result {
                self.check()?;
                self.sleep(patience.pause(failure, source.purpose)?)?;
            }
        }
        let rate = wanted as f64 / started.elapsed().as_secs_f64().max(1e-3);
        let fitting = (rate * RANGE_TIME.as_secs_f64()) as u64;
        self.lock().range_len = fitting.clamp(MIN_RANGE, MAX_RANGE);
        Ok(knows_ranges.then_some(bytes))
    }

    /// Appends ranges in their order until the file is whole.
    fn write(
        &self,
        source: &Source<'_>,
        partial: &mut Partial,
        start: u64,
        reporter: &mut Reporter<'_>,
    ) -> Result<bool, HubError> {
        while partial.written() < self.size {
            let mut state = self.lock();
            let bytes = loop {
                if let Some(bytes) = state.ready.remove(&partial.written()) {
                    break bytes;
                }
                match state.end.take() {
                    Some(End::Failed(error)) if state.active == 0 => return Err(error),
                    Some(End::NoRanges | End::Left) => return Ok(false),
                    running => state.end = running,
                }
                state = self.wait(state);
                source.client.cancel.check()?;
                reporter.at(start + self.received.load(Ordering::Relaxed), false);
            };
            drop(state);
            partial.append(&bytes)?;
            self.lock().written = partial.written();
            self.changed.notify_all();
        }
        Ok(true)
    }

    /// Waits, unless the others stop.
    fn sleep(&self, duration: Duration) -> Result<(), HubError> {
        let until = Instant::now() + duration;
        let mut state = self.lock();
        while Self::is_wanted(&state) && Instant::now() < until {
            state = self.wait(state);
        }
        drop(state);
        self.check()
    }

    /// Whether what comes in is still wanted.
    fn check(&self) -> Result<(), HubError> {
        match Self::is_wanted(&self.lock()) {
            true => Ok(()),
            false => Err(HubError::Cancelled),
        }
    }

    fn is_wanted(state: &State) -> bool {
        matches!(state.end, None | Some(End::Failed(_)))
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let woken = self.changed.wait_timeout(state, REPORT_PAUSE);
        woken.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
