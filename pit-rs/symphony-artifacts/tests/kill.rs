//! kill -9 of a process that puts, at every step and at arbitrary moments: what was acknowledged is there and
//! whole, what was not is whole or absent, and nothing is left lying about.
#![allow(clippy::unwrap_used)] // A test ends where its helpers fail.

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{at, files};
use symphony_artifacts::faults::Faults;
use symphony_artifacts::store::Query;
use symphony_artifacts::{Reference, Store};

fn victim() -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    deps.ancestors().nth(2).unwrap().join("examples/artifacts_puts")
}

/// Runs the victim, kills it once it acknowledged `lines` batches (if it lives so long), and gives what it
/// acknowledged.
fn run(store: &Path, seed: u64, step: Option<u64>, lines: usize) -> (Vec<Reference>, bool) {
    let mut command = Command::new(victim());
    command.arg(store).args([seed.to_string(), "40".to_owned()]);
    command.args(step.map(|step| step.to_string()));
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut acknowledged = Vec::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    for number in 0.. {
        if number == lines {
            child.kill().unwrap();
        }
        line.clear();
        // A line that the kill cut short was not acknowledged.
        if out.read_line(&mut line).unwrap() == 0 || !line.ends_with('\n') {
            break;
        }
        acknowledged.extend(line.split_whitespace().map(|text| text.parse::<Reference>().unwrap()));
    }
    let status = child.wait().unwrap();
    (acknowledged, status.success())
}

fn check(path: &Path, acknowledged: &[Reference]) {
    let mut store = Store::open(path, Faults::default()).unwrap();
    let report = store.verify(None, u64::MAX).unwrap();
    assert!(report.bad.is_empty(), "{:?}", report.bad);
    for reference in acknowledged {
        store.stat(reference).unwrap();
    }
    let (blobs, tmp) = files(path);
    assert_eq!((blobs.len() as u64, tmp.len()), (report.blobs, 0));
    // All or none: every batch has all of its entries.
    let mut entries = 0;
    store
        .list(&Query::default(), |_, info| {
            assert!(info.name.is_some());
            entries += 1;
            Ok(true)
        })
        .unwrap();
    assert_eq!(entries % 20, 0, "a batch is there in part");
    // The store is as good as new.
    store.put(&[(b"after the crash".as_slice(), at("2"))]).unwrap();
    store.flush().unwrap();
}

#[test]
fn killed_at_every_step_of_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    // The making of a store and its first commit take fewer steps than this; later commits repeat them.
    for step in 0..110 {
        let path = folder.path().join(step.to_string());
        let (acknowledged, finished) = run(&path, step, Some(step), usize::MAX);
        assert!(!finished, "the victim outlived step {step}");
        check(&path, &acknowledged);
        std::fs::remove_dir_all(&path).unwrap();
    }
}

#[test]
fn a_disk_that_is_really_full_loses_nothing_acknowledged() {
    const SCRIPT: &str = r#"
        mount -t tmpfs -o size=8m none "$1" || exit 77
        head -c 1000000 /dev/zero > "$1/ballast"
        "$2" "$1/store" 1 1000 > "$3/acknowledged" 2> "$3/errors" && exit 1
        rm "$1/ballast"
        "$2" "$1/store" 2 1 >> "$3/acknowledged" || exit 1
        cp -a "$1/store" "$3/store""#;
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh"]);
    let status = command.arg(&disk).arg(victim()).arg(folder.path()).status();
    match status {
        Ok(status) if status.code() == Some(0) => (),
        // Without the right to mount there is no small disk to fill.
        Ok(status) if status.code() == Some(77) => return,
        other => panic!("{other:?}"),
    }
    let errors = std::fs::read_to_string(folder.path().join("errors")).unwrap();
    assert!(errors.contains("StorageFull"), "{errors}");
    let text = std::fs::read_to_string(folder.path().join("acknowledged")).unwrap();
    let acknowledged: Vec<_> = text.split_whitespace().map(|text| text.parse().unwrap()).collect();
    assert!(acknowledged.len() > 200);
    check(&folder.path().join("store"), &acknowledged);
}

#[test]
fn killed_again_and_again_at_arbitrary_moments() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut all = Vec::new();
    for round in 0..20 {
        let (acknowledged, _) = run(&path, round, None, (round % 7) as usize);
        all.extend(acknowledged);
        check(&path, &all);
    }
    assert!(all.len() > 400, "hardly anything was acknowledged");
}
