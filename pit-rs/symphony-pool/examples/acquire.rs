//! Measures the bar of the Pool Manager: acquire of a warm instance, in process.
//! `cargo run --release -p symphony-pool --example acquire [FOLDER]`
//!
//! 32 kinds of 8 warm instances each. Each line: name and µs, the median and behind `/p99` that. `acquire` and
//! `release`: from the call's bytes to its effects. `durable`: an acquire with the flush that its answer waits for;
//! `group`: of 64 that share one flush, each.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{json, Value};
use symphony_journal::Folder;
use symphony_pool::Pool;
use symphony_wire::reactor::{Effect, Effects, Now, Reactor};
use symphony_wire::service::Call;

const KINDS: usize = 32;
const EACH: usize = 8;
const ROUNDS: usize = 20_000;
const DURABLE_ROUNDS: usize = 500;
const GROUP: usize = 64;
const TS: &str = "2026-01-31T12:00:00.000Z";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Bench {
    pool: Pool<Folder>,
    out: Effects,
    calls: u64,
    at: u64,
}

#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn show(&mut self, what: &str) {
        self.0.sort_unstable();
        let at = |percent: usize| {
            let place = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
            self.0.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e6)
        };
        println!("{what} {:.2}", at(50));
        println!("{what}/p99 {:.2}", at(99));
    }
}

impl Bench {
    fn call(&mut self, method: &str, arguments: &impl Serialize) -> Result<Duration> {
        let body = rmp_serde::to_vec_named(arguments)?;
        self.calls += 1;
        let now = Now { mono_ms: self.at, wall_ms: self.at as i64 };
        let call = Call { capability: symphony_pool::CAPABILITY, method, body: &body };
        let start = Instant::now();
        self.pool.call(self.calls, call, now, &mut self.out);
        Ok(start.elapsed())
    }

    /// Flushes and gives the replies.
    fn flush(&mut self) -> Result<Vec<Value>> {
        let mut effects = self.out.take_now();
        let flushed = self.pool.flush();
        effects.extend(self.out.take_flushed(&flushed));
        let mut replies = Vec::new();
        for effect in effects {
            if let Effect::Answer { outcome, .. } = effect {
                replies.push(rmp_serde::from_slice(&outcome?)?);
            }
        }
        Ok(replies)
    }
}

fn acquire(n: usize) -> Value {
    json!({"id": format!("a{n}"), "kind": format!("kind-{}", n % KINDS), "run": "run-1",
        "tenant": "team", "ts": TS})
}

fn release(n: usize, reply: &Value) -> Value {
    json!({"id": format!("r{n}"), "lease": reply["lease"], "outcome": "ok", "busy_ms": 5, "ts": TS})
}

fn main() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let folder = std::env::args().nth(1).map_or(scratch.path().to_owned(), PathBuf::from);
    let pool = symphony_pool::open(&folder)?;
    let mut bench = Bench { pool, out: Effects::default(), calls: 0, at: 1_000 };
    let kinds: Vec<Value> = (0..KINDS)
        .map(|n| {
            json!({"kind": format!("kind-{n}"), "player": "p", "memory_mib": 64, "load_ms": 500,
                "cost": {"call": 1}, "keep_ms": 86_400_000})
        })
        .collect();
    bench.call("configure", &json!({"limits": {}, "kinds": kinds}))?;
    let instances: Vec<Value> = (0..KINDS * EACH)
        .map(|n| {
            json!({"instance": format!("instance-{n}"), "kind": format!("kind-{}", n % KINDS),
                "state": "warm"})
        })
        .collect();
    bench.call("resync", &json!({"instances": instances, "leases": [], "ts": TS}))?;
    bench.flush()?;

    let (mut acquired, mut released) = (Times::default(), Times::default());
    for n in 0..ROUNDS {
        bench.at += 1;
        acquired.0.push(bench.call("acquire", &acquire(n))?);
        // The lease that the answer will name, once it may leave.
        let lease = json!({"lease": format!("l-{}", n + 1)});
        released.0.push(bench.call("release", &release(n, &lease))?);
        if n % GROUP == 0 {
            bench.flush()?;
        }
    }
    bench.flush()?;
    acquired.show("acquire");
    released.show("release");

    let (mut alone, mut shared) = (Times::default(), Times::default());
    for n in ROUNDS..ROUNDS + DURABLE_ROUNDS {
        let start = Instant::now();
        bench.call("acquire", &acquire(n))?;
        let replies = bench.flush()?;
        alone.0.push(start.elapsed());
        bench.call("release", &release(n, &replies[0]))?;
        bench.flush()?;
    }
    let first = ROUNDS + DURABLE_ROUNDS;
    for round in 0..DURABLE_ROUNDS / 10 {
        let numbers = (first + round * GROUP)..(first + (round + 1) * GROUP);
        let start = Instant::now();
        for n in numbers.clone() {
            bench.call("acquire", &acquire(n))?;
        }
        let replies = bench.flush()?;
        shared.0.push(start.elapsed() / GROUP as u32);
        for (n, reply) in numbers.zip(&replies) {
            bench.call("release", &release(n, reply))?;
        }
        bench.flush()?;
    }
    alone.show("durable");
    shared.show("group");
    Ok(())
}
