//! The listing of a folder artifact: which files it is made of.

use std::collections::BTreeMap;
use symphony_member::Reference;

use serde::Deserialize;

const PREFIX: &[u8] = b"symphony-folder 1";

#[derive(Deserialize)]
struct Member(#[allow(dead_code)] String, #[allow(dead_code)] u32, Reference, u64);

/// The files of a folder and their lengths, each once; `None` for what is no listing.
pub fn parts(listing: &[u8]) -> Option<Vec<(Reference, u64)>> {
    let mut rest = listing.strip_prefix(PREFIX)?;
    let members: Vec<Member> = rmp_serde::decode::from_read(&mut rest).ok()?;
    let parts: BTreeMap<Reference, u64> =
        members.into_iter().map(|Member(_, _, reference, bytes)| (reference, bytes)).collect();
    rest.is_empty().then(|| parts.into_iter().collect())
}
