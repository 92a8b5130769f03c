//! Copies of a store that is in use: whole, of one moment, and nothing else.
#![allow(clippy::unwrap_used)] // A test ends where its helpers fail.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::sync::Mutex;

use common::caller::{bin, open, ts, Caller};
use common::{chunk_files, noise, tree};
use serde_json::{json, Value as Json};
use symphony_artifacts::faults::{Faults, Step};
use symphony_artifacts::keys::Source;
use symphony_artifacts::store::Options;
use symphony_artifacts::Reference;
use symphony_wire::Code;

const KEY: &str = "4242424242424242424242424242424242424242424242424242424242424242";
const NEXT: &str = "4343434343434343434343434343434343434343434343434343434343434343";

/// Lets a copy bring one file after the other, when the test says so.
struct Gate(Option<SyncSender<bool>>);

impl Gate {
    fn new() -> (Self, Faults) {
        let (send, receive) = sync_channel(0);
        let receive: Mutex<Receiver<bool>> = Mutex::new(receive);
        let faults = Faults::new(move |step| {
            // Nobody who says no more: all may go on.
            match step == Step::CopyFile && !receive.lock().unwrap().recv().unwrap_or(true) {
                true => Err(io::Error::from(io::ErrorKind::StorageFull)),
                false => Ok(()),
            }
        });
        (Self(Some(send)), faults)
    }

    /// The next file, or the disk is full. It returns when the copy has come to it.
    fn next(&self, good: bool) {
        self.0.as_ref().unwrap().send(good).unwrap();
    }

    fn open(&mut self) {
        self.0 = None;
    }
}

fn inside(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|item| item.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A copy as a store of its own.
fn opened(caller: &Caller, to: &Path, options: Options) -> Caller {
    let mut copy = Caller::new();
    copy.service = open(to, options);
    copy.now = caller.now;
    copy
}

fn collect(caller: &mut Caller, content: &[u8], name: &str, day: u64) -> String {
    let outbox = caller.folder.path().join("outbox");
    fs::create_dir_all(&outbox).unwrap();
    fs::write(outbox.join("f"), content).unwrap();
    let items = json!([{"name": name, "path": "f"}]);
    let reply = caller.ok("collect", json!({"folder": outbox, "items": items, "ts": ts(day, 0)}));
    reply["items"][0]["ref"].as_str().unwrap().to_owned()
}

fn letters(seed: u64) -> Vec<u8> {
    format!("letter {seed}: dear friend, all is well here. ").repeat(200).into_bytes()
}

fn sweep(caller: &mut Caller, reference: &str, bytes: usize, day: u64) {
    caller.ok("mark", json!({"refs": [reference], "why": "old", "ts": ts(day, 0)}));
    let proofs = [Caller::proof(reference, bytes)];
    let swept = json!({"refs": [reference], "proofs": proofs, "ts": ts(day + 1, 0)});
    assert_eq!(caller.ok("sweep", swept)["freed"].as_array().unwrap().len(), 1);
}

#[test]
fn a_copy_opens_as_a_store_and_has_everything() {
    let mut caller = Caller::new();
    let small = caller.put(b"small", "n", 0);
    let text = caller.put(&letters(1), "n", 0);
    let large = noise(5, 2_500_000);
    let chunked = collect(&mut caller, &large, "large", 0);
    caller.ok("tag", json!({"ref": small, "add": ["good"], "ts": ts(0, 0)}));
    let to = caller.folder.path().join("copy");
    let told = caller.backup("b-1", &to).unwrap();
    let bytes = 5 + letters(1).len() + large.len();
    assert_eq!(told, json!({"artifacts": 3, "bytes": bytes}));
    assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o7777, 0o700);
    assert_eq!(inside(&to), ["backup.json", "blobs", "chunks", "format", "index.redb"]);
    let manifest: Json =
        serde_json::from_slice(&fs::read(to.join("backup.json")).unwrap()).unwrap();
    let index = blake3::hash(&fs::read(to.join("index.redb")).unwrap()).to_hex().to_string();
    let expected = json!({"format": "symphony-artifacts-backup 1", "id": "b-1",
        "at": "2026-01-01T00:00:00.000Z", "artifacts": 3, "bytes": bytes,
        "files": 2 + chunk_files(&to).len(), "damaged": 0, "named": [], "index": index});
    assert_eq!(manifest, expected);
    // Nothing in it changes by being looked at.
    let before = tree(&to);
    let looking = Options { read_only: true, ..Options::default() };
    let mut copy = opened(&caller, &to, looking);
    assert_eq!(copy.ok("verify", json!({})), json!({"blobs": 3, "bytes": bytes, "bad": []}));
    drop(copy);
    assert_eq!(tree(&to), before);
    let mut copy = opened(&caller, &to, Options::default());
    assert_eq!(copy.get(&small).unwrap(), b"small");
    assert_eq!(copy.get(&text).unwrap(), letters(1));
    assert_eq!(copy.get(&chunked).unwrap(), large);
    assert_eq!(copy.ok("tags", json!({"ref": small})), json!({"tags": ["good"]}));
    let found = copy.ok("search", json!({"text": "dear friend"}));
    assert_eq!(found["artifacts"][0]["ref"], json!(text));
    let versions = copy.ok("versions", json!({"name": "n"}));
    assert_eq!(versions["versions"].as_array().unwrap().len(), 2);
    let audit = copy.ok("audit", json!({}))["records"].as_array().unwrap().clone();
    assert_eq!(audit.iter().filter(|record| record["method"] == "backup").count(), 1);
    // What is done in one is not done in the other, though they share files.
    let file = common::blob_file(&to, &small.parse().unwrap());
    assert_eq!(fs::metadata(file).unwrap().nlink(), 2);
    copy.put(b"only in the copy", "n", 1);
    sweep(&mut copy, &small, 5, 3);
    assert_eq!(caller.get(&small).unwrap(), b"small");
    assert_eq!(caller.ok("verify", json!({}))["blobs"], json!(3));
}

#[test]
fn where_no_copy_can_be_made_nothing_is_touched() {
    let mut caller = Caller::new();
    caller.put(b"x", "n", 0);
    let full = caller.make("full");
    fs::write(full.join("mine"), "precious").unwrap();
    let beneath = caller.store().join("copy");
    let nowhere = caller.folder.path().join("no").join("where");
    for (id, to, code) in [
        ("b", json!(full), Code::Conflict),
        ("b", json!("relative"), Code::BadRequest),
        ("b", json!("/tmp/../tmp/x"), Code::BadRequest),
        ("b", json!(beneath), Code::BadRequest),
        ("b", json!(nowhere), Code::BadRequest),
        ("", json!(caller.folder.path().join("to")), Code::BadRequest),
    ] {
        let (found, place) = caller.refused("backup", json!({"id": id, "to": to}));
        assert_eq!(found, code, "{id} {to}");
        assert_eq!(place, if id.is_empty() { "id" } else { "to" });
    }
    assert_eq!(fs::read(full.join("mine")).unwrap(), b"precious");
    assert!(!beneath.exists() && !nowhere.exists());
    assert!(!caller.folder.path().join("to").exists());
    // A folder that is there and empty is taken.
    let empty = caller.make("empty");
    assert_eq!(caller.backup("b", &empty).unwrap()["artifacts"], json!(1));
}

#[test]
fn a_copy_is_made_once_however_often_it_is_asked_for() {
    let (mut gate, faults) = Gate::new();
    let mut caller = Caller::with(Options { faults, ..Options::default() });
    caller.put(b"x", "n", 0);
    let (to, other) = (caller.folder.path().join("to"), caller.folder.path().join("other"));
    let order = json!({"id": "b", "to": to});
    assert!(caller.begin_backup(&order).is_none());
    assert!(caller.begin_backup(&order).is_none());
    let busy = caller.begin_backup(&json!({"id": "c", "to": other})).unwrap();
    assert_eq!(busy.unwrap_err().code, Code::Overloaded);
    gate.open();
    let answers = caller.end_backup();
    assert_eq!(answers.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 1]);
    let told = json!({"artifacts": 1, "bytes": 1});
    assert!(answers.iter().all(|(_, answer)| answer.as_ref().unwrap() == &told));
    caller.put(b"later", "n", 0);
    assert_eq!(caller.begin_backup(&order).unwrap().unwrap(), told);
    let again = caller.begin_backup(&json!({"id": "c", "to": to})).unwrap();
    assert_eq!(again.unwrap_err().code, Code::Conflict);
    assert_eq!(caller.backup("c", &other).unwrap()["artifacts"], json!(2));
}

#[test]
fn what_a_killed_store_left_is_begun_anew_by_the_same_order_only() {
    let mut caller = Caller::new();
    caller.put(b"x", "n", 0);
    let to = caller.make("to");
    for name in ["blobs/ab", "chunks"] {
        fs::create_dir_all(to.join(name)).unwrap();
    }
    fs::write(to.join("blobs/ab/half"), "hal").unwrap();
    fs::write(to.join("index.redb"), "hal").unwrap();
    fs::write(to.join("backup.part"), "b").unwrap();
    let (code, _) = caller.refused("backup", json!({"id": "c", "to": to}));
    assert_eq!(code, Code::Conflict);
    assert!(to.join("blobs/ab/half").exists());
    // It is no store either.
    assert!(symphony_artifacts::ArtifactService::with(&to, Options::default()).is_err());
    assert_eq!(caller.backup("b", &to).unwrap(), json!({"artifacts": 1, "bytes": 1}));
    assert!(!to.join("blobs/ab/half").exists());
    assert_eq!(opened(&caller, &to, Options::default()).ok("verify", json!({}))["blobs"], json!(1));
}

#[test]
fn a_copy_that_fails_leaves_the_folder_as_it_was() {
    let (gate, faults) = Gate::new();
    let mut caller = Caller::with(Options { faults, ..Options::default() });
    caller.put(b"x", "n", 0);
    caller.put(b"y", "n", 0);
    let (there, new) = (caller.make("there"), caller.folder.path().join("new"));
    for to in [&there, &new] {
        assert!(caller.begin_backup(&json!({"id": "b", "to": to})).is_none());
        gate.next(true);
        gate.next(false);
        let error = caller.end_backup().remove(0).1.unwrap_err();
        assert_eq!(error.code, Code::Io, "{error}");
    }
    assert!(inside(&there).is_empty() && !new.exists());
    assert!(inside(&caller.store().join("tmp")).is_empty());
    assert_eq!(caller.ok("verify", json!({}))["blobs"], json!(2));
}

#[test]
fn a_flush_that_fails_ends_the_copy_and_the_store_goes_on() {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::Arc;
    let full = Arc::new(AtomicBool::new(false));
    let (mut gate, gated) = Gate::new();
    let hook = Arc::clone(&full);
    let faults = Faults::new(move |step| match step {
        Step::SyncBlobs if hook.load(Ordering::Relaxed) => {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }
        _ => gated.before(step),
    });
    let mut caller = Caller::with(Options { faults, ..Options::default() });
    let kept = caller.put(b"x", "n", 0);
    caller.put(b"y", "n", 0);
    let to = caller.make("to");
    assert!(caller.begin_backup(&json!({"id": "b", "to": to})).is_none());
    gate.next(true);
    full.store(true, Ordering::Relaxed);
    // The copy waits for its second file, and the flush for the copy.
    let letting = std::thread::spawn(move || gate.open());
    assert_eq!(caller.refused("put", json!({"data": bin(b"z"), "ts": ts(0, 0)})).0, Code::Io);
    letting.join().unwrap();
    match caller.end_backup().remove(0).1 {
        Err(error) => {
            assert_eq!(error.code, Code::Io, "{error}");
            assert!(inside(&to).is_empty());
        }
        // It had come to its end before.
        Ok(told) => assert_eq!(told, json!({"artifacts": 2, "bytes": 2})),
    }
    full.store(false, Ordering::Relaxed);
    assert_eq!(caller.get(&kept).unwrap(), b"x");
    caller.put(b"z", "n", 0);
}

#[test]
fn what_is_packed_swept_or_sealed_anew_meanwhile_is_copied_as_it_was() {
    let keys = tempfile::tempdir().unwrap();
    let file = keys.path().join("keys");
    let give = |keys: &str| {
        fs::write(&file, keys).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    give(KEY);
    let (mut gate, faults) = Gate::new();
    let source = Source::File(file.clone());
    let mut caller = Caller::with(Options { keys: source, faults, ..Options::default() });
    let large = noise(6, 1_300_000);
    let refs = [
        caller.put(&letters(1), "n", 0),
        caller.put(&letters(2), "n", 0),
        collect(&mut caller, &large, "large", 0),
    ];
    let before = tree(&caller.store());
    let to = caller.folder.path().join("to");
    assert!(caller.begin_backup(&json!({"id": "b", "to": to})).is_none());
    let packed = caller.ok("pack", json!({"refs": refs, "ts": ts(0, 0)}));
    assert_eq!(packed["packed"].as_array().unwrap().len(), 3);
    sweep(&mut caller, &refs[1], letters(2).len(), 2);
    sweep(&mut caller, &refs[2], large.len(), 2);
    collect(&mut caller, &large, "large", 5);
    give(&format!("{NEXT}\n{KEY}"));
    while caller.ok("rotate", json!({})).get("next").is_some() {}
    assert_ne!(tree(&caller.store()), before);
    gate.open();
    assert_eq!(caller.end_backup().remove(0).1.unwrap()["artifacts"], json!(3));
    // To the byte, and without the newer key.
    let copied = tree(&to);
    for (path, (_, bytes)) in before {
        if path.starts_with("blobs/") || path.starts_with("chunks/") {
            assert_eq!(copied[&path].1, bytes, "{path}");
        }
    }
    let old = Options { keys: Source::Given(KEY.to_owned()), ..Options::default() };
    let mut copy = opened(&caller, &to, old);
    assert_eq!(copy.get(&refs[1]).unwrap(), letters(2));
    assert_eq!(copy.get(&refs[2]).unwrap(), large);
    let verified = copy.ok("verify", json!({}));
    assert_eq!((&verified["blobs"], &verified["locked"]), (&json!(3), &Json::Null));
    assert!(inside(&caller.store().join("tmp")).is_empty());
}

#[test]
fn a_store_without_its_key_or_for_reading_only_can_be_copied() {
    let sealed = Options { keys: Source::Given(KEY.to_owned()), ..Options::default() };
    let mut caller = Caller::with(sealed.clone());
    let reference = caller.put(b"secret", "n", 0);
    let blind = Options::default();
    let looking = Options { read_only: true, ..sealed.clone() };
    for (name, options) in [("blind", blind), ("looking", looking)] {
        caller = caller.reopen(options);
        let to = caller.folder.path().join(name);
        assert_eq!(caller.backup("b", &to).unwrap(), json!({"artifacts": 1, "bytes": 6}));
        let mut copy = opened(&caller, &to, sealed.clone());
        assert_eq!(copy.get(&reference).unwrap(), b"secret");
    }
}

#[test]
fn what_is_damaged_is_told_and_copied_as_it_is() {
    let mut caller = Caller::new();
    let [lost, kept, emptied, other, whole] =
        [&b"lost"[..], b"kept", b"emptied", b"other", b"whole"].map(|it| caller.put(it, "n", 0));
    let large = noise(5, 2_500_000);
    let chunked = collect(&mut caller, &large, "large", 0);
    let store = caller.store();
    let file = |reference: &String| common::blob_file(&store, &reference.parse().unwrap());
    fs::remove_file(file(&lost)).unwrap();
    fs::write(file(&emptied), b"").unwrap();
    fs::write(file(&other), b"\0anything else").unwrap();
    // As a store that is killed while it packs leaves it: whole, but of another length.
    let packed = [&[1][..], &zstd::encode_all(&b"whole"[..], 12).unwrap()].concat();
    fs::write(file(&whole), packed).unwrap();
    let chunk = chunk_files(&store)[0].clone();
    let length = fs::metadata(&chunk).unwrap().len();
    File::options().write(true).open(&chunk).unwrap().set_len(length - 1).unwrap();
    let to = caller.folder.path().join("to");
    let mut told = caller.backup("b", &to).unwrap();
    let named = told["named"].take();
    let bytes = 4 + 4 + 7 + 5 + 5 + large.len();
    assert_eq!(told, json!({"artifacts": 6, "bytes": bytes, "damaged": 4, "named": null}));
    let whys = |path: &Path| {
        let path = path.strip_prefix(&store).unwrap().to_str().unwrap();
        let mut rows = named.as_array().unwrap().iter().filter(|row| row["path"] == path);
        rows.next().unwrap()["why"].as_str().unwrap().to_owned()
    };
    assert_eq!(whys(&file(&lost)), "this file is missing");
    assert!(whys(&file(&emptied)).starts_with("0 bytes instead of 8: "));
    assert_eq!(whys(&file(&other)), "14 bytes instead of 6: it holds something else");
    let cut = format!("{} bytes instead of {length}: ", length - 1);
    assert!(whys(&chunk).starts_with(&cut), "{}", whys(&chunk));
    let mut copy = opened(&caller, &to, Options::default());
    assert_eq!(copy.get(&kept).unwrap(), b"kept");
    assert_eq!(copy.get(&whole).unwrap(), b"whole");
    let mut bad = [lost, emptied, other, chunked];
    bad.sort();
    assert_eq!(copy.ok("verify", json!({}))["bad"], json!(bad));
}

/// A folder on another file system than the temporary one, if this machine has one.
fn elsewhere() -> Option<tempfile::TempDir> {
    let folder = tempfile::tempdir_in("/dev/shm").ok()?;
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    (device(folder.path()) != device(&std::env::temp_dir())).then_some(folder)
}

#[test]
fn on_another_file_system_files_are_copied() {
    let Some(elsewhere) = elsewhere() else {
        eprintln!("this machine has no second file system");
        return;
    };
    let mut caller = Caller::new();
    let reference = caller.put(&letters(3), "n", 0);
    let to = elsewhere.path().join("to");
    caller.backup("b", &to).unwrap();
    let file = fs::metadata(common::blob_file(&to, &reference.parse().unwrap())).unwrap();
    assert_eq!((file.nlink(), file.permissions().mode() & 0o7777), (1, 0o600));
    assert_eq!(opened(&caller, &to, Options::default()).get(&reference).unwrap(), letters(3));
}

/// Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % most as u64) as usize
    }
}

/// A store that is used at random, with what it is to hold.
struct Used {
    caller: Caller,
    dice: Dice,
    day: u64,
    there: BTreeMap<String, Vec<u8>>,
    made: u64,
    keys: PathBuf,
}

impl Used {
    fn any(&mut self) -> Option<String> {
        let place = self.dice.below(self.there.len().max(1));
        self.there.keys().nth(place).cloned()
    }

    fn content(&mut self) -> Vec<u8> {
        self.made += 1;
        match self.dice.below(8) {
            0 => {
                // Shares most of its chunks with others.
                let mut content = noise(77, 2_000_000);
                content.extend(self.made.to_le_bytes());
                content
            }
            1..=3 => letters(self.made),
            _ => noise(self.made, 1 + self.dice.below(5_000)),
        }
    }

    fn put(&mut self, content: Vec<u8>) {
        let name = format!("n{}", self.dice.below(5));
        let reference = collect(&mut self.caller, &content, &name, self.day);
        assert_eq!(reference, Reference::of(&content).to_string());
        self.there.insert(reference, content);
    }

    fn act(&mut self) {
        self.day += 3;
        let day = self.day;
        match self.dice.below(10) {
            0..=2 => {
                let content = self.content();
                self.put(content);
            }
            3..=5 => {
                let Some(reference) = self.any() else { return };
                let content = self.there.remove(&reference).unwrap();
                sweep(&mut self.caller, &reference, content.len(), day);
                // It comes back now and then.
                if self.dice.below(3) == 0 {
                    self.put(content);
                }
            }
            6..=7 => {
                let Some(reference) = self.any() else { return };
                self.caller.ok("pack", json!({"refs": [reference], "ts": ts(day, 0)}));
            }
            8 => {
                let Some(reference) = self.any() else { return };
                let tags = [format!("t{}", self.made)];
                self.caller.ok("tag", json!({"ref": reference, "add": tags, "ts": ts(day, 0)}));
            }
            _ => {
                if self.keys.exists() {
                    let (one, other) =
                        if self.made.is_multiple_of(2) { (KEY, NEXT) } else { (NEXT, KEY) };
                    fs::write(&self.keys, format!("{one}\n{other}\n")).unwrap();
                    while self.caller.ok("rotate", json!({})).get("next").is_some() {}
                }
            }
        }
    }
}

fn history(seed: u64) {
    let (mut gate, faults) = Gate::new();
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let mut options = Options { faults, ..Options::default() };
    if seed % 2 == 1 {
        fs::write(&keys, format!("{KEY}\n{NEXT}\n")).unwrap();
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
        options.keys = Source::File(keys.clone());
    }
    let caller = Caller::with(options.clone());
    let there = BTreeMap::new();
    let mut used = Used { caller, dice: Dice(seed), day: 0, there, made: 0, keys };
    used.caller.ok("configure", json!({"grace_s": 1}));
    for _ in 0..25 {
        used.act();
    }
    let to = used.caller.folder.path().join("to");
    let expected = used.there.clone();
    let listed = used.caller.ok("list", json!({"limit": 1000}));
    let files =
        common::files(&used.caller.store()).0.len() + chunk_files(&used.caller.store()).len();
    assert!(used.caller.begin_backup(&json!({"id": "b", "to": to})).is_none());
    for _ in 0..files {
        for _ in 0..used.dice.below(3) {
            used.act();
        }
        gate.next(true);
    }
    gate.open();
    let told = used.caller.end_backup().remove(0).1.unwrap();
    let bytes: usize = expected.values().map(Vec::len).sum();
    assert_eq!(told, json!({"artifacts": expected.len(), "bytes": bytes}), "seed {seed}");

    let options = Options { faults: Faults::default(), ..options };
    let mut copy = opened(&used.caller, &to, options);
    let verified = copy.ok("verify", json!({}));
    let whole = json!({"blobs": expected.len(), "bytes": bytes, "bad": []});
    assert_eq!(verified, whole, "seed {seed}");
    assert_eq!(copy.ok("list", json!({"limit": 1000})), listed, "seed {seed}");
    for (reference, content) in &expected {
        assert_eq!(&copy.get(reference).unwrap(), content, "seed {seed}");
    }
    for (reference, content) in &used.there.clone() {
        assert_eq!(&used.caller.get(reference).unwrap(), content, "seed {seed}");
    }
    assert_eq!(used.caller.ok("verify", json!({}))["bad"], json!([]), "seed {seed}");
    assert!(inside(&used.caller.store().join("tmp")).is_empty(), "seed {seed}");
}

#[test]
fn a_copy_made_under_random_load_is_the_store_of_the_moment_it_began() {
    let seeds = std::env::var("SYMPHONY_HISTORIES").map_or(6, |seeds| seeds.parse().unwrap());
    match std::env::var("SYMPHONY_SEED") {
        Ok(seed) => history(seed.parse().unwrap()),
        Err(_) => (0..seeds).for_each(history),
    }
}
