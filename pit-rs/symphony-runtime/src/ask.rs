//! A call that is to be made: to what, within which time, with which options.

use std::fmt;
use std::time::Duration;

use symphony_wire::body::Progress;
use symphony_wire::constants::MAX_CREDIT;
use symphony_wire::{Header, Kind, Target};

use crate::Retry;

/// Chunks that a stream lets the provider send ahead unless it says otherwise.
const CREDIT: u32 = 16;

/// A capability and how to call it. Made of the capability's name alone where nothing else is to be said.
pub struct Ask<'a> {
    capability: String,
    method: Option<String>,
    pub(crate) limit: Option<Duration>,
    idem: Option<String>,
    pub(crate) trace: Option<String>,
    pub(crate) credit: u32,
    pub(crate) retry: Retry,
    on_progress: Option<Box<dyn FnMut(Progress) + 'a>>,
}

impl<'a> Ask<'a> {
    pub fn of(capability: &str) -> Self {
        Self {
            capability: capability.to_owned(),
            method: None,
            limit: None,
            idem: None,
            trace: None,
            credit: CREDIT,
            retry: Retry::ONCE,
            on_progress: None,
        }
    }

    /// Which operation of the capability; its default one if this is not said.
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// How long the call may take, all attempts together; for ever if this is not said.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// An idempotency key, at most 128 characters: the call takes effect once.
    pub fn idem(mut self, key: &str) -> Self {
        self.idem = Some(key.to_owned());
        self
    }

    /// The W3C `traceparent` of the call; if this is not said a new one, or one below the call that is being served.
    pub fn trace(mut self, traceparent: &str) -> Self {
        self.trace = Some(traceparent.to_owned());
        self
    }

    /// Of a stream: how many chunks may wait to be taken, 1 to 1,024.
    pub fn credit(mut self, chunks: u32) -> Self {
        self.credit = chunks.clamp(1, MAX_CREDIT);
        self
    }

    /// Makes the call again after errors that the hub calls repeatable.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Is told how far the call is, on the thread that waits for it.
    pub fn on_progress(mut self, tell: impl FnMut(Progress) + 'a) -> Self {
        self.on_progress = Some(Box::new(tell));
        self
    }

    pub(crate) fn progressed(&mut self, progress: Progress) {
        if let Some(tell) = &mut self.on_progress {
            tell(progress);
        }
    }

    /// The header of one attempt, with its capability by name and no request number yet.
    pub(crate) fn header(&self, left: Option<Duration>) -> Header {
        Header {
            target: Target::Name(self.capability.clone()),
            ttl: left.map_or(0, ttl),
            method: self.method.clone(),
            idem: self.idem.clone(),
            trace: self.trace.clone(),
            ..Header::new(Kind::Call)
        }
    }
}

/// Milliseconds of a deadline, which 0 would not be.
pub(crate) fn ttl(left: Duration) -> u32 {
    u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1)
}

impl From<&str> for Ask<'_> {
    fn from(capability: &str) -> Self {
        Self::of(capability)
    }
}

impl fmt::Debug for Ask<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask")
            .field("capability", &self.capability)
            .field("method", &self.method)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
