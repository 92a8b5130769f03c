//! Plays workflows by the tracker's ranks: `cargo run --release --example schedule FOLDER [BYTES_PER_SECOND]`.
//!
//! The folder holds `index.json` (a list of `{file, ref: {SLOTS: {lower_bound, rank_u_list, fifo, spt}}}`) and the files
//! that it names (JSON, gzipped). On 8, 32 and 128 equal slots: the makespan ÷ that of upward-rank list scheduling (as in the
//! index, and as computed here) and of FIFO. On slots of four speeds with transfers: ÷ HEFT, with the tracker asked as
//! the run goes on (`online`) and with all ranks taken at once (`planned`).

#[path = "../tests/harness/schedule.rs"]
mod schedule;

use std::error::Error;
use std::fs::File;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use schedule::{Machines, Played, Workflow};
use serde_json::Value;

const SLOTS: [usize; 3] = [8, 32, 128];
/// A gigabit network.
const BANDWIDTH: f64 = 125e6;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("name the folder of the workflows")?);
    let bandwidth = arguments.next().map_or(Ok(BANDWIDTH), |text| text.parse())?;
    let index: Vec<Value> = serde_json::from_reader(File::open(folder.join("index.json"))?)?;
    println!(
        "{:46} {:>5} {:>5} {:>10} | {:>7} {:>7} {:>7} {:>7} | {:>7} {:>7}",
        "workflow",
        "steps",
        "slots",
        "makespan",
        "÷index",
        "÷rank",
        "÷fifo",
        "÷best",
        "online",
        "planned"
    );
    let mut worst = [0.0_f64; 4];
    for entry in &index {
        let name = entry["file"].as_str().ok_or("an entry of the index names no file")?;
        let stored = serde_json::from_reader(GzDecoder::new(File::open(folder.join(name))?))?;
        let workflow = Workflow::read(&stored);
        for slots in SLOTS {
            let known = &entry["ref"][slots.to_string()];
            let told = |key: &str| known[key].as_f64().unwrap_or(f64::NAN);
            let makespan = Played::list(&workflow, slots);
            let simple = workflow.fifo(slots).min(workflow.shortest(slots));
            let machines = Machines::mixed(slots, bandwidth);
            let heft = workflow.heft(&machines);
            let ratios = [
                makespan / told("rank_u_list"),
                makespan / workflow.by_rank(slots),
                makespan / workflow.fifo(slots),
                makespan / simple.min(told("random_mean")),
                Played::earliest(&workflow, &machines) / heft,
                Played::planned(&workflow, &machines) / heft,
            ];
            println!(
                "{:46} {:5} {slots:5} {makespan:10.2} | {:7.4} {:7.4} {:7.4} {:7.4} | {:7.4} {:7.4}",
                name.trim_end_matches(".json.gz"),
                workflow.len(),
                ratios[0],
                ratios[1],
                ratios[2],
                ratios[3],
                ratios[4],
                ratios[5]
            );
            for (worst, ratio) in worst.iter_mut().zip([ratios[0], ratios[3], ratios[4], ratios[5]])
            {
                *worst = worst.max(ratio);
            }
        }
    }
    println!(
        "worst: ÷index {:.4}, ÷ the best of fifo, shortest first, random {:.4}, online ÷ HEFT {:.4}, planned ÷ HEFT {:.4}",
        worst[0], worst[1], worst[2], worst[3]
    );
    Ok(())
}
