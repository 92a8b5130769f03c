//! The arguments of the methods, as they arrive. Unknown keys are ignored.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use symphony_member::{print, requests, Faults, Print, Reference, MAX_TEXT};
use symphony_wire::{BusError, Code};

use crate::record::{Action, Subject};
use crate::value::Ended;

/// Items of one page.
pub const MAX_PAGE: usize = 1_000;
/// Artifacts of one lesson.
pub const MAX_LESSON: usize = 1_000;
/// Artifacts and runs of one hold: it is one record.
pub const MAX_HELD: usize = 20_000;
/// Of one cleanup.
const MAX_DEAD: usize = 1_000;
const MAX_PATHS: usize = 10_000;
const MAX_PATH: usize = 4_096;

#[derive(Deserialize, Serialize)]
pub struct Note {
    #[serde(skip_serializing)]
    pub id: String,
    pub run: String,
    pub outcome: Ended,
    #[serde(default)]
    pub tenant: Option<String>,
    #[serde(skip_serializing)]
    pub ts: String,
}

#[derive(Deserialize, Serialize)]
pub struct Feedback {
    #[serde(skip_serializing)]
    pub id: String,
    #[serde(default, rename = "ref")]
    pub reference: Option<Reference>,
    #[serde(default)]
    pub run: Option<String>,
    pub score: u64,
    pub who: String,
    #[serde(default)]
    pub why: Option<String>,
    #[serde(skip_serializing)]
    pub ts: String,
}

#[derive(Deserialize)]
pub struct Pin {
    #[serde(default, rename = "ref")]
    pub reference: Option<Reference>,
    #[serde(default)]
    pub run: Option<String>,
    pub who: String,
    pub why: String,
    pub ts: String,
}

#[derive(Deserialize)]
pub struct Hold {
    pub name: String,
    #[serde(default)]
    pub refs: BTreeSet<Reference>,
    #[serde(default)]
    pub runs: BTreeSet<String>,
    pub who: String,
    pub why: String,
    pub ts: String,
}

#[derive(Deserialize)]
pub struct Plan {
    #[serde(default)]
    pub after: Option<String>,
    #[serde(default = "page")]
    pub limit: usize,
    pub ts: String,
}

#[derive(Deserialize, Serialize)]
pub struct Run {
    #[serde(skip_serializing)]
    pub id: String,
    #[serde(default)]
    pub plan: Option<String>,
    #[serde(default)]
    pub actions: Option<BTreeSet<Action>>,
    #[serde(skip_serializing)]
    pub ts: String,
}

#[derive(Deserialize, Serialize)]
pub struct Restore {
    #[serde(skip_serializing)]
    pub id: String,
    #[serde(default, rename = "ref")]
    pub reference: Option<Reference>,
    #[serde(default)]
    pub run: Option<String>,
    #[serde(skip_serializing)]
    pub ts: String,
}

#[derive(Deserialize)]
pub struct Proofs {
    #[serde(default)]
    pub after: Option<u64>,
    #[serde(default = "page")]
    pub limit: usize,
    #[serde(default)]
    pub newest: bool,
    /// Of what is, or is not, in the archive alone.
    #[serde(default)]
    pub away: Option<bool>,
    #[serde(default)]
    pub run: Option<String>,
    /// How the reference begins.
    #[serde(default)]
    pub begins: Option<String>,
}

#[derive(Deserialize)]
pub struct Events {
    #[serde(default)]
    pub after: Option<u64>,
    #[serde(default = "page")]
    pub limit: usize,
    #[serde(default)]
    pub newest: bool,
}

#[derive(Deserialize)]
pub struct Holds {
    #[serde(default)]
    pub after: Option<String>,
    #[serde(default = "page")]
    pub limit: usize,
}

#[derive(Deserialize)]
pub struct Training {
    #[serde(default)]
    pub least: u64,
    #[serde(default)]
    pub kinds: Option<Vec<String>>,
    #[serde(default = "hundred")]
    pub limit: usize,
    #[serde(default)]
    pub after: Option<String>,
}

#[derive(Deserialize)]
pub struct Taught {
    pub policy: String,
    pub refs: Vec<Reference>,
    pub gain: i64,
    pub ts: String,
}

#[derive(Deserialize)]
pub struct Cleanup {
    pub dead: Vec<Dead>,
    /// Paths that the living use.
    #[serde(default)]
    pub live: Vec<String>,
    pub ts: String,
}

#[derive(Deserialize)]
pub struct Dead {
    pub instance: String,
    #[serde(default)]
    pub folders: Vec<String>,
    #[serde(default)]
    pub sockets: Vec<String>,
    #[serde(default)]
    pub leases: Vec<String>,
}

#[derive(Deserialize)]
pub struct Nothing {}

fn page() -> usize {
    MAX_PAGE
}

fn hundred() -> usize {
    100
}

impl Note {
    pub fn print(&self) -> Result<Print, BusError> {
        print("note", self)
    }
}

impl Feedback {
    pub fn print(&self) -> Result<Print, BusError> {
        print("feedback", self)
    }
}

impl Run {
    pub fn print(&self) -> Result<Print, BusError> {
        print("run", self)
    }
}

impl Restore {
    pub fn print(&self) -> Result<Print, BusError> {
        print("restore", self)
    }
}

/// One of both; checked before.
pub fn subject(reference: Option<Reference>, run: Option<&String>) -> Result<Subject, BusError> {
    match (reference, run) {
        (Some(reference), None) => Ok(Subject::Ref(reference)),
        (None, Some(run)) => Ok(Subject::Run(run.clone())),
        _ => Err(BusError::new(Code::BadRequest, "ref or run: one of them").at("ref")),
    }
}

/// A place that can be removed: absolute, plain, and not close to the root.
fn is_removable(path: &str) -> bool {
    let mut parts = path.split('/');
    path.len() <= MAX_PATH
        && !path.contains('\0')
        && parts.next() == Some("")
        && path.split('/').count() > 2
        && parts.all(|part| !matches!(part, "" | "." | ".."))
}

impl Cleanup {
    /// What may go, what is in something before it, and the leases. Whatever the living use stays, and
    /// whatever holds that or is in it.
    pub fn remove(&self) -> (Vec<&str>, Vec<&str>) {
        let within = |path: &str, other: &str| {
            path == other || path.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'))
        };
        let paths = self.dead.iter().flat_map(|dead| dead.sockets.iter().chain(&dead.folders));
        let used = |path: &str| self.live.iter().any(|it| within(it, path) || within(path, it));
        let mut remove: Vec<&str> = paths
            .map(String::as_str)
            .filter(|path| !used(path))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        remove.reverse();
        let leases = self.dead.iter().flat_map(|dead| dead.leases.iter().map(String::as_str));
        (remove, leases.collect::<BTreeSet<_>>().into_iter().collect())
    }
}

/// Whose word it is, and the reason that everybody will read.
fn word(who: &str, why: &str, ts: &str, faults: &mut Faults) {
    faults.name(who, "who");
    faults.unless((1..=MAX_TEXT).contains(&why.len()), "why", "1 to 1024 bytes");
    faults.ts(ts);
}

fn one_of(reference: Option<Reference>, run: Option<&String>, faults: &mut Faults) {
    faults.unless(reference.is_some() != run.is_some(), "ref", "this or run");
    run.into_iter().for_each(|run| faults.name(run, "run"));
}

fn limit(limit: usize, faults: &mut Faults) {
    faults.unless((1..=MAX_PAGE).contains(&limit), "limit", "1 to 1000");
}

requests! {
    Note |it, faults| {
        faults.name(&it.id, "id");
        faults.name(&it.run, "run");
        it.tenant.iter().for_each(|tenant| faults.name(tenant, "tenant"));
        faults.ts(&it.ts);
    };
    Feedback |it, faults| {
        faults.name(&it.id, "id");
        one_of(it.reference, it.run.as_ref(), faults);
        faults.unless(it.score <= 1_000, "score", "0 to 1000");
        faults.name(&it.who, "who");
        it.why.iter().for_each(|why| faults.text(why, "why"));
        faults.ts(&it.ts);
    };
    Pin |it, faults| {
        one_of(it.reference, it.run.as_ref(), faults);
        word(&it.who, &it.why, &it.ts, faults);
    };
    Hold |it, faults| {
        faults.name(&it.name, "name");
        let most = it.refs.len() + it.runs.len() <= MAX_HELD;
        faults.unless(most, "refs", "with runs at most 20000");
        it.runs.iter().for_each(|run| faults.name(run, "runs"));
        word(&it.who, &it.why, &it.ts, faults);
    };
    Plan |it, faults| {
        limit(it.limit, faults);
        faults.ts(&it.ts);
    };
    Run |it, faults| {
        faults.name(&it.id, "id");
        it.plan.iter().for_each(|plan| faults.name(plan, "plan"));
        let kept = it.actions.as_ref().is_some_and(|actions| actions.contains(&Action::Keep));
        faults.unless(!kept, "actions", "pack, archive, free, delete");
        faults.ts(&it.ts);
    };
    Restore |it, faults| {
        faults.name(&it.id, "id");
        one_of(it.reference, it.run.as_ref(), faults);
        faults.ts(&it.ts);
    };
    Proofs |it, faults| {
        limit(it.limit, faults);
        it.run.iter().for_each(|run| faults.name(run, "run"));
        it.begins.iter().for_each(|text| faults.text(text, "begins"));
    };
    Events |it, faults| limit(it.limit, faults);
    Holds |it, faults| limit(it.limit, faults);
    Training |it, faults| {
        limit(it.limit, faults);
        faults.unless(it.least <= 1_000, "least", "0 to 1000");
        faults.unless(it.kinds.as_ref().is_none_or(|it| it.len() <= MAX_PAGE), "kinds", "at most 1000");
    };
    Taught |it, faults| {
        faults.name(&it.policy, "policy");
        faults.unless(it.refs.len() <= MAX_LESSON, "refs", "at most 1000");
        faults.ts(&it.ts);
    };
    Cleanup |it, faults| {
        faults.unless(it.dead.len() <= MAX_DEAD, "dead", "at most 1000");
        let counts = it.dead.iter().map(|dead| dead.folders.len() + dead.sockets.len() + dead.leases.len());
        faults.unless(counts.sum::<usize>() + it.live.len() <= MAX_PATHS, "paths", "at most 10000");
        for (number, dead) in it.dead.iter().enumerate().take(MAX_DEAD) {
            faults.name(&dead.instance, &format!("dead[{number}].instance"));
            for path in dead.folders.iter().chain(&dead.sockets) {
                let shown: String = path.chars().take(64).collect();
                let what = format!("{shown:?} is no place that may be removed");
                faults.unless(is_removable(path), &format!("dead[{number}]"), &what);
            }
            let fit = dead.leases.iter().all(|lease| (1..=MAX_TEXT).contains(&lease.len()));
            faults.unless(fit, &format!("dead[{number}].leases"), "1 to 1024 bytes");
        }
        faults.unless(it.live.iter().all(|path| path.starts_with('/')), "live", "absolute paths");
        faults.ts(&it.ts);
    };
    Nothing |_, _| {};
}
