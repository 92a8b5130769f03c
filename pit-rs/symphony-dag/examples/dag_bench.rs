//! Measures one bar of the DAG Tracker: `cargo run --release --example dag_bench CASE [FOLDER]`.
//!
//! One run of 20,000 steps, 100 wide, each waiting for two of the row before. `open`: until it is durable, s. `complete`:
//! a completion, µs (`complete/started`: the record before it). `recover`: store, replay and resume of the finished run,
//! s. `durable`: completions a second on the disk of FOLDER with 16 to a flush (`durable/N`: N), and `fsync-loop`: records
//! as large, one fsync each. `changes`: growth, plan and rollback. Each line: name (behind `:`
//! the unit, where it has one of its own) and value.

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
        json!({"id": id(n), "kind": format!("kind-{}", n % 10), "after": after})
    };
    let steps: Vec<Value> = (0..steps).map(step).collect();
    Ok(rmp_serde::to_vec_named(&json!({"run": run, "melody": "bench", "version": "1.0.0",
        "digest": "d", "document": {}, "inputs": {}, "steps": steps, "ts": TS}))?)
}

fn started(run: &str, step: usize) -> Result<Vec<u8>> {
    let records = json!([{"kind": "started", "step": id(step), "attempt": 1, "ts": TS,
        "data": {"player": "bench"}}]);
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

fn seconds(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64()
}

fn tell(name: &str, value: f64) {
    println!("{name} {value}");
}

/// A store with the large run open.
fn opened(store: &Path) -> Result<DagService> {
    let mut dag = open(store)?;
    call(&mut dag, "open", &opening("large", STEPS)?)?;
    dag.flush()?;
    Ok(dag)
}

fn measure_open(store: &Path) -> Result<()> {
    let mut dag = open(store)?;
    let body = opening("large", STEPS)?;
    let begin = Instant::now();
    call(&mut dag, "open", &body)?;
    dag.flush()?;
    tell("open", seconds(begin));
    Ok(())
}

fn measure_complete(store: &Path) -> Result<()> {
    let mut dag = opened(store)?;
    let (starting, completing) = play(&mut dag, "large", STEPS, STEPS)?;
    tell("complete", per(completing, STEPS));
    tell("complete/started", per(starting, STEPS));
    Ok(())
}

fn measure_recover(store: &Path) -> Result<()> {
    let mut dag = opened(store)?;
    play(&mut dag, "large", STEPS, STEPS)?;
    drop(dag);
    let begin = Instant::now();
    let mut dag = open(store)?;
    let resume = rmp_serde::to_vec_named(&json!({"run": "large", "ts": TS}))?;
    call(&mut dag, "resume", &resume)?;
    dag.flush()?;
    tell("recover", seconds(begin));
    Ok(())
}

fn measure_durable(store: &Path) -> Result<()> {
    const DURABLE: usize = 2_000;
    let mut dag = open(store)?;
    for (group, name) in [(16, "durable"), (1, "durable/1"), (4, "durable/4"), (100, "durable/100")]
    {
        let run = format!("group-{group}");
        call(&mut dag, "open", &opening(&run, DURABLE)?)?;
        dag.flush()?;
        let begin = Instant::now();
        play(&mut dag, &run, DURABLE, group)?;
        tell(name, DURABLE as f64 / seconds(begin));
    }
    let file = File::create(store.join("floor"))?;
    let begin = Instant::now();
    for n in 0..DURABLE as u64 {
        file.write_all_at(&[1; 300], n * 300)?;
        file.sync_data()?;
    }
    tell("fsync-loop", DURABLE as f64 / seconds(begin));
    Ok(())
}

fn measure_changes(store: &Path) -> Result<()> {
    const GROWN: usize = 1_000;
    let mut dag = opened(store)?;
    let begin = Instant::now();
    for n in 0..GROWN {
        let before = if n == 0 { id(STEPS - 1) } else { format!("grown-{}", n - 1) };
        let grow = json!({"run": "large", "id": format!("g{n}"), "ts": TS,
            "steps": [{"id": format!("grown-{n}"), "after": [[before, "hard"]]}]});
        call(&mut dag, "grow", &rmp_serde::to_vec_named(&grow)?)?;
    }
    tell("changes/grow:µs", per(begin.elapsed(), GROWN));
    play(&mut dag, "large", STEPS, STEPS)?;
    let plan = json!({"run": "large", "broken": [id(0)]});
    let begin = Instant::now();
    call(&mut dag, "plan", &rmp_serde::to_vec_named(&plan)?)?;
    tell("changes/plan:ms", seconds(begin) * 1e3);
    let back = json!({"run": "large", "to": STEPS, "id": "back", "ts": TS});
    let begin = Instant::now();
    call(&mut dag, "rollback", &rmp_serde::to_vec_named(&back)?)?;
    dag.flush()?;
    tell("changes/rollback", seconds(begin));
    Ok(())
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let case = arguments.next().ok_or("name a case")?;
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(parent)?;
    let store = folder.path().join("dag");
    match case.as_str() {
        "open" => measure_open(&store),
        "complete" => measure_complete(&store),
        "recover" => measure_recover(&store),
        "durable" => measure_durable(&store),
        "changes" => measure_changes(&store),
        other => Err(format!("there is no case {other}").into()),
    }
}
