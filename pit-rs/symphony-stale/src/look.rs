//! Looks at store and tracker: all of it, or a miss that says what is not certain.

use serde::{Deserialize, Serialize};
use symphony_member::{short, Reference};
use symphony_wire::Code;

use crate::archive::{Get, Got, MAX_PART};
use crate::desk::{Desk, Disk, Miss};
use crate::folder;
use crate::survey::{Builder, Info, Needs, Survey, MAX_THINGS};
use crate::value::Ended;

const PAGE: u64 = 1_000;
/// Runs that the tracker may have; more of them stop deletion.
const MAX_RUNS: usize = 1_000_000;
/// The listing of a folder of 100,000 files with long paths.
const MAX_LISTING: usize = 64 << 20;
/// Pages of the state of one run: 65,536 steps with large outputs.
const MAX_PAGES: usize = 65_536;

#[derive(Serialize)]
struct List<'a> {
    limit: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a str>,
}

#[derive(Deserialize)]
struct Listed {
    artifacts: Vec<Info>,
    #[serde(default)]
    next: Option<String>,
}

#[derive(Serialize)]
struct Runs<'a> {
    limit: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<&'a str>,
}

#[derive(Deserialize)]
struct RunList {
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    run: String,
    state: String,
}

#[derive(Serialize)]
struct State<'a> {
    run: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<usize>,
}

#[derive(Deserialize)]
struct RunState {
    run: String,
    #[serde(rename = "steps")]
    steps: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    more: bool,
}

fn uncertain(what: impl Into<String>) -> Miss {
    Miss::new(Code::WrongOutput, what)
}

/// Everything there is and who needs it. The tracker is asked last: what it says is the freshest.
pub async fn look<S: Disk>(desk: &Desk<S>) -> Result<Survey, Miss> {
    let builder = things(desk).await?;
    Ok(builder.finish(needs(desk).await?))
}

pub async fn things<S: Disk>(desk: &Desk<S>) -> Result<Builder, Miss> {
    let mut builder = Builder::default();
    let mut after: Option<String> = None;
    loop {
        let page = List { limit: PAGE, after: after.as_deref() };
        let listed: Listed = desk.store("list", &page).await?;
        let empty = listed.artifacts.is_empty();
        listed.artifacts.into_iter().for_each(|info| builder.add(info));
        bounded(&builder)?;
        match listed.next {
            None => break,
            Some(next) if empty || after.as_ref() == Some(&next) => {
                return Err(uncertain(format!(
                    "the listing of the store does not go on after {next}"
                )));
            }
            next => after = next,
        }
    }
    for folder in builder.folders() {
        let listing = listing(desk, &folder).await?;
        let parts = folder::parts(&listing)
            .ok_or_else(|| uncertain(format!("{folder} is no folder, though the store says so")))?;
        builder.fill(&folder, listing.len() as u64, parts);
        bounded(&builder)?;
    }
    Ok(builder)
}

fn bounded(builder: &Builder) -> Result<(), Miss> {
    if builder.count <= MAX_THINGS {
        return Ok(());
    }
    Err(Miss::new(
        Code::Overloaded,
        format!("the store holds more than {MAX_THINGS} artifacts and files"),
    ))
}

/// The bytes of a folder's listing, checked.
async fn listing<S: Disk>(desk: &Desk<S>, folder: &Reference) -> Result<Vec<u8>, Miss> {
    let mut bytes = Vec::new();
    loop {
        let part = Get { reference: *folder, offset: bytes.len() as u64, limit: MAX_PART };
        let got: Got = desk.store("get", &part).await?;
        bytes.extend_from_slice(&got.data);
        if bytes.len() > MAX_LISTING || (got.more && got.data.is_empty()) {
            return Err(uncertain(format!("the listing of {folder} does not end")));
        }
        if !got.more {
            break;
        }
    }
    match Reference::of(&bytes) == *folder {
        true => Ok(bytes),
        false => Err(uncertain(format!("the store gave other bytes than those of {folder}"))),
    }
}

/// Which runs are open and what they name.
pub async fn needs<S: Disk>(desk: &Desk<S>) -> Result<Needs, Miss> {
    let mut needs = Needs::default();
    let mut before: Option<String> = None;
    loop {
        let page = Runs { limit: PAGE, before: before.as_deref() };
        let (list, _): (RunList, _) = desk.dag("runs", &page).await?;
        let Some(last) = list.runs.last().map(|run| run.run.clone()) else { break };
        for Run { run, state } in list.runs {
            let ended = match state.as_str() {
                "succeeded" => Ended::Succeeded,
                "failed" => Ended::Failed,
                "aborted" => Ended::Aborted,
                "open" => {
                    needs.open.insert(run);
                    continue;
                }
                other => {
                    let other = short(other);
                    return Err(uncertain(format!(
                        "what the run {run} needs is not known: it is {other}"
                    )));
                }
            };
            if needs.ended.insert(run, ended).is_some() {
                return Err(uncertain("the tracker's list of runs does not go on"));
            }
        }
        if before.as_ref() == Some(&last) || needs.ended.len() + needs.open.len() > MAX_RUNS {
            return Err(uncertain("the tracker's list of runs does not end"));
        }
        before = Some(last);
    }
    let mut open: Vec<String> = needs.open.iter().cloned().collect();
    open.sort();
    for run in open {
        state(desk, &run, &mut needs).await?;
    }
    Ok(needs)
}

/// Adds every reference that stands anywhere in the state of a run: inputs, document, outputs.
async fn state<S: Disk>(desk: &Desk<S>, run: &str, needs: &mut Needs) -> Result<(), Miss> {
    let mut had = 0;
    for _ in 0..MAX_PAGES {
        let page = State { run, after: (had > 0).then_some(had) };
        let (state, bytes): (RunState, _) = desk.dag("state", &page).await?;
        if state.run != run {
            return Err(uncertain(format!("the tracker gave the state of another run than {run}")));
        }
        needs.referenced.extend(Reference::all_in(&bytes));
        had += state.steps.len();
        if !state.more {
            return Ok(());
        }
        if state.steps.is_empty() {
            break;
        }
    }
    Err(uncertain(format!("the state of the run {run} does not end")))
}
