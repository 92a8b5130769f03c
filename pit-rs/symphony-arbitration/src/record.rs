//! What is journaled: written once, and never changed.

use std::cell::RefCell;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use symphony_member::Print;
use symphony_wire::{BusError, Code};

use crate::amounts::Amounts;
use crate::config::Config;
use crate::snapshot::Part;
use crate::strategy::Strategy;

thread_local! {
    /// What is encoded before its length is known: to grow one memory a record costs more than to encode it.
    static DRAFT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Record {
    Configured(Config),
    /// Granted in one decision: the members of a gang, or one.
    Granted(Vec<Granted>),
    Released(Released),
    Charged(Charged),
    Snapshot(Part),
}

/// One grant and what its decision saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Granted {
    pub grant: Arc<Grant>,
    pub seen: Seen,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    /// From 1, without gaps.
    pub number: u64,
    pub id: Arc<str>,
    pub print: Print,
    pub run: Arc<str>,
    pub step: Option<String>,
    pub tenant: Arc<str>,
    pub needs: Arc<Amounts>,
    /// The grant whose resources this one uses.
    pub with: Option<u64>,
    pub share: Option<String>,
    pub player: Option<String>,
    pub estimate: Amounts,
    /// The UTC day of the request.
    pub day: String,
    pub strategy: Strategy,
    pub reason: String,
    pub waited_ms: u64,
    /// Milliseconds since 1970 UTC.
    pub at: i64,
}

/// What a decision saw, cut to a few of each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    pub scores: Vec<Score>,
    pub passed_over: Vec<Passed>,
}

/// The first request of a tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    pub request: Arc<str>,
    pub tenant: Arc<str>,
    pub share_ppm: u64,
    pub class: i64,
    pub deadline_ms: Option<u64>,
    /// The resource of which there was not enough.
    pub blocked: Option<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Passed {
    pub request: Arc<str>,
    /// Resource, what it needed of it and what it could have had; none: another had waited too long.
    pub blocked: Option<(Arc<str>, u64, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Ok,
    Failed,
    Lost,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Released {
    /// The request that released it; none where a caller that started anew did not hold it.
    pub by: Option<(Arc<str>, Print)>,
    pub grants: Vec<u64>,
    pub outcome: Outcome,
    pub used: Amounts,
    pub at: i64,
    /// Those of which nobody knows what they spent: what was left of their estimates counts as spent.
    /// In order.
    #[serde(default)]
    pub assumed: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Charged {
    pub id: Arc<str>,
    pub print: Print,
    pub run: String,
    pub tenant: String,
    pub grant: Option<u64>,
    pub amounts: Amounts,
    pub day: String,
    pub at: i64,
}

impl Record {
    /// The payload of this record, the one with this number. Structs are arrays: what a later version adds
    /// comes last and has a default.
    pub fn encode(&self, index: u64) -> Result<Vec<u8>, BusError> {
        encode(&(index, self))
    }

    pub fn decode(payload: &[u8]) -> Result<(u64, Self), BusError> {
        decode(payload)
    }
}

/// A record or a part of one as it is written.
pub fn encode(value: &impl Serialize) -> Result<Vec<u8>, BusError> {
    DRAFT.with_borrow_mut(|draft| {
        draft.clear();
        match rmp_serde::encode::write(draft, value) {
            Ok(()) => Ok(draft.as_slice().to_vec()),
            Err(error) => Err(BusError::new(Code::Internal, format!("no record: {error}"))),
        }
    })
}

pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BusError> {
    rmp_serde::from_slice(bytes)
        .map_err(|error| BusError::new(Code::Corrupt, format!("a record is malformed: {error}")))
}
