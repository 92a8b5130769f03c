//! One fault at every place, and a crash at every place: nothing is lost, nothing is freed that may not be, and
//! the work goes on afterwards.
//!
//! `SYMPHONY_HISTORIES` set: at really every place; else at some.
#![allow(clippy::unwrap_used)] // A test may panic.

mod harness;

use harness::world::{Fault, COLD, FAULTS};
use harness::*;
use serde_json::json;
use symphony_journal::memory::MemoryStorage;
use symphony_journal::{Medium, Storage};
use symphony_member::Reference;
use symphony_stale::Archive;
use symphony_wire::Code;

/// An old file and an old folder of an ended run, and one that is needed.
fn world(cold: bool) -> Rig {
    let mut rig = Rig::new();
    if cold {
        let disk = MemoryStorage::new();
        rig.world.cold = Some(Archive::open(disk.clone()).unwrap());
        rig.world.cold_disk = Some(disk);
        rig.ok("configure", json!({"archive": COLD}));
    }
    let made = json!({"run": "a", "step": "s", "player": "p"});
    rig.world.put(b"an old file", made.clone());
    rig.world.put_folder(&[("x", b"file x"), ("y", b"file y")], made);
    let needed = rig.world.put(b"needed", json!({"run": "b"}));
    rig.world.runs.insert("a".into(), ("succeeded".into(), vec![]));
    rig.world.runs.insert("c".into(), ("open".into(), vec![needed]));
    rig.pass(40);
    rig
}

/// Runs until everything is freed that may be.
fn finish(rig: &mut Rig) {
    for id in ["x", "y", "z", "w"] {
        let done = rig.run(id);
        assert!(done.get("stopped").is_none(), "{done}");
        rig.pass(2);
    }
    assert_eq!(rig.world.blobs.len(), 1, "only what is needed is left");
    assert_eq!(rig.world.blobs.keys().next(), Some(&Reference::of(b"needed")));
    rig.world.nothing_is_lost();
    let restored = rig.ok("restore", json!({"id": "back", "run": "a", "ts": rig.ts()}));
    assert_eq!(restored["missing"], json!([]), "{restored}");
    assert_eq!(rig.world.blobs.len(), 5);
}

/// Prime to most rhythms, so that every kind of question has its turn.
fn stride() -> usize {
    if std::env::var_os("SYMPHONY_HISTORIES").is_some() {
        1
    } else {
        5
    }
}

/// How many questions two runs ask.
fn questions() -> usize {
    let mut rig = world(true);
    rig.run("1");
    rig.pass(2);
    rig.run("2");
    assert_eq!(rig.world.blobs.len(), 1);
    rig.world.asked.len()
}

#[test]
fn any_fault_at_any_question_loses_nothing_and_passes() {
    let questions = questions();
    assert!(questions > 60, "{questions}");
    for fault in FAULTS {
        // What an archive does to the bytes is tried at every question.
        let stride = if fault == Fault::Flipped { 1 } else { stride() };
        for at in (0..questions).step_by(stride) {
            let mut rig = world(true);
            rig.world.faults.insert(at, fault);
            rig.run("1");
            rig.pass(2);
            rig.run("2");
            rig.world.faults.clear();
            rig.world.nothing_is_lost();
            finish(&mut rig);
        }
    }
}

#[test]
fn an_uncertain_answer_of_store_or_tracker_frees_nothing_in_that_run() {
    let calm = {
        let mut rig = world(true);
        rig.run("1");
        rig.pass(2);
        let before = rig.world.asked.len();
        rig.run("2");
        let asked = rig.world.asked.split_off(before);
        let sweep = asked.iter().position(|it| it.ends_with("sweep")).unwrap();
        // What the archive says is of one artifact: that one stays.
        let others = asked[..sweep].iter().enumerate().filter(|(_, it)| !it.starts_with(COLD));
        others.map(|(number, _)| before + number).collect::<Vec<_>>()
    };
    for at in calm {
        for fault in [Fault::Away, Fault::Late, Fault::Garbled, Fault::Short] {
            let mut rig = world(true);
            rig.run("1");
            rig.pass(2);
            rig.world.faults.insert(at, fault);
            let done = rig.run("2");
            assert!(done["stopped"].is_string(), "{fault:?} at {at}: {done}");
            if matches!(fault, Fault::Away) {
                assert_eq!(done["code"], "deadline", "who was late may answer next time: {done}");
            }
            assert_eq!(rig.world.sweeps, 0, "{fault:?} at {at}");
        }
    }
}

#[test]
fn a_copy_that_was_damaged_after_it_was_archived_keeps_what_it_was_made_of() {
    let mut rig = world(true);
    rig.run("1");
    rig.pass(2);
    let old = Reference::of(b"an old file");
    let disk = rig.world.cold_disk.clone().unwrap();
    let copy = disk.open(&old.hex()).unwrap().unwrap();
    copy.write_at(3, b"_").unwrap();
    let done = rig.run("2");
    assert_eq!(done["failed"][0]["ref"], json!(old.to_string()), "{done}");
    assert!(rig.world.blobs.contains_key(&old));
    rig.world.nothing_is_lost();
}

#[test]
fn a_crash_after_any_answer_loses_nothing_and_the_work_goes_on() {
    for cold in [true, false] {
        let mut at = 0;
        loop {
            let mut rig = world(cold);
            let mut left = at;
            let mut crashed = false;
            'runs: for id in ["1", "2"] {
                let call = rig.start("run", &json!({"id": id, "ts": rig.ts()}));
                while !rig.answers.contains_key(&call) {
                    if left == 0 {
                        // The next question reaches its receiver, its answer nobody.
                        if let Some((_, ask)) = rig.asks.pop_front() {
                            let _ = rig.world.answer(&ask);
                        }
                        rig = rig.crash();
                        crashed = true;
                        break 'runs;
                    }
                    left -= 1;
                    rig.step();
                }
                rig.pass(2);
            }
            rig.world.nothing_is_lost();
            finish(&mut rig);
            if !crashed {
                break;
            }
            at += stride();
        }
        assert!(at > 30, "{at}");
    }
}

#[test]
fn a_disk_that_dies_at_any_change_frees_nothing_without_a_proof_on_it() {
    for changes in 0..60 {
        let mut rig = world(false);
        rig.storage.set_fuse(Some(changes));
        for id in ["1", "2"] {
            let _ = rig.call("run", json!({"id": id, "ts": rig.ts()}));
            rig.pass(2);
        }
        let mut rig = rig.crash();
        let proofs = rig.ok("proofs", json!({}))["proofs"].as_array().unwrap().len();
        assert!(rig.world.swept.len() <= proofs, "after {changes}");
        finish(&mut rig);
    }
}

#[test]
fn a_flush_that_fails_is_an_io_error_and_asks_nothing_that_rested_on_it() {
    let mut rig = world(false);
    rig.storage.set_syncs_fail(true);
    assert_eq!(rig.code("run", json!({"id": "1", "ts": rig.ts()})), Code::Io);
    assert!(!rig.world.asked.iter().any(|it| it.ends_with("mark") || it.ends_with("sweep")));
    let note = json!({"id": "n", "run": "a", "outcome": "failed", "ts": ts(0)});
    assert_eq!(rig.code("note", note.clone()), Code::Io);
    rig.storage.set_syncs_fail(false);
    rig.ok("note", note);
    finish(&mut rig);
}

#[test]
fn a_run_that_is_cancelled_goes_on_when_it_is_asked_for_again() {
    for steps in (0..60).step_by(7) {
        let mut rig = world(true);
        let call = rig.start("run", &json!({"id": "1", "ts": rig.ts()}));
        for _ in 0..steps {
            rig.step();
        }
        if !rig.answers.contains_key(&call) {
            rig.cancel(call);
            assert_eq!(rig.answers.remove(&call).unwrap().unwrap_err().code, Code::Cancelled);
        }
        rig.asks.clear();
        finish(&mut rig);
    }
}

#[test]
fn an_archive_that_lost_what_it_had_is_noticed_before_anything_is_freed() {
    let mut rig = world(false);
    rig.run("1");
    let lost = Reference::of(b"an old file");
    rig.built_in.put(&lost.hex(), b"an".to_vec());
    let mut rig = rig.crash();
    rig.pass(2);
    let done = rig.run("2");
    assert_eq!(done["failed"][0]["ref"], lost.to_string(), "{done}");
    assert!(rig.world.blobs.contains_key(&lost));
    finish(&mut rig);
}

#[test]
fn a_journal_that_began_anew_says_the_same() {
    let mut long = world(false);
    long.run("1");
    long.pass(2);
    long.run("2");
    let pin = json!({"run": "q", "who": "me", "why": "x", "ts": ts(0)});
    long.ok("pin", pin.clone());
    let hold = json!({"name": "h", "runs": ["q"], "who": "me", "why": "x", "ts": ts(0)});
    long.ok("hold", hold);
    let said = |rig: &mut Rig| {
        let again = rig.run("2");
        let proofs = rig.ok("proofs", json!({}));
        (again, proofs, rig.ok("report", json!({})))
    };
    let mut long = long.crash();
    let expected = said(&mut long);
    long.compact_from = 1;
    let mut short = long.crash();
    short.ok("pin", pin);
    let bytes = short.storage.bytes(FILE).len();
    let mut short = short.crash();
    assert_eq!(said(&mut short), expected);
    assert!(bytes > 0);
}

#[test]
fn every_beginning_of_a_journal_is_a_valid_state() {
    let mut before = world(false);
    let hold = json!({"name": "h", "runs": ["q"], "who": "me", "why": "x", "ts": ts(0)});
    before.ok("hold", hold);
    before.ok("note", json!({"id": "n", "run": "a", "outcome": "succeeded", "ts": ts(0)}));
    before.run("1");
    let whole = before.storage.bytes(FILE);
    let (mut at, mut proofs, mut beginnings) = (0, 0, 0);
    while at < whole.len() {
        at += 8 + u32::from_le_bytes(whole[at..at + 4].try_into().unwrap()) as usize;
        let disk = MemoryStorage::new();
        disk.put(FILE, whole[..at].to_vec());
        // Nothing was freed by then, so the world is the one before.
        let mut rig = Rig::open(&disk, &before.built_in, world(false).world, 64 << 20);
        let known = rig.ok("report", json!({}))["proofs"].as_u64().unwrap();
        assert!(known >= proofs, "{known} proofs after {proofs}");
        proofs = known;
        finish(&mut rig);
        beginnings += 1;
    }
    assert!(beginnings > 8 && proofs == 4, "{beginnings} {proofs}");
}

#[test]
fn a_flipped_bit_is_seen_and_the_store_is_not_opened() {
    let mut rig = world(false);
    rig.run("1");
    let whole = rig.storage.bytes(FILE);
    for bit in (0..(whole.len() / 2) * 8).step_by(101) {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let disk = MemoryStorage::new();
        disk.put(FILE, flipped);
        let archive = Archive::open(MemoryStorage::new()).unwrap();
        assert_eq!(symphony_stale::Curator::open(disk, archive).err().unwrap().code, Code::Corrupt);
    }
}

#[test]
fn a_run_that_opens_while_the_curator_works_is_seen_before_the_sweep() {
    let mut rig = world(true);
    rig.run("1");
    rig.pass(2);
    let call = rig.start("run", &json!({"id": "2", "ts": rig.ts()}));
    let needed = Reference::of(b"an old file");
    let mut looks = 0;
    while !rig.answers.contains_key(&call) {
        let first_page = |ask: &symphony_wire::reactor::Ask| {
            ask.method == "runs" && !ask.body.windows(6).any(|it| it == b"before")
        };
        looks += usize::from(rig.asks.front().is_some_and(|(_, ask)| first_page(ask)));
        if looks == 3 {
            // After both looks, and without a word to the store.
            rig.world.runs.insert("late".into(), ("open".into(), vec![needed]));
        }
        rig.step();
    }
    assert!(looks >= 3 && rig.world.blobs.contains_key(&needed));
    assert!(rig.world.sweeps > 0);
}
