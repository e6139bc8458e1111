//! What the engine's thread waits for: new work, a reader that made room, a cancellation, the end.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::EngineError;
use crate::job::Job;
use crate::prefix_file::PrefixWork;
use crate::sequence::SequenceRequest;

/// Work for the engine's thread.
#[derive(Debug)]
pub(crate) enum Command {
    /// Generate text.
    Generate(Box<SequenceRequest>),
    /// Compute something over a whole text.
    Run(Box<Job>),
    /// Look into what is kept of finished requests, or add to it.
    Prefix(Box<PrefixWork>),
}

/// The way into the engine's thread.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    commands: VecDeque<Command>,
    /// A sequence that sat out may go on, or one has been cancelled.
    nudged: bool,
    closed: bool,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds work.
    ///
    /// # Errors
    /// [`EngineError::Closed`] after [`close`](Self::close).
    pub(crate) fn send(&self, command: Command) -> Result<(), EngineError> {
        let mut state = self.lock();
        if state.closed {
            // Unlocked before the command is dropped: that takes the lock of its stream, under which readers nudge.
            drop(state);
            return Err(EngineError::Closed);
        }
        state.commands.push_back(command);
        self.changed.notify_one();
        Ok(())
    }

    /// Makes the thread look at its sequences again.
    pub(crate) fn nudge(&self) {
        self.lock().nudged = true;
        self.changed.notify_one();
    }

    /// Ends the thread after its current step. What was sent and not begun is given back, to be dropped.
    pub(crate) fn close(&self) -> VecDeque<Command> {
        let mut state = self.lock();
        state.closed = true;
        self.changed.notify_one();
        std::mem::take(&mut state.commands)
    }

    /// The work that came in; `None` when it is time to end. With `wait`, sleeps until there is work or a nudge.
    pub(crate) fn receive(&self, wait: bool) -> Option<VecDeque<Command>> {
        let mut state = self.lock();
        while wait && !state.closed && !state.nudged && state.commands.is_empty() {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.nudged = false;
        (!state.closed).then(|| std::mem::take(&mut state.commands))
    }
}
