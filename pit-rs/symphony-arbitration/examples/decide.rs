//! Decisions per second in one process: 1,000 requests of 10 tenants wait, each release grants the next, and
//! for each grant another request arrives. Each line: name and decisions per second. `calls`: requests and
//! releases as msgpack, their replies, and the ledger in memory; `line`: the decision alone; `disk`: as `calls`
//! with the ledger on disk, fsynced once for 64 releases and what they grant. Behind `/cpu`: by the processor's
//! time, for a machine that others use too.
//!
//! `cargo run --release -p symphony-arbitration --example decide [DECISIONS [FOLDER]]`

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use symphony_arbitration::config::Configure;
use symphony_arbitration::line::{Line, Newcomer};
use symphony_arbitration::Arbiter;
use symphony_journal::memory::MemoryStorage;
use symphony_journal::{Folder, Storage};
use symphony_wire::reactor::{Effect, Effects, Now, Reactor};
use symphony_wire::service::Call;

const WAITING: u64 = 1_000;
const TENANTS: u64 = 10;
const BATCH: usize = 64;
const TS: &str = "2026-01-31T12:00:00.000Z";

fn configuration() -> Value {
    let tenants: serde_json::Map<String, Value> =
        (0..TENANTS).map(|n| (format!("tenant-{n}"), json!({"weight": n + 1}))).collect();
    json!({"resources": {"cpu": {"capacity": 16_000}, "memory": {"capacity": 65_536}, "gpu": {"capacity": 4}},
        "tenants": tenants, "budgets": [{"name": "run", "per": "run", "resource": "tokens", "limit": 1_000_000}]})
}

/// Needs of many shapes: what fits next is not the same for any two requests.
fn needs(number: u64) -> [(&'static str, u64); 3] {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    [
        ("cpu", 500 + mixed % 3_500),
        ("memory", 512 + mixed / 7 % 7_680),
        ("gpu", u64::from(mixed.is_multiple_of(16))),
    ]
}

#[derive(Serialize)]
struct Request {
    id: String,
    run: String,
    step: &'static str,
    tenant: String,
    needs: BTreeMap<&'static str, u64>,
    priority: u64,
    estimate: BTreeMap<&'static str, u64>,
    ts: &'static str,
}

#[derive(Serialize)]
struct Release {
    id: String,
    grant: String,
    outcome: &'static str,
    ts: &'static str,
}

#[derive(Deserialize)]
struct Told {
    grant: Option<String>,
}

/// Nanoseconds that this process was on a processor: on a shared machine the wall clock measures the others.
fn on_cpu() -> u64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// Prints how many decisions were made a second, by the wall clock and by the processor's time.
fn tell(name: &str, made: u64, start: Instant, cpu: u64) {
    let wall = made as f64 / start.elapsed().as_secs_f64();
    let busy = made as f64 * 1e9 / (on_cpu() - cpu).max(1) as f64;
    println!("{name} {wall:.0}");
    println!("{name}/cpu {busy:.0}");
}

struct Bench<S: Storage> {
    arbiter: Arbiter<S>,
    effects: Effects,
    now: Now,
    requests: u64,
    calls: u64,
    held: VecDeque<String>,
}

impl<S: Storage> Bench<S> {
    fn call(&mut self, method: &str, arguments: &impl Serialize) {
        self.calls += 1;
        let body = rmp_serde::to_vec_named(arguments).unwrap_or_default();
        let call = Call { capability: "pit.arbitration/1", method, body: &body };
        self.arbiter.call(self.calls, call, self.now, &mut self.effects);
    }

    fn request(&mut self) {
        self.requests += 1;
        let number = self.requests;
        self.call(
            "request",
            &Request {
                id: format!("request-{number}"),
                run: format!("run-{}", number % 40),
                step: "step",
                tenant: format!("tenant-{}", number % TENANTS),
                needs: BTreeMap::from(needs(number)),
                priority: number % 7 * 10,
                estimate: BTreeMap::from([("tokens", 10)]),
                ts: TS,
            },
        );
    }

    /// Flushes and takes the grants that were told.
    fn flush(&mut self) {
        let flushed = self.arbiter.flush();
        for effect in self.effects.take_now().into_iter().chain(self.effects.take_flushed(&flushed))
        {
            if let Effect::Answer { outcome, .. } = effect {
                let told = outcome.ok().and_then(|body| rmp_serde::from_slice::<Told>(&body).ok());
                self.held.extend(told.and_then(|told| told.grant));
            }
        }
    }
}

fn whole<S: Storage>(name: &str, storage: S, decisions: u64) {
    let Ok(arbiter) = Arbiter::open(storage) else { return eprintln!("{name}: no ledger") };
    let (effects, now) = (Effects::default(), Now { mono_ms: 1, wall_ms: 1 });
    let mut bench = Bench { arbiter, effects, now, requests: 0, calls: 0, held: VecDeque::new() };
    bench.call("configure", &configuration());
    while bench.requests < WAITING || bench.arbiter.waiting() < WAITING as usize {
        bench.request();
    }
    bench.flush();
    let (start, cpu, before) = (Instant::now(), on_cpu(), bench.arbiter.state().grants);
    let mut released = 0_u64;
    while bench.arbiter.state().grants - before < decisions {
        for _ in 0..BATCH {
            let Some(grant) = bench.held.pop_front() else { break };
            released += 1;
            bench.now.mono_ms += released % 8 / 7;
            let id = format!("release-{released}");
            bench.call("release", &Release { id, grant, outcome: "ok", ts: TS });
            while bench.arbiter.waiting() < WAITING as usize {
                bench.request();
            }
        }
        bench.flush();
    }
    tell(name, bench.arbiter.state().grants - before, start, cpu);
}

fn line_alone(decisions: u64) {
    let config = serde_json::from_value::<Configure>(configuration()).ok();
    let Some(config) = config.and_then(|raw| raw.check().ok()) else {
        return eprintln!("no configuration");
    };
    let mut line = Line::new(&config, 0);
    let (mut seq, mut now_ms) = (0, 0);
    let mut all = Vec::new();
    let mut held = VecDeque::new();
    let mut add = |line: &mut Line, all: &mut Vec<_>, now_ms| {
        let tenant: Arc<str> = Arc::from(format!("tenant-{}", seq % TENANTS));
        let needs: Arc<BTreeMap<String, u64>> = Arc::new(
            needs(seq).into_iter().map(|(name, amount)| (name.to_owned(), amount)).collect(),
        );
        all.push((Arc::clone(&tenant), Arc::clone(&needs)));
        line.add(Newcomer {
            seq,
            id: Arc::from(format!("request-{seq}")),
            tenant,
            run: Arc::from(format!("run-{}", seq % 40)),
            needs,
            priority: (seq % 7 * 10) as u8,
            deadline_ms: None,
            arrived_ms: now_ms,
        });
        seq += 1;
    };
    (0..WAITING).for_each(|_| add(&mut line, &mut all, 0));
    let (start, cpu, mut made) = (Instant::now(), on_cpu(), 0);
    while made < decisions {
        while let Some(choice) = line.decide() {
            line.grant(&choice);
            held.push_back(choice.seq);
            made += 1;
            add(&mut line, &mut all, now_ms);
        }
        if let Some(seq) = held.pop_front() {
            let (tenant, needs) = &all[seq as usize];
            line.vacate(tenant, needs);
        }
        now_ms += made % 8 / 7;
        line.advance(now_ms);
    }
    tell("line", made, start, cpu);
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let decisions = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(200_000);
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    line_alone(decisions);
    whole("calls", MemoryStorage::new(), decisions);
    let path = folder.join(format!("symphony-decide-{}", std::process::id()));
    match Folder::open(&path) {
        Ok(folder) => whole("disk", folder, decisions),
        Err(error) => eprintln!("no folder: {error}"),
    }
    let _ = std::fs::remove_dir_all(&path);
}
