//! What a journal promises when it begins anew and the power goes at any point.
#![allow(clippy::unwrap_used)] // A test may panic.

use symphony_journal::memory::MemoryStorage;
use symphony_journal::{Folder, Journal, LogError, Storage};

const NAME: &str = "log";

fn payloads(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn contents<S: Storage>(journal: &Journal<S>) -> Vec<String> {
    let mut found = Vec::new();
    journal
        .read(|payload| {
            found.push(String::from_utf8(payload.to_vec()).unwrap());
            true
        })
        .unwrap();
    found
}

fn open<S: Storage>(storage: S) -> Journal<S> {
    Journal::open(storage, NAME, &payloads(&["first"])).unwrap()
}

#[test]
fn a_journal_begins_with_a_record_and_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let storage = || Folder::open(folder.path()).unwrap();
    let mut journal = open(storage());
    journal.commit(&payloads(&["a", "b"])).unwrap();
    drop(journal);
    let mut journal = open(storage());
    assert_eq!(contents(&journal), ["first", "a", "b"]);
    journal.begin_anew(&payloads(&["all", "of it"])).unwrap();
    journal.commit(&payloads(&["c"])).unwrap();
    assert_eq!(contents(&journal), ["all", "of it", "c"]);
    assert_eq!(contents(&open(storage())), ["all", "of it", "c"]);
    let mut names = storage().names().unwrap();
    names.sort();
    assert_eq!(names, [NAME, "log.synced"]);
}

#[test]
fn power_cut_at_any_point_of_the_first_opening_leaves_no_journal_or_a_whole_one() {
    let mut point = 0;
    loop {
        let storage = MemoryStorage::new();
        storage.set_fuse(Some(point));
        let opened = Journal::open(storage.clone(), NAME, &payloads(&["first", "second"]));
        let burnt = storage.is_burnt();
        storage.cut_power();
        let found = contents(&open(storage));
        if opened.is_ok() {
            assert_eq!(found, ["first", "second"]);
        } else {
            assert!(found == ["first"] || found == ["first", "second"], "{point}: {found:?}");
        }
        if !burnt {
            return;
        }
        point += 1;
    }
}

/// Begins anew and commits one more record, with the power going after so many changes of the disk. Tells what
/// was acknowledged, and whether the power went.
fn begin_anew(storage: &MemoryStorage, changes: usize) -> (bool, bool, bool) {
    let mut journal = open(storage.clone());
    journal.commit(&payloads(&["old"])).unwrap();
    storage.set_fuse(Some(changes));
    let anew = journal.begin_anew(&payloads(&["snap", "shot"])).is_ok();
    let committed = journal.commit(&payloads(&["later"])).is_ok();
    (anew, committed, storage.is_burnt())
}

#[test]
fn power_cut_at_any_point_leaves_the_former_file_or_the_new_one_whole() {
    let cuts = [MemoryStorage::cut_power, MemoryStorage::cut_power_after_names];
    for cut in cuts {
        let (mut former, mut new) = (0, 0);
        for point in 0.. {
            let storage = MemoryStorage::new();
            let (anew, committed, burnt) = begin_anew(&storage, point);
            cut(&storage);
            let found = contents(&open(storage));
            let words: Vec<&str> = found.iter().map(String::as_str).collect();
            match words[..] {
                ["first", "old"] => former += 1,
                ["first", "old", "later"] => former += 1,
                ["snap", "shot"] | ["snap", "shot", "later"] => new += 1,
                _ => panic!("{point}: {found:?}"),
            }
            if committed {
                assert_eq!(words.last(), Some(&"later"), "{point}");
            }
            if anew && committed {
                assert_eq!(words, ["snap", "shot", "later"], "{point}");
            }
            if !burnt {
                break;
            }
        }
        assert!(former >= 3 && new >= 2, "{former} {new}");
    }
}

#[test]
fn nothing_is_durable_in_a_new_file_before_the_folder_says_so() {
    // Writing, syncing and naming the new file, and telling the companion, are seven changes; the sync of the
    // folder is the eighth.
    for point in 0..10 {
        let storage = MemoryStorage::new();
        let mut journal = open(storage.clone());
        storage.set_fuse(Some(point));
        let anew = journal.begin_anew(&payloads(&["snapshot"])).is_ok();
        assert_eq!(anew, point >= 7, "{point}");
        storage.set_fuse(None);
        journal.commit(&payloads(&["later"])).unwrap();
        storage.cut_power();
        let expected = if anew { ["snapshot", "later"] } else { ["first", "later"] };
        assert_eq!(contents(&open(storage)), expected, "{point}");
    }
}

#[test]
fn a_full_disk_leaves_the_former_file_in_use() {
    let storage = MemoryStorage::new();
    let mut journal = open(storage.clone());
    journal.commit(&payloads(&["old"])).unwrap();
    storage.set_capacity(Some(storage.bytes(NAME).len() + 20));
    assert!(journal.begin_anew(&payloads(&["a snapshot of many bytes"])).is_err());
    assert_eq!(contents(&journal), ["first", "old"]);
    storage.set_capacity(None);
    journal.commit(&payloads(&["new"])).unwrap();
    assert_eq!(contents(&open(storage.clone())), ["first", "old", "new"]);
    // What the failed attempt left takes no space any more.
    assert_eq!(storage.bytes("log.new"), b"");
}

#[test]
fn a_failed_commit_leaves_nothing_and_the_next_one_works() {
    let storage = MemoryStorage::new();
    let mut journal = open(storage.clone());
    storage.set_syncs_fail(true);
    assert!(journal.commit(&payloads(&["lost"])).is_err());
    assert_eq!(contents(&journal), ["first"]);
    storage.set_syncs_fail(false);
    journal.commit(&payloads(&["kept"])).unwrap();
    storage.cut_power();
    assert_eq!(contents(&open(storage)), ["first", "kept"]);
}

#[test]
fn a_torn_last_record_is_kept_beside_and_a_file_without_a_record_is_corrupt() {
    let storage = MemoryStorage::new();
    let mut journal = open(storage.clone());
    let acknowledged = storage.bytes("log.synced");
    journal.commit(&payloads(&["one", "two"])).unwrap();
    let whole = storage.bytes(NAME);
    storage.put(NAME, whole[..whole.len() - 2].to_vec());
    storage.put("log.synced", acknowledged);
    assert_eq!(contents(&open(storage.clone())), ["first", "one"]);
    assert_eq!(storage.bytes("log.torn"), whole[whole.len() - 11..whole.len() - 2]);
    storage.put(NAME, vec![]);
    let corrupt = Journal::open(storage, NAME, &payloads(&["first"]));
    assert!(matches!(corrupt, Err(LogError::Lost { found: 0, .. })));
}
