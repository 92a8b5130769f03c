//! The state of one run: a pure function of its journal.
//!
//! A step counts down the steps it waits for ([`crate::tally`]); nothing is ever searched. When a step ends without
//! success, whatever can then never run is *doomed*: the next records must skip the doomed in order, each of which
//! may doom more ([`crate::cascade`]). A journal cut off in between is a valid state; the tracker writes the missing
//! records before any other. That keeps every cascade in one piece right behind its cause.
//!
//! The plan may grow, be rerouted, and steps may be put back ([`crate::change`]). What a rollback leaves behind is
//! no part of the state, but for what must never be used again: attempts and the ids of changes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use symphony_wire::{BusError, Code, Value};

use crate::change::Change;
use crate::growth::{self, Wish};
use crate::melody::{self, Note};
use crate::names::millis;
use crate::plan::{About, Plan};
use crate::record::{Completed, Failure, Finished, Kind, Opened, Outcome, Record, Skipped};
use crate::spec::{After, Learned, StepSpec};
use crate::table::{Event, StepState};
use crate::tally::{Tally, Turn};

/// Room that a step takes in a reply, its id apart.
const STEP_ROOM: usize = 12;

/// Names of players that are shared among steps.
const MAX_PLAYERS: usize = 1_024;

/// One step of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    pub state: StepState,
    /// The last one started; 0 before the first. After a rollback the highest that was ever started.
    pub attempt: u32,
    /// The highest ever started, on abandoned branches too.
    pub(crate) highest: u32,
    /// Why it ended: outputs, error or reason.
    pub verdict: Option<Value>,
    pub quality: Option<f64>,
    /// Who ran the last attempt, if the record of its start says so.
    pub player: Option<Arc<str>>,
    /// Index of the record that started it first; 0 before.
    pub begun: u64,
    /// When the last attempt began, milliseconds since 1970.
    pub(crate) since_ms: u64,
    /// Index of the record that ended it.
    pub ended: u64,
    /// Steps not ended right after it ended.
    pub(crate) left: u32,
    pub(crate) tally: Tally,
    /// The step whose end made this one ready or doomed.
    pub(crate) cause: Option<u32>,
    pub(crate) doomed: bool,
    /// Replaced by a reroute.
    pub dropped: bool,
    /// Ready from the beginning of the run.
    pub first: bool,
}

impl Cell {
    pub(crate) fn new(tally: Tally, turn: Turn) -> Self {
        let state = if turn == Turn::Free { StepState::Ready } else { StepState::Pending };
        Self {
            state,
            attempt: 0,
            highest: 0,
            verdict: None,
            quality: None,
            player: None,
            begun: 0,
            since_ms: 0,
            ended: 0,
            left: 0,
            tally,
            cause: None,
            doomed: false,
            dropped: false,
            first: false,
        }
    }
}

/// How a run ended, and in which record.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    pub outcome: Outcome,
    pub ts: String,
    pub index: u64,
}

/// How an attempt went: what is learned from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    pub player: Arc<str>,
    pub kind: String,
    pub ms: u64,
    pub succeeded: bool,
}

#[derive(Clone, Debug)]
pub struct Run {
    pub head: Opened,
    pub plan: Plan,
    pub cells: Vec<Cell>,
    /// Index of the last record.
    pub last: u64,
    pub opened: String,
    /// How many steps it was opened with.
    pub opened_with: usize,
    pub end: Option<End>,
    /// Steps not ended.
    pub left: u32,
    pub(crate) doomed: VecDeque<u32>,
    /// By the ids that their callers gave them.
    pub(crate) changes: HashMap<String, Change>,
    /// Of each loop: how many rounds it may have, and had.
    pub(crate) rounds: HashMap<String, (u32, u32)>,
    /// The highest attempts of steps that only an abandoned branch has.
    pub(crate) forgotten: HashMap<String, u32>,
    players: HashSet<Arc<str>>,
    /// Bytes that document, inputs and steps take in a reply.
    pub(crate) weight: usize,
}

/// An end that is asked for: is it news?
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    Fresh,
    /// The step has ended so before.
    Repeated,
}

pub(crate) fn weight_of<'a>(ids: impl Iterator<Item = &'a str>) -> usize {
    ids.map(|id| id.len() + STEP_ROOM).sum()
}

/// What is known of a step that the document describes so.
pub(crate) fn about<'a>(
    spec: &'a StepSpec,
    kind: Option<&'a str>,
    player: Option<&str>,
    learned: &HashMap<(Option<&str>, &str), u64>,
) -> About<'a> {
    let kind = spec.kind.as_deref().or(kind);
    About { kind, prior: kind.and_then(|kind| learned.get(&(player, kind)).copied()) }
}

/// By player and kind.
pub(crate) fn by_kind(learned: &Learned) -> HashMap<(Option<&str>, &str), u64> {
    learned.iter().map(|(player, kind, ms)| ((player.as_deref(), kind.as_str()), *ms)).collect()
}

impl Run {
    /// The state after the first record.
    pub fn open(record: &Record) -> Result<Self, BusError> {
        if record.kind != Kind::Opened {
            return Err(BusError::new(Code::Corrupt, "the first record is not \"opened\""));
        }
        let mut head: Opened = record.read()?;
        let specs = std::mem::take(&mut head.steps);
        let mut plan = Plan::default();
        let wish = Wish { steps: &specs, after: &After::new(), drop: &HashSet::new() };
        let addition = growth::check(&plan, &wish, &|_| StepState::Pending)?;
        let notes = melody::notes(&head.document);
        let learned = by_kind(&head.learned);
        plan.extend(&specs, addition, |spec| {
            let note = notes.get(spec.id.as_str());
            let player = note.and_then(|note| note.player);
            about(spec, note.and_then(Note::kind), player, &learned)
        });
        let all: Vec<u32> = (0..plan.len() as u32).collect();
        plan.rerank(&all, |_| true);
        let cells = plan.nodes.iter().map(|node| {
            let (tally, turn) = Tally::new(node.join, &node.before, |_| StepState::Pending);
            Cell { first: turn == Turn::Free, ..Cell::new(tally, turn) }
        });
        let cells = cells.collect();
        let size = |value: &Value| rmp_serde::to_vec(value).map_or(0, |bytes| bytes.len());
        let values = size(&head.document) + size(&head.inputs);
        let weight = values + weight_of(specs.iter().map(|spec| spec.id.as_str()));
        Ok(Self {
            left: plan.len() as u32,
            opened_with: plan.len(),
            head,
            plan,
            cells,
            last: record.index,
            opened: record.ts.clone(),
            end: None,
            doomed: VecDeque::new(),
            changes: HashMap::new(),
            rounds: HashMap::new(),
            forgotten: HashMap::new(),
            players: HashSet::new(),
            weight,
        })
    }

    /// The step's number, or `not-found`.
    pub fn number(&self, id: &str) -> Result<u32, BusError> {
        self.plan.number(id).ok_or_else(|| {
            let shown: String = id.chars().take(128).collect();
            BusError::new(Code::NotFound, format!("the run has no step {shown}")).at("step")
        })
    }

    pub fn cell(&self, step: u32) -> &Cell {
        &self.cells[step as usize]
    }

    /// Steps in this state, in the order of the Melody.
    pub fn in_state(&self, state: StepState) -> Vec<u32> {
        (0..).zip(&self.cells).filter(|(_, cell)| cell.state == state).map(|(n, _)| n).collect()
    }

    /// Refuses whatever is asked of a finished run.
    pub fn check_open(&self) -> Result<(), BusError> {
        match &self.end {
            None => Ok(()),
            Some(end) => Err(BusError::new(Code::Conflict, "the run is finished")
                .at(format!("record {}", end.index))),
        }
    }

    /// Whether these records may follow, which end no step: `started`, `failed` (one attempt) and remarks.
    /// Fills in the attempt of those that leave it out.
    pub fn review(&self, records: &mut [Record]) -> Result<(), BusError> {
        self.check_open()?;
        let mut moved = HashMap::new();
        for (position, record) in records.iter_mut().enumerate() {
            let place = |error: BusError| error.at(format!("records[{position}]"));
            let Some(event) = event_of(record) else {
                record.step.as_deref().map_or(Ok(0), |id| self.number(id)).map_err(place)?;
                continue;
            };
            let id = record.step.as_deref().ok_or_else(|| place(nameless(record.kind)))?;
            let step = self.number(id).map_err(place)?;
            let cell = self.cell(step);
            let (state, attempt) = *moved.entry(step).or_insert((cell.state, cell.attempt));
            let next = advance(id, (state, attempt), event, record.attempt).map_err(|error| {
                let found = error.where_.clone().unwrap_or_default();
                error.at(format!("records[{position}]: {found}"))
            })?;
            record.attempt = Some(next.1);
            moved.insert(step, next);
        }
        Ok(())
    }

    /// Whether the step may end so now, or did before.
    pub fn review_end(
        &self,
        step: u32,
        event: Event,
        attempt: Option<u32>,
        verdict: &Value,
    ) -> Result<News, BusError> {
        let (id, cell) = (self.plan.id(step), self.cell(step));
        let alike = cell.verdict.as_ref().is_some_and(|known| crate::record::same(known, verdict));
        let outcome = [StepState::Ready, StepState::Running].iter().find_map(|s| s.after(event));
        if alike && outcome == Some(cell.state) && !cell.doomed {
            return Ok(News::Repeated);
        }
        self.check_open()?;
        advance(id, (cell.state, cell.attempt), event, attempt).map(|_| News::Fresh)
    }

    /// Applies the next record of the journal, or says why it cannot be the next; then nothing has changed.
    /// Returns how an attempt went that ended by it.
    pub fn apply(&mut self, record: &Record) -> Result<Option<Sample>, BusError> {
        self.check_open()?;
        let step = record.step.as_deref().map(|id| self.number(id)).transpose()?;
        if let Some(doomed) = self.doomed.front() {
            let skips = record.kind == Kind::Skipped && step == Some(*doomed);
            if !skips && record.kind != Kind::RolledBack {
                return Err(BusError::new(Code::Conflict, "a step that cannot run is not skipped")
                    .at(self.plan.id(*doomed).to_owned()));
            }
        }
        let mut sample = None;
        match record.kind {
            Kind::Opened => return Err(BusError::new(Code::Conflict, "the run is open already")),
            Kind::Resumed => self.interrupt(),
            Kind::Finished => {
                let Finished { outcome, .. } = record.read()?;
                self.end = Some(End { outcome, ts: record.ts.clone(), index: record.index });
            }
            Kind::Decision | Kind::Gate | Kind::Noted => {}
            Kind::Grown | Kind::Rerouted => self.grow(record)?,
            Kind::Redone => self.redo(record)?,
            Kind::RolledBack => self.turn_back(record)?,
            Kind::Started | Kind::Completed | Kind::Failed | Kind::Skipped => {
                let step = step.ok_or_else(|| nameless(record.kind))?;
                sample = self.apply_to(step, record)?;
            }
        }
        self.last = record.index;
        Ok(sample)
    }

    /// Whoever ran steps is gone.
    pub(crate) fn interrupt(&mut self) {
        for cell in &mut self.cells {
            if let Some(next) = cell.state.after(Event::Interrupted) {
                cell.state = next;
            }
        }
    }

    fn apply_to(&mut self, step: u32, record: &Record) -> Result<Option<Sample>, BusError> {
        let Some(event) = event_of(record) else { return Ok(None) };
        let cell = self.cell(step);
        let former = cell.state;
        let id = self.plan.id(step);
        let (state, attempt) = advance(id, (former, cell.attempt), event, record.attempt)?;
        let (verdict, quality) = match event {
            Event::Completed => {
                let Completed { outputs, quality, .. } = record.read()?;
                (Some(outputs), quality)
            }
            Event::Failed => (Some(record.read::<Failure>()?.error), None),
            Event::Skipped => (Some(record.read::<Skipped>()?.reason.into()), None),
            _ => (None, None),
        };
        let player = self.player_of(record, event);
        let cell = &mut self.cells[step as usize];
        (cell.state, cell.attempt) = (state, attempt);
        if event == Event::Started {
            cell.highest = cell.highest.max(attempt);
            cell.since_ms = millis(&record.ts);
            cell.player = player;
            if cell.begun == 0 {
                cell.begun = record.index;
            }
            return Ok(None);
        }
        let ran = former == StepState::Running;
        let ms = millis(&record.ts).saturating_sub(cell.since_ms);
        if state.is_ended() {
            (cell.verdict, cell.quality, cell.ended) = (verdict, quality, record.index);
            self.left -= 1;
            cell.left = self.left;
            if cell.doomed {
                self.doomed.pop_front();
            }
            self.release(step, state);
            self.rerank_after(step, (ran && state == StepState::Succeeded).then_some(ms));
        }
        let judged = ran && event != Event::Skipped;
        Ok(judged.then(|| self.sample(step, ms, state == StepState::Succeeded)).flatten())
    }

    /// Who runs the attempt that starts, as its record tells.
    fn player_of(&mut self, record: &Record, event: Event) -> Option<Arc<str>> {
        if event != Event::Started {
            return None;
        }
        let pairs = record.data.as_ref()?.as_map()?;
        let found = pairs.iter().find(|(key, _)| key.as_str() == Some("player"));
        let name = found?.1.as_str()?;
        if let Some(known) = self.players.get(name) {
            return Some(known.clone());
        }
        if self.players.len() >= MAX_PLAYERS {
            // They are here to be shared, no more.
            self.players.clear();
        }
        let name: Arc<str> = name.into();
        self.players.insert(name.clone());
        Some(name)
    }

    fn sample(&self, step: u32, ms: u64, succeeded: bool) -> Option<Sample> {
        let player = self.cell(step).player.clone()?;
        let kind = self.plan.kind(step)?.to_owned();
        Some(Sample { player, kind, ms, succeeded })
    }

    /// A step has ended, and took so long if it succeeded.
    fn rerank_after(&mut self, step: u32, took_ms: Option<u64>) {
        let Self { plan, cells, .. } = self;
        let alive = |step: u32| !cells[step as usize].state.is_ended();
        let mut stale = took_ms.map_or_else(Vec::new, |ms| plan.measure(step, ms, alive));
        stale.extend(plan.node(step).before.iter().map(|edge| edge.step).filter(|s| alive(*s)));
        if !stale.is_empty() {
            plan.rerank(&stale, alive);
        }
    }
}

/// What a record means to its step; nothing, for a remark.
fn event_of(record: &Record) -> Option<Event> {
    Some(match record.kind {
        Kind::Started => Event::Started,
        Kind::Completed => Event::Completed,
        Kind::Failed if record.for_good => Event::Failed,
        Kind::Failed => Event::AttemptFailed,
        Kind::Skipped => Event::Skipped,
        _ => return None,
    })
}

fn nameless(kind: Kind) -> BusError {
    BusError::new(Code::BadRequest, format!("a record of kind {kind:?} names no step")).at("step")
}

/// State and attempt after the event. An event about another attempt than the running one is late.
fn advance(
    id: &str,
    (state, attempt): (StepState, u32),
    event: Event,
    named: Option<u32>,
) -> Result<(StepState, u32), BusError> {
    let place = || format!("step {id}: {}, attempt {attempt}", state.name());
    let next = state.after(event).ok_or_else(|| {
        BusError::new(Code::Conflict, format!("{event:?} does not fit the step's state"))
            .at(place())
    })?;
    match named {
        Some(named) if event == Event::Started => Ok((next, named)),
        None if event == Event::Started => Ok((next, attempt.saturating_add(1))),
        Some(named) if state == StepState::Running && named != attempt => {
            Err(BusError::new(Code::Conflict, format!("attempt {named} is not the one that runs"))
                .at(place()))
        }
        _ => Ok((next, attempt)),
    }
}
