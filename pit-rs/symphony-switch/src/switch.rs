//! The switch: every decision of the datapath; `bus/switch.py` in Rust.
//!
//! Messages and the time go in; messages to send (`out`) and upcalls come out. Each row of PROTOCOL.md section 3 is
//! handled in `dispatch`. An open call is kept with its caller, by request number: a flow number belongs to one caller
//! for good, so (flow, request) finds it.

use std::sync::Arc;

use symphony_wire::constants::{Kind, MAX_BODY, MAX_HEADER, MAX_OPEN_CALLS};
use symphony_wire::{BusError, Header};

use crate::counters::{Counters, Reason};
use crate::deadlines::Deadline;
use crate::events::{topic, with_gap};
use crate::frame::Frame;
use crate::head::{is_foreign_hello, Head, Target};
use crate::ledger::Ledger;
use crate::liveness::Watch;
use crate::members::{Members, Peer, PeerId, PeerStats};
use crate::refusals;
use crate::streams::more_credit;
use crate::table::{Flow, FlowStats, Limit, OpenCall, Route, Routes};
use crate::upcalls::{Event, Upcall, UpcallQueue};

/// Messages in a peer's queue beyond which events are dropped.
pub const MAX_QUEUED_EVENTS: usize = 256;

/// A message to send.
pub(crate) struct Outgoing<F> {
    pub peer: PeerId,
    pub header: F,
    pub body: F,
}

/// The times that the hub keeps, milliseconds; `liveness` is a number of heartbeats.
#[derive(Clone, Copy)]
pub struct Times {
    pub heartbeat_ms: u32,
    pub liveness: u32,
    pub grace_ms: u32,
}

/// Keeps peers, flows, open calls and their deadlines. Times are seconds of one monotonic clock.
pub struct Switch<F> {
    pub(crate) out: Vec<Outgoing<F>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) members: Members<F>,
    pub(crate) routes: Routes,
    pub(crate) ledger: Ledger,
    upcalls: Arc<UpcallQueue<F>>,
    watch: Watch,
    calls_seen: u64,
    look_at: f64,
    /// Whose message is being handled; the kernel if it is nobody's.
    speaker: PeerId,
}

impl<F: Frame> Switch<F> {
    pub fn new(
        upcalls: Arc<UpcallQueue<F>>,
        counters: Arc<Counters>,
        times: Times,
        now: f64,
    ) -> Self {
        let members = Members::new(now);
        let speaker = members.kernel;
        Self {
            out: Vec::new(),
            counters,
            members,
            routes: Routes::default(),
            ledger: Ledger::new(times.grace_ms, now),
            upcalls,
            watch: Watch::new(times.heartbeat_ms, times.liveness, now),
            calls_seen: 0,
            look_at: now,
            speaker,
        }
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    // Commands; see `bus/datapath.py`.

    pub fn admit(&mut self, name: &str, identity: &[u8], now: f64) {
        self.expel(name, now);
        self.members.add(name.into(), identity, now);
    }

    pub fn admit_consoles(&mut self, name: &str, secret: &[u8]) {
        self.members.add_consoles(name, secret);
    }

    pub fn open(&mut self, name: &str, now: f64) {
        if let Some(id) = self.members.named(name) {
            let peer = &mut self.members[id];
            peer.opened = true;
            peer.heard = now;
        }
    }

    pub fn expel(&mut self, name: &str, now: f64) {
        for gone in self.members.remove(name) {
            self.members[gone].opened = false; // what still lies in `out` for it is not kept
            let unsent = self.give_up_queue(gone);
            self.abandon(gone, now);
            self.provider_gone(gone, &unsent);
            self.routes.without(gone, self.members.kernel);
        }
    }

    pub fn install(&mut self, flow: &Flow<'_>) {
        if let (Some(caller), Some(provider)) =
            (self.members.named(flow.caller), self.members.named(flow.provider))
        {
            self.routes.install(flow, caller, provider);
        }
    }

    pub fn revoke(&mut self, generation: u64) {
        self.routes.revoke(generation, self.members.kernel);
    }

    pub fn send(&mut self, name: &str, header: F, body: F) {
        match self.members.named(name) {
            Some(peer) => self.emit(peer, header, body),
            None => self.counters.count(Reason::ToUnknownPeer),
        }
    }

    pub fn event<'a>(&mut self, names: impl Iterator<Item = &'a str>, mut header: F, mut body: F) {
        let Ok(topic) = topic(&header) else {
            self.counters.count(Reason::Undecodable);
            return;
        };
        for name in names {
            let Some(id) = self.members.named(name) else { continue };
            let peer = &mut self.members[id];
            if !peer.opened {
                continue;
            }
            if peer.queue.len() >= MAX_QUEUED_EVENTS {
                self.counters.count(Reason::EventsDropped);
                peer.gaps.add(&topic, 1);
                continue;
            }
            let gap = peer.gaps.take(&topic);
            let marked = if gap > 0 { with_gap(&header, gap).ok() } else { None };
            let header = marked.map_or_else(|| header.share(), |marked| F::copy_from(&marked));
            self.emit(id, header, body.share());
        }
    }

    pub fn inject(&mut self, name: &str, header: F, body: F, now: f64) {
        let Some(peer) = self.members.named(name) else {
            self.counters.count(Reason::FromUnknownPeer);
            return;
        };
        match Head::decode(&header) {
            Ok(head) => self.handle(peer, head, header, body, now, true),
            Err(_) => self.counters.count(Reason::Undecodable),
        }
    }

    // Messages.

    /// Handles one message of two frames, whatever they hold. False if the routing id is nobody's: the message was
    /// ignored.
    pub fn receive(&mut self, identity: &[u8], header: F, body: F, now: f64) -> bool {
        let Some(id) = self.sender(identity, now) else { return false };
        let peer = &mut self.members[id];
        peer.heard = now;
        if header.len() > MAX_HEADER || body.len() > MAX_BODY {
            self.counters.count(Reason::Oversize);
            return true;
        }
        match Head::decode(&header) {
            Ok(head) => self.handle(id, head, header, body, now, false),
            Err(_) if !peer.opened && is_foreign_hello(&header) => {
                self.report(id, header, body);
            }
            Err(_) => self.counters.count(Reason::Undecodable),
        }
        true
    }

    /// A message of more than MAX_FRAMES frames came: its sender is heard no more.
    pub fn violated(&mut self, identity: &[u8], now: f64) {
        let Some(peer) = self.sender(identity, now) else {
            self.counters.count(Reason::UnknownIdentity);
            return;
        };
        self.members.mute(peer);
        self.offer(Event::Violation, peer, nothing(), nothing(), false);
    }

    fn handle(&mut self, peer: PeerId, head: Head, header: F, body: F, now: f64, injected: bool) {
        self.speaker = peer;
        self.dispatch(peer, head, header, body, now, injected);
        self.speaker = self.members.kernel;
    }

    fn dispatch(&mut self, peer: PeerId, head: Head, header: F, body: F, now: f64, injected: bool) {
        if !self.members[peer].opened {
            // It may leave before its welcome arrives.
            if matches!(head.kind, Kind::Hello | Kind::Bye) {
                self.upcall(peer, &head, header, body);
            } else {
                self.counters.count(Reason::BeforeWelcome);
            }
            return;
        }
        match head.kind {
            Kind::Call => self.call(peer, head, header, body, now, injected),
            Kind::Result | Kind::Error => {
                if head.target == Target::None && !injected {
                    self.upcall(peer, &head, header, body);
                } else {
                    self.answered(peer, head, header, body, now);
                }
            }
            Kind::Heartbeat => self.emit(peer, self::header(Kind::Heartbeat, None, 0), nothing()),
            Kind::Progress | Kind::Chunk => {
                let Some((caller, call)) = self.routes.find_call(&self.members, peer, &head) else {
                    self.counters.count(Reason::StrayAnswer);
                    return;
                };
                if head.kind == Kind::Progress {
                    if self.members[caller].queue.len() < MAX_QUEUED_EVENTS {
                        self.emit(caller, header, body);
                    } else {
                        self.counters.count(Reason::ProgressDropped);
                    }
                } else if self.take_credit(caller, head.request) {
                    self.emit(caller, header, body);
                } else {
                    self.break_off(caller, head.request, call, &refusals::without_credit(), now);
                }
            }
            Kind::Credit => {
                if injected || self.members[peer].open_calls.contains_key(&head.request) {
                    self.credit(peer, head.request, body);
                } else {
                    // Its call may still be with the control plane.
                    self.upcall(peer, &head, header, body);
                }
            }
            Kind::Cancel => {
                match self.members[peer].open_calls.get(&head.request).copied() {
                    Some(call) if call.cancelled => self.counters.count(Reason::RepeatedCancel),
                    Some(call) => {
                        let number = self.routes[call.route].number;
                        self.cancel(number, peer, head.request, call, now);
                    }
                    // Its call may still be with the control plane.
                    None if !injected => self.upcall(peer, &head, header, body),
                    None => {}
                }
            }
            Kind::Welcome | Kind::Activate | Kind::Unload => self.counters.count(Reason::WrongSide),
            Kind::Hello => self.counters.count(Reason::RepeatedHello),
            Kind::Event | Kind::Subscribe | Kind::Bye => self.upcall(peer, &head, header, body),
        }
    }

    fn call(&mut self, peer: PeerId, head: Head, header: F, body: F, now: f64, injected: bool) {
        let options = &head.options;
        let route = self.routes.find(&head);
        let decided = injected || !options.for_kernel;
        let open_calls = &self.members[peer].open_calls;
        if let Some(call) = open_calls.get(&head.request) {
            let leads_as_before = route == Some(call.route)
                && self.routes[call.route].provider.is_none_or(|to| to == call.provider);
            if decided && options.again && leads_as_before {
                self.counters.count(Reason::Repeated);
                self.emit(call.provider, header, body);
            } else {
                self.counters.count(Reason::BadRequestNumber);
            }
            return;
        }
        if head.request == 0 {
            self.counters.count(Reason::BadRequestNumber);
            return;
        }
        if open_calls.len() >= MAX_OPEN_CALLS && peer != self.members.kernel {
            self.refuse(peer, &head, refusals::overloaded("open calls of this caller"));
            return;
        }
        let leads_to = |id| {
            let route: &Route = &self.routes[id];
            let known = injected || !options.again;
            route.provider.filter(|_| route.caller == peer && decided && known).map(|to| (id, to))
        };
        let Some((id, provider)) = route.and_then(leads_to) else {
            self.upcall(peer, &head, header, body);
            return;
        };
        let route = &mut self.routes[id];
        if let Some(limit) = route.over_limit(now) {
            route.shed += 1;
            self.refuse(peer, &head, refusal(&limit));
            return;
        }
        route.opened();
        self.calls_seen += 1;
        let order = self.calls_seen;
        let credit = options.stream;
        let call = OpenCall { route: id, provider, sent: now, credit, order, cancelled: false };
        self.members[peer].open_calls.insert(head.request, call);
        // Who waits for a key may change, so the control plane ends such a call.
        if head.ttl > 0 && !options.keyed {
            let due = now + f64::from(head.ttl) / 1000.0;
            let deadline = Deadline { due, call: order, caller: peer, request: head.request };
            self.ledger.deadlines.push(deadline);
        }
        self.emit(provider, header, body);
    }

    fn answered(&mut self, peer: PeerId, head: Head, header: F, body: F, now: f64) {
        let was_owed = head.flow().is_some_and(|flow| {
            let owed = &mut self.members[peer].owed;
            !owed.is_empty() && owed.remove(&(flow, head.request)).is_some()
        });
        let Some((caller, call)) = self.routes.find_call(&self.members, peer, &head) else {
            self.counters.count(if was_owed { Reason::LateAnswer } else { Reason::StrayAnswer });
            return;
        };
        self.members[caller].open_calls.remove(&head.request);
        self.routes[call.route].answered(call.sent, now, head.kind == Kind::Result);
        self.routes.closed(call.route);
        self.emit(caller, header, body);
    }

    /// Whether the provider of an open call may send a chunk now.
    fn take_credit(&mut self, caller: PeerId, request: u64) -> bool {
        match self.members[caller].open_calls.get_mut(&request) {
            Some(OpenCall { credit: Some(credit), .. }) if *credit > 0 => {
                *credit -= 1;
                true
            }
            _ => false,
        }
    }

    fn credit(&mut self, peer: PeerId, request: u64, body: F) {
        let call = self.members[peer].open_calls.get_mut(&request);
        let Some((call, credit)) = call.and_then(|call| call.credit.map(|credit| (call, credit)))
        else {
            self.counters.count(Reason::StrayCredit);
            return;
        };
        let Some(credit) = more_credit(&body, credit) else {
            self.counters.count(Reason::BadCredit);
            return;
        };
        call.credit = Some(credit);
        let (provider, number) = (call.provider, self.routes[call.route].number);
        self.emit(provider, header(Kind::Credit, Some(number), request), body);
    }

    // Time.

    /// When `tick` has something to do: a deadline, or the next look at who is alive.
    pub fn next_tick(&self) -> f64 {
        self.ledger.deadlines.next().map_or(self.look_at, |due| due.min(self.look_at))
    }

    /// Ends calls whose time has run out and reports peers that fell silent or owe answers.
    pub fn tick(&mut self, now: f64) {
        self.expire(now);
        if now >= self.look_at {
            let beat_s = self.watch.heartbeat_s / 2.0;
            self.look_at = now + beat_s;
            self.forget_answered();
            for peer in self.overdue(beat_s, now) {
                self.offer(Event::Overdue, peer, nothing(), nothing(), false);
            }
            self.report_silent(now);
        }
    }

    fn report_silent(&mut self, now: f64) {
        let horizon = self.watch.horizon(now);
        for id in self.members.in_order() {
            if !self.members.is_heard(id) {
                continue;
            }
            let peer = &mut self.members[id];
            if peer.heard >= horizon {
                peer.told = false;
            } else if (peer.opened || peer.is_console()) && !peer.told {
                peer.told = true;
                self.offer(Event::Silent, id, nothing(), nothing(), false);
            }
        }
    }

    // Figures.

    /// The installed flows' figures, by number.
    pub fn flows(&self) -> Vec<FlowStats> {
        self.routes.stats()
    }

    /// The admitted peers' figures, by name.
    pub fn peers(&self) -> Vec<PeerStats> {
        self.members.stats()
    }

    // Helpers.

    /// The peer with this number, unless it is gone for good.
    pub(crate) fn peer_mut(&mut self, id: PeerId) -> Option<&mut Peer<F>> {
        self.members.find_mut(id)
    }

    fn sender(&mut self, identity: &[u8], now: f64) -> Option<PeerId> {
        if let Some(peer) = self.members.with_identity(identity) {
            return Some(peer);
        }
        let Ok(console) = self.members.find_console(identity, now) else {
            self.counters.count(Reason::TooManyConsoles);
            return None;
        };
        if let Some(peer) = console {
            self.offer(Event::Console, peer, nothing(), F::copy_from(identity), false);
        }
        console
    }

    pub(crate) fn emit(&mut self, peer: PeerId, header: F, body: F) {
        if peer != self.members.kernel {
            self.out.push(Outgoing { peer, header, body });
            return;
        }
        // What else goes to the kernel is bounded by the open calls and the credit that it belongs to.
        let kind = Head::decode(&header).map(|head| head.kind);
        let bounded = matches!(kind, Ok(Kind::Progress | Kind::Event));
        // In the line of whoever leads to it: its answer comes before its farewell.
        if !self.offer(Event::Delivery, self.speaker, header, body, bounded) {
            self.counters.count(Reason::UpcallsFull);
        }
    }

    fn upcall(&mut self, peer: PeerId, head: &Head, header: F, body: F) {
        let answered = matches!(head.kind, Kind::Call | Kind::Subscribe);
        if !self.report(peer, header, body) && answered {
            self.refuse(peer, head, refusals::overloaded("messages waiting for the kernel"));
        }
    }

    fn report(&mut self, peer: PeerId, header: F, body: F) -> bool {
        let taken = self.offer(Event::Message, peer, header, body, true);
        if !taken {
            self.counters.count(Reason::UpcallsFull);
        }
        taken
    }

    /// Whether the control plane takes it, which it always does if it is not bounded.
    pub(crate) fn offer(
        &self,
        event: Event,
        peer: PeerId,
        header: F,
        body: F,
        bounded: bool,
    ) -> bool {
        let peer = Arc::clone(&self.members[peer].name);
        self.upcalls.offer(Upcall { event, peer, header, body }, bounded).is_ok()
    }
}

pub(crate) fn header<F: Frame>(kind: Kind, flow: Option<u32>, request: u64) -> F {
    let target = flow.map_or(symphony_wire::Target::None, symphony_wire::Target::Flow);
    F::copy_from(&Header { target, request, ..Header::new(kind) }.encode())
}

pub(crate) fn nothing<F: Frame>() -> F {
    F::copy_from(&[])
}

fn refusal(limit: &Limit) -> BusError {
    match *limit {
        Limit::OpenCalls => refusals::overloaded("open calls of this flow"),
        Limit::Rate { rate, retry_ms } => refusals::too_often(rate, retry_ms),
    }
}
