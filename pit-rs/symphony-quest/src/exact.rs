//! Exact plans by A* with LM-cut. Equal in cost to `fqg/solving/exact.py`; of equally cheap plans it may find another.

use crate::landmarks::LmCut;
use crate::level::{holds, Level};
use crate::order::Queue;
use crate::states::States;

/// How a search ended: `calls` is a cheapest plan, None if there is none (`complete`) or none was found in time.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub calls: Option<Vec<u32>>,
    pub cost: f64,
    pub complete: bool,
    pub expanded: usize,
}

struct Node {
    cost: f64,
    /// What is left at least; infinite: the goal is out of reach from here.
    left: f64,
    parent: u32,
    call: u32,
    expanded_at: f64,
}

/// A cheapest plan by `costs` per function (see `Level::check`). Gives up after `expansions` states.
///
/// Nodes are opened again where a cheaper way to them is found: LM-cut is admissible but not consistent.
#[must_use]
pub fn solve(level: &Level, goal: &[u32], costs: &[f64], expansions: usize) -> Outcome {
    let ended =
        |complete, expanded| Outcome { calls: None, cost: f64::INFINITY, complete, expanded };
    let Ok(wanted) = level.state(goal) else { return ended(true, 0) };
    let mut bound = LmCut::new(level, goal, costs);
    let mut met = States::new(level.words);
    let mut queue = Queue::default();
    let root =
        |cost, left, parent, call| Node { cost, left, parent, call, expanded_at: f64::INFINITY };
    let mut nodes = vec![root(0.0, bound.of(level.start()), 0, u32::MAX)];
    queue.push_open(&nodes[met.push(level.start()) as usize], 0);
    let (mut state, mut after) = (level.start().to_vec(), level.start().to_vec());
    let mut expanded = 0;
    while let Some((_, at)) = queue.pop() {
        let cost = nodes[at as usize].cost;
        if cost >= nodes[at as usize].expanded_at {
            continue;
        }
        state.copy_from_slice(met.get(at));
        if holds(&wanted, &state) {
            return Outcome { calls: Some(plan(&nodes, at)), cost, complete: true, expanded };
        }
        if expanded == expansions {
            return ended(false, expanded);
        }
        expanded += 1;
        nodes[at as usize].expanded_at = cost;
        for (call, paid) in costs.iter().enumerate() {
            if !level.legal(call, &state) {
                continue;
            }
            level.step(call, &state, &mut after);
            let total = cost + paid;
            let index = match met.find(&after) {
                Some(index) if nodes[index as usize].cost <= total => continue,
                Some(index) => {
                    let node = &mut nodes[index as usize];
                    (node.cost, node.parent, node.call) = (total, at, call as u32);
                    index
                }
                None => {
                    nodes.push(root(total, bound.of(&after), at, call as u32));
                    met.push(&after)
                }
            };
            queue.push_open(&nodes[index as usize], index);
        }
    }
    ended(true, expanded)
}

impl Queue {
    /// The least total first, of equals the one with the least left to pay.
    fn push_open(&mut self, node: &Node, index: u32) {
        if node.left.is_finite() {
            self.push(node.cost + node.left, node.left.to_bits(), index);
        }
    }
}

fn plan(nodes: &[Node], mut at: u32) -> Vec<u32> {
    let mut calls = vec![];
    while nodes[at as usize].call != u32::MAX {
        calls.push(nodes[at as usize].call);
        at = nodes[at as usize].parent;
    }
    calls.reverse();
    calls
}
