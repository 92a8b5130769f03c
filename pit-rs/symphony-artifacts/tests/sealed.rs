//! Sealed stores: nothing of a content is on disk, keys change, and a store without its key is not harmed.
#![allow(clippy::unwrap_used)] // A test ends where its helpers fail.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::caller::{bin, ts, Caller};
use common::noise;
use serde_json::json;
use symphony_artifacts::keys::Source;
use symphony_artifacts::store::Options;
use symphony_artifacts::Reference;
use symphony_wire::Code;

const ONE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const TWO: &str = "2222222222222222222222222222222222222222222222222222222222222222";

fn keys(keys: &str) -> Options {
    Options { keys: Source::Given(keys.to_owned()), ..Options::default() }
}

fn all_files(folder: &Path, found: &mut BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)>) {
    for item in fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            all_files(&path, found);
        } else {
            let modified = fs::metadata(&path).unwrap().modified().unwrap();
            found.insert(path.clone(), (fs::read(&path).unwrap(), modified));
        }
    }
}

fn snapshot(caller: &Caller) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    all_files(&caller.store(), &mut found);
    found
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// A small text, one that is compressed, one in chunks.
fn contents() -> [Vec<u8>; 3] {
    let text = "the hidden treasure of the house ".repeat(1_000);
    let mut large = noise(4, 1_700_000);
    large[1_000_000..1_000_013].copy_from_slice(b"SECRET-RECIPE");
    [b"SECRET-RECIPE, short".to_vec(), text.into_bytes(), large]
}

fn fill(caller: &mut Caller) -> Vec<String> {
    let outbox = caller.make("outbox");
    contents()
        .iter()
        .enumerate()
        .map(|(number, content)| {
            if content.len() < 1_000_000 {
                return caller.put(content, &format!("n{number}"), 0);
            }
            fs::write(outbox.join("f"), content).unwrap();
            let items = json!([{"name": "large", "path": "f"}]);
            caller.ok("collect", json!({"folder": outbox, "items": items, "ts": ts(0, 0)}));
            Reference::of(content).to_string()
        })
        .collect()
}

fn is_whole(caller: &mut Caller, refs: &[String]) {
    for (reference, content) in refs.iter().zip(contents()) {
        assert_eq!(caller.get(reference).unwrap(), content);
    }
    let verified = caller.ok("verify", json!({}));
    assert_eq!((&verified["blobs"], &verified["bad"]), (&json!(3), &json!([])));
}

#[test]
fn nothing_of_a_content_is_on_disk_and_all_of_it_comes_back() {
    let mut caller = Caller::with(keys(ONE));
    let refs = fill(&mut caller);
    is_whole(&mut caller, &refs);
    for (path, (bytes, _)) in snapshot(&caller) {
        for part in [b"SECRET-RECIPE".as_slice(), b"hidden", b"treasure"] {
            assert!(!contains(&bytes, part), "{} tells", path.display());
        }
    }
    let found = caller.ok("search", json!({"text": "treasure house"}));
    assert_eq!(found["artifacts"].as_array().unwrap().len(), 1);
    let mut caller = caller.reopen(keys(&format!("{TWO} {ONE}")));
    is_whole(&mut caller, &refs);
}

#[test]
fn a_sealed_byte_that_is_changed_is_damage() {
    let mut caller = Caller::with(keys(ONE));
    let reference = caller.put(&contents()[0], "n", 0);
    let place = common::blob_file(&caller.store(), &reference.parse().unwrap());
    let whole = fs::read(&place).unwrap();
    for at in [0, 9, 20, 30, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&place, bytes).unwrap();
        let error = caller.get(&reference).unwrap_err();
        assert_eq!(error.code, Code::Corrupt, "byte {at}: {error}");
    }
}

#[test]
fn keys_are_rotated_and_the_old_one_can_go() {
    let mut caller = Caller::new();
    let refs = fill(&mut caller);
    // From no key to one, from one to another; each step as a store that was started anew.
    let rotated = |caller: Caller, given: &str, only: &str| {
        let mut caller = caller.reopen(keys(given));
        let (mut after, mut files) = (json!({}), 0);
        loop {
            let reply = caller.ok("rotate", after);
            files += reply["files"].as_u64().unwrap();
            match reply.get("next") {
                Some(next) => after = json!({"after": next}),
                None => break,
            }
        }
        assert!(files >= 3, "{files}");
        is_whole(&mut caller, &refs);
        let mut caller = caller.reopen(keys(only));
        is_whole(&mut caller, &refs);
        assert_eq!(caller.ok("rotate", json!({}))["files"], 0);
        let found = caller.ok("search", json!({"text": "house"}));
        assert_eq!(found["artifacts"].as_array().unwrap().len(), 1);
        caller
    };
    let caller = rotated(caller, ONE, ONE);
    let caller = rotated(caller, &format!("{TWO},{ONE}"), TWO);
    for (path, (bytes, _)) in snapshot(&caller) {
        let index = path.ends_with("index.redb");
        assert!(index || !contains(&bytes, b"SECRET"), "{}", path.display());
    }
    let mut bare = Caller::new();
    assert_eq!(bare.refused("rotate", json!({})), (Code::BadRequest, "keys".to_owned()));
}

#[test]
fn a_store_without_its_key_tells_what_it_has_and_is_not_harmed() {
    let mut caller = Caller::with(keys(ONE));
    let refs = fill(&mut caller);
    for options in [Options::default(), keys(TWO)] {
        caller = caller.reopen(options);
        let before = snapshot(&caller);
        assert_eq!(caller.ok("list", json!({}))["artifacts"].as_array().unwrap().len(), 3);
        assert_eq!(caller.refused("get", json!({"ref": refs[0]})).0, Code::Refused);
        assert_eq!(caller.refused("get", json!({"ref": refs[2]})).0, Code::Refused);
        let put = json!({"data": bin(b"in the clear"), "ts": ts(0, 0)});
        assert_eq!(caller.refused("put", put).0, Code::Refused);
        assert_eq!(caller.refused("search", json!({"text": "x"})).0, Code::Refused);
        assert_eq!(
            caller.refused("mark", json!({"refs": refs, "why": "w", "ts": ts(9, 0)})).0,
            Code::Refused
        );
        let verified = caller.ok("verify", json!({}));
        assert_eq!((&verified["bad"], &verified["locked"]), (&json!([]), &json!(3)));
        let after = snapshot(&caller);
        let changed = before.keys().filter(|path| before[*path] != after[*path]);
        let changed: Vec<_> = changed.filter(|path| !path.ends_with("index.redb")).collect();
        assert!(changed.is_empty() && before.len() == after.len(), "{changed:?}");
    }
    let mut caller = caller.reopen(keys(ONE));
    is_whole(&mut caller, &refs);
}

#[test]
fn a_store_that_is_open_for_reading_stays_as_it_is_to_the_byte() {
    let mut caller = Caller::with(keys(ONE));
    let refs = fill(&mut caller);
    // What a killed process leaves: an index that wants repair, files that nobody knows.
    let crashed = caller.make("crashed");
    for (path, (bytes, _)) in snapshot(&caller) {
        let place = crashed.join(path.strip_prefix(caller.store()).unwrap());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, bytes).unwrap();
    }
    fs::write(crashed.join("blobs").join("left-over"), "x").unwrap();
    let Caller { folder: _folder, service, .. } = caller;
    drop(service);
    let mut before = BTreeMap::new();
    all_files(&crashed, &mut before);
    let read_only = || Options { read_only: true, ..keys(ONE) };
    let mut service = common::caller::open(&crashed, read_only());
    let another = common::caller::open(&crashed, read_only());
    drop(another);
    let mut ask = |method: &str, arguments: serde_json::Value| {
        use symphony_wire::service::{Answer, Call};
        let body = rmp_serde::to_vec_named(&common::caller::from_json(&arguments)).unwrap();
        let call = Call { capability: "pit.artifacts/1", method, body: &body };
        match service.handle(call, Default::default()) {
            Answer::Now(outcome) => outcome
                .map(|body| common::caller::to_json(&rmp_serde::from_slice(&body).unwrap()))
                .map_err(|error| error.code),
            Answer::AfterFlush(_) => panic!("{method} would write"),
        }
    };
    assert_eq!(ask("verify", json!({})).unwrap()["blobs"], 3);
    let found = ask("search", json!({"text": "house"})).unwrap();
    assert_eq!(found["artifacts"].as_array().unwrap().len(), 1);
    ask("get", json!({"ref": refs[2], "offset": 1_500_000})).unwrap();
    let data = bin(b"x");
    for (method, arguments) in [
        ("put", json!({"data": data, "ts": ts(0, 0)})),
        ("begin", json!({"ref": refs[0], "bytes": 5})),
        ("mark", json!({"refs": refs, "why": "w", "ts": ts(9, 0)})),
        ("unmark", json!({"refs": refs, "ts": ts(9, 0)})),
        ("sweep", json!({"refs": [], "proofs": [], "ts": ts(9, 0)})),
        ("pack", json!({"refs": refs, "ts": ts(9, 0)})),
        ("rotate", json!({})),
        ("configure", json!({"grace_s": 5})),
        ("tag", json!({"ref": refs[0], "add": ["t"], "ts": ts(9, 0)})),
        ("score", json!({"ref": refs[0], "utility": 5, "ts": ts(9, 0)})),
        ("use", json!({"ref": refs[0], "by": "b", "ts": ts(9, 0)})),
    ] {
        assert_eq!(ask(method, arguments), Err(Code::Refused), "{method}");
    }
    drop(service);
    let mut after = BTreeMap::new();
    all_files(&crashed, &mut after);
    assert!(before == after, "something changed");
}
