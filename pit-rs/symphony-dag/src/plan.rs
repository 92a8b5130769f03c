//! The graph of a run: who waits for whom, and how urgent each step is.

use std::collections::HashMap;
use std::sync::Arc;

use crate::growth::Addition;
use crate::rank;
use crate::spec::{Dependency, Join, StepSpec};

const DEFAULT_ESTIMATE_MS: u64 = 1_000;
/// What was learned before counts as so many measurements of this run.
const PRIOR_WEIGHT: u64 = 4;

/// A dependency, as seen from either end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The step at the other end.
    pub step: u32,
    pub kind: Dependency,
    /// Milliseconds.
    pub transfer: u64,
}

/// One step.
#[derive(Clone, Debug)]
pub struct Node {
    pub id: Arc<str>,
    /// What is done, as a number of [`Plan::kind`].
    pub kind: Option<u32>,
    pub join: Join,
    /// What it waits for.
    pub before: Vec<Edge>,
    /// What waits for it.
    pub dependents: Vec<Edge>,
    /// Milliseconds.
    pub estimate: u64,
    /// Upward rank, milliseconds.
    pub rank: u64,
    /// Of a step whose estimate the caller did not tell.
    measured: bool,
    /// What was learned of its kind when it was journaled.
    prior: Option<u64>,
}

/// How long steps of one kind took in this run.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    count: u64,
    sum_ms: u64,
}

#[derive(Clone, Debug)]
struct Kind {
    name: Arc<str>,
    steps: Vec<u32>,
    measured: Measured,
}

/// What is known of a step beside what its caller says.
#[derive(Clone, Copy, Debug, Default)]
pub struct About<'a> {
    pub kind: Option<&'a str>,
    /// What was learned of its kind, milliseconds.
    pub prior: Option<u64>,
}

/// A checked graph. Steps are numbered in the order of the Melody, then in that of growth.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub nodes: Vec<Node>,
    numbers: HashMap<Arc<str>, u32>,
    kinds: Vec<Kind>,
    kind_numbers: HashMap<Arc<str>, u32>,
}

impl Plan {
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn node(&self, step: u32) -> &Node {
        &self.nodes[step as usize]
    }

    pub fn id(&self, step: u32) -> &str {
        &self.node(step).id
    }

    /// What is done in the step, if that is known.
    pub fn kind(&self, step: u32) -> Option<&str> {
        self.node(step).kind.map(|kind| &*self.kinds[kind as usize].name)
    }

    /// The number of the step with this id.
    pub fn number(&self, id: &str) -> Option<u32> {
        self.numbers.get(id).copied()
    }

    /// Sorts steps by rank, highest first, ties in the order of the Melody, and pairs them with their ranks.
    pub fn ranked(&self, mut steps: Vec<u32>) -> Vec<(&str, u64)> {
        steps.sort_unstable_by_key(|step| (u64::MAX - self.node(*step).rank, *step));
        steps.into_iter().map(|step| (self.id(step), self.node(step).rank)).collect()
    }

    /// Adds what was checked against this plan, and takes away the dependencies on what is dropped. Ranks are
    /// as they were; see [`rerank`](Self::rerank). Returns the first of the new steps.
    pub fn extend<'a>(
        &mut self,
        specs: &'a [StepSpec],
        addition: Addition,
        about: impl Fn(&'a StepSpec) -> About<'a>,
    ) -> u32 {
        let Addition { links, after, orphans, .. } = addition;
        let first = self.nodes.len() as u32;
        for (number, (spec, before)) in (first..).zip(specs.iter().zip(links)) {
            let id: Arc<str> = spec.id.as_str().into();
            self.numbers.insert(id.clone(), number);
            let About { kind, prior } = about(spec);
            let kind = kind.map(|kind| self.kind_number(kind));
            let mut node = Node {
                id,
                kind,
                join: spec.join,
                before,
                dependents: Vec::new(),
                estimate: 0,
                rank: 0,
                measured: spec.estimate_ms.is_none(),
                prior,
            };
            node.estimate = match spec.estimate_ms {
                Some(told) => told.round() as u64,
                None => self.expected(&node),
            };
            if let (Some(kind), true) = (kind, node.measured) {
                self.kinds[kind as usize].steps.push(number);
            }
            self.nodes.push(node);
        }
        for number in first..self.nodes.len() as u32 {
            for place in 0..self.node(number).before.len() {
                let edge = self.node(number).before[place];
                self.nodes[edge.step as usize].dependents.push(Edge { step: number, ..edge });
            }
        }
        for (dropped, kept) in orphans {
            self.nodes[dropped as usize].dependents.retain(|edge| edge.step != kept);
            self.nodes[kept as usize].before.retain(|edge| edge.step != dropped);
        }
        for (step, edges) in after {
            for edge in &edges {
                self.nodes[edge.step as usize].dependents.push(Edge { step, ..*edge });
            }
            self.nodes[step as usize].before.extend(edges);
        }
        first
    }

    fn kind_number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.kind_numbers.get(name) {
            return *number;
        }
        let number = self.kinds.len() as u32;
        let name: Arc<str> = name.into();
        self.kind_numbers.insert(name.clone(), number);
        self.kinds.push(Kind { name, steps: Vec::new(), measured: Measured::default() });
        number
    }

    /// What a step whose estimate nobody told is expected to take.
    fn expected(&self, node: &Node) -> u64 {
        let kind = node.kind.map(|kind| self.kinds[kind as usize].measured);
        let Measured { count, sum_ms } = kind.unwrap_or_default();
        let weight = if node.prior.is_some() { PRIOR_WEIGHT } else { 0 };
        let prior = node.prior.unwrap_or(DEFAULT_ESTIMATE_MS);
        if count + weight == 0 {
            return prior;
        }
        sum_ms.saturating_add(prior.saturating_mul(weight)) / (count + weight)
    }

    /// A step took so long. Returns the steps whose estimate is new by that: those of its kind, each time twice as
    /// many were measured, so that a run of n steps does this log n times.
    pub fn measure(&mut self, step: u32, ms: u64, alive: impl Fn(u32) -> bool) -> Vec<u32> {
        let Some(kind) = self.node(step).kind else { return Vec::new() };
        let measured = &mut self.kinds[kind as usize].measured;
        measured.count += 1;
        measured.sum_ms = measured.sum_ms.saturating_add(ms);
        if !measured.count.is_power_of_two() {
            return Vec::new();
        }
        let mut steps = std::mem::take(&mut self.kinds[kind as usize].steps);
        let mut changed = Vec::new();
        for step in steps.iter().copied().filter(|step| alive(*step)) {
            let estimate = self.expected(self.node(step));
            let node = &mut self.nodes[step as usize];
            if node.estimate != estimate {
                node.estimate = estimate;
                changed.push(step);
            }
        }
        std::mem::swap(&mut self.kinds[kind as usize].steps, &mut steps);
        changed
    }

    /// Brings the ranks of these steps, and of whatever they wait for, up to date.
    pub fn rerank(&mut self, steps: &[u32], alive: impl Fn(u32) -> bool) {
        rank::refresh(&mut self.nodes, steps, alive);
    }
}
