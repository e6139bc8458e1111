//! Stopping a download from another thread.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::Agent;

use crate::error::HubError;

/// Stops whatever was given a clone of it: requests under way end at once, pauses are cut short. Finding and reaching a
/// host cannot be interrupted and end by their own time limit.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_cancelled: bool,
    agents: Vec<Agent>,
}

impl Cancel {
    /// Stops everything; nothing happens when that was done before.
    pub fn cancel(&self) {
        let agents = {
            let mut state = self.lock();
            state.is_cancelled = true;
            std::mem::take(&mut state.agents)
        };
        self.0.changed.notify_all();
        for agent in agents {
            agent.shutdown();
        }
    }

    /// Whether [`Cancel::cancel`] was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.lock().is_cancelled
    }

    /// # Errors
    /// [`HubError::Cancelled`] once cancelled.
    pub fn check(&self) -> Result<(), HubError> {
        if self.is_cancelled() {
            return Err(HubError::Cancelled);
        }
        Ok(())
    }

    /// Waits.
    ///
    /// # Errors
    /// [`HubError::Cancelled`], at once, when cancelled before or meanwhile.
    pub(crate) fn sleep(&self, duration: Duration) -> Result<(), HubError> {
        let until = Instant::now() + duration;
        let mut state = self.lock();
        while !state.is_cancelled {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let woken = self.0.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        Err(HubError::Cancelled)
    }

    /// Connections of `agent` are closed when this is cancelled.
    pub(crate) fn watch(&self, agent: &Agent) {
        let mut state = self.lock();
        if state.is_cancelled {
            drop(state);
            agent.clone().shutdown();
        } else {
            state.agents.push(agent.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn cancelling_ends_a_pause_at_once() {
        let cancel = Cancel::default();
        assert!(cancel.sleep(Duration::from_millis(1)).is_ok());
        let sleeper = cancel.clone();
        let started = Instant::now();
        let thread = thread::spawn(move || sleeper.sleep(Duration::from_secs(60)));
        cancel.cancel();
        let ended = thread.join().expect("no panic");
        assert!(matches!(ended, Err(HubError::Cancelled)));
        assert!(started.elapsed() < Duration::from_secs(30));
        assert!(matches!(cancel.check(), Err(HubError::Cancelled)));
    }
}
