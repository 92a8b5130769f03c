//! LM-cut: a lower bound from disjoint landmarks (Helmert and Domshlak, "Landmarks, Critical Paths and Abstractions:
//! What's the Difference Anyway?", ICAPS 2009, section 6).
//!
//! Each round takes a set of functions of which every plan that ignores deletes must call one, charges the cheapest of them, and lowers
//! their costs by as much, until the goal costs nothing by h_max.

use crate::level::{is_true, Level};
use crate::order::Queue;

/// Works out LM-cut of states of one level for one goal; keeps its working space from one to the next.
pub struct LmCut<'a> {
    level: &'a Level,
    costs: Vec<f64>,
    goal: Vec<u32>,
    added_by: Vec<Vec<u32>>,
    left: Vec<f64>,
    facts: Vec<f64>,
    missing: Vec<u32>,
    /// Per function the dearest of its preconditions, which came last: `NOTHING` if it has none.
    supporter: Vec<u32>,
    queue: Queue,
    zone: Vec<bool>,
    near: Vec<bool>,
    stack: Vec<u32>,
    cut: Vec<u32>,
}

const NOTHING: u32 = u32::MAX;

impl<'a> LmCut<'a> {
    pub fn new(level: &'a Level, goal: &[u32], costs: &[f64]) -> Self {
        let mut added_by = vec![vec![]; level.facts];
        for (at, function) in (0..).zip(&level.functions) {
            for fact in &function.add {
                added_by[*fact as usize].push(at);
            }
        }
        Self {
            level,
            costs: costs.to_vec(),
            goal: goal.to_vec(),
            added_by,
            left: vec![],
            facts: vec![],
            missing: vec![],
            supporter: vec![],
            queue: Queue::default(),
            zone: vec![],
            near: vec![],
            stack: vec![],
            cut: vec![],
        }
    }

    /// Infinite if the goal is out of reach even without deletes.
    pub fn of(&mut self, state: &[u64]) -> f64 {
        self.left.clone_from(&self.costs);
        let mut total = 0.0;
        loop {
            self.explore(state);
            let dearest = self
                .goal
                .iter()
                .copied()
                .max_by(|a, b| self.facts[*a as usize].total_cmp(&self.facts[*b as usize]));
            let Some(dearest) = dearest else { return 0.0 };
            let cost = self.facts[dearest as usize];
            if cost.is_infinite() {
                return f64::INFINITY;
            }
            if cost == 0.0 {
                return total;
            }
            self.mark_zone(dearest);
            self.find_cut(state);
            let cheapest =
                self.cut.iter().map(|at| self.left[*at as usize]).fold(f64::INFINITY, f64::min);
            total += cheapest;
            for at in &self.cut {
                self.left[*at as usize] -= cheapest;
            }
        }
    }

    /// h_max of every fact, by what is left of the costs.
    fn explore(&mut self, state: &[u64]) {
        let level = self.level;
        self.facts.clear();
        self.facts.resize(level.facts, f64::INFINITY);
        self.missing.clear();
        self.missing.extend(level.functions.iter().map(|function| function.pre.len() as u32));
        self.supporter.clear();
        self.supporter.resize(level.size(), NOTHING);
        self.queue.clear();
        for fact in 0..level.facts as u32 {
            if is_true(state, fact) {
                self.lower(fact, 0.0);
            }
        }
        for at in 0..level.size() {
            if self.missing[at] == 0 {
                self.fire(at, 0.0);
            }
        }
        while let Some((cost, fact)) = self.queue.pop() {
            if cost > self.facts[fact as usize] {
                continue;
            }
            for &at in &level.needed_by[fact as usize] {
                self.missing[at as usize] -= 1;
                if self.missing[at as usize] == 0 {
                    self.supporter[at as usize] = fact;
                    self.fire(at as usize, cost);
                }
            }
        }
    }

    fn fire(&mut self, function: usize, needs: f64) {
        let level = self.level;
        for &fact in &level.functions[function].add {
            self.lower(fact, needs + self.left[function]);
        }
    }

    fn lower(&mut self, fact: u32, cost: f64) {
        if cost < self.facts[fact as usize] {
            self.facts[fact as usize] = cost;
            self.queue.push(cost, 0, fact);
        }
    }

    /// Facts from which the goal's dearest is had for nothing more.
    fn mark_zone(&mut self, dearest: u32) {
        self.zone.clear();
        self.zone.resize(self.level.facts, false);
        self.zone[dearest as usize] = true;
        self.stack.push(dearest);
        while let Some(fact) = self.stack.pop() {
            for &at in &self.added_by[fact as usize] {
                let supporter = self.supporter[at as usize];
                if self.left[at as usize] == 0.0
                    && supporter != NOTHING
                    && !self.zone[supporter as usize]
                {
                    self.zone[supporter as usize] = true;
                    self.stack.push(supporter);
                }
            }
        }
    }

    /// Functions that lead from what can be had outside of the zone into it.
    fn find_cut(&mut self, state: &[u64]) {
        let level = self.level;
        self.cut.clear();
        self.near.clear();
        self.near.resize(level.facts, false);
        for fact in 0..level.facts as u32 {
            if is_true(state, fact) {
                self.near[fact as usize] = true;
                self.stack.push(fact);
            }
        }
        for at in 0..level.size() {
            if level.functions[at].pre.is_empty() {
                self.cross(at as u32);
            }
        }
        while let Some(fact) = self.stack.pop() {
            for &at in &level.needed_by[fact as usize] {
                if self.supporter[at as usize] == fact {
                    self.cross(at);
                }
            }
        }
    }

    fn cross(&mut self, function: u32) {
        let level = self.level;
        let add = &level.functions[function as usize].add;
        if add.iter().any(|fact| self.zone[*fact as usize]) {
            self.cut.push(function);
            return;
        }
        for &fact in add {
            if !self.near[fact as usize] {
                self.near[fact as usize] = true;
                self.stack.push(fact);
            }
        }
    }
}
