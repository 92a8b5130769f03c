//! The real curator asks the real store: what it sends is understood, what it frees is gone, and comes back.
#![allow(clippy::unwrap_used)] // A test ends where its helpers fail.

mod common;

use std::collections::{BTreeMap, VecDeque};
use std::fs;

use common::caller::{from_json, to_json, ts, Caller};
use common::noise;
use serde_json::{json, Value as Json};
use symphony_artifacts::Reference;
use symphony_journal::memory::MemoryStorage;
use symphony_stale::{Archive, Curator};
use symphony_wire::reactor::{Ask, CallId, Effect, Effects, Now, Reactor, Token};
use symphony_wire::service::{Call, Outcome};
use symphony_wire::Code;

struct Rig {
    store: Caller,
    curator: Curator<MemoryStorage>,
    /// Open runs and what they need.
    open: BTreeMap<String, Vec<String>>,
    out: Effects,
    answers: BTreeMap<CallId, Outcome>,
    asks: VecDeque<(Token, Ask)>,
    asked: Vec<String>,
    mono: u64,
    calls: CallId,
    day: u64,
}

impl Rig {
    fn new() -> Self {
        let archive = Archive::open(MemoryStorage::new()).unwrap();
        Self {
            store: Caller::new(),
            curator: Curator::open(MemoryStorage::new(), archive).unwrap(),
            open: BTreeMap::new(),
            out: Effects::default(),
            answers: BTreeMap::new(),
            asks: VecDeque::new(),
            asked: Vec::new(),
            mono: 0,
            calls: 0,
            day: 0,
        }
    }

    fn now(&self) -> Now {
        Now { mono_ms: self.mono, wall_ms: 1_767_225_600_000 + self.day as i64 * 86_400_000 }
    }

    fn settle(&mut self) {
        loop {
            let now = self.out.take_now();
            let idle = now.is_empty();
            self.take(now);
            if self.out.wants_flush() {
                let flushed = self.curator.flush();
                let effects = self.out.take_flushed(&flushed);
                self.take(effects);
            } else if self.curator.wakeup().is_some_and(|at| at <= self.mono) {
                let now = self.now();
                self.curator.tick(now, &mut self.out);
            } else if idle {
                return;
            }
        }
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Answer { call, outcome } => drop(self.answers.insert(call, outcome)),
                Effect::Ask { token, ask } => self.asks.push_back((token, ask)),
                Effect::Publish { .. } => {}
            }
        }
    }

    fn ok(&mut self, method: &str, arguments: Json) -> Json {
        self.calls += 1;
        let call = self.calls;
        let body = rmp_serde::to_vec_named(&from_json(&arguments)).unwrap();
        let request = Call { capability: "pit.stale/1", method, body: &body };
        let now = self.now();
        self.curator.call(call, request, now, &mut self.out);
        self.settle();
        while !self.answers.contains_key(&call) {
            if let Some((token, ask)) = self.asks.pop_front() {
                self.asked.push(ask.method.clone());
                let outcome = match ask.capability.as_str() {
                    "pit.artifacts/1" => {
                        self.store.now = self.now();
                        self.store.raw(&ask.method, &ask.body)
                    }
                    "pit.dag/1" => self.dag(&ask),
                    other => panic!("{other} was asked"),
                };
                let now = self.now();
                self.curator.heard(token, outcome, now, &mut self.out);
            } else {
                self.mono = self.curator.wakeup().unwrap().max(self.mono);
            }
            self.settle();
        }
        let reply = self.answers.remove(&call).unwrap();
        let reply = reply.unwrap_or_else(|error| panic!("{method} {arguments}: {error}"));
        to_json(&rmp_serde::from_slice(&reply).unwrap())
    }

    fn dag(&self, ask: &Ask) -> Outcome {
        let asked = to_json(&rmp_serde::from_slice(&ask.body).unwrap());
        let reply = match ask.method.as_str() {
            "runs" if asked.get("before").is_some() => json!({"runs": []}),
            "runs" => json!({"runs": self.open.keys().map(|run|
                json!({"run": run, "state": "open"})).collect::<Vec<_>>()}),
            "state" => {
                let run = asked["run"].as_str().unwrap();
                json!({"run": run, "steps": [{"outputs": self.open[run]}], "more": false})
            }
            other => panic!("{other} was asked"),
        };
        Ok(rmp_serde::to_vec_named(&from_json(&reply)).unwrap())
    }

    fn run(&mut self, id: &str) -> Json {
        let ts = ts(self.day, 0);
        let done = self.ok("run", json!({"id": id, "ts": ts}));
        assert_eq!(done["failed"], json!([]), "{done}");
        assert!(done.get("stopped").is_none(), "{done}");
        done["done"].clone()
    }
}

#[test]
fn artifacts_are_packed_archived_freed_and_restored() {
    let mut rig = Rig::new();
    let outbox = rig.store.make("outbox");
    fs::create_dir(outbox.join("d")).unwrap();
    fs::write(outbox.join("d/a"), "file a").unwrap();
    let large = noise(1, 3_500_000);
    fs::write(outbox.join("d/large"), &large).unwrap();
    let text = "a line that is told again and again, with small changes\n".repeat(3_000);
    let file = rig.store.put(text.as_bytes(), "text", 0);
    let needed = rig.store.put(b"an open run needs this", "needed", 0);
    let collect = json!({"folder": outbox, "items": [{"name": "d", "path": "d"}], "ts": ts(0, 0)});
    let folder = rig.store.ok("collect", collect)["items"][0]["ref"].as_str().unwrap().to_owned();
    let listing = rig.store.get(&folder).unwrap();
    let large_ref = Reference::of(&large).to_string();
    rig.store.ok("score", json!({"ref": file, "semantics": 900, "ts": ts(0, 0)}));
    rig.open.insert("r-1".to_owned(), vec![needed.clone()]);

    rig.day = 10;
    let done = rig.run("pack");
    assert_eq!(done["pack"]["items"], 2, "{done}");

    rig.day = 40;
    let done = rig.run("archive");
    assert_eq!(done["archive"]["items"], 2, "{done}");
    assert!(done.get("free").is_none(), "the grace is not over: {done}");
    assert_eq!(rig.store.get(&folder).unwrap(), listing);

    rig.day = 42;
    let done = rig.run("free");
    // The text, and the folder with its two files.
    assert_eq!(done["free"]["items"], 2, "{done}");
    for gone in [&file, &folder, &large_ref] {
        assert_eq!(rig.store.refused("get", json!({"ref": gone})).0, Code::NotFound);
    }
    assert_eq!(rig.store.get(&needed).unwrap(), b"an open run needs this");
    assert_eq!(rig.store.ok("verify", json!({}))["blobs"], 1);
    assert!(common::chunk_files(&rig.store.store()).is_empty(), "chunks are left");
    let report = rig.ok("report", json!({}));
    assert_eq!((&report["marked"], &report["proofs"]), (&json!(0), &json!(4)));

    rig.day = 50;
    let restore = json!({"ref": folder, "id": "back", "ts": ts(50, 0)});
    let restored = rig.ok("restore", restore);
    assert_eq!(
        (restored["restored"].as_array().unwrap().len(), &restored["missing"]),
        (3, &json!([]))
    );
    assert!(rig.asked.iter().any(|method| method == "commit"), "a large one comes in parts");
    let inbox = rig.store.make("inbox");
    rig.store.ok("stage", json!({"folder": inbox, "items": [{"ref": folder, "path": "d"}]}));
    assert_eq!(fs::read(inbox.join("d/large")).unwrap(), large);
    assert_eq!(fs::read(inbox.join("d/a")).unwrap(), b"file a");
    let restore = json!({"ref": file, "id": "text", "ts": ts(50, 0)});
    rig.ok("restore", restore);
    let listed = rig.store.ok("list", json!({"name": "text"}));
    assert_eq!(listed["artifacts"][0]["quality"], 900);
    assert_eq!(rig.store.get(&file).unwrap(), text.as_bytes());

    // It stays for a month from then on.
    rig.day = 60;
    rig.run("later");
    rig.day = 62;
    assert!(rig.run("much-later").get("free").is_none());
    assert_eq!(rig.store.get(&file).unwrap(), text.as_bytes());
}

#[test]
fn what_is_used_between_two_runs_stays() {
    let mut rig = Rig::new();
    let used = rig.store.put(b"used again", "used", 0);
    let freed = rig.store.put(b"not used", "not-used", 0);
    rig.day = 40;
    rig.run("archive");
    // A put that meets a marked blob.
    assert_eq!(rig.store.put(b"used again", "used", 40), used);
    rig.day = 42;
    rig.run("free");
    assert_eq!(rig.store.get(&used).unwrap(), b"used again");
    assert_eq!(rig.store.refused("get", json!({"ref": freed})).0, Code::NotFound);
    // Pinned after it was marked.
    let pinned = rig.store.put(b"pinned in time", "pinned", 42);
    rig.day = 90;
    rig.run("archive-2");
    rig.ok("pin", json!({"ref": pinned, "who": "w", "why": "y", "ts": ts(90, 0)}));
    rig.day = 95;
    rig.run("free-2");
    assert_eq!(rig.store.get(&pinned).unwrap(), b"pinned in time");
}
