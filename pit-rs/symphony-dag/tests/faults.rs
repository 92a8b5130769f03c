//! What is left of runs when the disk tears, flips, doubles, fills up or loses power.
#![allow(clippy::unwrap_used)] // A test may panic.

mod harness;

use harness::*;
use serde_json::{json, Value};
use symphony_journal::memory::MemoryStorage;
use symphony_journal::Storage;
use symphony_wire::service::Service;
use symphony_wire::Code;

const FILE: &str = "r.journal";
const COMPANION: &str = "r.journal.synced";

/// A run of which step a is done, c skipped with d in the cascade, and another, untouched run.
fn some_runs() -> MemoryStorage {
    let storage = MemoryStorage::new();
    let mut dag = in_memory(&storage);
    dag.open("other", diamond());
    dag.open("r", diamond());
    dag.start("r", "a");
    dag.complete("r", "a");
    dag.ok("skip", json!({"run": "r", "step": "c", "reason": "x", "ts": TS}));
    storage
}

/// Where each record of the file ends.
fn ends(file: &[u8]) -> Vec<usize> {
    let mut ends = vec![];
    let mut at = 0;
    while at < file.len() {
        at += 8 + u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        ends.push(at);
    }
    ends
}

#[test]
fn a_last_record_torn_at_any_byte_is_cut_off_reported_and_the_run_goes_on() {
    let whole = some_runs().bytes(FILE);
    let ends = ends(&whole);
    assert_eq!(ends.len(), 5);
    for length in ends[3] + 1..ends[4] {
        let storage = MemoryStorage::new();
        storage.put(FILE, whole[..length].to_vec());
        let mut dag = in_memory(&storage);
        let state = dag.state("r");
        assert_eq!((&state["last"], &state["cut"]), (&json!(4), &json!(length - ends[3])));
        assert_eq!(storage.bytes("r.journal.torn"), whole[ends[3]..length]);
        assert_eq!(dag.states("r"), ["succeeded", "ready", "skipped", "pending"]);
        // The cascade that the tear cut short is completed before anything else is written.
        dag.ok("resume", json!({"run": "r", "ts": TS}));
        assert_eq!(dag.kinds("r")[3..], ["skipped", "skipped", "resumed"]);
        assert_eq!(dag.states("r")[3], "skipped");
    }
}

#[test]
fn a_repeated_call_completes_a_cascade_that_was_cut_short_and_gives_the_same_reply() {
    let storage = some_runs();
    let whole = storage.bytes(FILE);
    let skip = json!({"run": "r", "step": "c", "reason": "x", "ts": TS});
    let first = in_memory(&storage).ok("skip", skip.clone());
    storage.put(FILE, whole[..ends(&whole)[3]].to_vec());
    storage.remove(COMPANION).unwrap();
    let mut dag = in_memory(&storage);
    assert_eq!(dag.ok("skip", skip), first);
    assert_eq!(dag.kinds("r").len(), 5);
    assert_eq!(storage.bytes(FILE), whole);
}

#[test]
fn a_torn_record_that_cannot_be_kept_is_not_cut_off() {
    let whole = some_runs().bytes(FILE);
    let storage = MemoryStorage::new();
    let torn = &whole[..whole.len() - 3];
    storage.put(FILE, torn.to_vec());
    storage.set_capacity(Some(torn.len()));
    let mut dag = in_memory(&storage);
    assert_eq!(dag.code("state", json!({"run": "r"})), Code::Io);
    assert_eq!(storage.bytes(FILE), torn);
    storage.set_capacity(None);
    assert_eq!(dag.state("r")["last"], 4);
}

#[test]
fn a_journal_without_a_whole_record_is_corrupt_and_stays_as_it_is() {
    let whole = some_runs().bytes("other.journal");
    for length in 1..whole.len() {
        let storage = MemoryStorage::new();
        storage.put(FILE, whole[..length].to_vec());
        let mut dag = in_memory(&storage);
        assert_eq!(dag.ok("runs", json!({}))["runs"][0]["state"], "corrupt");
        assert_eq!(dag.code("state", json!({"run": "r"})), Code::Corrupt);
        assert_eq!(dag.code("open", opening("r", diamond())), Code::Corrupt);
        assert_eq!(storage.bytes(FILE), whole[..length]);
    }
}

#[test]
fn a_first_record_torn_at_any_byte_is_no_run_and_the_name_is_free() {
    let whole = some_runs().bytes("other.journal");
    for length in 0..whole.len() {
        let storage = MemoryStorage::new();
        storage.put("r.journal.new", whole[..length].to_vec());
        let mut dag = in_memory(&storage);
        assert_eq!(dag.ok("runs", json!({})), json!({"runs": []}));
        assert_eq!(dag.code("state", json!({"run": "r"})), Code::NotFound);
        dag.open("r", diamond());
        assert_eq!(in_memory(&storage).states("r")[0], "ready");
    }
}

#[test]
fn a_bit_flipped_before_the_last_record_makes_that_run_corrupt_and_no_other() {
    let storage = some_runs();
    let whole = storage.bytes(FILE);
    for bit in (0..ends(&whole)[3] * 8).step_by(7) {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        storage.put(FILE, flipped.clone());
        let mut dag = in_memory(&storage);
        for method in ["state", "journal"] {
            let error = dag.refused(method, json!({"run": "r"}));
            assert_eq!((error.code, error.where_.as_deref()), (Code::Corrupt, Some(FILE)));
        }
        assert_eq!(dag.code("open", opening("r", diamond())), Code::Corrupt);
        assert_eq!(dag.states("other"), ["ready", "pending", "pending", "pending"]);
        let listed = dag.ok("runs", json!({}));
        let states: Vec<&Value> =
            listed["runs"].as_array().unwrap().iter().map(|run| &run["state"]).collect();
        assert!(states.contains(&&json!("corrupt")) && states.contains(&&json!("open")));
        assert_eq!(storage.bytes(FILE), flipped);
    }
}

#[test]
fn a_record_doubled_missing_or_out_of_place_makes_the_run_corrupt() {
    let storage = some_runs();
    let whole = storage.bytes(FILE);
    let ends = ends(&whole);
    let part = |from: usize, to: usize| whole[ends[from]..ends[to]].to_vec();
    for middle in [[part(0, 1), part(0, 1)].concat(), part(1, 2), [part(1, 2), part(0, 1)].concat()]
    {
        storage.put(FILE, [&whole[..ends[0]], &middle, &whole[ends[2]..]].concat());
        assert_eq!(in_memory(&storage).code("state", json!({"run": "r"})), Code::Corrupt);
    }
}

#[test]
fn a_remark_doubled_or_missing_is_seen_by_its_index() {
    let storage = some_runs();
    let mut dag = in_memory(&storage);
    let records = json!([{"kind": "noted", "ts": TS}, {"kind": "gate", "ts": TS}]);
    dag.ok("append", json!({"run": "r", "records": records}));
    let whole = storage.bytes(FILE);
    let ends = ends(&whole);
    let note = &whole[ends[4]..ends[5]];
    for middle in [[note, note].concat(), vec![]] {
        storage.put(FILE, [&whole[..ends[4]], &middle, &whole[ends[5]..]].concat());
        assert_eq!(in_memory(&storage).code("state", json!({"run": "r"})), Code::Corrupt);
    }
}

#[test]
fn a_last_write_that_stands_there_twice_is_taken_once_and_the_run_goes_on() {
    let whole = some_runs().bytes(FILE);
    let ends = ends(&whole);
    for from in [0, ends[0], ends[2], ends[3]] {
        let storage = MemoryStorage::new();
        storage.put(FILE, [&whole[..], &whole[from..]].concat());
        let mut dag = in_memory(&storage);
        let listed = &dag.ok("runs", json!({}))["runs"][0];
        assert_eq!((&listed["state"], &listed["ended"]), (&json!("open"), &json!(3)));
        let state = dag.state("r");
        let cut = whole.len() - from;
        assert_eq!((&state["last"], &state["cut"]), (&json!(5), &json!(cut)));
        assert_eq!(storage.bytes("r.journal.torn"), whole[from..]);
        assert_eq!(storage.bytes(FILE), whole);
        dag.start("r", "b");
        dag.complete("r", "b");
        assert_eq!(in_memory(&storage).state("r")["last"], 7);
    }
}

#[test]
fn an_end_that_only_resembles_what_stands_before_it_is_corrupt_and_stays() {
    let storage = some_runs();
    in_memory(&storage)
        .ok("append", json!({"run": "r", "records": [{"kind": "noted", "ts": TS, "data": "1"}]}));
    let whole = storage.bytes(FILE);
    let ends = ends(&whole);
    let mut note = whole[ends[4] + 8..].to_vec();
    *note.last_mut().unwrap() = b'2';
    let mut other = vec![];
    symphony_journal::frame::encode(&note, &mut other);
    let (last, before) = (&whole[ends[4]..], &whole[ends[3]..ends[4]]);
    for tail in [&other[..], before, &[last, last].concat(), &[last, before].concat()] {
        let storage = MemoryStorage::new();
        let file = [&whole[..], tail].concat();
        storage.put(FILE, file.clone());
        assert_eq!(in_memory(&storage).code("state", json!({"run": "r"})), Code::Corrupt);
        assert_eq!((storage.bytes(FILE), storage.bytes("r.journal.torn")), (file, vec![]));
    }
}

#[test]
fn a_flipped_bit_in_what_nobody_was_told_of_is_cut_off_and_in_the_rest_is_corrupt() {
    let storage = some_runs();
    let acknowledged = storage.bytes(FILE).len();
    let companion = storage.bytes(COMPANION);
    let mut dag = in_memory(&storage);
    dag.start("r", "b");
    dag.complete("r", "b");
    let (whole, later) = (storage.bytes(FILE), storage.bytes(COMPANION));
    for bit in (acknowledged * 8..whole.len() * 8).step_by(5) {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        for (said, told) in [(&companion, false), (&later, true)] {
            let storage = MemoryStorage::new();
            storage.put(FILE, flipped.clone());
            storage.put(COMPANION, said.clone());
            let mut dag = in_memory(&storage);
            if told {
                assert_eq!(dag.code("state", json!({"run": "r"})), Code::Corrupt);
                assert_eq!(storage.bytes(FILE), flipped);
                continue;
            }
            let last = dag.state("r")["last"].as_u64().unwrap();
            assert!((5..7).contains(&last), "{last}");
            assert!(whole.starts_with(&storage.bytes(FILE)));
            dag.ok("finish", json!({"run": "r", "outcome": "aborted", "ts": TS}));
            assert_eq!(in_memory(&storage).state("r")["last"], last + 1);
        }
    }
}

#[test]
fn a_run_from_before_gets_a_companion_and_a_finished_one_keeps_it() {
    let former = some_runs().bytes(FILE);
    let storage = MemoryStorage::new();
    storage.put(FILE, former);
    let mut dag = in_memory(&storage);
    dag.start("r", "b");
    dag.complete("r", "b");
    assert!(!storage.bytes(COMPANION).is_empty());
    dag.ok("finish", json!({"run": "r", "outcome": "succeeded", "ts": TS}));
    assert_eq!(in_memory(&storage).state("r")["state"], "succeeded");
    let whole = storage.bytes(FILE);
    for end in [0, ends(&whole)[1], ends(&whole)[5]] {
        storage.put(FILE, whole[..end].to_vec());
        let mut dag = in_memory(&storage);
        assert_eq!(dag.code("state", json!({"run": "r"})), Code::Corrupt);
        assert_eq!(storage.bytes(FILE).len(), end);
    }
    storage.remove(FILE).unwrap();
    assert_eq!(in_memory(&storage).code("state", json!({"run": "r"})), Code::Corrupt);
    storage.remove(COMPANION).unwrap();
    assert_eq!(in_memory(&storage).code("state", json!({"run": "r"})), Code::NotFound);
}

#[test]
fn a_tail_of_zeros_is_cut_off() {
    let storage = some_runs();
    let mut file = storage.bytes(FILE);
    file.extend([0; 4096]);
    storage.put(FILE, file);
    assert_eq!(in_memory(&storage).state("r")["cut"], 4096);
}

#[test]
fn every_prefix_of_a_journal_is_a_valid_state() {
    let storage = some_runs();
    let whole = storage.bytes(FILE);
    for (count, end) in (1..).zip(ends(&whole)) {
        storage.put(FILE, whole[..end].to_vec());
        storage.remove(COMPANION).unwrap();
        let mut dag = in_memory(&storage);
        assert_eq!(dag.state("r")["last"], count);
        dag.ok("finish", json!({"run": "r", "outcome": "aborted", "ts": TS}));
        assert_eq!(in_memory(&storage).state("r")["state"], "aborted");
    }
}

#[test]
fn a_full_disk_is_an_io_error_that_changes_nothing_and_passes() {
    let storage = some_runs();
    let mut dag = in_memory(&storage);
    dag.start("r", "b");
    let before = dag.state("r");
    let used = storage.bytes(FILE).len() + storage.bytes("other.journal").len();
    for room in [0, 3, 60] {
        storage.set_capacity(Some(used + room));
        assert_eq!(dag.code("complete", completion("r", "b", 1)), Code::Io);
        assert_eq!(dag.code("open", opening("new", diamond())), Code::Io);
        assert_eq!(dag.state("r"), before);
        assert_eq!(dag.code("state", json!({"run": "new"})), Code::NotFound);
        assert_eq!(dag.ok("runs", json!({}))["runs"].as_array().unwrap().len(), 2);
    }
    storage.set_capacity(None);
    assert_eq!(dag.complete("r", "b")["left"], 0);
    dag.open("new", diamond());
    let state = dag.state("r");
    storage.cut_power();
    assert_eq!(in_memory(&storage).state("r"), state);
    assert_eq!(in_memory(&storage).states("new")[0], "ready");
}

#[test]
fn after_a_failed_flush_nothing_unacknowledged_is_left_and_nothing_acknowledged_is_lost() {
    let storage = some_runs();
    let mut dag = in_memory(&storage);
    dag.start("r", "b");
    let before = dag.state("r");
    storage.set_syncs_fail(true);
    let (reply, waits) = dag.ask("complete", completion("r", "b", 1));
    assert!(reply.is_ok() && waits);
    assert!(dag.ask("open", opening("new", diamond())).1);
    // Said after the completion, so it waits and goes with it.
    let note = json!({"run": "r", "records": [{"kind": "noted", "ts": TS}]});
    assert!(dag.ask("append", note.clone()).1);
    assert_eq!(dag.0.flush().unwrap_err().code, Code::Io);
    storage.set_syncs_fail(false);
    assert_eq!(dag.state("r"), before);
    assert_eq!(dag.code("state", json!({"run": "new"})), Code::NotFound);
    assert_eq!(dag.complete("r", "b")["left"], 0);
    storage.cut_power();
    assert_eq!(in_memory(&storage).states("r"), ["succeeded", "succeeded", "skipped", "skipped"]);
}

#[test]
fn records_that_cannot_be_removed_after_a_failed_flush_are_not_shown_either() {
    let storage = some_runs();
    let mut dag = in_memory(&storage);
    dag.start("r", "b");
    let before = dag.state("r");
    storage.set_syncs_fail(true);
    storage.set_truncates_fail(true);
    assert_eq!(dag.code("complete", completion("r", "b", 1)), Code::Io);
    assert_eq!(dag.code("state", json!({"run": "r"})), Code::Io);
    assert_eq!(dag.code("complete", completion("r", "b", 1)), Code::Io);
    storage.set_syncs_fail(false);
    storage.set_truncates_fail(false);
    assert_eq!(dag.state("r"), before);
    dag.complete("r", "b");
    let state = dag.state("r");
    assert_eq!(in_memory(&storage).state("r"), state);
}

#[test]
fn whatever_was_acknowledged_as_durable_outlives_a_power_cut() {
    let storage = MemoryStorage::new();
    let mut dag = in_memory(&storage);
    dag.open("r", diamond());
    dag.start("r", "a");
    dag.complete("r", "a");
    dag.start("r", "b");
    let _ = dag.ask("complete", completion("r", "b", 1));
    storage.cut_power();
    assert_eq!(in_memory(&storage).states("r"), ["succeeded", "ready", "ready", "pending"]);
}

#[test]
fn one_flush_makes_one_sync_a_run() {
    let storage = MemoryStorage::new();
    let mut dag = in_memory(&storage);
    dag.open("p", diamond());
    dag.open("q", diamond());
    let before = storage.syncs();
    for run in ["p", "q"] {
        for kind in ["noted", "gate", "decision"] {
            let records = json!([{"kind": kind, "ts": TS}]);
            assert!(dag.ask("append", json!({"run": run, "durable": true, "records": records})).1);
        }
    }
    dag.0.flush().unwrap();
    dag.0.flush().unwrap();
    assert_eq!(storage.syncs(), before + 2);
}
