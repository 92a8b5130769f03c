//! A curator in a world that the test holds: a store, a tracker and an archive that check what is asked of them
//! and can fail in every way; JSON for msgpack, a clock that the test moves.
#![allow(dead_code)] // Each test binary uses its part.

pub mod world;

use std::collections::{BTreeMap, VecDeque};

use serde_json::{json, Value};
use symphony_journal::memory::MemoryStorage;
use symphony_stale::{Archive, Curator};
use symphony_wire::reactor::{Ask, CallId, Effect, Effects, Now, Reactor, Token};
use symphony_wire::service::{Call, Outcome};
use symphony_wire::{BusError, Code};
use world::{World, DAY};

pub const FILE: &str = "curator.journal";
pub type Reply = Result<Value, BusError>;

pub fn body(value: &Value) -> Vec<u8> {
    rmp_serde::to_vec_named(value).unwrap()
}

/// `day` days after 2026 began.
pub fn ts(day: i64) -> String {
    let (month, day) = (1 + day / 28, 1 + day % 28);
    let (year, month) = (2026 + (month - 1) / 12, 1 + (month - 1) % 12);
    format!("{year}-{month:02}-{day:02}T00:00:00.000Z")
}

pub struct Rig {
    pub storage: MemoryStorage,
    pub built_in: MemoryStorage,
    pub curator: Curator<MemoryStorage>,
    pub world: World,
    pub mono: u64,
    pub answers: BTreeMap<CallId, Reply>,
    pub asks: VecDeque<(Token, Ask)>,
    pub events: Vec<String>,
    out: Effects,
    calls: CallId,
    pub compact_from: u64,
}

impl Rig {
    pub fn new() -> Self {
        Self::open(&MemoryStorage::new(), &MemoryStorage::new(), World::default(), 64 << 20)
    }

    pub fn open(
        storage: &MemoryStorage,
        built_in: &MemoryStorage,
        world: World,
        compact_from: u64,
    ) -> Self {
        let mut world = world;
        world.built_in = Some(built_in.clone());
        let archive = Archive::open(built_in.clone()).unwrap();
        let curator = Curator::open_compacting(storage.clone(), archive, compact_from).unwrap();
        Self {
            storage: storage.clone(),
            built_in: built_in.clone(),
            curator,
            world,
            mono: 0,
            answers: BTreeMap::new(),
            asks: VecDeque::new(),
            events: Vec::new(),
            out: Effects::default(),
            calls: 0,
            compact_from,
        }
    }

    /// The power goes; what was asked may or may not have left before.
    pub fn crash(self) -> Self {
        self.storage.cut_power();
        self.built_in.cut_power();
        Self::open(&self.storage, &self.built_in, self.world, self.compact_from)
    }

    fn time(&self) -> Now {
        Now { mono_ms: self.mono, wall_ms: 0 }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Answer { call, outcome } => {
                    let reply = outcome.map(|body| rmp_serde::from_slice(&body).unwrap());
                    assert!(
                        self.answers.insert(call, reply).is_none(),
                        "call {call} was answered twice"
                    );
                }
                Effect::Ask { token, ask } => self.asks.push_back((token, ask)),
                Effect::Publish { topic, .. } => self.events.push(topic),
            }
        }
    }

    /// Carries out and flushes until nothing is left of that.
    pub fn settle(&mut self) {
        loop {
            let now = self.out.take_now();
            let idle = now.is_empty();
            self.carry_out(now);
            if self.out.wants_flush() {
                let flushed = self.curator.flush();
                let effects = self.out.take_flushed(&flushed);
                self.carry_out(effects);
            } else if self.curator.wakeup().is_some_and(|at| at <= self.mono) {
                let now = self.time();
                self.curator.tick(now, &mut self.out);
            } else if idle {
                return;
            }
        }
    }

    pub fn start(&mut self, method: &str, arguments: &Value) -> CallId {
        self.calls += 1;
        let (call, now) = (self.calls, self.time());
        let body = body(arguments);
        let request = Call { capability: "pit.stale/1", method, body: &body };
        self.curator.call(call, request, now, &mut self.out);
        self.settle();
        call
    }

    pub fn hear(&mut self, token: Token, outcome: Outcome) {
        let now = self.time();
        self.curator.heard(token, outcome, now, &mut self.out);
        self.settle();
    }

    pub fn cancel(&mut self, call: CallId) {
        let now = self.time();
        self.curator.cancelled(call, now, &mut self.out);
        self.settle();
    }

    /// Answers one question, or lets time pass; false where there is neither.
    pub fn step(&mut self) -> bool {
        if let Some((token, ask)) = self.asks.pop_front() {
            let outcome = self.world.answer(&ask);
            self.hear(token, outcome);
            return true;
        }
        let Some(at) = self.curator.wakeup() else { return false };
        self.mono = self.mono.max(at);
        self.settle();
        true
    }

    pub fn call(&mut self, method: &str, arguments: Value) -> Reply {
        let call = self.start(method, &arguments);
        while !self.answers.contains_key(&call) {
            assert!(self.step(), "{method} {arguments} waits for nothing");
        }
        self.answers.remove(&call).unwrap()
    }

    pub fn ok(&mut self, method: &str, arguments: Value) -> Value {
        let shown = arguments.to_string();
        self.call(method, arguments).unwrap_or_else(|error| panic!("{method} {shown}: {error}"))
    }

    pub fn refused(&mut self, method: &str, arguments: Value) -> BusError {
        match self.call(method, arguments) {
            Ok(reply) => panic!("{method} gave {reply}"),
            Err(error) => error,
        }
    }

    pub fn code(&mut self, method: &str, arguments: Value) -> Code {
        self.refused(method, arguments).code
    }

    pub fn run(&mut self, id: &str) -> Value {
        let ts = self.ts();
        self.ok("run", json!({"id": id, "ts": ts}))
    }

    pub fn plan(&mut self) -> Value {
        let ts = self.ts();
        self.ok("plan", json!({"ts": ts}))
    }

    pub fn action(&mut self, reference: &str) -> (String, String) {
        let plan = self.plan();
        let items = plan["items"].as_array().unwrap();
        let item = items.iter().find(|item| item["ref"] == *reference).unwrap();
        let text = |field: &str| item[field].as_str().unwrap().to_owned();
        (text("action"), text("reason"))
    }

    pub fn ts(&self) -> String {
        ts(self.world.day)
    }

    pub fn pass(&mut self, days: i64) {
        self.world.day += days;
        self.mono += (days * DAY) as u64;
    }
}
