//! The additive heuristic and greedy play on it, as `fqg/solving/hadd.py`.

use std::collections::HashMap;

use crate::level::{holds, is_true, Level};
use crate::order::Queue;
use crate::states::States;

/// Works out h_add of states of one level; keeps its working space from one to the next.
pub struct HAdd<'a> {
    level: &'a Level,
    costs: Vec<f64>,
    goal: Vec<u32>,
    facts: Vec<f64>,
    missing: Vec<u32>,
    sums: Vec<f64>,
    queue: Queue,
}

impl<'a> HAdd<'a> {
    /// `goal` as facts below the level's number of them.
    #[must_use]
    pub fn new(level: &'a Level, goal: &[u32]) -> Self {
        let mut goal = goal.to_vec();
        goal.sort_unstable();
        goal.dedup();
        Self {
            level,
            costs: level.costs(),
            goal,
            facts: vec![],
            missing: vec![],
            sums: vec![],
            queue: Queue::default(),
        }
    }

    /// Infinite if a fact of the goal cannot be had even without deletes.
    pub fn of(&mut self, state: &[u64]) -> f64 {
        let level = self.level;
        self.queue.clear();
        self.facts.clear();
        self.facts.resize(level.facts, f64::INFINITY);
        self.sums.clone_from(&self.costs);
        self.missing.clear();
        self.missing.extend(level.functions.iter().map(|function| function.pre.len() as u32));
        for fact in 0..level.facts as u32 {
            if is_true(state, fact) {
                self.facts[fact as usize] = 0.0;
                self.queue.push(0.0, 0, fact);
            }
        }
        for at in 0..level.size() {
            if self.missing[at] == 0 {
                self.fire(at);
            }
        }
        while let Some((cost, fact)) = self.queue.pop() {
            if cost > self.facts[fact as usize] {
                continue; // found cheaper since it was queued
            }
            for &at in &level.needed_by[fact as usize] {
                let at = at as usize;
                self.missing[at] -= 1;
                self.sums[at] += cost;
                if self.missing[at] == 0 {
                    self.fire(at);
                }
            }
        }
        self.goal.iter().map(|fact| self.facts[*fact as usize]).sum()
    }

    fn fire(&mut self, function: usize) {
        for &fact in &self.level.functions[function].add {
            let cost = self.sums[function];
            if cost < self.facts[fact as usize] {
                self.facts[fact as usize] = cost;
                self.queue.push(cost, 0, fact);
            }
        }
    }
}

/// The calls of greedy play: the least (visits of the next state, cost + its h_add, index).
/// None if it has not won after `limit` calls, or nothing is legal.
#[must_use]
pub fn greedy(level: &Level, goal: &[u32], limit: usize) -> Option<Vec<u32>> {
    let wanted = level.state(goal).ok()?;
    let mut hadd = HAdd::new(level, goal);
    let mut met = States::new(level.words);
    let mut notes: HashMap<u32, (u32, f64)> = HashMap::new(); // visits, h_add
    let mut state = level.start().to_vec();
    notes.insert(met.push(&state), (1, 0.0));
    let mut estimated = vec![false];
    let mut after = state.clone();
    let mut calls = vec![];
    while !holds(&wanted, &state) {
        if calls.len() == limit {
            return None;
        }
        let mut best: Option<(u32, f64, usize, u32)> = None;
        for call in 0..level.size() {
            if !level.legal(call, &state) {
                continue;
            }
            level.step(call, &state, &mut after);
            let at = met.find(&after).unwrap_or_else(|| {
                estimated.push(false);
                met.push(&after)
            });
            let note = notes.entry(at).or_insert((0, 0.0));
            if !estimated[at as usize] {
                estimated[at as usize] = true;
                note.1 = hadd.of(&after);
            }
            let (visits, estimate) = (note.0, level.functions[call].cost + note.1);
            if best.is_none_or(|(v, e, ..)| visits < v || visits == v && estimate < e) {
                best = Some((visits, estimate, call, at));
            }
        }
        let (_, _, call, at) = best?;
        state.copy_from_slice(met.get(at));
        notes.entry(at).and_modify(|note| note.0 += 1);
        calls.push(call as u32);
    }
    Some(calls)
}
