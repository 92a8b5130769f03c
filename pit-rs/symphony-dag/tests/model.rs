//! Random plans under random calls, against a model that searches the whole graph after every step.
#![allow(clippy::unwrap_used)] // A test may panic.

mod harness;

use std::collections::BTreeMap;

use harness::*;
use proptest::prelude::*;
use serde_json::{json, Value};
use symphony_journal::memory::MemoryStorage;

#[derive(Clone, Debug)]
struct Plan {
    /// Of each step: whom it waits for and whether hard. Any order of numbers, no cycles.
    after: Vec<BTreeMap<usize, bool>>,
    /// So many of them, or all if there are fewer; 0: all.
    joins: Vec<usize>,
    estimates: Vec<u64>,
}

impl Plan {
    fn json(&self) -> Value {
        let step = |(n, after): (usize, &BTreeMap<usize, bool>)| {
            let after: Vec<Value> = after
                .iter()
                .map(|(before, hard)| json!([id(*before), if *hard { "hard" } else { "soft" }]))
                .collect();
            let mut step = json!({"id": id(n), "after": after, "estimate_ms": self.estimates[n]});
            match self.needed(n) {
                needed if needed == after.len() => {}
                1 => step["join"] = json!("any"),
                needed => step["join"] = json!(needed),
            }
            step
        };
        self.after.iter().enumerate().map(step).collect()
    }

    fn needed(&self, step: usize) -> usize {
        let count = self.after[step].len();
        match self.joins[step] {
            0 => count,
            needed => needed.min(count),
        }
    }
}

fn id(step: usize) -> String {
    format!("s{step}")
}

/// Edges go from lower to higher places in a random order, so that numbers say nothing.
fn plans() -> impl Strategy<Value = Plan> {
    (2_usize..9).prop_flat_map(|count| {
        let places = Just((0..count).collect::<Vec<usize>>()).prop_shuffle();
        let edges = prop::collection::vec((0..count, 0..count, any::<bool>()), 0..2 * count);
        let estimates = prop::collection::vec(0_u64..50, count);
        let joins = prop::collection::vec(0_usize..4, count);
        (places, edges, estimates, joins).prop_map(move |(places, edges, estimates, joins)| {
            let mut after = vec![BTreeMap::new(); count];
            for (one, other, hard) in edges {
                if one != other {
                    after[places[one.max(other)]].insert(places[one.min(other)], hard);
                }
            }
            Plan { after, joins, estimates }
        })
    })
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Start,
    FailAttempt,
    Complete,
    Fail,
    Skip,
    Resume,
    /// The process ends and another one reads the journal.
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<(Act, usize)>> {
    let act = prop_oneof![
        5 => Just(Act::Start),
        1 => Just(Act::FailAttempt),
        5 => Just(Act::Complete),
        2 => Just(Act::Fail),
        1 => Just(Act::Skip),
        1 => Just(Act::Resume),
        1 => Just(Act::Restart),
    ];
    prop::collection::vec((act, 0_usize..8), 1..50)
}

/// What the contract says, by brute force.
struct Model {
    plan: Plan,
    states: Vec<&'static str>,
    attempts: Vec<u64>,
}

impl Model {
    fn new(plan: Plan) -> Self {
        let count = plan.after.len();
        let mut model = Self { plan, states: vec!["pending"; count], attempts: vec![0; count] };
        model.settle();
        model
    }

    fn ended(&self, step: usize) -> bool {
        ["succeeded", "failed", "skipped"].contains(&self.states[step])
    }

    /// Of what the step waits for: how many are satisfied, and how many never can be.
    fn counts(&self, step: usize) -> (usize, usize) {
        let lost = |(before, hard): (&usize, &bool)| {
            *hard && ["failed", "skipped"].contains(&self.states[*before])
        };
        let after = &self.plan.after[step];
        let lost = after.iter().filter(|it| lost(*it)).count();
        (after.keys().filter(|before| self.ended(**before)).count() - lost, lost)
    }

    /// The longest way that is left.
    fn rank(&self, step: usize) -> u64 {
        let waits = |next: &usize| self.plan.after[*next].contains_key(&step) && !self.ended(*next);
        let waiting = (0..self.states.len()).filter(waits);
        self.plan.estimates[step] + waiting.map(|next| self.rank(next)).max().unwrap_or(0)
    }

    fn settle(&mut self) {
        loop {
            let doomed = (0..self.states.len()).find(|step| {
                let slack = self.plan.after[*step].len() - self.plan.needed(*step);
                self.states[*step] == "pending" && self.counts(*step).1 > slack
            });
            match doomed {
                Some(step) => self.states[step] = "skipped",
                None => break,
            }
        }
        for step in 0..self.states.len() {
            let free = self.counts(step).0 >= self.plan.needed(step);
            if self.states[step] == "pending" && free {
                self.states[step] = "ready";
            }
        }
    }

    /// Whether the act is allowed; then it is done.
    fn act(&mut self, act: Act, step: usize) -> bool {
        let state = self.states[step];
        let next = match (act, state) {
            (Act::Start, "ready") => "running",
            (Act::FailAttempt, "running") => "ready",
            (Act::Complete, "running") => "succeeded",
            (Act::Fail, "ready" | "running") => "failed",
            (Act::Skip, "pending" | "ready" | "running") => "skipped",
            // Said before: a repetition, without effect.
            (Act::Complete, "succeeded") | (Act::Fail, "failed") => state,
            (Act::Resume, _) => {
                for state in self.states.iter_mut().filter(|state| **state == "running") {
                    *state = "ready";
                }
                return true;
            }
            _ => return false,
        };
        if next == "running" {
            self.attempts[step] += 1;
        }
        self.states[step] = next;
        self.settle();
        true
    }

    fn ready(&self) -> Value {
        let ready = (0..self.states.len()).filter(|step| self.states[*step] == "ready");
        let mut ready: Vec<(u64, usize)> = ready.map(|step| (self.rank(step), step)).collect();
        ready.sort_by_key(|(rank, step)| (std::cmp::Reverse(*rank), *step));
        ready.into_iter().map(|(rank, step)| json!([id(step), rank])).collect()
    }
}

fn request(act: Act, step: usize, attempt: u64) -> (&'static str, Value) {
    let step = id(step);
    let append = |kind: &str| {
        ("append", json!({"run": "r", "records": [{"kind": kind, "step": step, "ts": TS}]}))
    };
    match act {
        Act::Start => append("started"),
        Act::FailAttempt => append("failed"),
        Act::Complete => ("complete", completion("r", &step, attempt as u32)),
        Act::Fail => {
            let error = json!({"class": "E"});
            (
                "fail",
                json!({"run": "r", "step": step, "attempt": attempt, "error": error, "ts": TS}),
            )
        }
        // A reason of its own, so that it never passes for a repetition.
        Act::Skip => {
            static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
            let reason = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
            ("skip", json!({"run": "r", "step": step, "reason": reason, "ts": TS}))
        }
        Act::Resume | Act::Restart => ("resume", json!({"run": "r", "ts": TS})),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_tracker_agrees_with_the_model_and_replay_with_both(plan in plans(), acts in acts()) {
        let storage = MemoryStorage::new();
        let mut dag = in_memory(&storage);
        dag.open("r", plan.json());
        let mut model = Model::new(plan);
        for (act, step) in acts {
            let step = step % model.states.len();
            if matches!(act, Act::Restart) {
                let before = dag.state("r");
                dag = in_memory(&storage);
                prop_assert_eq!(dag.state("r"), before);
                continue;
            }
            let (method, arguments) = request(act, step, model.attempts[step]);
            let before = model.states.clone();
            let reply = dag.call(method, arguments.clone());
            let allowed = model.act(act, step);
            prop_assert_eq!(reply.is_ok(), allowed, "{:?} {}: {:?}", act, step, reply);
            prop_assert_eq!(dag.states("r"), model.states.clone());
            prop_assert_eq!(&dag.state("r")["ready"], &model.ready());
            for running in (0..before.len()).filter(|s| model.states[*s] == "running") {
                let hard = model.plan.after[running].iter().filter(|(_, hard)| **hard);
                let lacking = hard.filter(|(it, _)| model.states[**it] != "succeeded").count();
                let slack = model.plan.after[running].len() - model.plan.needed(running);
                prop_assert!(lacking <= slack, "a step runs before what it needs");
            }
            if let (Ok(reply), "complete" | "fail" | "skip") = (&reply, method) {
                if before != model.states {
                    let left = (0..before.len()).filter(|step| !model.ended(*step)).count();
                    prop_assert_eq!(&reply["left"], left);
                    let cascade = reply["cascade"].as_array().map_or(0, Vec::len);
                    let ended = (0..before.len()).filter(|s| model.ended(*s)).count();
                    let ended_before = before.iter()
                        .filter(|state| ["succeeded", "failed", "skipped"].contains(state)).count();
                    prop_assert_eq!(cascade, ended - ended_before - 1);
                    let fresh = (0..before.len())
                        .filter(|s| before[*s] == "pending" && model.states[*s] == "ready").count();
                    prop_assert_eq!(reply["ready"].as_array().map(Vec::len), Some(fresh));
                }
                // A repetition gives the same reply, from memory and from disk.
                prop_assert_eq!(&dag.ok(method, arguments.clone()), reply);
                prop_assert_eq!(&in_memory(&storage).ok(method, arguments), reply);
            }
        }
        prop_assert_eq!(in_memory(&storage).state("r"), dag.state("r"));
    }

    #[test]
    fn a_journal_cut_anywhere_opens_and_can_go_on(
        plan in plans(),
        acts in acts(),
        cut in any::<prop::sample::Index>(),
    ) {
        let storage = MemoryStorage::new();
        let mut dag = in_memory(&storage);
        dag.open("r", plan.json());
        let opened = storage.bytes("r.journal").len();
        let mut model = Model::new(plan.clone());
        for (act, step) in acts {
            let step = step % model.states.len();
            let (method, arguments) = request(act, step, model.attempts[step]);
            let _ = dag.call(method, arguments);
            model.act(act, step);
        }
        let mut file = storage.bytes("r.journal");
        file.truncate(opened + cut.index(file.len() - opened + 1));
        let storage = MemoryStorage::new();
        storage.put("r.journal", file);
        let mut dag = in_memory(&storage);
        dag.ok("resume", json!({"run": "r", "ts": TS}));
        // Whatever is left can be played to its end.
        while let Some(step) = dag.state("r")["ready"][0][0].as_str().map(str::to_owned) {
            let records = json!([{"kind": "started", "step": step, "attempt": 1, "ts": TS}]);
            dag.ok("append", json!({"run": "r", "records": records}));
            dag.complete("r", &step);
        }
        for state in dag.states("r") {
            prop_assert!(["succeeded", "failed", "skipped"].contains(&state.as_str()), "{}", state);
        }
    }
}
