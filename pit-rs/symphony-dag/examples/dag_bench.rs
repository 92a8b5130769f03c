//! Measures the bars of the DAG Tracker: `cargo run --release --example dag_bench [FOLDER]`.
//!
//! One run of 20,000 steps, 100 wide, each step waiting for two of the rank before it: open, completion (a
//! started and a completed record; without and with a group commit), recovery, cold start. Beside it an
//! fsync loop over the same bytes.

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{json, Value};
use symphony_dag::DagService;
use symphony_wire::service::{Answer, Call, Service};

const STEPS: usize = 20_000;
const WIDTH: usize = 100;
const TS: &str = "2026-01-31T12:00:00.000Z";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn call(dag: &mut DagService, method: &str, body: &[u8]) -> Result<Vec<u8>> {
    match dag.call(Call { capability: "pit.dag/1", method, body }) {
        Answer::Now(outcome) | Answer::AfterFlush(outcome) => Ok(outcome?),
    }
}

fn id(step: usize) -> String {
    format!("step-{step}")
}

fn opening(run: &str, steps: usize) -> Result<Vec<u8>> {
    let step = |n: usize| {
        let before = (n / WIDTH).checked_sub(1).map(|row| row * WIDTH);
        let after: Vec<Value> = before
            .map(|first| [n % WIDTH, (n + 1) % WIDTH].map(|k| json!([id(first + k), "hard"])))
            .into_iter()
            .flatten()
            .collect();
        json!({"id": id(n), "after": after})
    };
    let steps: Vec<Value> = (0..steps).map(step).collect();
    Ok(rmp_serde::to_vec_named(&json!({"run": run, "melody": "bench", "version": "1.0.0",
        "digest": "d", "document": {}, "inputs": {}, "steps": steps, "ts": TS}))?)
}

fn started(run: &str, step: usize) -> Result<Vec<u8>> {
    let records = json!([{"kind": "started", "step": id(step), "attempt": 1, "ts": TS}]);
    Ok(rmp_serde::to_vec_named(&json!({"run": run, "records": records}))?)
}

fn completed(run: &str, step: usize) -> Result<Vec<u8>> {
    let artifact = json!({"$artifact": format!("blake3:{step:064x}")});
    Ok(rmp_serde::to_vec_named(&json!({"run": run, "step": id(step), "attempt": 1,
        "outputs": {"result": artifact}, "quality": 0.9, "ts": TS}))?)
}

fn per(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}

/// Plays a whole run; flushes after every `group` completions. Returns the time within completions.
fn play(
    dag: &mut DagService,
    run: &str,
    steps: usize,
    group: usize,
) -> Result<(Duration, Duration)> {
    let bodies = (0..steps)
        .map(|step| Ok((started(run, step)?, completed(run, step)?)))
        .collect::<Result<Vec<_>>>()?;
    let (mut starting, mut completing) = (Duration::ZERO, Duration::ZERO);
    for (step, (start, complete)) in bodies.iter().enumerate() {
        let begin = Instant::now();
        call(dag, "append", start)?;
        let middle = Instant::now();
        call(dag, "complete", complete)?;
        starting += middle - begin;
        completing += middle.elapsed();
        if (step + 1) % group == 0 {
            dag.flush()?;
        }
    }
    dag.flush()?;
    Ok((starting, completing))
}

fn open(store: &Path) -> Result<DagService> {
    Ok(DagService::open(store)?)
}

fn main() -> Result<()> {
    let parent = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(parent)?;
    let store = folder.path().join("dag");

    let begin = Instant::now();
    let mut dag = open(&store)?;
    println!("store, new:              {:9.2} ms", begin.elapsed().as_secs_f64() * 1e3);

    let body = opening("large", STEPS)?;
    let begin = Instant::now();
    call(&mut dag, "open", &body)?;
    dag.flush()?;
    println!(
        "open/20000:              {:9.3} s   ({} bytes)",
        begin.elapsed().as_secs_f64(),
        body.len()
    );

    let (starting, completing) = play(&mut dag, "large", STEPS, STEPS)?;
    println!("append started/20000:    {:9.2} µs each", per(starting, STEPS));
    println!("complete/20000:          {:9.2} µs each", per(completing, STEPS));
    drop(dag);

    let begin = Instant::now();
    let mut dag = open(&store)?;
    println!("store, again:            {:9.2} ms", begin.elapsed().as_secs_f64() * 1e3);
    let resume = rmp_serde::to_vec_named(&json!({"run": "large", "ts": TS}))?;
    call(&mut dag, "resume", &resume)?;
    dag.flush()?;
    println!(
        "recover/20000:           {:9.3} s   (store, replay, resume)",
        begin.elapsed().as_secs_f64()
    );
    drop(dag);

    let mut dag = open(&store)?;
    let begin = Instant::now();
    call(&mut dag, "runs", &[0x80])?;
    println!("runs, one pass:          {:9.2} ms", begin.elapsed().as_secs_f64() * 1e3);

    const DURABLE: usize = 2_000;
    for group in [1, 4, 16, 100] {
        let run = format!("group-{group}");
        call(&mut dag, "open", &opening(&run, DURABLE)?)?;
        dag.flush()?;
        let begin = Instant::now();
        play(&mut dag, &run, DURABLE, group)?;
        let rate = DURABLE as f64 / begin.elapsed().as_secs_f64();
        println!("durable, {group:3} a flush:     {rate:9.0} steps/s");
    }
    let file = File::create(folder.path().join("floor"))?;
    let begin = Instant::now();
    for n in 0..DURABLE as u64 {
        file.write_all_at(&[1; 300], n * 300)?;
        file.sync_data()?;
    }
    let rate = DURABLE as f64 / begin.elapsed().as_secs_f64();
    println!("fsync loop:              {rate:9.0} appends/s");
    Ok(())
}
