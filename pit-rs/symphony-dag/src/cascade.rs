//! What the end of a step brings about: steps that may run, and steps that never can.

use std::collections::{HashMap, VecDeque};

use symphony_wire::BusError;

use crate::record::{Kind, Record, Skipped};
use crate::state::Run;
use crate::table::{Event, StepState};
use crate::tally::{satisfies, Tally, Turn};

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

impl Run {
    /// The `skipped` records that must follow: those still owed for steps that ended before and, if `ending` is
    /// about to end without success, those for whatever can then never run.
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
        // Of those that wait: what they will have counted; nothing, once they wait no more.
        let mut tallies: HashMap<u32, Option<Tally>> = HashMap::new();
        let mut spread = |queue: &mut VecDeque<_>, step: u32, state: StepState| {
            for next in &self.plan.node(step).dependents {
                let cell = self.cell(next.step);
                if cell.state != StepState::Pending || cell.doomed {
                    continue;
                }
                let counted = tallies.entry(next.step).or_insert(Some(cell.tally));
                let Some(tally) = counted else { continue };
                match tally.count(satisfies(next.kind, state)) {
                    Turn::Waits => {}
                    Turn::Free => *counted = None,
                    Turn::Lost => {
                        *counted = None;
                        queue.push_back((next.step, step, state));
                    }
                }
            }
        };
        if let Some((step, state)) = ending {
            spread(&mut queue, step, state);
        }
        let mut records = Vec::new();
        while let Some((step, cause, state)) = queue.pop_front() {
            let reason = Skipped { reason: self.doom(cause, state) };
            let id = self.plan.id(step);
            records.push(Record::new(Kind::Skipped, ts).step(id).data(reason)?);
            spread(&mut queue, step, StepState::Skipped);
        }
        Ok(records)
    }

    /// Why a step is skipped that needs this one, which ended so.
    fn doom(&self, cause: u32, state: StepState) -> String {
        let verb = if state == StepState::Failed { "failed" } else { "was skipped" };
        format!("it needs {}, which {verb}", self.plan.id(cause))
    }

    /// Counts an ended step down in whatever waits for it.
    pub(crate) fn release(&mut self, step: u32, state: StepState) {
        for edge in &self.plan.node(step).dependents {
            let cell = &mut self.cells[edge.step as usize];
            if cell.state != StepState::Pending || cell.doomed {
                continue;
            }
            match cell.tally.count(satisfies(edge.kind, state)) {
                Turn::Waits => continue,
                Turn::Free => {
                    if let Some(next) = cell.state.after(Event::Unblocked) {
                        cell.state = next;
                    }
                }
                Turn::Lost => {
                    cell.doomed = true;
                    self.doomed.push_back(edge.step);
                }
            }
            cell.cause = Some(step);
        }
    }

    /// What the end of `step` brought about, the same whenever it is asked.
    pub fn effect(&self, step: u32) -> Effect {
        let mut ready = Vec::new();
        let mut cascade = Vec::new();
        let mut ends = VecDeque::from([step]);
        while let Some(end) = ends.pop_front() {
            for edge in &self.plan.node(end).dependents {
                let cell = self.cell(edge.step);
                if cell.cause != Some(end) {
                    continue;
                }
                if cell.doomed {
                    cascade.push(edge.step);
                    ends.push_back(edge.step);
                } else {
                    ready.push(edge.step);
                }
            }
        }
        let cell = self.cell(step);
        let left = cell.left.saturating_sub(cascade.len() as u32);
        Effect { index: cell.ended, ready, left, cascade }
    }
}
