//! What a journal says, worked out the plain way: one record after another over the whole graph, a copy of
//! everything after each of them. Shares no code with the tracker.
#![allow(dead_code)] // Each test binary uses its part.

use std::collections::BTreeMap;

use serde_json::{json, Value};

#[derive(Clone, Debug)]
pub struct Link {
    pub before: usize,
    pub kind: String,
    pub transfer: u64,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub id: String,
    pub after: Vec<Link>,
    /// How many of them; nothing: all.
    pub join: Option<usize>,
    pub told: Option<u64>,
    pub learned: Option<u64>,
    pub kind: Option<String>,
    pub estimate: u64,
    pub state: String,
    pub attempt: u64,
    pub since: u64,
    pub dropped: bool,
    /// Skipped for the sake of another step.
    pub swept: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Fold {
    pub steps: Vec<Step>,
    pub state: String,
    pub last: u64,
    measured: BTreeMap<String, (u64, u64)>,
}

fn link(steps: &[Step], link: &Value) -> Link {
    let before = link[0].as_str().unwrap();
    Link {
        before: steps.iter().position(|step| step.id == before).unwrap(),
        kind: link[1].as_str().unwrap().to_owned(),
        transfer: link[2].as_f64().unwrap_or(0.0).round() as u64,
    }
}

fn links(steps: &[Step], named: &Value) -> Vec<Link> {
    let strength = |kind: &str| ["optional", "soft", "hard"].iter().position(|it| *it == kind);
    let mut found: Vec<Link> = Vec::new();
    for named in named.as_array().into_iter().flatten() {
        let link = link(steps, named);
        match found.iter_mut().find(|known| known.before == link.before) {
            None => found.push(link),
            Some(known) => {
                if strength(&link.kind) > strength(&known.kind) {
                    known.kind = link.kind;
                }
                known.transfer = known.transfer.max(link.transfer);
            }
        }
    }
    found
}

/// What the record says was learned of this kind.
fn learned(data: &Value, kind: &Value) -> Option<u64> {
    let all = data["learned"].as_array().into_iter().flatten();
    all.filter(|it| it[1] == *kind).find_map(|it| it[2].as_u64())
}

/// Milliseconds within the day; histories never cross midnight.
fn millis(ts: &Value) -> u64 {
    let ts = ts.as_str().unwrap();
    let number = |from: usize, to: usize| ts[from..to].parse::<u64>().unwrap();
    ((number(11, 13) * 60 + number(14, 16)) * 60 + number(17, 19)) * 1000 + number(20, 23)
}

impl Fold {
    /// The states after each of these records: the first after the first.
    pub fn all(records: &[Value]) -> Vec<Self> {
        let mut states = Vec::new();
        Self::extend(&mut states, records);
        states
    }

    /// Adds the states after those of these records that have none yet.
    pub fn extend(states: &mut Vec<Self>, records: &[Value]) {
        let mut highest: BTreeMap<String, u64> = BTreeMap::new();
        for (place, record) in records.iter().enumerate() {
            if record["kind"] == "started" {
                let known = highest.entry(record["step"].as_str().unwrap().to_owned()).or_default();
                *known = (*known).max(record["attempt"].as_u64().unwrap());
            }
            if place < states.len() {
                continue;
            }
            let mut next = match record["kind"].as_str().unwrap() {
                "rolledback" => states[record["data"]["to"].as_u64().unwrap() as usize - 1].clone(),
                _ => states.last().cloned().unwrap_or_default(),
            };
            next.apply(record, &highest);
            next.last = record["index"].as_u64().unwrap();
            states.push(next);
        }
    }

    pub fn find(&self, id: &str) -> usize {
        self.steps.iter().position(|step| step.id == id).unwrap()
    }

    pub fn ended(&self, step: usize) -> bool {
        ["succeeded", "failed", "skipped"].contains(&self.steps[step].state.as_str())
    }

    fn needed(&self, step: usize) -> usize {
        self.steps[step].join.unwrap_or(self.steps[step].after.len())
    }

    /// How many of its dependencies are satisfied, and how many never can be.
    pub fn counts(&self, step: usize) -> (usize, usize) {
        let mut counts = (0, 0);
        for link in &self.steps[step].after {
            match self.steps[link.before].state.as_str() {
                "succeeded" => counts.0 += 1,
                "failed" | "skipped" if link.kind == "hard" => counts.1 += 1,
                "failed" | "skipped" => counts.0 += 1,
                _ => {}
            }
        }
        counts
    }

    pub fn may_run(&self, step: usize) -> bool {
        self.counts(step).0 >= self.needed(step)
    }

    pub fn is_doomed(&self, step: usize) -> bool {
        let lost = self.counts(step).1;
        self.steps[step].state == "pending"
            && lost > self.steps[step].after.len() - self.needed(step)
    }

    fn unblock(&mut self) {
        for step in 0..self.steps.len() {
            if self.steps[step].state == "pending" && self.may_run(step) {
                self.steps[step].state = "ready".to_owned();
            }
        }
    }

    fn expected(&self, step: &Step) -> u64 {
        if let Some(told) = step.told {
            return told;
        }
        let measured = step.kind.as_ref().and_then(|kind| self.measured.get(kind));
        let (count, sum) = measured.copied().unwrap_or_default();
        match (step.learned, count) {
            (None, 0) => 1000,
            (None, _) => sum / count,
            (Some(learned), _) => (sum + 4 * learned) / (count + 4),
        }
    }

    fn add(&mut self, data: &Value, highest: &BTreeMap<String, u64>) {
        let first = self.steps.len();
        let specs = &data["steps"];
        for spec in specs.as_array().unwrap() {
            let id = spec["id"].as_str().unwrap().to_owned();
            let attempt = highest.get(&id).copied().unwrap_or(0);
            let mut step = Step {
                id,
                after: Vec::new(),
                join: None,
                told: spec["estimate_ms"].as_f64().map(|ms| ms.round() as u64),
                learned: learned(data, &spec["kind"]),
                kind: spec["kind"].as_str().map(str::to_owned),
                estimate: 0,
                state: "pending".to_owned(),
                attempt,
                since: 0,
                dropped: false,
                swept: false,
            };
            step.estimate = self.expected(&step);
            self.steps.push(step);
        }
        for (place, spec) in specs.as_array().unwrap().iter().enumerate() {
            let after = links(&self.steps, &spec["after"]);
            self.steps[first + place].join = match &spec["join"] {
                Value::String(word) if word == "any" => Some(1),
                Value::Number(count) => Some(count.as_u64().unwrap() as usize),
                _ => None,
            };
            self.steps[first + place].after = after;
        }
    }

    fn apply(&mut self, record: &Value, highest: &BTreeMap<String, u64>) {
        let data = &record["data"];
        let step = record["step"].as_str().map(|id| self.find(id));
        match record["kind"].as_str().unwrap() {
            "opened" => {
                self.state = "open".to_owned();
                self.add(data, &BTreeMap::new());
            }
            "started" => {
                let step = step.unwrap();
                assert_eq!(self.steps[step].state, "ready", "{record}");
                let hard = self.steps[step].after.iter().filter(|link| link.kind == "hard");
                let lacking =
                    hard.filter(|link| self.steps[link.before].state != "succeeded").count();
                let slack = self.steps[step].after.len() - self.needed(step);
                assert!(lacking <= slack, "a step runs before what it needs: {record}");
                let step = &mut self.steps[step];
                (step.state, step.attempt) =
                    ("running".to_owned(), record["attempt"].as_u64().unwrap());
                step.since = millis(&record["ts"]);
            }
            "failed" if record["final"] != true => {
                self.steps[step.unwrap()].state = "ready".to_owned()
            }
            "failed" => self.steps[step.unwrap()].state = "failed".to_owned(),
            "skipped" => {
                let step = step.unwrap();
                self.steps[step].swept = self.is_doomed(step);
                self.steps[step].state = "skipped".to_owned();
            }
            "completed" => self.complete(step.unwrap(), millis(&record["ts"])),
            "resumed" => self.interrupt(),
            "rolledback" => {
                self.interrupt();
                for step in &mut self.steps {
                    step.attempt = highest.get(&step.id).copied().unwrap_or(0);
                }
            }
            "grown" | "rerouted" => self.grow(record, highest),
            "redone" => self.redo(data),
            "finished" => self.state = data["outcome"].as_str().unwrap().to_owned(),
            _ => {}
        }
        self.unblock();
    }

    fn interrupt(&mut self) {
        for step in self.steps.iter_mut().filter(|step| step.state == "running") {
            step.state = "ready".to_owned();
        }
    }

    fn complete(&mut self, step: usize, now: u64) {
        assert_eq!(self.steps[step].state, "running");
        self.steps[step].state = "succeeded".to_owned();
        let took = now.saturating_sub(self.steps[step].since);
        let Some(kind) = self.steps[step].kind.clone() else { return };
        let measured = self.measured.entry(kind.clone()).or_default();
        *measured = (measured.0 + 1, measured.1 + took);
        if measured.0.is_power_of_two() {
            for step in 0..self.steps.len() {
                if self.steps[step].kind.as_ref() == Some(&kind) && !self.ended(step) {
                    self.steps[step].estimate = self.expected(&self.steps[step]);
                }
            }
        }
    }

    fn grow(&mut self, record: &Value, highest: &BTreeMap<String, u64>) {
        let data = &record["data"];
        let waits = |step: &Step| ["pending", "ready"].contains(&step.state.as_str());
        let dropped: Vec<usize> = match (&data["drop"], record["kind"] == "rerouted") {
            (Value::Array(names), _) => {
                names.iter().map(|id| self.find(id.as_str().unwrap())).collect()
            }
            (_, true) => (0..self.steps.len()).filter(|step| waits(&self.steps[*step])).collect(),
            _ => Vec::new(),
        };
        for step in &mut self.steps {
            if step.state == "pending" {
                step.after.retain(|link| !dropped.contains(&link.before));
            }
        }
        for step in dropped {
            (self.steps[step].state, self.steps[step].dropped) = ("skipped".to_owned(), true);
        }
        self.add(data, highest);
        for (id, further) in data["after"].as_object().into_iter().flatten() {
            let further = links(&self.steps, further);
            let step = self.find(id);
            self.steps[step].after.extend(further);
        }
    }

    /// These steps and whatever used what they made.
    pub fn users(&self, mut found: Vec<usize>) -> Vec<usize> {
        loop {
            let uses = |step: &usize| {
                self.steps[*step].state != "pending"
                    && !self.steps[*step].dropped
                    && self.steps[*step]
                        .after
                        .iter()
                        .any(|it| it.kind != "soft" && found.contains(&it.before))
            };
            let more = (0..self.steps.len()).find(|step| !found.contains(step) && uses(step));
            match more {
                Some(step) => found.push(step),
                None => return found,
            }
        }
    }

    fn redo(&mut self, data: &Value) {
        let roots = data["steps"].as_array().unwrap();
        let roots = roots.iter().map(|id| self.find(id.as_str().unwrap())).collect();
        for step in self.users(roots) {
            (self.steps[step].state, self.steps[step].swept) = ("pending".to_owned(), false);
        }
    }

    /// The longest way that is left from the beginning of this step.
    pub fn rank(&self, step: usize, known: &mut BTreeMap<usize, u64>) -> u64 {
        if let Some(rank) = known.get(&step) {
            return *rank;
        }
        let mut longest = 0;
        for next in (0..self.steps.len()).filter(|next| !self.ended(*next)) {
            for link in self.steps[next].after.iter().filter(|link| link.before == step) {
                longest = longest.max(link.transfer + self.rank(next, known));
            }
        }
        let rank = self.steps[step].estimate + longest;
        known.insert(step, rank);
        rank
    }

    /// Whether a `state` reply says the same.
    pub fn agrees(&self, reply: &Value) {
        assert_eq!(reply["state"], json!(self.state));
        assert_eq!(reply["last"], json!(self.last));
        let told = reply["steps"].as_array().unwrap();
        assert_eq!(told.len(), self.steps.len());
        let mut ranks = BTreeMap::new();
        let mut ready: Vec<(u64, usize)> = Vec::new();
        for (number, (told, step)) in told.iter().zip(&self.steps).enumerate() {
            assert_eq!(told["id"], json!(step.id));
            assert_eq!(told["state"], json!(step.state), "{}", step.id);
            assert_eq!(told["attempt"], json!(step.attempt), "{}", step.id);
            if !self.ended(number) {
                assert_eq!(
                    told["rank"],
                    json!(self.rank(number, &mut ranks)),
                    "rank of {}",
                    step.id
                );
            }
            if step.state == "ready" {
                ready.push((self.rank(number, &mut ranks), number));
            }
        }
        ready.sort_by_key(|(rank, number)| (std::cmp::Reverse(*rank), *number));
        let ready: Value =
            ready.into_iter().map(|(rank, number)| json!([self.steps[number].id, rank])).collect();
        assert_eq!(reply["ready"], ready);
    }
}
