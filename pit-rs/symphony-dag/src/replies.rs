//! The replies of the methods, each kept below the bus's limit for a body: what does not fit is left out and
//! `more` says so.

use serde::Serialize;
use symphony_wire::constants::MAX_BODY;
use symphony_wire::{BusError, Code, Value};

use crate::cascade::Effect;
use crate::learned::Line;
use crate::record::{Outcome, Record};
use crate::state::{Cell, Run};
use crate::table::StepState;

/// Room for everything in a reply that is of fixed size.
const FRAME: usize = 4 << 10;
/// The lists of a reply have this many bytes.
pub const ROOM: usize = MAX_BODY - FRAME;
/// Any one record must fit there, whatever the reply that it is part of.
pub const MAX_RECORD: usize = ROOM - FRAME;
/// Bytes of an item's keys and numbers at most, names and values apart.
const ITEM: usize = 80;

pub type Ranked<'a> = Vec<(&'a str, u64)>;

#[derive(Serialize)]
pub struct Opened<'a> {
    pub index: u64,
    pub ready: Ranked<'a>,
    pub steps: usize,
}

#[derive(Serialize)]
pub struct Appended {
    pub first: u64,
    pub last: u64,
}

#[derive(Serialize)]
pub struct Completed<'a> {
    pub index: u64,
    pub ready: Ranked<'a>,
    pub left: u32,
}

#[derive(Serialize)]
pub struct Ended<'a> {
    pub index: u64,
    pub ready: Ranked<'a>,
    pub cascade: Vec<Skipped<'a>>,
    pub left: u32,
    /// The cascade goes on in the journal.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

#[derive(Serialize)]
pub struct Skipped<'a> {
    pub index: u64,
    pub step: &'a str,
    pub reason: &'a str,
}

#[derive(Serialize)]
pub struct Finished {
    pub index: u64,
}

#[derive(Serialize)]
pub struct Changed<'a> {
    pub index: u64,
    pub ready: Ranked<'a>,
    pub left: u32,
    /// Which round of its loop this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round: Option<u32>,
}

#[derive(Serialize)]
pub struct RolledBack<'a> {
    pub index: u64,
    pub to: u64,
    pub run: State<'a>,
}

#[derive(Serialize)]
pub struct Learned<'a> {
    pub pairs: Vec<Pair<'a>>,
    pub more: bool,
}

#[derive(Serialize)]
pub struct Pair<'a> {
    player: &'a str,
    kind: &'a str,
    succeeded: u64,
    failed: u64,
    mean_ms: f64,
    spread_ms: f64,
    failure_ppm: u32,
}

impl<'a> From<&'a Line> for Pair<'a> {
    fn from(Line { player, kind, pair }: &'a Line) -> Self {
        Self {
            player,
            kind,
            succeeded: pair.succeeded,
            failed: pair.failed,
            mean_ms: pair.mean_us as f64 / 1e3,
            spread_ms: pair.spread_us as f64 / 1e3,
            failure_ppm: pair.failure_ppm,
        }
    }
}

#[derive(Serialize)]
pub struct Resumed<'a> {
    pub index: u64,
    pub from: u64,
    pub run: State<'a>,
}

#[derive(Serialize)]
pub struct State<'a> {
    run: &'a str,
    melody: &'a str,
    version: &'a str,
    digest: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inputs: Option<&'a Value>,
    state: &'static str,
    last: u64,
    opened: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished: Option<&'a str>,
    /// Bytes of a torn last record that were cut off when this process opened the journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    cut: Option<u64>,
    steps: Vec<Step<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ready: Option<Ranked<'a>>,
    /// There are further steps.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
}

#[derive(Serialize)]
struct Step<'a> {
    id: &'a str,
    state: StepState,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    outputs: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<f64>,
    rank: u64,
}

#[derive(Serialize)]
pub struct Journal {
    pub records: Vec<Record>,
    pub more: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    pub run: String,
    pub melody: String,
    pub version: String,
    pub state: &'static str,
    pub opened: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    pub steps: usize,
    pub ended: usize,
}

#[derive(Serialize)]
pub struct Runs<'a> {
    pub runs: Vec<&'a Summary>,
}

/// A run's state as replies name it.
pub fn state_name(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        None => "open",
        Some(Outcome::Succeeded) => "succeeded",
        Some(Outcome::Failed) => "failed",
        Some(Outcome::Aborted) => "aborted",
    }
}

/// The run from its beginning or, as a continuation, what follows its first `after` steps.
pub fn state<'a>(
    name: &'a str,
    run: &'a Run,
    cut: u64,
    after: Option<usize>,
) -> Result<State<'a>, BusError> {
    let whole = after.is_none();
    let mut reply = State {
        run: name,
        melody: &run.head.melody,
        version: &run.head.version,
        digest: &run.head.digest,
        document: whole.then_some(&run.head.document),
        inputs: whole.then_some(&run.head.inputs),
        state: state_name(run.end.as_ref().map(|end| end.outcome)),
        last: run.last,
        opened: &run.opened,
        finished: run.end.as_ref().map(|end| end.ts.as_str()),
        cut: (cut > 0).then_some(cut),
        steps: Vec::new(),
        ready: whole.then(|| run.plan.ranked(run.in_state(StepState::Ready))),
        more: false,
    };
    let mut room = ROOM.saturating_sub(size(&reply)?);
    for number in after.unwrap_or(0)..run.cells.len() {
        let step = step(run, number);
        let size = ITEM + step.id.len() + step.outputs.map_or(Ok(0), size)?;
        if size > room {
            reply.more = true;
            break;
        }
        room -= size;
        reply.steps.push(step);
    }
    Ok(reply)
}

fn step(run: &Run, number: usize) -> Step<'_> {
    let cell: &Cell = &run.cells[number];
    let node = &run.plan.nodes[number];
    let succeeded = cell.state == StepState::Succeeded;
    Step {
        id: &node.id,
        state: cell.state,
        attempt: cell.attempt,
        outputs: cell.verdict.as_ref().filter(|_| succeeded),
        quality: cell.quality,
        rank: node.rank,
    }
}

/// What the end of a step brought about.
pub fn ended<'a>(run: &'a Run, effect: &Effect) -> Ended<'a> {
    let ready = run.plan.ranked(effect.ready.clone());
    let mut room = ROOM.saturating_sub(ready.iter().map(|(id, _)| ITEM / 2 + id.len()).sum());
    let mut cascade = Vec::new();
    for (index, number) in (effect.index + 1..).zip(&effect.cascade) {
        let reason = run.cell(*number).verdict.as_ref().and_then(Value::as_str).unwrap_or_default();
        let step = run.plan.id(*number);
        let size = ITEM + step.len() + reason.len();
        if size > room {
            break;
        }
        room -= size;
        cascade.push(Skipped { index, step, reason });
    }
    let more = cascade.len() < effect.cascade.len();
    Ended { index: effect.index, ready, cascade, left: effect.left, more }
}

fn size(value: &impl Serialize) -> Result<usize, BusError> {
    rmp_serde::to_vec_named(value)
        .map(|bytes| bytes.len())
        .map_err(|error| BusError::new(Code::Internal, format!("no reply: {error}")))
}
