//! How a run changes while it runs: it grows, is rerouted, steps are put back, and it returns to a checkpoint.
//!
//! Each change has an id that its caller gave it and happens once. One that a rollback took back is remembered as
//! such: whoever repeats it is told so instead of being believed.

use std::collections::HashSet;

use symphony_wire::{BusError, Code, Value};

use crate::growth::{self, listed, short, Addition, Wish, MAX_STEPS};
use crate::record::{Growth, Kind, Loop, Record, Redone, RolledBack};
use crate::replies::MAX_RECORD;
use crate::spec::Dependency;
use crate::state::{about, by_kind, weight_of, Cell, Run};
use crate::table::{Event, StepState};
use crate::tally::{Tally, Turn};

/// Changes of one run at most, those that a rollback took back too.
const MAX_CHANGES: usize = 16_384;
const MAX_NAME: usize = 128;

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Stands {
        index: u64,
        /// Steps that it made ready.
        ready: Vec<u32>,
        /// Steps not ended after it.
        left: u32,
        /// Which round of its loop it was.
        round: u32,
    },
    /// Its record lies on an abandoned branch.
    Abandoned { index: u64 },
}

/// What a growth comes to.
struct Planned {
    addition: Addition,
    drop: HashSet<u32>,
}

fn refusal(code: Code, message: &str, place: impl Into<String>) -> BusError {
    BusError::new(code, message).at(place.into())
}

impl Run {
    /// The change of this id, if there was one.
    pub fn change(&self, id: &str) -> Option<&Change> {
        self.changes.get(id)
    }

    /// Whether one more change of this id may follow.
    fn check_change(&self, id: &str) -> Result<(), BusError> {
        self.check_open()?;
        if !(1..=MAX_NAME).contains(&id.len()) {
            return Err(refusal(Code::BadRequest, "an id has 1 to 128 bytes", "id"));
        }
        if self.changes.contains_key(id) {
            return Err(refusal(Code::Conflict, "another change has this id", "id"));
        }
        if self.changes.len() >= MAX_CHANGES {
            let message = format!("a run changes at most {MAX_CHANGES} times");
            return Err(BusError::new(Code::Refused, message).at("id"));
        }
        Ok(())
    }

    /// Whether the plan may grow so, or be rerouted so.
    pub fn review_growth(&self, kind: Kind, growth: &Growth) -> Result<(), BusError> {
        self.plan_growth(kind, growth).map(|_| ())
    }

    fn plan_growth(&self, kind: Kind, growth: &Growth) -> Result<Planned, BusError> {
        self.check_change(&growth.id)?;
        if let Some(round) = &growth.round {
            self.check_round(round)?;
        }
        let known = self.plan.len() + self.forgotten.len() + growth.steps.len();
        let weight = self.weight + weight_of(growth.steps.iter().map(|spec| spec.id.as_str()));
        if known > MAX_STEPS {
            let message =
                format!("{known} steps; a run has at most {MAX_STEPS}, abandoned ones too");
            return Err(refusal(Code::BadRequest, &message, "steps"));
        }
        if weight > MAX_RECORD {
            let message = format!("document, inputs and steps of the run take {weight} bytes");
            return Err(refusal(Code::BadRequest, &message, "size")
                .help(format!("at most {MAX_RECORD}: use shorter ids, or a run of its own")));
        }
        let drop = match (kind, &growth.drop) {
            (Kind::Rerouted, None) => self.unstarted().collect(),
            (_, named) => self.named(named.as_deref().unwrap_or_default())?,
        };
        let wish = Wish { steps: &growth.steps, after: &growth.after, drop: &drop };
        let addition = growth::check(&self.plan, &wish, &|step| self.cell(step).state)?;
        Ok(Planned { addition, drop })
    }

    fn unstarted(&self) -> impl Iterator<Item = u32> + '_ {
        let open = |cell: &Cell| matches!(cell.state, StepState::Pending | StepState::Ready);
        (0..).zip(&self.cells).filter(move |(_, cell)| open(cell)).map(|(step, _)| step)
    }

    /// The steps that are to go, none of which has started; every other one at once.
    fn named(&self, names: &[String]) -> Result<HashSet<u32>, BusError> {
        let mut found = HashSet::with_capacity(names.len());
        let (mut unknown, mut late) = (Vec::new(), Vec::new());
        for name in names {
            match self.plan.number(name) {
                None => unknown.push(format!("drop: unknown step {}", short(name))),
                Some(step) => match self.cell(step).state {
                    StepState::Pending | StepState::Ready => {
                        found.insert(step);
                    }
                    state => late.push(format!("drop: step {name} is {}", state.name())),
                },
            }
        }
        let code = if unknown.is_empty() { Code::Conflict } else { Code::BadRequest };
        unknown.append(&mut late);
        if unknown.is_empty() {
            return Ok(found);
        }
        let message = format!("{} steps cannot be replaced", unknown.len());
        Err(refusal(code, &message, listed(&unknown)))
    }

    fn check_round(&self, round: &Loop) -> Result<(), BusError> {
        if !(1..=MAX_NAME).contains(&round.name.len()) {
            return Err(refusal(Code::BadRequest, "a loop's name has 1 to 128 bytes", "loop.name"));
        }
        let (most, count) = self.rounds.get(&round.name).copied().unwrap_or((round.most, 0));
        if most != round.most {
            let message = format!("loop {} has at most {most} rounds", round.name);
            return Err(refusal(Code::Conflict, &message, "loop.most"));
        }
        if count >= most {
            let message = format!("loop {} had its {most} rounds", round.name);
            return Err(refusal(Code::Refused, &message, "loop"));
        }
        Ok(())
    }

    /// Applies `grown` or `rerouted`.
    pub(crate) fn grow(&mut self, record: &Record) -> Result<(), BusError> {
        let growth: Growth = record.read()?;
        let Planned { addition, drop } = self.plan_growth(record.kind, &growth)?;
        let targets: Vec<u32> = addition.after.iter().map(|(step, _)| *step).collect();
        let mut stale: Vec<u32> = Vec::new();
        for step in drop {
            let cell = &mut self.cells[step as usize];
            let reason = format!("replaced by record {}", record.index);
            if let Some(next) = cell.state.after(Event::Skipped) {
                cell.state = next;
            }
            (cell.verdict, cell.dropped) = (Some(Value::from(reason)), true);
            cell.ended = record.index;
            self.left -= 1;
            stale.extend(self.plan.node(step).before.iter().map(|edge| edge.step));
        }
        self.weight += weight_of(growth.steps.iter().map(|spec| spec.id.as_str()));
        let learned = by_kind(&growth.learned);
        let told = |spec| about(spec, None, None, &learned);
        let first = self.plan.extend(&growth.steps, addition, told);
        for spec in &growth.steps {
            let highest = self.forgotten.remove(&spec.id).unwrap_or(0);
            let cell = Cell::new(Tally::default(), Turn::Waits);
            self.cells.push(Cell { attempt: highest, highest, ..cell });
        }
        self.left += growth.steps.len() as u32;
        let new = first..self.plan.len() as u32;
        let ready = self.recount(new.chain(targets), &mut stale);
        self.rerank(&stale);
        let round = growth.round.map_or(0, |Loop { name, most }| {
            let (_, count) = self.rounds.entry(name).or_insert((most, 0));
            *count += 1;
            *count
        });
        self.stands(growth.id, record.index, ready, round);
        Ok(())
    }

    /// Counts anew what these steps wait for. Returns those that are ready by that; they, and what they wait for, are
    /// `stale`.
    fn recount(&mut self, steps: impl Iterator<Item = u32>, stale: &mut Vec<u32>) -> Vec<u32> {
        let mut ready = Vec::new();
        for step in steps {
            let node = self.plan.node(step);
            let (tally, turn) = Tally::new(node.join, &node.before, |s| self.cell(s).state);
            stale.push(step);
            stale.extend(node.before.iter().map(|edge| edge.step));
            let cell = &mut self.cells[step as usize];
            cell.tally = tally;
            if let (Turn::Free, Some(next)) = (turn, cell.state.after(Event::Unblocked)) {
                cell.state = next;
                ready.push(step);
            }
        }
        ready
    }

    fn rerank(&mut self, stale: &[u32]) {
        let Self { plan, cells, .. } = self;
        plan.rerank(stale, |step| !cells[step as usize].state.is_ended());
    }

    fn stands(&mut self, id: String, index: u64, ready: Vec<u32>, round: u32) {
        let change = Change::Stands { index, ready, left: self.left, round };
        self.changes.insert(id, change);
    }

    /// What is made from what these steps made, themselves among it: whatever uses it and is not waiting still.
    pub fn tainted(&self, steps: &[u32]) -> Vec<u32> {
        let mut found: Vec<u32> = Vec::new();
        let mut seen = HashSet::new();
        found.extend(steps.iter().copied().filter(|step| seen.insert(*step)));
        let mut next = 0;
        while let Some(step) = found.get(next).copied() {
            next += 1;
            for edge in &self.plan.node(step).dependents {
                let cell = self.cell(edge.step);
                let used = edge.kind != Dependency::Soft && cell.state != StepState::Pending;
                if used && !cell.dropped && seen.insert(edge.step) {
                    found.push(edge.step);
                }
            }
        }
        found
    }

    /// The steps that run again if these do, or why these cannot; every reason at once.
    pub fn review_redo(&self, redone: &Redone) -> Result<Vec<u32>, BusError> {
        self.check_change(&redone.id)?;
        if redone.steps.is_empty() {
            return Err(refusal(Code::BadRequest, "no steps", "steps"));
        }
        let mut steps = Vec::new();
        let (mut unknown, mut unfit) = (Vec::new(), Vec::new());
        for name in &redone.steps {
            match self.plan.number(name) {
                None => unknown.push(format!("unknown step {}", short(name))),
                Some(step) if self.cell(step).dropped => {
                    unfit.push(format!("step {name} was replaced"));
                }
                Some(step) if !self.cell(step).state.is_ended() => {
                    unfit.push(format!("step {name} is {}", self.cell(step).state.name()));
                }
                Some(step) => steps.push(step),
            }
        }
        let steps = self.tainted(&steps);
        let again: HashSet<u32> = steps.iter().copied().collect();
        let state = |step: u32| match again.contains(&step) {
            true => StepState::Pending,
            false => self.cell(step).state,
        };
        for step in &steps {
            let node = self.plan.node(*step);
            if Tally::new(node.join, &node.before, state).1 == Turn::Lost {
                unfit.push(format!("step {} needs one that failed or was skipped", node.id));
            }
        }
        let code = if unknown.is_empty() { Code::Conflict } else { Code::NotFound };
        unknown.append(&mut unfit);
        if unknown.is_empty() {
            return Ok(steps);
        }
        Err(refusal(code, "these steps cannot run again", listed(&unknown))
            .help("name the steps too that those need"))
    }

    /// Applies `redone`.
    pub(crate) fn redo(&mut self, record: &Record) -> Result<(), BusError> {
        let redone: Redone = record.read()?;
        let steps = self.review_redo(&redone)?;
        let again: HashSet<u32> = steps.iter().copied().collect();
        let mut waiting: Vec<u32> = Vec::new();
        for step in &steps {
            let cell = &mut self.cells[*step as usize];
            self.left += u32::from(cell.state.is_ended());
            if let Some(next) = cell.state.after(Event::Redone) {
                cell.state = next;
            }
            (cell.verdict, cell.quality, cell.ended, cell.left) = (None, None, 0, 0);
            cell.doomed = false;
            cell.cause = cell.cause.filter(|cause| !again.contains(cause));
            let dependents = self.plan.node(*step).dependents.iter().map(|edge| edge.step);
            waiting.extend(dependents.filter(|step| !again.contains(step)));
        }
        waiting.sort_unstable();
        waiting.dedup();
        for step in &waiting {
            // Whoever goes on without it was not made ready by the end that is undone.
            let cell = &mut self.cells[*step as usize];
            cell.cause = cell.cause.filter(|cause| !again.contains(cause));
        }
        waiting.retain(|step| self.cell(*step).state == StepState::Pending);
        let mut stale = Vec::new();
        let ready = self.recount(steps.into_iter().chain(waiting), &mut stale);
        for step in again {
            let cell = &mut self.cells[step as usize];
            // Who waits still was made ready by nobody.
            cell.cause = cell.cause.filter(|_| cell.state != StepState::Pending);
        }
        self.rerank(&stale);
        self.stands(redone.id, record.index, ready, 0);
        Ok(())
    }

    /// Whether the run, as it was after an earlier record, may go on from there.
    pub fn review_return(&self, back: &RolledBack) -> Result<(), BusError> {
        match &self.end {
            None => self.check_change(&back.id),
            Some(end) => {
                let message = format!("after record {} the run is finished", back.to);
                Err(refusal(Code::Conflict, &message, format!("record {}", end.index))
                    .help("name a record before that one"))
            }
        }
    }

    /// Applies `rolledback` to the state after the record that it names.
    pub(crate) fn turn_back(&mut self, record: &Record) -> Result<(), BusError> {
        let back: RolledBack = record.read()?;
        if back.to != self.last {
            let message = format!("record {} does not follow record {}", record.index, back.to);
            return Err(refusal(Code::Conflict, &message, format!("record {}", record.index)));
        }
        self.review_return(&back)?;
        self.interrupt();
        for cell in &mut self.cells {
            cell.attempt = cell.highest;
        }
        self.stands(back.id, record.index, Vec::new(), 0);
        Ok(())
    }

    /// Notes of a record on an abandoned branch what must never be used again.
    pub(crate) fn witness(&mut self, record: &Record) -> Result<(), BusError> {
        let id = match record.kind {
            Kind::Started => {
                let (step, attempt) = (record.step.as_deref(), record.attempt.unwrap_or(0));
                let step = step.unwrap_or_default();
                match self.plan.number(step) {
                    Some(step) => {
                        let cell = &mut self.cells[step as usize];
                        cell.highest = cell.highest.max(attempt);
                    }
                    None => {
                        let highest = self.forgotten.entry(step.to_owned()).or_insert(0);
                        *highest = attempt.max(*highest);
                    }
                }
                return Ok(());
            }
            Kind::Grown | Kind::Rerouted => record.read::<Growth>()?.id,
            Kind::Redone => record.read::<Redone>()?.id,
            Kind::RolledBack => record.read::<RolledBack>()?.id,
            _ => return Ok(()),
        };
        self.changes.insert(id, Change::Abandoned { index: record.index });
        Ok(())
    }
}
