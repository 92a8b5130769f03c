//! Copy → read back → hash → proof. Nothing here frees anything: that rests on the proof.

use serde::Deserialize;
use symphony_journal::Storage;
use symphony_member::Reference;
use symphony_wire::Code;

use crate::archive::{
    Begin, Begun, Commit, Delete, Deleted, Found, Get, Got, Kept, Part, Stat, MAX_PART,
};
use crate::desk::{Desk, Disk, Miss};
use crate::ledger::MAX_PROOFS;
use crate::record::{Proof, Record};

#[derive(Deserialize)]
struct Nothing {}

/// What is to be archived.
pub struct Piece {
    pub reference: Reference,
    pub runs: Vec<String>,
    pub whole: Option<Reference>,
}

/// Why a copy is not proven.
pub enum Fail {
    /// Of this artifact alone; others go on.
    Item(Miss),
    /// Something is not certain: deletion stops.
    Stop(Miss),
}

/// Copies an artifact and proves it. A proof that there is already is not made again.
pub async fn archive<S: Disk>(
    desk: &Desk<S>,
    place: &str,
    piece: Piece,
    ts: &str,
) -> Result<(), Fail> {
    let reference = piece.reference;
    let (former, full) = {
        let core = desk.lock();
        (core.ledger.proof(&reference).cloned(), core.ledger.proofs.len() >= MAX_PROOFS)
    };
    if former.as_ref().is_some_and(|proof| proof.place == place) {
        return Ok(());
    }
    if full && former.is_none() {
        return Err(Fail::Stop(Miss::new(
            Code::Overloaded,
            format!("there are {MAX_PROOFS} proofs"),
        )));
    }
    let bytes = copy(desk, place, &reference).await?;
    let hash = match read_back(desk, place, &reference, bytes).await {
        Ok(hash) => hash,
        Err(miss) => {
            if matches!(miss.code, Code::WrongOutput | Code::Corrupt) {
                // No proof cites it: it is worth nothing, and would be in the way of a better one.
                let why = "it was not read back as it was written".to_owned();
                let _: Result<Deleted, Miss> =
                    desk.ask(place, "delete", &Delete { reference, why }).await;
            }
            return Err(Fail::Stop(miss));
        }
    };
    let number = desk.lock().ledger.totals.proofs + 1;
    let proof = Proof {
        number,
        reference,
        bytes,
        place: place.to_owned(),
        archived: ts.to_owned(),
        read_back: ts.to_owned(),
        hash,
        runs: piece.runs,
        whole: piece.whole,
        freed: None,
        restored: None,
        lost: None,
    };
    desk.commit(Record::Proved(proof)).map_err(Fail::Stop)
}

/// Brings the bytes into the archive; how many there are. They are hashed on the way: damage here is not spread.
async fn copy<S: Disk>(desk: &Desk<S>, place: &str, reference: &Reference) -> Result<u64, Fail> {
    let there: Result<Found, Miss> = desk.ask(place, "stat", &Stat { reference: *reference }).await;
    let there = match there {
        Ok(found) => Some(found.bytes),
        Err(miss) if miss.code == Code::NotFound => None,
        Err(miss) => return Err(Fail::Stop(miss)),
    };
    let mut first: Got = take(desk, reference, 0).await?;
    let bytes = first.bytes;
    if there == Some(bytes) {
        return Ok(bytes);
    }
    if there.is_some() {
        // Of another length, so it is not this artifact, and nothing cites it.
        let why = "it has another length than the artifact".to_owned();
        let gone: Deleted = desk
            .ask(place, "delete", &Delete { reference: *reference, why })
            .await
            .map_err(Fail::Stop)?;
        if !gone.deleted {
            return Err(Fail::Stop(wrong(place, reference, "is there and cannot be deleted")));
        }
    }
    let begin = Begin { reference: *reference, bytes };
    let Begun { upload } = desk.ask(place, "begin", &begin).await.map_err(Fail::Stop)?;
    let mut hasher = blake3::Hasher::new();
    let mut offset = 0;
    while offset < bytes {
        if offset > 0 {
            first = take(desk, reference, offset).await?;
        }
        let length = first.data.len() as u64;
        let fits = first.bytes == bytes && length > 0 && length <= bytes - offset;
        if !fits || first.more != (offset + length < bytes) || first.data.len() > MAX_PART {
            return Err(Fail::Stop(wrong(crate::ARTIFACTS, reference, "has no certain length")));
        }
        hasher.update(&first.data);
        let part = Part { upload: upload.clone(), offset, data: std::mem::take(&mut first.data) };
        let _: Nothing = desk.ask(place, "part", &part).await.map_err(Fail::Stop)?;
        offset += length;
    }
    if Reference::from(hasher.finalize()) != *reference {
        return Err(Fail::Item(wrong(
            crate::ARTIFACTS,
            reference,
            "has other bytes than its name says",
        )));
    }
    let kept: Kept = desk.ask(place, "commit", &Commit { upload }).await.map_err(Fail::Stop)?;
    if (kept.reference, kept.bytes) != (*reference, bytes) {
        return Err(Fail::Stop(wrong(place, reference, "was kept as something else")));
    }
    Ok(bytes)
}

/// A part of an artifact from the store. That one artifact is damaged or gone says nothing of the others.
async fn take<S: Disk>(desk: &Desk<S>, reference: &Reference, offset: u64) -> Result<Got, Fail> {
    let get = Get { reference: *reference, offset, limit: MAX_PART };
    desk.store("get", &get).await.map_err(|miss| match miss.code {
        Code::Corrupt | Code::NotFound => Fail::Item(miss),
        _ => Fail::Stop(miss),
    })
}

/// Hashes what the archive gives. Anything but these bytes, all of them and no more, is `wrong-output`.
pub async fn read_back<S: Disk>(
    desk: &Desk<S>,
    place: &str,
    reference: &Reference,
    bytes: u64,
) -> Result<Reference, Miss> {
    let mut hasher = blake3::Hasher::new();
    let mut offset = 0;
    loop {
        let got = part(desk, place, reference, offset, bytes).await?;
        hasher.update(&got);
        offset += got.len() as u64;
        if offset >= bytes {
            break;
        }
    }
    let hash = Reference::from(hasher.finalize());
    match hash == *reference {
        true => Ok(hash),
        false => Err(wrong(place, reference, "came back with other bytes")),
    }
}

/// The next part from the archive, which must fit what it says it has.
pub async fn part<S: Disk>(
    desk: &Desk<S>,
    place: &str,
    reference: &Reference,
    offset: u64,
    bytes: u64,
) -> Result<Vec<u8>, Miss> {
    let get = Get { reference: *reference, offset, limit: MAX_PART };
    let got: Got = desk.ask(place, "get", &get).await?;
    let end = offset + got.data.len() as u64;
    let fits = got.bytes == bytes && end <= bytes && got.more == (end < bytes);
    match fits && (end > offset || bytes == 0) {
        true => Ok(got.data),
        false => Err(wrong(place, reference, "came back with another length")),
    }
}

/// Whether the archive still says that it has what the proof cites.
pub async fn is_there<S: Disk>(desk: &Desk<S>, proof: &Proof) -> Result<bool, Miss> {
    let stat = Stat { reference: proof.reference };
    match desk.ask::<Found>(&proof.place, "stat", &stat).await {
        Ok(found) => Ok(found.bytes == proof.bytes),
        Err(miss) if miss.code == Code::NotFound => Ok(false),
        Err(miss) => Err(miss),
    }
}

fn wrong(place: &str, reference: &Reference, what: &str) -> Miss {
    Miss::new(Code::WrongOutput, format!("{place}: {reference} {what}"))
}

/// Whether the journal's bound lets so many more artifacts be marked.
pub fn has_room<S: Storage>(desk: &Desk<S>, more: usize) -> bool {
    desk.lock().ledger.marks.len() + more <= crate::ledger::MAX_MARKS
}
