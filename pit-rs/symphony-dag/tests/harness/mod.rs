//! A tracker as its caller sees it, with JSON for msgpack. An answer that waits for a flush gets one.
#![allow(dead_code)] // Each test binary uses its part.

pub mod fold;

use serde_json::{json, Value};
use symphony_dag::Tracker;
use symphony_journal::memory::MemoryStorage;
use symphony_journal::Storage;
use symphony_wire::service::{Answer, Call, Outcome, Service};
use symphony_wire::{BusError, Code};

pub const TS: &str = "2026-01-31T12:00:00.000Z";

pub struct Dag<T>(pub T);

pub fn in_memory(storage: &MemoryStorage) -> Dag<Tracker<MemoryStorage>> {
    Dag(Tracker::new(storage.clone()))
}

impl<S: Storage> From<S> for Dag<Tracker<S>> {
    fn from(storage: S) -> Self {
        Self(Tracker::new(storage))
    }
}

fn read(outcome: Outcome) -> Result<Value, BusError> {
    outcome.map(|body| rmp_serde::from_slice(&body).unwrap())
}

impl<T: Service> Dag<T> {
    /// One call without a flush: the reply, and whether it waits for one.
    pub fn ask(&mut self, method: &str, arguments: Value) -> (Result<Value, BusError>, bool) {
        let body = rmp_serde::to_vec_named(&arguments).unwrap();
        match self.0.call(Call { capability: "pit.dag/1", method, body: &body }) {
            Answer::Now(outcome) => (read(outcome), false),
            Answer::AfterFlush(outcome) => (read(outcome), true),
        }
    }

    pub fn call(&mut self, method: &str, arguments: Value) -> Result<Value, BusError> {
        let (outcome, waits) = self.ask(method, arguments);
        if waits {
            self.0.flush()?;
        }
        outcome
    }

    pub fn ok(&mut self, method: &str, arguments: Value) -> Value {
        let shown: String = arguments.to_string().chars().take(300).collect();
        self.call(method, arguments).unwrap_or_else(|error| panic!("{method} {shown}: {error}"))
    }

    pub fn refused(&mut self, method: &str, arguments: Value) -> BusError {
        match self.call(method, arguments) {
            Ok(reply) => panic!("{method} gave {reply}"),
            Err(error) => error,
        }
    }

    pub fn code(&mut self, method: &str, arguments: Value) -> Code {
        self.refused(method, arguments).code
    }

    pub fn open(&mut self, run: &str, steps: Value) -> Value {
        self.ok("open", opening(run, steps))
    }

    pub fn start(&mut self, run: &str, step: &str) -> Value {
        let records = json!([{"kind": "started", "step": step, "ts": TS}]);
        self.ok("append", json!({"run": run, "records": records}))
    }

    pub fn complete(&mut self, run: &str, step: &str) -> Value {
        self.ok("complete", completion(run, step, 1))
    }

    pub fn state(&mut self, run: &str) -> Value {
        self.ok("state", json!({"run": run}))
    }

    pub fn kinds(&mut self, run: &str) -> Vec<String> {
        let journal = self.ok("journal", json!({"run": run}));
        let kind = |record: &Value| record["kind"].as_str().unwrap().to_owned();
        journal["records"].as_array().unwrap().iter().map(kind).collect()
    }

    /// The state of each step, in order.
    pub fn states(&mut self, run: &str) -> Vec<String> {
        let state = self.state(run);
        let name = |step: &Value| step["state"].as_str().unwrap().to_owned();
        state["steps"].as_array().unwrap().iter().map(name).collect()
    }
}

pub fn opening(run: &str, steps: Value) -> Value {
    json!({"run": run, "melody": "m", "version": "1.0.0", "digest": "d", "document": {"x": [1, null]},
        "inputs": {"a": 1, "b": 2}, "steps": steps, "ts": TS})
}

pub fn completion(run: &str, step: &str, attempt: u32) -> Value {
    json!({"run": run, "step": step, "attempt": attempt, "outputs": {"of": step, "n": 1},
        "quality": 0.5, "ts": TS})
}

pub fn failure(run: &str, step: &str) -> Value {
    json!({"run": run, "step": step, "attempt": 1, "error": {"class": "E"}, "ts": TS})
}

/// a, then b (hard) and c (soft), then d after both (hard).
pub fn diamond() -> Value {
    json!([{"id": "a"}, {"id": "b", "after": [["a", "hard"]]}, {"id": "c", "after": [["a", "soft"]]},
        {"id": "d", "after": [["b", "hard"], ["c", "hard"]]}])
}
