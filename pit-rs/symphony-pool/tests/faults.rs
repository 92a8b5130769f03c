//! What is left of leases when the disk tears, flips, fills up or loses power, and when either side starts
//! anew.
#![allow(clippy::unwrap_used)] // A test may panic.

mod harness;

use harness::*;
use serde_json::{json, Value};
use symphony_journal::memory::MemoryStorage;
use symphony_wire::{BusError, Code};

fn configure(rig: &mut Rig) {
    let mut sticky = kind("s", 10);
    sticky["sticky"] = json!(true);
    let kinds = json!([kind("k", 10), sticky]);
    rig.ok("configure", json!({"limits": {"memory_mib": 1_000}, "kinds": kinds}));
}

/// One lease returned, one open on i-1, one lost with i-3.
fn some_leases(compact_from: u64) -> Rig {
    let mut rig = Rig::open(&MemoryStorage::new(), compact_from).unwrap();
    configure(&mut rig);
    rig.resync(json!([]), json!([]));
    let first = rig.lease("a", "k", "i-1");
    rig.release("r", &first, "ok");
    rig.lease("b", "k", "-");
    let mut keyed = acquire("c", "s");
    keyed["key"] = json!("x");
    rig.start("acquire", keyed);
    rig.spawn_all(&["i-2"]);
    rig.lease("d", "k", "i-3");
    rig.ok("event", json!({"instance": "i-3", "kind": "died"}));
    rig.asked.clear();
    rig.answers.clear();
    rig
}

fn seen(name: &str, kind: &str, state: &str) -> Value {
    json!({"instance": name, "kind": kind, "state": state})
}

/// What a successor knows: the replies to everything that was ever asked, and what it makes of the kernel's word.
fn knowledge(storage: &MemoryStorage) -> Vec<Reply> {
    let mut rig = Rig::new(&storage.clone());
    let synced = rig.resync(
        json!([seen("i-1", "k", "active"), seen("i-2", "s", "active")]),
        json!(["l-2", "l-3", "l-9"]),
    );
    let mut replies = vec![Ok(synced)];
    for id in ["a", "b"] {
        replies.push(rig.call("acquire", acquire(id, "k")));
    }
    replies.push(rig.call("release", release("r", &json!({"lease": "l-1"}), "ok")));
    replies.push(rig.call("release", release("s", &json!({"lease": "l-1"}), "ok")));
    replies.push(rig.call("release", release("t", &json!({"lease": "l-2"}), "ok")));
    replies.push(rig.call("release", release("u", &json!({"lease": "l-4"}), "lost")));
    replies.push(rig.call("release", release("v", &json!({"lease": "l-3"}), "ok")));
    let mut keyed = acquire("e", "s");
    keyed["key"] = json!("x");
    replies.push(rig.call("acquire", keyed));
    replies
}

/// Where each record of the file ends.
fn ends(file: &[u8]) -> Vec<usize> {
    let (mut ends, mut at) = (vec![], 0);
    while at < file.len() {
        at += 8 + u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        ends.push(at);
    }
    ends
}

fn copy(file: Vec<u8>) -> MemoryStorage {
    let storage = MemoryStorage::new();
    storage.put(FILE, file);
    storage
}

#[test]
fn a_successor_knows_every_lease_and_gives_every_reply_again() {
    let rig = some_leases(64 << 20);
    rig.storage.cut_power();
    let replies = knowledge(&rig.storage);
    let codes: Vec<Result<(), Code>> =
        replies.iter().map(|it| it.clone().map(drop).map_err(|error| error.code)).collect();
    assert_eq!(replies[0], Ok(json!({"kill": [], "lost": ["l-9"]})));
    let conflict = Err(Code::Conflict);
    assert_eq!(codes, [Ok(()), Ok(()), Ok(()), Ok(()), conflict, Ok(()), Ok(()), Ok(()), Ok(())]);
    assert_eq!(replies[1].as_ref().unwrap()["lease"], "l-1");
    assert_eq!(replies[8].as_ref().unwrap()["instance"], "i-2");
}

#[test]
fn a_journal_that_began_anew_says_the_same_in_fewer_bytes() {
    let grown = some_leases(64 << 20);
    let short = some_leases(1);
    assert_eq!(knowledge(&short.storage), knowledge(&grown.storage));
    let mut rig = Rig::open(&MemoryStorage::new(), 20_000).unwrap();
    configure(&mut rig);
    rig.resync(json!([]), json!([]));
    let mut largest = 0;
    for n in 0..2_000 {
        rig.ok("pin", json!({"kind": "s", "pinned": n % 2 == 0}));
        largest = largest.max(rig.storage.bytes(FILE).len());
    }
    assert!((19_000..21_000).contains(&largest), "{largest}");
    let now = rig.ok("stats", json!({}))["journal_bytes"].as_u64().unwrap() as usize;
    assert!(now < largest, "{now} of {largest} bytes");
}

#[test]
fn a_snapshot_that_fails_at_any_point_loses_nothing() {
    for changes in 0..12 {
        let mut rig = some_leases(64 << 20);
        let storage = rig.storage.clone();
        rig = {
            let mut rig = Rig::open(&storage, 1).unwrap();
            rig.resync(
                json!([seen("i-1", "k", "active"), seen("i-2", "s", "active")]),
                json!(["l-2", "l-3"]),
            );
            rig
        };
        storage.set_fuse(Some(changes));
        let pinned = rig.call("pin", json!({"kind": "k", "pinned": true})).is_ok();
        if changes % 2 == 0 {
            storage.cut_power();
        } else {
            storage.cut_power_after_names();
        }
        let mut rig = Rig::new(&storage);
        let replies = knowledge(&storage);
        assert_eq!(replies[0], Ok(json!({"kill": [], "lost": ["l-9"]})), "after {changes}");
        let _ = (pinned, rig.ok("stats", json!({})));
    }
}

#[test]
fn a_torn_last_record_was_never_told_and_is_cut_off() {
    let rig = some_leases(64 << 20);
    let whole = rig.storage.bytes(FILE);
    let ends = ends(&whole);
    let (before, last) = (ends[ends.len() - 2], ends[ends.len() - 1]);
    let expected = knowledge(&copy(whole[..before].to_vec()));
    for cut in before + 1..last {
        assert_eq!(knowledge(&copy(whole[..cut].to_vec())), expected, "cut at {cut}");
    }
    let zeros = [&whole[..before], &[0; 300]].concat();
    assert_eq!(knowledge(&copy(zeros)), expected);
}

#[test]
fn any_record_written_twice_says_what_it_says_once() {
    let rig = some_leases(64 << 20);
    let whole = rig.storage.bytes(FILE);
    let expected = knowledge(&copy(whole.clone()));
    let ends = ends(&whole);
    let last = ends.len() - 1;
    let doubled = [&whole[..], &whole[ends[last - 1]..ends[last]]].concat();
    assert_eq!(knowledge(&copy(doubled)), expected);
}

#[test]
fn every_beginning_of_a_journal_is_a_valid_state() {
    let whole = some_leases(64 << 20).storage.bytes(FILE);
    let mut most = 0;
    for end in ends(&whole) {
        let mut rig = Rig::new(&copy(whole[..end].to_vec()));
        configure(&mut rig);
        let there = json!([
            seen("i-1", "k", "active"),
            seen("i-2", "s", "active"),
            seen("i-3", "k", "active")
        ]);
        let told = ["l-2", "l-3", "l-4"];
        let known = rig.resync(there, json!(told));
        let kinds = rig.ok("list", json!({}))["kinds"].clone();
        let instances = kinds.as_array().unwrap().iter();
        let instances = instances.flat_map(|kind| kind["instances"].as_array().unwrap());
        let mut leased = vec![];
        for instance in instances {
            let leases = instance["leases"].as_array().unwrap();
            let killed = known["kill"].as_array().unwrap().contains(&instance["instance"]);
            assert!(leases.len() <= 1 && (leases.is_empty() || !killed), "{instance}");
            leased.extend(leases.iter().map(|lease| lease.as_str().unwrap().to_owned()));
        }
        // A lease is known and held, or it is over: nothing between.
        for lease in told {
            let lost = known["lost"].as_array().unwrap().contains(&json!(lease));
            assert!(lost != leased.contains(&lease.to_owned()), "{lease} of {known}");
        }
        most = most.max(leased.len());
        // And the work goes on.
        rig.asked.clear();
        let call = rig.start("acquire", acquire("new", "k"));
        assert!(rig.answers.contains_key(&call) || rig.take("spawn").len() == 1);
    }
    assert!(most >= 2);
}

#[test]
fn a_bit_flipped_before_the_last_record_is_seen_and_the_file_stays_as_it_is() {
    let rig = some_leases(64 << 20);
    let whole = rig.storage.bytes(FILE);
    let ends = ends(&whole);
    for bit in (0..ends[ends.len() - 2] * 8).step_by(11) {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let storage = copy(flipped.clone());
        let error = Rig::open(&storage, 1).err().unwrap();
        assert_eq!((error.code, error.where_.as_deref()), (Code::Corrupt, Some(FILE)));
        assert_eq!(storage.bytes(FILE), flipped);
    }
}

#[test]
fn a_flush_that_fails_takes_back_grants_releases_and_what_the_kernel_would_have_been_asked() {
    let mut rig = some_leases(64 << 20);
    let before = rig.ok("list", json!({}));
    rig.storage.set_syncs_fail(true);
    let failed = rig.send("release", &release("f", &json!({"lease": "l-2"}), "failed"));
    // It would be served by a spawn.
    let waits = rig.send("acquire", &acquire("e", "k"));
    let told = rig.send("list", &json!({}));
    assert!(rig.answers.is_empty() && rig.asked.is_empty());
    assert_eq!(rig.flush().unwrap_err().code, Code::Io);
    for call in [failed, told] {
        assert_eq!(rig.answer(call).unwrap().unwrap_err().code, Code::Io);
    }
    assert!(rig.asked.is_empty(), "{:?}", rig.asked);
    rig.storage.set_syncs_fail(false);
    rig.cancel(waits);
    rig.answers.clear();
    let after = rig.ok("list", json!({}));
    let leases = |list: &Value| list["kinds"][0]["instances"][0]["leases"].clone();
    assert_eq!((leases(&after), leases(&after)), (leases(&before), json!(["l-2"])));
    rig.release("f", &json!({"lease": "l-2"}), "failed");
    assert_eq!(rig.unload_all(), [("i-1".to_owned(), "a call failed".to_owned())]);
}

#[test]
fn a_configuration_or_agreement_that_the_disk_did_not_take_did_not_happen() {
    let storage = MemoryStorage::new();
    let mut rig = Rig::new(&storage);
    configure(&mut rig);
    storage.set_syncs_fail(true);
    let other = json!({"limits": {}, "kinds": [kind("n", 1)]});
    assert_eq!(rig.code("configure", other), Code::Io);
    let empty = json!({"instances": [], "leases": [], "ts": TS});
    assert_eq!(rig.code("resync", empty), Code::Io);
    storage.set_syncs_fail(false);
    let call = rig.start("acquire", acquire("a", "k"));
    assert!(rig.answer(call).is_none() && rig.asked.is_empty());
    rig.resync(json!([]), json!([]));
    rig.spawn_all(&["i"]);
    assert!(rig.answer(call).unwrap().is_ok());
}

#[test]
fn a_full_disk_is_an_io_error_that_changes_nothing_and_passes() {
    let mut rig = some_leases(64 << 20);
    rig.storage.set_capacity(Some(rig.storage.bytes(FILE).len()));
    assert_eq!(rig.code("release", release("f", &json!({"lease": "l-2"}), "ok")), Code::Io);
    rig.storage.set_capacity(None);
    rig.release("f", &json!({"lease": "l-2"}), "ok");
    rig.storage.cut_power();
    let code = Rig::new(&rig.storage).code("release", release("g", &json!({"lease": "l-2"}), "ok"));
    assert_eq!(code, Code::Conflict);
}

#[test]
fn after_a_restart_of_the_pool_nothing_is_lost_and_nothing_doubled() {
    let rig = some_leases(64 << 20);
    let mut rig = Rig::new(&rig.storage);
    // Asked again before they agree: the same leases; a new one waits.
    assert_eq!(rig.ok("acquire", acquire("b", "k"))["lease"], "l-2");
    let waits = rig.start("acquire", acquire("e", "k"));
    assert!(rig.answer(waits).is_none());
    let listed = json!([
        seen("i-1", "k", "active"),
        seen("i-2", "s", "active"),
        seen("i-4", "k", "loading"),
        seen("i-5", "no", "warm"),
        seen("i-6", "k", "active"),
        seen("i-7", "k", "leaving"),
    ]);
    let synced = rig.resync(listed.clone(), json!(["l-2", "l-3"]));
    assert_eq!(synced, json!({"kill": ["i-5", "i-6", "i-7"], "lost": []}));
    // The one that loads is for whoever waits: none is spawned.
    assert!(rig.take("spawn").is_empty());
    rig.ok("event", json!({"instance": "i-4", "kind": "ready"}));
    let lease = rig.answer(waits).unwrap().unwrap();
    assert_eq!((&lease["lease"], &lease["instance"]), (&json!("l-5"), &json!("i-4")));
    let mut unloaded: Vec<String> = rig.unload_all().into_iter().map(|it| it.0).collect();
    unloaded.sort();
    assert_eq!(unloaded, ["i-6", "i-7"]);
    assert_eq!(rig.states().len(), 3);
    // Spawns of this life have other ids than those of the former.
    rig.start("acquire", acquire("f", "k"));
    assert_eq!(rig.asked[0].body["id"], "2.1");
}

#[test]
fn after_a_restart_of_the_kernel_leases_that_it_does_not_have_are_over() {
    let mut rig = some_leases(64 << 20);
    let spawning = rig.start("acquire", acquire("e", "k"));
    let spawn = rig.take("spawn").remove(0);
    // Its calls end with it.
    rig.hear(spawn.token, Err(BusError::new(Code::Crashed, "the kernel is gone")));
    let _ = rig.flush();
    rig.cancel(spawning);
    let synced = rig.resync(json!([seen("i-2", "s", "active")]), json!([]));
    assert_eq!(synced, json!({"kill": ["i-2"], "lost": ["l-2", "l-3"]}));
    assert_eq!(rig.ok("stats", json!({}))["leases"], 0);
    assert_eq!(rig.states().keys().collect::<Vec<_>>(), ["i-2"]);
    // Repeated, the agreement is the same.
    let synced = rig.resync(json!([seen("i-2", "s", "active")]), json!([]));
    assert_eq!(synced, json!({"kill": ["i-2"], "lost": []}));
    // A lease that was lost is no use: who asks again is served anew.
    rig.pass(1_000);
    assert_eq!(rig.lease("b", "k", "i-9")["lease"], "l-5");
}

#[test]
fn an_instance_that_is_named_before_its_spawn_is_answered_is_one_instance() {
    let mut rig = some_leases(64 << 20);
    let call = rig.start("acquire", acquire("e", "k"));
    let spawn = rig.take("spawn").remove(0);
    let mut listed = seen("i-9", "k", "warm");
    listed["id"] = spawn.body["id"].clone();
    let all = json!([seen("i-1", "k", "active"), seen("i-2", "s", "active"), listed]);
    rig.resync(all, json!(["l-2", "l-3"]));
    assert_eq!(rig.answer(call).unwrap().unwrap()["instance"], "i-9");
    rig.hear(spawn.token, Ok(json!({"instance": "i-9"})));
    assert_eq!(rig.states()["i-9"], "active");
    assert_eq!(rig.states().len(), 3);
    assert_eq!(rig.ok("stats", json!({}))["spawn_failures"], 0);
    assert!(rig.asked.is_empty());
}

#[test]
fn what_was_learned_outlives_the_pool_and_damage_to_it_costs_warmth_only() {
    let storage = MemoryStorage::new();
    let mut rig = Rig::new(&storage);
    configure(&mut rig);
    rig.resync(json!([]), json!([]));
    for n in 0..25 {
        let call = rig.start("acquire", acquire(&format!("a{n}"), "k"));
        if !rig.answers.contains_key(&call) {
            rig.spawn_all(&[&format!("i-{n}")]);
        }
        let lease = rig.answer(call).unwrap().unwrap();
        rig.release(&format!("r{n}"), &lease, "ok");
        rig.pass(600_000);
        rig.unload_all();
    }
    assert!(!storage.bytes("learned").is_empty());
    let predicts = |storage: &MemoryStorage| {
        let mut rig = Rig::new(storage);
        rig.resync(json!([seen("i", "k", "warm")]), json!([]));
        let lease = rig.ok("acquire", acquire("z", "k"));
        rig.release("rz", &lease, "ok");
        rig.pass(300_000);
        rig.unload_all();
        rig.pass(300_000);
        rig.take("spawn").len()
    };
    storage.cut_power();
    let (journal, learned) = (storage.bytes(FILE), storage.bytes("learned"));
    assert_eq!(predicts(&storage), 1);
    let damaged = copy(journal);
    let mut bytes = learned;
    let middle = bytes.len() / 4;
    bytes[middle] ^= 1;
    damaged.put("learned", bytes);
    assert_eq!(predicts(&damaged), 0);
}
