//! Letting go: `configure`, `mark`, `unmark`, `sweep`; and writing anew: `pack`, `rotate`.

use std::collections::BTreeMap;

use symphony_wire::service::parse;

use super::{after_flush, bad, instant_of, now, ArtifactService, Handled, Who};
use crate::curation::{GRACE_MS, GRACE_S_MAX};
use crate::layout::Place;
use crate::messages::{
    ConfigureArguments, Configured, MarkArguments, Marked, Nothing, PackArguments, Packed, Piled,
    RefsArguments, RotateArguments, RotateReply, SweepArguments, Swept,
};
use crate::store::Sweeping;
use crate::Reference;

/// References of one call.
const MAX_REFS: usize = 1_000;

impl ArtifactService {
    pub(super) fn configure(&mut self, body: &[u8]) -> Handled {
        let ConfigureArguments { grace_s, by } = parse(body)?;
        let who = Who::new(by, None, None)?;
        let grace_s = grace_s.unwrap_or(GRACE_MS / 1_000);
        if !(1..=GRACE_S_MAX).contains(&grace_s) {
            return Err(bad("grace_s", "the grace is not within a second and a year"));
        }
        let print = format!("symphony-artifacts grace_s {grace_s}");
        let digest = blake3::hash(print.as_bytes()).to_hex().to_string();
        if self.store.grace_ms()? == grace_s * 1_000 {
            return after_flush(&Configured { digest });
        }
        self.store.set_grace_ms(grace_s * 1_000)?;
        self.note_write("configure", &who, &[]);
        after_flush(&Configured { digest })
    }

    pub(super) fn mark(&mut self, body: &[u8]) -> Handled {
        let MarkArguments { refs, why, ts, by } = parse(body)?;
        let who = Who::new(by, None, Some(&ts))?;
        few(&refs)?;
        if why.is_empty() || why.len() > 1024 {
            return Err(bad("why", "the reason has not 1 to 1024 bytes"));
        }
        let marked = self.store.mark(&refs, &why, instant_of(&ts)?)?;
        self.note_write("mark", &who, &refs);
        after_flush(&Marked { marked })
    }

    pub(super) fn unmark(&mut self, body: &[u8]) -> Handled {
        let RefsArguments { refs, ts, by } = parse(body)?;
        let who = Who::new(by, None, Some(&ts))?;
        few(&refs)?;
        self.store.unmark(&refs)?;
        self.note_write("unmark", &who, &refs);
        after_flush(&Nothing {})
    }

    pub(super) fn sweep(&mut self, body: &[u8]) -> Handled {
        let SweepArguments { refs, proofs, ts, by } = parse(body)?;
        let who = Who::new(by, None, Some(&ts))?;
        few(&refs)?;
        let at = instant_of(&ts)?;
        let mut cited: BTreeMap<_, _> =
            proofs.into_iter().map(|citation| (citation.reference, citation)).collect();
        let mut citations = BTreeMap::new();
        for reference in refs {
            if citations.contains_key(&reference) {
                continue;
            }
            let citation = cited.remove(&reference).ok_or_else(|| {
                bad(&reference.to_string(), "nothing is said of why it may go")
                    .help("cite its proof, or plan and pressure, in `proofs`")
            })?;
            citations.insert(reference, citation);
        }
        let record = who.record("sweep", who.at(self.now.wall_ms), &[]);
        let Sweeping { freed, revived } = self.store.sweep(&citations, at, record)?;
        let freed = freed.into_iter().map(|(reference, bytes)| Piled { reference, bytes });
        now(&Swept { freed: freed.collect(), revived })
    }

    pub(super) fn pack(&mut self, body: &[u8]) -> Handled {
        let PackArguments { refs, by, .. } = parse(body)?;
        let who = Who::new(by, None, None)?;
        few(&refs)?;
        let packed = self.store.pack(&refs)?;
        let refs: Vec<_> = packed.iter().map(|(reference, _)| *reference).collect();
        self.note_write("pack", &who, &refs);
        let packed = packed.into_iter().map(|(reference, bytes)| Piled { reference, bytes });
        after_flush(&Packed { packed: packed.collect() })
    }

    pub(super) fn rotate(&mut self, body: &[u8]) -> Handled {
        let RotateArguments { after, by } = parse(body)?;
        let who = Who::new(by, None, None)?;
        let after = match after {
            None => None,
            Some(cursor) => {
                Some(place_of(&cursor).ok_or_else(|| bad("after", "this is no cursor"))?)
            }
        };
        let rotated = self.store.rotate(after)?;
        if rotated.files > 0 || after.is_none() {
            self.note_write("rotate", &who, &[]);
        }
        let next = rotated.next.map(|place| {
            let area = if place == Place::blob(place.hash) { 'b' } else { 'c' };
            format!("{area}{}", place.hash.hex())
        });
        after_flush(&RotateReply { files: rotated.files, bytes: rotated.bytes, next })
    }
}

fn few(refs: &[Reference]) -> Result<(), symphony_wire::BusError> {
    if refs.len() > MAX_REFS {
        return Err(bad("refs", "there are more than 1000 of them"));
    }
    Ok(())
}

fn place_of(cursor: &str) -> Option<Place> {
    let hash = |digits: &str| format!("blake3:{digits}").parse().ok();
    match cursor.split_at_checked(1)? {
        ("b", digits) => hash(digits).map(Place::blob),
        ("c", digits) => hash(digits).map(Place::chunk),
        _ => None,
    }
}
