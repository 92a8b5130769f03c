//! The replies of the methods. Lists are cut where they would exceed a body; `more` says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::amounts::Amounts;
use crate::budgets::Standing;
use crate::record::{self, Grant};
use crate::requests::grant_name;
use crate::strategy::Strategy;

/// Bytes of one list: two of them stay below the bus's limit for a body.
const ROOM: usize = 900 << 10;
/// Bytes of an entry's keys and numbers at most, names apart.
const ENTRY: usize = 128;

/// What is left for a list.
pub struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(ROOM)
    }
}

impl Room {
    /// Whether there is still room for an entry with these texts and amounts, and takes it. Once there was
    /// none, there is none for a smaller one either.
    pub fn take(&mut self, texts: &[&str], needs: &Amounts) -> bool {
        let texts: usize = texts.iter().map(|text| text.len()).sum();
        let needs: usize = needs.keys().map(|name| name.len() + 16).sum();
        let left = self.0.checked_sub(ENTRY + texts + needs);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

#[derive(Serialize)]
pub struct Nothing {}

#[derive(Serialize)]
pub struct Configured {
    pub digest: String,
}

#[derive(Serialize)]
pub struct Granted<'a> {
    grant: String,
    needs: &'a Amounts,
    #[serde(skip_serializing_if = "Option::is_none")]
    player: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    with: Option<String>,
    strategy: Strategy,
    reason: &'a str,
    waited_ms: u64,
}

impl<'a> Granted<'a> {
    pub fn of(grant: &'a Grant) -> Self {
        Self {
            grant: grant_name(grant.number),
            needs: &grant.needs,
            player: grant.player.as_deref(),
            with: grant.with.map(grant_name),
            strategy: grant.strategy,
            reason: &grant.reason,
            waited_ms: grant.waited_ms,
        }
    }
}

#[derive(Serialize)]
pub struct Budgets {
    pub budgets: Vec<Standing>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

#[derive(Serialize)]
pub struct Resynced {
    pub released: Vec<String>,
    pub unknown: Vec<String>,
}

#[derive(Serialize)]
pub struct Explained<'a> {
    grant: String,
    id: &'a str,
    run: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a str>,
    tenant: &'a str,
    needs: &'a Amounts,
    #[serde(skip_serializing_if = "Option::is_none")]
    player: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    with: Option<String>,
    strategy: Strategy,
    reason: &'a str,
    at: i64,
    waited_ms: u64,
    scores: Vec<Score<'a>>,
    passed_over: Vec<Passed<'a>>,
}

#[derive(Serialize)]
struct Score<'a> {
    request: &'a str,
    tenant: &'a str,
    share_ppm: u64,
    class: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked: Option<&'a str>,
}

#[derive(Serialize)]
struct Passed<'a> {
    request: &'a str,
    why: String,
}

impl<'a> Score<'a> {
    fn of(score: &'a record::Score) -> Self {
        Self {
            request: &score.request,
            tenant: &score.tenant,
            share_ppm: score.share_ppm,
            class: score.class,
            deadline_ms: score.deadline_ms,
            blocked: score.blocked.as_deref(),
        }
    }
}

/// Why a request was not granted where another one was.
pub fn why(blocked: Option<&(Arc<str>, u64, u64)>) -> String {
    match blocked {
        Some((resource, need, limit)) => format!("needs {need} of {resource}, {limit} to be had"),
        None => "the oldest of all comes first".to_owned(),
    }
}

impl<'a> Explained<'a> {
    pub fn of(granted: &'a record::Granted) -> Self {
        let grant = &granted.grant;
        let passed = |passed: &'a record::Passed| Passed {
            request: &passed.request,
            why: why(passed.blocked.as_ref()),
        };
        Self {
            grant: grant_name(grant.number),
            id: &grant.id,
            run: &grant.run,
            step: grant.step.as_deref(),
            tenant: &grant.tenant,
            needs: &grant.needs,
            player: grant.player.as_deref(),
            with: grant.with.map(grant_name),
            strategy: grant.strategy,
            reason: &grant.reason,
            at: grant.at,
            waited_ms: grant.waited_ms,
            scores: granted.seen.scores.iter().map(Score::of).collect(),
            passed_over: granted.seen.passed_over.iter().map(passed).collect(),
        }
    }
}

#[derive(Serialize)]
pub struct Queue<'a> {
    pub waiting: Vec<Waiting<'a>>,
    pub held: Vec<Held<'a>>,
    pub free: BTreeMap<&'a str, u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

#[derive(Serialize)]
pub struct Waiting<'a> {
    pub id: &'a str,
    pub run: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<&'a str>,
    pub tenant: &'a str,
    pub needs: &'a Amounts,
    /// From 1; members of a gang share one. None before all of the gang are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<usize>,
    pub why: String,
    pub waited_ms: u64,
}

#[derive(Serialize)]
pub struct Held<'a> {
    pub grant: String,
    pub run: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<&'a str>,
    pub tenant: &'a str,
    pub needs: &'a Amounts,
    pub since_ms: u64,
}

impl<'a> Held<'a> {
    pub fn of(grant: &'a Arc<Grant>, wall_ms: i64) -> Self {
        Self {
            grant: grant_name(grant.number),
            run: &grant.run,
            step: grant.step.as_deref(),
            tenant: &grant.tenant,
            needs: &grant.needs,
            since_ms: wall_ms.saturating_sub(grant.at).try_into().unwrap_or(0),
        }
    }
}

#[derive(Serialize)]
pub struct Fairness<'a> {
    pub jain_ppm: u64,
    pub gini_ppm: u64,
    pub tenants: BTreeMap<&'a str, Tenant>,
}

#[derive(Serialize)]
pub struct Tenant {
    pub weight: u64,
    pub share_ppm: u64,
    pub wanted_ppm: u64,
    pub correction_ppm: u64,
}

/// Since this process began, but for what there is now.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    pub waiting: u64,
    pub held: u64,
    pub journal_bytes: u64,
    pub requests: u64,
    pub grants: u64,
    pub for_age: u64,
    pub joins: u64,
    pub releases: u64,
    pub charges: u64,
    pub refused: u64,
    pub overloaded: u64,
    pub cancelled: u64,
    pub repeats: u64,
    pub flushes: u64,
    pub failed_flushes: u64,
    pub snapshots: u64,
}
