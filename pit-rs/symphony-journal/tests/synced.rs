//! What becomes of a tail that the power cut harmed: whoever knows that nobody was told of it does without it.
#![allow(clippy::unwrap_used)] // A test may panic.

use proptest::prelude::*;
use proptest::sample::Index;
use symphony_journal::memory::MemoryStorage;
use symphony_journal::{frame, Journal, LogError, Storage};

const NAME: &str = "log";
const COMPANION: &str = "log.synced";

type Opened = Result<Journal<MemoryStorage>, LogError>;

fn open(storage: &MemoryStorage) -> Opened {
    Journal::open(storage.clone(), NAME, &payloads(&["first"]))
}

fn payloads(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn contents(journal: &Journal<MemoryStorage>) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let read = journal.read(|payload| {
        found.push(payload.to_vec());
        true
    });
    read.unwrap();
    found
}

fn file_of(payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    payloads.iter().for_each(|payload| frame::encode(payload, &mut bytes));
    bytes
}

/// A journal of `first`, `one`, `two`, all acknowledged.
fn some_journal() -> (MemoryStorage, Vec<Vec<u8>>) {
    let storage = MemoryStorage::new();
    let mut journal = open(&storage).unwrap();
    journal.commit(&payloads(&["one"])).unwrap();
    journal.commit(&payloads(&["two"])).unwrap();
    (storage, payloads(&["first", "one", "two"]))
}

/// Everything that a power cut makes of bytes on their way to the disk.
fn harmed(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![[bytes, bytes].concat()];
    for at in 0..bytes.len() {
        all.push(bytes[..at].to_vec());
        all.push([&bytes[..at], &vec![0; bytes.len() - at]].concat());
        for bit in 0..8 {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1 << bit;
            all.push(flipped);
        }
    }
    all
}

/// Whether these are the acknowledged records and of the later ones a beginning, or all of them twice.
fn is_sound(found: &[Vec<u8>], acknowledged: &[Vec<u8>], later: &[Vec<u8>]) -> bool {
    let twice = [later, later].concat();
    found.strip_prefix(acknowledged).is_some_and(|tail| twice.starts_with(tail))
}

#[test]
fn a_harmed_tail_of_which_nobody_was_told_is_set_aside_and_the_journal_goes_on() {
    let (storage, acknowledged) = some_journal();
    let companion = storage.bytes(COMPANION);
    let before = file_of(&acknowledged);
    let later = payloads(&["three", "four", "five"]);
    for tail in harmed(&file_of(&later)) {
        let storage = MemoryStorage::new();
        storage.put(COMPANION, companion.clone());
        storage.put(NAME, [&before[..], &tail].concat());
        let mut journal = open(&storage).unwrap();
        let found = contents(&journal);
        assert!(is_sound(&found, &acknowledged, &later), "{tail:?}: {found:?}");
        let kept = [file_of(&found), storage.bytes("log.torn")].concat();
        assert_eq!(kept, [&before[..], &tail].concat());
        journal.commit(&payloads(&["next"])).unwrap();
        storage.cut_power();
        let next = [found, payloads(&["next"])].concat();
        assert_eq!(contents(&open(&storage).unwrap()), next);
    }
}

#[test]
fn the_same_harm_to_what_was_acknowledged_is_corruption_and_nothing_is_cut() {
    let (storage, acknowledged) = some_journal();
    let companion = storage.bytes(COMPANION);
    let before = file_of(&acknowledged[..2]);
    let last = file_of(&acknowledged[2..]);
    let behind = [vec![], file_of(&payloads(&["behind"]))];
    for tail in
        harmed(&last).into_iter().filter(|tail| !tail.is_empty() && !tail.starts_with(&last))
    {
        for behind in &behind {
            let storage = MemoryStorage::new();
            let file = [&before[..], &tail, behind].concat();
            storage.put(COMPANION, companion.clone());
            storage.put(NAME, file.clone());
            match open(&storage) {
                Err(LogError::Corrupt { at }) => assert_eq!(at as usize, before.len()),
                other => panic!("{tail:?}: {other:?}"),
            }
            assert_eq!((storage.bytes(NAME), storage.bytes("log.torn")), (file, vec![]));
        }
    }
}

#[test]
fn without_a_companion_of_its_own_a_tail_that_no_torn_write_leaves_is_corruption() {
    let (storage, acknowledged) = some_journal();
    let other = MemoryStorage::new();
    drop(Journal::open(other.clone(), NAME, &payloads(&["other"])).unwrap());
    let mut damaged = storage.bytes(COMPANION);
    damaged.iter_mut().filter(|byte| **byte != 0).for_each(|byte| *byte ^= 1);
    let mut file = [file_of(&acknowledged), file_of(&payloads(&["three"]))].concat();
    *file.last_mut().unwrap() ^= 1;
    for companion in [None, Some(other.bytes(COMPANION)), Some(damaged), Some(vec![7; 90])] {
        let storage = MemoryStorage::new();
        storage.put(NAME, file.clone());
        companion.into_iter().for_each(|companion| storage.put(COMPANION, companion));
        assert!(matches!(open(&storage), Err(LogError::Corrupt { .. })));
        assert_eq!(storage.bytes(NAME), file);
    }
    // Of one that is blank the name reached the disk before the contents.
    for blank in [vec![], vec![0; 540]] {
        let storage = MemoryStorage::new();
        storage.put(NAME, file.clone());
        storage.put(COMPANION, blank);
        assert_eq!(contents(&open(&storage).unwrap()), acknowledged);
    }
}

#[test]
fn a_journal_that_lost_what_was_acknowledged_is_refused_and_nothing_is_changed() {
    let (storage, acknowledged) = some_journal();
    let companion = storage.bytes(COMPANION);
    for left in [0, 1, 2] {
        let storage = MemoryStorage::new();
        storage.put(COMPANION, companion.clone());
        let file = file_of(&acknowledged[..left]);
        storage.put(NAME, file.clone());
        let whole = file_of(&acknowledged).len() as u64;
        match open(&storage) {
            Err(LogError::Lost { acknowledged, found }) => {
                assert_eq!((acknowledged, found), (whole, file.len() as u64));
            }
            other => panic!("{left}: {other:?}"),
        }
        assert_eq!((storage.bytes(NAME), storage.bytes(COMPANION)), (file, companion.clone()));
    }
    storage.remove(NAME).unwrap();
    assert!(matches!(open(&storage), Err(LogError::Lost { found: 0, .. })));
    assert!(!storage.names().unwrap().contains(&NAME.to_owned()));
    storage.remove(COMPANION).unwrap();
    assert_eq!(contents(&open(&storage).unwrap()), payloads(&["first"]), "begun anew on purpose");
}

#[test]
fn a_power_cut_at_any_moment_of_the_beginning_leaves_what_can_be_opened() {
    for changes in 0.. {
        let after_names = [false, true];
        let mut is_whole = false;
        for names in after_names {
            let storage = MemoryStorage::new();
            storage.set_fuse(Some(changes));
            is_whole = open(&storage).is_ok() && !storage.is_burnt();
            let companion = storage.bytes(COMPANION);
            let named = storage.names().unwrap().contains(&COMPANION.to_owned());
            if names {
                storage.cut_power_after_names()
            } else {
                storage.cut_power()
            }
            if named && changes % 2 == 0 {
                storage.put(COMPANION, companion); // the system had written it of its own accord
            }
            assert_eq!(contents(&open(&storage).unwrap()), payloads(&["first"]), "{changes}");
        }
        if is_whole {
            break;
        }
    }
}

#[test]
fn one_torn_slot_leaves_the_other() {
    let (storage, acknowledged) = some_journal();
    let whole = storage.bytes(COMPANION);
    for slot in [0..28, 512..540] {
        let storage = MemoryStorage::new();
        let mut torn = whole.clone();
        torn[slot].fill(9);
        storage.put(COMPANION, torn);
        storage.put(NAME, [&file_of(&acknowledged)[..], &[9; 30]].concat());
        assert_eq!(contents(&open(&storage).unwrap()), acknowledged);
    }
}

#[test]
fn a_journal_of_a_former_version_gets_a_companion_and_one_put_back_is_opened() {
    let (_, acknowledged) = some_journal();
    let storage = MemoryStorage::new();
    storage.put(NAME, file_of(&acknowledged));
    drop(open(&storage).unwrap());
    storage.cut_power();
    storage.put(NAME, [&file_of(&acknowledged)[..], &[9; 30]].concat());
    assert_eq!(contents(&open(&storage).unwrap()), acknowledged);
    // From a backup: shorter, and whole, and whoever puts it back takes the companion away.
    storage.put(NAME, file_of(&acknowledged[..2]));
    storage.remove(COMPANION).unwrap();
    let mut journal = open(&storage).unwrap();
    assert_eq!(contents(&journal), acknowledged[..2]);
    journal.commit(&payloads(&["2"])).unwrap();
    storage.put(NAME, [&storage.bytes(NAME)[..], &[9; 30]].concat());
    assert_eq!(contents(&open(&storage).unwrap()), payloads(&["first", "one", "2"]));
}

#[test]
fn a_commit_makes_no_further_sync() {
    let (storage, _) = some_journal();
    let mut journal = open(&storage).unwrap();
    let before = storage.syncs();
    journal.commit(&payloads(&["three"])).unwrap();
    assert_eq!(storage.syncs(), before + 1);
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Vec<u8>>),
    Anew(Vec<Vec<u8>>),
    Killed,
    /// The power goes before these are on disk: what is left of them, and whether the system had written the
    /// companion.
    PowerCut(Vec<Vec<u8>>, Index, bool),
    /// Of what was acknowledged a bit is flipped, while no power went.
    Rot(Index, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let batch = || prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 1..4);
    prop_oneof![
        4 => batch().prop_map(Step::Commit),
        1 => batch().prop_map(Step::Anew),
        1 => Just(Step::Killed),
        3 => (batch(), any::<Index>(), any::<bool>())
            .prop_map(|(batch, harm, written)| Step::PowerCut(batch, harm, written)),
        1 => (any::<Index>(), 0_u8..8).prop_map(|(at, bit)| Step::Rot(at, bit)),
    ]
}

proptest! {
    #[test]
    fn no_history_loses_what_was_acknowledged_or_ends_in_refusal(
        steps in prop::collection::vec(step(), 1..25),
    ) {
        let storage = MemoryStorage::new();
        let mut journal = open(&storage).unwrap();
        let mut acknowledged = payloads(&["first"]);
        for step in steps {
            match step {
                Step::Commit(batch) => {
                    journal.commit(&batch).unwrap();
                    acknowledged.extend(batch);
                }
                Step::Anew(snapshot) => {
                    journal.begin_anew(&snapshot).unwrap();
                    acknowledged = snapshot;
                }
                Step::Killed => {
                    drop(journal);
                    journal = open(&storage).unwrap();
                }
                Step::PowerCut(batch, harm, written) => {
                    let companion = storage.bytes(COMPANION);
                    // The write comes through, its sync does not.
                    storage.set_fuse(Some(1));
                    prop_assert!(journal.commit(&batch).is_err());
                    drop(journal);
                    storage.cut_power();
                    prop_assert_eq!(storage.bytes(NAME), file_of(&acknowledged));
                    if written {
                        storage.put(COMPANION, companion);
                    }
                    let tails = harmed(&file_of(&batch));
                    let tail = &tails[harm.index(tails.len())];
                    storage.put(NAME, [&file_of(&acknowledged)[..], tail].concat());
                    journal = open(&storage).unwrap();
                    let found = contents(&journal);
                    prop_assert!(is_sound(&found, &acknowledged, &batch));
                    acknowledged = found;
                }
                Step::Rot(at, bit) => {
                    drop(journal);
                    let whole = storage.bytes(NAME);
                    let mut rotten = whole.clone();
                    rotten[at.index(whole.len())] ^= 1 << bit;
                    storage.put(NAME, rotten.clone());
                    let refused = matches!(open(&storage), Err(LogError::Corrupt { .. }));
                    prop_assert!(refused);
                    prop_assert_eq!(storage.bytes(NAME), rotten);
                    storage.put(NAME, whole);
                    journal = open(&storage).unwrap();
                }
            }
            prop_assert_eq!(contents(&journal), &acknowledged[..]);
        }
    }
}
