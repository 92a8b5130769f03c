//! A queue of numbered things, the cheapest first, of equals the one with the lowest key.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Costs are finite and from 0, so that their bits are ordered as they are.
#[derive(Default)]
pub struct Queue(BinaryHeap<Reverse<(u64, u64, u32)>>);

impl Queue {
    #[inline]
    pub fn push(&mut self, cost: f64, tie: u64, item: u32) {
        debug_assert!(cost >= 0.0);
        self.0.push(Reverse((cost.to_bits(), tie, item)));
    }

    #[inline]
    pub fn pop(&mut self) -> Option<(f64, u32)> {
        self.0.pop().map(|Reverse((cost, _, item))| (f64::from_bits(cost), item))
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}
