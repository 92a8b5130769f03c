//! An arbiter as its callers see it, with JSON for msgpack, in a world whose time the test sets.
#![allow(dead_code)] // Each test binary uses its part.
#![allow(clippy::unwrap_used)] // A test may panic.

use std::collections::BTreeMap;

use serde_json::{json, Value};
use symphony_arbitration::Arbiter;
use symphony_journal::memory::MemoryStorage;
use symphony_journal::Storage;
use symphony_wire::reactor::{Effect, Effects, Now, Reactor};
use symphony_wire::service::{Call, Outcome};
use symphony_wire::{BusError, Code};

pub const TS: &str = "2026-01-31T12:00:00.000Z";
pub const LEDGER: &str = "ledger.journal";

pub type Reply = Result<Value, BusError>;

pub struct World<S: Storage> {
    pub arbiter: Arbiter<S>,
    pub now: Now,
    calls: u64,
    pub answers: BTreeMap<u64, Reply>,
    pub effects: Effects,
}

pub fn in_memory(storage: &MemoryStorage) -> World<MemoryStorage> {
    World::new(Arbiter::open(storage.clone()).unwrap())
}

/// A world with this configuration.
pub fn configured(config: Value) -> World<MemoryStorage> {
    let mut world = in_memory(&MemoryStorage::new());
    world.ok("configure", config);
    world
}

fn read(outcome: Outcome) -> Reply {
    outcome.map(|body| rmp_serde::from_slice(&body).unwrap())
}

impl<S: Storage> World<S> {
    pub fn new(arbiter: Arbiter<S>) -> Self {
        let now = Now { mono_ms: 1_000_000, wall_ms: 1_800_000_000_000 };
        let effects = Effects::default();
        Self { arbiter, now, calls: 0, answers: BTreeMap::new(), effects }
    }

    fn collect(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let Effect::Answer { call, outcome } = effect else { panic!("{effect:?}") };
            assert!(self.answers.insert(call, read(outcome)).is_none(), "{call} answered twice");
        }
    }

    /// Carries out what is wanted, with a flush where something waits for it.
    pub fn settle(&mut self) {
        let now = self.effects.take_now();
        self.collect(now);
        if self.effects.wants_flush() {
            let flushed = self.arbiter.flush();
            let done = self.effects.take_flushed(&flushed);
            self.collect(done);
        }
    }

    /// A call that may be answered later. Its number.
    pub fn send(&mut self, method: &str, arguments: Value) -> u64 {
        self.calls += 1;
        let body = rmp_serde::to_vec_named(&arguments).unwrap();
        let call = Call { capability: "pit.arbitration/1", method, body: &body };
        self.arbiter.call(self.calls, call, self.now, &mut self.effects);
        self.calls
    }

    pub fn ask(&mut self, method: &str, arguments: Value) -> u64 {
        let call = self.send(method, arguments);
        self.settle();
        call
    }

    pub fn call(&mut self, method: &str, arguments: Value) -> Reply {
        let call = self.ask(method, arguments);
        self.answers.remove(&call).unwrap_or_else(|| panic!("{method} waits"))
    }

    pub fn ok(&mut self, method: &str, arguments: Value) -> Value {
        let shown: String = arguments.to_string().chars().take(300).collect();
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

    pub fn cancel(&mut self, call: u64) {
        self.arbiter_cancel(call);
        self.settle();
    }

    /// Without a flush.
    pub fn arbiter_cancel(&mut self, call: u64) {
        self.arbiter.cancelled(call, self.now, &mut self.effects);
    }

    /// Lets time pass, with a tick wherever the arbiter wants one.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now.mono_ms + ms;
        let mut ticks = 0;
        while let Some(at) = self.arbiter.wakeup().filter(|at| *at <= end) {
            self.go_to(at.max(self.now.mono_ms));
            ticks += 1;
            assert!(ticks < 1_000, "a tick that changes nothing is wanted again and again");
            self.arbiter.tick(self.now, &mut self.effects);
            self.settle();
        }
        self.go_to(end);
    }

    fn go_to(&mut self, mono_ms: u64) {
        self.now.wall_ms += (mono_ms - self.now.mono_ms) as i64;
        self.now.mono_ms = mono_ms;
    }

    /// The answer to a call that waited, if it was answered.
    pub fn answered(&mut self, call: u64) -> Option<Reply> {
        self.answers.remove(&call)
    }

    pub fn granted(&mut self, call: u64) -> Value {
        self.answered(call).unwrap().unwrap()
    }

    /// A request that is granted at once: the grant.
    pub fn grant(&mut self, request: Value) -> String {
        self.ok("request", request)["grant"].as_str().unwrap().to_owned()
    }

    pub fn release(&mut self, grant: &str) {
        self.ok("release", release(&format!("release-{grant}"), grant));
    }

    pub fn held(&mut self) -> Vec<String> {
        let queue = self.ok("queue", json!({}));
        let held = queue["held"].as_array().unwrap();
        held.iter().map(|held| held["grant"].as_str().unwrap().to_owned()).collect()
    }

    /// Ids of those who wait, in the order.
    pub fn waiting(&mut self) -> Vec<String> {
        let queue = self.ok("queue", json!({}));
        let waiting = queue["waiting"].as_array().unwrap();
        waiting.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// A request with more arguments.
pub fn request(id: &str, tenant: &str, needs: Value, more: Value) -> Value {
    let mut request = json!({"id": id, "run": "r", "tenant": tenant, "needs": needs, "ts": TS});
    let fields = more.as_object().into_iter().flatten();
    fields.for_each(|(key, value)| request[key] = value.clone());
    request
}

pub fn release(id: &str, grant: &str) -> Value {
    json!({"id": id, "grant": grant, "outcome": "ok", "ts": TS})
}

pub fn charge(id: &str, run: &str, amounts: Value, more: Value) -> Value {
    let mut charge = json!({"id": id, "run": run, "amounts": amounts, "ts": TS});
    let fields = more.as_object().into_iter().flatten();
    fields.for_each(|(key, value)| charge[key] = value.clone());
    charge
}
