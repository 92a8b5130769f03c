//! How urgent a step is: its upward rank.
//!
//! H. Topcuoglu, S. Hariri, M.-Y. Wu, "Performance-effective and low-complexity task scheduling for heterogeneous
//! computing" (IEEE TPDS 13(3), 2002): a step's own estimate plus the largest, over the steps that wait for it, of
//! their rank and what the transfer to them takes. What has ended is not waited for: the rank is the longest
//! way that is left. Ended steps keep the rank that they had.
//!
//! A change spreads only backwards, to what the changed steps wait for and has not ended; within that part steps are
//! computed after those that wait for them (Kahn 1962), and only where something behind them has changed.

use std::collections::HashMap;

use crate::plan::Node;

/// Where the ranks spread to.
struct Reach {
    /// Steps within the reach that wait for this one and are not computed yet.
    behind: u32,
    /// Whether its rank may be another one now.
    stale: bool,
}

/// Computes the ranks of these steps anew, and of whatever they wait for where that makes a difference.
pub fn refresh(nodes: &mut [Node], steps: &[u32], alive: impl Fn(u32) -> bool) {
    let mut reach: HashMap<u32, Reach> = HashMap::with_capacity(steps.len());
    let mut found: Vec<u32> = Vec::with_capacity(steps.len());
    for step in steps.iter().copied().filter(|step| alive(*step)) {
        reach.entry(step).or_insert_with(|| {
            found.push(step);
            Reach { behind: 0, stale: true }
        });
    }
    let mut next = 0;
    while let Some(step) = found.get(next).copied() {
        next += 1;
        for edge in &nodes[step as usize].before {
            if alive(edge.step) {
                let before = reach.entry(edge.step).or_insert_with(|| {
                    found.push(edge.step);
                    Reach { behind: 0, stale: false }
                });
                before.behind += 1;
            }
        }
    }
    let is_last = |step: &u32| reach.get(step).is_some_and(|reach| reach.behind == 0);
    let mut free: Vec<u32> = found.into_iter().filter(is_last).collect();
    while let Some(step) = free.pop() {
        let mut changed = false;
        if reach.get(&step).is_some_and(|reach| reach.stale) {
            let rank = rank(nodes, step, &alive);
            let node = &mut nodes[step as usize];
            changed = node.rank != rank;
            node.rank = rank;
        }
        for edge in &nodes[step as usize].before {
            if let Some(before) = reach.get_mut(&edge.step) {
                before.behind -= 1;
                before.stale |= changed;
                if before.behind == 0 {
                    free.push(edge.step);
                }
            }
        }
    }
}

fn rank(nodes: &[Node], step: u32, alive: &impl Fn(u32) -> bool) -> u64 {
    let node = &nodes[step as usize];
    let behind = node.dependents.iter().filter(|edge| alive(edge.step));
    let longest = behind.map(|edge| edge.transfer + nodes[edge.step as usize].rank).max();
    node.estimate + longest.unwrap_or(0)
}
