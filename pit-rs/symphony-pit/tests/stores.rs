//! `--check` and `--copy-to`: a store of journals read and copied from outside.
#![allow(clippy::unwrap_used)] // A test may panic.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{json, Value};
use symphony_journal::{frame, Folder, Journal, Log, Storage};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_symphony-dag-tracker");

fn run(arguments: &[&Path]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn check(store: &Path) -> Vec<Value> {
    lines(&run(&["--check".as_ref(), "--store".as_ref(), store]))
}

fn copy(store: &Path, to: &Path) -> Vec<Value> {
    lines(&run(&["--store".as_ref(), store, "--copy-to".as_ref(), to]))
}

fn found<'a>(lines: &'a [Value], path: &str) -> &'a Value {
    lines.iter().find(|line| line["path"] == path).unwrap()
}

fn payload(number: u32) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(4 + number as usize % 700, b'x');
    bytes
}

fn file_of(numbers: std::ops::Range<u32>) -> Vec<u8> {
    let mut bytes = Vec::new();
    numbers.for_each(|number| frame::encode(&payload(number), &mut bytes));
    bytes
}

/// A store with a file of each kind.
fn store() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("dag");
    fs::create_dir_all(store.join("runs")).unwrap();
    fs::create_dir_all(store.join("archive")).unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(store.join(name), bytes).unwrap();
    put("format", b"symphony-dag 2\n");
    put("pid", b"17\n");
    put("runs/whole.journal", &file_of(0..300));
    put("runs/torn.journal", &[file_of(0..3), b"\x09\0\0".to_vec()].concat());
    put("runs/torn.journal.torn", b"remains");
    put("runs/torn.journal.synced", b"");
    put("runs/draft.journal.new", &file_of(0..1));
    put("runs/learned", &file_of(0..2));
    put("archive/format", b"symphony-archive 1\n");
    put(&format!("archive/{}", "0f".repeat(32)), b"an artifact");
    put("archive/upload-7", b"half an artif");
    put("notes.txt", b"somebody's");
    (folder, store)
}

#[test]
fn a_copy_holds_whole_records_and_nothing_of_the_moment() {
    let (folder, store) = store();
    let to = folder.path().join("copy");
    let said = copy(&store, &to);
    let mut names: Vec<String> = Vec::new();
    for place in ["", "runs", "archive"] {
        for entry in fs::read_dir(to.join(place)).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                names.push(Path::new(place).join(entry.file_name()).to_str().unwrap().to_owned());
            }
        }
    }
    names.sort();
    let artifact = format!("archive/{}", "0f".repeat(32));
    let expected = [
        artifact.as_str(),
        "archive/format",
        "format",
        "runs/learned",
        "runs/torn.journal",
        "runs/torn.journal.torn",
        "runs/whole.journal",
    ];
    assert_eq!(names, expected);
    assert_eq!(fs::read(to.join("runs/whole.journal")).unwrap(), file_of(0..300));
    assert_eq!(fs::read(to.join("runs/torn.journal")).unwrap(), file_of(0..3));
    assert_eq!(fs::read(to.join(&artifact)).unwrap(), b"an artifact");
    assert_eq!(found(&said, "runs/whole.journal")["records"], 300);
    assert_eq!(found(&said, "runs/torn.journal")["torn"], 3);
    let notes = found(&said, "notes.txt");
    assert!(notes["left"].is_string() && notes["help"].is_null());
    assert_eq!(fs::read(store.join("runs/torn.journal")).unwrap().len(), file_of(0..3).len() + 3);
}

#[test]
fn damage_is_told_and_copied_as_it_is_but_a_statistic_is_left_out() {
    let (folder, store) = store();
    for name in ["runs/whole.journal", "runs/learned"] {
        let mut bytes = fs::read(store.join(name)).unwrap();
        bytes[frame::HEADER] ^= 1;
        fs::write(store.join(name), bytes).unwrap();
    }
    for said in [check(&store), copy(&store, &folder.path().join("copy"))] {
        assert_eq!(
            found(&said, "runs/whole.journal")["damaged"],
            "the record at byte 0 is damaged"
        );
        let learned = found(&said, "runs/learned");
        assert!(learned["left"].is_string() || learned["damaged"].is_string());
        assert!(found(&said, "runs/torn.journal")["damaged"].is_null());
    }
    let copied = fs::read(folder.path().join("copy/runs/whole.journal")).unwrap();
    assert_eq!(copied, fs::read(store.join("runs/whole.journal")).unwrap());
    assert!(!folder.path().join("copy/runs/learned").exists());
}

#[test]
fn what_is_no_plain_file_is_damage_and_stops_nothing() {
    let artifact = format!("archive/{}", "0f".repeat(32));
    let places =
        ["format", "runs/whole.journal", "runs/torn.journal.synced", "runs/learned", &artifact];
    let pipe =
        |place: &Path| assert!(Command::new("mkfifo").arg(place).status().unwrap().success());
    let folder = |place: &Path| fs::create_dir(place).unwrap();
    let link = |place: &Path| std::os::unix::fs::symlink("notes.txt", place).unwrap();
    let kinds: [&dyn Fn(&Path); 3] = [&pipe, &folder, &link];
    for (place, kind) in places.iter().flat_map(|it| kinds.iter().map(move |kind| (it, kind))) {
        let (copies, store) = store();
        fs::remove_file(store.join(place)).unwrap();
        kind(&store.join(place));
        for said in [check(&store), copy(&store, &copies.path().join("copy"))] {
            assert_eq!(found(&said, place)["damaged"], "this is not a plain file", "{place}");
            assert!(found(&said, "runs/torn.journal")["damaged"].is_null());
        }
    }
}

#[test]
fn what_was_not_acknowledged_is_torn_whatever_became_of_it() {
    let (folder, store) = store();
    let storage = Folder::open(&store.join("runs")).unwrap();
    let mut journal = Journal::open(storage, "open.journal", &[payload(0)]).unwrap();
    journal.commit(&[payload(1)]).unwrap();
    let path = store.join("runs/open.journal");
    let sound = fs::read(&path).unwrap();
    fs::write(&path, [&sound[..], &[9; 30]].concat()).unwrap();
    for said in [check(&store), copy(&store, &folder.path().join("copy"))] {
        let line = found(&said, "runs/open.journal");
        assert_eq!((&line["records"], &line["torn"]), (&json!(2), &json!(30)));
    }
    assert_eq!(fs::read(folder.path().join("copy/runs/open.journal")).unwrap(), sound);
}

#[test]
fn what_is_gone_is_told_by_its_companion() {
    let (_folder, store) = store();
    let storage = Folder::open(&store.join("runs")).unwrap();
    let mut journal = Journal::open(storage, "open.journal", &[payload(0)]).unwrap();
    journal.commit(&[payload(1)]).unwrap();
    let path = store.join("runs/open.journal");
    let first = fs::read(&path).unwrap()[..frame::HEADER + payload(0).len()].to_vec();
    assert!(check(&store).iter().all(|line| line["damaged"].is_null()));
    for left in [first, vec![]] {
        fs::write(&path, left).unwrap();
        assert!(found(&check(&store), "runs/open.journal")["damaged"].is_string());
    }
    fs::remove_file(&path).unwrap();
    assert!(found(&check(&store), "runs/open.journal")["damaged"].is_string());
    fs::remove_file(path.with_extension("journal.synced")).unwrap();
    assert!(check(&store).iter().all(|line| line["damaged"].is_null()));
}

#[test]
fn a_companion_that_cannot_be_read_is_told_and_stays_until_it_is_removed() {
    let (_folder, store) = store();
    let open = || Journal::open(Folder::open(&store.join("runs")).unwrap(), "open.journal", &[]);
    let place = store.join("runs");
    Journal::open(Folder::open(&place).unwrap(), "open.journal", &[payload(0)]).unwrap();
    let companion = store.join("runs/open.journal.synced");
    fs::write(&companion, [7; 24]).unwrap();
    for number in 1..3 {
        open().unwrap().commit(&[payload(number)]).unwrap();
        let said = check(&store);
        assert!(found(&said, "runs/open.journal.synced")["damaged"].is_string());
        let journal = found(&said, "runs/open.journal");
        assert_eq!(
            (&journal["records"], journal["damaged"].is_null()),
            (&(number + 1).into(), true)
        );
    }
    fs::remove_file(&companion).unwrap();
    open().unwrap();
    assert!(fs::read(&companion).unwrap().iter().any(|byte| *byte != 0));
    assert!(check(&store).iter().all(|line| line["damaged"].is_null()));
}

#[test]
fn a_format_that_is_missing_is_told_of_a_store_and_of_the_archive_in_it() {
    for (removed, kept) in [("format", "archive/format"), ("archive/format", "format")] {
        let (_folder, store) = store();
        fs::remove_file(store.join(removed)).unwrap();
        let said = check(&store);
        let line = found(&said, removed);
        assert_eq!(line["damaged"], "its format file is missing");
        assert!(line["help"].is_string());
        assert!(found(&said, kept)["damaged"].is_null());
    }
    let empty = tempfile::tempdir().unwrap();
    assert!(check(empty.path()).is_empty());
}

#[test]
fn a_store_that_is_a_link_is_refused() {
    let (folder, store) = store();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&store, &link).unwrap();
    let output = run(&["--check".as_ref(), "--store".as_ref(), &link]);
    assert_eq!(output.status.code(), Some(6));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is a link"));
}

#[test]
fn a_target_that_is_there_is_refused_with_what_to_do() {
    let (folder, store) = store();
    fs::create_dir(folder.path().join("copy")).unwrap();
    let output =
        run(&["--store".as_ref(), &store, "--copy-to".as_ref(), &folder.path().join("copy")]);
    assert_eq!(output.status.code(), Some(6));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("error: ") && said.contains("help: "), "{said}");
}

/// As its member would, which begins it anew now and then.
fn write_until(stop: &AtomicBool, folder: &Path) {
    let storage = Folder::open(folder).unwrap();
    let mut journal = Journal::open(storage, "ledger.journal", &[payload(0)]).unwrap();
    let mut log =
        Log::open(Folder::open(folder).unwrap().create("run.journal").unwrap()).unwrap().0;
    for number in 1.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        journal.commit(&[payload(number)]).unwrap();
        if number % 50 == 0 {
            journal.begin_anew(&[payload(number)]).unwrap();
        }
        log.append(&[payload(number)]).unwrap();
        log.keep();
    }
}

fn numbers(path: &Path) -> Vec<u32> {
    let (log, torn) = Log::open(fs::File::open(path).unwrap()).unwrap();
    assert_eq!(torn, b"", "a copy ends with a whole record");
    let mut found = Vec::new();
    log.read(0..log.count(), |record| {
        let number = u32::from_le_bytes(record[..4].try_into().unwrap());
        assert_eq!(record, payload(number));
        found.push(number);
        true
    })
    .unwrap();
    found
}

#[test]
fn copies_taken_while_it_is_written_are_states_that_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    fs::create_dir(&store).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| write_until(&stop, &store));
        while !store.join("ledger.journal").exists() || !store.join("run.journal").exists() {
            thread::yield_now();
        }
        let mut last = 0;
        for turn in 0..40 {
            let to = folder.path().join(format!("copy-{turn}"));
            copy(&store, &to);
            let ledger = numbers(&to.join("ledger.journal"));
            assert!(ledger.windows(2).all(|pair| pair[1] == pair[0] + 1), "{ledger:?}");
            assert!(ledger.len() <= 51, "of one file");
            let run = numbers(&to.join("run.journal"));
            assert_eq!(run, (1..=run.len() as u32).collect::<Vec<_>>());
            assert!(ledger.last().copied().unwrap_or(0) >= last);
            last = ledger.last().copied().unwrap_or(last);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let mut file = fs::OpenOptions::new().append(true).open(store.join("run.journal")).unwrap();
    file.write_all(b"\x05").unwrap();
    assert_eq!(found(&check(&store), "run.journal")["torn"], 1);
}

#[test]
fn a_copy_ends_with_whoever_began_it() {
    let (_folder, store) = store();
    for number in 0..2_000 {
        fs::write(store.join(format!("runs/{number}.journal")), b"").unwrap();
    }
    let script = "\"$@\"; true"; // a shell that stays its parent
    let mut parent = Command::new("sh")
        .args(["-c", script, "sh", PROGRAM, "--check", "--store"])
        .arg(&store)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().is_ok(), "it is at work");
    parent.kill().unwrap();
    parent.wait().unwrap();
    let said = lines.count(); // what the pipe still held; whoever lives says all
    assert!(said < 1_900, "{said} files were visited");
}
