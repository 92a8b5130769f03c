//! The golden bytes of `pit.pool/1`, and of what it asks of `kernel.instances/1`.
#![allow(clippy::unwrap_used)] // A test may panic.

#[path = "../../symphony-arbitration/tests/golden/mod.rs"]
mod golden;

use golden::{call, check, pack, pass, Asked, Player, Session, Told};
use serde_json::{json, Value};
use symphony_journal::memory::MemoryStorage;
use symphony_pool::{Pool, CAPABILITY};
use symphony_wire::reactor::{Ask, Effect, Effects, Now, Reactor, Token};
use symphony_wire::service::{Call, Outcome};
use symphony_wire::{BusError, Code};

const TS: &str = "2026-01-31T12:00:00.000Z";

/// With a kernel that does at once what it is asked, but spawns only as time passes, and nothing of kind `broken`.
struct Alone {
    pool: Pool<MemoryStorage>,
    now: Now,
    out: Effects,
    instances: usize,
    spawning: Vec<(Token, Ask)>,
}

impl Alone {
    fn kernel(&mut self, method: &str, arguments: &Value) -> Outcome {
        match method {
            "spawn" if arguments["kind"] == "broken" => {
                Err(BusError::new(Code::Failed, "no such program"))
            }
            "spawn" => {
                self.instances += 1;
                Ok(pack(&json!({"instance": format!("player-{}", self.instances)})))
            }
            "probe" => Ok(pack(&json!({"took_ms": 5}))),
            _ => Ok(pack(&json!({}))),
        }
    }

    fn hear(&mut self, token: Token, ask: Ask) -> Asked {
        let answer = self.kernel(&ask.method, &golden::unpack(&ask.body));
        self.pool.heard(token, answer.clone(), self.now, &mut self.out);
        Asked { capability: ask.capability, method: ask.method, body: ask.body, answer }
    }

    fn told(&mut self) -> Told {
        let mut told = Told::default();
        loop {
            let mut effects = self.out.take_now();
            if self.out.wants_flush() {
                let flushed = self.pool.flush();
                effects.extend(self.out.take_flushed(&flushed));
            }
            if effects.is_empty() {
                return told;
            }
            for effect in effects {
                match effect {
                    Effect::Answer { call, outcome } => told.answers.push((call as usize, outcome)),
                    Effect::Ask { token, ask } if ask.method == "spawn" => {
                        self.spawning.push((token, ask));
                    }
                    Effect::Ask { token, ask } => told.asks.push(self.hear(token, ask)),
                    Effect::Publish { .. } => panic!("the pool publishes nothing"),
                }
            }
        }
    }
}

impl Player for Alone {
    fn call(&mut self, number: usize, method: &str, body: &[u8]) -> Told {
        let call = Call { capability: CAPABILITY, method, body };
        self.pool.call(number as u64, call, self.now, &mut self.out);
        self.told()
    }

    fn pass(&mut self, ms: u64) -> Told {
        self.now.mono_ms += ms;
        self.now.wall_ms += ms as i64;
        let mut asks = Vec::new();
        for (token, ask) in std::mem::take(&mut self.spawning) {
            asks.push(self.hear(token, ask));
        }
        self.pool.tick(self.now, &mut self.out);
        let mut told = self.told();
        told.asks.splice(0..0, asks);
        told
    }
}

fn acquire(id: &str, kind: &str, more: Value) -> Value {
    let mut all = json!({"id": id, "kind": kind, "run": "r1", "tenant": "t", "ts": TS});
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

fn release(id: &str, lease: &str, outcome: &str) -> Value {
    json!({"id": id, "lease": lease, "outcome": outcome, "busy_ms": 1_500, "tokens": 20, "ts": TS})
}

/// Every method, every question to the kernel, and an error of each kind.
fn session() -> Session {
    let probe = json!({"capability": "text.count/1", "args": {"text": "x"}, "every_ms": 10_000, "within_ms": 500});
    let configure = json!({"limits": {"memory_mib": 1_000, "instances": 3}, "kinds": [
        {"kind": "k", "player": "ann", "memory_mib": 400, "load_ms": 2_000, "sticky": true, "keep_ms": 60_000,
            "cost": {"call": 3, "second": 100, "million_tokens": 2_000_000}, "probe": probe},
        {"kind": "broken", "player": "bob", "memory_mib": 100, "load_ms": 2_000}]});
    let broken = json!({"limits": {"memory_mib": 100}, "kinds": [
        {"kind": "k", "player": "", "memory_mib": 400, "load_ms": 2_000},
        {"kind": "k", "player": "p", "memory_mib": 1, "load_ms": 0, "keep_ms": 1}]});
    vec![
        call("configure with every fault", "configure", broken),
        call("configure", "configure", configure.clone()),
        call("configure again", "configure", configure),
        call("before the first resync", "acquire", acquire("a1", "k", json!({"key": "case"}))),
        call("both sides agree", "resync", json!({"instances": [], "leases": [], "ts": TS})),
        pass("it is spawned", 1_800),
        call("the same again", "acquire", acquire("a1", "k", json!({"key": "case"}))),
        call(
            "that id with other arguments",
            "acquire",
            acquire("a1", "k", json!({"key": "other"})),
        ),
        call("nobody knows the kind", "acquire", acquire("a2", "nothing", json!({}))),
        call("at once or not", "acquire", acquire("a2", "k", json!({"wait": false}))),
        call("a second one", "acquire", acquire("a3", "k", json!({}))),
        pass("that one too", 1_800),
        call("no room for a third", "acquire", acquire("a4", "k", json!({"deadline_ms": 5_000}))),
        call("cannot be spawned", "acquire", acquire("a5", "broken", json!({}))),
        call("released, and leased to who waited", "release", release("e1", "l-1", "ok")),
        call("released again", "release", release("e1", "l-1", "ok")),
        call("released by another", "release", release("e2", "l-1", "ok")),
        call("released what never was", "release", release("e2", "l-99", "ok")),
        call("a failed one leaves", "release", release("e3", "l-2", "failed")),
        pass("what cannot be spawned is known", 1_800),
        call("cannot be spawned so soon", "acquire", acquire("a6", "broken", json!({}))),
        call("died", "event", json!({"instance": "player-1", "kind": "died", "reason": "killed"})),
        call("died once more", "event", json!({"instance": "player-1", "kind": "died"})),
        call(
            "expected soon",
            "expect",
            json!({"run": "r1", "next": [{"kind": "k", "in_ms": 1_000, "chance": 900}]}),
        ),
        pass("spawned ahead", 1_800),
        pass("a probe is due", 10_000),
        call("warm", "acquire", acquire("a7", "k", json!({}))),
        call(
            "agreed anew",
            "resync",
            json!({"instances": [
            {"instance": "player-3", "kind": "k", "tenant": "t", "state": "active"},
            {"instance": "stranger", "kind": "unknown", "state": "warm"}], "leases": ["l-4"], "ts": TS}),
        ),
        call("pinned", "pin", json!({"kind": "k", "pinned": true})),
        call("listed", "list", json!({})),
        call("drained", "drain", json!({"kind": "k"})),
        call("counters", "stats", json!({})),
        call("no such method", "dance", json!({})),
        call("arguments of other types", "release", json!({"id": 1})),
        call("a list that is none", "resync", json!({"instances": 1, "leases": [], "ts": TS})),
        call("slow is nobody", "event", json!({"instance": "nobody", "kind": "slow"})),
        call("expected by no chance", "expect", json!({"run": "r1", "next": [{"kind": "k"}]})),
        call("pinned what nobody knows", "pin", json!({"kind": "nothing", "pinned": true})),
        call("drained what nobody knows", "drain", json!({"kind": "nothing"})),
    ]
}

#[test]
fn every_method_says_what_the_golden_bytes_say() {
    let now = Now { mono_ms: 1_000_000, wall_ms: 1_769_860_800_000 };
    let pool = Pool::open(MemoryStorage::new()).unwrap();
    let mut alone = Alone { pool, now, out: Effects::default(), instances: 0, spawning: vec![] };
    check("pit.pool-1.json", &session(), &mut alone);
}
