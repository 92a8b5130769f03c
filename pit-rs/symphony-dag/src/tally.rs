//! What a step still waits for: two counters, whatever its join.
//!
//! Of `n` dependencies a step waits for `k` (all: k = n, any: k = 1). It is free once `k` are satisfied, and lost
//! once more than `n - k` can no longer be: a hard one that ended without success. Nothing is ever searched.

use crate::plan::Edge;
use crate::spec::{Dependency, Join};
use crate::table::StepState;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// So many dependencies must still be satisfied.
    waits: u32,
    /// So many more may be lost.
    slack: u32,
}

/// What a step's dependencies say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Waits,
    /// It may run.
    Free,
    /// It can never run.
    Lost,
}

/// Whether a dependency is satisfied by a step that ended so.
pub fn satisfies(kind: Dependency, end: StepState) -> bool {
    kind != Dependency::Hard || end == StepState::Succeeded
}

impl Tally {
    /// The counters of a step with these dependencies. A join that cannot be met counts as `all`.
    pub fn new(join: Join, before: &[Edge], state: impl Fn(u32) -> StepState) -> (Self, Turn) {
        let count = before.len() as u32;
        let waits = join.needed(count).unwrap_or(count);
        let mut tally = Self { waits, slack: count - waits };
        let mut turn = if waits == 0 { Turn::Free } else { Turn::Waits };
        for edge in before {
            let end = state(edge.step);
            if turn == Turn::Waits && end.is_ended() {
                turn = tally.count(satisfies(edge.kind, end));
            }
        }
        (tally, turn)
    }

    /// Counts one dependency of a step that waits.
    pub fn count(&mut self, satisfied: bool) -> Turn {
        if satisfied {
            self.waits = self.waits.saturating_sub(1);
            if self.waits == 0 {
                return Turn::Free;
            }
        } else {
            let Some(slack) = self.slack.checked_sub(1) else { return Turn::Lost };
            self.slack = slack;
        }
        Turn::Waits
    }
}
