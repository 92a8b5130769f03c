//! What open runs take in memory: `cargo run --release --example memory [RUNS] [STEPS]` (5 × 20,000 = 100,000 steps).
//!
//! Runs of that many steps, each waiting for two others, are opened and kept open; then every step is completed with
//! one output. Resident memory of the process, beside that of an empty one.

use std::error::Error;

use serde_json::{json, Value};
use symphony_dag::DagService;
use symphony_wire::service::{Answer, Call, Service};

const WIDTH: usize = 100;
const TS: &str = "2026-01-31T12:00:00.000Z";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn call(dag: &mut DagService, method: &str, arguments: &Value) -> Result<()> {
    let body = rmp_serde::to_vec_named(arguments)?;
    match dag.call(Call { capability: "pit.dag/1", method, body: &body }) {
        Answer::Now(outcome) | Answer::AfterFlush(outcome) => {
            outcome.map(|_| ()).map_err(Into::into)
        }
    }
}

/// MiB of this process that are resident now.
fn resident() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

fn main() -> Result<()> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let runs = numbers.next().unwrap_or(Ok(5))?;
    let steps = numbers.next().unwrap_or(Ok(20_000))?;
    let folder = tempfile::tempdir()?;
    let mut dag = DagService::open(folder.path())?;
    let empty = resident()?;
    println!("empty:                {empty:8.1} MiB");
    for run in 0..runs {
        let step = |n: usize| {
            let before = (n / WIDTH).checked_sub(1).map(|row| row * WIDTH);
            let after: Vec<Value> = before
                .map(|first| {
                    [n % WIDTH, (n + 1) % WIDTH]
                        .map(|k| json!([format!("step-{}", first + k), "hard"]))
                })
                .into_iter()
                .flatten()
                .collect();
            json!({"id": format!("step-{n}"), "kind": format!("kind-{}", n % 10), "after": after})
        };
        let steps: Vec<Value> = (0..steps).map(step).collect();
        call(
            &mut dag,
            "open",
            &json!({"run": format!("r{run}"), "melody": "m", "version": "1.0.0", "digest": "d", "document": {},
                "inputs": {}, "steps": steps, "ts": TS}),
        )?;
        dag.flush()?;
    }
    let open = resident()?;
    let count = (runs * steps) as f64;
    println!(
        "{count:7} steps open:   {open:8.1} MiB, {:.0} bytes a step",
        (open - empty) * 1_048_576.0 / count
    );
    for run in 0..runs {
        let run = format!("r{run}");
        for n in 0..steps {
            let step = format!("step-{n}");
            let records = json!([{"kind": "started", "step": step, "attempt": 1, "data": {"player": "p"}, "ts": TS}]);
            call(&mut dag, "append", &json!({"run": run, "records": records}))?;
            let artifact = json!({"$artifact": format!("blake3:{n:064x}")});
            call(
                &mut dag,
                "complete",
                &json!({"run": run, "step": step, "attempt": 1, "outputs": {"result": artifact}, "ts": TS}),
            )?;
            if n % 1_000 == 999 {
                dag.flush()?;
            }
        }
        dag.flush()?;
    }
    let done = resident()?;
    println!(
        "all completed:        {done:8.1} MiB, {:.0} bytes a step",
        (done - empty) * 1_048_576.0 / count
    );
    Ok(())
}
