//! Who read or wrote what, when: records that are only ever added, each with the hash of all before it.
//!
//! The hash of a record is BLAKE3 over the hash of the one before it (32 zero bytes before the first) and its own
//! bytes. A record that is changed, left out, put in between or moved breaks every hash behind it; whoever keeps
//! the last hash somewhere else also sees records cut off the end.

use serde::{Deserialize, Serialize};

use crate::error::{Result, StoreError};
use crate::Reference;

/// References that one record names; a call with more of them makes several.
pub const MAX_REFS: usize = 256;

/// What one call did. The order of the fields is part of the format.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Milliseconds since 1970: the caller's `ts`, or the store's own clock where the method has none.
    pub at: i64,
    pub method: String,
    pub by: Option<String>,
    pub run: Option<String>,
    pub step: Option<String>,
    pub refs: Vec<Reference>,
}

/// A record in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub number: u64,
    pub hash: [u8; 32],
    /// As it is stored.
    bytes: Vec<u8>,
    pub record: Record,
}

impl Link {
    pub fn decode(number: u64, link: &[u8]) -> std::result::Result<Self, String> {
        let wrong = || format!("record {number} of the audit trail cannot be read");
        let (hash, bytes) = link.split_first_chunk::<32>().ok_or_else(wrong)?;
        let record = rmp_serde::from_slice(bytes).map_err(|_| wrong())?;
        Ok(Self { number, hash: *hash, bytes: bytes.to_vec(), record })
    }

    /// Whether this stands right behind a record with that number and hash.
    pub fn follows(&self, number: u64, hash: &[u8; 32]) -> bool {
        self.number == number + 1 && self.hash == hash_of(hash, &self.bytes)
    }
}

fn hash_of(former: &[u8; 32], record: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new().update(former).update(record).finalize().as_bytes()
}

/// The end of the trail, to add to.
pub struct Chain {
    number: u64,
    hash: [u8; 32],
}

impl Chain {
    /// Behind the last link there is.
    pub fn after(last: Option<(u64, Vec<u8>)>) -> std::result::Result<Self, String> {
        let Some((number, link)) = last else { return Ok(Self { number: 0, hash: [0; 32] }) };
        let hash = link.first_chunk::<32>().ok_or("the last audit record has no hash")?;
        Ok(Self { number, hash: *hash })
    }

    /// Number and bytes of the next link.
    pub fn link(&mut self, record: &Record) -> Result<(u64, Vec<u8>)> {
        let bytes =
            rmp_serde::to_vec(record).map_err(|error| StoreError::Bug(error.to_string()))?;
        self.hash = hash_of(&self.hash, &bytes);
        self.number += 1;
        Ok((self.number, [self.hash.as_slice(), &bytes].concat()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_of_a_record_breaks_the_chain() {
        let record = |at| Record {
            at,
            method: "put".to_owned(),
            by: Some("somebody".to_owned()),
            run: None,
            step: None,
            refs: vec![Reference::of(b"x")],
        };
        let mut chain = Chain::after(None).unwrap();
        let (number, first) = chain.link(&record(1)).unwrap();
        assert_eq!(number, 1);
        let (_, second) = Chain::after(Some((1, first.clone()))).unwrap().link(&record(2)).unwrap();
        let one = Link::decode(1, &first).unwrap();
        let two = Link::decode(2, &second).unwrap();
        assert!(one.follows(0, &[0; 32]) && two.follows(1, &one.hash));
        assert!(!two.follows(0, &[0; 32]) && !one.follows(1, &two.hash));
        for at in 0..second.len() {
            let mut bad = second.clone();
            bad[at] ^= 1;
            assert!(Link::decode(2, &bad).map_or(true, |link| !link.follows(1, &one.hash)));
        }
    }
}
