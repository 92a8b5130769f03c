//! The golden bytes in `bus/vectors/contracts`: one run through every method, byte for byte.
//!
//! `SYMPHONY_WRITE_VECTORS=1` writes the file anew; whoever does so reads the difference.
#![allow(clippy::unwrap_used)] // A test may panic.

mod harness;

use std::fs;
use std::path::PathBuf;

use harness::*;
use serde_json::{json, Value};
use symphony_journal::memory::MemoryStorage;
use symphony_wire::service::{Answer, Call, Service};

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../bus/vectors/contracts/pit.dag-1.json")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

fn ts(second: usize) -> String {
    format!("2026-01-31T12:00:{second:02}.000Z")
}

/// Every method once, and an error of each kind.
fn session() -> Vec<(&'static str, &'static str, Value)> {
    let steps = json!([
        {"id": "a", "kind": "text.count/1"},
        {"id": "b", "after": [["a", "hard", 20.0]], "estimate_ms": 500.0},
        {"id": "c", "after": [["a", "hard"], ["b", "optional"]], "join": "any"},
        {"id": "d", "after": [["b", "hard"], ["c", "soft"]], "join": 2}]);
    let document = json!({"steps": [{"id": "a", "player": "ann", "fallbacks": ["bob"]},
        {"id": "b", "inputs": {"words": "$steps.a.n"}}]});
    let open = json!({"run": "r", "melody": "m", "version": "1.0.0", "digest": "d", "document": document,
        "inputs": {"text": {"type": "text", "value": "x"}}, "steps": steps, "ts": ts(0)});
    let broken = json!([{"id": "a", "after": [["b", "hard"]]}, {"id": "b", "after": [["a", "soft"]]},
        {"id": "a"}, {"id": "c", "after": [["x", "hard"]], "join": 3}]);
    let started = |step: &str, attempt: u32, second: usize| {
        json!({"run": "r", "records": [{"kind": "started", "step": step, "attempt": attempt,
            "data": {"player": "ann"}, "ts": ts(second)}]})
    };
    let done = |step: &str, attempt: u32, second: usize| json!({"run": "r", "step": step, "attempt": attempt, "outputs": {"n": 7}, "quality": 0.5, "ts": ts(second)});
    let mut bad = open.clone();
    (bad["run"], bad["steps"]) = (json!("bad"), broken);
    vec![
        ("open", "open", open.clone()),
        ("open again", "open", open),
        ("open with every fault", "open", bad),
        ("started", "append", started("a", 1, 1)),
        ("completed", "complete", done("a", 1, 3)),
        ("completed again", "complete", done("a", 1, 3)),
        ("not ready", "append", started("d", 1, 4)),
        (
            "grow",
            "grow",
            json!({"run": "r", "steps": [{"id": "b-2", "after": [["b", "hard"]]}],
                "after": {"d": [["b-2", "hard"]]}, "loop": {"name": "b", "most": 1}, "id": "g1", "ts": ts(5)}),
        ),
        (
            "grow beyond the bound",
            "grow",
            json!({"run": "r", "steps": [{"id": "b-3"}], "loop": {"name": "b", "most": 1}, "id": "g2", "ts": ts(5)}),
        ),
        (
            "grow with faults",
            "grow",
            json!({"run": "r", "steps": [{"id": "a"}, {"id": "n", "after": [["n", "hard"]]}], "id": "g2", "ts": ts(5)}),
        ),
        (
            "reroute",
            "reroute",
            json!({"run": "r", "drop": ["b-2"], "steps": [{"id": "e", "after": [["b", "hard"]]}],
                "after": {"d": [["e", "hard"]]}, "id": "g3", "ts": ts(6)}),
        ),
        (
            "another change of that id",
            "grow",
            json!({"run": "r", "steps": [{"id": "n"}], "id": "g3", "ts": ts(6)}),
        ),
        ("fallback", "append", started("c", 1, 7)),
        (
            "an attempt failed",
            "append",
            json!({"run": "r", "durable": true, "records": [{"kind": "failed", "step": "c", "attempt": 1,
                "data": {"error": {"class": "E"}}, "ts": ts(8)}]}),
        ),
        (
            "failed for good",
            "fail",
            json!({"run": "r", "step": "c", "attempt": 1, "error": {"class": "E"}, "ts": ts(9)}),
        ),
        ("skipped", "skip", json!({"run": "r", "step": "b", "reason": "condition", "ts": ts(10)})),
        (
            "plan",
            "plan",
            json!({"run": "r", "broken": ["a", "c"],
                "inverses": [{"of": "text.count/1", "player": "uncount", "gives": ["text"]}]}),
        ),
        ("plan for nothing known", "plan", json!({"run": "r", "broken": ["nobody"]})),
        ("redo", "redo", json!({"run": "r", "steps": ["a"], "id": "x1", "ts": ts(11)})),
        (
            "redo of what has not ended",
            "redo",
            json!({"run": "r", "steps": ["a"], "id": "x2", "ts": ts(11)}),
        ),
        (
            "finish",
            "finish",
            json!({"run": "r", "outcome": "failed", "data": {"why": "c"}, "ts": ts(12)}),
        ),
        ("nothing follows", "resume", json!({"run": "r", "ts": ts(13)})),
        ("rollback", "rollback", json!({"run": "r", "to": 4, "id": "b1", "ts": ts(14)})),
        (
            "rollback to nowhere",
            "rollback",
            json!({"run": "r", "to": 99, "id": "b2", "ts": ts(14)}),
        ),
        (
            "taken back",
            "reroute",
            json!({"run": "r", "drop": ["b-2"], "steps": [{"id": "e", "after": [["b", "hard"]]}],
                "after": {"d": [["e", "hard"]]}, "id": "g3", "ts": ts(6)}),
        ),
        ("resume", "resume", json!({"run": "r", "ts": ts(15)})),
        ("state", "state", json!({"run": "r"})),
        ("state of nothing", "state", json!({"run": "nobody"})),
        ("learned", "learned", json!({"kind": "text.count/1"})),
        ("runs", "runs", json!({"limit": 1})),
        ("journal", "journal", json!({"run": "r", "after": 3, "limit": 2})),
        ("no such method", "dance", json!({"run": "r"})),
        ("no name of a run", "state", json!({"run": "../x"})),
        ("completed with other outputs", "complete", {
            let mut other = done("a", 1, 16);
            other["outputs"] = json!({"n": 8});
            other
        }),
        (
            "failed for good: what?",
            "fail",
            json!({"run": "r", "step": "nobody", "attempt": 1, "error": {"class": "E"}, "ts": ts(16)}),
        ),
        ("skipped without a reason", "skip", json!({"run": "r", "step": "d", "ts": ts(16)})),
        ("no such outcome", "finish", json!({"run": "r", "outcome": "won", "ts": ts(16)})),
        ("pairs without a number", "learned", json!({"limit": "all"})),
        ("runs without a number", "runs", json!({"limit": "all"})),
        ("journal of nothing", "journal", json!({"run": "nobody"})),
    ]
}

fn play(dag: &mut impl Service, method: &str, body: &[u8]) -> (&'static str, Vec<u8>, Value) {
    let (Answer::Now(outcome) | Answer::AfterFlush(outcome)) =
        dag.call(Call { capability: "pit.dag/1", method, body });
    dag.flush().unwrap();
    match outcome {
        Ok(reply) => {
            let value = rmp_serde::from_slice(&reply).unwrap();
            ("reply", reply, value)
        }
        Err(error) => {
            let bytes = rmp_serde::to_vec_named(&error).unwrap();
            let value = rmp_serde::from_slice(&bytes).unwrap();
            ("error", bytes, value)
        }
    }
}

#[test]
fn every_method_says_what_the_golden_bytes_say() {
    let mut dag = in_memory(&MemoryStorage::new()).0;
    if std::env::var("SYMPHONY_WRITE_VECTORS").is_ok() {
        let mut vectors: Vec<Value> = Vec::new();
        for (name, method, request) in session() {
            let body = rmp_serde::to_vec_named(&request).unwrap();
            let (outcome, bytes, value) = play(&mut dag, method, &body);
            let mut vector = json!({"name": name, "method": method, "request": request,
                "request_hex": hex(&body)});
            vector[outcome] = value;
            vector[format!("{outcome}_hex")] = json!(hex(&bytes));
            vectors.push(vector);
        }
        fs::create_dir_all(file().parent().unwrap()).unwrap();
        fs::write(file(), serde_json::to_string_pretty(&vectors).unwrap() + "\n").unwrap();
        return;
    }
    let vectors: Vec<Value> = serde_json::from_slice(&fs::read(file()).unwrap()).unwrap();
    assert_eq!(vectors.len(), session().len());
    for vector in vectors {
        let (name, method) = (&vector["name"], vector["method"].as_str().unwrap());
        let body = unhex(vector["request_hex"].as_str().unwrap());
        let request: Value = rmp_serde::from_slice(&body).unwrap();
        assert_eq!(request, vector["request"], "{name}");
        let (outcome, bytes, value) = play(&mut dag, method, &body);
        assert_eq!(value, vector[outcome], "{name}");
        assert_eq!(hex(&bytes), vector[format!("{outcome}_hex")].as_str().unwrap(), "{name}");
    }
}
