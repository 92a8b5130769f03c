//! The state of one run: a pure function of its journal.
//!
//! A step counts down the steps it waits for; nothing is ever searched. When a step ends without success,
//! whatever needs it is *doomed*: the next records must skip the doomed in order, each of which may doom
//! more. A journal cut off in between is a valid state; the tracker writes the missing records before any
//! other. That keeps every cascade in one piece right behind its cause.

use std::collections::{HashMap, HashSet, VecDeque};

use symphony_wire::{BusError, Code, Value};

use crate::plan::Plan;
use crate::record::{Completed, Failure, Finished, Kind, Opened, Outcome, Record, Skipped};
use crate::table::{Event, StepState};

/// One step of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    pub state: StepState,
    /// The last one started; 0 before the first.
    pub attempt: u32,
    /// Why it ended: outputs, error or reason.
    pub verdict: Option<Value>,
    pub quality: Option<f64>,
    /// Index of the record that ended it.
    pub ended: u64,
    /// Steps not ended right after it ended.
    left: u32,
    /// Steps that it still waits for.
    waits: u32,
    /// The step whose end made this one ready or doomed.
    cause: Option<u32>,
    doomed: bool,
}

/// How a run ended, and in which record.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    pub outcome: Outcome,
    pub ts: String,
    pub index: u64,
}

#[derive(Clone, Debug)]
pub struct Run {
    pub head: Opened,
    pub plan: Plan,
    pub cells: Vec<Cell>,
    /// Index of the last record.
    pub last: u64,
    pub opened: String,
    pub end: Option<End>,
    /// Steps not ended.
    pub left: u32,
    doomed: VecDeque<u32>,
}

/// What the end of a step brought about.
#[derive(Debug, PartialEq, Eq)]
pub struct Effect {
    pub index: u64,
    /// Steps that became ready by it.
    pub ready: Vec<u32>,
    /// Steps that were skipped because of it, in the order of their records.
    pub cascade: Vec<u32>,
    /// Steps not ended after all of that.
    pub left: u32,
}

/// An end that is asked for: is it news?
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    Fresh,
    /// The step has ended so before.
    Repeated,
}

impl Run {
    /// The state after the first record.
    pub fn open(record: &Record) -> Result<Self, BusError> {
        if record.kind != Kind::Opened {
            return Err(BusError::new(Code::Corrupt, "the first record is not \"opened\""));
        }
        let mut head: Opened = record.read()?;
        let plan = Plan::new(&head.steps).map_err(|faults| faulty(&faults))?;
        head.steps = Vec::new();
        let cell = |waits: &u32| Cell {
            state: if *waits == 0 { StepState::Ready } else { StepState::Pending },
            attempt: 0,
            verdict: None,
            quality: None,
            ended: 0,
            left: 0,
            waits: *waits,
            cause: None,
            doomed: false,
        };
        Ok(Self {
            cells: plan.waits.iter().map(cell).collect(),
            left: plan.ids.len() as u32,
            head,
            plan,
            last: record.index,
            opened: record.ts.clone(),
            end: None,
            doomed: VecDeque::new(),
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

    /// The `skipped` records that must follow: those still owed for steps that ended before and, if `ending` is
    /// about to end without success, those for whatever needs it.
    pub fn cascade(
        &self,
        ending: Option<(u32, StepState)>,
        ts: &str,
    ) -> Result<Vec<Record>, BusError> {
        let owed = self.doomed.iter().filter_map(|step| {
            let cause = self.cell(*step).cause?;
            Some((*step, cause, self.cell(cause).state))
        });
        let mut queue: VecDeque<(u32, u32, StepState)> = owed.collect();
        let mut seen = HashSet::new();
        let mut spread = |queue: &mut VecDeque<_>, step: u32, state: StepState| {
            for next in &self.plan.dependents[step as usize] {
                let cell = self.cell(next.step);
                let stands = cell.state == StepState::Pending && !cell.doomed;
                if next.hard && stands && seen.insert(next.step) {
                    queue.push_back((next.step, step, state));
                }
            }
        };
        if let Some((step, state)) = ending {
            spread(&mut queue, step, state);
        }
        let mut records = Vec::new();
        while let Some((step, cause, state)) = queue.pop_front() {
            let reason = Skipped { reason: self.doom(cause, state) };
            let id = &self.plan.ids[step as usize];
            records.push(Record::new(Kind::Skipped, ts).step(id).data(reason)?);
            spread(&mut queue, step, StepState::Skipped);
        }
        Ok(records)
    }

    /// Why a step is skipped that needs this one, which ended so.
    fn doom(&self, cause: u32, state: StepState) -> String {
        let verb = if state == StepState::Failed { "failed" } else { "was skipped" };
        format!("it needs {}, which {verb}", self.plan.ids[cause as usize])
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
        let (id, cell) = (&self.plan.ids[step as usize], self.cell(step));
        let alike = cell.verdict.as_ref().is_some_and(|known| crate::record::same(known, verdict));
        let outcome = [StepState::Ready, StepState::Running].iter().find_map(|s| s.after(event));
        if alike && outcome == Some(cell.state) && !cell.doomed {
            return Ok(News::Repeated);
        }
        self.check_open()?;
        advance(id, (cell.state, cell.attempt), event, attempt).map(|_| News::Fresh)
    }

    /// Applies the next record of the journal, or says why it cannot be the next; then nothing has changed.
    pub fn apply(&mut self, record: &Record) -> Result<(), BusError> {
        self.check_open()?;
        let step = record.step.as_deref().map(|id| self.number(id)).transpose()?;
        if let Some(doomed) = self.doomed.front() {
            if record.kind != Kind::Skipped || step != Some(*doomed) {
                return Err(BusError::new(Code::Conflict, "a step that cannot run is not skipped")
                    .at(self.plan.ids[*doomed as usize].clone()));
            }
        }
        match record.kind {
            Kind::Opened => return Err(BusError::new(Code::Conflict, "the run is open already")),
            Kind::Resumed => self.interrupt(),
            Kind::Finished => {
                let Finished { outcome, .. } = record.read()?;
                self.end = Some(End { outcome, ts: record.ts.clone(), index: record.index });
            }
            Kind::Decision | Kind::Gate | Kind::Noted => {}
            Kind::Started | Kind::Completed | Kind::Failed | Kind::Skipped => {
                let step = step.ok_or_else(|| nameless(record.kind))?;
                self.apply_to(step, record)?;
            }
        }
        self.last = record.index;
        Ok(())
    }

    fn interrupt(&mut self) {
        for cell in &mut self.cells {
            if let Some(next) = cell.state.after(Event::Interrupted) {
                cell.state = next;
            }
        }
    }

    fn apply_to(&mut self, step: u32, record: &Record) -> Result<(), BusError> {
        let Some(event) = event_of(record) else { return Ok(()) };
        let cell = self.cell(step);
        let id = &self.plan.ids[step as usize];
        let (state, attempt) = advance(id, (cell.state, cell.attempt), event, record.attempt)?;
        let (verdict, quality) = match event {
            Event::Completed => {
                let Completed { outputs, quality, .. } = record.read()?;
                (Some(outputs), quality)
            }
            Event::Failed => (Some(record.read::<Failure>()?.error), None),
            Event::Skipped => (Some(record.read::<Skipped>()?.reason.into()), None),
            _ => (None, None),
        };
        let cell = &mut self.cells[step as usize];
        (cell.state, cell.attempt) = (state, attempt);
        if state.is_ended() {
            (cell.verdict, cell.quality, cell.ended) = (verdict, quality, record.index);
            self.left -= 1;
            cell.left = self.left;
            if cell.doomed {
                self.doomed.pop_front();
            }
            self.release(step, state);
        }
        Ok(())
    }

    /// Counts an ended step down in whatever waits for it.
    fn release(&mut self, step: u32, state: StepState) {
        for dependent in &self.plan.dependents[step as usize] {
            let cell = &mut self.cells[dependent.step as usize];
            cell.waits -= 1;
            if cell.state != StepState::Pending || cell.doomed {
                continue;
            }
            if dependent.hard && state != StepState::Succeeded {
                cell.doomed = true;
                cell.cause = Some(step);
                self.doomed.push_back(dependent.step);
            } else if cell.waits == 0 {
                if let Some(next) = cell.state.after(Event::Unblocked) {
                    cell.state = next;
                    cell.cause = Some(step);
                }
            }
        }
    }

    /// What the end of `step` brought about, the same whenever it is asked.
    pub fn effect(&self, step: u32) -> Effect {
        let mut ready = Vec::new();
        let mut cascade = Vec::new();
        let mut ends = VecDeque::from([step]);
        while let Some(end) = ends.pop_front() {
            for dependent in &self.plan.dependents[end as usize] {
                let cell = self.cell(dependent.step);
                if cell.cause != Some(end) {
                    continue;
                }
                if cell.doomed {
                    cascade.push(dependent.step);
                    ends.push_back(dependent.step);
                } else {
                    ready.push(dependent.step);
                }
            }
        }
        let cell = self.cell(step);
        Effect { index: cell.ended, ready, left: cell.left - cascade.len() as u32, cascade }
    }
}

fn faulty(faults: &[String]) -> BusError {
    const SHOWN: usize = 1_000;
    let shown = faults[..faults.len().min(SHOWN)].join("; ");
    BusError::new(Code::BadRequest, format!("the plan has {} faults", faults.len())).at(shown)
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
