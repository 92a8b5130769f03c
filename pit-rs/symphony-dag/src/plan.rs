//! The graph of a run: who waits for whom, and how urgent each step is.
//!
//! The rank is the upward rank of H. Topcuoglu, S. Hariri, M.-Y. Wu, "Performance-effective and
//! low-complexity task scheduling for heterogeneous computing" (IEEE TPDS 13(3), 2002), without transfer
//! costs: a step's own estimate plus the largest rank among the steps that wait for it.

use std::collections::{HashMap, HashSet};

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use serde::{Deserialize, Serialize};

/// A run has at most this many steps.
pub const MAX_STEPS: usize = 65_536;
const MAX_ID: usize = 128;
const DEFAULT_ESTIMATE_MS: f64 = 1_000.0;
/// A century: sums over every step of a plan stay far from overflow.
const MAX_ESTIMATE_MS: f64 = 3.2e12;

/// What a dependency asks of the step that is waited for. Ordered by strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dependency {
    Optional,
    Soft,
    Hard,
}

/// One step as the caller describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepSpec {
    pub id: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<(String, Dependency)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate_ms: Option<f64>,
}

/// A step that waits for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependent {
    pub step: u32,
    /// Whether it needs the other's success; else any end will do.
    pub hard: bool,
}

/// A checked graph. Steps are numbered in the order of the Melody.
#[derive(Clone, Debug)]
pub struct Plan {
    pub ids: Vec<String>,
    /// Upward ranks, milliseconds.
    pub ranks: Vec<u64>,
    /// Who waits for each step.
    pub dependents: Vec<Vec<Dependent>>,
    /// How many steps each one waits for.
    pub waits: Vec<u32>,
    numbers: HashMap<String, u32>,
}

impl Plan {
    /// Checks everything and ranks the steps, or returns every fault. Of the steps that reach each other in a
    /// circle one cycle is named.
    pub fn new(specs: &[StepSpec]) -> Result<Self, Vec<String>> {
        if specs.len() > MAX_STEPS {
            return Err(vec![format!("{} steps; a run has at most {MAX_STEPS}", specs.len())]);
        }
        let mut faults = Vec::new();
        let mut numbers = HashMap::with_capacity(specs.len());
        for (number, spec) in (0..).zip(specs) {
            if spec.id.is_empty() || spec.id.len() > MAX_ID {
                faults.push(format!("step {number}: an id has 1 to {MAX_ID} bytes"));
            } else if numbers.insert(spec.id.clone(), number).is_some() {
                faults.push(format!("duplicate id {}", short(&spec.id)));
            }
            if estimate(spec).is_none() {
                faults.push(format!("step {}: estimate_ms out of range", short(&spec.id)));
            }
        }
        let mut graph = DiGraph::<(), (), u32>::with_capacity(specs.len(), specs.len());
        specs.iter().for_each(|_| {
            graph.add_node(());
        });
        let mut dependents = vec![Vec::new(); specs.len()];
        let mut waits = vec![0; specs.len()];
        for (number, spec) in (0..).zip(specs) {
            let mut strongest = HashMap::with_capacity(spec.after.len());
            for (id, kind) in &spec.after {
                match numbers.get(id) {
                    None => {
                        let (id, unknown) = (short(&spec.id), short(id));
                        faults.push(format!("step {id} waits for unknown step {unknown}"));
                    }
                    Some(before) => {
                        let known = strongest.entry(*before).or_insert(*kind);
                        *known = (*known).max(*kind);
                    }
                }
            }
            waits[number as usize] = strongest.len() as u32;
            for (before, kind) in strongest {
                graph.add_edge(NodeIndex::from(before), NodeIndex::from(number), ());
                let hard = kind == Dependency::Hard;
                dependents[before as usize].push(Dependent { step: number, hard });
            }
        }
        // Sinks first: whoever waits for a step is ranked before it.
        let mut ranks = vec![0; specs.len()];
        for knot in kosaraju_scc(&graph) {
            let first = knot[0];
            if knot.len() > 1 || graph.contains_edge(first, first) {
                faults.push(format!("cycle {}", cycle(&graph, &knot, specs)));
            }
            for node in knot {
                let after = dependents[node.index()].iter();
                let longest = after.map(|next| ranks[next.step as usize]).max().unwrap_or(0);
                ranks[node.index()] = longest + estimate(&specs[node.index()]).unwrap_or(0);
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let ids = specs.iter().map(|spec| spec.id.clone()).collect();
        Ok(Self { ids, ranks, dependents, waits, numbers })
    }

    /// The number of the step with this id.
    pub fn number(&self, id: &str) -> Option<u32> {
        self.numbers.get(id).copied()
    }

    /// Sorts steps by rank, highest first, ties in the order of the Melody, and pairs them with their ranks.
    pub fn ranked(&self, mut steps: Vec<u32>) -> Vec<(&str, u64)> {
        steps.sort_unstable_by_key(|step| (u64::MAX - self.ranks[*step as usize], *step));
        let pair = |step: u32| (self.ids[step as usize].as_str(), self.ranks[step as usize]);
        steps.into_iter().map(pair).collect()
    }
}

/// Whole milliseconds, if in range.
fn estimate(spec: &StepSpec) -> Option<u64> {
    let estimate = spec.estimate_ms.unwrap_or(DEFAULT_ESTIMATE_MS);
    (0.0..=MAX_ESTIMATE_MS).contains(&estimate).then(|| estimate.round() as u64)
}

/// Some cycle within the knot, as `a → b → a`: every member has a successor in it. A long one is shortened.
fn cycle(graph: &DiGraph<(), (), u32>, knot: &[NodeIndex], specs: &[StepSpec]) -> String {
    const SHOWN: usize = 10;
    let members: HashSet<_> = knot.iter().copied().collect();
    let mut seen = HashMap::new();
    let mut path = Vec::new();
    let mut here = knot.iter().copied().min();
    while let Some(node) = here {
        path.push(node);
        if let Some(start) = seen.insert(node, path.len() - 1) {
            path.drain(..start);
            break;
        }
        here = graph.neighbors(node).filter(|next| members.contains(next)).min();
    }
    let mut names: Vec<String> = path.iter().map(|n| short(&specs[n.index()].id)).collect();
    if names.len() > 2 * SHOWN {
        let hidden = names.len() - 2 * SHOWN;
        names.splice(SHOWN..SHOWN + hidden, [format!("({hidden} more)")]);
    }
    names.join(" → ")
}

/// An id as an error shows it, which may be too long for one.
fn short(id: &str) -> String {
    id.chars().take(MAX_ID).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(id: &str, after: &[(&str, Dependency)], estimate_ms: Option<f64>) -> StepSpec {
        let after = after.iter().map(|(id, kind)| ((*id).to_owned(), *kind)).collect();
        StepSpec { id: id.to_owned(), after, estimate_ms }
    }

    use Dependency::{Hard, Optional, Soft};

    #[test]
    fn the_rank_is_the_estimate_plus_the_largest_rank_after_it() {
        let plan = Plan::new(&[
            step("d", &[("b", Hard), ("c", Optional)], None),
            step("b", &[("a", Hard)], Some(10.0)),
            step("c", &[("a", Soft)], Some(200.4)),
            step("a", &[], Some(5.0)),
        ])
        .unwrap();
        assert_eq!(plan.ranks, [1000, 1010, 1200, 1205]);
        assert_eq!(plan.ranked(vec![0, 1, 2, 3])[0], ("a", 1205));
        assert_eq!(plan.waits, [2, 1, 1, 0]);
    }

    #[test]
    fn ties_are_in_the_order_of_the_melody() {
        let plan = Plan::new(&[step("z", &[], None), step("a", &[], None)]).unwrap();
        assert_eq!(plan.ranked(vec![1, 0]), [("z", 1000), ("a", 1000)]);
    }

    #[test]
    fn a_dependency_named_twice_counts_once_and_as_the_stronger() {
        let plan = Plan::new(&[step("a", &[], None), step("b", &[("a", Hard), ("a", Soft)], None)])
            .unwrap();
        assert_eq!(plan.waits, [0, 1]);
        assert_eq!(plan.dependents[0], [Dependent { step: 1, hard: true }]);
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let faults = Plan::new(&[
            step("a", &[("b", Hard)], None),
            step("b", &[("a", Soft)], None),
            step("c", &[("c", Optional)], None),
            step("d", &[("nobody", Hard)], Some(-1.0)),
            step("d", &[], Some(f64::NAN)),
            step("", &[], None),
        ])
        .unwrap_err();
        for fault in [
            "cycle a → b → a",
            "cycle c → c",
            "step d waits for unknown step nobody",
            "duplicate id d",
            "step d: estimate_ms out of range",
            "step 5: an id has 1 to 128 bytes",
        ] {
            assert!(faults.iter().any(|found| found == fault), "{fault} not in {faults:?}");
        }
        assert_eq!(faults.len(), 7);
    }

    #[test]
    fn a_long_cycle_is_named_without_its_middle() {
        let specs: Vec<StepSpec> = (0..1000)
            .map(|n| step(&format!("s{n}"), &[(&format!("s{}", (n + 999) % 1000), Hard)], None))
            .collect();
        let faults = Plan::new(&specs).unwrap_err();
        assert!(faults[0].starts_with("cycle s0 → s1 → "), "{faults:?}");
        assert!(
            faults[0].ends_with(" → s999 → s0") && faults[0].contains("(981 more)"),
            "{faults:?}"
        );
    }

    #[test]
    fn a_chain_of_many_steps_needs_no_deep_stack() {
        let specs: Vec<StepSpec> = (0..60_000)
            .map(|n: u32| {
                let before = n.checked_sub(1).map(|before| (format!("s{before}"), Hard));
                StepSpec {
                    id: format!("s{n}"),
                    after: before.into_iter().collect(),
                    estimate_ms: None,
                }
            })
            .collect();
        assert_eq!(Plan::new(&specs).unwrap().ranks[0], 60_000_000);
    }
}
