//! The bounded way from a datapath to the control plane, safe between two threads.

use std::collections::{HashMap, VecDeque};
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
    /// For the kernel: a call to it or an answer; `peer` is who it comes from.
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

impl<F: Frame> Upcall<F> {
    fn size(&self) -> usize {
        self.header.len() + self.body.len()
    }
}

/// What one peer has waiting, oldest first, and whether it is bounded; `number` and `bytes` are of what is.
struct Line<F> {
    upcalls: VecDeque<(Upcall<F>, bool)>,
    number: usize,
    bytes: usize,
}

impl<F> Line<F> {
    fn is_full(&self) -> bool {
        self.number >= MAX_UPCALLS_PER_PEER || self.bytes >= MAX_UPCALL_BYTES_PER_PEER
    }
}

struct Waiting<F> {
    /// Of the peers that have some.
    lines: HashMap<Arc<str>, Line<F>>,
    /// The same peers, in the order of their turns.
    turns: VecDeque<Arc<str>>,
    upcalls: usize,
    bytes: usize,
}

/// Peers are heard in turn, each in its own order, so that one that says much keeps the others waiting for one message.
pub struct UpcallQueue<F> {
    waiting: Mutex<Waiting<F>>,
    /// Something came that the control plane was not told of yet.
    news: AtomicBool,
}

impl<F> Default for UpcallQueue<F> {
    fn default() -> Self {
        let (lines, turns) = (HashMap::new(), VecDeque::new());
        Self {
            waiting: Mutex::new(Waiting { lines, turns, upcalls: 0, bytes: 0 }),
            news: AtomicBool::new(false),
        }
    }
}

impl<F: Frame> UpcallQueue<F> {
    /// Adds one; gives it back if it is bounded and its peer, or all together, have too many, or so many bytes.
    pub fn offer(&self, upcall: Upcall<F>, bounded: bool) -> Result<(), Upcall<F>> {
        let size = upcall.size();
        let waiting = &mut *self.lock();
        let full = waiting.upcalls >= MAX_UPCALLS
            || waiting.bytes >= MAX_UPCALL_BYTES
            || waiting.lines.get(&upcall.peer).is_some_and(Line::is_full);
        if bounded && full {
            return Err(upcall);
        }
        if waiting.upcalls == 0 {
            self.news.store(true, Ordering::Relaxed);
        }
        waiting.upcalls += 1;
        waiting.bytes += size;
        if !waiting.lines.contains_key(&upcall.peer) {
            let line = Line { upcalls: VecDeque::new(), number: 0, bytes: 0 };
            waiting.turns.push_back(Arc::clone(&upcall.peer));
            waiting.lines.insert(Arc::clone(&upcall.peer), line);
        }
        if let Some(line) = waiting.lines.get_mut(&upcall.peer) {
            if bounded {
                line.number += 1;
                line.bytes += size;
            }
            line.upcalls.push_back((upcall, bounded));
        }
        Ok(())
    }

    /// Whether the queue stopped being empty since this was last asked: the control plane must be woken.
    pub fn to_tell(&self) -> bool {
        self.news.load(Ordering::Relaxed) && self.news.swap(false, Ordering::Relaxed)
    }

    /// Takes no more than `limit`, one of each peer in turn.
    pub fn take(&self, limit: usize) -> Vec<Upcall<F>> {
        let mut waiting = self.lock();
        let number = waiting.upcalls.min(limit);
        std::iter::from_fn(|| waiting.next()).take(number).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<F>> {
        // Nothing panics while it is locked.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Frame> Waiting<F> {
    /// The oldest upcall of the peer whose turn it is.
    fn next(&mut self) -> Option<Upcall<F>> {
        let peer = self.turns.pop_front()?;
        let line = self.lines.get_mut(&peer)?;
        let (upcall, bounded) = line.upcalls.pop_front()?;
        let size = upcall.size();
        self.upcalls -= 1;
        self.bytes -= size;
        if bounded {
            line.number -= 1;
            line.bytes -= size;
        }
        if line.upcalls.is_empty() {
            self.lines.remove(&peer);
        } else {
            self.turns.push_back(peer);
        }
        Some(upcall)
    }
}
