//! The bounded way from a datapath to the control plane, safe between two threads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub const MAX_UPCALLS_PER_PEER: usize = 1_024;
pub const MAX_UPCALLS: usize = 16_384;

/// What an upcall reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// From a peer, for the control plane to decide.
    Message,
    /// Addressed to the kernel: a call to it or an answer for it.
    Delivery,
    /// A console was heard for the first time; the body is its routing id.
    Console,
    /// Nothing was heard of this peer for the whole window.
    Silent,
    /// It owes the answer to a cancelled call for longer than the grace.
    Overdue,
    /// A call or event to this peer that had to be given up.
    Undelivered,
    /// Somebody connects; wants a verdict.
    Connecting,
    /// So many, as the header says, did not come to speak CURVE where it must be.
    Handshake,
    /// The datapath itself ended; the header says why.
    Failed,
    /// This peer sent a message of more than `MAX_FRAMES` frames.
    Violation,
}

impl Event {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Delivery => "delivery",
            Self::Console => "console",
            Self::Silent => "silent",
            Self::Overdue => "overdue",
            Self::Undelivered => "undelivered",
            Self::Connecting => "connecting",
            Self::Handshake => "handshake",
            Self::Failed => "failed",
            Self::Violation => "violation",
        }
    }
}

/// Something for the control plane. See `bus/datapath.py`.
pub struct Upcall<F> {
    pub event: Event,
    pub peer: Arc<str>,
    pub header: F,
    pub body: F,
}

struct Waiting<F> {
    upcalls: Vec<Upcall<F>>,
    by_peer: HashMap<Arc<str>, usize>,
}

pub struct UpcallQueue<F> {
    waiting: Mutex<Waiting<F>>,
    /// Something came that the control plane was not told of yet.
    news: AtomicBool,
}

impl<F> Default for UpcallQueue<F> {
    fn default() -> Self {
        Self {
            waiting: Mutex::new(Waiting { upcalls: Vec::new(), by_peer: HashMap::new() }),
            news: AtomicBool::new(false),
        }
    }
}

impl<F> UpcallQueue<F> {
    /// Adds one; gives it back if it is bounded and its peer, or all together, have too many.
    pub fn offer(&self, upcall: Upcall<F>, bounded: bool) -> Result<(), Upcall<F>> {
        let mut waiting = self.lock();
        let all = waiting.upcalls.len();
        let by_peer = waiting.by_peer.entry(Arc::clone(&upcall.peer)).or_default();
        if bounded && (*by_peer >= MAX_UPCALLS_PER_PEER || all >= MAX_UPCALLS) {
            return Err(upcall);
        }
        *by_peer += 1;
        if all == 0 {
            self.news.store(true, Ordering::Relaxed);
        }
        waiting.upcalls.push(upcall);
        Ok(())
    }

    /// Whether the queue stopped being empty since this was last asked: the control plane must be woken.
    pub fn to_tell(&self) -> bool {
        self.news.load(Ordering::Relaxed) && self.news.swap(false, Ordering::Relaxed)
    }

    /// Empties the queue.
    pub fn take(&self) -> Vec<Upcall<F>> {
        let mut waiting = self.lock();
        waiting.by_peer.clear();
        std::mem::take(&mut waiting.upcalls)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<F>> {
        // Nothing panics while it is locked.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
