//! Which failures may pass, and how long to wait for that.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

use super::cancel::Cancel;
use super::client::Purpose;
use super::config::Retries;
use crate::error::HubError;

/// A connection that is slower than this for a whole stall time counts as stalled, in bytes a second.
const LOWEST_RATE: u64 = 1024;
/// A try that brought so many bytes was no failure; one that brought a few of them was.
const ENOUGH: u64 = 1 << 14;

/// A failed request.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The same request would fail again.
    Final(HubError),
    /// The same request may succeed.
    Passing {
        reason: String,
        /// When the server wants to be asked again.
        after: Option<Duration>,
        /// Whether the server asks to be left alone.
        is_limit: bool,
        /// How many tries it counts for.
        cost: u32,
    },
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self::Final(error)
    }
}

impl Failure {
    pub(crate) fn passing(reason: impl Into<String>) -> Self {
        Self::Passing {
            reason: reason.into(),
            after: None,
            is_limit: false,
            cost: 1,
        }
    }
}

/// Failures in a row, and the pauses after them.
#[derive(Debug)]
pub(crate) struct Patience<'a> {
    cancel: &'a Cancel,
    retries: Retries,
    /// The hub's.
    host: String,
    failures: u32,
}

impl<'a> Patience<'a> {
    pub(crate) fn new(cancel: &'a Cancel, retries: Retries, host: String) -> Self {
        Self {
            cancel,
            retries,
            host,
            failures: 0,
        }
    }

    /// So many bytes arrived before the next failure.
    pub(crate) fn renew(&mut self, bytes: u64) {
        if bytes >= ENOUGH {
            self.failures = 0;
        }
    }

    /// Pauses after a failure that may pass; gives it back as an error when it is final or one too many.
    pub(crate) fn wait(&mut self, failure: Failure, purpose: Purpose<'_>) -> Result<(), HubError> {
        let pause = self.pause(failure, purpose)?;
        self.cancel.sleep(pause)
    }

    /// How long to pause after a failure that may pass; the others are given back as errors.
    pub(crate) fn pause(
        &mut self,
        failure: Failure,
        purpose: Purpose<'_>,
    ) -> Result<Duration, HubError> {
        let (reason, after, is_limit, cost) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Passing {
                reason,
                after,
                is_limit,
                cost,
            } => (reason, after, is_limit, cost),
        };
        let Retries {
            attempts,
            first_pause,
            longest_pause,
        } = self.retries;
        self.failures += cost;
        let what = purpose.what.to_owned();
        let is_too_long = after.is_some_and(|after| after > longest_pause);
        if self.failures >= attempts || is_too_long {
            return Err(if is_limit {
                let seconds = after.map(|after| after.as_secs());
                HubError::RateLimited {
                    host: self.host.clone(),
                    what,
                    seconds,
                }
            } else {
                HubError::Transfer { what, reason }
            });
        }
        let doubled = first_pause.saturating_mul(1 << (self.failures - 1).min(16));
        Ok(after.unwrap_or_else(|| doubled.mul_f64(jitter()).min(longest_pause)))
    }
}

/// Whether a body comes in at the lowest rate at least, judged once in each stall time.
pub(crate) struct Pace {
    window: Duration,
    since: Instant,
    bytes: u64,
}

impl Pace {
    pub(crate) fn new(window: Duration) -> Self {
        Self {
            window,
            since: Instant::now(),
            bytes: 0,
        }
    }

    pub(crate) fn is_kept(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        let elapsed = self.since.elapsed();
        if elapsed < self.window {
            return true;
        }
        let is_kept = self.bytes as f64 >= LOWEST_RATE as f64 * elapsed.as_secs_f64();
        *self = Self::new(self.window);
        is_kept
    }
}

/// A random factor from 0.5 to 1, so that many clients do not come back in one moment.
fn jitter() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    0.5 + (random >> 11) as f64 / (1u64 << 54) as f64
}
