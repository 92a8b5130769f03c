//! When open calls run out of time, soonest first.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::members::PeerId;

/// The call with this request number and order runs out of time.
pub(crate) struct Deadline {
    pub due: f64,
    pub call: u64,
    pub caller: PeerId,
    pub request: u64,
}

impl Ord for Deadline {
    fn cmp(&self, other: &Self) -> Ordering {
        self.due.total_cmp(&other.due).then(self.call.cmp(&other.call))
    }
}

impl PartialOrd for Deadline {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Deadline {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Deadline {}

#[derive(Default)]
pub(crate) struct Deadlines(BinaryHeap<Reverse<Deadline>>);

impl Deadlines {
    pub fn push(&mut self, deadline: Deadline) {
        self.0.push(Reverse(deadline));
    }

    /// When the next one passes, unless its call is answered before.
    pub fn next(&self) -> Option<f64> {
        self.0.peek().map(|Reverse(first)| first.due)
    }

    /// Takes the first one that has passed.
    pub fn pop_due(&mut self, now: f64) -> Option<Deadline> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse(deadline)| deadline)
    }

    /// Drops those of answered calls once they outnumber the open ones.
    pub fn forget_answered(&mut self, open_calls: usize, is_open: impl Fn(&Deadline) -> bool) {
        if self.0.len() > 2 * open_calls + 1024 {
            self.0.retain(|Reverse(deadline)| is_open(deadline));
        }
    }
}
