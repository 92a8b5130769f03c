//! The switch: every decision of the datapath; `bus/switch.py` in Rust.
//!
//! Messages and the time go in; messages to send (`out`) and upcalls come out. Each row of PROTOCOL.md section 3 is
//! handled in `dispatch`. An open call is kept with its caller, by request number: a flow number belongs to one caller
//! for good, so (flow, request) finds it.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use symphony_wire::constants::{Kind, MAX_BODY, MAX_HEADER};
use symphony_wire::{BusError, Code, Header};

use crate::counters::{Counters, Reason};
use crate::frame::Frame;
use crate::head::{Head, Target};
use crate::liveness::Watch;
use crate::peers::{OpenCall, Peer, PeerId, Peers};
use crate::upcalls::{Event, Upcall, UpcallQueue};

/// The name of the kernel, a peer of its own that has no connection.
pub const KERNEL: &str = "";
pub const MAX_CONSOLES: usize = 256;
/// Per caller.
pub const MAX_OPEN_CALLS: usize = 1_024;

const RETRY_MS: u32 = 50;
const IDENTITY_BYTES: usize = 16;
const CONSOLE_IDENTITY_BYTES: usize = 32;

/// One entry of the flow table: messages of `caller` with this number go to `provider`.
pub struct Flow<'a> {
    pub number: u32,
    pub caller: &'a str,
    pub provider: &'a str,
    pub generation: u64,
}

struct Route {
    caller: PeerId,
    provider: Option<PeerId>,
    generation: u64,
}

/// A message to send.
pub(crate) struct Outgoing<F> {
    pub peer: PeerId,
    pub header: F,
    pub body: F,
}

/// When the call with this request number and order runs out of time.
struct Deadline {
    due: f64,
    call: u64,
    caller: PeerId,
    request: u64,
}

impl Ord for Deadline {
    fn cmp(&self, other: &Self) -> Ordering {
        self.due.total_cmp(&other.due).then(self.call.cmp(&other.call))
    }
}

impl PartialOrd for Deadline {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Deadline {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Deadline {}

/// Keeps peers, flows, open calls and their deadlines. Times are seconds of one monotonic clock.
pub struct Switch<F> {
    pub(crate) out: Vec<Outgoing<F>>,
    counters: Arc<Counters>,
    upcalls: Arc<UpcallQueue<F>>,
    watch: Watch,
    kernel: PeerId,
    peers: Peers<F>,
    /// Names by secret.
    consoles: HashMap<Box<[u8]>, Arc<str>>,
    consoles_seen: u64,
    routes: HashMap<u32, Route>,
    deadlines: BinaryHeap<Reverse<Deadline>>,
    calls_seen: u64,
    look_at: f64,
}

impl<F: Frame> Switch<F> {
    pub fn new(
        upcalls: Arc<UpcallQueue<F>>,
        counters: Arc<Counters>,
        heartbeat_ms: u32,
        liveness: u32,
        now: f64,
    ) -> Self {
        let mut peers = Peers::new();
        let kernel = peers.add(KERNEL.into(), None, now);
        peers[kernel].opened = true;
        Self {
            out: Vec::new(),
            counters,
            upcalls,
            watch: Watch::new(heartbeat_ms, liveness, now),
            kernel,
            peers,
            consoles: HashMap::new(),
            consoles_seen: 0,
            routes: HashMap::new(),
            deadlines: BinaryHeap::new(),
            calls_seen: 0,
            look_at: now,
        }
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    // Commands; see `bus/datapath.py`.

    pub fn admit(&mut self, name: &str, identity: &[u8], now: f64) {
        self.expel(name);
        self.peers.add(name.into(), Some(identity), now);
    }

    pub fn admit_consoles(&mut self, name: &str, secret: &[u8]) {
        self.consoles.insert(secret.into(), name.into());
    }

    pub fn open(&mut self, name: &str, now: f64) {
        if let Some(id) = self.peers.named(name) {
            let peer = &mut self.peers[id];
            peer.opened = true;
            peer.heard = now;
        }
    }

    pub fn expel(&mut self, name: &str) {
        let before = self.consoles.len();
        self.consoles.retain(|_, console| **console != *name);
        if self.consoles.len() < before {
            for member in self.members(name) {
                self.expel_peer(&member);
            }
        }
        self.expel_peer(name);
    }

    fn expel_peer(&mut self, name: &str) {
        let Some(gone) = self.peers.remove(name) else { return };
        for (request, call) in self.peers[gone].calls_in_order() {
            self.emit(call.provider, header(Kind::Cancel, Some(call.flow), request), nothing());
        }
        let peer = &mut self.peers[gone];
        peer.open_calls.clear();
        peer.queue.clear();
        peer.queued_bytes = 0;
        for caller in self.peers.in_order() {
            for (request, call) in self.peers[caller].calls_in_order() {
                if call.provider == gone {
                    self.end(caller, request, call, &crashed(name));
                }
            }
        }
        self.routes.retain(|_, route| route.caller != gone && route.provider != Some(gone));
    }

    pub fn install(&mut self, flow: &Flow<'_>) {
        if let (Some(caller), Some(provider)) =
            (self.peers.named(flow.caller), self.peers.named(flow.provider))
        {
            let route = Route { caller, provider: Some(provider), generation: flow.generation };
            self.routes.insert(flow.number, route);
        }
    }

    pub fn revoke(&mut self, generation: u64) {
        for route in self.routes.values_mut() {
            if route.generation < generation {
                route.provider = None;
            }
        }
    }

    pub fn send(&mut self, name: &str, header: F, body: F) {
        match self.peers.named(name) {
            Some(peer) => self.emit(peer, header, body),
            None => self.counters.count(Reason::ToUnknownPeer),
        }
    }

    pub fn inject(&mut self, name: &str, header: F, body: F, now: f64) {
        let Some(peer) = self.peers.named(name) else {
            self.counters.count(Reason::FromUnknownPeer);
            return;
        };
        match Head::decode(&header) {
            Ok(head) => self.dispatch(peer, head, header, body, now, true),
            Err(_) => self.counters.count(Reason::Undecodable),
        }
    }

    // Messages.

    /// Handles one message of two frames, whatever they hold. False if the routing id is nobody's: the message was
    /// ignored.
    pub fn receive(&mut self, identity: &[u8], header: F, body: F, now: f64) -> bool {
        let known = self.peers.with_identity(identity);
        let Some(peer) = known.or_else(|| self.admit_console(identity, now)) else {
            return false;
        };
        self.peers[peer].heard = now;
        if header.len() > MAX_HEADER || body.len() > MAX_BODY {
            self.counters.count(Reason::Oversize);
            return true;
        }
        match Head::decode(&header) {
            Ok(head) => self.dispatch(peer, head, header, body, now, false),
            Err(_) => self.counters.count(Reason::Undecodable),
        }
        true
    }

    fn dispatch(&mut self, peer: PeerId, head: Head, header: F, body: F, now: f64, injected: bool) {
        if !self.peers[peer].opened {
            if head.kind == Kind::Hello {
                self.upcall(peer, head, header, body);
            } else {
                self.counters.count(Reason::BeforeWelcome);
            }
            return;
        }
        match head.kind {
            Kind::Call => self.call(peer, head, header, body, now, injected),
            Kind::Result | Kind::Error => {
                if head.target == Target::None && !injected {
                    self.upcall(peer, head, header, body);
                } else if let Some((caller, _)) = self.call_of(head, peer) {
                    self.peers[caller].open_calls.remove(&head.request);
                    self.emit(caller, header, body);
                } else {
                    self.counters.count(Reason::StrayAnswer);
                }
            }
            // No call of this switch takes chunks.
            Kind::Chunk | Kind::Credit => self.counters.count(Reason::StrayAnswer),
            Kind::Heartbeat => self.emit(peer, self::header(Kind::Heartbeat, None, 0), nothing()),
            Kind::Progress => match self.call_of(head, peer) {
                Some((caller, _)) => self.emit(caller, header, body),
                None => self.counters.count(Reason::StrayAnswer),
            },
            Kind::Cancel => {
                if let Some(call) = self.peers[peer].open_calls.get(&head.request).copied() {
                    let cancel = self::header(Kind::Cancel, Some(call.flow), head.request);
                    self.emit(call.provider, cancel, nothing());
                } else if !injected {
                    // Its call may still be with the control plane.
                    self.upcall(peer, head, header, body);
                }
            }
            Kind::Welcome | Kind::Activate | Kind::Unload => self.counters.count(Reason::WrongSide),
            Kind::Hello => self.counters.count(Reason::RepeatedHello),
            Kind::Event | Kind::Subscribe | Kind::Bye => self.upcall(peer, head, header, body),
        }
    }

    fn call(&mut self, peer: PeerId, head: Head, header: F, body: F, now: f64, injected: bool) {
        let open_calls = &self.peers[peer].open_calls;
        if head.request == 0 || open_calls.contains_key(&head.request) {
            self.counters.count(Reason::BadRequestNumber);
            return;
        }
        if open_calls.len() >= MAX_OPEN_CALLS {
            self.answer(peer, head, &overloaded("open calls of this caller"));
            return;
        }
        // Providers trust the option, so it must come from the control plane.
        let forged = head.names_capability && !injected;
        let Some((flow, provider)) = self.provider_of(head, peer).filter(|_| !forged) else {
            self.upcall(peer, head, header, body);
            return;
        };
        self.calls_seen += 1;
        let call = OpenCall { flow, provider, order: self.calls_seen };
        self.peers[peer].open_calls.insert(head.request, call);
        if head.ttl > 0 {
            self.deadlines.push(Reverse(Deadline {
                due: now + f64::from(head.ttl) / 1000.0,
                call: call.order,
                caller: peer,
                request: head.request,
            }));
        }
        self.emit(provider, header, body);
    }

    // Time.

    /// When `tick` has something to do: a deadline, or the next look at who is alive.
    pub fn next_tick(&self) -> f64 {
        match self.deadlines.peek() {
            Some(Reverse(first)) => first.due.min(self.look_at),
            None => self.look_at,
        }
    }

    /// Ends calls whose time has run out and reports peers that fell silent.
    pub fn tick(&mut self, now: f64) {
        while self.deadlines.peek().is_some_and(|Reverse(first)| first.due <= now) {
            let Some(Reverse(deadline)) = self.deadlines.pop() else { break };
            if let Some(call) = still_open(&self.peers, &deadline) {
                self.end(deadline.caller, deadline.request, call, &late());
                let cancel = header(Kind::Cancel, Some(call.flow), deadline.request);
                self.emit(call.provider, cancel, nothing());
            }
        }
        if now >= self.look_at {
            self.look_at = now + self.watch.heartbeat_s / 2.0;
            self.forget_answered();
            self.report_silent(now);
        }
    }

    fn report_silent(&mut self, now: f64) {
        let horizon = self.watch.horizon(now);
        for id in self.peers.in_order() {
            let peer = &mut self.peers[id];
            if id == self.kernel {
                continue;
            }
            if peer.heard >= horizon {
                peer.told = false;
            } else if peer.opened && !peer.told {
                peer.told = true;
                let silent = upcall(Event::Silent, peer, nothing(), nothing());
                let _ = self.upcalls.offer(silent, false); // unbounded: always taken
            }
        }
    }

    /// Deadlines of answered calls stay in the heap until they outnumber the open ones.
    fn forget_answered(&mut self) {
        let open_calls: usize = self.peers.all().map(|peer| peer.open_calls.len()).sum();
        if self.deadlines.len() > 2 * open_calls + 1024 {
            let peers = &self.peers;
            self.deadlines.retain(|Reverse(deadline)| still_open(peers, deadline).is_some());
        }
    }

    // What the transport could not do.

    /// A message to `peer` was given up: it is not connected (`gone`), or its queue is full.
    pub(crate) fn undeliverable(&mut self, peer: PeerId, header: &F, gone: bool) {
        self.counters.count(if gone { Reason::Unreachable } else { Reason::QueueFull });
        let Ok(head) = Head::decode(header) else { return };
        if head.kind != Kind::Call {
            return;
        }
        let Some((caller, call)) = self.call_of(head, peer) else { return };
        // The lost call may be the one that said what the flow's number stands for.
        if let Some(route) = self.routes.get_mut(&call.flow) {
            route.provider = None;
        }
        let error = if gone {
            crashed(&self.peers[peer].name)
        } else {
            overloaded("messages queued for the provider")
        };
        self.end(caller, head.request, call, &error);
    }

    /// The peer with this number, unless it is gone for good.
    pub(crate) fn peer_mut(&mut self, id: PeerId) -> Option<&mut Peer<F>> {
        self.peers.find_mut(id)
    }

    /// All that was in `out` has been sent or queued: forget expelled peers that nothing waits for.
    pub(crate) fn bury(&mut self) {
        self.peers.bury();
    }

    // Helpers.

    fn admit_console(&mut self, identity: &[u8], now: f64) -> Option<PeerId> {
        if identity.len() != CONSOLE_IDENTITY_BYTES {
            return None;
        }
        let name = Arc::clone(self.consoles.get(&identity[..IDENTITY_BYTES])?);
        if self.members(&name).len() >= MAX_CONSOLES {
            self.counters.count(Reason::TooManyConsoles);
            return None;
        }
        self.consoles_seen += 1;
        let member = format!("{name}/{}", self.consoles_seen);
        Some(self.peers.add(member.into(), Some(identity), now))
    }

    /// The names of all consoles of this name that are connected, oldest first.
    fn members(&self, console: &str) -> Vec<Arc<str>> {
        let belongs = |name: &str| name.strip_prefix(console).is_some_and(|n| n.starts_with('/'));
        let ids = self.peers.in_order().into_iter();
        ids.map(|id| Arc::clone(&self.peers[id].name)).filter(|name| belongs(name)).collect()
    }

    /// The flow and provider of a call, if the flow is installed and the caller's.
    fn provider_of(&self, head: Head, caller: PeerId) -> Option<(u32, PeerId)> {
        let Target::Flow(flow) = head.target else { return None };
        let route = self.routes.get(&flow).filter(|route| route.caller == caller)?;
        route.provider.map(|provider| (flow, provider))
    }

    /// The caller and the open call that a message of its provider is about.
    fn call_of(&self, head: Head, provider: PeerId) -> Option<(PeerId, OpenCall)> {
        let Target::Flow(flow) = head.target else { return None };
        let caller = self.routes.get(&flow)?.caller;
        let call = self.peers[caller].open_calls.get(&head.request)?;
        (call.provider == provider && call.flow == flow).then_some((caller, *call))
    }

    fn emit(&mut self, peer: PeerId, header: F, body: F) {
        if peer != self.kernel {
            self.out.push(Outgoing { peer, header, body });
            return;
        }
        // Calls and answers are bounded by the open calls they belong to; progress is not.
        let bounded = Head::decode(&header).is_ok_and(|head| head.kind == Kind::Progress);
        let delivery = upcall(Event::Delivery, &self.peers[peer], header, body);
        if self.upcalls.offer(delivery, bounded).is_err() {
            self.counters.count(Reason::UpcallsFull);
        }
    }

    fn upcall(&mut self, peer: PeerId, head: Head, header: F, body: F) {
        let message = upcall(Event::Message, &self.peers[peer], header, body);
        if self.upcalls.offer(message, true).is_ok() {
            return;
        }
        self.counters.count(Reason::UpcallsFull);
        if head.kind == Kind::Call {
            self.answer(peer, head, &overloaded("messages waiting for the kernel"));
        }
    }

    fn answer(&mut self, peer: PeerId, head: Head, error: &BusError) {
        let flow = match head.target {
            Target::Flow(flow) => Some(flow),
            Target::None | Target::Name => None,
        };
        self.emit(peer, header(Kind::Error, flow, head.request), F::copy_from(&error.to_body()));
    }

    fn end(&mut self, caller: PeerId, request: u64, call: OpenCall, error: &BusError) {
        self.peers[caller].open_calls.remove(&request);
        let header = header(Kind::Error, Some(call.flow), request);
        self.emit(caller, header, F::copy_from(&error.to_body()));
    }
}

fn still_open<F>(peers: &Peers<F>, deadline: &Deadline) -> Option<OpenCall> {
    let call = peers.find(deadline.caller)?.open_calls.get(&deadline.request)?;
    (call.order == deadline.call).then_some(*call)
}

fn upcall<F>(event: Event, peer: &Peer<F>, header: F, body: F) -> Upcall<F> {
    Upcall { event, peer: Arc::clone(&peer.name), header, body }
}

fn header<F: Frame>(kind: Kind, flow: Option<u32>, request: u64) -> F {
    let target = flow.map_or(symphony_wire::Target::None, symphony_wire::Target::Flow);
    F::copy_from(&Header { target, request, ..Header::new(kind) }.encode())
}

fn nothing<F: Frame>() -> F {
    F::copy_from(&[])
}

fn crashed(name: &str) -> BusError {
    BusError::new(Code::Crashed, "the provider ended before it answered").at(name)
}

fn late() -> BusError {
    BusError::new(Code::Deadline, "the call was not answered in time")
}

fn overloaded(what: &str) -> BusError {
    BusError::new(Code::Overloaded, format!("too many {what}"))
        .at(what)
        .help("wait for answers before calling again")
        .retry_after_ms(RETRY_MS)
}
