//! One result from the engine's thread.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::EngineError;

#[derive(Debug)]
struct Slot<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
}

#[derive(Debug)]
struct State<T> {
    result: Option<Result<T, EngineError>>,
    /// A result came, be it read or not.
    answered: bool,
    /// Nobody waits any more.
    abandoned: bool,
    reader: Option<Waker>,
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first answer counts.
    fn fill(&self, result: Result<T, EngineError>) {
        let mut state = self.lock();
        if std::mem::replace(&mut state.answered, true) {
            return;
        }
        state.result = Some(result);
        let reader = state.reader.take();
        drop(state);
        self.filled.notify_all();
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// A new task: where the result goes in and where it comes out.
pub(crate) fn task<T>() -> (Reply<T>, Task<T>) {
    let state = State {
        result: None,
        answered: false,
        abandoned: false,
        reader: None,
    };
    let slot = Arc::new(Slot {
        state: Mutex::new(state),
        filled: Condvar::new(),
    });
    (
        Reply {
            slot: Arc::clone(&slot),
        },
        Task { slot },
    )
}

/// The engine's end. Dropped without an answer, the task gives [`EngineError::Closed`].
#[derive(Debug)]
pub(crate) struct Reply<T> {
    slot: Arc<Slot<T>>,
}

impl<T> Reply<T> {
    /// Whether nobody waits any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.slot.lock().abandoned
    }

    /// Hands the result over.
    pub(crate) fn send(self, result: Result<T, EngineError>) {
        self.slot.fill(result);
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        self.slot.fill(Err(EngineError::Closed));
    }
}

/// A result on its way: a future, or something to [`wait`](Self::wait) for. Dropping it stops the work.
#[derive(Debug)]
pub struct Task<T> {
    slot: Arc<Slot<T>>,
}

/// Cancels a [`Task`] from elsewhere.
#[derive(Debug)]
pub struct TaskHandle<T> {
    slot: Arc<Slot<T>>,
}

impl<T> TaskHandle<T> {
    /// Stops the work after the step that is being computed; the task gives [`EngineError::Cancelled`], if it has no result yet.
    pub fn cancel(&self) {
        self.slot.lock().abandoned = true;
        self.slot.fill(Err(EngineError::Cancelled));
    }
}

impl<T> Task<T> {
    /// A way to cancel it.
    #[must_use]
    pub fn handle(&self) -> TaskHandle<T> {
        TaskHandle {
            slot: Arc::clone(&self.slot),
        }
    }

    /// Waits on this thread.
    ///
    /// # Errors
    /// What the work failed with; [`EngineError::Closed`] when the engine went away.
    pub fn wait(self) -> Result<T, EngineError> {
        let mut state = self.slot.lock();
        loop {
            if let Some(result) = state.result.take() {
                return result;
            }
            state = self
                .slot
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, EngineError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.slot.lock();
        if let Some(result) = state.result.take() {
            return Poll::Ready(result);
        }
        state.reader = Some(context.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.slot.lock().abandoned = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_arrives_on_another_thread() {
        let (reply, task) = task();
        let sender = std::thread::spawn(move || reply.send(Ok(7)));
        assert_eq!(task.wait().unwrap(), 7);
        sender.join().unwrap();
    }

    #[test]
    fn a_reply_dropped_without_an_answer_says_closed() {
        let (reply, task) = task::<u32>();
        drop(reply);
        assert!(matches!(task.wait(), Err(EngineError::Closed)));
    }

    #[test]
    fn dropping_the_task_tells_the_engine() {
        let (reply, task) = task::<u32>();
        assert!(!reply.is_abandoned());
        drop(task);
        assert!(reply.is_abandoned());
    }

    #[test]
    fn a_cancelled_task_says_so_and_the_engine_learns_of_it() {
        let (reply, task) = task();
        task.handle().cancel();
        assert!(reply.is_abandoned());
        reply.send(Ok(1));
        assert!(matches!(task.wait(), Err(EngineError::Cancelled)));
    }

    #[test]
    fn a_pending_future_is_woken_by_the_answer() {
        let (reply, mut task) = task();
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut task).poll(&mut context).is_pending());
        reply.send(Ok(1));
        assert!(matches!(
            Pin::new(&mut task).poll(&mut context),
            Poll::Ready(Ok(1))
        ));
    }
}
