//! What the metadata of many artifacts takes, in memory and on disk, and what a lookup takes among them.
//!
//! `artifacts_memory FOLDER COUNT [SAME]`: puts COUNT tiny artifacts with name and lineage below FOLDER, each SAME
//! of them (1) with one content, so that a disk need not hold a file for each, and prints, after each tenth, the
//! resident memory of the process, the size of the index and the pace; then what `stat`, `list`, a start and a
//! start after a kill take. From two counts anyone sees what grows and what does not.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use symphony_artifacts::faults::Faults;
use symphony_artifacts::info::{About, Made};
use symphony_artifacts::store::Query;
use symphony_artifacts::{Reference, Store};

const BATCH: u64 = 2_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, count, same @ ..] = arguments.as_slice() else {
        return Err("usage: artifacts_memory FOLDER COUNT [SAME]".into());
    };
    let count: u64 = count.parse()?;
    let same: u64 = same.first().map_or(Ok(1), |same| same.parse())?;
    let folder = Path::new(folder).join(format!("artifacts-memory-{}", std::process::id()));
    fs::create_dir(&folder)?;
    let outcome = measure(&folder, count, same.max(1));
    fs::remove_dir_all(&folder)?;
    outcome
}

fn measure(folder: &Path, count: u64, same: u64) -> Result<(), Box<dyn Error>> {
    let path = folder.join("store");
    let mut store = Store::open(&path, Faults::default())?;
    let begin = Instant::now();
    for first in (0..count).step_by(BATCH as usize) {
        let numbers = first..first + BATCH;
        let contents: Vec<[u8; 8]> =
            numbers.clone().map(|number| (number / same).to_le_bytes()).collect();
        let items = contents.iter().map(<[u8; 8]>::as_slice);
        let items: Vec<_> = items.zip(numbers.map(|number| about(number, same))).collect();
        store.put(&items)?;
        store.flush()?;
        let done = first + BATCH;
        if done.is_multiple_of((count / 10).max(BATCH)) {
            let index = fs::metadata(path.join("index.redb"))?.len();
            println!(
                "{done:>10} artifacts: {:>6.1} MiB resident, index {:>8.1} MiB ({:.0} bytes each), {:>7.0} put/s",
                resident()?,
                index as f64 / 1048576.0,
                index as f64 / done as f64,
                done as f64 / begin.elapsed().as_secs_f64(),
            );
        }
    }
    let begin = Instant::now();
    for number in 0..1_000 {
        store.stat(&Reference::of(&(number * 7919 % count / same).to_le_bytes()))?;
    }
    println!("stat: {:.1} µs", begin.elapsed().as_secs_f64() * 1e3);
    let begin = Instant::now();
    let mut listed = 0;
    store.list(&Query { run: Some("run-1".to_owned()), ..Query::default() }, |_, _| {
        listed += 1;
        Ok(listed < 100)
    })?;
    println!("list of {listed}: {:.1} ms", begin.elapsed().as_secs_f64() * 1e3);
    println!("{:.1} MiB resident", resident()?);
    let crashed = folder.join("crashed");
    fs::create_dir_all(crashed.join("blobs"))?;
    for name in ["format", "index.redb"] {
        fs::copy(path.join(name), crashed.join(name))?;
    }
    drop(store);
    for (case, path) in [("after a clean end", &path), ("after a kill", &crashed)] {
        let begin = Instant::now();
        drop(Store::open(path, Faults::default())?);
        println!("start {case}: {:.1} ms", begin.elapsed().as_secs_f64() * 1e3);
    }
    Ok(())
}

fn about(number: u64, same: u64) -> About {
    let made = Made {
        run: Some(format!("run-{}", number / 20)),
        step: Some(format!("step-{}", number % 20)),
        player: Some(format!("player-{}", number % 7)),
        inputs: Some(vec![Reference::of(&(number.saturating_sub(1) / same).to_le_bytes())]),
        ..Made::default()
    };
    About {
        name: Some(format!("output-{}.json", number % 20)),
        media: Some("application/octet-stream".to_owned()),
        made: Some(made),
        ts: "2026-01-01T00:00:00.000Z".to_owned(),
    }
}

/// MiB of this process, without the pages of files that the system may drop.
fn resident() -> Result<f64, Box<dyn Error>> {
    let status = fs::read_to_string(PathBuf::from("/proc/self/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib: f64 = line.unwrap_or("0 kB").trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
