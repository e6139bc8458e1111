//! A limit on what keys and values take, for several engines together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::inbox::Inbox;

/// Bytes that the keys and values of several engines may take together. Clones are the same budget; by default it has no limit.
///
/// An engine begins a request while those that run could grow to their full length beside it. One that finds the budget exceeded all
/// the same first gives up what it keeps of finished requests and has the others do the same; only then
/// does the newest of its requests end with [`EngineError::KvOverBudget`](crate::EngineError::KvOverBudget). As memory is taken in blocks,
/// the limit is passed by a block for each running request at most.
#[derive(Debug, Clone, Default)]
pub struct KvBudget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limit: AtomicU64,
    used: AtomicU64,
    /// Of the engines that take part, to wake those that sleep.
    inboxes: Mutex<Vec<Weak<Inbox>>>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            limit: AtomicU64::new(u64::MAX),
            used: AtomicU64::new(0),
            inboxes: Mutex::default(),
        }
    }
}

impl KvBudget {
    /// Sets the limit, in bytes.
    pub fn set_limit(&self, bytes: u64) {
        self.shared.limit.store(bytes, Ordering::Relaxed);
        self.wake();
    }

    /// The limit, in bytes.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.shared.limit.load(Ordering::Relaxed)
    }

    /// Bytes taken.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.shared.used.load(Ordering::Relaxed)
    }

    /// Whether more is taken than may be.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.used() > self.limit()
    }

    /// What an engine that takes `own` now may take in all.
    pub(crate) fn share(&self, own: u64) -> u64 {
        let others = self.used().saturating_sub(own);
        self.limit().saturating_sub(others)
    }

    /// An engine takes part.
    pub(crate) fn join(&self, inbox: &Arc<Inbox>) {
        let mut inboxes = self.lock();
        inboxes.retain(|other| other.strong_count() > 0);
        inboxes.push(Arc::downgrade(inbox));
    }

    /// An engine that took `before` takes `after`.
    pub(crate) fn account(&self, before: u64, after: u64) {
        // Each engine takes back what it added and no more, so the sum never wraps for good.
        self.shared
            .used
            .fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    }

    /// Has all engines look at the budget.
    pub(crate) fn wake(&self) {
        for inbox in self.lock().iter().filter_map(Weak::upgrade) {
            inbox.nudge();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Inbox>>> {
        self.shared
            .inboxes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
