//! What is left of the ledger when the disk fills up, fails to sync, tears or is damaged.
#![allow(clippy::unwrap_used)] // A test may panic.

mod harness;

use harness::*;
use serde_json::{json, Value};
use symphony_arbitration::record::Record;
use symphony_arbitration::state::State;
use symphony_arbitration::Arbiter;
use symphony_journal::memory::MemoryStorage;
use symphony_journal::Journal;
use symphony_wire::reactor::Reactor;
use symphony_wire::Code;

/// Changes a list of records whose last has this number.
type Alter = fn(&mut Vec<Vec<u8>>, usize);

fn config() -> Value {
    json!({"resources": {"cpu": {"capacity": 4}}, "tenants": {"a": {"weight": 1}},
        "budgets": [{"name": "m", "per": "run", "resource": "money", "limit": 100}]})
}

fn one(amount: u64) -> Value {
    json!({"cpu": amount})
}

fn some_ledger(storage: &MemoryStorage) -> World<MemoryStorage> {
    let mut world = in_memory(storage);
    world.ok("configure", config());
    world.grant(request("1", "a", one(1), json!({"share": "k", "estimate": {"money": 10}})));
    world.grant(request("2", "a", one(1), json!({"share": "k"})));
    world.grant(request("3", "a", one(2), json!({"estimate": {"money": 30}})));
    world.ok("charge", charge("4", "r", json!({"money": 12}), json!({"grant": "g3"})));
    world.release("g1");
    world
}

/// The state as records that say all of it.
fn told(state: &State) -> Vec<Value> {
    let records = symphony_arbitration::snapshot_of(state);
    records.iter().map(|record| serde_json::to_value(format!("{record:?}")).unwrap()).collect()
}

#[test]
fn after_a_restart_everything_is_as_it_was_told() {
    let storage = MemoryStorage::new();
    let before = told(some_ledger(&storage).arbiter.state());
    storage.cut_power();
    let mut world = in_memory(&storage);
    assert_eq!(told(world.arbiter.state()), before);
    assert_eq!(world.held(), ["g2", "g3"]);
    assert_eq!(world.ok("queue", json!({}))["free"], one(1));
    assert_eq!(world.ok("explain", json!({"id": "1"}))["grant"], "g1");
    assert_eq!(
        world.ok(
            "request",
            request("1", "a", one(1), json!({"share": "k", "estimate": {"money": 10}}))
        )["grant"],
        "g1"
    );
    // Of the 30 that the third may spend, 12 are spent.
    let error =
        world.refused("request", request("5", "a", one(1), json!({"estimate": {"money": 71}})));
    assert_eq!(error.code, Code::Refused);
    assert_eq!(world.grant(request("5", "a", one(1), json!({"estimate": {"money": 70}}))), "g4");
}

#[test]
fn a_snapshot_says_the_same_as_the_records_before_it() {
    let storage = MemoryStorage::new();
    let mut world = World::new(Arbiter::with_compaction(storage.clone(), 1).unwrap());
    world.ok("configure", config());
    for n in 0..200 {
        world.now.mono_ms += 5;
        let grant =
            world.grant(request(&format!("r{n}"), "a", one(1), json!({"estimate": {"money": 1}})));
        if n % 3 > 0 {
            world.release(&grant);
        }
        if n % 40 == 0 {
            world.ok(
                "charge",
                charge(&format!("c{n}"), &format!("run {n}"), json!({"money": 3}), json!({})),
            );
        }
        if n % 3 == 0 {
            let held = world.held();
            world.ok("resync", json!({"held": held[1..], "ts": TS}));
        }
    }
    assert_eq!(world.ok("budgets", json!({"run": "r"}))["budgets"][0]["spent"], 67);
    let stats = world.ok("stats", json!({}));
    assert!(stats["snapshots"].as_u64().unwrap() >= 3, "{stats}");
    let before = told(world.arbiter.state());
    let mut again = in_memory(&storage);
    assert_eq!(told(again.arbiter.state()), before);
    assert_eq!(again.ok("budgets", json!({"run": "run 160"}))["budgets"][0]["spent"], 3);
    assert_eq!(again.ok("explain", json!({"id": "r7"}))["grant"], "g8");
    // What was assumed of the first is told now.
    again.ok("charge", charge("late", "r", json!({"money": 0}), json!({"grant": "g1"})));
    assert_eq!(again.ok("budgets", json!({"run": "r"}))["budgets"][0]["spent"], 66);
}

#[test]
fn a_flush_that_fails_takes_back_what_it_was_to_write() {
    let storage = MemoryStorage::new();
    let mut world = some_ledger(&storage);
    let before = told(world.arbiter.state());
    let waits = world.ask("request", request("w", "a", one(3), json!({})));
    storage.set_syncs_fail(true);
    assert_eq!(world.code("release", release("x", "g2")), Code::Io);
    assert_eq!(world.code("charge", charge("y", "r", json!({"money": 1}), json!({}))), Code::Io);
    assert_eq!(told(world.arbiter.state()), before);
    assert!(world.answered(waits).is_none());
    storage.set_syncs_fail(false);
    world.ok("charge", charge("y", "r", json!({"money": 1}), json!({})));
    world.ok("release", release("x", "g2"));
    world.release("g3");
    assert_eq!(world.granted(waits)["grant"], "g4");
    storage.cut_power();
    assert_eq!(in_memory(&storage).held(), ["g4"]);
}

#[test]
fn a_grant_that_could_not_be_written_is_given_to_the_next_who_waits() {
    let storage = MemoryStorage::new();
    let mut world = in_memory(&storage);
    world.ok("configure", config());
    world.grant(request("0", "a", one(4), json!({})));
    let [first, second] =
        ["1", "2"].map(|id| world.ask("request", request(id, "a", one(4), json!({}))));
    // The release is on disk, the grant that follows it in the next flush is not.
    let body = rmp_serde::to_vec_named(&release("x", "g1")).unwrap();
    let call = symphony_wire::service::Call { capability: "", method: "release", body: &body };
    let mut alone = symphony_wire::reactor::Effects::default();
    storage.set_syncs_fail(true);
    world.arbiter.call(99, call, world.now, &mut alone);
    assert!(alone.wants_flush());
    let flushed = world.arbiter.flush();
    assert_eq!(flushed.as_ref().unwrap_err().code, Code::Io);
    // The first was to be granted with it: it is answered with the error, and the second still waits.
    assert_eq!(alone.take_flushed(&flushed).len(), 2);
    storage.set_syncs_fail(false);
    assert_eq!(world.waiting(), ["2"]);
    assert_eq!(world.held(), ["g1"]);
    world.release("g1");
    assert_eq!(world.granted(second)["grant"], "g2");
    assert!(world.answered(first).is_none());
}

#[test]
fn a_full_disk_is_an_io_error_that_changes_nothing_and_passes() {
    let storage = MemoryStorage::new();
    let mut world = some_ledger(&storage);
    let before = told(world.arbiter.state());
    for room in [0, 5, 40] {
        storage.set_capacity(Some(storage.bytes(LEDGER).len() + room));
        assert_eq!(world.code("request", request("5", "a", one(1), json!({}))), Code::Io);
        assert_eq!(told(world.arbiter.state()), before);
    }
    storage.set_capacity(None);
    assert_eq!(world.grant(request("5", "a", one(1), json!({}))), "g4");
}

#[test]
fn a_ledger_that_cannot_be_read_back_answers_io_until_it_can() {
    let storage = MemoryStorage::new();
    let mut world = some_ledger(&storage);
    storage.set_syncs_fail(true);
    storage.set_truncates_fail(true);
    assert_eq!(world.code("release", release("x", "g2")), Code::Io);
    assert_eq!(world.held(), ["g2", "g3"]);
    assert_eq!(world.code("release", release("x", "g2")), Code::Io);
    storage.set_syncs_fail(false);
    storage.set_truncates_fail(false);
    world.ok("release", release("x", "g2"));
    assert_eq!(in_memory(&storage).held(), ["g3"]);
}

#[test]
fn a_damaged_ledger_is_corrupt_and_not_touched() {
    let storage = MemoryStorage::new();
    some_ledger(&storage);
    let whole = storage.bytes(LEDGER);
    for bit in (0..(whole.len() - 200) * 8).step_by(31) {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        storage.put(LEDGER, flipped.clone());
        let error = Arbiter::open(storage.clone()).err().unwrap();
        assert_eq!((error.code, error.where_.as_deref()), (Code::Corrupt, Some(LEDGER)));
        assert_eq!(storage.bytes(LEDGER), flipped);
    }
}

#[test]
fn records_that_were_written_twice_count_once_and_the_ledger_goes_on() {
    let storage = MemoryStorage::new();
    let before = told(some_ledger(&storage).arbiter.state());
    let payloads = payloads(&storage);
    for doubled in 1..payloads.len() {
        let storage = MemoryStorage::new();
        let list = [&payloads[..], &payloads[payloads.len() - doubled..]].concat();
        Journal::open(storage.clone(), LEDGER, &list).unwrap();
        let mut world = in_memory(&storage);
        assert_eq!(told(world.arbiter.state()), before);
        assert_eq!(world.grant(request("5", "a", one(1), json!({}))), "g4");
        storage.cut_power();
        assert_eq!(in_memory(&storage).held(), ["g2", "g3", "g4"]);
    }
}

#[test]
fn every_beginning_of_a_ledger_is_a_valid_state() {
    let storage = MemoryStorage::new();
    some_ledger(&storage);
    let payloads = payloads(&storage);
    let (mut grants, mut spent) = (0, 0);
    for length in 1..=payloads.len() {
        let storage = MemoryStorage::new();
        Journal::open(storage.clone(), LEDGER, &payloads[..length]).unwrap();
        let mut world = in_memory(&storage);
        let state = world.arbiter.state();
        assert_eq!(state.index, length as u64);
        assert!((grants..=grants + 1).contains(&state.grants));
        grants = state.grants;
        // Configured or not, what is out is within what there is.
        let queue = world.ok("queue", json!({}));
        let held = queue["held"].as_array().unwrap();
        let out: u64 = held.iter().filter_map(|it| it["needs"]["cpu"].as_u64()).sum();
        let free = queue["free"]["cpu"].as_u64().unwrap_or(0);
        let capacity =
            world.arbiter.state().config.resources.get("cpu").map_or(0, |it| it.capacity);
        assert!(out <= capacity && free <= capacity);
        let rows = world.ok("budgets", json!({}))["budgets"].clone();
        let sum: u64 =
            rows.as_array().unwrap().iter().map(|row| row["spent"].as_u64().unwrap()).sum();
        assert!(sum >= spent);
        spent = sum;
        for grant in world.held() {
            world.release(&grant);
        }
        assert_eq!(world.held(), Vec::<String>::new());
        let free = world.ok("queue", json!({}))["free"]["cpu"].as_u64().unwrap_or(0);
        assert_eq!(free, capacity);
    }
    assert!(grants == 3 && spent > 0);
}

/// The records of a ledger.
fn payloads(storage: &MemoryStorage) -> Vec<Vec<u8>> {
    let mut payloads = vec![];
    let journal = Journal::open(storage.clone(), LEDGER, &[]).unwrap();
    let read = journal.read(|payload| {
        payloads.push(payload.to_vec());
        true
    });
    read.unwrap();
    payloads
}

#[test]
fn a_record_changed_missing_or_out_of_order_is_found() {
    let storage = MemoryStorage::new();
    some_ledger(&storage);
    let payloads = payloads(&storage);
    assert!(matches!(Record::decode(&payloads[1]).unwrap(), (2, Record::Configured(_))));
    let last = payloads.len() - 1;
    let altered: [Alter; 3] = [
        |list, last| {
            // The same number, and other contents.
            let (index, _) = Record::decode(&list[last]).unwrap();
            let (_, earlier) = Record::decode(&list[last - 1]).unwrap();
            list.push(earlier.encode(index).unwrap());
        },
        |list, last| {
            list.remove(last - 1);
        },
        |list, last| list.swap(last, last - 1),
    ];
    for alter in altered {
        let (storage, mut list) = (MemoryStorage::new(), payloads.clone());
        alter(&mut list, last);
        Journal::open(storage.clone(), LEDGER, &list).unwrap();
        assert_eq!(Arbiter::open(storage).err().unwrap().code, Code::Corrupt);
    }
}

#[test]
fn many_calls_share_one_sync() {
    let storage = MemoryStorage::new();
    let mut world = some_ledger(&storage);
    let before = storage.syncs();
    let calls: Vec<u64> = (0..50)
        .map(|n| {
            world.send("charge", charge(&format!("c{n}"), "r", json!({"money": 1}), json!({})))
        })
        .collect();
    assert!(calls.iter().all(|call| world.answered(*call).is_none()));
    // What is asked while they wait for the disk waits with them.
    let asked = world.send("budgets", json!({"run": "r"}));
    world.settle();
    assert_eq!(storage.syncs(), before + 1);
    assert_eq!(world.granted(asked)["budgets"][0]["spent"], 62);
    world.settle();
    assert_eq!(storage.syncs(), before + 1);
}
