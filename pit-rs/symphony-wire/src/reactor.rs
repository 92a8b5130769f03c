//! How a provider decides that also waits, asks others and acts in time, free of sockets and clocks.
//!
//! Calls, answers, time come in; [`Effect`]s go out. Whoever drives a [`Reactor`] (the runtime over a
//! socket, a test in a simulated world) carries effects out in their order, those that are to be durable
//! only once [`Reactor::flush`] succeeded. Nothing here reads a clock, so the same inputs in the same
//! order give the same effects.

use crate::service::{Answer, Call, Outcome, Service};
use crate::BusError;

/// Which call an answer belongs to, as the driver counts them; never used again.
pub type CallId = u64;

/// Which question an outcome belongs to, as the reactor counts them.
pub type Token = u64;

/// The time, given by the driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Milliseconds of a clock that never goes back, from an arbitrary start.
    pub mono_ms: u64,
    /// Milliseconds since 1970 UTC, for records and reports only.
    pub wall_ms: i64,
}

/// What a reactor wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Ends a call.
    Answer { call: CallId, outcome: Outcome },
    /// Calls a capability; its outcome comes back to [`Reactor::heard`] exactly once, but not from inside the
    /// method that asked. Only with the driver itself it is lost.
    Ask { token: Token, ask: Ask },
    /// Publishes an event.
    Publish { topic: String, body: Vec<u8> },
}

/// A call of a reactor to somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub capability: String,
    pub method: String,
    /// The arguments as msgpack.
    pub body: Vec<u8>,
    /// 0: without a deadline.
    pub ttl_ms: u32,
}

/// What is to be done now, and what only once it rests on durable records.
#[derive(Debug, Default)]
pub struct Effects {
    now: Vec<Effect>,
    flushed: Vec<Effect>,
}

impl Effects {
    /// Does it at once: it rests on nothing that is not durable yet.
    pub fn now(&mut self, effect: Effect) {
        self.now.push(effect);
    }

    /// Does it after the next flush; if that fails, an answer becomes the flush's error, everything else
    /// is not done.
    pub fn after_flush(&mut self, effect: Effect) {
        self.flushed.push(effect);
    }

    /// Takes what is to be done at once.
    pub fn take_now(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.now)
    }

    /// Whether anything waits for a flush.
    pub fn wants_flush(&self) -> bool {
        !self.flushed.is_empty()
    }

    /// Takes what waited for a flush that ended like this.
    pub fn take_flushed(&mut self, flushed: &Result<(), BusError>) -> Vec<Effect> {
        let waited = std::mem::take(&mut self.flushed);
        match flushed {
            Ok(()) => waited,
            Err(error) => {
                let failed = waited.into_iter().filter_map(|effect| match effect {
                    Effect::Answer { call, outcome } => {
                        Some(Effect::Answer { call, outcome: outcome.and(Err(error.clone())) })
                    }
                    Effect::Ask { .. } | Effect::Publish { .. } => None,
                });
                failed.collect()
            }
        }
    }
}

/// The decisions of one provider.
pub trait Reactor {
    /// A call arrived; it stays open until an [`Effect::Answer`] ends it.
    fn call(&mut self, id: CallId, call: Call<'_>, now: Now, out: &mut Effects);

    /// The caller of an open call wants it no more, or is gone. The call is to be answered all the same.
    fn cancelled(&mut self, id: CallId, now: Now, out: &mut Effects);

    /// A question was answered.
    fn heard(&mut self, token: Token, outcome: Outcome, now: Now, out: &mut Effects);

    /// The time that [`wakeup`](Self::wakeup) named has come; at most once in a millisecond.
    fn tick(&mut self, now: Now, out: &mut Effects);

    /// When `tick` is wanted, in the milliseconds of [`Now::mono_ms`]; `None`: not before something happens.
    fn wakeup(&self) -> Option<u64>;

    /// Makes everything durable that effects after a flush rest on. If it fails, what was not durable is
    /// taken back: it did not happen.
    fn flush(&mut self) -> Result<(), BusError>;
}

/// A [`Service`] never waits and never asks: it is the simplest reactor.
impl<S: Service> Reactor for S {
    fn call(&mut self, id: CallId, call: Call<'_>, _: Now, out: &mut Effects) {
        match Service::call(self, call) {
            Answer::Now(outcome) => out.now(Effect::Answer { call: id, outcome }),
            Answer::AfterFlush(outcome) => out.after_flush(Effect::Answer { call: id, outcome }),
        }
    }

    fn cancelled(&mut self, _: CallId, _: Now, _: &mut Effects) {}

    fn heard(&mut self, _: Token, _: Outcome, _: Now, _: &mut Effects) {}

    fn tick(&mut self, _: Now, _: &mut Effects) {}

    fn wakeup(&self) -> Option<u64> {
        None
    }

    fn flush(&mut self) -> Result<(), BusError> {
        Service::flush(self)
    }
}
