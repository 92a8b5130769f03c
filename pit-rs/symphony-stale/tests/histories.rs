//! Random histories of puts, runs of melodies, pins, holds, plans, runs of the curator, faults of everybody,
//! crashes and time, each from one seed. The world checks every sweep against its own idea of what must stay.
//!
//! `SYMPHONY_HISTORIES=N` plays N of them, `SYMPHONY_SEED=S` the one that failed.
#![allow(clippy::unwrap_used)] // A test may panic.

mod harness;

use std::collections::BTreeMap;
use std::panic::{catch_unwind, AssertUnwindSafe};

use harness::world::{COLD, FAULTS};
use harness::*;
use serde_json::{json, Value};
use symphony_journal::memory::MemoryStorage;
use symphony_member::Reference;
use symphony_stale::Archive;

const HISTORIES: u64 = 60;
const ACTS: usize = 150;
const RUNS: u64 = 30;

struct Dice(u64);

impl Dice {
    /// SplitMix64 (Steele, Lea, Flood, 2014).
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % end
    }
}

struct Life {
    rig: Rig,
    dice: Dice,
    ids: u64,
    /// What each acknowledged pin or hold protects, by its name.
    words: BTreeMap<String, Vec<Reference>>,
    long: Option<(u64, Value)>,
    plan: Option<Value>,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut rig = Rig::new();
        rig.compact_from = if seed.is_multiple_of(3) { 1 } else { 64 << 20 };
        let disk = MemoryStorage::new();
        rig.world.cold = Some(Archive::open(disk.clone()).unwrap());
        rig.world.cold_disk = Some(disk);
        let mut config =
            json!({"local_days": dice.below(20), "pack_days": 2, "valuable": dice.below(700)});
        if dice.below(2) == 0 {
            config["archive"] = json!(COLD);
        }
        if dice.below(2) == 0 {
            config["pressure"] = json!({"bytes": 60 + dice.below(200), "low_ppm": 500_000});
        }
        rig.ok("configure", config);
        Self { rig, dice, ids: 0, words: BTreeMap::new(), long: None, plan: None }
    }

    fn id(&mut self) -> String {
        self.ids += 1;
        format!("id-{}", self.ids)
    }

    fn some(&mut self) -> Option<Reference> {
        let there: Vec<Reference> = self.rig.world.blobs.keys().copied().collect();
        (!there.is_empty()).then(|| there[self.dice.below(there.len() as u64) as usize])
    }

    fn set_safe(&mut self) {
        self.rig.world.safe = self.words.values().flatten().copied().collect();
    }

    fn act(&mut self) {
        let ts = self.rig.ts();
        let run = format!("r{}", self.dice.below(RUNS));
        match self.dice.below(20) {
            0..=2 => {
                self.rig.world.open_run(&run, vec![]);
                let content = format!("content {}", self.dice.below(30));
                let made =
                    json!({"run": run, "step": "s", "player": format!("p{}", self.dice.below(3))});
                self.rig.world.put(content.as_bytes(), made);
            }
            3 => {
                self.rig.world.open_run(&run, vec![]);
                let a = format!("content {}", self.dice.below(30));
                let b = format!("part {}", self.dice.below(6));
                let files: [(&str, &[u8]); 2] = [("a", a.as_bytes()), ("b", b.as_bytes())];
                self.rig.world.put_folder(&files, json!({"run": run}));
            }
            4 | 5 => {
                if let Some(it) = self.some() {
                    self.rig.world.open_run(&run, vec![it]);
                }
            }
            6 | 7 => {
                if let Some(known) = self.rig.world.runs.get_mut(&run) {
                    known.0 =
                        ["succeeded", "failed", "aborted"][self.dice.below(3) as usize].into();
                }
            }
            8 => self.protect(&ts),
            9 => {
                if let Some(name) = self.words.keys().next().cloned() {
                    // From the first moment on it may be swept.
                    self.words.remove(&name);
                    self.set_safe();
                    let (method, key) = name.split_once(' ').unwrap();
                    let key_name = if method == "unpin" { "ref" } else { "name" };
                    let word = json!({key_name: key, "who": "me", "why": "x", "ts": ts});
                    self.light(method, &word);
                }
            }
            10 => {
                let note = json!({"id": self.id(), "run": run, "outcome": "failed", "ts": ts});
                self.light("note", &note);
            }
            11 | 12 => {
                let at = self.rig.world.asked.len() + self.dice.below(60) as usize;
                let fault = FAULTS[self.dice.below(7) as usize];
                self.rig.world.faults.insert(at, fault);
            }
            13 => self.crash(),
            14 => self.heavy("plan", json!({"ts": ts})),
            15 => {
                let run = json!({"id": self.id(), "ts": ts, "run": run});
                self.heavy("restore", run);
            }
            _ => {
                let mut run = json!({"id": self.id(), "ts": ts});
                if self.dice.below(3) == 0 {
                    if let Some(plan) = &self.plan {
                        run["plan"] = plan.clone();
                    }
                }
                self.heavy("run", run);
            }
        }
        // Others act while the curator works.
        for _ in 0..self.dice.below(25) {
            self.rig.step();
        }
        if self.dice.below(3) == 0 {
            let days = 1 + self.dice.below(9) as i64;
            self.finish_long();
            self.rig.pass(days);
        }
    }

    fn protect(&mut self, ts: &str) {
        let Some(it) = self.some() else { return };
        let name = it.to_string();
        let (method, word, undo) = if self.dice.below(2) == 0 {
            (
                "pin",
                json!({"ref": name, "who": "me", "why": "x", "ts": ts}),
                format!("unpin {name}"),
            )
        } else {
            let hold = self.id();
            let word = json!({"name": hold, "refs": [name], "who": "me", "why": "x", "ts": ts});
            ("hold", word, format!("release_hold {hold}"))
        };
        let call = self.rig.start(method, &word);
        while !self.rig.answers.contains_key(&call) {
            assert!(self.rig.step());
        }
        if self.rig.answers.remove(&call).unwrap().is_ok() {
            let bytes =
                self.rig.world.blobs.get(&it).map(|blob| blob.bytes.clone()).unwrap_or_default();
            let parts =
                Reference::all_in(&bytes).filter(|_| bytes.starts_with(b"symphony-folder 1"));
            self.words.insert(undo, parts.chain([it]).collect());
            self.set_safe();
        }
    }

    /// A call that asks nobody.
    fn light(&mut self, method: &str, arguments: &Value) {
        let call = self.rig.start(method, arguments);
        assert!(self.rig.answers.remove(&call).is_some(), "{method} waits");
    }

    fn heavy(&mut self, method: &str, arguments: Value) {
        self.finish_long();
        let call = self.rig.start(method, &arguments);
        self.long = Some((call, json!(method)));
    }

    fn finish_long(&mut self) {
        let Some((call, _)) = self.long.take() else { return };
        while !self.rig.answers.contains_key(&call) {
            assert!(self.rig.step(), "it waits for nothing");
        }
        if let Ok(reply) = self.rig.answers.remove(&call).unwrap() {
            if let Some(plan) = reply.get("plan") {
                self.plan = Some(plan.clone());
            }
        }
    }

    fn crash(&mut self) {
        self.long = None;
        // What was on its way may still arrive.
        let left = self.dice.below(3) as usize;
        let asks: Vec<_> = self.rig.asks.drain(..).take(left).collect();
        for (_, ask) in asks {
            let _ = self.rig.world.answer(&ask);
        }
        let rig = std::mem::replace(&mut self.rig, Rig::new());
        self.rig = rig.crash();
    }

    fn live(&mut self) -> usize {
        for _ in 0..ACTS {
            self.act();
            self.rig.world.nothing_is_lost();
        }
        self.finish_long();
        self.rig.world.faults.clear();
        // In peace the work goes on, and everything that was archived can be had back.
        for _ in 0..3 {
            let id = self.id();
            let done = self.rig.run(&id);
            assert!(done.get("stopped").is_none(), "{done}");
            self.rig.pass(2);
        }
        self.rig.world.nothing_is_lost();
        for number in 0..RUNS {
            let id = self.id();
            let ts = self.rig.ts();
            let back =
                self.rig.ok("restore", json!({"id": id, "run": format!("r{number}"), "ts": ts}));
            assert_eq!(back["missing"], json!([]));
        }
        self.rig.world.sweeps
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

#[test]
fn whatever_happens_nothing_is_lost_and_nothing_is_freed_that_must_stay() {
    let seeds = match variable("SYMPHONY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("SYMPHONY_HISTORIES").unwrap_or(HISTORIES),
    };
    let mut sweeps = 0;
    for seed in seeds.clone() {
        match catch_unwind(AssertUnwindSafe(|| Life::new(seed).live())) {
            Ok(count) => sweeps += count as u64,
            Err(_) => panic!("replay with SYMPHONY_SEED={seed}"),
        }
    }
    // Histories in which nothing is freed prove nothing.
    assert!(sweeps >= 3 * (seeds.end - seeds.start), "{sweeps} sweeps");
}
