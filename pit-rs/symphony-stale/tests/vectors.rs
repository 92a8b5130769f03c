//! The golden bytes of `pit.stale/1` and `pit.archive/1`.
#![allow(clippy::unwrap_used)] // A test may panic.

#[path = "../../symphony-arbitration/tests/golden/mod.rs"]
mod golden;
mod harness;

use golden::{call, check, pass, Asked, Player, Session, Told};
use harness::world::{World, DAY};
use serde_json::{json, Value};
use symphony_journal::memory::MemoryStorage;
use symphony_member::Reference;
use symphony_stale::{Archive, Curator};
use symphony_wire::reactor::{Effect, Effects, Now, Reactor};
use symphony_wire::service::{Answer, Call, Service};

const MONTH: u64 = 40 * DAY as u64;

/// With store and tracker in memory.
struct Alone {
    curator: Curator<MemoryStorage>,
    world: World,
    now: Now,
    out: Effects,
}

impl Alone {
    fn told(&mut self) -> Told {
        let mut told = Told::default();
        loop {
            let mut effects = self.out.take_now();
            if self.out.wants_flush() {
                let flushed = self.curator.flush();
                effects.extend(self.out.take_flushed(&flushed));
            }
            if effects.is_empty() {
                if self.curator.wakeup().is_none_or(|at| at > self.now.mono_ms) {
                    return told;
                }
                self.curator.tick(self.now, &mut self.out);
            }
            for effect in effects {
                match effect {
                    Effect::Answer { call, outcome } => told.answers.push((call as usize, outcome)),
                    Effect::Ask { token, ask } => {
                        let answer = self.world.answer(&ask);
                        self.curator.heard(token, answer.clone(), self.now, &mut self.out);
                        let (capability, method, body) = (ask.capability, ask.method, ask.body);
                        told.asks.push(Asked { capability, method, body, answer });
                    }
                    Effect::Publish { topic, .. } => told.events.push(topic),
                }
            }
        }
    }
}

impl Player for Alone {
    fn call(&mut self, number: usize, method: &str, body: &[u8]) -> Told {
        let call = Call { capability: symphony_stale::CAPABILITY, method, body };
        self.curator.call(number as u64, call, self.now, &mut self.out);
        self.told()
    }

    fn pass(&mut self, ms: u64) -> Told {
        self.now.mono_ms += ms;
        self.world.day += ms as i64 / DAY;
        self.told()
    }
}

fn ts(day: i64) -> String {
    harness::ts(day)
}

/// Every method, every question to store and tracker, and an error of each kind.
fn session(old: Reference, other: Reference) -> Session {
    let (old, other) = (old.to_string(), other.to_string());
    let unknown = Reference::of(b"never").to_string();
    let pin = |subject: Value| {
        let mut all = json!({"who": "me", "why": "a case", "ts": ts(1)});
        all.as_object_mut().unwrap().extend(subject.as_object().unwrap().clone());
        all
    };
    vec![
        call(
            "configure with every fault",
            "configure",
            json!({"valuable": 2_000, "pressure": {"low_ppm": 2_000_000}}),
        ),
        call("configure", "configure", json!({"local_days": 30, "valuable": 400})),
        call("configure again", "configure", json!({"local_days": 30, "valuable": 400})),
        call(
            "a run ended",
            "note",
            json!({"id": "n1", "run": "r1", "outcome": "succeeded", "ts": ts(0)}),
        ),
        call(
            "that id with other arguments",
            "note",
            json!({"id": "n1", "run": "r2", "outcome": "failed", "ts": ts(0)}),
        ),
        call(
            "praised",
            "feedback",
            json!({"id": "f1", "ref": old, "score": 900, "who": "me", "ts": ts(1)}),
        ),
        call(
            "praised what has no name",
            "feedback",
            json!({"id": "f2", "score": 900, "who": "me", "ts": ts(1)}),
        ),
        call("pinned", "pin", pin(json!({"ref": other}))),
        call("unpinned", "unpin", pin(json!({"ref": other}))),
        call("held", "hold", pin(json!({"name": "case", "refs": [other]}))),
        call("held too", "hold", pin(json!({"name": "case", "runs": ["r9"]}))),
        call("what is held", "holds", json!({})),
        call(
            "a part of it let go of",
            "release_hold",
            pin(json!({"name": "case", "runs": ["r9"]})),
        ),
        call("what is young stays", "plan", json!({"ts": ts(1)})),
        pass("forty days", MONTH),
        call("what is old is to be archived", "plan", json!({"ts": ts(41)})),
        call("no such page", "plan", json!({"after": "nowhere", "ts": ts(41)})),
        call("copied, read back, proven, marked", "run", json!({"id": "x1", "ts": ts(41)})),
        call("the same again", "run", json!({"id": "x1", "ts": ts(41)})),
        call("the proof", "proofs", json!({})),
        pass("the store's grace", 2 * DAY as u64),
        call("freed", "run", json!({"id": "x2", "ts": ts(43)})),
        call("report", "report", json!({})),
        call("brought back", "restore", json!({"ref": old, "id": "b1", "ts": ts(43)})),
        call("it is here", "restore", json!({"ref": old, "id": "b3", "ts": ts(43)})),
        call("what happened", "events", json!({"newest": true, "limit": 6})),
        call("the newest proof", "proofs", json!({"newest": true, "away": false, "run": "r1"})),
        call("not to be had", "restore", json!({"ref": unknown, "id": "b2", "ts": ts(43)})),
        call("let go of", "release_hold", pin(json!({"name": "case"}))),
        call("let go of what is not held", "release_hold", pin(json!({"name": "case"}))),
        call("taught", "taught", json!({"policy": "p", "refs": [old], "gain": 12, "ts": ts(43)})),
        call("what to learn from", "training", json!({})),
        call(
            "what the dead left",
            "cleanup",
            json!({"dead": [{"instance": "i1", "folders": ["/run/s/i1"],
            "sockets": ["/run/s/i1.sock"], "leases": ["l-1"]}], "live": ["/run/s/i2"], "ts": ts(43)}),
        ),
        call(
            "too near to the root",
            "cleanup",
            json!({"dead": [{"instance": "i1", "folders": ["/run"]}], "ts": ts(43)}),
        ),
        call("counters", "stats", json!({})),
        call("no such method", "dance", json!({})),
        call("arguments of other types", "note", json!({"id": 1})),
        call("pinned without a reason", "pin", pin(json!({"ref": other, "why": ""}))),
        call("unpinned: what?", "unpin", pin(json!({}))),
        call("held: what?", "hold", pin(json!({"name": "case"}))),
        call("no holds at all", "holds", json!({"limit": 0})),
        call("no such plan", "run", json!({"id": "x3", "plan": "p-99", "ts": ts(43)})),
        call("no proofs at all", "proofs", json!({"limit": 0})),
        call("brought back: what?", "restore", json!({"id": "b4", "ts": ts(43)})),
        call("no events at all", "events", json!({"limit": 0})),
        call(
            "taught nobody",
            "taught",
            json!({"policy": "", "refs": [old], "gain": 1, "ts": ts(43)}),
        ),
        call("worth more than there is", "training", json!({"least": 2_000})),
    ]
}

#[test]
fn every_method_of_the_stale_manager_says_what_the_golden_bytes_say() {
    let mut world = World::default();
    let made = json!({"run": "r1", "step": "s", "player": "p"});
    let old = world.put(b"content", made.clone());
    let other = world.put(b"other", made);
    world.runs.insert("r1".into(), ("succeeded".into(), vec![]));
    world.day = 1;
    let built_in = MemoryStorage::new();
    world.built_in = Some(built_in.clone());
    let archive = Archive::open(built_in).unwrap();
    let curator = Curator::open(MemoryStorage::new(), archive).unwrap();
    let now = Now { mono_ms: 0, wall_ms: 0 };
    let mut alone = Alone { curator, world, now, out: Effects::default() };
    check("pit.stale-1.json", &session(old, other), &mut alone);
}

struct Place(Archive<MemoryStorage>);

impl Player for Place {
    fn call(&mut self, number: usize, method: &str, body: &[u8]) -> Told {
        let call = Call { capability: "pit.archive/1", method, body };
        let (Answer::Now(outcome) | Answer::AfterFlush(outcome)) = Service::call(&mut self.0, call);
        Told { answers: vec![(number, outcome)], ..Told::default() }
    }

    fn pass(&mut self, _: u64) -> Told {
        panic!("an archive has no clock")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_method_of_the_archive_says_what_the_golden_bytes_say() {
    let content = b"hello\n";
    let it = Reference::of(content).to_string();
    let unknown = Reference::of(b"never").to_string();
    let begin = |bytes: u64| json!({"ref": it, "bytes": bytes});
    let part = |offset: usize, end: usize| json!({"upload": "upload-1", "offset": offset, "data": {"$bin": hex(&content[offset..end])}});
    let session = vec![
        call("begin", "begin", begin(6)),
        call("a part", "part", part(0, 4)),
        call("the same part", "part", part(0, 4)),
        call(
            "a part too far",
            "part",
            json!({"upload": "upload-1", "offset": 9, "data": {"$bin": "00"}}),
        ),
        call("nothing is visible before the end", "stat", json!({"ref": it})),
        call("committed too soon", "commit", json!({"upload": "upload-1"})),
        call("the rest", "part", part(4, 6)),
        call("commit", "commit", json!({"upload": "upload-1"})),
        call("commit again", "commit", json!({"upload": "upload-1"})),
        call("an upload that nobody knows", "commit", json!({"upload": "u99"})),
        call("of another length", "begin", begin(7)),
        call("get", "get", json!({"ref": it})),
        call("get a part", "get", json!({"ref": it, "offset": 2, "limit": 3})),
        call("get what is not there", "get", json!({"ref": unknown})),
        call("stat", "stat", json!({"ref": it})),
        call("list", "list", json!({})),
        call("list behind", "list", json!({"after": it, "limit": 1})),
        call("delete", "delete", json!({"ref": it, "why": "a test"})),
        call("delete again", "delete", json!({"ref": it, "why": "a test"})),
        call("no such method", "dance", json!({})),
        call("no reference", "get", json!({"ref": "blake3:12"})),
        call("list behind no reference", "list", json!({"after": "blake3:12"})),
        call("delete without a reason", "delete", json!({"ref": it, "why": ""})),
    ];
    let place = Archive::open(MemoryStorage::new()).unwrap();
    check("pit.archive-1.json", &session, &mut Place(place));
}
