//! Disks that fill up, tear writes, flip bits and lose power: nothing half written is ever visible, nothing
//! acknowledged is lost.
#![allow(clippy::unwrap_used)] // A test ends where its helpers fail.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::Arc;

use common::{at, blob_file, files, noise, relative, Bench};
use symphony_artifacts::faults::{Faults, Step};
use symphony_artifacts::info::About;
use symphony_artifacts::{Reference, Store, StoreError};
use symphony_wire::BusError;

/// A disk that gets full at the n-th step from when it is armed, and stays so until it is freed.
#[derive(Clone, Default)]
struct Disk(Arc<AtomicI64>);

impl Disk {
    const FREE: i64 = i64::MAX / 2;

    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(Self::FREE)))
    }

    fn faults(&self) -> Faults {
        self.faults_of(io::ErrorKind::StorageFull)
    }

    fn faults_of(&self, kind: io::ErrorKind) -> Faults {
        let left = self.clone();
        Faults::new(move |step| {
            // Reading, and syncing an index that has nothing to write, work on a full disk.
            if left.0.fetch_sub(1, Ordering::SeqCst) > 0 || step == Step::SyncIndex {
                return Ok(());
            }
            Err(io::Error::from(kind))
        })
    }

    fn full_after(&self, steps: i64) {
        self.0.store(steps, Ordering::SeqCst);
    }

    fn free(&self) -> bool {
        self.0.swap(Self::FREE, Ordering::SeqCst) <= 0
    }
}

fn named(name: &str) -> About {
    About { name: Some(name.to_owned()), ..at("1") }
}

#[test]
fn a_disk_that_fills_up_at_any_step_leaves_nothing_half_written() {
    let disk = Disk::new();
    let mut bench = Bench::with(disk.faults());
    let mut kept = BTreeMap::new();
    let mut failures = 0;
    for steps in 0.. {
        let large = noise(steps + 1_000, 1_300_000);
        let contents = [noise(steps, 3_000), large, noise(1, 10)];
        let items: Vec<_> = contents.iter().map(|data| (data.as_slice(), named("n"))).collect();
        disk.full_after(steps as i64);
        let outcome = bench.store.put(&items).and_then(|puts| {
            bench.store.flush()?;
            Ok(puts)
        });
        let was_full = disk.free();
        match outcome {
            Ok(puts) => {
                kept.extend(puts.iter().map(|put| put.reference).zip(contents.clone()));
            }
            Err(error) => {
                failures += 1;
                assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
                for data in &contents {
                    let reference = Reference::of(data);
                    let found = bench.store.stat(&reference);
                    let known = kept.contains_key(&reference);
                    assert_eq!(found.is_ok(), known, "after {steps} steps: {found:?}");
                }
            }
        }
        for (reference, data) in &kept {
            assert_eq!(&bench.read(reference).unwrap(), data);
        }
        let (blobs, tmp) = files(&bench.path());
        let small = kept.values().filter(|data| data.len() < 1 << 20).count();
        assert_eq!((blobs.len(), tmp.len()), (small, 0), "after {steps} steps");
        if !was_full {
            break;
        }
    }
    assert!(failures >= 8, "only {failures} steps could fail");
}

#[test]
fn a_disk_that_is_full_or_read_only_is_waited_out_by_typed_errors() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::ReadOnlyFilesystem] {
        let disk = Disk::new();
        let mut bench = Bench::with(disk.faults_of(kind));
        let kept = bench.put(b"kept");
        disk.full_after(0);
        for _ in 0..3 {
            let error = bench.store.put(&[(b"more".as_slice(), at("1"))]).unwrap_err();
            assert!(matches!(&error, StoreError::Io { source, .. } if source.kind() == kind));
            let told = BusError::from(error);
            assert!(told.where_.unwrap().starts_with(bench.path().to_str().unwrap()));
            assert!(told.help.unwrap().ends_with("then repeat the call"));
            assert_eq!(bench.read(&kept).unwrap(), b"kept", "reading needs no room");
        }
        disk.free();
        let more = bench.put(b"more");
        assert_eq!(bench.read(&more).unwrap(), b"more");
    }
}

#[test]
fn what_a_crash_left_over_is_dropped_at_start() {
    let mut bench = Bench::new();
    let kept: Vec<_> = (0..50).map(|seed| bench.put(&noise(seed, 200))).collect();
    let store = bench.path();
    // A write torn under tmp, one torn in place, one whole in place that was never committed.
    fs::write(store.join("tmp/7"), b"\0torn").unwrap();
    for seed in 100..110 {
        let data = noise(seed, 200);
        let place = blob_file(&store, &Reference::of(&data));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        let torn = if seed % 2 == 0 { &data[..50] } else { &data };
        fs::write(place, [b"\0", torn].concat()).unwrap();
    }
    let mut bench = bench.reopen();
    let (blobs, tmp) = files(&store);
    assert_eq!((blobs.len(), tmp.len()), (50, 0));
    assert!(kept.iter().all(|reference| bench.read(reference).is_ok()));
    assert_eq!(bench.put(&noise(100, 200)), Reference::of(&noise(100, 200)));
}

#[test]
fn a_start_reads_only_blob_folders_that_were_touched() {
    let mut bench = Bench::new();
    let reference = bench.put(b"sealed");
    let shard = blob_file(&bench.path(), &reference).parent().unwrap().to_owned();
    let sealed = fs::metadata(&shard).unwrap().modified().unwrap();
    let stray = shard.join("0".repeat(62));
    fs::write(&stray, b"\0x").unwrap();
    // With the seal put back nothing tells the start to look there.
    fs::File::open(&shard).unwrap().set_modified(sealed).unwrap();
    let bench = bench.reopen();
    assert!(stray.exists());
    fs::File::open(&shard).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    let mut bench = bench.reopen();
    assert!(!stray.exists());
    assert_eq!(fs::metadata(&shard).unwrap().modified().unwrap(), sealed);
    assert_eq!(bench.read(&reference).unwrap(), b"sealed");
}

#[test]
fn a_flipped_bit_is_never_handed_out_and_is_found_by_verify() {
    for content in [noise(1, 5_000), noise(2, 700_000), b"words ".repeat(100_000)] {
        let mut bench = Bench::new();
        let good = bench.put(b"another");
        let reference = bench.put(&content);
        let place = blob_file(&bench.path(), &reference);
        let whole = fs::read(&place).unwrap();
        let positions = [0, 1, whole.len() / 2, whole.len() - 1];
        for position in positions {
            let mut bytes = whole.clone();
            bytes[position] ^= 4;
            fs::write(&place, bytes).unwrap();
            let read = bench.read(&reference);
            assert!(
                matches!(read, Err(StoreError::Corrupt { reference: bad, .. }) if bad == reference)
            );
            let inbox = bench.make(&format!("inbox-{position}-{}", content.len()));
            let staged = bench.store.stage(&inbox, &[(reference, relative("a/b"))], false);
            assert!(matches!(staged, Err(StoreError::Corrupt { .. })));
            assert!(common::tree(&inbox).is_empty(), "damaged bytes stayed in the inbox");
            assert_eq!(bench.store.verify(None, u64::MAX).unwrap().bad, [reference]);
        }
        for damage in [whole[..whole.len() - 1].to_vec(), [whole.clone(), b"x".to_vec()].concat()] {
            fs::write(&place, damage).unwrap();
            assert!(matches!(bench.read(&reference), Err(StoreError::Corrupt { .. })));
        }
        fs::remove_file(&place).unwrap();
        assert!(matches!(bench.read(&reference), Err(StoreError::Corrupt { .. })));
        // Putting the content again repairs it.
        assert_eq!(bench.put(&content), reference);
        assert_eq!(bench.read(&reference).unwrap(), content);
        assert_eq!(bench.read(&good).unwrap(), b"another");
        let report = bench.store.verify(None, u64::MAX).unwrap();
        assert_eq!((report.blobs, report.bad), (2, vec![]));
    }
}

#[test]
fn damage_after_the_first_read_is_noticed() {
    let mut bench = Bench::new();
    let content = noise(9, 900_000);
    let reference = bench.put(&content);
    assert_eq!(bench.read(&reference).unwrap(), content);
    let place = blob_file(&bench.path(), &reference);
    let mut bytes = fs::read(&place).unwrap();
    bytes[800_000] ^= 1;
    fs::write(&place, bytes).unwrap();
    assert!(matches!(bench.store.get(&reference, 0, 10), Err(StoreError::Corrupt { .. })));
}

#[test]
fn stores_that_cannot_be_used_say_why() {
    let bench = Bench::new();
    let path = bench.path();
    let opened = |path: &std::path::Path| Store::open(path, Faults::default()).err().unwrap();
    assert!(matches!(opened(&path), StoreError::InUse { .. }));
    drop(bench.store);
    fs::write(path.join("format"), "symphony-artifacts 3\n").unwrap();
    assert!(matches!(opened(&path), StoreError::Newer { found: 3, known: 2, .. }));
    fs::write(path.join("format"), "symphony-artifacts 2\n").unwrap();
    let index = redb::Database::open(path.join("index.redb")).unwrap();
    let change = index.begin_write().unwrap();
    change.delete_table(redb::TableDefinition::<&str, u64>::new("numbers")).unwrap();
    change.open_table(redb::TableDefinition::<u64, &str>::new("numbers")).unwrap();
    change.commit().unwrap();
    drop(index);
    assert!(matches!(opened(&path), StoreError::Foreign { .. }));
    fs::write(path.join("format"), "something else").unwrap();
    assert!(matches!(opened(&path), StoreError::Damaged { .. }));
    fs::remove_file(path.join("format")).unwrap();
    assert!(matches!(opened(&path), StoreError::Damaged { .. }));
    fs::write(path.join("format"), "symphony-artifacts 2\n").unwrap();
    fs::write(path.join("index.redb"), noise(3, 10_000)).unwrap();
    assert!(matches!(opened(&path), StoreError::Damaged { .. }));
    // Without its index every blob would look like a leftover.
    fs::remove_file(path.join("index.redb")).unwrap();
    fs::create_dir(path.join("blobs/00")).unwrap();
    assert!(matches!(opened(&path), StoreError::Damaged { .. }));
    let file = bench.folder.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(matches!(opened(&file), StoreError::Io { .. }));
}
