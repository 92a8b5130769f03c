//! The bounded way from a datapath to the control plane, safe between two threads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::frame::Frame;

pub const MAX_UPCALLS_PER_PEER: usize = 1_024;
pub const MAX_UPCALLS: usize = 16_384;
/// Once there are so many, no more is taken.
pub const MAX_UPCALL_BYTES_PER_PEER: usize = 8 << 20;
pub const MAX_UPCALL_BYTES: usize = 64 << 20;

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

#[derive(Default)]
struct Room {
    upcalls: usize,
    bytes: usize,
}

struct Waiting<F> {
    upcalls: Vec<Upcall<F>>,
    bytes: usize,
    by_peer: HashMap<Arc<str>, Room>,
}

pub struct UpcallQueue<F> {
    waiting: Mutex<Waiting<F>>,
    /// Something came that the control plane was not told of yet.
    news: AtomicBool,
}

impl<F> Default for UpcallQueue<F> {
    fn default() -> Self {
        Self {
            waiting: Mutex::new(Waiting { upcalls: Vec::new(), bytes: 0, by_peer: HashMap::new() }),
            news: AtomicBool::new(false),
        }
    }
}

impl<F: Frame> UpcallQueue<F> {
    /// Adds one; gives it back if it is bounded and its peer, or all together, have too many, or so many bytes.
    pub fn offer(&self, upcall: Upcall<F>, bounded: bool) -> Result<(), Upcall<F>> {
        let size = upcall.header.len() + upcall.body.len();
        let mut waiting = self.lock();
        let (all, all_bytes) = (waiting.upcalls.len(), waiting.bytes);
        let own = waiting.by_peer.entry(Arc::clone(&upcall.peer)).or_default();
        let full = own.upcalls >= MAX_UPCALLS_PER_PEER
            || own.bytes >= MAX_UPCALL_BYTES_PER_PEER
            || all >= MAX_UPCALLS
            || all_bytes >= MAX_UPCALL_BYTES;
        if bounded && full {
            return Err(upcall);
        }
        own.upcalls += 1;
        own.bytes += size;
        waiting.bytes += size;
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
        waiting.bytes = 0;
        std::mem::take(&mut waiting.upcalls)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<F>> {
        // Nothing panics while it is locked.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
