//! Random histories with crashes: what was told is there afterwards, and everything that was repeated happened once.
//!
//! A caller asks, releases, charges, cancels, repeats and starts anew while the disk fails at random points: the
//! power goes in the middle of a flush or of a snapshot, and of what was not synced any part is on disk, torn,
//! zeroed, flipped or doubled. A model that knows nothing but what it was told checks every step.
//! `SYMPHONY_HISTORIES=10000` runs more of them, `SYMPHONY_SEED=n` one.
#![allow(clippy::unwrap_used)] // A test may panic.

mod harness;

use std::collections::{BTreeMap, BTreeSet};

use harness::*;
use serde_json::{json, Value};
use symphony_arbitration::Arbiter;
use symphony_journal::memory::MemoryStorage;
use symphony_wire::Code;

const CPU: u64 = 8;
const MEMORY: u64 = 32;
const STEPS: usize = 60;
/// The journal begins anew whenever it has several times the bytes of its snapshot.
const COMPACT: u64 = 1;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

struct Told {
    needs: Value,
    with: Option<String>,
    tenant: String,
}

struct History {
    dice: Dice,
    storage: MemoryStorage,
    world: World<MemoryStorage>,
    /// Calls that were not answered yet: what they asked.
    open: BTreeMap<u64, (&'static str, Value)>,
    /// Calls that ended with `io` when the power went: whether they had their effect is asked afterwards.
    unsure: Vec<(&'static str, Value)>,
    /// Everything that was told: method, arguments, reply.
    said: BTreeMap<String, (&'static str, Value, Value)>,
    out: BTreeMap<String, Told>,
    given_back: BTreeSet<String>,
    /// By the id of a request: whose run, and what it may spend.
    estimates: BTreeMap<String, (String, u64)>,
    /// By grant that is out: what of its estimate is not spent.
    left: BTreeMap<String, u64>,
    /// By grant of which nobody knew what it spent: whose run, and what was taken as spent.
    assumed: BTreeMap<String, (String, u64)>,
    spent: BTreeMap<String, u64>,
    ids: u64,
    crashes: u32,
    torn: u32,
}

fn open(storage: &MemoryStorage) -> Arbiter<MemoryStorage> {
    Arbiter::with_compaction(storage.clone(), COMPACT).unwrap()
}

impl History {
    fn new(seed: u64) -> Self {
        let storage = MemoryStorage::new();
        let mut history = Self {
            dice: Dice(seed),
            world: World::new(open(&storage)),
            storage,
            open: BTreeMap::new(),
            unsure: Vec::new(),
            said: BTreeMap::new(),
            out: BTreeMap::new(),
            given_back: BTreeSet::new(),
            estimates: BTreeMap::new(),
            left: BTreeMap::new(),
            assumed: BTreeMap::new(),
            spent: BTreeMap::new(),
            ids: 0,
            crashes: 0,
            torn: 0,
        };
        history.world.ok(
            "configure",
            json!({
            "resources": {"cpu": {"capacity": CPU}, "memory": {"capacity": MEMORY}},
            "tenants": {"a": {"weight": 3, "reserve": {"cpu": 2}}, "b": {"weight": 1},
                "c": {"weight": 2, "borrow": false}, "none": {"weight": 0}},
            "budgets": [{"name": "run", "per": "run", "resource": "money", "limit": 400}],
            "ageing_ms": 1_000, "window_ms": 6_000}),
        );
        history
    }

    fn id(&mut self) -> String {
        self.ids += 1;
        format!("id-{}", self.ids)
    }

    fn pick(&mut self, grants: &[String]) -> Option<String> {
        let place = self.dice.roll(grants.len().max(1) as u64) as usize;
        grants.get(place).cloned()
    }

    fn send(&mut self, method: &'static str, arguments: Value) {
        let call = self.world.send(method, arguments.clone());
        self.open.insert(call, (method, arguments));
    }

    fn step(&mut self) {
        let out: Vec<String> = self.out.keys().cloned().collect();
        match self.dice.roll(20) {
            0..=7 => {
                let id = self.id();
                let tenant = ["a", "b", "c", "none", "other"][self.dice.roll(5) as usize];
                let needs = json!({"cpu": self.dice.roll(5), "memory": self.dice.roll(MEMORY)});
                let (run, estimate) = (format!("run-{}", self.dice.roll(3)), self.dice.roll(20));
                let mut more = json!({"run": run, "priority": self.dice.roll(101),
                    "wait": self.dice.roll(4) > 0, "estimate": {"money": estimate}});
                self.estimates.insert(id.clone(), (run, estimate));
                match self.dice.roll(6) {
                    0 => more["share"] = json!(format!("key-{}", self.dice.roll(2))),
                    1 => more["gang"] = json!({"id": format!("gang-{tenant}"), "size": 2}),
                    2 => more["deadline_ms"] = json!(self.dice.roll(5_000)),
                    _ => {}
                }
                self.send("request", request(&id, tenant, needs, more));
            }
            8..=12 => {
                if let Some(grant) = self.pick(&out) {
                    // Its id says whose release it is: the same grant may be released twice, with one effect.
                    self.send("release", release(&format!("back-{grant}"), &grant));
                }
            }
            13..=14 => {
                let (id, run) = (self.id(), format!("run-{}", self.dice.roll(3)));
                let late: Vec<String> = self.given_back.iter().cloned().collect();
                let grant = if self.dice.roll(2) == 0 { self.pick(&late) } else { self.pick(&out) };
                let more = grant.map_or(json!({}), |grant| json!({"grant": grant}));
                let money = self.dice.roll(15);
                self.send("charge", charge(&id, &run, json!({"money": money}), more));
            }
            15 => {
                let calls: Vec<u64> = self.open.keys().copied().collect();
                if let Some(call) = calls.get(self.dice.roll(calls.len().max(1) as u64) as usize) {
                    let (world, call) = (&mut self.world, *call);
                    world.arbiter_cancel(call);
                }
            }
            16 => {
                let ids: Vec<&String> = self.said.keys().collect();
                let place = self.dice.roll(ids.len().max(1) as u64) as usize;
                if let Some(id) = ids.get(place).map(|id| (*id).clone()) {
                    let (method, arguments, reply) = &self.said[&id];
                    let (method, arguments, reply) = (*method, arguments.clone(), reply.clone());
                    self.flush();
                    assert_eq!(self.world.ok(method, arguments), reply, "{id} again");
                }
            }
            17 => {
                let ms = self.dice.roll(3_000);
                self.flush();
                self.world.pass(ms);
                self.hear();
            }
            18 => {
                self.flush();
                let mut kept: Vec<String> = self.out.keys().cloned().collect();
                kept.retain(|_| self.dice.roll(3) > 0);
                self.resync(&kept);
            }
            _ => self.crash(),
        }
        if self.dice.roll(2) == 0 {
            self.flush();
        }
    }

    /// The caller says what it holds, and at times which requests were its own.
    fn resync(&mut self, held: &[String]) {
        let own: Vec<String> =
            (0..self.dice.roll(3)).map(|_| format!("id-{}", self.dice.roll(9) + 1)).collect();
        let reply = self.world.ok("resync", json!({"held": held, "own": own, "ts": TS}));
        assert_eq!(reply["unknown"], json!([]), "lost");
        for grant in reply["released"].as_array().unwrap() {
            let grant = grant.as_str().unwrap();
            let id = self.world.ok("explain", json!({"grant": grant}))["id"].clone();
            let id = id.as_str().unwrap();
            let (run, estimate) = self.estimates[id].clone();
            if !own.iter().any(|own| id.starts_with(own)) {
                let left = self.left.get(grant).copied().unwrap_or(estimate);
                *self.spent.entry(run.clone()).or_default() += left;
                self.assumed.insert(grant.to_owned(), (run, left));
            }
            self.give_back(grant);
        }
        self.hear();
    }

    fn give_back(&mut self, grant: &str) {
        self.out.remove(grant);
        self.left.remove(grant);
        self.given_back.insert(grant.to_owned());
    }

    /// Takes in what was answered.
    fn hear(&mut self) {
        for (call, answer) in std::mem::take(&mut self.world.answers) {
            let Some((method, arguments)) = self.open.remove(&call) else { continue };
            let id = arguments["id"].as_str().unwrap().to_owned();
            match answer {
                Ok(reply) => {
                    self.learn(method, &arguments, &reply);
                    if let Some((_, _, first)) =
                        self.said.insert(id, (method, arguments, reply.clone()))
                    {
                        assert_eq!(first, reply);
                    }
                }
                Err(error) if error.code == Code::Io => self.unsure.push((method, arguments)),
                Err(error) => assert!(
                    matches!(
                        error.code,
                        Code::BadRequest
                            | Code::Refused
                            | Code::Overloaded
                            | Code::Cancelled
                            | Code::Conflict
                            | Code::NotFound
                    ),
                    "{error}"
                ),
            }
        }
    }

    fn learn(&mut self, method: &str, arguments: &Value, reply: &Value) {
        match method {
            "request" => {
                assert_ne!(arguments["tenant"], "none");
                let grant = reply["grant"].as_str().unwrap().to_owned();
                let known = self.said.get(arguments["id"].as_str().unwrap());
                assert!(
                    known.is_none()
                        || self.given_back.contains(&grant)
                        || self.out.contains_key(&grant)
                );
                if !self.given_back.contains(&grant) {
                    let told = Told {
                        needs: reply["needs"].clone(),
                        with: reply["with"].as_str().map(str::to_owned),
                        tenant: arguments["tenant"].as_str().unwrap().to_owned(),
                    };
                    let (_, estimate) = self.estimates[arguments["id"].as_str().unwrap()];
                    self.left.entry(grant.clone()).or_insert(estimate);
                    self.out.insert(grant, told);
                }
            }
            "release" => self.give_back(arguments["grant"].as_str().unwrap()),
            _ => {
                let id = arguments["id"].as_str().unwrap();
                if !self.said.contains_key(id) {
                    let run = arguments["run"].as_str().unwrap().to_owned();
                    let money = arguments["amounts"]["money"].as_u64().unwrap();
                    *self.spent.entry(run).or_default() += money;
                    let Some(grant) = arguments["grant"].as_str() else { return };
                    if let Some(left) = self.left.get_mut(grant) {
                        *left -= money.min(*left);
                    }
                    // What is told takes the place of what was assumed.
                    if let Some((run, assumed)) = self.assumed.remove(grant) {
                        *self.spent.get_mut(&run).unwrap() -= assumed;
                    }
                }
            }
        }
    }

    fn flush(&mut self) {
        self.world.settle();
        self.hear();
        self.check();
    }

    /// The power goes during a flush.
    fn crash(&mut self) {
        self.crashes += 1;
        // One change is the write without its sync; more go on into a snapshot.
        let changes = if self.dice.roll(2) == 0 { 1 } else { self.dice.roll(9) };
        self.storage.set_fuse(Some(changes as usize));
        // What is answered before the power goes, is told.
        self.world.settle();
        let whole = self.storage.bytes(LEDGER);
        self.hear();
        if self.dice.roll(2) == 0 {
            self.storage.cut_power();
        } else {
            self.storage.cut_power_after_names();
        }
        self.tear(&whole);
        self.restart();
    }

    /// Of what was not synced, something is on disk.
    fn tear(&mut self, whole: &[u8]) {
        let synced = self.storage.bytes(LEDGER);
        let Some(tail) = whole.strip_prefix(synced.as_slice()).filter(|tail| !tail.is_empty())
        else {
            return;
        };
        self.torn += 1;
        let cut = self.dice.roll(tail.len() as u64 + 1) as usize;
        let mut torn = tail.to_vec();
        match self.dice.roll(5) {
            0 => torn.truncate(cut),
            1 => torn[cut..].fill(0),
            2 => torn[cut % tail.len()] ^= 1 << self.dice.roll(8),
            3 => torn.extend_from_slice(tail),
            _ => {}
        }
        self.storage.put(LEDGER, [synced.clone(), torn].concat());
        // Damage that no torn write leaves is not taken for one: whoever finds it restores the file.
        if let Err(error) = Arbiter::with_compaction(self.storage.clone(), COMPACT) {
            assert_eq!(error.code, Code::Corrupt, "{error}");
            self.storage.put(LEDGER, synced);
        }
    }

    /// Another process opens the ledger, and everything that was not answered is asked again.
    fn restart(&mut self) {
        let mut world = World::new(open(&self.storage));
        world.now = self.world.now;
        self.world = world;
        let open = std::mem::take(&mut self.open).into_values();
        let unanswered: Vec<_> = open.chain(std::mem::take(&mut self.unsure)).collect();
        for (method, arguments) in unanswered {
            let call = self.world.ask(method, arguments.clone());
            self.open.insert(call, (method, arguments));
        }
        self.flush();
        // What was granted and could not be told is nobody's: the caller says what it holds.
        let waiting: Vec<_> = self.open.values().cloned().collect();
        let held: Vec<String> = self.out.keys().cloned().collect();
        self.resync(&held);
        for (method, arguments) in waiting {
            self.send(method, arguments);
        }
        self.flush();
    }

    /// Everything that was replied is replied again.
    fn repeat_all(&mut self) {
        for (method, arguments, reply) in self.said.values() {
            assert_eq!(&self.world.ok(method, arguments.clone()), reply);
        }
        self.check();
    }

    /// What is told of the whole agrees with what was told one by one.
    fn check(&mut self) {
        // What is due by the time that has passed is done with the next call, behind its answer.
        self.world.ok("queue", json!({}));
        self.hear();
        let queue = self.world.ok("queue", json!({}));
        let held: BTreeSet<&str> = queue["held"]
            .as_array()
            .unwrap()
            .iter()
            .map(|held| held["grant"].as_str().unwrap())
            .collect();
        let told: BTreeSet<&str> = self.out.keys().map(String::as_str).collect();
        // A call that was cancelled when it had just been granted was told of the grant all the same.
        assert_eq!(held, told);
        // Resources of a shared grant are in use as long as anybody shares it, also after its own release.
        let state = self.world.arbiter.state();
        for (name, capacity) in [("cpu", CPU), ("memory", MEMORY)] {
            let used: u64 =
                state.occupants().map(|grant| grant.needs.get(name).copied().unwrap_or(0)).sum();
            assert!(used <= capacity, "{used} of {capacity} {name}");
            assert_eq!(queue["free"][name], capacity - used);
            let told: u64 =
                self.out.values().map(|told| told.needs[name].as_u64().unwrap_or(0)).sum();
            assert!(told <= used);
            let shared = self.out.values().any(|told| told.with.is_some());
            assert!(shared || told == used);
            // The borrower that does not borrow leaves others what they reserved.
            if name == "cpu" {
                let of_c =
                    self.out.values().filter(|told| told.tenant == "c" && told.with.is_none());
                let of_c: u64 = of_c.map(|told| told.needs[name].as_u64().unwrap_or(0)).sum();
                assert!(of_c <= CPU - 2);
            }
        }
        for (run, spent) in self.spent.clone() {
            let budgets = self.world.ok("budgets", json!({"run": run}));
            assert_eq!(budgets["budgets"][0]["spent"], spent, "{run}");
        }
    }
}

fn play(seed: u64) -> (u32, u32, u64) {
    let mut history = History::new(seed);
    for _ in 0..STEPS {
        history.step();
    }
    history.crash();
    history.repeat_all();
    (history.crashes, history.torn, history.world.arbiter.state().grants)
}

#[test]
fn every_history_keeps_what_was_told_and_does_everything_once() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SYMPHONY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SYMPHONY_HISTORIES").unwrap_or(60),
    };
    let (mut crashes, mut torn, mut grants) = (0, 0, 0);
    for seed in seeds.clone() {
        let played = std::panic::catch_unwind(|| play(seed));
        let Ok((crashed, tore, granted)) = played else {
            panic!("history {seed} failed: SYMPHONY_SEED={seed} plays it again");
        };
        crashes += crashed;
        torn += tore;
        grants += granted;
    }
    println!("{} histories, {crashes} crashes, {torn} torn, {grants} grants", seeds.count());
    assert!(crashes > 0);
}
