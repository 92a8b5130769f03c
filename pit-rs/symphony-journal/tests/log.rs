//! What a log promises when its disk tears, zeroes, flips, doubles, fills up or loses power.
#![allow(clippy::unwrap_used)] // A test may panic.

use proptest::prelude::*;
use symphony_journal::memory::{MemoryFile, MemoryStorage};
use symphony_journal::{frame, mark, Folder, FormatError, Log, LogError, Medium, Storage};

const NAME: &str = "log";

fn open(storage: &MemoryStorage) -> (Log<MemoryFile>, u64) {
    let (mut log, cut) = Log::open(storage.create(NAME).unwrap()).unwrap();
    log.secure().unwrap();
    (log, cut.len() as u64)
}

fn contents(log: &Log<MemoryFile>) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    log.read(0..log.count(), |payload| {
        found.push(payload.to_vec());
        true
    })
    .unwrap();
    found
}

fn file_of(payloads: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    payloads.iter().for_each(|payload| frame::encode(payload, &mut bytes));
    bytes
}

#[test]
fn the_form_on_disk_is_length_crc32c_payload() {
    // The check value of CRC-32C is 0xe3069283 over "123456789" (RFC 3720 and others).
    assert_eq!(file_of(&[b"123456789"]), b"\x09\0\0\0\x83\x92\x06\xe3123456789");
}

#[test]
fn a_last_record_torn_at_any_byte_is_cut_off_and_the_next_one_takes_its_place() {
    let before = file_of(&[b"one", b"two"]);
    let whole = file_of(&[b"one", b"two", b"three"]);
    for length in before.len()..whole.len() {
        for filler in [0, whole.len() - length] {
            let storage = MemoryStorage::new();
            let mut torn = whole[..length].to_vec();
            torn.resize(length + filler, 0);
            storage.put(NAME, torn);
            let (mut log, cut) = open(&storage);
            assert_eq!(cut as usize, length + filler - before.len());
            log.append(&[b"four".to_vec()]).unwrap();
            assert_eq!(contents(&log), [&b"one"[..], b"two", b"four"]);
            assert_eq!(storage.bytes(NAME), file_of(&[b"one", b"two", b"four"]));
        }
    }
}

#[test]
fn a_bit_flipped_before_the_last_record_is_corruption_and_nothing_is_cut_off() {
    let whole = file_of(&[b"one", b"two", b"three"]);
    let last = whole.len() - frame::HEADER - 5;
    for bit in 0..last * 8 {
        let storage = MemoryStorage::new();
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        storage.put(NAME, flipped.clone());
        match Log::open(storage.create(NAME).unwrap()) {
            Err(LogError::Corrupt { .. }) => {}
            other => panic!("bit {bit}: {other:?}"),
        }
        assert_eq!(storage.bytes(NAME), flipped);
    }
}

#[test]
fn a_file_with_bytes_and_no_record_is_corrupt_and_not_touched() {
    let mut noise: Vec<u8> = vec![];
    let mut state = 1_u32;
    while noise.len() < 5000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.push((state >> 24) as u8);
    }
    let one = file_of(&[b"one"]);
    for bytes in [vec![0; 5000], noise, one[..one.len() - 1].to_vec(), vec![3]] {
        let storage = MemoryStorage::new();
        storage.put(NAME, bytes.clone());
        match Log::open(storage.create(NAME).unwrap()) {
            Err(LogError::Corrupt { at: 0 }) => {}
            other => panic!("{} bytes: {other:?}", bytes.len()),
        }
        assert_eq!(storage.bytes(NAME), bytes);
    }
}

#[test]
fn a_tail_that_no_torn_write_leaves_is_corrupt_and_not_touched() {
    let before = file_of(&[b"one", b"two"]);
    let last = file_of(&[b"three"]);
    let mut flipped = last.clone();
    flipped[frame::HEADER] ^= 1;
    let too_long = [&last[..frame::HEADER], &[7; 6]].concat();
    for tail in [flipped, too_long, vec![255; 300]] {
        let storage = MemoryStorage::new();
        let bytes = [&before[..], &tail].concat();
        storage.put(NAME, bytes.clone());
        match Log::open(storage.create(NAME).unwrap()) {
            Err(LogError::Corrupt { at }) => assert_eq!(at as usize, before.len()),
            other => panic!("{tail:?}: {other:?}"),
        }
        assert_eq!(storage.bytes(NAME), bytes);
    }
}

#[test]
fn a_file_moves_onto_another_and_its_handle_stays_good() {
    fn check<S: Storage>(storage: &S)
    where
        S::File: std::fmt::Debug,
    {
        storage.create("b").unwrap().write_at(0, b"former").unwrap();
        let file = storage.create("a").unwrap();
        storage.rename("a", "b").unwrap();
        file.write_at(0, b"new").unwrap();
        assert_eq!(storage.names().unwrap(), ["b"]);
        let moved = storage.open("b").unwrap().unwrap();
        let mut found = [0; 3];
        moved.read_at(0, &mut found).unwrap();
        assert_eq!((moved.len().unwrap(), &found), (3, b"new"));
        assert!(storage.open("a").unwrap().is_none());
    }
    check(&MemoryStorage::new());
    check(&Folder::open(tempfile::tempdir().unwrap().path()).unwrap());
}

#[test]
fn what_is_no_plain_file_is_not_opened_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("folder")).unwrap();
    std::fs::write(at("file"), "x").unwrap();
    std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    let storage = Folder::open(folder.path()).unwrap();
    for name in ["folder", "link", "pipe"] {
        assert_eq!(
            storage.open(name).unwrap_err().kind(),
            std::io::ErrorKind::InvalidData,
            "{name}"
        );
    }
}

#[test]
fn a_full_disk_leaves_no_part_of_a_batch_and_space_makes_it_work_again() {
    let storage = MemoryStorage::new();
    let (mut log, _) = open(&storage);
    log.append(&[b"one".to_vec()]).unwrap();
    let size = storage.bytes(NAME).len();
    for room in 0..24 {
        storage.set_capacity(Some(size + room));
        assert!(log.append(&[b"two".to_vec(), b"three".to_vec()]).is_err());
        assert_eq!(storage.bytes(NAME).len(), size);
    }
    storage.set_capacity(None);
    log.append(&[b"four".to_vec()]).unwrap();
    assert_eq!(contents(&log), [&b"one"[..], b"four"]);
}

#[test]
fn remains_that_cannot_be_cut_off_are_gone_before_the_next_append() {
    let storage = MemoryStorage::new();
    let (mut log, _) = open(&storage);
    log.append(&[b"one".to_vec()]).unwrap();
    storage.set_capacity(Some(storage.bytes(NAME).len() + 6));
    storage.set_truncates_fail(true);
    assert!(log.append(&[b"two".to_vec()]).is_err());
    assert!(!log.is_sound());
    storage.set_capacity(None);
    assert!(log.append(&[b"2".to_vec()]).is_err());
    storage.set_truncates_fail(false);
    log.append(&[b"3".to_vec()]).unwrap();
    assert!(log.is_sound());
    assert_eq!(storage.bytes(NAME), file_of(&[b"one", b"3"]));
}

#[test]
fn after_a_failed_sync_only_what_was_kept_is_left() {
    let storage = MemoryStorage::new();
    let (mut log, _) = open(&storage);
    log.append(&[b"kept".to_vec()]).unwrap();
    log.keep();
    log.append(&[b"not kept".to_vec()]).unwrap();
    storage.set_syncs_fail(true);
    assert!(log.sync().is_err());
    assert!(log.rewind().is_err());
    assert_eq!(contents(&log), [b"kept"]);
    storage.set_syncs_fail(false);
    log.append(&[b"next".to_vec()]).unwrap();
    log.sync().unwrap();
    storage.sync().unwrap();
    storage.cut_power();
    assert_eq!(contents(&open(&storage).0), [b"kept", b"next"]);
}

#[test]
fn what_was_synced_outlives_a_power_cut_and_the_rest_does_not() {
    let storage = MemoryStorage::new();
    let (mut log, _) = open(&storage);
    storage.sync().unwrap();
    log.append(&[b"one".to_vec()]).unwrap();
    log.sync().unwrap();
    log.append(&[b"two".to_vec()]).unwrap();
    storage.cut_power();
    assert_eq!(contents(&open(&storage).0), [b"one"]);
}

#[test]
fn opening_makes_durable_what_a_killed_process_left_behind() {
    let storage = MemoryStorage::new();
    storage.sync().unwrap();
    let (mut log, _) = open(&storage);
    storage.sync().unwrap();
    log.append(&[b"one".to_vec()]).unwrap();
    drop(log);
    drop(open(&storage));
    storage.cut_power();
    assert_eq!(contents(&open(&storage).0), [b"one"]);
}

#[test]
fn a_sync_that_fails_while_opening_is_made_up_for_later() {
    let storage = MemoryStorage::new();
    let (mut log, _) = open(&storage);
    storage.sync().unwrap();
    log.append(&[b"one".to_vec()]).unwrap();
    storage.set_syncs_fail(true);
    let (mut log, _) = Log::open(storage.create(NAME).unwrap()).unwrap();
    assert!(log.secure().is_err() && !log.is_sound());
    storage.set_syncs_fail(false);
    log.secure().unwrap();
    storage.cut_power();
    assert_eq!(contents(&open(&storage).0), [b"one"]);
}

#[test]
fn many_appends_share_one_sync_and_a_clean_log_needs_none() {
    let storage = MemoryStorage::new();
    let (mut log, _) = open(&storage);
    let before = storage.syncs();
    (0..50).for_each(|_| log.append(&[b"x".to_vec()]).unwrap());
    log.sync().unwrap();
    log.sync().unwrap();
    assert_eq!(storage.syncs(), before + 1);
}

#[test]
fn a_folder_is_marked_once_and_refused_by_whoever_does_not_know_its_format() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b");
    mark(&path, "symphony-x", 1).unwrap();
    assert_eq!(std::fs::read_to_string(path.join("format")).unwrap(), "symphony-x 1\n");
    mark(&path, "symphony-x", 2).unwrap();
    assert_eq!(std::fs::read_to_string(path.join("format")).unwrap(), "symphony-x 1\n");
    assert!(matches!(mark(&path, "symphony-y", 1), Err(FormatError::Foreign(_))));
    std::fs::write(path.join("format"), "symphony-x 2\n").unwrap();
    assert!(matches!(mark(&path, "symphony-x", 1), Err(FormatError::Newer(2))));
}

#[test]
fn a_store_without_its_format_is_refused_and_not_marked_anew() {
    let digits = "0f".repeat(32);
    for held in ["a.journal", "runs.synced", "runs/r.journal", &digits, &format!("cold/{digits}")] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for name in ["pid", "format.new", "notes.txt", "tmp/notes.txt"] {
            std::fs::create_dir_all(path.join(name).parent().unwrap()).unwrap();
            std::fs::write(path.join(name), "").unwrap();
        }
        mark(path, "symphony-x", 1).unwrap();
        std::fs::remove_file(path.join("format")).unwrap();
        std::fs::create_dir_all(path.join(held).parent().unwrap()).unwrap();
        std::fs::write(path.join(held), "").unwrap();
        assert!(matches!(mark(path, "symphony-x", 1), Err(FormatError::Missing)), "{held}");
        assert!(!path.join("format").exists());
        std::fs::write(path.join("format"), "symphony-x 1\n").unwrap();
        mark(path, "symphony-x", 1).unwrap();
    }
}

#[test]
fn a_folder_reads_back_records_larger_than_its_buffer() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Folder::open(folder.path()).unwrap();
    let payloads: Vec<Vec<u8>> = (0..40_u8).map(|n| vec![n; 1 + usize::from(n) * 60_000]).collect();
    let (mut log, _) = Log::open(storage.create(NAME).unwrap()).unwrap();
    log.append(&payloads).unwrap();
    drop(log);
    let (log, cut) = Log::open(storage.open(NAME).unwrap().unwrap()).unwrap();
    let mut found = Vec::new();
    log.read(3..30, |payload| {
        found.push(payload.to_vec());
        true
    })
    .unwrap();
    assert_eq!((cut.len(), &found[..]), (0, &payloads[3..30]));
    assert_eq!(storage.names().unwrap(), [NAME]);
}

proptest! {
    #[test]
    fn a_file_cut_anywhere_opens_with_the_whole_records_before_the_cut(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..60), 1..12),
        cut in any::<prop::sample::Index>(),
    ) {
        let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let whole = file_of(&slices);
        let length = cut.index(whole.len() + 1);
        let storage = MemoryStorage::new();
        storage.put(NAME, whole[..length].to_vec());
        let mut end = 0;
        let expected = payloads.iter().take_while(|payload| {
            end += frame::HEADER + payload.len();
            end <= length
        }).count();
        if expected == 0 && length > 0 {
            prop_assert!(Log::open(storage.create(NAME).unwrap()).is_err());
            return Ok(());
        }
        let (log, _) = open(&storage);
        prop_assert_eq!(contents(&log), &payloads[..expected]);
    }

    #[test]
    fn no_bytes_make_opening_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let storage = MemoryStorage::new();
        storage.put(NAME, bytes);
        let _ = Log::open(storage.create(NAME).unwrap());
    }
}
