//! A tracker in a process of its own, killed at any moment: what it acknowledged is there, and nothing is half there.
#![allow(clippy::unwrap_used)] // A test may panic.

mod harness;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use harness::*;
use serde_json::{json, Value};
use symphony_dag::DagService;

const STORE: &str = "SYMPHONY_DAG_TEST_STORE";
const STEPS: usize = 2_000;

/// A chain: each completion frees the next link.
fn steps() -> Value {
    let link = |n: usize| {
        let before: Vec<Value> = n
            .checked_sub(1)
            .map(|before| json!([format!("s{before}"), "hard"]))
            .into_iter()
            .collect();
        json!({"id": format!("s{n}"), "after": before})
    };
    (0..STEPS).map(link).collect()
}

/// Not a test: what the child process does.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn child() {
    let store = std::env::var(STORE).unwrap();
    let mut dag = Dag(DagService::open(store.as_ref()).unwrap());
    dag.open("r", steps());
    dag.ok("resume", json!({"run": "r", "ts": TS}));
    let succeeded = dag.states("r").iter().filter(|state| *state == "succeeded").count();
    for n in succeeded..STEPS {
        let step = format!("s{n}");
        let records = json!([{"kind": "started", "step": step, "attempt": 1, "ts": TS}]);
        dag.ok("append", json!({"run": "r", "records": records}));
        println!("\nstarted {n}");
        dag.complete("r", &step);
        println!("\ncompleted {n}");
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for kill_after in [1, 2, 3, 10, 25, 40, 5, 60, 7, 31] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(STORE, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let says = |line: &String| line.starts_with("started ") || line.starts_with("completed ");
        let said = lines.by_ref().filter(says).nth(kill_after);
        child.kill().unwrap();
        let told = said.into_iter().chain(lines.filter(says)).last();
        child.wait().unwrap();
        let Some(last) = told else {
            // On a machine that was slow to kill, the last process came to its end.
            assert!(acknowledged == STEPS);
            break;
        };
        let (word, number) = last.split_once(' ').unwrap();
        let number: usize = number.parse().unwrap();
        let done = if word == "completed" { number + 1 } else { number };
        assert!(done >= acknowledged);
        acknowledged = done;

        let mut dag = Dag(DagService::open(folder.path()).unwrap());
        let states = dag.states("r");
        let succeeded = states.iter().filter(|state| *state == "succeeded").count();
        // One more may have reached the disk than could be told.
        assert!((done..=done + 1).contains(&succeeded), "{succeeded} of {done}");
        assert!(states[..succeeded].iter().all(|state| state == "succeeded"));
        if word == "started" && succeeded == number {
            assert_eq!(states[number], "running");
        }
    }
}
