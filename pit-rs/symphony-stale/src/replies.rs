//! The replies of the methods.

use std::collections::BTreeMap;

use serde::Serialize;
use symphony_wire::Code;

use crate::record::{Action, Amount, Amounts, Event, Last, Proof};
use crate::value::{Ended, Signals};
use symphony_member::Reference;

#[derive(Serialize)]
pub struct Empty {}

#[derive(Serialize)]
pub struct Configured {
    pub digest: String,
}

#[derive(Serialize)]
pub struct Pinned {
    pub pinned: usize,
}

#[derive(Serialize)]
pub struct Held {
    pub held: usize,
}

#[derive(Serialize)]
pub struct PlanItem<'a> {
    #[serde(rename = "ref")]
    pub reference: Reference,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<&'a str>,
    pub bytes: u64,
    pub tier: &'static str,
    pub action: Action,
    pub value: u64,
    pub reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<u64>,
}

#[derive(Serialize)]
pub struct Planned<'a> {
    pub plan: String,
    pub items: Vec<PlanItem<'a>>,
    pub totals: Amounts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

#[derive(Serialize)]
pub struct Failed {
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub action: Action,
    pub error: String,
    pub code: Code,
}

#[derive(Serialize)]
pub struct Done<'a> {
    pub done: Amounts,
    pub failed: Vec<Failed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<&'a str>,
    /// Of what stopped it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
}

/// The body of `pit.stale.moving`.
#[derive(Serialize)]
pub struct Moving<'a> {
    pub id: &'a str,
    pub archive: Amount,
    pub free: Amount,
    pub place: &'a str,
}

/// The body of `pit.stale.progress`.
#[derive(Serialize)]
pub struct Progress<'a> {
    pub id: &'a str,
    pub done: usize,
    pub of: usize,
}

#[derive(Serialize)]
pub struct Piece {
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub bytes: u64,
}

#[derive(Serialize)]
pub struct Restored {
    pub restored: Vec<Piece>,
    pub here: Vec<Reference>,
    pub missing: Vec<Reference>,
    /// Of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<Reference>,
}

#[derive(Serialize)]
pub struct Report<'a> {
    pub tiers: BTreeMap<&'static str, Amount>,
    pub freed: u64,
    pub deleted: u64,
    pub archived: u64,
    pub restored: u64,
    pub proofs: usize,
    /// Marked at the store and not swept yet.
    pub marked: usize,
    pub pins: usize,
    pub holds: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<&'a Last>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<&'a str>,
}

#[derive(Serialize)]
pub struct Proofs<'a> {
    pub proofs: Vec<&'a Proof>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

#[derive(Serialize)]
pub struct HoldRow<'a> {
    pub name: &'a str,
    pub held: usize,
    pub refs: Vec<Reference>,
    pub runs: Vec<&'a str>,
    pub who: &'a str,
    pub why: &'a str,
    pub ts: &'a str,
}

#[derive(Serialize)]
pub struct Holds<'a> {
    pub holds: Vec<HoldRow<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<&'a str>,
}

#[derive(Serialize)]
pub struct Events<'a> {
    pub events: Vec<&'a Event>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

#[derive(Serialize)]
pub struct Lesson<'a> {
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub value: u64,
    pub signals: Signals,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub player: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Ended>,
    pub teaches: Vec<&'a str>,
}

#[derive(Serialize)]
pub struct Training<'a> {
    pub items: Vec<Lesson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

#[derive(Serialize)]
pub struct Cleaned<'a> {
    pub remove: Vec<&'a str>,
    pub leases: Vec<&'a str>,
}

/// What was counted since the process began.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    pub calls: u64,
    pub plans: u64,
    pub runs: u64,
    pub stopped: u64,
    pub restores: u64,
    pub waiting: u64,
    pub journal_bytes: u64,
}
