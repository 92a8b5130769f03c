//! Sending without ever waiting: what a peer does not take yet is queued, bounded, in order.

use symphony_wire::constants::{Kind, MAX_OPEN_CALLS};

use crate::counters::Reason;
use crate::frame::Frame;
use crate::head::Head;
use crate::losses::MAX_SMALL_ERROR;
use crate::members::{Peer, PeerId};
use crate::switch::{Outgoing, Switch};

/// Messages per peer.
pub const MAX_QUEUED: usize = 2_048;
/// Bytes per peer.
pub const MAX_QUEUED_BYTES: usize = 128 * 1024 * 1024;
/// Bytes of large bodies per peer that the transport may hold besides.
pub const MAX_LENT_BYTES: usize = 8 * 1024 * 1024;
/// Bytes from which a body is large.
pub const LARGE_BODY: usize = 64 * 1024;
/// An open call has one answer, and a small one is queued although the queue is full.
const MOST_QUEUED: usize = MAX_QUEUED + MAX_OPEN_CALLS;

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The peer's transport is full for now.
    Busy,
    /// The peer is not connected.
    Gone,
}

/// What carries messages to peers.
pub trait Transport<F> {
    /// Sends and empties the frames, or leaves them as they are.
    fn try_send(&mut self, identity: &[u8], header: &mut F, body: &mut F) -> Result<(), Refusal>;
}

/// Empties a switch's `out` through a transport that may refuse for a while.
pub struct Egress<F> {
    /// Both in the order in which they became so.
    blocked: Vec<PeerId>,
    absent: Vec<PeerId>,
    batch: Vec<Outgoing<F>>,
}

impl<F> Default for Egress<F> {
    fn default() -> Self {
        Self { blocked: Vec::new(), absent: Vec::new(), batch: Vec::new() }
    }
}

impl<F: Frame> Egress<F> {
    /// Whether something waits for a slow peer: call `retry_blocked` again soon.
    pub fn blocked(&self) -> bool {
        !self.blocked.is_empty()
    }

    /// Whether something waits for a peer that is not connected: call `retry_absent`.
    pub fn absent(&self) -> bool {
        !self.absent.is_empty()
    }

    /// Sends all that can be sent now; what a failure makes the switch say is sent as well.
    pub fn flush(&mut self, switch: &mut Switch<F>, transport: &mut impl Transport<F>, now: f64) {
        while !switch.out.is_empty() {
            std::mem::swap(&mut self.batch, &mut switch.out);
            let mut batch = std::mem::take(&mut self.batch);
            for Outgoing { peer, mut header, mut body } in batch.drain(..) {
                switch.counters().count(Reason::Forwarded);
                let Some(to) = switch.peer_mut(peer) else { continue };
                if !to.queue.is_empty() {
                    enqueue(switch, peer, header, body, now);
                    continue;
                }
                let opened = to.opened;
                match transport.try_send(&to.identity, &mut header, &mut body) {
                    Ok(()) => {}
                    Err(Refusal::Gone) if !opened => {
                        switch.undeliverable(peer, header, body, now, true);
                    }
                    Err(refusal) => {
                        enqueue(switch, peer, header, body, now);
                        self.wait_for(switch, peer, refusal);
                    }
                }
            }
            self.batch = batch; // its memory serves again
        }
        for buried in switch.members.bury() {
            self.blocked.retain(|peer| *peer != buried);
            self.absent.retain(|peer| *peer != buried);
        }
    }

    /// Tries again what slow peers did not take.
    pub fn retry_blocked(
        &mut self,
        switch: &mut Switch<F>,
        transport: &mut impl Transport<F>,
        now: f64,
    ) {
        let waiting = std::mem::take(&mut self.blocked);
        self.retry(waiting, switch, transport, now);
    }

    /// Tries again what waits for peers that were not connected.
    pub fn retry_absent(
        &mut self,
        switch: &mut Switch<F>,
        transport: &mut impl Transport<F>,
        now: f64,
    ) {
        let waiting = std::mem::take(&mut self.absent);
        self.retry(waiting, switch, transport, now);
    }

    fn retry(
        &mut self,
        waiting: Vec<PeerId>,
        switch: &mut Switch<F>,
        transport: &mut impl Transport<F>,
        now: f64,
    ) {
        for peer in waiting {
            while let Some(to) = switch.peer_mut(peer) {
                let Some((header, body)) = to.queue.front_mut() else { break };
                let size = header.len() + body.len();
                let sent = transport.try_send(&to.identity, header, body);
                if let Err(refusal) = sent {
                    if refusal == Refusal::Busy || to.opened {
                        self.wait_for(switch, peer, refusal);
                        break;
                    }
                }
                to.queued_bytes = to.queued_bytes.saturating_sub(size);
                let first = to.queue.pop_front();
                if let (Err(_), Some((header, body))) = (sent, first) {
                    switch.undeliverable(peer, header, body, now, true);
                }
            }
        }
    }

    fn wait_for(&mut self, switch: &mut Switch<F>, peer: PeerId, refusal: Refusal) {
        let queues = switch.peer_mut(peer).is_some_and(|peer| !peer.queue.is_empty());
        let waiting = match refusal {
            Refusal::Busy => &mut self.blocked,
            Refusal::Gone => &mut self.absent,
        };
        if queues && !waiting.contains(&peer) {
            waiting.push(peer);
        }
    }
}

fn enqueue<F: Frame>(switch: &mut Switch<F>, peer: PeerId, header: F, body: F, now: f64) {
    let size = header.len() + body.len();
    let Some(to) = switch.peer_mut(peer) else { return };
    let full = to.queue.len() >= MAX_QUEUED || to.queued_bytes + size > MAX_QUEUED_BYTES;
    if full && !exceeds(to, &header, &body) {
        switch.undeliverable(peer, header, body, now, false);
        return;
    }
    to.queue.push_back((header, body));
    to.queued_bytes += size;
}

/// Whether a message may be queued beyond the bound: a small error, the end of some call.
fn exceeds<F: Frame>(peer: &Peer<F>, header: &F, body: &F) -> bool {
    body.len() <= MAX_SMALL_ERROR
        && peer.queue.len() < MOST_QUEUED
        && Head::decode(header).is_ok_and(|head| head.kind == Kind::Error)
}
