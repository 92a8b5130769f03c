//! A store that format 1 wrote: opened, upgraded, and read as it is.
#![allow(clippy::unwrap_used)] // A test ends where its helpers fail.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::caller::{bin, ts, Caller};
use serde_json::json;
use symphony_artifacts::faults::{Faults, Step};
use symphony_artifacts::store::Options;
use symphony_artifacts::{Reference, Store, StoreError};

/// Every file of a store that the last program of format 1 made: `tests/data/format-1.zst`, a msgpack map of path
/// to bytes. It holds 1,240,000 bytes of text (`large`), and `greeting.txt` in two versions, the second made from the
/// first; all of run `r-1`.
fn unpack(to: &Path) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/format-1.zst");
    let bytes = zstd::decode_all(fs::File::open(path).unwrap()).unwrap();
    let files: BTreeMap<String, serde_bytes::ByteBuf> = rmp_serde::from_slice(&bytes).unwrap();
    for (path, bytes) in files {
        let path = to.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

fn large() -> Vec<u8> {
    b"the same words again and again ".repeat(40_000)
}

fn old() -> Caller {
    let mut caller = Caller::new();
    let path = caller.folder.path().join("old");
    unpack(&path);
    caller.service = common::caller::open(&path, Options::default());
    caller
}

fn is_whole(caller: &mut Caller) {
    let large = large();
    let reference = Reference::of(&large).to_string();
    assert_eq!(caller.get(&reference).unwrap(), large);
    let listed = caller.ok("list", json!({"run": "r-1"}));
    assert_eq!(listed["artifacts"].as_array().unwrap().len(), 3);
    assert_eq!(caller.ok("verify", json!({}))["blobs"], 3);
    let versions = caller.ok("versions", json!({"name": "greeting.txt"}))["versions"].clone();
    assert_eq!(versions.as_array().unwrap().len(), 2);
    let lineage = caller.ok("lineage", json!({"ref": versions[1]["ref"], "way": "outputs"}));
    assert_eq!(lineage["nodes"][1]["ref"], versions[0]["ref"]);
}

#[test]
fn it_is_upgraded_when_it_is_opened_and_everything_is_there() {
    let mut caller = old();
    is_whole(&mut caller);
    let path = caller.folder.path().join("old");
    assert_eq!(fs::read_to_string(path.join("format")).unwrap(), "symphony-artifacts 2\n");
    drop(caller.service);
    caller.service = common::caller::open(&path, Options::default());
    is_whole(&mut caller);
    // Put again it is met, and its words are found from then on.
    assert_eq!(caller.ok("search", json!({"text": "hello"}))["artifacts"], json!([]));
    let again = json!({"data": bin(b"hello\n"), "ts": ts(1, 0)});
    assert_eq!(caller.ok("put", again)["new"], false);
    let named = json!({"data": bin(b"hello\n"), "name": "greeting.txt", "ts": ts(1, 0)});
    caller.ok("put", named);
    let found = caller.ok("search", json!({"text": "hello"}));
    assert_eq!(found["artifacts"].as_array().unwrap().len(), 1);
}

#[test]
fn what_it_kept_whole_is_cut_into_chunks_by_packing() {
    let mut caller = old();
    let large = large();
    let reference = Reference::of(&large).to_string();
    let path = caller.folder.path().join("old");
    assert_eq!(common::chunk_files(&path).len(), 0);
    caller.ok("pack", json!({"refs": [reference], "ts": ts(1, 0)}));
    assert!(!common::chunk_files(&path).is_empty());
    assert_eq!(common::files(&path).0.len(), 2);
    drop(caller.service);
    caller.service = common::caller::open(&path, Options::default());
    is_whole(&mut caller);
}

#[test]
fn what_it_put_has_the_age_that_its_entries_tell() {
    let mut caller = old();
    let reference = Reference::of(b"hello\n").to_string();
    // Put on the first of January 2026.
    let mark = |at: String| json!({"refs": [reference], "why": "w", "ts": at});
    assert_eq!(caller.ok("mark", mark(ts(0, 86_399_999)))["marked"], 0);
    assert_eq!(caller.ok("mark", mark(ts(1, 0)))["marked"], 1);
    let proofs = [Caller::proof(&reference, 6)];
    let swept = caller.ok("sweep", json!({"refs": [reference], "proofs": proofs, "ts": ts(2, 0)}));
    assert_eq!(swept["freed"][0]["bytes"], 6);
}

#[test]
fn an_upgrade_that_fails_anywhere_is_done_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    for steps in 0.. {
        let path = folder.path().join(steps.to_string());
        unpack(&path);
        let left = std::sync::atomic::AtomicI64::new(steps);
        let faults = Faults::new(move |step| {
            let left = left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            if left > 0 || step == Step::DropBlob {
                return Ok(());
            }
            Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
        });
        let outcome = Store::open(&path, faults).map(drop);
        let done = outcome.is_ok();
        if let Err(error) = outcome {
            assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
        }
        let mut caller = Caller::new();
        caller.service = common::caller::open(&path, Options::default());
        is_whole(&mut caller);
        if done {
            assert!(steps > 5, "only {steps} steps could fail");
            return;
        }
    }
}

#[test]
fn it_can_be_read_without_being_upgraded() {
    let mut caller = Caller::new();
    let path = caller.folder.path().join("old");
    unpack(&path);
    let index = fs::read(path.join("index.redb")).unwrap();
    caller.service = common::caller::open(&path, Options { read_only: true, ..Options::default() });
    is_whole(&mut caller);
    drop(caller.service);
    assert_eq!(fs::read(path.join("index.redb")).unwrap(), index);
    assert_eq!(fs::read_to_string(path.join("format")).unwrap(), "symphony-artifacts 1\n");
    caller.service = common::caller::open(&path, Options::default());
    is_whole(&mut caller);
}
