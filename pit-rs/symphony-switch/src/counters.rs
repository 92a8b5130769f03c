//! What was forwarded and what was dropped, by reason. Any thread may read.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident = $name:literal,)*) => {
        /// What is counted; the text is the counter's name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason {
            $($(#[$doc])* $reason,)*
        }

        const REASONS: &[(Reason, &str)] = &[$((Reason::$reason, $name),)*];
    };
}

reasons! {
    /// Messages that were to be sent, of whatever kind.
    Forwarded = "forwarded",
    BadCredit = "bad-credit",
    BadRequestNumber = "bad-request-number",
    BeforeWelcome = "before-welcome",
    /// Not let in by a verdict, or for want of one.
    ConnectionRefused = "connection-refused",
    EventsDropped = "events-dropped",
    /// Another number of frames than a message has.
    Frames = "frames",
    FromUnknownPeer = "from-unknown-peer",
    /// Connections that did not come to speak CURVE where it must be.
    HandshakeFailed = "handshake-failed",
    LateAnswer = "late-answer",
    Oversize = "oversize",
    ProgressDropped = "progress-dropped",
    QueueFull = "queue-full",
    Repeated = "repeated",
    RepeatedCancel = "repeated-cancel",
    RepeatedHello = "repeated-hello",
    StrayAnswer = "stray-answer",
    StrayCredit = "stray-credit",
    ToUnknownPeer = "to-unknown-peer",
    TooManyConsoles = "too-many-consoles",
    Undecodable = "undecodable",
    UnknownIdentity = "unknown-identity",
    Unreachable = "unreachable",
    UpcallsFull = "upcalls-full",
    WrongSide = "wrong-side",
}

/// Counts since the start.
#[derive(Default)]
pub struct Counters([AtomicU64; REASONS.len()]);

impl Counters {
    /// Adds one. Each reason is one thread's to count: the addition is not atomic, which makes it free.
    pub fn count(&self, reason: Reason) {
        let counter = &self.0[reason as usize];
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Each reason's name with its count.
    pub fn read(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        REASONS
            .iter()
            .map(|(reason, name)| (*name, self.0[*reason as usize].load(Ordering::Relaxed)))
    }

    pub fn of(&self, reason: Reason) -> u64 {
        self.0[reason as usize].load(Ordering::Relaxed)
    }
}
