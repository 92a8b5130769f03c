//! Random histories of a run that grows, is rerouted, redone and rolled back, while processes die and the disk fails.
//!
//! After every call the journal is folded by a plain model that shares no code with the tracker and must say the
//! same as the tracker: states, attempts, ranks, what is ready. The power goes at random points; of what was not
//! synced any beginning is on disk, torn, or followed by zeros. What was acknowledged as durable is there
//! afterwards, every change happened at most once, and every prefix of the journal is a valid state.
//! `SYMPHONY_HISTORIES=10000` runs more of them, `SYMPHONY_SEED=n` one.
#![allow(clippy::unwrap_used)] // A test may panic.

mod harness;

use std::collections::BTreeMap;

use harness::fold::Fold;
use harness::*;
use serde_json::{json, Value};
use symphony_dag::Tracker;
use symphony_journal::memory::MemoryStorage;
use symphony_wire::service::Service;
use symphony_wire::{BusError, Code};

const STEPS: usize = 70;
const FILE: &str = "r.journal";

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let place = self.roll(items.len().max(1));
        items.get(place)
    }
}

struct History {
    dice: Dice,
    storage: MemoryStorage,
    dag: Dag<Tracker<MemoryStorage>>,
    /// As the tracker told them last.
    records: Vec<Value>,
    states: Vec<Fold>,
    /// Records up to here are acknowledged as durable.
    durable: usize,
    /// Changes: method, arguments, and the index if it was told.
    changes: BTreeMap<String, (&'static str, Value, Option<u64>)>,
    names: usize,
    clock: u64,
    counts: BTreeMap<&'static str, usize>,
}

impl History {
    fn new(seed: u64) -> Self {
        let storage = MemoryStorage::new();
        let dag = in_memory(&storage);
        let (records, states, changes) = (Vec::new(), Vec::new(), BTreeMap::new());
        let counts = BTreeMap::new();
        let mut history = Self {
            dice: Dice(seed),
            storage,
            dag,
            records,
            states,
            durable: 0,
            changes,
            names: 0,
            clock: 0,
            counts,
        };
        let count = 2 + history.dice.roll(6);
        let steps = history.specs(count, &[]);
        let mut opening = opening("r", steps);
        opening["ts"] = history.ts();
        history.dag.ok("open", opening);
        history.look();
        history.durable = history.records.len();
        history
    }

    fn ts(&mut self) -> Value {
        self.clock += 1 + self.dice.roll(400) as u64;
        let (minutes, rest) = (self.clock / 60_000, self.clock % 60_000);
        json!(format!("2026-01-31T12:{minutes:02}:{:02}.{:03}Z", rest / 1_000, rest % 1_000))
    }

    fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    fn now(&self) -> &Fold {
        self.states.last().unwrap()
    }

    fn kind(&mut self) -> &'static str {
        ["hard", "hard", "soft", "optional"][self.dice.roll(4)]
    }

    /// New steps that wait for some of the known and of each other, mostly without faults.
    fn specs(&mut self, count: usize, known: &[String]) -> Value {
        let mut names: Vec<String> = known.to_vec();
        let mut specs: Vec<Value> = Vec::new();
        for _ in 0..count {
            // Now and then a name that an abandoned branch has used.
            let again = format!("again{}", self.dice.roll(4));
            let id = match self.dice.roll(8) {
                0 if !names.contains(&again) => again,
                _ => self.name("s"),
            };
            let mut after: Vec<Value> = Vec::new();
            let mut distinct: Vec<String> = Vec::new();
            for _ in 0..self.dice.roll(4) {
                if let Some(before) = self.dice.pick(&names).cloned() {
                    distinct.push(before.clone());
                    distinct.sort();
                    distinct.dedup();
                    let kind = self.kind();
                    after.push(match self.dice.roll(3) {
                        0 => json!([before, kind, self.dice.roll(300)]),
                        _ => json!([before, kind]),
                    });
                }
            }
            let mut spec = json!({"id": id, "after": after});
            if !after.is_empty() {
                match self.dice.roll(6) {
                    0 => spec["join"] = json!("any"),
                    1 => spec["join"] = json!(1 + self.dice.roll(distinct.len())),
                    _ => {}
                }
            }
            if self.dice.roll(3) == 0 {
                spec["estimate_ms"] = json!(self.dice.roll(3_000));
            }
            if self.dice.roll(2) == 0 {
                spec["kind"] = json!(["red", "blue"][self.dice.roll(2)]);
            }
            names.push(id);
            specs.push(spec);
        }
        json!(specs)
    }

    fn steps_in(&self, states: &[&str]) -> Vec<String> {
        let steps = self.now().steps.iter();
        steps.filter(|it| states.contains(&it.state.as_str())).map(|it| it.id.clone()).collect()
    }

    /// Reads what the journal has more, and compares.
    fn look(&mut self) {
        let page = self.dag.ok("journal", json!({"run": "r", "limit": 100_000}));
        let found = page["records"].as_array().unwrap().clone();
        assert!(found.len() >= self.durable, "an acknowledged record is gone");
        let common = self.records.len().min(found.len());
        assert_eq!(found[..common], self.records[..common], "a record changed");
        self.records = found;
        self.states.truncate(common);
        Fold::extend(&mut self.states, &self.records);
        let state = self.dag.state("r");
        self.now().agrees(&state);
    }

    fn call(&mut self, method: &'static str, arguments: Value) -> Result<Value, BusError> {
        let before = self.records.len();
        let (outcome, waits) = self.dag.ask(method, arguments.clone());
        let flushed = if waits { self.dag.0.flush() } else { Ok(()) };
        let outcome = flushed.and(outcome);
        self.look();
        match &outcome {
            Ok(_) => {
                *self.counts.entry(method).or_default() += 1;
                if waits {
                    self.durable = self.records.len();
                }
                let doomed = (0..self.now().steps.len()).find(|step| self.now().is_doomed(*step));
                assert!(doomed.is_none() || method == "state", "{method} {arguments}");
            }
            Err(error) => {
                assert_ne!(error.code, Code::Internal, "{method} {arguments}: {error}");
                // Of what was refused at most a cascade that was owed is written.
                let more = &self.records[before.min(self.records.len())..];
                assert!(
                    more.iter().all(|record| record["kind"] == "skipped"),
                    "{method}: {more:?}"
                );
            }
        }
        outcome
    }

    /// A change, which is noted with its id whatever comes of it.
    fn change(&mut self, method: &'static str, mut arguments: Value) -> Result<Value, BusError> {
        let id = self.name("c");
        arguments["run"] = json!("r");
        arguments["id"] = json!(id);
        arguments["ts"] = self.ts();
        self.changes.insert(id.clone(), (method, arguments.clone(), None));
        let reply = self.call(method, arguments);
        if let Ok(reply) = &reply {
            self.changes.get_mut(&id).unwrap().2 = reply["index"].as_u64();
        }
        reply
    }

    fn step(&mut self) {
        let ts = self.ts();
        let what = self.dice.roll(40);
        if what <= 21 && self.now().state != "open" {
            return;
        }
        match what {
            0..=10 => {
                let ready = self.steps_in(&["ready"]);
                let Some(step) = self.dice.pick(&ready).cloned() else { return };
                let player = ["ann", "bob"][self.dice.roll(2)];
                let records = json!([{"kind": "started", "step": step, "ts": ts, "data": {"player": player}}]);
                let durable = self.dice.roll(3) == 0;
                self.call("append", json!({"run": "r", "records": records, "durable": durable}))
                    .unwrap();
            }
            11 => {
                let running = self.steps_in(&["running"]);
                let Some(step) = self.dice.pick(&running).cloned() else { return };
                let records =
                    json!([{"kind": "failed", "step": step, "ts": ts, "data": {"error": {}}}]);
                self.call("append", json!({"run": "r", "records": records})).unwrap();
            }
            12..=19 => {
                let running = self.steps_in(&["running"]);
                let Some(step) = self.dice.pick(&running).cloned() else { return };
                let attempt = self.now().steps[self.now().find(&step)].attempt;
                let mut done = completion("r", &step, attempt as u32);
                done["ts"] = ts;
                let reply = self.call("complete", done.clone()).unwrap();
                if self.dice.roll(4) == 0 {
                    assert_eq!(self.call("complete", done).unwrap(), reply);
                }
            }
            20 => {
                let steps = self.steps_in(&["ready", "running"]);
                let Some(step) = self.dice.pick(&steps).cloned() else { return };
                let attempt = self.now().steps[self.now().find(&step)].attempt;
                let mut lost = failure("r", &step);
                lost["attempt"] = json!(attempt);
                let reply = self.call("fail", lost.clone()).unwrap();
                assert_eq!(self.call("fail", lost).unwrap(), reply);
            }
            21 => {
                let steps = self.steps_in(&["pending", "ready", "running"]);
                let Some(step) = self.dice.pick(&steps).cloned() else { return };
                let reason = self.name("reason");
                let skip = json!({"run": "r", "step": step, "reason": reason, "ts": ts});
                self.call("skip", skip).unwrap();
            }
            22..=25 => self.grow(),
            26..=27 => self.reroute(),
            28..=29 => {
                let ended = self.steps_in(&["succeeded", "failed", "skipped"]);
                let steps: Vec<String> = (0..=self.dice.roll(2))
                    .filter_map(|_| self.dice.pick(&ended).cloned())
                    .collect();
                let _ = self.change("redo", json!({"steps": steps}));
            }
            30..=31 => {
                let to = 1 + self.dice.roll(self.records.len());
                let finished = self.states[to - 1].state != "open";
                let reply = self.change("rollback", json!({"to": to}));
                assert_eq!(reply.is_err(), finished, "{reply:?}");
            }
            32 => {
                let _ = self.call("resume", json!({"run": "r", "ts": ts}));
            }
            33 => {
                if self.dice.roll(3) == 0 {
                    let finish = json!({"run": "r", "outcome": "failed", "ts": ts});
                    let _ = self.call("finish", finish);
                }
            }
            34..=35 => self.repeat(),
            36 => {
                // Another process takes over; what was handed to the system is there.
                self.dag = in_memory(&self.storage);
                let before = self.records.len();
                self.look();
                assert_eq!(self.records.len(), before);
            }
            37 => self.plan(),
            38 => self.fail_to_flush(),
            _ => self.cut_power(),
        }
    }

    fn grow(&mut self) {
        let known: Vec<String> =
            self.steps_in(&["pending", "ready", "running", "succeeded", "failed"]);
        let count = self.dice.roll(4);
        let steps = self.specs(count, &known);
        let mut arguments = json!({"steps": steps});
        let pending = self.steps_in(&["pending"]);
        if let (Some(step), true) = (self.dice.pick(&pending).cloned(), self.dice.roll(2) == 0) {
            let new: Vec<String> =
                steps.as_array().unwrap().iter().map(|it| text(&it["id"])).collect();
            let all = [new, known].concat();
            let before = self.dice.pick(&all).cloned();
            arguments["after"] = json!({step: [[before, self.kind()]]});
        }
        if self.dice.roll(4) == 0 {
            arguments["loop"] = json!({"name": "l", "most": 2});
        }
        let rounds = self.records.iter().filter(|it| it["data"]["loop"]["name"] == "l").count();
        if let Ok(reply) = self.change("grow", arguments.clone()) {
            if let Some(round) = reply["round"].as_u64() {
                assert!(round <= 2 && round as usize <= rounds + 1, "{reply}");
            }
            let new = arguments["steps"].as_array().unwrap();
            let free = new.iter().filter(|it| {
                let now = self.now();
                now.steps[now.find(&text(&it["id"]))].state == "ready"
            });
            let after = arguments["after"].as_object().map_or(0, |after| after.len());
            let ready = reply["ready"].as_array().unwrap().len();
            assert!(ready >= free.count() && ready <= new.len() + after);
        }
    }

    fn reroute(&mut self) {
        let kept: Vec<String> = self.steps_in(&["running", "succeeded"]);
        let count = self.dice.roll(3);
        let steps = self.specs(count, &kept);
        let mut arguments = json!({"steps": steps});
        if self.dice.roll(2) == 0 {
            let waiting = self.steps_in(&["pending", "ready"]);
            let drop: Vec<String> =
                (0..=self.dice.roll(2)).filter_map(|_| self.dice.pick(&waiting).cloned()).collect();
            let now = self.now();
            let orphan = |step: &&harness::fold::Step| {
                let waits = step.after.iter().any(|it| drop.contains(&now.steps[it.before].id));
                step.state == "pending" && waits && !drop.contains(&step.id)
            };
            let orphans: Vec<String> =
                now.steps.iter().filter(orphan).map(|step| step.id.clone()).collect();
            let mut after = json!({});
            for orphan in orphans {
                after[orphan] = match (self.dice.pick(&kept).cloned(), self.dice.roll(3)) {
                    (Some(before), 0) => json!([[before, "soft"]]),
                    _ => json!([]),
                };
            }
            arguments["drop"] = json!(drop);
            arguments["after"] = after;
        }
        let _ = self.change("reroute", arguments);
    }

    /// A change that was asked for before: it has one effect, or is told what became of it.
    fn repeat(&mut self) {
        let ids: Vec<String> = self.changes.keys().cloned().collect();
        let Some(id) = self.dice.pick(&ids).cloned() else { return };
        let (method, arguments, told) = self.changes[&id].clone();
        let before = self.records.len();
        let reply = self.call(method, arguments.clone());
        if let Some(index) = told {
            assert_eq!(self.records.len(), before);
            match reply {
                Ok(reply) => assert_eq!(reply["index"].as_u64(), Some(index)),
                Err(error) => {
                    assert!(error.message.contains("took this change back"), "{error}");
                }
            }
        } else if let Ok(reply) = reply {
            self.changes.get_mut(&id).unwrap().2 = reply["index"].as_u64();
        }
        // Its id with something else in it is refused.
        if self.changes[&id].2.is_some() {
            let mut other = arguments;
            other["steps"] = json!([{"id": "other"}]);
            other["to"] = json!(1_000_000);
            let method = if method == "redo" { "grow" } else { method };
            assert!(self.call(method, other).is_err());
        }
    }

    fn plan(&mut self) {
        let ended = self.steps_in(&["succeeded", "failed", "running"]);
        let Some(step) = self.dice.pick(&ended).cloned() else { return };
        let plan = self.dag.ok("plan", json!({"run": "r", "broken": [step]}));
        let now = self.now();
        let mut users: Vec<String> = now
            .users(vec![now.find(&step)])
            .iter()
            .map(|step| now.steps[*step].id.clone())
            .collect();
        let again: Vec<String> =
            plan["again"]["steps"].as_array().unwrap().iter().map(text).collect();
        for (place, step) in again.iter().enumerate() {
            // Each one after what it waits for.
            let waits = &now.steps[now.find(step)].after;
            for link in waits.iter().filter(|link| link.kind != "soft") {
                let before = again.iter().position(|it| *it == now.steps[link.before].id);
                assert!(before.is_none_or(|before| before < place));
            }
        }
        let mut sorted = again;
        sorted.sort();
        users.sort();
        assert_eq!(sorted, users);
        let Some(to) = plan["rollback"]["to"].as_u64() else { return };
        let before = &self.states[to as usize - 1];
        let there = before.steps.iter().find(|it| it.id == step);
        assert!(there.is_none_or(|it| ["pending", "ready"].contains(&it.state.as_str())));
    }

    fn fail_to_flush(&mut self) {
        self.storage.set_syncs_fail(true);
        let ts = self.ts();
        let records = json!([{"kind": "noted", "ts": ts}]);
        let before = self.records.len();
        let (_, waits) =
            self.dag.ask("append", json!({"run": "r", "records": records, "durable": true}));
        if waits {
            self.dag.0.flush().unwrap_err();
        }
        self.storage.set_syncs_fail(false);
        self.look();
        // What was kept before stays; what was written since is taken back.
        assert!(self.records.len() <= before && self.records.len() >= self.durable);
    }

    /// The power goes during one of the next writes; part of what was not synced may be on disk all the same.
    fn cut_power(&mut self) {
        self.storage.set_fuse(Some(self.dice.roll(3)));
        let count = 1 + self.dice.roll(2);
        let steps = self.specs(count, &[]);
        let id = self.name("c");
        let ts = self.ts();
        let arguments = json!({"run": "r", "steps": steps, "id": id, "ts": ts});
        self.changes.insert(id.clone(), ("grow", arguments.clone(), None));
        let (outcome, waits) = self.dag.ask("grow", arguments);
        let acknowledged = outcome.is_ok() && (!waits || self.dag.0.flush().is_ok());
        let written = self.storage.bytes(FILE);
        self.storage.cut_power();
        let mut disk = self.storage.bytes(FILE);
        if acknowledged {
            assert_eq!(disk, written);
        } else if written.starts_with(&disk) && self.dice.roll(2) == 0 {
            let more = self.dice.roll(written.len() - disk.len() + 1);
            let end = disk.len() + more;
            disk.extend_from_slice(&written[disk.len()..end]);
            if self.dice.roll(2) == 0 {
                disk.extend(vec![0; self.dice.roll(50)]);
            }
            self.storage.put(FILE, disk);
        }
        self.dag = in_memory(&self.storage);
        // What was written and not synced may be gone.
        let known = std::mem::take(&mut self.records);
        self.look();
        let common = known.len().min(self.records.len());
        assert_eq!(known[..common], self.records[..common]);
        // Whatever another process finds is on disk from now on.
        self.durable = self.records.len();
        *self.counts.entry("crash").or_default() += 1;
    }

    fn end(&mut self) {
        let mut found: BTreeMap<&str, usize> = BTreeMap::new();
        for record in &self.records {
            if let Some(id) = record["data"]["id"].as_str() {
                *found.entry(id).or_default() += 1;
            }
        }
        assert!(found.values().all(|count| *count == 1), "a change happened twice: {found:?}");
        // Every prefix is a valid state.
        let file = self.storage.bytes(FILE);
        let mut at = 0;
        for state in &self.states {
            at += 8 + u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
            if self.dice.roll(4) == 0 {
                let storage = MemoryStorage::new();
                storage.put(FILE, file[..at].to_vec());
                state.agrees(&in_memory(&storage).state("r"));
            }
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn whatever_happens_to_a_run_its_journal_says_what_it_is() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds = match number("SYMPHONY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SYMPHONY_HISTORIES").unwrap_or(40),
    };
    let many = seeds.end - seeds.start >= 40;
    let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
    for seed in seeds {
        let played = std::panic::catch_unwind(|| {
            let mut history = History::new(seed);
            for _ in 0..STEPS {
                history.step();
            }
            history.end();
            history.counts
        });
        match played {
            Ok(played) => {
                for (what, count) in played {
                    *counts.entry(what).or_default() += count;
                }
            }
            Err(_) => panic!("SYMPHONY_SEED={seed} fails"),
        }
    }
    println!("{counts:?}");
    for what in [
        "append", "complete", "fail", "skip", "grow", "reroute", "redo", "rollback", "resume",
        "finish", "crash",
    ] {
        assert!(!many || counts.get(what).is_some_and(|count| *count > 10), "{what}: {counts:?}");
    }
}
