//! What can be done about steps that are broken: the offers among which the Conductor chooses.
//!
//! Run again what is broken and what was made from it; let another player do it; go on without it; make its values
//! again from what came later ([`crate::inverse`]); return to before it began. Nothing is decided here, and nothing
//! changes: each offer says what it costs.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use symphony_wire::{BusError, Code, Value};

use crate::growth::{listed, short};
use crate::inverse::{Item, Way, Ways};
use crate::learned::Table;
use crate::melody::{self, Note};
use crate::replies::ROOM;
use crate::requests;
use crate::spec::Dependency;
use crate::state::Run;
use crate::table::StepState;

/// Room of an entry's keys and numbers, names apart.
const ENTRY: usize = 96;

/// A player that makes inputs of a step from its outputs.
#[derive(Clone, Debug, Deserialize)]
pub struct Inverse {
    /// The kind of step that it inverts.
    pub of: String,
    pub player: String,
    /// What it does, where that has a name of its own.
    pub capability: Option<String>,
    /// Outputs of the step that it needs, all of them if none is named; `inputs.NAME` for an input.
    #[serde(default)]
    pub takes: Vec<String>,
    /// Inputs of the step that it makes.
    pub gives: Vec<String>,
}

#[derive(Serialize)]
pub struct Offers<'a> {
    broken: Vec<Broken<'a>>,
    again: Again<'a>,
    skip: Skip<'a>,
    rebuild: Vec<Rebuild<'a>>,
    lost: Vec<(&'a str, &'a str)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rollback: Option<Rollback>,
    /// Not everything fits in a reply.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
}

#[derive(Serialize)]
struct Broken<'a> {
    step: &'a str,
    state: StepState,
    #[serde(skip_serializing_if = "Option::is_none")]
    player: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    importance: Option<&'a str>,
    /// Other ways: whoever else could do it.
    players: Vec<Player<'a>>,
}

#[derive(Serialize)]
struct Player<'a> {
    player: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_ppm: Option<u32>,
}

/// What runs again, each after what it waits for.
#[derive(Serialize)]
struct Again<'a> {
    steps: Vec<&'a str>,
    /// What all of them take, and the longest chain of them.
    work_ms: u64,
    path_ms: u64,
}

#[derive(Serialize)]
struct Skip<'a> {
    /// Steps that can then never run.
    loses: Vec<&'a str>,
}

#[derive(Serialize)]
struct Rebuild<'a> {
    step: &'a str,
    output: &'a str,
    cost_ms: u64,
    by: Vec<Call<'a>>,
}

#[derive(Serialize)]
struct Call<'a> {
    /// The step that is inverted.
    step: &'a str,
    player: &'a str,
    capability: &'a str,
    takes: Vec<(&'a str, &'a str)>,
    gives: Vec<(&'a str, &'a str)>,
}

#[derive(Serialize)]
struct Rollback {
    to: u64,
    /// Steps whose end would be abandoned though nothing is wrong with them.
    abandons: usize,
}

/// What is left of a reply's room.
struct Room {
    left: usize,
    more: bool,
}

impl Room {
    /// The items that fit, whose names have so many bytes each.
    fn fit<T>(&mut self, items: impl Iterator<Item = T>, bytes: impl Fn(&T) -> usize) -> Vec<T> {
        let mut fitting = Vec::new();
        for item in items {
            let Some(left) = self.left.checked_sub(ENTRY + bytes(&item)) else {
                self.more = true;
                break;
            };
            self.left = left;
            fitting.push(item);
        }
        fitting
    }
}

struct Planner<'a> {
    run: &'a Run,
    table: &'a Table,
    request: &'a requests::Plan,
    notes: HashMap<&'a str, Note<'a>>,
    /// By step and input: the value that it gets.
    lineage: HashMap<(u32, &'a str), Item<'a>>,
}

/// The offers for what the request names.
pub fn plan<'a>(
    run: &'a Run,
    table: &'a Table,
    request: &'a requests::Plan,
) -> Result<Offers<'a>, BusError> {
    let notes = melody::notes(&run.head.document);
    let mut lineage = HashMap::new();
    let told =
        request.lineage.iter().map(|(a, b, c, d)| (a.as_str(), b.as_str(), c.as_str(), d.as_str()));
    let known = notes.iter().flat_map(|(step, note)| {
        note.inputs.iter().map(|(input, from, output)| (*step, *input, *from, *output))
    });
    for (step, input, from, output) in known.chain(told) {
        if let (Some(step), Some(from)) = (run.plan.number(step), run.plan.number(from)) {
            lineage.insert((step, input), (from, output));
        }
    }
    let planner = Planner { run, table, request, notes, lineage };
    planner.offers()
}

impl<'a> Planner<'a> {
    fn offers(&self) -> Result<Offers<'a>, BusError> {
        let (steps, values) = self.broken()?;
        let mut room = Room { left: ROOM - ENTRY, more: false };
        let again = self.again(&steps, &mut room);
        let broken = room.fit(steps.iter().map(|step| self.alternatives(*step)), |it| {
            let players: usize = it.players.iter().map(|it| ENTRY + it.player.len()).sum();
            it.step.len()
                + it.player.map_or(0, str::len)
                + it.importance.map_or(0, str::len)
                + players
        });
        let loses = room.fit(self.loses(&steps).into_iter(), |id| id.len());
        let (rebuild, lost) = self.rebuild(&values);
        let rebuild = room.fit(rebuild.into_iter(), |it| {
            let pairs = |pairs: &[(&str, &str)]| -> usize {
                pairs.iter().map(|(step, name)| 8 + step.len() + name.len()).sum()
            };
            let call = |call: &Call<'_>| {
                let names = call.step.len() + call.player.len() + call.capability.len();
                ENTRY + names + pairs(&call.takes) + pairs(&call.gives)
            };
            it.step.len() + it.output.len() + it.by.iter().map(call).sum::<usize>()
        });
        let lost = room.fit(lost.into_iter(), |(step, output)| step.len() + output.len());
        let rollback = self.rollback(&steps);
        Ok(Offers { broken, again, skip: Skip { loses }, rebuild, lost, rollback, more: room.more })
    }

    /// The broken steps in the order of the Melody, and the values that are not there any more.
    fn broken(&self) -> Result<(Vec<u32>, BTreeSet<Item<'a>>), BusError> {
        let mut steps = BTreeSet::new();
        let mut values = BTreeSet::new();
        let mut references: HashSet<&str> = HashSet::new();
        for name in &self.request.broken {
            match self.run.plan.number(name) {
                None => {
                    references.insert(name);
                }
                Some(step) => {
                    steps.insert(step);
                    values.extend(self.outputs(step).iter().map(|(output, _)| (step, *output)));
                }
            }
        }
        // What others use of a broken step it has made, whether or not that is known.
        values.extend(self.lineage.values().filter(|(step, _)| steps.contains(step)));
        let mut found: HashSet<&str> = HashSet::new();
        if !references.is_empty() {
            for step in 0..self.run.cells.len() as u32 {
                for (output, value) in self.outputs(step) {
                    let mut held = HashSet::new();
                    collect(value, &references, &mut held);
                    if !held.is_empty() {
                        steps.insert(step);
                        values.insert((step, output));
                        found.extend(held);
                    }
                }
            }
        }
        let unknown: Vec<&str> = references.difference(&found).copied().collect();
        if unknown.is_empty() {
            return Ok((steps.into_iter().collect(), values));
        }
        let message = format!("the run has made nothing by {} of these names", unknown.len());
        let mut unknown: Vec<String> = unknown.into_iter().map(short).collect();
        unknown.sort_unstable();
        Err(BusError::new(Code::NotFound, message).at(listed(&unknown)))
    }

    /// What a step has made, by name.
    fn outputs(&self, step: u32) -> Vec<(&'a str, &'a Value)> {
        let cell = self.run.cell(step);
        let made = cell.verdict.as_ref().filter(|_| cell.state == StepState::Succeeded);
        let pairs = made.and_then(Value::as_map).into_iter().flatten();
        pairs.filter_map(|(name, value)| Some((name.as_str()?, value))).collect()
    }

    /// Milliseconds that a step is expected to take.
    fn expected(&self, step: u32) -> u64 {
        let player = self.run.cell(step).player.as_deref();
        let kind = self.run.plan.kind(step);
        let learned = kind.and_then(|kind| self.table.expected(player, kind));
        learned.unwrap_or(self.run.plan.node(step).estimate)
    }

    fn again(&self, steps: &[u32], room: &mut Room) -> Again<'a> {
        let begun = steps.iter().copied().filter(|step| {
            let cell = self.run.cell(*step);
            (cell.state.is_ended() || cell.state == StepState::Running) && !cell.dropped
        });
        let again: Vec<u32> = self.run.tainted(&begun.collect::<Vec<u32>>());
        let mut waits: HashMap<u32, usize> = again.iter().map(|step| (*step, 0)).collect();
        let mut begins: HashMap<u32, u64> = HashMap::new();
        for step in &again {
            for edge in &self.run.plan.node(*step).dependents {
                if let Some(count) = waits.get_mut(&edge.step) {
                    *count += 1;
                }
            }
        }
        let free = |step: &u32| waits.get(step) == Some(&0);
        let mut order: Vec<u32> = again.iter().copied().filter(free).collect();
        let (mut next, mut work_ms, mut path_ms) = (0, 0, 0);
        while let Some(step) = order.get(next).copied() {
            next += 1;
            let takes = self.expected(step);
            let ends = begins.get(&step).copied().unwrap_or(0) + takes;
            work_ms += takes;
            path_ms = path_ms.max(ends);
            for edge in &self.run.plan.node(step).dependents {
                let Some(count) = waits.get_mut(&edge.step) else { continue };
                let begin = begins.entry(edge.step).or_insert(0);
                *begin = (*begin).max(ends);
                *count -= 1;
                if *count == 0 {
                    order.push(edge.step);
                }
            }
        }
        let plan = &self.run.plan;
        let steps = room.fit(order.into_iter().map(|step| plan.id(step)), |id| id.len());
        Again { steps, work_ms, path_ms }
    }

    fn alternatives(&self, step: u32) -> Broken<'a> {
        let id = self.run.plan.id(step);
        let cell = self.run.cell(step);
        let note = self.notes.get(id);
        let told = self.request.players.get(id).map(|them| them.iter().map(String::as_str));
        let written = || {
            let first = note.and_then(|note| note.player).into_iter();
            first.chain(note.into_iter().flat_map(|note| note.fallbacks.iter().copied()))
        };
        let all: Vec<&'a str> = match told {
            Some(told) => told.collect(),
            None => written().collect(),
        };
        let mut seen: HashSet<&str> = cell.player.as_deref().into_iter().collect();
        let others = all.into_iter().filter(|player| seen.insert(player));
        let kind = self.run.plan.kind(step);
        let known = |player: &str| kind.and_then(|kind| self.table.get(player, kind));
        let players = others.map(|player| Player {
            player,
            mean_ms: known(player).filter(|it| it.succeeded > 0).map(|it| it.mean_us as f64 / 1e3),
            failure_ppm: known(player).map(|it| it.failure_ppm),
        });
        let players = players.collect();
        let importance = note.and_then(|note| note.importance);
        Broken { step: id, state: cell.state, player: cell.player.as_deref(), importance, players }
    }

    /// Steps that can never run if these are left out, and else could.
    fn loses(&self, steps: &[u32]) -> Vec<&'a str> {
        let lost = |cell: &crate::state::Cell| {
            matches!(cell.state, StepState::Failed | StepState::Skipped) && !cell.doomed
        };
        let broken: HashSet<u32> = steps.iter().copied().collect();
        let all = (0..).zip(&self.run.cells);
        let others = all.filter(|(step, cell)| lost(cell) && !broken.contains(step));
        let others: Vec<u32> = others.map(|(step, _)| step).collect();
        let anyway = self.unreachable(others.clone());
        let then = self.unreachable(others.into_iter().chain(steps.iter().copied()).collect());
        let loses = then.difference(&anyway).filter(|step| !broken.contains(step));
        let mut loses: Vec<u32> = loses.copied().collect();
        loses.sort_unstable();
        loses.into_iter().map(|step| self.run.plan.id(step)).collect()
    }

    /// What can never run once these ended without success, of what has not run.
    fn unreachable(&self, mut ends: Vec<u32>) -> HashSet<u32> {
        let mut lost: HashSet<u32> = ends.iter().copied().collect();
        let mut slack: HashMap<u32, u32> = HashMap::new();
        while let Some(end) = ends.pop() {
            for edge in &self.run.plan.node(end).dependents {
                let cell = self.run.cell(edge.step);
                let waits = matches!(cell.state, StepState::Pending | StepState::Ready);
                if edge.kind != Dependency::Hard
                    || !(waits || cell.doomed)
                    || lost.contains(&edge.step)
                {
                    continue;
                }
                let node = self.run.plan.node(edge.step);
                let count = node.before.len() as u32;
                let slack = slack
                    .entry(edge.step)
                    .or_insert_with(|| count - node.join.needed(count).unwrap_or(count));
                match slack.checked_sub(1) {
                    Some(left) => *slack = left,
                    None => {
                        lost.insert(edge.step);
                        ends.push(edge.step);
                    }
                }
            }
        }
        lost
    }

    /// Which of these values can be made from what came later, and which cannot.
    fn rebuild(&self, values: &BTreeSet<Item<'a>>) -> (Vec<Rebuild<'a>>, Vec<(&'a str, &'a str)>) {
        let there: HashSet<Item<'a>> = (0..self.run.cells.len() as u32)
            .flat_map(|step| self.outputs(step).into_iter().map(move |(name, _)| (step, name)))
            .filter(|item| !values.contains(item))
            .collect();
        let ways = Ways::new(self.ways(), |item| there.contains(item));
        let plan = &self.run.plan;
        let named = |item: &Item<'a>| (plan.id(item.0), item.1);
        let (mut rebuild, mut lost) = (Vec::new(), Vec::new());
        for item in values {
            let (step, output) = named(item);
            let Some(chain) = ways.to(*item) else {
                lost.push((step, output));
                continue;
            };
            let cost_ms = chain.iter().map(|way| way.cost).sum();
            let call = |way: &&Way<'a, (u32, &'a Inverse)>| {
                let (step, inverse) = way.tag;
                Call {
                    step: plan.id(step),
                    player: &inverse.player,
                    capability: inverse.capability.as_deref().unwrap_or(&inverse.of),
                    takes: way.takes.iter().map(named).collect(),
                    gives: way.gives.iter().map(named).collect(),
                }
            };
            rebuild.push(Rebuild { step, output, cost_ms, by: chain.iter().map(call).collect() });
        }
        (rebuild, lost)
    }

    /// Every step that one of the inverses inverts.
    fn ways(&self) -> Vec<Way<'a, (u32, &'a Inverse)>> {
        let mut by_kind: HashMap<&str, Vec<&'a Inverse>> = HashMap::new();
        for inverse in &self.request.inverses {
            by_kind.entry(&inverse.of).or_default().push(inverse);
        }
        let steps = 0..self.run.cells.len() as u32;
        let inverted = steps.flat_map(|step| {
            let kind = self.run.plan.kind(step).and_then(|kind| by_kind.get(kind));
            kind.into_iter().flatten().filter_map(move |inverse| self.way(step, inverse))
        });
        inverted.collect()
    }

    fn way(&self, step: u32, inverse: &'a Inverse) -> Option<Way<'a, (u32, &'a Inverse)>> {
        let made = self.outputs(step);
        let mut takes: Vec<Item<'a>> = Vec::new();
        for name in &inverse.takes {
            match name.strip_prefix("inputs.") {
                None => takes.push((step, name)),
                // An input that comes from no step is the run's own, and there.
                Some(input) => takes.extend(self.lineage.get(&(step, input))),
            }
        }
        if inverse.takes.is_empty() {
            takes.extend(made.iter().map(|(output, _)| (step, *output)));
        }
        let gives =
            inverse.gives.iter().filter_map(|input| self.lineage.get(&(step, input.as_str())));
        let gives: Vec<Item<'a>> = gives.copied().collect();
        if gives.is_empty() || takes.is_empty() {
            return None;
        }
        let capability = inverse.capability.as_deref().unwrap_or(&inverse.of);
        let learned = self.table.get(&inverse.player, capability).filter(|it| it.succeeded > 0);
        let cost = learned.map_or_else(|| self.expected(step), |it| it.mean_us.div_ceil(1_000));
        Some(Way { tag: (step, inverse), cost, takes, gives })
    }

    /// The last moment before any of these began.
    fn rollback(&self, steps: &[u32]) -> Option<Rollback> {
        let begun = steps.iter().map(|step| self.run.cell(*step).begun).filter(|begun| *begun > 0);
        let to = begun.min()? - 1;
        let again: HashSet<u32> = self.run.tainted(steps).into_iter().collect();
        let sound = |(step, cell): &(u32, &crate::state::Cell)| {
            cell.state == StepState::Succeeded && cell.ended > to && !again.contains(step)
        };
        Some(Rollback { to, abandons: (0..).zip(&self.run.cells).filter(sound).count() })
    }
}

/// Notes which of these texts the value holds.
fn collect<'t>(value: &Value, texts: &HashSet<&'t str>, found: &mut HashSet<&'t str>) {
    match value {
        Value::String(text) => found.extend(text.as_str().and_then(|text| texts.get(text))),
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts, found)),
        Value::Map(pairs) => pairs.iter().for_each(|(_, value)| collect(value, texts, found)),
        _ => {}
    }
}
