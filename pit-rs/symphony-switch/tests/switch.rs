//! Whatever peers, commands and the transport do, the switch never panics, speaks to no stranger and stays bounded.
//! That it decides as the Python one does is shown by `tests/bus/test_differential.py`.

#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use proptest::collection::{hash_set, vec};
use proptest::option;
use proptest::prelude::*;
use symphony_switch::{
    Counters, Egress, Event, Flow, Reason, Refusal, Switch, Times, Transport, UpcallQueue, KERNEL,
    MAX_QUEUED,
};
use symphony_wire::constants::{Kind, MAX_BODY, MAX_HEADER, MAX_OPEN_CALLS};
use symphony_wire::{BusError, Code, Header, Target};

type Frame = Vec<u8>;

const NAMES: [&str; 3] = ["a", "b", "c"];

fn identity(name: &str) -> Frame {
    name.repeat(16).into_bytes()
}

/// A flow without limits.
fn flow<'a>(number: u32, caller: &'a str, provider: &'a str) -> Flow<'a> {
    let (generation, safe, credit, rate, burst) = (1, false, 0, 0.0, 1);
    Flow { number, caller, provider, generation, safe, credit, rate, burst }
}

#[derive(Default)]
struct Peers {
    busy: HashSet<Frame>,
    gone: HashSet<Frame>,
    received: HashMap<Frame, Vec<(Frame, Frame)>>,
}

impl Transport<Frame> for Peers {
    fn try_send(&mut self, to: &[u8], header: &mut Frame, body: &mut Frame) -> Result<(), Refusal> {
        if self.gone.contains(to) {
            return Err(Refusal::Gone);
        }
        if self.busy.contains(to) {
            return Err(Refusal::Busy);
        }
        let message = (std::mem::take(header), std::mem::take(body));
        self.received.entry(to.to_vec()).or_default().push(message);
        Ok(())
    }
}

struct Hub {
    switch: Switch<Frame>,
    egress: Egress<Frame>,
    upcalls: Arc<UpcallQueue<Frame>>,
    counters: Arc<Counters>,
    peers: Peers,
    now: f64,
}

impl Hub {
    /// All of `NAMES` are admitted and opened, and flow 1 leads from a to b.
    fn new() -> Self {
        let (upcalls, counters) = (Arc::default(), Arc::default());
        let times = Times { heartbeat_ms: 1_000, liveness: 5, grace_ms: 2_000 };
        let mut switch = Switch::new(Arc::clone(&upcalls), Arc::clone(&counters), times, 0.0);
        for name in NAMES {
            switch.admit(name, &identity(name), 0.0);
            switch.open(name, 0.0);
        }
        switch.install(&flow(1, "a", "b"));
        let (egress, peers) = (Egress::default(), Peers::default());
        Self { switch, egress, upcalls, counters, peers, now: 0.0 }
    }

    fn flush(&mut self) {
        self.egress.retry_absent(&mut self.switch, &mut self.peers, self.now);
        self.egress.retry_blocked(&mut self.switch, &mut self.peers, self.now);
        self.egress.flush(&mut self.switch, &mut self.peers, self.now);
    }

    fn say(&mut self, from: &str, kind: Kind, request: u64, body: &[u8]) {
        let header = Header { target: Target::Flow(1), request, ..Header::new(kind) };
        assert!(self.switch.receive(&identity(from), header.encode(), body.to_vec(), self.now));
        self.flush();
    }

    /// Kind and request of what a peer received since this was last asked.
    fn heard(&mut self, name: &str) -> Vec<(Kind, u64)> {
        let messages = self.peers.received.remove(&identity(name)).unwrap_or_default();
        let headers = messages.iter().map(|(header, _)| Header::decode(header).unwrap());
        headers.map(|header| (header.kind, header.request)).collect()
    }
}

#[test]
fn a_call_and_its_answer_pass_as_the_very_bytes() {
    let mut hub = Hub::new();
    hub.say("a", Kind::Call, 1, b"question");
    let (_, body) = &hub.peers.received[&identity("b")][0];
    assert_eq!(body, b"question");
    assert_eq!(hub.heard("b"), [(Kind::Call, 1)]);
    hub.say("b", Kind::Result, 1, b"answer");
    hub.say("b", Kind::Result, 1, b"again");
    assert_eq!(hub.heard("a"), [(Kind::Result, 1)]);
    assert_eq!(hub.counters.of(Reason::StrayAnswer), 1);
}

#[test]
fn a_farewell_still_reaches_a_peer_that_is_expelled_with_it_and_nobody_else() {
    let mut hub = Hub::new();
    hub.switch.send("c", Header::new(Kind::Bye).encode(), Vec::new());
    hub.switch.expel("c", 0.0);
    hub.switch.admit("d", &identity("d"), 0.0);
    hub.flush();
    assert_eq!(hub.heard("c"), [(Kind::Bye, 0)]);
    assert_eq!(hub.heard("d"), []);
    hub.switch.admit("e", &identity("e"), 0.0);
    hub.switch.send("e", Header::new(Kind::Welcome).encode(), Vec::new());
    hub.flush();
    assert_eq!(hub.heard("e"), [(Kind::Welcome, 0)]);
}

#[test]
fn a_slow_peer_gets_everything_in_order_or_the_caller_hears_of_it() {
    let mut hub = Hub::new();
    hub.peers.busy.insert(identity("b"));
    for request in 1..=3 {
        hub.say("a", Kind::Call, request, b"");
    }
    assert!(hub.egress.blocked());
    hub.peers.busy.clear();
    hub.say("a", Kind::Call, 4, b"");
    assert!(!hub.egress.blocked());
    let calls: Vec<_> = (1..=4).map(|request| (Kind::Call, request)).collect();
    assert_eq!(hub.heard("b"), calls);

    hub.peers.gone.insert(identity("b"));
    hub.say("a", Kind::Call, 5, b"");
    assert!(hub.egress.absent());
    hub.switch.expel("b", hub.now);
    hub.flush();
    let errors: Vec<_> = hub.peers.received[&identity("a")]
        .iter()
        .map(|(_, body)| BusError::from_body(body))
        .map(|error| (error.code, error.repeatable))
        .collect();
    let sent = (Code::Crashed, false);
    assert_eq!(errors, [sent, sent, sent, sent, (Code::Crashed, true)]);
}

#[test]
fn time_ends_calls_and_finds_the_silent() {
    let mut hub = Hub::new();
    let header =
        Header { target: Target::Flow(1), request: 1, ttl: 700, ..Header::new(Kind::Call) };
    hub.switch.receive(&identity("a"), header.encode(), Vec::new(), 0.0);
    assert_eq!(hub.switch.next_tick(), 0.0);
    hub.switch.tick(0.0);
    assert_eq!(hub.switch.next_tick(), 0.5);
    hub.switch.tick(0.5);
    assert_eq!(hub.switch.next_tick(), 0.7);
    hub.switch.tick(0.7);
    hub.flush();
    assert_eq!(hub.heard("a"), [(Kind::Error, 1)]);
    assert_eq!(hub.heard("b"), [(Kind::Call, 1), (Kind::Cancel, 1)]);
    for half_seconds in 2..=12 {
        hub.switch.tick(f64::from(half_seconds) / 2.0);
    }
    let silent: Vec<_> =
        hub.upcalls.take(usize::MAX).into_iter().map(|upcall| upcall.event).collect();
    assert_eq!(silent, [Event::Overdue, Event::Silent, Event::Silent, Event::Silent]);
}

#[derive(Clone, Debug)]
enum Step {
    Receive(Frame, Frame),
    Install(u32, &'static str, &'static str),
    Revoke(u64),
    Expel(&'static str),
    Admit(&'static str),
    Tick(f64),
    Flush(HashSet<Frame>, Option<Frame>),
    Take,
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(NAMES.to_vec())
}

fn header() -> impl Strategy<Value = Frame> {
    let target = prop_oneof![
        (1..4u32).prop_map(Target::Flow),
        Just(Target::None),
        Just(Target::Name("t.a/1".to_owned())),
    ];
    let sound =
        (1..16u64, target, 0..5u64, 0..3_000u32).prop_map(|(kind, target, request, ttl)| {
            let kind = Kind::from_number(kind).unwrap();
            Header { target, request, ttl, ..Header::new(kind) }.encode()
        });
    let damaged = (sound.clone(), any::<prop::sample::Index>(), any::<u8>());
    prop_oneof![
        4 => sound,
        1 => vec(any::<u8>(), 0..40),
        1 => damaged.prop_map(|(mut frame, at, byte)| {
            let at = at.index(frame.len());
            frame[at] = byte;
            frame
        }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let anybody = || prop::sample::select(vec!["a", "b", "c", "x"]).prop_map(identity);
    let with_kernel = || prop::sample::select(vec!["a", "b", "c", KERNEL]);
    prop_oneof![
        8 => (anybody(), header()).prop_map(|(from, header)| Step::Receive(from, header)),
        1 => (1..4u32, with_kernel(), with_kernel())
            .prop_map(|(number, caller, provider)| Step::Install(number, caller, provider)),
        1 => (0..3u64).prop_map(Step::Revoke),
        1 => name().prop_map(Step::Expel),
        1 => name().prop_map(Step::Admit),
        1 => (0.0..4.0).prop_map(Step::Tick),
        2 => (hash_set(anybody(), 0..3), option::of(anybody()))
            .prop_map(|(busy, gone)| Step::Flush(busy, gone)),
        1 => Just(Step::Take),
    ]
}

proptest! {
    #[test]
    fn any_sequence(steps in vec(step(), 0..120)) {
        let mut hub = Hub::new();
        let mut admitted: HashSet<Frame> = NAMES.iter().map(|name| identity(name)).collect();
        for step in steps {
            match step {
                Step::Receive(from, header) => {
                    let known = hub.switch.receive(&from, header, b"body".to_vec(), hub.now);
                    prop_assert_eq!(known, admitted.contains(&from));
                }
                Step::Install(number, caller, provider) => {
                    hub.switch.install(&flow(number, caller, provider));
                }
                Step::Revoke(generation) => hub.switch.revoke(generation),
                Step::Expel(name) => {
                    hub.switch.expel(name, hub.now);
                    admitted.remove(&identity(name));
                }
                Step::Admit(name) => {
                    hub.switch.admit(name, &identity(name), hub.now);
                    hub.switch.open(name, hub.now);
                    admitted.insert(identity(name));
                }
                Step::Tick(seconds) => {
                    hub.now += seconds;
                    hub.switch.tick(hub.now);
                    prop_assert!(hub.switch.next_tick() > hub.now);
                }
                Step::Flush(busy, gone) => {
                    hub.peers.busy = busy;
                    hub.peers.gone = gone.into_iter().collect();
                    hub.flush();
                }
                Step::Take => drop(hub.upcalls.take(usize::MAX)),
            }
        }
        hub.peers.busy.clear();
        hub.peers.gone.clear();
        hub.flush();
        prop_assert!(!hub.egress.blocked() && !hub.egress.absent());
        for (to, messages) in &hub.peers.received {
            prop_assert!(to != &identity("x"));
            for (header, body) in messages {
                prop_assert!(header.len() <= MAX_HEADER && body.len() <= MAX_BODY);
            }
        }
    }

    #[test]
    fn open_calls_are_bounded(requests in vec(1..2_000u64, 0..1_500)) {
        let mut hub = Hub::new();
        for request in &requests {
            hub.say("a", Kind::Call, *request, b"");
        }
        let reached = hub.heard("b").len();
        let distinct = requests.iter().collect::<HashSet<_>>().len();
        prop_assert_eq!(reached, distinct.min(MAX_OPEN_CALLS));
    }

    #[test]
    fn what_waits_for_a_slow_peer_is_bounded(more in 0..100usize) {
        let mut hub = Hub::new();
        hub.peers.busy.insert(identity("c"));
        for _ in 0..MAX_QUEUED + more {
            hub.switch.send("c", Header::new(Kind::Event).encode(), Vec::new());
        }
        hub.flush();
        prop_assert_eq!(hub.counters.of(Reason::QueueFull), u64::try_from(more).unwrap());
        hub.peers.busy.clear();
        hub.flush();
        prop_assert_eq!(hub.heard("c").len(), MAX_QUEUED);
    }
}
