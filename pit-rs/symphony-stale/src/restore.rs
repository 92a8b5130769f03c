//! Brings back from the archive what was freed. The store takes it only once its hash is known to be right.

use serde::{Deserialize, Serialize};
use symphony_member::Reference;
use symphony_wire::service::{reply, Outcome};
use symphony_wire::{BusError, Code};

use crate::archive::{Begin, Begun, Commit, Kept, Part, MAX_PART};
use crate::copying::part;
use crate::desk::{Desk, Disk, Miss, Told};
use crate::record::{Amount, Kind, Proof, Record};
use crate::replies::{Piece, Restored};
use crate::requests::{subject, Restore};
use crate::run::unmark;

/// Artifacts of one restore: its reply names each.
const MAX_RESTORED: usize = 10_000;
const LOST: &str = "the archive does not give back what it was proven to have";

#[derive(Serialize)]
struct Put<'a> {
    #[serde(with = "serde_bytes")]
    data: &'a [u8],
    ts: &'a str,
}

pub async fn restore<S: Disk>(desk: &Desk<S>, request: Restore) -> Outcome {
    let print = request.print()?;
    if let Some(reply) = desk.lock().ledger.known(&request.id, &print)? {
        return Ok(reply);
    }
    let proofs: Vec<Proof> = {
        let core = desk.lock();
        let wanted = |proof: &&Proof| match (&request.reference, &request.run) {
            (Some(it), _) => proof.reference == *it || proof.whole == Some(*it),
            (None, Some(run)) => proof.runs.contains(run),
            (None, None) => false,
        };
        core.ledger.proofs.values().filter(wanted).cloned().collect()
    };
    if proofs.len() > MAX_RESTORED {
        let message = format!("more than {MAX_RESTORED} artifacts are to be restored");
        return Err(BusError::new(Code::Overloaded, message).help("restore them one by one"));
    }
    let mut restored = Vec::new();
    let (mut here, mut missing, mut damaged) = (Vec::new(), Vec::new(), Vec::new());
    let mut lost = Amount::default();
    if let Some(reference) =
        request.reference.filter(|it| !proofs.iter().any(|proof| proof.reference == *it))
    {
        match is_here(desk, &reference, &request.ts).await? {
            true => here.push(reference),
            false => missing.push(reference),
        }
    }
    // Files have lower numbers than the folder that they are in, so it comes back last.
    for proof in proofs {
        if proof.freed.is_none() && is_here(desk, &proof.reference, &request.ts).await? {
            let (reference, ts) = (proof.reference, request.ts.clone());
            desk.commit(Record::Restored { reference, bytes: 0, ts })?;
            here.push(reference);
            continue;
        }
        match bring_back(desk, &proof, &request.ts).await {
            Ok(()) => restored.push(Piece { reference: proof.reference, bytes: proof.bytes }),
            Err(miss)
                if matches!(miss.code, Code::NotFound | Code::WrongOutput | Code::Corrupt) =>
            {
                let reference = proof.reference;
                tracing::warn!(%reference, %miss, "failed to restore");
                missing.push(reference);
                if miss.code != Code::NotFound {
                    damaged.push(reference);
                }
                if proof.lost.is_none() {
                    lost.add(proof.bytes);
                    desk.commit(Record::Lost { reference, ts: request.ts.clone() })?;
                }
            }
            Err(miss) => return Err(miss.into()),
        }
    }
    let whole = missing.is_empty();
    let mut back = Amount::default();
    restored.iter().for_each(|piece: &Piece| back.add(piece.bytes));
    let bytes = reply(&Restored { restored, here, missing, damaged })?;
    let name = subject(request.reference, request.run.as_ref())?.to_string();
    let mut core = desk.lock();
    for (kind, amount, why) in [(Kind::Restored, back, None), (Kind::Lost, lost, Some(LOST))] {
        if amount.items > 0 {
            core.tell(kind, Told { name: &name, ts: &request.ts, who: None, why }, amount)?;
        }
    }
    if whole {
        core.commit(Record::Did { id: request.id, print, reply: bytes.clone() })?;
    }
    Ok(bytes)
}

/// Whether the store has it; then it is not swept either.
async fn is_here<S: Disk>(desk: &Desk<S>, reference: &Reference, ts: &str) -> Result<bool, Miss> {
    #[derive(Serialize)]
    struct Refs<'a> {
        refs: [&'a Reference; 1],
    }
    #[derive(Deserialize)]
    struct Known {}
    match desk.store::<Known>("stat", &Refs { refs: [reference] }).await {
        Ok(Known {}) => {}
        Err(miss) if miss.code == Code::NotFound => return Ok(false),
        Err(miss) => return Err(miss),
    }
    if desk.lock().ledger.marks.contains_key(reference) {
        unmark(desk, &[*reference], "it was wanted back", ts).await?;
    }
    Ok(true)
}

async fn bring_back<S: Disk>(desk: &Desk<S>, proof: &Proof, ts: &str) -> Result<(), Miss> {
    if proof.bytes <= MAX_PART as u64 {
        let data = part(desk, &proof.place, &proof.reference, 0, proof.bytes).await?;
        check(Reference::of(&data), proof)?;
        let kept: Kept = desk.store("put", &Put { data: &data, ts }).await?;
        check(kept.reference, proof)?;
    } else {
        stream(desk, proof).await?;
    }
    let (reference, bytes, ts) = (proof.reference, proof.bytes, ts.to_owned());
    desk.commit(Record::Restored { reference, bytes, ts })
}

/// Part by part; an upload that is not committed is nothing.
async fn stream<S: Disk>(desk: &Desk<S>, proof: &Proof) -> Result<(), Miss> {
    #[derive(Deserialize)]
    struct Nothing {}
    let Proof { reference, bytes, place, .. } = proof;
    let Begun { upload } =
        desk.store("begin", &Begin { reference: *reference, bytes: *bytes }).await?;
    let mut hasher = blake3::Hasher::new();
    let mut offset = 0;
    while offset < *bytes {
        let data = part(desk, place, reference, offset, *bytes).await?;
        hasher.update(&data);
        let length = data.len() as u64;
        let written = Part { upload: upload.clone(), offset, data };
        let _: Nothing = desk.store("part", &written).await?;
        offset += length;
    }
    check(hasher.finalize().into(), proof)?;
    let kept: Kept = desk.store("commit", &Commit { upload }).await?;
    check(kept.reference, proof)
}

fn check(hash: Reference, proof: &Proof) -> Result<(), Miss> {
    if hash == proof.reference {
        return Ok(());
    }
    let message = format!("{}: {} came back with other bytes", proof.place, proof.reference);
    Err(Miss::new(Code::WrongOutput, message))
}
