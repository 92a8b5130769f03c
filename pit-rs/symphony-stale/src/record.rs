//! What is journaled. Applied in order the records make the [`Ledger`](crate::ledger::Ledger); a snapshot
//! of it is made of the same records.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::value::Ended;
use symphony_member::{Print, Reference};

/// What is done with an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Keep,
    Pack,
    Archive,
    Free,
    Delete,
}

/// What feedback or a pin is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    Ref(Reference),
    Run(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ref(reference) => reference.fmt(f),
            Self::Run(run) => f.write_str(run),
        }
    }
}

/// Who said so, why and when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    pub who: String,
    pub why: String,
    pub ts: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub refs: BTreeSet<Reference>,
    pub runs: BTreeSet<String>,
    pub word: Word,
}

impl Hold {
    pub fn len(&self) -> usize {
        self.refs.len() + self.runs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// That the archive gave back what was copied into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    pub number: u64,
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub bytes: u64,
    /// The capability of the archive.
    pub place: String,
    /// When it was copied, when it was last read back.
    pub archived: String,
    pub read_back: String,
    /// Of what was read back.
    pub hash: Reference,
    pub runs: Vec<String>,
    /// The folder that it is a file of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freed: Option<String>,
    /// When it was last brought back: from then on it is local for as long as what is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored: Option<String>,
    /// When the archive was found not to give it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
}

/// What a deletion rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cite {
    Proof(u64),
    Pressure { plan: String, used: u64, bytes: u64, value: u64 },
}

/// That the store was asked to mark something for its sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub bytes: u64,
    /// The folder with which it goes.
    pub whole: Option<Reference>,
    pub runs: Vec<String>,
    pub cite: Cite,
    pub ts: String,
}

/// What improved a policy, and by how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taught {
    pub policy: String,
    pub refs: Vec<Reference>,
    pub gain: i64,
    pub ts: String,
}

/// Artifacts and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    pub items: u64,
    pub bytes: u64,
}

impl Amount {
    pub fn add(&mut self, bytes: u64) {
        self.items += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

pub type Amounts = BTreeMap<Action, Amount>;

/// How the last run went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    pub id: String,
    pub ts: String,
    pub done: Amounts,
    pub failed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

/// What people should be able to look up afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Something valuable is about to be archived or freed.
    Moving,
    /// A run of the curator did something, or was stopped.
    Ran,
    Restored,
    /// The archive does not give back what was proven to be there.
    Lost,
    Pinned,
    Unpinned,
    Held,
    Released,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// From 1 on.
    pub number: u64,
    pub kind: Kind,
    pub ts: String,
    /// The curator's run, the hold, or what it is about.
    pub name: String,
    pub items: u64,
    pub bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Sums of what is told nowhere else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub freed: Amount,
    pub deleted: Amount,
    pub archived: Amount,
    pub restored: Amount,
    pub plans: u64,
    pub proofs: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Record {
    Configured {
        config: Config,
        digest: String,
    },
    Noted {
        run: String,
        outcome: Ended,
    },
    /// `sum` of `count` scores.
    Feedback {
        subject: Subject,
        sum: u64,
        count: u64,
        word: Word,
    },
    /// Without a word: no more.
    Pinned {
        subject: Subject,
        word: Option<Word>,
    },
    Held {
        name: String,
        hold: Option<Hold>,
    },
    /// A part of a plan, without what is kept.
    Planned {
        plan: u64,
        items: Vec<(Reference, Action)>,
    },
    /// Read back: anew, or once more.
    Proved(Proof),
    /// What was copied is not there as it was.
    Disproved {
        reference: Reference,
        why: String,
    },
    Marked(Mark),
    Unmarked {
        reference: Reference,
        why: String,
    },
    /// The store says that what was marked is gone.
    Freed {
        reference: Reference,
        bytes: u64,
        ts: String,
    },
    Packed {
        reference: Reference,
        bytes: u64,
    },
    Restored {
        reference: Reference,
        bytes: u64,
        ts: String,
    },
    /// The archive does not give it back, and the store does not have it.
    Lost {
        reference: Reference,
        ts: String,
    },
    Taught(Taught),
    /// A request had its effect.
    Did {
        id: String,
        print: Print,
        #[serde(with = "serde_bytes")]
        reply: Vec<u8>,
    },
    Ran(Last),
    Told(Event),
    Snapshot(Totals),
}
