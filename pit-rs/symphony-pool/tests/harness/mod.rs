//! A pool as its caller and the kernel see it, with JSON for msgpack and a clock that the test moves.
#![allow(dead_code)] // Each test binary uses its part.

pub mod trace;
pub mod world;

use std::collections::BTreeMap;

use serde_json::{json, Value};
use symphony_journal::memory::MemoryStorage;
use symphony_pool::Pool;
use symphony_wire::reactor::{CallId, Effect, Effects, Now, Reactor, Token};
use symphony_wire::service::{Call, Outcome};
use symphony_wire::{BusError, Code};

pub const TS: &str = "2026-01-31T12:00:00.000Z";
pub const FILE: &str = "leases.journal";

pub type Reply = Result<Value, BusError>;

#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub token: Token,
    pub method: String,
    pub body: Value,
}

pub struct Rig {
    pub storage: MemoryStorage,
    pub pool: Pool<MemoryStorage>,
    pub now: u64,
    /// What was answered and not taken yet.
    pub answers: BTreeMap<CallId, Reply>,
    /// In which order.
    pub order: Vec<CallId>,
    /// What the kernel was asked and did not look at yet.
    pub asked: Vec<Asked>,
    out: Effects,
    calls: CallId,
}

fn read(outcome: Outcome) -> Reply {
    outcome.map(|body| rmp_serde::from_slice(&body).unwrap())
}

pub fn body(value: &Value) -> Vec<u8> {
    rmp_serde::to_vec_named(value).unwrap()
}

impl Rig {
    pub fn new(storage: &MemoryStorage) -> Self {
        Self::open(storage, 64 << 20).unwrap()
    }

    pub fn open(storage: &MemoryStorage, compact_from: u64) -> Result<Self, BusError> {
        let pool = Pool::open_compacting(storage.clone(), compact_from)?;
        Ok(Self {
            storage: storage.clone(),
            pool,
            now: 1_000,
            answers: BTreeMap::new(),
            order: Vec::new(),
            asked: Vec::new(),
            out: Effects::default(),
            calls: 0,
        })
    }

    /// A pool with these limits and kinds that knows that there is nothing yet.
    pub fn with(limits: Value, kinds: Value) -> Self {
        let mut rig = Self::new(&MemoryStorage::new());
        rig.ok("configure", json!({"limits": limits, "kinds": kinds}));
        rig.resync(json!([]), json!([]));
        rig
    }

    pub fn time(&self) -> Now {
        Now { mono_ms: self.now, wall_ms: 1_769_860_800_000 + self.now as i64 }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if std::env::var_os("SYMPHONY_TRACE").is_some() {
                let shown = match &effect {
                    Effect::Answer { call, outcome } => {
                        format!("{call}: {:?}", read(outcome.clone()))
                    }
                    Effect::Ask { token, ask } => {
                        let body: Value = rmp_serde::from_slice(&ask.body).unwrap();
                        format!("ask {token}: {} {body}", ask.method)
                    }
                    Effect::Publish { topic, .. } => topic.clone(),
                };
                eprintln!("{} {shown}", self.now);
            }
            match effect {
                Effect::Answer { call, outcome } => {
                    let former = self.answers.insert(call, read(outcome));
                    self.order.push(call);
                    assert_eq!(former, None, "call {call} was answered twice");
                }
                Effect::Ask { token, ask } => {
                    assert_eq!(ask.capability, "kernel.instances/1");
                    let body = rmp_serde::from_slice(&ask.body).unwrap();
                    self.asked.push(Asked { token, method: ask.method, body });
                }
                Effect::Publish { .. } => panic!("the pool publishes nothing"),
            }
        }
    }

    /// Carries out what does not wait for a flush.
    pub fn settle(&mut self) {
        let now = self.out.take_now();
        self.carry_out(now);
    }

    /// Flushes, if anything waits for that.
    pub fn flush(&mut self) -> Result<(), BusError> {
        self.settle();
        if !self.out.wants_flush() {
            return Ok(());
        }
        let flushed = self.pool.flush();
        let effects = self.out.take_flushed(&flushed);
        self.carry_out(effects);
        flushed
    }

    /// A call without a flush.
    pub fn send(&mut self, method: &str, arguments: &Value) -> CallId {
        self.calls += 1;
        let (call, now) = (self.calls, self.time());
        if std::env::var_os("SYMPHONY_TRACE").is_some() {
            eprintln!("{} {call}? {method} {arguments}", self.now);
        }
        let body = body(arguments);
        let request = Call { capability: "pit.pool/1", method, body: &body };
        self.pool.call(call, request, now, &mut self.out);
        self.settle();
        call
    }

    /// A call: its number; its answer may be there.
    pub fn start(&mut self, method: &str, arguments: Value) -> CallId {
        let call = self.send(method, &arguments);
        let _ = self.flush();
        call
    }

    pub fn call(&mut self, method: &str, arguments: Value) -> Reply {
        let shown = arguments.to_string();
        let call = self.start(method, arguments);
        self.answers.remove(&call).unwrap_or_else(|| panic!("{method} {shown} waits"))
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

    pub fn cancel(&mut self, call: CallId) {
        let now = self.time();
        self.pool.cancelled(call, now, &mut self.out);
        let _ = self.flush();
    }

    pub fn hear(&mut self, token: Token, reply: Reply) {
        let now = self.time();
        self.pool.heard(token, reply.map(|value| body(&value)), now, &mut self.out);
        self.settle();
    }

    pub fn tick(&mut self) {
        let now = self.time();
        self.pool.tick(now, &mut self.out);
        self.settle();
    }

    /// Lets time pass, with every tick that the pool wants.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        let mut ticks = 0;
        while let Some(at) = self.pool.wakeup().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.tick();
            let _ = self.flush();
            ticks += 1;
            assert!(ticks < 100_000, "the pool wakes up for nothing");
        }
        self.now = end;
    }

    /// Takes the questions of one method.
    pub fn take(&mut self, method: &str) -> Vec<Asked> {
        let (taken, left) = self.asked.drain(..).partition(|asked| asked.method == method);
        self.asked = left;
        taken
    }

    /// Answers every spawn: the instances are named in order.
    pub fn spawn_all(&mut self, names: &[&str]) {
        let spawns = self.take("spawn");
        assert_eq!(spawns.len(), names.len(), "{spawns:?}");
        for (asked, name) in spawns.into_iter().zip(names) {
            self.hear(asked.token, Ok(json!({"instance": name})));
            let _ = self.flush();
        }
    }

    /// Answers every unload; the instances and why they left.
    pub fn unload_all(&mut self) -> Vec<(String, String)> {
        let mut left = vec![];
        for asked in self.take("unload") {
            let text = |field: &str| asked.body[field].as_str().unwrap().to_owned();
            left.push((text("instance"), text("reason")));
            self.hear(asked.token, Ok(json!({})));
            let _ = self.flush();
        }
        left
    }

    pub fn resync(&mut self, instances: Value, leases: Value) -> Value {
        self.ok("resync", json!({"instances": instances, "leases": leases, "ts": TS}))
    }

    /// Acquires and gets a lease, with an instance of this name if one must be spawned.
    pub fn lease(&mut self, id: &str, kind: &str, name: &str) -> Value {
        let call = self.start("acquire", acquire(id, kind));
        if !self.answers.contains_key(&call) {
            self.spawn_all(&[name]);
        }
        self.answers.remove(&call).unwrap().unwrap()
    }

    pub fn release(&mut self, id: &str, lease: &Value, outcome: &str) -> Value {
        self.ok("release", release(id, lease, outcome))
    }

    pub fn states(&mut self) -> BTreeMap<String, String> {
        let list = self.ok("list", json!({}));
        let kinds = list["kinds"].as_array().unwrap();
        let instances = kinds.iter().flat_map(|kind| kind["instances"].as_array().unwrap());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        instances.map(|it| (text(&it["instance"]), text(&it["state"]))).collect()
    }

    pub fn pool_wakeup(&self) -> Option<u64> {
        self.pool.wakeup()
    }

    /// A flush of which nobody hears: the process dies with it.
    pub fn flush_deaf(&mut self) {
        self.out.take_now();
        let flushed = self.pool.flush();
        self.out.take_flushed(&flushed);
    }

    /// A call with its flush; nothing, if it waits.
    pub fn call_or_wait(&mut self, method: &str, arguments: &Value) -> Option<Reply> {
        let call = self.send(method, arguments);
        let _ = self.flush();
        self.answers.remove(&call)
    }

    pub fn answer(&mut self, call: CallId) -> Option<Reply> {
        self.answers.remove(&call)
    }
}

pub fn acquire(id: &str, kind: &str) -> Value {
    json!({"id": id, "kind": kind, "run": "run", "tenant": "t", "ts": TS})
}

pub fn release(id: &str, lease: &Value, outcome: &str) -> Value {
    json!({"id": id, "lease": lease["lease"], "outcome": outcome, "busy_ms": 100, "ts": TS})
}

pub fn kind(name: &str, memory_mib: u64) -> Value {
    json!({"kind": name, "player": name, "memory_mib": memory_mib, "load_ms": 2_000})
}
