//! What a deletion rests on: a mark, a time of grace, and a proof or the pressure that it cites.

use serde::{Deserialize, Serialize};

use crate::error::{Result, StoreError};
use crate::info::Blob;
use crate::Reference;

/// Between mark and sweep if nothing else is configured, milliseconds: a day.
pub const GRACE_MS: u64 = 86_400_000;
pub const GRACE_S_MAX: u64 = 31_536_000;

/// That a content is to go, unless somebody uses it meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Milliseconds since 1970.
    pub at: i64,
    pub why: String,
}

impl Mark {
    /// Whether the grace is over. A clock that went back begins it anew, in effect.
    pub fn is_ripe(&self, now: i64, grace_ms: u64) -> bool {
        now.checked_sub(self.at)
            .and_then(|age| u64::try_from(age).ok())
            .is_some_and(|age| age >= grace_ms)
    }
}

/// A content that was swept: what it was, and why it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swept {
    pub blob: Blob,
    pub at: i64,
    pub citation: Citation,
}

/// That an archive gave these bytes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    #[serde(default)]
    pub number: u64,
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub bytes: u64,
    pub place: String,
    #[serde(default)]
    pub archived: String,
    pub read_back: String,
    pub hash: Reference,
}

/// That there was no room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pressure {
    pub plan: String,
    pub used: u64,
    pub bytes: u64,
    pub value: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Citation {
    #[serde(rename = "ref")]
    pub reference: Reference,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

impl Citation {
    /// Refuses what proves nothing about this content.
    pub fn check(&self, blob: &Blob) -> Result<()> {
        let reference = self.reference;
        let wrong = |what: &str| Err(StoreError::bad(reference.to_string(), what));
        match (&self.proof, &self.pressure) {
            (Some(proof), None) if proof.hash != reference || proof.reference != reference => {
                wrong("its proof is that of other bytes")
            }
            (Some(proof), None) if proof.bytes != blob.bytes => {
                wrong("its proof is that of another length")
            }
            (Some(proof), None) if proof.place.is_empty() || proof.read_back.is_empty() => {
                wrong("its proof names no place or time")
            }
            (None, Some(pressure)) if pressure.plan.is_empty() || pressure.used == 0 => {
                wrong("it cites no plan or no pressure")
            }
            (Some(_), None) | (None, Some(_)) => Ok(()),
            _ => wrong("a deletion cites either a proof or a pressure"),
        }
    }
}
