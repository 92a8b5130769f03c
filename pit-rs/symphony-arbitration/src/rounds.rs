//! Deficit round robin between the runs of one class and deadline (Shreedhar and Varghese, SIGCOMM 1995).
//!
//! A run that waits has a turn in every round and may then spend a quantum more; what it does not spend it
//! keeps. So its requests whose costs add up to `c` are served by round `c / quantum`, rounded up: the round is
//! known when a request arrives and never changes, which makes it part of an ordered key. A run that comes
//! later begins in the round that is being served; one that has nothing waiting is forgotten with what it had saved.

use std::collections::HashMap;
use std::sync::Arc;

/// Millionths of a dominant resource that a turn is worth: a hundredth of it.
pub const QUANTUM: u64 = 10_000;

/// The runs of one class and deadline that have somebody waiting.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    /// The round that is being served.
    serving: u64,
    turns: u64,
    runs: HashMap<Arc<str>, Run>,
}

#[derive(Clone, Debug)]
struct Run {
    /// Its place in every round.
    turn: u64,
    /// The round before its first.
    before: u64,
    /// What its requests cost together since then.
    cost: u64,
    waiting: u32,
}

impl Rounds {
    /// The round and the place in it of a request of this cost (millionths).
    pub fn arrive(&mut self, run: &Arc<str>, cost: u64) -> (u64, u64) {
        let Self { serving, turns, runs } = self;
        let run = runs.entry(Arc::clone(run)).or_insert_with(|| {
            *turns += 1;
            Run { turn: *turns, before: serving.saturating_sub(1), cost: 0, waiting: 0 }
        });
        run.cost += cost;
        run.waiting += 1;
        (run.before + run.cost.div_ceil(QUANTUM).max(1), run.turn)
    }

    /// A request of this run and round no longer waits; `served`: because its turn came.
    pub fn leave(&mut self, run: &str, round: u64, served: bool) {
        if served {
            self.serving = self.serving.max(round);
        }
        if let Some(left) = self.runs.get_mut(run) {
            left.waiting -= 1;
            if left.waiting == 0 {
                self.runs.remove(run);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}
