//! The stream from the engine's thread to one reader: bounded, without a runtime.
//!
//! The engine's thread never waits here. When [`CAPACITY`] pieces lie unread, [`Outbox::has_room`] says no, the sequence
//! sits out, and the read that makes room wakes the thread: a slow reader holds memory flat and slows nobody else.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::EngineError;
use crate::inbox::Inbox;
use crate::request::{Completion, TextEvent};

/// Pieces of text that may lie unread.
pub(crate) const CAPACITY: usize = 32;

/// Both ends' common state.
#[derive(Debug)]
struct Channel {
    state: Mutex<State>,
    readable: Condvar,
    /// The engine's thread, to be woken by a read that makes room and by a cancellation.
    inbox: Arc<Inbox>,
}

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<String>,
    end: Option<Result<Completion, EngineError>>,
    /// The end was read, or the request was cancelled and that was read.
    drained: bool,
    cancelled: bool,
    /// The writer found no room and waits for a read.
    parked: bool,
    reader: Option<Waker>,
}

impl Channel {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_reader(&self, mut state: MutexGuard<'_, State>) {
        let reader = state.reader.take();
        drop(state);
        self.readable.notify_all();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// The next item, if there is one; `Some(None)` after the last.
    fn take(&self, state: &mut State) -> Option<Option<Result<TextEvent, EngineError>>> {
        if state.drained {
            return Some(None);
        }
        if state.cancelled {
            state.drained = true;
            return Some(Some(Err(EngineError::Cancelled)));
        }
        if let Some(piece) = state.pieces.pop_front() {
            if std::mem::take(&mut state.parked) {
                self.inbox.nudge();
            }
            return Some(Some(Ok(TextEvent::Text(piece))));
        }
        let end = state.end.take()?;
        state.drained = true;
        Some(Some(end.map(TextEvent::Done)))
    }
}

/// A new stream: the engine's end and the reader's.
pub(crate) fn stream(inbox: Arc<Inbox>) -> (Outbox, Generation) {
    let state = Mutex::new(State::default());
    let channel = Arc::new(Channel {
        state,
        readable: Condvar::new(),
        inbox,
    });
    (
        Outbox {
            channel: Arc::clone(&channel),
        },
        Generation { channel },
    )
}

/// The engine's end. Dropped without [`finish`](Self::finish), the reader sees [`EngineError::Closed`].
#[derive(Debug)]
pub(crate) struct Outbox {
    channel: Arc<Channel>,
}

impl Outbox {
    /// Whether one more piece may be written. After a no, the read that makes room wakes the engine's thread.
    pub(crate) fn has_room(&self) -> bool {
        let mut state = self.channel.lock();
        state.parked = state.pieces.len() >= CAPACITY;
        !state.parked
    }

    /// How many more pieces may be written.
    pub(crate) fn room(&self) -> usize {
        CAPACITY.saturating_sub(self.channel.lock().pieces.len())
    }

    /// Whether the reader has lost interest.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.channel.lock().cancelled
    }

    /// Adds a piece of text; an empty one is nothing.
    pub(crate) fn push(&self, piece: String) {
        if !piece.is_empty() {
            let mut state = self.channel.lock();
            state.pieces.push_back(piece);
            self.channel.wake_reader(state);
        }
    }

    /// Ends the stream.
    pub(crate) fn finish(self, end: Result<Completion, EngineError>) {
        self.end(end);
    }

    fn end(&self, end: Result<Completion, EngineError>) {
        let mut state = self.channel.lock();
        if state.end.is_none() && !state.drained {
            state.end = Some(end);
            self.channel.wake_reader(state);
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.end(Err(EngineError::Closed));
    }
}

/// A running generation, read piece by piece. Dropping it cancels.
#[derive(Debug)]
pub struct Generation {
    channel: Arc<Channel>,
}

impl Generation {
    /// The next piece of text, the end, or an error; `None` after either of the last two. Runs under any executor.
    pub fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<TextEvent, EngineError>>> {
        let mut state = self.channel.lock();
        match self.channel.take(&mut state) {
            Some(item) => Poll::Ready(item),
            None => {
                state.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// As [`poll_next`](Self::poll_next), waiting on this thread.
    pub fn next_blocking(&mut self) -> Option<Result<TextEvent, EngineError>> {
        let mut state = self.channel.lock();
        loop {
            if let Some(item) = self.channel.take(&mut state) {
                return item;
            }
            state = self
                .channel
                .readable
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Reads to the end: the whole text and how it ended.
    ///
    /// # Errors
    /// Whatever ended the generation.
    pub fn collect_blocking(mut self) -> Result<(String, Completion), EngineError> {
        let mut text = String::new();
        while let Some(event) = self.next_blocking() {
            match event? {
                TextEvent::Text(piece) => text.push_str(&piece),
                TextEvent::Done(completion) => return Ok((text, completion)),
            }
        }
        Err(EngineError::Closed)
    }

    /// Ends the work within one step of the engine; the next read says [`EngineError::Cancelled`]. After the end it does
    /// nothing.
    pub fn cancel(&self) {
        self.handle().cancel();
    }

    /// Something to cancel with while the generation is being read elsewhere.
    #[must_use]
    pub fn handle(&self) -> CancelHandle {
        CancelHandle {
            channel: Arc::clone(&self.channel),
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// Cancels a [`Generation`] from anywhere.
#[derive(Debug, Clone)]
pub struct CancelHandle {
    channel: Arc<Channel>,
}

impl CancelHandle {
    /// As [`Generation::cancel`].
    pub fn cancel(&self) {
        let mut state = self.channel.lock();
        if state.drained || state.end.is_some() {
            return;
        }
        state.cancelled = true;
        state.pieces.clear();
        self.channel.wake_reader(state);
        self.channel.inbox.nudge();
    }
}
