//! Open calls from their first byte to their end: deadlines, cancels, and answers still owed.
//!
//! A call ends for its caller by an answer or by an error of the switch. A provider that was told to end a call owes an
//! answer to it for the grace that it has, whether or not anybody still waits.

use std::collections::HashSet;

use symphony_wire::constants::Kind;
use symphony_wire::BusError;

use crate::deadlines::{Deadline, Deadlines};
use crate::frame::Frame;
use crate::head::Head;
use crate::members::{Members, PeerId};
use crate::refusals::{self, repeatable};
use crate::switch::{header, nothing, Switch};
use crate::table::OpenCall;

pub(crate) struct Ledger {
    pub deadlines: Deadlines,
    /// From a cancel to its answer.
    grace_s: f64,
    looked: f64,
}

impl Ledger {
    pub fn new(grace_ms: u32, now: f64) -> Self {
        let grace_s = f64::from(grace_ms) / 1000.0;
        Self { deadlines: Deadlines::default(), grace_s, looked: now }
    }
}

impl<F: Frame> Switch<F> {
    /// Ends an open call with an error.
    pub(crate) fn end(&mut self, caller: PeerId, request: u64, call: OpenCall, error: &BusError) {
        self.members[caller].open_calls.remove(&request);
        let route = &mut self.routes[call.route];
        route.failed();
        let header = header(Kind::Error, Some(route.number), request);
        self.routes.closed(call.route);
        self.emit(caller, header, F::copy_from(&error.to_body()));
    }

    /// Answers a message that is about no open call with an error. What is repeated after the hub started anew may have
    /// reached its provider before that.
    pub(crate) fn refuse(&mut self, caller: PeerId, head: &Head, error: BusError) {
        let may_repeat = error.repeatable && !head.options.again;
        let error = repeatable(error, may_repeat);
        let header = header(Kind::Error, head.flow(), head.request);
        self.emit(caller, header, F::copy_from(&error.to_body()));
    }

    /// Tells the provider to end a call of flow `number`, once; it owes the answer from then on.
    pub(crate) fn cancel(
        &mut self,
        number: u32,
        caller: PeerId,
        request: u64,
        call: OpenCall,
        now: f64,
    ) {
        if call.cancelled {
            return;
        }
        if let Some(open) = self.members[caller].open_calls.get_mut(&request) {
            open.cancelled |= open.order == call.order;
        }
        self.emit(call.provider, header(Kind::Cancel, Some(number), request), nothing());
        if call.provider == self.members.kernel {
            return;
        }
        let until = now + self.ledger.grace_s;
        if let Some(provider) = self.members.find_mut(call.provider) {
            provider.owe(number, caller, request, call.order, until);
        }
    }

    /// Ends an open call with an error and tells its provider.
    pub(crate) fn break_off(
        &mut self,
        caller: PeerId,
        request: u64,
        call: OpenCall,
        error: &BusError,
        now: f64,
    ) {
        let number = self.routes[call.route].number;
        self.end(caller, request, call, error);
        self.cancel(number, caller, request, call, now);
    }

    /// The caller is gone: its calls are cancelled, and nobody waits for them.
    pub(crate) fn abandon(&mut self, caller: PeerId, now: f64) {
        for (request, call) in self.members[caller].calls_in_order() {
            let number = self.routes[call.route].number;
            self.members[caller].open_calls.remove(&request);
            self.routes.closed(call.route);
            self.cancel(number, caller, request, call, now);
        }
    }

    /// The provider is gone: calls to it end as crashed. `unsent` (flow and request) never reached it.
    pub(crate) fn provider_gone(&mut self, gone: PeerId, unsent: &HashSet<(u32, u64)>) {
        self.members[gone].owed.clear();
        let crashed = refusals::crashed(&self.members[gone].name);
        for caller in self.members.in_order() {
            for (request, call) in self.members[caller].calls_in_order() {
                if call.provider == gone {
                    let route = &self.routes[call.route];
                    let again = route.safe || unsent.contains(&(route.number, request));
                    self.end(caller, request, call, &repeatable(crashed.clone(), again));
                }
            }
        }
    }

    /// Ends the calls whose deadline has passed.
    pub(crate) fn expire(&mut self, now: f64) {
        while let Some(deadline) = self.ledger.deadlines.pop_due(now) {
            let Deadline { caller, request, .. } = deadline;
            if let Some(call) = still_open(&self.members, caller, request, deadline.call) {
                let error = repeatable(refusals::late(), self.routes[call.route].safe);
                self.break_off(caller, request, call, &error, now);
            }
        }
    }

    /// Forgives answers that were owed too long; returns who owed them.
    ///
    /// Looked for every `beat_s`; if much more time passed, it was this process that stood still, and nobody is blamed
    /// for that time.
    pub(crate) fn overdue(&mut self, beat_s: f64, now: f64) -> Vec<PeerId> {
        let paused = now - self.ledger.looked;
        self.ledger.looked = now;
        let forgiven = if paused > 2.0 * beat_s { paused } else { 0.0 };
        let mut found = Vec::new();
        for id in self.members.in_order() {
            let late = self.members[id].take_overdue(forgiven, now);
            if late.is_empty() {
                continue;
            }
            found.push(id);
            let error = refusals::unanswered(&self.members[id].name);
            for owed in late {
                let (caller, request) = (owed.caller, owed.request);
                if let Some(call) = still_open(&self.members, caller, request, owed.call) {
                    self.end(caller, request, call, &error);
                }
            }
        }
        found
    }

    pub(crate) fn forget_answered(&mut self) {
        let members = &self.members;
        let open_calls = members.all().map(|peer| peer.open_calls.len()).sum();
        self.ledger.deadlines.forget_answered(open_calls, |deadline| {
            still_open(members, deadline.caller, deadline.request, deadline.call).is_some()
        });
    }
}

/// The call of this order, if it is still open.
fn still_open<F>(
    members: &Members<F>,
    caller: PeerId,
    request: u64,
    order: u64,
) -> Option<OpenCall> {
    let call = members.find(caller)?.open_calls.get(&request)?;
    (call.order == order).then_some(*call)
}
