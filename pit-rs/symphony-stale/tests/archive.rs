//! The built-in archive by itself: `pit.archive/1`, with power cuts at every change of the disk.
#![allow(clippy::unwrap_used)] // A test may panic.

use symphony_journal::memory::MemoryStorage;
use symphony_member::Reference;
use symphony_stale::archive::{
    Begin, Begun, Commit, Delete, Deleted, Found, Get, Got, Kept, Part, Stat,
};
use symphony_stale::Archive;
use symphony_wire::service::{Answer, Call, Service};
use symphony_wire::{body, BusError, Code};

type Place = Archive<MemoryStorage>;

fn ask<R: serde::de::DeserializeOwned>(
    archive: &mut Place,
    method: &str,
    arguments: &impl serde::Serialize,
) -> Result<R, BusError> {
    let body = body::write(arguments);
    let call = Call { capability: "pit.archive/1", method, body: &body };
    match Service::call(archive, call) {
        Answer::Now(outcome) => outcome.map(|bytes| body::read(&bytes).unwrap()),
        Answer::AfterFlush(_) => panic!("what is answered is on disk"),
    }
}

#[derive(serde::Deserialize)]
struct Nothing {}

fn put(archive: &mut Place, reference: Reference, bytes: &[u8]) -> Result<Kept, BusError> {
    let Begun { upload } = ask(archive, "begin", &Begin { reference, bytes: bytes.len() as u64 })?;
    for (number, data) in bytes.chunks(4).enumerate() {
        let part = Part { upload: upload.clone(), offset: number as u64 * 4, data: data.to_vec() };
        let _: Nothing = ask(archive, "part", &part)?;
        // Again is no error.
        let _: Nothing = ask(archive, "part", &part)?;
    }
    let kept: Kept = ask(archive, "commit", &Commit { upload: upload.clone() })?;
    let again: Kept = ask(archive, "commit", &Commit { upload })?;
    assert_eq!((again.reference, again.bytes), (kept.reference, kept.bytes));
    Ok(kept)
}

fn get(archive: &mut Place, reference: Reference) -> Result<Vec<u8>, BusError> {
    let mut bytes = vec![];
    loop {
        let get = Get { reference, offset: bytes.len() as u64, limit: 3 };
        let got: Got = ask(archive, "get", &get)?;
        bytes.extend(got.data);
        assert!(bytes.len() as u64 <= got.bytes);
        if !got.more {
            return Ok(bytes);
        }
    }
}

fn code<T>(result: Result<T, BusError>) -> Code {
    result.err().unwrap().code
}

#[test]
fn what_was_put_in_parts_is_given_back_listed_and_deleted() {
    let mut archive = Archive::open(MemoryStorage::new()).unwrap();
    let all: Vec<&[u8]> = vec![b"first content", b"second", b""];
    for bytes in &all {
        let reference = Reference::of(bytes);
        assert_eq!(put(&mut archive, reference, bytes).unwrap().bytes, bytes.len() as u64);
        assert_eq!(get(&mut archive, reference).unwrap(), *bytes);
        let stat: Found = ask(&mut archive, "stat", &Stat { reference }).unwrap();
        assert_eq!(stat.bytes, bytes.len() as u64);
    }
    let reference = Reference::of(all[0]);
    let other = ask::<Begun>(&mut archive, "begin", &Begin { reference, bytes: 1 });
    assert_eq!(code(other), Code::Conflict);
    let delete = Delete { reference, why: "a test".into() };
    for there in [true, false] {
        let reply: Deleted = ask(&mut archive, "delete", &delete).unwrap();
        assert_eq!(reply.deleted, there);
    }
    assert_eq!(code(get(&mut archive, reference)), Code::NotFound);
    let unsaid = Delete { reference, why: String::new() };
    assert_eq!(code(ask::<Deleted>(&mut archive, "delete", &unsaid)), Code::BadRequest);
}

#[test]
fn parts_out_of_order_too_long_or_of_nobody_are_refused_and_nothing_half_is_visible() {
    let mut archive = Archive::open(MemoryStorage::new()).unwrap();
    let reference = Reference::of(b"12345678");
    let Begun { upload } = ask(&mut archive, "begin", &Begin { reference, bytes: 8 }).unwrap();
    let mut part = |upload: &str, offset, data: &[u8]| {
        let part = Part { upload: upload.into(), offset, data: data.to_vec() };
        ask::<Nothing>(&mut archive, "part", &part).err().map(|error| error.code)
    };
    assert_eq!(part(&upload, 1, b"2"), Some(Code::Conflict));
    assert_eq!(part(&upload, 0, b"123456789"), Some(Code::BadRequest));
    assert_eq!(part(&upload, 0, b""), Some(Code::BadRequest));
    assert_eq!(part("upload-99", 0, b"1"), Some(Code::NotFound));
    assert_eq!(part(&upload, 0, b"1234"), None);
    assert_eq!(part(&upload, 0, b"1235"), Some(Code::Conflict));
    assert_eq!(code(ask::<Kept>(&mut archive, "commit", &Commit { upload })), Code::BadRequest);
    assert_eq!(code(get(&mut archive, reference)), Code::NotFound);
}

#[test]
fn a_power_cut_at_any_change_leaves_all_or_nothing_and_what_was_kept_stays() {
    for changes in 0..20 {
        for names in [false, true] {
            let disk = MemoryStorage::new();
            let mut archive = Archive::open(disk.clone()).unwrap();
            let former = Reference::of(b"former");
            put(&mut archive, former, b"former").unwrap();
            disk.set_fuse(Some(changes));
            let reference = Reference::of(b"some content");
            let kept = put(&mut archive, reference, b"some content").is_ok();
            if names {
                disk.cut_power_after_names()
            } else {
                disk.cut_power()
            }
            let mut archive = Archive::open(disk).unwrap();
            assert_eq!(get(&mut archive, former).unwrap(), b"former");
            match get(&mut archive, reference) {
                Ok(bytes) => assert_eq!(bytes, b"some content", "after {changes}"),
                Err(error) => assert!(!kept && error.code == Code::NotFound, "after {changes}"),
            }
            put(&mut archive, reference, b"some content").unwrap();
        }
    }
}

#[test]
fn uploads_that_nobody_goes_on_with_are_dropped() {
    let mut archive = Archive::open(MemoryStorage::new()).unwrap();
    let begin = |n: u8| Begin { reference: Reference::of(&[n]), bytes: 1 };
    let Begun { upload } = ask(&mut archive, "begin", &begin(0)).unwrap();
    for n in 1..=16 {
        let _: Begun = ask(&mut archive, "begin", &begin(n)).unwrap();
    }
    let part = Part { upload, offset: 0, data: vec![0] };
    assert_eq!(code(ask::<Nothing>(&mut archive, "part", &part)), Code::NotFound);
}
