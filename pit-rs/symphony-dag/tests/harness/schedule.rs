//! Workflows played on a number of slots: by the tracker's ranks, and by the references that it is measured against.
//!
//! Upward-rank list scheduling and HEFT with insertion are those of H. Topcuoglu, S. Hariri, M.-Y. Wu (IEEE TPDS 13(3),
//! 2002), written from the paper, in seconds and floats, without any code of the tracker.
#![allow(dead_code)] // Each user uses its part.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use serde_json::{json, Value};
use symphony_dag::Tracker;
use symphony_journal::memory::MemoryStorage;
use symphony_wire::service::{Answer, Call, Service};

pub const TS: &str = "2026-01-31T12:00:00.000Z";

/// Tasks in an order in which each follows its parents, or any other.
#[derive(Clone, Debug, Default)]
pub struct Workflow {
    /// Seconds.
    pub runtime: Vec<f64>,
    /// Of each task: its parents, and the bytes that come from each.
    pub parents: Vec<Vec<(usize, f64)>>,
}

/// Where a workflow runs.
#[derive(Clone, Debug)]
pub struct Machines {
    /// One for each slot: how many seconds of work it does in a second.
    pub speeds: Vec<f64>,
    /// Bytes in a second between two slots; nothing: transfers take no time.
    pub bandwidth: Option<f64>,
}

impl Machines {
    pub fn alike(slots: usize) -> Self {
        Self { speeds: vec![1.0; slots], bandwidth: None }
    }

    /// Slots of four speeds, joined by a network.
    pub fn mixed(slots: usize, bandwidth: f64) -> Self {
        let speeds = (0..slots).map(|slot| [1.0, 2.0, 0.5, 1.5][slot % 4]).collect();
        Self { speeds, bandwidth: Some(bandwidth) }
    }

    fn mean_time(&self, seconds: f64) -> f64 {
        seconds * self.speeds.iter().map(|speed| 1.0 / speed).sum::<f64>()
            / self.speeds.len() as f64
    }

    fn transfer(&self, bytes: f64) -> f64 {
        self.bandwidth.map_or(0.0, |bandwidth| bytes / bandwidth)
    }
}

impl Workflow {
    /// From the form of the stored ones: `tasks` of `[name, runtime, parents, bytes]`.
    pub fn read(stored: &Value) -> Self {
        let tasks = stored["tasks"].as_array().cloned().unwrap_or_default();
        let mut workflow = Self::default();
        for task in tasks {
            let numbers = |place: usize| -> Vec<f64> {
                let them = task[place].as_array().cloned().unwrap_or_default();
                them.iter().map(|it| it.as_f64().unwrap_or(0.0)).collect()
            };
            let (parents, bytes) = (numbers(2), numbers(3));
            let bytes = bytes.into_iter().chain(std::iter::repeat(0.0));
            workflow.runtime.push(task[1].as_f64().unwrap_or(0.0));
            workflow.parents.push(parents.iter().map(|it| *it as usize).zip(bytes).collect());
        }
        workflow
    }

    pub fn len(&self) -> usize {
        self.runtime.len()
    }

    fn children(&self) -> Vec<Vec<(usize, f64)>> {
        let mut children = vec![Vec::new(); self.len()];
        for (task, parents) in self.parents.iter().enumerate() {
            for (parent, bytes) in parents {
                children[*parent].push((task, *bytes));
            }
        }
        children
    }

    /// Upward ranks in seconds.
    pub fn ranks(&self, machines: &Machines) -> Vec<f64> {
        let children = self.children();
        let mut ranks: Vec<Option<f64>> = vec![None; self.len()];
        for root in 0..self.len() {
            let mut stack = vec![root];
            while let Some(task) = stack.last().copied() {
                let missing: Vec<usize> = children[task]
                    .iter()
                    .map(|(child, _)| *child)
                    .filter(|child| ranks[*child].is_none())
                    .collect();
                if ranks[task].is_none() && missing.is_empty() {
                    let after = children[task].iter().map(|(child, bytes)| {
                        machines.transfer(*bytes) + ranks[*child].unwrap_or(0.0)
                    });
                    ranks[task] =
                        Some(machines.mean_time(self.runtime[task]) + after.fold(0.0, f64::max));
                }
                if ranks[task].is_some() {
                    stack.pop();
                } else {
                    stack.extend(missing);
                }
            }
        }
        ranks.into_iter().map(|rank| rank.unwrap_or(0.0)).collect()
    }

    /// List scheduling on equal slots: of what is ready the first by `order` (highest first, then number) begins as
    /// soon as a slot is free. `order` gets the task and how many became ready before it. Returns the makespan.
    pub fn list(&self, slots: usize, order: impl Fn(usize, usize) -> f64) -> f64 {
        let children = self.children();
        let mut waits: Vec<usize> = self.parents.iter().map(Vec::len).collect();
        let mut ready: BTreeSet<(Reverse<Ordered>, usize)> = BTreeSet::new();
        let mut count = 0;
        let mut arrive = |ready: &mut BTreeSet<_>, task: usize| {
            ready.insert((Reverse(Ordered(order(task, count))), task));
            count += 1;
        };
        (0..self.len()).filter(|task| waits[*task] == 0).for_each(|task| arrive(&mut ready, task));
        let mut running: BinaryHeap<Reverse<(Ordered, usize)>> = BinaryHeap::new();
        let mut now = 0.0;
        loop {
            while running.len() < slots {
                let Some((_, task)) = ready.pop_first() else { break };
                running.push(Reverse((Ordered(now + self.runtime[task]), task)));
            }
            let Some(Reverse((Ordered(end), task))) = running.pop() else { return now };
            now = end;
            for (child, _) in &children[task] {
                waits[*child] -= 1;
                if waits[*child] == 0 {
                    arrive(&mut ready, *child);
                }
            }
        }
    }

    pub fn by_rank(&self, slots: usize) -> f64 {
        let ranks = self.ranks(&Machines::alike(slots));
        self.list(slots, |task, _| ranks[task])
    }

    pub fn fifo(&self, slots: usize) -> f64 {
        self.list(slots, |_, count| -(count as f64))
    }

    /// Shortest first.
    pub fn shortest(&self, slots: usize) -> f64 {
        self.list(slots, |task, _| -self.runtime[task])
    }

    /// HEFT: tasks by rank, each where it ends first, in a gap if one is wide enough.
    pub fn heft(&self, machines: &Machines) -> f64 {
        let ranks = self.ranks(machines);
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by(|a, b| ranks[*b].total_cmp(&ranks[*a]).then(a.cmp(b)));
        self.placed(machines, &topological(self, order))
    }

    /// Each task of this order where it ends first. Returns the makespan.
    pub fn placed(&self, machines: &Machines, order: &[usize]) -> f64 {
        let mut busy: Vec<Vec<(f64, f64)>> = vec![Vec::new(); machines.speeds.len()];
        let mut place: Vec<(usize, f64)> = vec![(0, 0.0); self.len()];
        let mut makespan: f64 = 0.0;
        for task in order {
            let mut best: Option<(f64, f64, usize)> = None;
            for (slot, speed) in machines.speeds.iter().enumerate() {
                let arrives = self.arrives(machines, &place, *task, slot);
                let takes = self.runtime[*task] / speed;
                let begin = gap(&busy[slot], arrives, takes);
                if best.is_none_or(|(end, _, _)| begin + takes < end) {
                    best = Some((begin + takes, begin, slot));
                }
            }
            let Some((end, begin, slot)) = best else { continue };
            let at = busy[slot].partition_point(|(other, _)| *other <= begin);
            busy[slot].insert(at, (begin, end));
            place[*task] = (slot, end);
            makespan = makespan.max(end);
        }
        makespan
    }

    /// When everything that a task needs is at a slot.
    fn arrives(
        &self,
        machines: &Machines,
        place: &[(usize, f64)],
        task: usize,
        slot: usize,
    ) -> f64 {
        let each = self.parents[task].iter().map(|(parent, bytes)| {
            let (there, end) = place[*parent];
            if there == slot {
                end
            } else {
                end + machines.transfer(*bytes)
            }
        });
        each.fold(0.0, f64::max)
    }
}

/// The order, with tasks moved behind their parents where ranks are equal.
fn topological(workflow: &Workflow, order: Vec<usize>) -> Vec<usize> {
    let children = workflow.children();
    let mut position = vec![0; order.len()];
    order.iter().enumerate().for_each(|(at, task)| position[*task] = at);
    let mut waits: Vec<usize> = workflow.parents.iter().map(Vec::len).collect();
    let mut free: BTreeSet<(usize, usize)> = order
        .iter()
        .filter(|task| waits[**task] == 0)
        .map(|task| (position[*task], *task))
        .collect();
    let mut found = Vec::with_capacity(order.len());
    while let Some((_, task)) = free.pop_first() {
        found.push(task);
        for (child, _) in &children[task] {
            waits[*child] -= 1;
            if waits[*child] == 0 {
                free.insert((position[*child], *child));
            }
        }
    }
    found
}

/// When a task that takes so long can begin among these, from `earliest` on.
fn gap(busy: &[(f64, f64)], earliest: f64, takes: f64) -> f64 {
    let mut begin = earliest;
    for (from, to) in busy {
        if begin + takes <= *from {
            break;
        }
        begin = begin.max(*to);
    }
    begin
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ordered(pub f64);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// A run of a workflow at a tracker: it says what is ready and how urgent that is, nothing else decides.
pub struct Played {
    dag: Tracker<MemoryStorage>,
    /// Tasks that are ready: rank, highest first, then number.
    ready: BTreeSet<(Reverse<u64>, usize)>,
}

impl Played {
    pub fn open(workflow: &Workflow, machines: &Machines) -> Self {
        let step = |task: usize| {
            let after: Vec<Value> = workflow.parents[task]
                .iter()
                .map(|(parent, bytes)| {
                    json!([id(*parent), "hard", machines.transfer(*bytes) * 1e3])
                })
                .collect();
            let estimate_ms = machines.mean_time(workflow.runtime[task]) * 1e3;
            json!({"id": id(task), "after": after, "estimate_ms": estimate_ms})
        };
        let steps: Vec<Value> = (0..workflow.len()).map(step).collect();
        let mut played = Self { dag: Tracker::new(MemoryStorage::new()), ready: BTreeSet::new() };
        let reply = played.call(
            "open",
            &json!({"run": "r", "melody": "m", "version": "1.0.0", "digest": "d", "document": {},
                "inputs": {}, "steps": steps, "ts": TS}),
        );
        played.add(&reply);
        played
    }

    fn call(&mut self, method: &str, arguments: &Value) -> Value {
        let body = rmp_serde::to_vec_named(arguments).unwrap_or_default();
        let (Answer::Now(outcome) | Answer::AfterFlush(outcome)) =
            self.dag.call(Call { capability: "pit.dag/1", method, body: &body });
        let reply = outcome.unwrap_or_else(|error| panic!("{method}: {error}"));
        rmp_serde::from_slice(&reply).unwrap_or_default()
    }

    fn add(&mut self, reply: &Value) {
        for pair in reply["ready"].as_array().into_iter().flatten() {
            let task = pair[0].as_str().and_then(|id| id[1..].parse().ok()).unwrap_or(0);
            self.ready.insert((Reverse(pair[1].as_u64().unwrap_or(0)), task));
        }
    }

    fn start(&mut self, task: usize) {
        let records = json!([{"kind": "started", "step": id(task), "attempt": 1, "ts": TS}]);
        self.call("append", &json!({"run": "r", "records": records}));
    }

    fn complete(&mut self, task: usize) {
        let reply = self.call(
            "complete",
            &json!({"run": "r", "step": id(task), "attempt": 1, "outputs": {}, "ts": TS}),
        );
        self.add(&reply);
    }

    /// Equal slots: the first that is ready begins as soon as a slot is free. Returns the makespan in seconds.
    pub fn list(workflow: &Workflow, slots: usize) -> f64 {
        let mut played = Self::open(workflow, &Machines::alike(slots));
        let mut running: BinaryHeap<Reverse<(Ordered, usize)>> = BinaryHeap::new();
        let mut now = 0.0;
        loop {
            while running.len() < slots {
                let Some((_, task)) = played.ready.pop_first() else { break };
                played.start(task);
                running.push(Reverse((Ordered(now + workflow.runtime[task]), task)));
            }
            let Some(Reverse((Ordered(end), task))) = running.pop() else { return now };
            now = end;
            played.complete(task);
        }
    }

    /// Slots of several speeds: in the order of their ranks, what is ready begins on the slot where it ends first, and
    /// waits for that one if it is busy. Nothing is known of what is not ready. Returns the makespan in seconds.
    pub fn earliest(workflow: &Workflow, machines: &Machines) -> f64 {
        /// So many of the ready are looked at, for each slot.
        const LOOKED_AT: usize = 4;
        let slots = machines.speeds.len();
        let mut played = Self::open(workflow, machines);
        let mut place: Vec<(usize, f64)> = vec![(0, 0.0); workflow.len()];
        let mut free_at = vec![0.0; slots];
        let mut running: BinaryHeap<Reverse<(Ordered, usize)>> = BinaryHeap::new();
        let mut now = 0.0;
        loop {
            let mut promised = free_at.clone();
            let mut begun = Vec::new();
            for (rank, task) in played.ready.iter().take(LOOKED_AT * slots) {
                if promised.iter().all(|free| *free > now) {
                    break;
                }
                let ends = (0..slots).map(|slot| {
                    let arrives = workflow.arrives(machines, &place, *task, slot);
                    let begin = arrives.max(promised[slot]).max(now);
                    (begin + workflow.runtime[*task] / machines.speeds[slot], slot)
                });
                let Some((end, slot)) = ends.min_by(|a, b| a.0.total_cmp(&b.0)) else { break };
                if promised[slot] <= now {
                    begun.push((*rank, *task));
                    place[*task] = (slot, end);
                    free_at[slot] = end;
                    running.push(Reverse((Ordered(end), *task)));
                }
                promised[slot] = end;
            }
            for entry in begun {
                played.ready.remove(&entry);
                played.start(entry.1);
            }
            let Some(Reverse((Ordered(end), task))) = running.pop() else { return now };
            now = end;
            played.complete(task);
        }
    }

    /// Everything in the order of the tracker's ranks, each where it ends first: HEFT by these ranks.
    pub fn planned(workflow: &Workflow, machines: &Machines) -> f64 {
        let mut played = Self::open(workflow, machines);
        let mut ranks: HashMap<String, u64> = HashMap::new();
        loop {
            let page = match ranks.len() {
                0 => json!({"run": "r"}),
                had => json!({"run": "r", "after": had}),
            };
            let state = played.call("state", &page);
            for step in state["steps"].as_array().into_iter().flatten() {
                let id = step["id"].as_str().unwrap_or_default().to_owned();
                ranks.insert(id, step["rank"].as_u64().unwrap_or(0));
            }
            if state["more"] != true {
                break;
            }
        }
        let mut order: Vec<usize> = (0..workflow.len()).collect();
        order.sort_by_key(|task| (Reverse(ranks.get(&id(*task)).copied()), *task));
        workflow.placed(machines, &topological(workflow, order))
    }
}

fn id(task: usize) -> String {
    format!("t{task}")
}
