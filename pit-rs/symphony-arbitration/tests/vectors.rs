//! The golden bytes of `pit.arbitration/1`.
#![allow(clippy::unwrap_used)] // A test may panic.

mod golden;

use golden::{call, check, pass, Player, Session, Told};
use serde_json::{json, Value};
use symphony_arbitration::{Arbiter, CAPABILITY};
use symphony_journal::memory::MemoryStorage;
use symphony_wire::reactor::{Effect, Effects, Now, Reactor};
use symphony_wire::service::Call;

const TS: &str = "2026-01-31T12:00:00.000Z";

struct Alone {
    arbiter: Arbiter<MemoryStorage>,
    now: Now,
    out: Effects,
}

impl Alone {
    fn told(&mut self) -> Told {
        let mut told = Told::default();
        let mut effects = self.out.take_now();
        if self.out.wants_flush() {
            let flushed = self.arbiter.flush();
            effects.extend(self.out.take_flushed(&flushed));
        }
        for effect in effects {
            let Effect::Answer { call, outcome } = effect else { panic!("{effect:?}") };
            told.answers.push((call as usize, outcome));
        }
        told
    }
}

impl Player for Alone {
    fn call(&mut self, number: usize, method: &str, body: &[u8]) -> Told {
        let call = Call { capability: CAPABILITY, method, body };
        self.arbiter.call(number as u64, call, self.now, &mut self.out);
        self.told()
    }

    fn pass(&mut self, ms: u64) -> Told {
        self.now.mono_ms += ms;
        self.now.wall_ms += ms as i64;
        self.arbiter.tick(self.now, &mut self.out);
        self.told()
    }
}

fn with(base: Value, more: Value) -> Value {
    let mut all = base.as_object().unwrap().clone();
    all.extend(more.as_object().unwrap().clone());
    Value::Object(all)
}

fn request(id: &str, more: Value) -> Value {
    let base = json!({"id": id, "run": "r1", "tenant": "a", "needs": {"slots": 1}, "ts": TS});
    with(base, more)
}

fn release(id: &str, grant: &str) -> Value {
    json!({"id": id, "grant": grant, "outcome": "ok", "ts": TS})
}

/// Every method, every strategy, and an error of each kind.
fn session() -> Session {
    let configure = json!({
        "resources": {"slots": {"capacity": 4}, "memory": {"capacity": 1_000, "unit": "MiB"}},
        "tenants": {"a": {"weight": 2, "reserve": {"slots": 1}}, "b": {"weight": 1},
            "none": {"weight": 0}},
        "budgets": [{"name": "day", "per": "day", "resource": "money", "limit": 100},
            {"name": "run", "per": "run", "resource": "tokens", "limit": 50, "tenant": "a"}]});
    let broken = json!({
        "resources": {"slots": {"capacity": 1}},
        "tenants": {"a": {"weight": 1, "reserve": {"slots": 2, "gpu": 1}}},
        "budgets": [{"name": "x", "per": "run", "resource": "slots", "limit": 1},
            {"name": "x", "per": "run", "resource": "money", "limit": 1}]});
    let players = json!({"players": [
        {"player": "swift", "fit": 900, "cost": 9, "latency_ms": 10},
        {"player": "cheap", "fit": 880, "cost": 1, "latency_ms": 90},
        {"player": "poor", "fit": 100, "cost": 0, "latency_ms": 1}]});
    let charge = |id: &str, money: u64| json!({"id": id, "run": "r1", "tenant": "a", "amounts": {"money": money}, "ts": TS});
    vec![
        call("configure with every fault", "configure", broken),
        call("configure", "configure", configure.clone()),
        call("configure again", "configure", configure),
        call(
            "granted at once",
            "request",
            request("q1", json!({"step": "s", "estimate": {"money": 5}})),
        ),
        call(
            "the same again",
            "request",
            request("q1", json!({"step": "s", "estimate": {"money": 5}})),
        ),
        call("that id with other arguments", "request", request("q1", json!({"step": "t"}))),
        call("the best player", "request", request("q2", players)),
        call(
            "to be shared",
            "request",
            request("q3", json!({"share": "model", "needs": {"memory": 600}})),
        ),
        call(
            "shares it",
            "request",
            request("q4", json!({"share": "model", "needs": {"memory": 600}})),
        ),
        call("more than there is", "request", request("q5", json!({"needs": {"slots": 5}}))),
        call("of what nobody knows", "request", request("q5", json!({"needs": {"gpu": 1}}))),
        call("weight 0", "request", request("q5", json!({"tenant": "none"}))),
        call("waits", "request", request("q5", json!({"tenant": "b", "needs": {"slots": 3}}))),
        call(
            "would wait",
            "request",
            request("q6", json!({"tenant": "b", "needs": {"slots": 4}, "wait": false})),
        ),
        call(
            "half of a gang",
            "request",
            request("q7", json!({"needs": {"slots": 1}, "gang": {"id": "g", "size": 2}})),
        ),
        call("the queue", "queue", json!({})),
        pass("time passes", 700),
        call(
            "released, and granted to who waited",
            "release",
            with(release("e1", "g1"), json!({"used": {"slots": 1}})),
        ),
        call("released again", "release", with(release("e1", "g1"), json!({"used": {"slots": 1}}))),
        call("released by another", "release", release("e2", "g1")),
        call("released what never was", "release", release("e2", "g99")),
        call("released: nobody fits", "release", release("e3", "g2")),
        call(
            "the other half of the gang",
            "request",
            request("q8", json!({"needs": {"slots": 1}, "gang": {"id": "g", "size": 2}})),
        ),
        call("released, and granted to the gang", "release", release("e4", "g5")),
        call("explained", "explain", json!({"grant": "g5"})),
        call("explained by its id", "explain", json!({"id": "q2"})),
        call("nothing to explain", "explain", json!({"grant": "g99"})),
        call("charged", "charge", charge("c1", 70)),
        call(
            "charged to a grant, with a warning",
            "charge",
            with(charge("c2", 15), json!({"grant": "g3"})),
        ),
        call("all is spent", "charge", charge("c3", 15)),
        call("a budget that is spent", "request", request("q9", json!({}))),
        call("budgets", "budgets", json!({"run": "r1"})),
        call("fairness", "fairness", json!({})),
        call(
            "may spend something",
            "request",
            with(
                request("q9", json!({"step": "s", "estimate": {"tokens": 8}})),
                json!({"ts": "2026-02-01T00:00:00.000Z"}),
            ),
        ),
        call("a caller that starts anew", "resync", json!({"held": ["g3", "g77"], "ts": TS})),
        call("assumed to be spent", "budgets", json!({"run": "r1"})),
        call(
            "told after all",
            "charge",
            with(charge("c4", 0), json!({"amounts": {"tokens": 5}, "grant": "g8"})),
        ),
        call("the queue afterwards", "queue", json!({})),
        call("counters", "stats", json!({})),
        call("no such method", "dance", json!({})),
        call("arguments of other types", "release", json!({"id": 1})),
        call(
            "charged less than nothing",
            "charge",
            json!({"id": "c5", "run": "r1", "amounts": {"money": -1}, "ts": TS}),
        ),
        call("budgets of no run", "budgets", json!({"run": 1})),
        call("no window", "fairness", json!({"window_ms": 0})),
        call("held is no list", "resync", json!({"held": "g3", "ts": TS})),
    ]
}

#[test]
fn every_method_says_what_the_golden_bytes_say() {
    let now = Now { mono_ms: 1_000_000, wall_ms: 1_769_860_800_000 };
    let arbiter = Arbiter::open(MemoryStorage::new()).unwrap();
    let mut alone = Alone { arbiter, now, out: Effects::default() };
    check("pit.arbitration-1.json", &session(), &mut alone);
}
