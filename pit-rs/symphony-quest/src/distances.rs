//! Costs to go: from every state the least cost to one that wins.

use std::collections::VecDeque;

use crate::level::holds;
use crate::order::Queue;
use crate::space::Space;

impl Space {
    /// Per state; infinite where the goal cannot be reached. Dijkstra's algorithm backwards, or breadth-first search
    /// where all costs are equal. `costs` are finite and from 0 (see `Level::check`).
    #[must_use]
    pub fn to_go(&self, goal: &[u64], costs: &[f64]) -> Vec<f64> {
        let best: Vec<f64> = (0..self.size() as u32)
            .map(|at| if holds(goal, self.state(at)) { 0.0 } else { f64::INFINITY })
            .collect();
        match costs.first() {
            Some(first) if costs.iter().all(|cost| cost == first) => {
                self.level_by_level(best, *first)
            }
            _ => self.cheapest_first(best, costs),
        }
    }

    fn level_by_level(&self, mut best: Vec<f64>, cost: f64) -> Vec<f64> {
        let mut queue: VecDeque<u32> = at_zero(&best).collect();
        while let Some(at) = queue.pop_front() {
            let total = best[at as usize] + cost;
            for &(_, before) in self.into(at) {
                if best[before as usize].is_infinite() {
                    best[before as usize] = total;
                    queue.push_back(before);
                }
            }
        }
        best
    }

    fn cheapest_first(&self, mut best: Vec<f64>, costs: &[f64]) -> Vec<f64> {
        let mut queue = Queue::default();
        at_zero(&best).for_each(|at| queue.push(0.0, 0, at));
        while let Some((cost, at)) = queue.pop() {
            if cost > best[at as usize] {
                continue; // found cheaper since it was queued
            }
            for &(call, before) in self.into(at) {
                let total = cost + costs[call as usize];
                if total < best[before as usize] {
                    best[before as usize] = total;
                    queue.push(total, 0, before);
                }
            }
        }
        best
    }
}

fn at_zero(best: &[f64]) -> impl Iterator<Item = u32> + '_ {
    (0..).zip(best).filter(|(_, cost)| **cost == 0.0).map(|(at, _)| at)
}
