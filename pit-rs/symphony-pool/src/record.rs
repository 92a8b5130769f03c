//! The records of the journal: what is written, once, and never changed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use symphony_member::Print;

use crate::config::{Config, Cost};
use crate::evict::Size;
use crate::requests::Outcome;

/// Amounts by resource.
pub type Spend = BTreeMap<String, u64>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Record {
    Configured {
        config: Box<Config>,
        digest: String,
    },
    Pinned {
        kind: String,
        pinned: bool,
    },
    Leased(Box<Lease>),
    Returned(Box<Returned>),
    /// The instance is no more: nothing about it is to be remembered.
    Gone {
        instance: String,
    },
    /// The kernel and the pool agreed on what there is, for the so manieth time.
    Synced {
        epoch: u64,
        ts: String,
    },
    /// One part of the whole state, at the beginning of a journal.
    Snapshot(Box<Part>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    pub number: u64,
    /// Of the acquire.
    pub id: String,
    pub digest: Print,
    pub instance: String,
    pub kind: String,
    pub run: String,
    pub tenant: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    pub warm: bool,
    pub waited_ms: u64,
    /// Of its instance, in case that the kind is not configured any more.
    pub memory_mib: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    pub ts: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
}

impl Lease {
    /// What its instance takes.
    pub fn size(&self) -> Size {
        Size { memory_mib: self.memory_mib, money: self.cost.map_or(0, |cost| cost.second) }
    }
}

/// How a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// Its instance or its holder is gone.
    Lost,
    /// By a `release`.
    Released,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Returned {
    pub lease: u64,
    pub outcome: Outcome,
    /// Of the release, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Release>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Release {
    pub id: String,
    pub digest: Print,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub spend: Spend,
    pub ts: String,
}

/// What is remembered of an instance for as long as there is one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    pub kind: String,
    pub tenant: String,
    /// It failed: it is never used again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spoiled: bool,
    /// The keys that it had, the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    Head {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        config: Option<(Config, String)>,
        pins: BTreeMap<String, bool>,
        epoch: u64,
        leases: u64,
    },
    Lease(Lease),
    Release(Release),
    Mark {
        instance: String,
        mark: Mark,
    },
}
