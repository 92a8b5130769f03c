//! A seeded trace of two days: kinds that are used periodically with jitter, in bursts, rarely and irregularly.

use std::collections::BTreeMap;

use serde_json::{json, Value};

use super::world::Dice;
use super::*;

const DAY: u64 = 86_400_000;
const END: u64 = 2 * DAY;
const MINUTE: u64 = 60_000;
const LOAD_MS: u64 = 4_000;

/// Which kind is called when, and for how long.
struct Visit {
    at: u64,
    kind: &'static str,
    busy_ms: u64,
}

/// What is called every so many minutes.
pub const PERIODIC: [&str; 3] = ["p10", "p25", "p60"];
pub const KINDS: [&str; 6] = ["p10", "p25", "p60", "burst", "rare", "steady"];

/// From one day after the beginning it counts; before, the pool learns.
fn trace(seed: u64) -> Vec<Visit> {
    let mut dice = Dice(seed);
    let mut visits = vec![];
    let mut periodic = |kind, period: u64, jitter: u64, at_once: u64, dice: &mut Dice| {
        let mut at = dice.below(period);
        while at < END {
            for _ in 0..at_once {
                visits.push(Visit {
                    at: at + dice.below(500),
                    kind,
                    busy_ms: 1_000 + dice.below(9_000),
                });
            }
            at += period - jitter + dice.below(2 * jitter);
        }
    };
    periodic("p10", 10 * MINUTE, MINUTE, 1, &mut dice);
    periodic("p25", 25 * MINUTE, 2 * MINUTE, 1, &mut dice);
    periodic("p60", 60 * MINUTE, 5 * MINUTE, 1, &mut dice);
    periodic("burst", 30 * MINUTE, MINUTE, 4, &mut dice);
    // What never rests would be most of the trace: some hours of it will do.
    periodic("steady", 40_000, 10_000, 1, &mut dice);
    visits.retain(|visit| visit.kind != "steady" || visit.at % DAY < DAY / 8);
    // Anything from a minute to six hours apart.
    let mut at = 0;
    while at < END {
        at += MINUTE + dice.below(6 * 60 * MINUTE);
        visits.push(Visit { at, kind: "rare", busy_ms: 5_000 });
    }
    visits.sort_by_key(|visit| visit.at);
    visits
}

#[derive(Default)]
pub struct Outcome {
    pub cold: BTreeMap<&'static str, u64>,
    pub calls: BTreeMap<&'static str, u64>,
    /// MiB times milliseconds, loading and loaded.
    pub memory_time: u128,
    pub stats: Value,
}

impl Outcome {
    /// Cold starts of these kinds.
    pub fn cold(&self, kinds: &[&str]) -> u64 {
        kinds.iter().map(|kind| self.cold.get(kind).copied().unwrap_or(0)).sum()
    }
}

/// Plays the trace; the kernel loads in exactly [`LOAD_MS`] and unloads at once.
pub fn play(seed: u64, predict: bool) -> Outcome {
    let mut rig = Rig::new(&symphony_journal::memory::MemoryStorage::new());
    let kinds: Vec<Value> = KINDS
        .iter()
        .map(|name| json!({"kind": name, "player": name, "memory_mib": 100, "load_ms": LOAD_MS}))
        .collect();
    rig.ok(
        "configure",
        json!({"limits": {"memory_mib": 1_600}, "kinds": kinds, "predict": predict}),
    );
    rig.resync(json!([]), json!([]));
    let start = rig.now;
    let mut outcome = Outcome::default();
    let mut loading: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    let mut leaving: BTreeMap<(u64, u64), Value> = BTreeMap::new();
    let mut open: BTreeMap<u64, Visit> = BTreeMap::new();
    let (mut made, mut alive, mut calls) = (0_u64, 0_u64, 0_u64);
    let mut visits = trace(seed).into_iter().peekable();
    loop {
        let due = [
            visits.peek().map(|visit| start + visit.at),
            loading.keys().next().map(|key| key.0),
            leaving.keys().next().map(|key| key.0),
            rig.pool_wakeup().filter(|_| visits.peek().is_some()),
        ];
        let Some(at) = due.into_iter().flatten().min() else { break };
        outcome.memory_time += u128::from(alive * 100) * u128::from(at.saturating_sub(rig.now));
        rig.now = rig.now.max(at);
        if loading.keys().next().is_some_and(|key| key.0 <= at) {
            let (_, token) = loading.pop_first().unwrap();
            made += 1;
            rig.hear(token, Ok(json!({"instance": format!("i-{made}")})));
        } else if leaving.keys().next().is_some_and(|key| key.0 <= at) {
            let ((_, n), lease) = leaving.pop_first().unwrap();
            let request = json!({"id": format!("r{n}"), "lease": lease, "outcome": "ok", "ts": TS});
            rig.start("release", request);
        } else if visits.peek().is_some_and(|visit| start + visit.at <= at) {
            let visit = visits.next().unwrap();
            calls += 1;
            let call = rig.start("acquire", acquire(&format!("a{calls}"), visit.kind));
            open.insert(call, visit);
        } else {
            rig.tick();
        }
        let _ = rig.flush();
        for asked in rig.take("spawn") {
            alive += 1;
            loading.insert((rig.now + LOAD_MS, asked.token), asked.token);
        }
        alive -= rig.unload_all().len() as u64;
        for call in std::mem::take(&mut rig.order) {
            let Some(visit) = open.remove(&call) else { continue };
            let grant = rig.answer(call).unwrap().unwrap();
            if visit.at >= DAY {
                *outcome.calls.entry(visit.kind).or_default() += 1;
                *outcome.cold.entry(visit.kind).or_default() += u64::from(grant["warm"] == false);
            }
            leaving.insert((rig.now + visit.busy_ms, call), grant["lease"].clone());
        }
        rig.answers.clear();
    }
    assert!(open.is_empty());
    outcome.stats = rig.ok("stats", json!({}));
    outcome
}
