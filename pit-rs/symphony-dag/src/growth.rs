//! What is to be added to a plan, checked whole: every fault at once.

use std::collections::{HashMap, HashSet};

use symphony_wire::{BusError, Code};

use crate::cycles::Region;
use crate::plan::{Edge, Plan};
use crate::spec::{After, Dependency, Join, Link, StepSpec};
use crate::table::StepState;
use crate::tally::{Tally, Turn};

/// A run has at most this many steps.
pub const MAX_STEPS: usize = 65_536;
const MAX_NAME: usize = 128;
/// A century: sums over every step of a plan stay far from overflow.
const MAX_ESTIMATE_MS: f64 = 3.2e12;

/// What is asked: new steps, further dependencies, and steps to go.
pub struct Wish<'a> {
    pub steps: &'a [StepSpec],
    pub after: &'a After,
    pub drop: &'a HashSet<u32>,
}

/// A wish that can be fulfilled.
#[derive(Debug)]
pub struct Addition {
    /// What each new step waits for.
    pub links: Vec<Vec<Edge>>,
    /// Further dependencies.
    pub after: Vec<(u32, Vec<Edge>)>,
    /// Dependencies that go: on a dropped step, of a kept one.
    pub orphans: Vec<(u32, u32)>,
}

/// What is wrong with a wish, collected.
#[derive(Default)]
struct Faults {
    /// It could never be fulfilled.
    form: Vec<String>,
    /// It does not fit the state of the run.
    state: Vec<String>,
}

impl Faults {
    fn error(self) -> Result<(), BusError> {
        let code = match (self.form.is_empty(), self.state.is_empty()) {
            (true, true) => return Ok(()),
            (true, false) => Code::Conflict,
            (false, _) => Code::BadRequest,
        };
        let all: Vec<String> = self.form.into_iter().chain(self.state).collect();
        Err(BusError::new(code, format!("the plan has {} faults", all.len())).at(listed(&all)))
    }
}

/// Faults as the `where` of one error, as many as are of use.
pub fn listed(faults: &[String]) -> String {
    const SHOWN: usize = 1_000;
    faults[..faults.len().min(SHOWN)].join("; ")
}

/// An id as an error shows it, which may be too long for one.
pub fn short(id: &str) -> String {
    id.chars().take(MAX_NAME).collect()
}

/// Whether this can be an id or a kind.
pub fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
}

fn is_duration(ms: Option<f64>) -> bool {
    ms.is_none_or(|ms| (0.0..=MAX_ESTIMATE_MS).contains(&ms))
}

struct Check<'a> {
    plan: &'a Plan,
    wish: &'a Wish<'a>,
    state: &'a dyn Fn(u32) -> StepState,
    new: HashMap<&'a str, u32>,
    faults: Faults,
}

/// Checks a wish against the plan and the states of its steps.
pub fn check(
    plan: &Plan,
    wish: &Wish<'_>,
    state: &dyn Fn(u32) -> StepState,
) -> Result<Addition, BusError> {
    let count = plan.len() + wish.steps.len();
    if count > MAX_STEPS {
        let message = format!("{count} steps; a run has at most {MAX_STEPS}");
        return Err(BusError::new(Code::BadRequest, message).at("steps"));
    }
    let new = HashMap::with_capacity(wish.steps.len());
    let mut check = Check { plan, wish, state, new, faults: Faults::default() };
    check.names();
    let links: Vec<Vec<Edge>> = wish.steps.iter().map(|spec| check.links(spec)).collect();
    let after = check.after();
    let orphans = check.orphans();
    check.joins(&links, &after);
    check.cycles(&links, &after);
    check.faults.error()?;
    Ok(Addition { links, after, orphans })
}

impl<'a> Check<'a> {
    fn names(&mut self) {
        for (number, spec) in (self.plan.len() as u32..).zip(self.wish.steps) {
            let shown = short(&spec.id);
            if !is_name(&spec.id) {
                let place = number as usize - self.plan.len();
                self.fault(format!("step {place}: an id has 1 to {MAX_NAME} bytes"));
            } else if self.plan.number(&spec.id).is_some() || self.new.contains_key(&*spec.id) {
                self.fault(format!("duplicate id {shown}"));
            } else {
                self.new.insert(&spec.id, number);
            }
            if !is_duration(spec.estimate_ms) {
                self.fault(format!("step {shown}: estimate_ms out of range"));
            }
            if spec.kind.as_deref().is_some_and(|kind| !is_name(kind)) {
                self.fault(format!("step {shown}: a kind has 1 to {MAX_NAME} bytes"));
            }
        }
    }

    fn fault(&mut self, fault: String) {
        self.faults.form.push(fault);
    }

    fn links(&mut self, spec: &StepSpec) -> Vec<Edge> {
        self.edges(&spec.id, &spec.after, &[])
    }

    /// The dependencies in the order in which they are first named; one that is named twice counts as the stronger.
    fn edges(&mut self, id: &str, links: &[Link], present: &[Edge]) -> Vec<Edge> {
        let present: HashSet<u32> = present.iter().map(|edge| edge.step).collect();
        let mut places: HashMap<u32, usize> = HashMap::new();
        let mut edges: Vec<Edge> = Vec::with_capacity(links.len());
        for link in links {
            let named = short(&link.step);
            let number =
                self.new.get(link.step.as_str()).copied().or_else(|| self.plan.number(&link.step));
            let Some(step) = number else {
                self.fault(format!("step {} waits for unknown step {named}", short(id)));
                continue;
            };
            if self.wish.drop.contains(&step) {
                self.fault(format!("step {} waits for {named}, which is dropped", short(id)));
            }
            if present.contains(&step) {
                self.fault(format!("step {} waits for {named} already", short(id)));
            }
            if !is_duration(link.transfer_ms) {
                let id = short(id);
                self.fault(format!("step {id} waits for {named}: transfer_ms out of range"));
            }
            let transfer = link.transfer_ms.unwrap_or(0.0).round() as u64;
            match places.get(&step) {
                None => {
                    places.insert(step, edges.len());
                    edges.push(Edge { step, kind: link.kind, transfer });
                }
                Some(place) => {
                    let edge = &mut edges[*place];
                    edge.kind = edge.kind.max(link.kind);
                    edge.transfer = edge.transfer.max(transfer);
                }
            }
        }
        edges
    }

    /// Further dependencies of steps that are there and wait.
    fn after(&mut self) -> Vec<(u32, Vec<Edge>)> {
        let mut after = Vec::with_capacity(self.wish.after.len());
        for (id, links) in self.wish.after {
            let shown = short(id);
            let Some(step) = self.plan.number(id) else {
                self.fault(format!("after: unknown step {shown}"));
                continue;
            };
            let state = (self.state)(step);
            if self.wish.drop.contains(&step) {
                self.fault(format!("after: step {shown} is dropped"));
            } else if state != StepState::Pending {
                self.faults.state.push(format!("after: step {shown} is {}", state.name()));
            }
            let kept = self.kept(step);
            after.push((step, self.edges(id, links, &kept)));
        }
        after
    }

    /// What a step that stays goes on waiting for.
    fn kept(&self, step: u32) -> Vec<Edge> {
        let before = self.plan.node(step).before.iter();
        before.filter(|edge| !self.wish.drop.contains(&edge.step)).copied().collect()
    }

    /// Whoever stays and waits for a step that goes must be told what to wait for instead.
    fn orphans(&mut self) -> Vec<(u32, u32)> {
        let mut orphans = Vec::new();
        let mut dropped: Vec<u32> = self.wish.drop.iter().copied().collect();
        dropped.sort_unstable();
        for step in dropped {
            for edge in &self.plan.node(step).dependents {
                let waits = (self.state)(edge.step) == StepState::Pending;
                if !waits || self.wish.drop.contains(&edge.step) {
                    continue;
                }
                let (kept, gone) = (self.plan.id(edge.step), self.plan.id(step));
                if !self.wish.after.contains_key(kept) {
                    let what = "say in after what it waits for instead";
                    self.faults
                        .form
                        .push(format!("step {kept} waits for {gone}, which is dropped: {what}"));
                }
                orphans.push((step, edge.step));
            }
        }
        orphans
    }

    /// Joins that can be met, now and by what has ended already.
    fn joins(&mut self, links: &[Vec<Edge>], after: &[(u32, Vec<Edge>)]) {
        for (spec, before) in self.wish.steps.iter().zip(links) {
            self.join(&spec.id, spec.join, before);
        }
        for (step, further) in after {
            let before: Vec<Edge> = self.kept(*step).iter().chain(further).copied().collect();
            self.join(self.plan.id(*step), self.plan.node(*step).join, &before);
        }
    }

    fn join(&mut self, id: &str, join: Join, before: &[Edge]) {
        let id = short(id);
        if join.needed(before.len() as u32).is_none() {
            let count = before.len();
            let join = match join {
                Join::Of(needed) => needed.to_string(),
                _ => "any".to_owned(),
            };
            return self.fault(format!("step {id}: a join of {join} of {count}"));
        }
        let known = self.plan.len() as u32;
        let state = |step: u32| if step < known { (self.state)(step) } else { StepState::Pending };
        if Tally::new(join, before, state).1 == Turn::Lost {
            let lost = before.iter().find(|edge| {
                edge.kind == Dependency::Hard
                    && state(edge.step).is_ended()
                    && state(edge.step) != StepState::Succeeded
            });
            let lost = lost.map_or("", |edge| self.plan.id(edge.step));
            self.faults.state.push(format!("step {id} could never run: it needs {lost}"));
        }
    }

    /// A cycle goes through new steps alone, or through a step with further dependencies.
    fn cycles(&mut self, links: &[Vec<Edge>], after: &[(u32, Vec<Edge>)]) {
        let known = self.plan.len() as u32;
        let mut region = Region::default();
        let mut found: Vec<u32> = Vec::new();
        let ends = (known..known + links.len() as u32).chain(after.iter().map(|(step, _)| *step));
        for step in ends {
            if region.add(step) && step < known {
                found.push(step);
            }
        }
        let mut next = 0;
        while let Some(step) = found.get(next).copied() {
            next += 1;
            for edge in &self.plan.node(step).dependents {
                if !self.wish.drop.contains(&edge.step) && region.add(edge.step) {
                    found.push(edge.step);
                }
            }
        }
        for step in found {
            for edge in &self.plan.node(step).dependents {
                region.link(step, edge.step);
            }
        }
        let new = (known..).zip(links);
        for (step, before) in new.chain(after.iter().map(|(step, before)| (*step, before))) {
            before.iter().for_each(|edge| region.link(edge.step, step));
        }
        let name = |step: u32| match step.checked_sub(known) {
            None => self.plan.id(step).to_owned(),
            Some(place) => short(&self.wish.steps[place as usize].id),
        };
        let cycles = region.cycles(name);
        self.faults.form.extend(cycles.into_iter().map(|cycle| format!("cycle {cycle}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Dependency::{Hard, Optional, Soft};

    fn step(id: &str, after: &[(&str, Dependency)], estimate_ms: Option<f64>) -> StepSpec {
        let link = |(id, kind): &(&str, Dependency)| Link {
            step: (*id).to_owned(),
            kind: *kind,
            transfer_ms: None,
        };
        StepSpec {
            id: id.to_owned(),
            after: after.iter().map(link).collect(),
            join: Join::All,
            kind: None,
            estimate_ms,
        }
    }

    fn extended(plan: Plan, steps: &[StepSpec], after: &After) -> Result<Plan, String> {
        let mut plan = plan;
        let wish = Wish { steps, after, drop: &HashSet::new() };
        let addition = check(&plan, &wish, &|_| StepState::Pending)
            .map_err(|error| error.where_.unwrap_or_default())?;
        plan.extend(steps, addition, |_| Default::default());
        let all: Vec<u32> = (0..plan.len() as u32).collect();
        plan.rerank(&all, |_| true);
        Ok(plan)
    }

    fn planned(steps: &[StepSpec]) -> Result<Plan, String> {
        extended(Plan::default(), steps, &After::new())
    }

    fn ranks(plan: &Plan) -> Vec<u64> {
        plan.nodes.iter().map(|node| node.rank).collect()
    }

    #[test]
    fn the_rank_is_the_estimate_plus_the_largest_rank_after_it() {
        let plan = planned(&[
            step("d", &[("b", Hard), ("c", Optional)], None),
            step("b", &[("a", Hard)], Some(10.0)),
            step("c", &[("a", Soft)], Some(200.4)),
            step("a", &[], Some(5.0)),
        ])
        .unwrap();
        assert_eq!(ranks(&plan), [1000, 1010, 1200, 1205]);
        assert_eq!(plan.ranked(vec![0, 1, 2, 3])[0], ("a", 1205));
    }

    #[test]
    fn a_transfer_counts_for_the_step_that_it_begins_at() {
        let mut last = step("b", &[("a", Hard)], Some(5.0));
        last.after[0].transfer_ms = Some(70.0);
        let plan = planned(&[step("a", &[], Some(3.0)), last]).unwrap();
        assert_eq!(ranks(&plan), [78, 5]);
    }

    #[test]
    fn ties_are_in_the_order_of_the_melody() {
        let plan = planned(&[step("z", &[], None), step("a", &[], None)]).unwrap();
        assert_eq!(plan.ranked(vec![1, 0]), [("z", 1000), ("a", 1000)]);
    }

    #[test]
    fn a_dependency_named_twice_counts_once_and_as_the_stronger() {
        let plan =
            planned(&[step("a", &[], None), step("b", &[("a", Hard), ("a", Soft)], None)]).unwrap();
        assert_eq!(plan.node(1).before, [Edge { step: 0, kind: Hard, transfer: 0 }]);
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let mut all = [
            step("a", &[("b", Hard)], None),
            step("b", &[("a", Soft)], None),
            step("c", &[("c", Optional)], None),
            step("d", &[("nobody", Hard)], Some(-1.0)),
            step("d", &[], Some(f64::NAN)),
            step("", &[], None),
            step("e", &[("a", Hard), ("b", Hard)], None),
            step("f", &[], None),
        ];
        all[6].join = Join::Of(3);
        all[6].after[1].transfer_ms = Some(f64::INFINITY);
        all[7].join = Join::Any;
        all[7].kind = Some(String::new());
        let faults = planned(&all).unwrap_err();
        let faults: Vec<&str> = faults.split("; ").collect();
        for fault in [
            "cycle a → b → a",
            "cycle c → c",
            "step d waits for unknown step nobody",
            "duplicate id d",
            "step d: estimate_ms out of range",
            "step 5: an id has 1 to 128 bytes",
            "step e: a join of 3 of 2",
            "step e waits for b: transfer_ms out of range",
            "step f: a join of any of 0",
            "step f: a kind has 1 to 128 bytes",
        ] {
            assert!(faults.contains(&fault), "{fault} not in {faults:?}");
        }
        // Both steps d are out of range.
        assert_eq!(faults.len(), 11, "{faults:?}");
    }

    #[test]
    fn a_cycle_through_steps_that_are_there_is_found() {
        let plan = planned(&[
            step("a", &[], None),
            step("b", &[("a", Hard)], None),
            step("c", &[("b", Hard)], None),
        ])
        .unwrap();
        let link = |id: &str| Link { step: id.to_owned(), kind: Hard, transfer_ms: None };
        let after = After::from([("b".to_owned(), vec![link("n")])]);
        let new = [step("n", &[("c", Hard)], None), step("n", &[("odd", Hard)], None)];
        let faults = extended(plan.clone(), &new, &after).unwrap_err();
        assert!(
            faults.contains("duplicate id n") && faults.contains("unknown step odd"),
            "{faults}"
        );
        let faults = extended(plan.clone(), &new[..1], &after).unwrap_err();
        assert_eq!(faults, "cycle b → c → n → b");
        // Without a new step either.
        let after = After::from([("a".to_owned(), vec![link("c")])]);
        assert!(extended(plan.clone(), &[], &after).unwrap_err().starts_with("cycle "));
        let after = After::from([("c".to_owned(), vec![link("n")])]);
        let plan = extended(plan, &[step("n", &[("a", Hard)], Some(50_000.0))], &after).unwrap();
        assert_eq!(ranks(&plan), [52_000, 2_000, 1_000, 51_000]);
    }

    #[test]
    fn a_long_cycle_is_named_without_its_middle() {
        let specs: Vec<StepSpec> = (0..1000)
            .map(|n| step(&format!("s{n}"), &[(&format!("s{}", (n + 999) % 1000), Hard)], None))
            .collect();
        let faults = planned(&specs).unwrap_err();
        assert!(faults.starts_with("cycle s0 → s1 → "), "{faults:?}");
        assert!(faults.ends_with(" → s999 → s0") && faults.contains("(981 more)"), "{faults:?}");
    }

    #[test]
    fn a_chain_of_many_steps_needs_no_deep_stack() {
        let specs: Vec<StepSpec> = (0..60_000)
            .map(|n: u32| {
                let before = n.checked_sub(1).map(|before| format!("s{before}"));
                let after: Vec<(&str, Dependency)> =
                    before.iter().map(|before| (before.as_str(), Hard)).collect();
                step(&format!("s{n}"), &after, None)
            })
            .collect();
        assert_eq!(planned(&specs).unwrap().node(0).rank, 60_000_000);
    }
}
