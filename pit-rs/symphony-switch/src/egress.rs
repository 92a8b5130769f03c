//! Sending without ever waiting: what a slow peer does not take yet is queued, bounded, in order.

use crate::counters::Reason;
use crate::frame::Frame;
use crate::peers::PeerId;
use crate::switch::{Outgoing, Switch};

/// Messages per peer.
pub const MAX_QUEUED: usize = 2_048;
/// Bytes per peer.
pub const MAX_QUEUED_BYTES: usize = 64 * 1024 * 1024;

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
    /// In the order in which they became so.
    blocked: Vec<PeerId>,
    batch: Vec<Outgoing<F>>,
}

impl<F> Default for Egress<F> {
    fn default() -> Self {
        Self { blocked: Vec::new(), batch: Vec::new() }
    }
}

impl<F: Frame> Egress<F> {
    /// Whether something waits for a slow peer: call `retry` again soon.
    pub fn blocked(&self) -> bool {
        !self.blocked.is_empty()
    }

    /// Sends all that can be sent now; what a failure makes the switch say is sent as well.
    pub fn flush(&mut self, switch: &mut Switch<F>, transport: &mut impl Transport<F>) {
        while !switch.out.is_empty() {
            std::mem::swap(&mut self.batch, &mut switch.out);
            let mut batch = std::mem::take(&mut self.batch);
            for Outgoing { peer, mut header, mut body } in batch.drain(..) {
                switch.counters().count(Reason::Forwarded);
                let Some(to) = switch.peer_mut(peer) else { continue };
                if !to.queue.is_empty() {
                    self.enqueue(switch, peer, header, body);
                    continue;
                }
                match transport.try_send(&to.identity, &mut header, &mut body) {
                    Ok(()) => {}
                    Err(Refusal::Busy) => self.enqueue(switch, peer, header, body),
                    Err(Refusal::Gone) => switch.undeliverable(peer, &header, true),
                }
            }
            self.batch = batch; // its memory serves again
        }
        switch.bury();
    }

    /// Tries again what slow peers did not take.
    pub fn retry(&mut self, switch: &mut Switch<F>, transport: &mut impl Transport<F>) {
        let mut blocked = std::mem::take(&mut self.blocked);
        blocked.retain(|peer| loop {
            let Some(to) = switch.peer_mut(*peer) else { return false };
            let Some((header, body)) = to.queue.front_mut() else { return false };
            let size = header.len() + body.len();
            let sent = transport.try_send(&to.identity, header, body);
            if sent == Err(Refusal::Busy) {
                return true;
            }
            to.queued_bytes = to.queued_bytes.saturating_sub(size);
            let given_up = to.queue.pop_front();
            if let (Err(_), Some((header, _))) = (sent, given_up) {
                switch.undeliverable(*peer, &header, true);
            }
        });
        self.blocked = blocked;
    }

    fn enqueue(&mut self, switch: &mut Switch<F>, peer: PeerId, header: F, body: F) {
        let size = header.len() + body.len();
        let Some(to) = switch.peer_mut(peer) else { return };
        if to.queue.len() >= MAX_QUEUED || to.queued_bytes + size > MAX_QUEUED_BYTES {
            switch.undeliverable(peer, &header, false);
            return;
        }
        if to.queue.is_empty() && !self.blocked.contains(&peer) {
            self.blocked.push(peer);
        }
        to.queue.push_back((header, body));
        to.queued_bytes += size;
    }
}
