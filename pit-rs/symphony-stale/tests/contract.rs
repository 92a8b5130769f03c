//! Every method of `pit.stale/1`, through the contract.
#![allow(clippy::unwrap_used)] // A test may panic.

mod harness;

use harness::world::{World, COLD};
use harness::*;
use serde_json::{json, Value};
use symphony_journal::memory::MemoryStorage;
use symphony_journal::Storage;
use symphony_member::Reference;
use symphony_stale::Archive;
use symphony_wire::Code;

fn made(run: &str) -> Value {
    json!({"run": run, "step": "s", "player": "p"})
}

/// One artifact of an ended run, forty days old.
fn old() -> (Rig, Reference) {
    let mut rig = Rig::new();
    let it = rig.world.put(b"content", made("r1"));
    rig.world.runs.insert("r1".into(), ("succeeded".into(), vec![]));
    rig.pass(40);
    (rig, it)
}

fn two_runs(rig: &mut Rig) -> Value {
    rig.run("1");
    rig.pass(2);
    rig.run("2")
}

#[test]
fn what_is_old_and_valuable_is_copied_proven_and_freed_after_the_grace() {
    let (mut rig, it) = old();
    assert_eq!(rig.action(&it.to_string()).0, "archive");
    let first = rig.run("1");
    assert_eq!(first["done"]["archive"], json!({"items": 1, "bytes": 7}), "{first}");
    assert!(first["done"].get("free").is_none() && rig.world.blobs.contains_key(&it));
    assert!(rig.events.contains(&"pit.stale.moving".to_owned()));
    let proof = rig.ok("proofs", json!({}))["proofs"][0].clone();
    assert_eq!((&proof["hash"], &proof["place"]), (&json!(it.to_string()), &json!("built-in")));
    rig.pass(2);
    let second = rig.run("2");
    assert_eq!(second["done"]["free"], json!({"items": 1, "bytes": 7}), "{second}");
    assert!(!rig.world.blobs.contains_key(&it));
    let report = rig.ok("report", json!({}));
    assert_eq!((&report["freed"], &report["tiers"]["cold"]["items"]), (&json!(7), &json!(1)));
    rig.world.nothing_is_lost();
}

#[test]
fn what_was_freed_comes_back_with_its_hash_checked_and_stays_a_while() {
    let (mut rig, it) = old();
    two_runs(&mut rig);
    let restore = json!({"id": "x", "run": "r1", "ts": rig.ts()});
    let reply = rig.ok("restore", restore.clone());
    let back = json!([{"ref": it.to_string(), "bytes": 7}]);
    assert_eq!(reply, json!({"restored": back, "here": [], "missing": []}));
    assert_eq!(rig.world.blobs[&it].bytes, b"content");
    assert_eq!(rig.ok("restore", restore), reply);
    rig.pass(5);
    let (action, reason) = rig.action(&it.to_string());
    assert!(action == "keep" && reason.starts_with("too young"), "{action}: {reason}");
    rig.pass(5);
    assert_eq!(rig.action(&it.to_string()).0, "pack");
    assert_eq!(rig.run("p")["done"]["pack"]["items"], 1);
    assert_eq!(rig.action(&it.to_string()).0, "keep");
    let unknown = Reference::of(b"never").to_string();
    let missing = rig.ok("restore", json!({"id": "y", "ref": unknown, "ts": rig.ts()}));
    assert_eq!(missing, json!({"restored": [], "here": [], "missing": [unknown]}));
}

#[test]
fn what_is_here_is_not_brought_back_but_kept() {
    let (mut rig, it) = old();
    let name = it.to_string();
    let restore = |rig: &mut Rig, id: &str| {
        let ts = rig.ts();
        rig.ok("restore", json!({"id": id, "ref": name, "ts": ts}))
    };
    let here = json!({"restored": [], "here": [name], "missing": []});
    assert_eq!(restore(&mut rig, "never archived"), here);
    rig.run("1");
    assert!(rig.world.blobs[&it].marked.is_some());
    assert_eq!(restore(&mut rig, "archived and marked"), here);
    assert!(rig.world.blobs[&it].marked.is_none());
    assert_eq!(rig.ok("report", json!({}))["restored"], 0);
    rig.pass(2);
    assert!(rig.run("2")["done"].get("free").is_none());
    assert_eq!(rig.action(&name).0, "keep");
    rig.world.blobs.remove(&it); // the store lost it behind the curator's back
    let back = restore(&mut rig, "lost");
    assert_eq!((&back["restored"][0]["ref"], &back["here"]), (&json!(name), &json!([])));
}

#[test]
fn what_happened_can_be_looked_up_and_said_before_it_moved() {
    let (mut rig, it) = old();
    let who = |name: &str, more: Value| {
        let mut all = json!({"name": name, "who": "counsel", "why": "case 7", "ts": ts(40)});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    rig.ok("hold", who("h", json!({"refs": [it.to_string()]})));
    rig.ok("hold", who("h", json!({"refs": [it.to_string()]})));
    rig.run("held");
    rig.ok("release_hold", who("h", json!({})));
    let run = rig.start("run", &json!({"id": "moves", "ts": rig.ts()}));
    while !rig.events.contains(&"pit.stale.moving".to_owned()) {
        assert!(rig.step());
    }
    assert!(rig.world.archived(&it).is_none(), "it was told before it moved");
    while !rig.answers.contains_key(&run) {
        assert!(rig.step());
    }
    let mut rig = rig.crash();
    let told = rig.ok("events", json!({}));
    let kinds = |told: &Value| -> Vec<String> {
        let events = told["events"].as_array().unwrap().iter();
        events.map(|it| it["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(&told), ["held", "released", "moving", "ran"], "{told}");
    assert_eq!(
        (&told["events"][0]["who"], &told["events"][0]["why"]),
        (&json!("counsel"), &json!("case 7"))
    );
    assert_eq!((&told["events"][2]["items"], &told["events"][2]["bytes"]), (&json!(1), &json!(7)));
    let first = rig.ok("events", json!({"newest": true, "limit": 3}));
    assert_eq!(kinds(&first), ["ran", "moving", "released"]);
    let last = rig.ok("events", json!({"newest": true, "limit": 3, "after": first["next"]}));
    assert_eq!((kinds(&last), last.get("next")), (vec!["held".to_owned()], None));
}

#[test]
fn a_hold_grows_is_told_and_is_released_in_parts() {
    let (mut rig, it) = old();
    let other = Reference::of(b"other").to_string();
    let who = |more: Value| {
        let mut all = json!({"name": "case", "who": "me", "why": "because", "ts": ts(1)});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    assert_eq!(rig.code("hold", who(json!({}))), Code::BadRequest);
    rig.ok("hold", who(json!({"refs": [it.to_string()]})));
    assert_eq!(rig.ok("hold", who(json!({"refs": [other], "runs": ["r9"]})))["held"], 3);
    rig.ok("hold", json!({"name": "a", "refs": [other], "who": "you", "why": "x", "ts": ts(1)}));
    let all = rig.ok("holds", json!({}));
    let row = &all["holds"][1];
    assert_eq!(
        (&row["held"], &row["runs"], &row["who"]),
        (&json!(3), &json!(["r9"]), &json!("me"))
    );
    let first = rig.ok("holds", json!({"limit": 1}));
    assert_eq!((&first["holds"][0]["name"], &first["next"]), (&json!("a"), &json!("a")));
    let rest = rig.ok("holds", json!({"limit": 1, "after": "a"}));
    assert_eq!((&rest["holds"][0]["name"], rest.get("next")), (&json!("case"), None));
    assert_eq!(rig.code("release_hold", who(json!({"runs": ["r8"]}))), Code::NotFound);
    rig.ok("release_hold", who(json!({"refs": [other], "runs": ["r9"]})));
    assert_eq!(rig.action(&it.to_string()).0, "keep");
    rig.ok("release_hold", who(json!({"refs": [it.to_string()]})));
    assert_eq!(rig.action(&it.to_string()).0, "archive");
    assert_eq!(rig.ok("holds", json!({}))["holds"].as_array().unwrap().len(), 1);
}

#[test]
fn proofs_are_found_by_run_beginning_and_whereabouts_and_the_newest_first() {
    let mut rig = Rig::new();
    let all: Vec<Reference> =
        (0..5_u8).map(|n| rig.world.put(&[n; 10], made(&format!("r{n}")))).collect();
    rig.pass(40);
    rig.run("1");
    let numbers = |reply: &Value| -> Vec<u64> {
        reply["proofs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["number"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(numbers(&rig.ok("proofs", json!({"away": true}))), [0; 0]);
    assert_eq!(numbers(&rig.ok("proofs", json!({"away": false}))), [1, 2, 3, 4, 5]);
    rig.pass(2);
    rig.run("2");
    let page = rig.ok("proofs", json!({"away": true, "newest": true, "limit": 2}));
    assert_eq!((numbers(&page), &page["next"]), (vec![5, 4], &json!(4)));
    let rest = rig.ok("proofs", json!({"away": true, "newest": true, "after": 4}));
    assert_eq!((numbers(&rest), rest.get("next")), (vec![3, 2, 1], None));
    let of_run = rig.ok("proofs", json!({"run": "r3"}));
    assert_eq!(of_run["proofs"][0]["ref"], all[3].to_string());
    let begun = rig.ok("proofs", json!({"begins": &all[2].to_string()[..20]}));
    assert_eq!(numbers(&begun).len(), 1);
    assert_eq!(begun["proofs"][0]["ref"], all[2].to_string());
}

#[test]
fn an_archive_that_gives_other_bytes_restores_nothing() {
    let (mut rig, it) = old();
    two_runs(&mut rig);
    rig.built_in.put(&it.hex(), b"contenT".to_vec());
    let reply = rig.ok("restore", json!({"id": "x", "ref": it.to_string(), "ts": rig.ts()}));
    assert_eq!(reply["missing"], json!([it.to_string()]));
    assert_eq!(reply["damaged"], json!([it.to_string()]));
    assert!(!rig.world.blobs.contains_key(&it));
}

#[test]
fn what_the_archive_lost_is_told_once_and_stands_at_its_proof_until_it_is_back() {
    let (mut rig, it) = old();
    two_runs(&mut rig);
    let sound = rig.built_in.bytes(&it.hex());
    Storage::remove(&rig.built_in, &it.hex()).unwrap();
    for id in ["x", "y"] {
        let reply = rig.ok("restore", json!({"id": id, "run": "r1", "ts": rig.ts()}));
        assert_eq!(reply, json!({"restored": [], "here": [], "missing": [it.to_string()]}));
    }
    let mut rig = rig.crash();
    let told = rig.ok("events", json!({}))["events"].clone();
    let lost: Vec<&Value> =
        told.as_array().unwrap().iter().filter(|event| event["kind"] == "lost").collect();
    assert_eq!(lost.len(), 1, "{told}");
    assert_eq!((&lost[0]["name"], &lost[0]["items"]), (&json!("r1"), &json!(1)));
    assert!(lost[0]["why"].as_str().unwrap().contains("archive"));
    assert!(rig.ok("proofs", json!({}))["proofs"][0]["lost"].is_string());
    rig.built_in.put(&it.hex(), sound);
    let reply = rig.ok("restore", json!({"id": "z", "run": "r1", "ts": rig.ts()}));
    assert_eq!(reply["restored"][0]["ref"], it.to_string());
    assert!(rig.ok("proofs", json!({}))["proofs"][0].get("lost").is_none());
}

#[test]
fn what_is_pinned_held_referenced_young_or_of_an_open_run_is_kept_with_the_reason() {
    let (mut rig, it) = old();
    let name = it.to_string();
    let who = json!({"who": "me", "why": "because", "ts": rig.ts()});
    let with = |more: Value| {
        let mut all = who.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let reason = |rig: &mut Rig| {
        let (action, reason) = rig.action(&name);
        assert_eq!(action, "keep", "{reason}");
        reason.split(';').next().unwrap().to_owned()
    };
    assert_eq!(rig.ok("pin", with(json!({"ref": name})))["pinned"], 1);
    assert_eq!(reason(&mut rig), "pinned");
    assert_eq!(rig.ok("unpin", with(json!({"ref": name})))["pinned"], 0);
    rig.ok("pin", with(json!({"run": "r1"})));
    assert_eq!(reason(&mut rig), "pinned");
    rig.ok("unpin", with(json!({"run": "r1"})));
    rig.ok("hold", with(json!({"name": "case", "runs": ["r1"]})));
    assert_eq!(reason(&mut rig), "under hold");
    assert_eq!(rig.ok("release_hold", with(json!({"name": "case"})))["held"], 0);
    assert_eq!(rig.code("release_hold", with(json!({"name": "case"}))), Code::NotFound);
    rig.world.open_run("r2", vec![it]);
    assert_eq!(reason(&mut rig), "referenced by an open run");
    rig.world.runs.remove("r2");
    rig.world.runs.get_mut("r1").unwrap().0 = "open".into();
    assert_eq!(reason(&mut rig), "made by an open run");
    rig.world.runs.get_mut("r1").unwrap().0 = "failed".into();
    rig.world.put(b"content", made("r1"));
    assert_eq!(reason(&mut rig), "too young");
}

#[test]
fn a_folder_goes_with_the_files_that_only_it_has_and_comes_back_whole() {
    let mut rig = Rig::new();
    let folder = rig.world.put_folder(&[("a", b"own file"), ("b", b"shared")], made("r1"));
    let other = rig.world.put_folder(&[("c", b"shared")], made("r2"));
    rig.pass(40);
    let pin = json!({"ref": other.to_string(), "who": "me", "why": "x", "ts": rig.ts()});
    rig.ok("pin", pin);
    let done = two_runs(&mut rig);
    assert_eq!(done["done"]["free"], json!({"items": 1, "bytes": 8}), "{done}");
    assert!(!rig.world.blobs.contains_key(&folder) && rig.world.blobs.contains_key(&other));
    assert!(rig.world.blobs.contains_key(&Reference::of(b"shared")));
    rig.ok("restore", json!({"id": "x", "ref": folder.to_string(), "ts": rig.ts()}));
    assert!(rig.world.blobs[&folder].folder);
    assert!(rig.world.blobs.contains_key(&Reference::of(b"own file")));
}

#[test]
fn little_worth_goes_only_without_room_the_least_first_and_never_the_last_of_its_kind() {
    let mut rig = Rig::new();
    let poor: Vec<Reference> =
        (0..4_u8).map(|n| rig.world.put(&[n; 100], made(&format!("r{n}")))).collect();
    for n in 0..4 {
        rig.world.runs.insert(format!("r{n}"), ("aborted".into(), vec![]));
    }
    let score =
        json!({"id": "f", "ref": poor[0].to_string(), "score": 900, "who": "me", "ts": ts(0)});
    rig.ok("feedback", score);
    rig.pass(40);
    rig.ok("configure", json!({"valuable": 900}));
    assert_eq!(rig.plan()["totals"], json!({"keep": {"items": 4, "bytes": 400}}));
    rig.ok("configure", json!({"valuable": 900, "pressure": {"bytes": 400, "low_ppm": 500_000}}));
    let plan = rig.plan();
    assert_eq!(plan["totals"]["delete"], json!({"items": 2, "bytes": 200}), "{plan}");
    assert_eq!(rig.action(&poor[0].to_string()).0, "keep");
    rig.ok("configure", json!({"valuable": 900, "pressure": {"bytes": 100, "low_ppm": 1}}));
    let plan = rig.plan();
    assert_eq!(plan["totals"]["delete"]["items"], 3);
    assert_eq!(plan["totals"]["archive"]["items"], 1);
    two_runs(&mut rig);
    assert_eq!((rig.world.deleted.len(), rig.world.blobs.len()), (3, 0));
    rig.world.nothing_is_lost();
}

#[test]
fn a_plan_is_paged_and_run_as_far_as_it_still_holds() {
    let mut rig = Rig::new();
    let all: Vec<Reference> =
        (0..20_u8).map(|n| rig.world.put(&[n; 10], made(&format!("r{n}")))).collect();
    rig.pass(40);
    rig.ok("configure", json!({"valuable": 0}));
    let mut page = rig.ok("plan", json!({"ts": rig.ts(), "limit": 8}));
    let plan = page["plan"].clone();
    assert_eq!(page["totals"]["archive"]["items"], 20);
    let mut items = vec![];
    loop {
        items.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page.get("next").cloned() else { break };
        page = rig.ok("plan", json!({"ts": rig.ts(), "limit": 8, "after": next}));
    }
    assert_eq!(items.len(), 20);
    let late = rig.world.put(b"not in the plan", json!({"run": "z"}));
    rig.world.blobs.get_mut(&late).unwrap().entries[0]["created"] = json!(ts(0));
    rig.world.open_run("new", vec![all[3]]);
    let pin = json!({"ref": all[4].to_string(), "who": "me", "why": "x", "ts": rig.ts()});
    rig.ok("pin", pin);
    let run = json!({"id": "1", "plan": plan, "ts": rig.ts()});
    let done = rig.ok("run", run.clone());
    assert_eq!(done["done"]["archive"]["items"], 18);
    assert_eq!(rig.ok("run", run), done);
    assert_eq!(rig.code("run", json!({"id": "1", "ts": rig.ts()})), Code::Conflict);
    assert_eq!(rig.code("run", json!({"id": "2", "plan": "p-9", "ts": rig.ts()})), Code::NotFound);
    assert_eq!(rig.code("plan", json!({"after": "p-9/1", "ts": rig.ts()})), Code::NotFound);
    let rest = rig.ok("run", json!({"id": "3", "actions": ["archive"], "ts": rig.ts()}));
    assert_eq!(rest["done"]["archive"]["items"], 1);
}

#[test]
fn a_large_artifact_is_archived_in_parts_by_the_archive_of_the_configuration() {
    let mut rig = Rig::new();
    let disk = MemoryStorage::new();
    rig.world.cold = Some(Archive::open(disk.clone()).unwrap());
    rig.world.cold_disk = Some(disk);
    rig.ok("configure", json!({"archive": COLD}));
    let bytes: Vec<u8> = (0..2_500_000_u32).map(|n| (n * 7 / 3) as u8).collect();
    let it = rig.world.put(&bytes, made("r1"));
    rig.pass(40);
    let done = two_runs(&mut rig);
    assert_eq!(done["done"]["free"]["bytes"], 2_500_000, "{done}");
    assert_eq!(rig.world.archived(&it), Some(bytes));
    assert_eq!(rig.world.asked.iter().filter(|it| it.ends_with(" part")).count(), 3);
}

#[test]
fn training_gives_the_most_valuable_first_each_content_once_in_pages() {
    let mut rig = Rig::new();
    for n in 0..10_u8 {
        let it = rig.world.put(&[n], made(&format!("r{n}")));
        rig.world.put(&[n], made(&format!("again{n}")));
        let state = if n < 5 { "succeeded" } else { "failed" };
        rig.world.runs.insert(format!("r{n}"), (state.into(), vec![]));
        if n == 7 {
            let taught = json!({"policy": "pi", "refs": [it.to_string()], "gain": 3, "ts": ts(0)});
            rig.ok("taught", taught);
        }
    }
    let note = json!({"id": "n", "run": "r9", "outcome": "succeeded", "ts": ts(0)});
    rig.ok("note", note.clone());
    assert_eq!(rig.ok("note", note), json!({}));
    let mut items: Vec<Value> = vec![];
    let mut arguments = json!({"limit": 3, "kinds": ["p"]});
    loop {
        let page = rig.ok("training", arguments.clone());
        items.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page.get("next") else { break };
        arguments["after"] = next.clone();
    }
    let values: Vec<u64> = items.iter().map(|it| it["value"].as_u64().unwrap()).collect();
    assert!(values.is_sorted_by(|a, b| a >= b) && values.len() == 10, "{values:?}");
    let refs: std::collections::BTreeSet<&str> =
        items.iter().map(|it| it["ref"].as_str().unwrap()).collect();
    assert_eq!(refs.len(), 10);
    assert_eq!(values.iter().filter(|it| **it == values[0]).count(), 6);
    let teaches: Vec<&Value> =
        items.iter().map(|it| &it["teaches"]).filter(|it| **it != json!([])).collect();
    assert_eq!(teaches, [&json!(["pi"])]);
    let least = rig.ok("training", json!({"least": values[0]}));
    assert_eq!(least["items"].as_array().unwrap().len(), 6);
    assert_eq!(rig.ok("training", json!({"kinds": ["q"]}))["items"], json!([]));
}

#[test]
fn of_the_dead_goes_what_no_living_one_uses() {
    let mut rig = Rig::new();
    let dead = json!([{"instance": "i", "folders": ["/run/s/i", "/run/s/shared"],
        "sockets": ["/run/s/i/sock"], "leases": ["l-1"]}]);
    let reply = rig.ok("cleanup", json!({"dead": dead, "live": ["/run/s/shared/x"], "ts": ts(0)}));
    assert_eq!(reply, json!({"remove": ["/run/s/i/sock", "/run/s/i"], "leases": ["l-1"]}));
    for path in ["/", "/etc", "relative/x", "/a/../b", "/a//b"] {
        let dead = json!([{"instance": "i", "folders": [path]}]);
        assert_eq!(rig.code("cleanup", json!({"dead": dead, "ts": ts(0)})), Code::BadRequest);
    }
}

#[test]
fn arguments_that_do_not_fit_are_refused_with_every_place() {
    let mut rig = Rig::new();
    let wrong =
        json!({"local_days": 99_999, "valuable": 2_000, "pressure": {"high_ppm": 1, "low_ppm": 2}});
    let place = rig.refused("configure", wrong).where_.unwrap();
    assert!(["local_days", "valuable", "pressure.low_ppm"].iter().all(|it| place.contains(it)));
    let place =
        rig.refused("run", json!({"id": "", "actions": ["keep"], "ts": "now"})).where_.unwrap();
    assert!(["id", "actions", "ts"].iter().all(|it| place.contains(it)), "{place}");
    assert_eq!(rig.code("pin", json!({"who": "a", "why": "", "ts": ts(0)})), Code::BadRequest);
    for (method, about) in [
        ("pin", json!({"run": "r"})),
        ("unpin", json!({"run": "r"})),
        ("hold", json!({"name": "h", "runs": ["r"]})),
        ("release_hold", json!({"name": "h"})),
    ] {
        let mut said = json!({"who": "", "why": "", "ts": ts(0)});
        said.as_object_mut().unwrap().extend(about.as_object().unwrap().clone());
        let error = rig.refused(method, said);
        assert_eq!((error.code, error.where_.as_deref()), (Code::BadRequest, Some("who, why")));
    }
    assert_eq!(rig.code("nonsense", json!({})), Code::BadRequest);
    assert_eq!(rig.code("training", json!({"after": "x"})), Code::BadRequest);
    assert_eq!(rig.ok("stats", json!({}))["runs"], 0);
}

#[test]
fn whatever_is_not_certain_stops_deletion_and_says_so() {
    let (mut rig, it) = old();
    rig.world.runs.insert("bad".into(), ("corrupt".into(), vec![]));
    let plan = rig.plan();
    assert!(
        plan["stopped"].as_str().unwrap().contains("bad") && plan["items"] == json!([]),
        "{plan}"
    );
    assert!(rig.run("1")["stopped"].is_string());
    assert!(rig.ok("report", json!({}))["stopped"].is_string());
    rig.world.runs.remove("bad");
    rig.run("1");
    rig.pass(2);
    rig.run("2");
    assert!(!rig.world.blobs.contains_key(&it));
}

#[test]
fn a_pin_of_what_is_marked_is_acknowledged_once_its_mark_is_gone() {
    let (mut rig, it) = old();
    rig.run("1");
    assert!(rig.world.blobs[&it].marked.is_some());
    let pin = json!({"ref": it.to_string(), "who": "me", "why": "x", "ts": rig.ts()});
    let call = rig.start("pin", &pin);
    assert!(rig.answers.is_empty());
    rig.step();
    assert!(rig.answers[&call].is_ok() && rig.world.blobs[&it].marked.is_none());
    let World { sweeps, .. } = rig.world;
    assert_eq!(sweeps, 0);
}
