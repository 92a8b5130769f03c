//! What becomes of a message that the transport could not deliver: nothing is lost in silence.

use std::collections::HashSet;

use symphony_wire::constants::Kind;
use symphony_wire::BusError;

use crate::counters::Reason;
use crate::events::topic;
use crate::frame::Frame;
use crate::head::Head;
use crate::members::PeerId;
use crate::refusals::{self, repeatable};
use crate::switch::Switch;
use crate::upcalls::Event;

/// Bytes of an error's body that is queued although the queue is full.
pub(crate) const MAX_SMALL_ERROR: usize = 4_096;

impl<F: Frame> Switch<F> {
    /// A message to `peer` was given up: it is not connected (`gone`), or its queue is full.
    pub(crate) fn undeliverable(&mut self, peer: PeerId, header: F, body: F, now: f64, gone: bool) {
        self.counters.count(if gone { Reason::Unreachable } else { Reason::QueueFull });
        let Ok(head) = Head::decode(&header) else { return };
        match head.kind {
            Kind::Call => {
                self.report_lost(peer, header, body);
                self.lost_call(peer, &head, gone);
            }
            Kind::Event => {
                let topic = topic(&header).unwrap_or_default();
                self.report_lost(peer, header, body);
                self.members[peer].gaps.add(&topic, 1 + head.options.gap);
            }
            _ if gone => {}
            Kind::Chunk => {
                let call = self.members[peer].open_calls.get(&head.request).copied();
                let of_flow = |route| Some(self.routes[route].number) == head.flow();
                if let Some(call) = call.filter(|call| of_flow(call.route)) {
                    self.break_off(peer, head.request, call, &self.unread(&head), now);
                }
            }
            Kind::Result => self.refuse(peer, &head, self.unread(&head)),
            Kind::Error if body.len() > MAX_SMALL_ERROR => {
                self.refuse(peer, &head, self.unread(&head));
            }
            _ => {}
        }
    }

    /// Empties the queue of an expelled peer; returns flow and request of the calls in it that were never sent before.
    pub(crate) fn give_up_queue(&mut self, gone: PeerId) -> HashSet<(u32, u64)> {
        let peer = &mut self.members[gone];
        peer.queued_bytes = 0;
        let mut unsent = HashSet::new();
        for (header, body) in std::mem::take(&mut peer.queue) {
            let Ok(head) = Head::decode(&header) else { continue };
            match (head.kind, head.flow()) {
                (Kind::Event, _) => self.report_lost(gone, header, body),
                (Kind::Call, flow) => {
                    self.report_lost(gone, header, body);
                    unsent.extend(
                        flow.filter(|_| !head.options.again).map(|flow| (flow, head.request)),
                    );
                }
                _ => {}
            }
        }
        unsent
    }

    fn lost_call(&mut self, provider: PeerId, head: &Head, gone: bool) {
        let Some((caller, call)) = self.routes.find_call(&self.members, provider, head) else {
            return;
        };
        // The lost call may be the one that said what the flow's number stands for.
        let route = &mut self.routes[call.route];
        route.provider = None;
        let safe = route.safe || !head.options.again;
        let error = if gone {
            refusals::crashed(&self.members[provider].name)
        } else {
            refusals::overloaded("messages queued for the provider")
        };
        self.end(caller, head.request, call, &repeatable(error, safe));
    }

    /// The provider has done its work already, so the call is not simply made again.
    fn unread(&self, head: &Head) -> BusError {
        let safe = self.routes.find(head).is_some_and(|route| self.routes[route].safe);
        repeatable(refusals::overloaded("messages queued for the caller"), safe)
    }

    fn report_lost(&mut self, peer: PeerId, header: F, body: F) {
        if !self.offer(Event::Undelivered, peer, header, body, true) {
            self.counters.count(Reason::UpcallsFull);
        }
    }
}
