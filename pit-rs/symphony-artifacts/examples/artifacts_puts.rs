//! Puts batch after batch into a store and prints a line for each that is acknowledged: the victim of the
//! crash tests, and a small example of the library.
//!
//! `artifacts_puts STORE SEED BATCHES [STEP]`: batch `b` holds the contents of [`content`]; with STEP the process
//! kills itself before that step on the way to disk.

use std::env;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use symphony_artifacts::faults::Faults;
use symphony_artifacts::info::{About, Made};
use symphony_artifacts::Store;

/// Contents in one batch.
const BATCH: u64 = 20;

/// The same for the same numbers: the tests compute it, too.
fn content(seed: u64, batch: u64, number: u64) -> Vec<u8> {
    let length = [0, 10, 900, 70_000][(number % 4) as usize];
    let mut hasher = blake3::Hasher::new();
    for part in [seed, batch, number] {
        hasher.update(&part.to_le_bytes());
    }
    let mut bytes = vec![0; length];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().collect();
    let [_, store, seed, batches, rest @ ..] = arguments.as_slice() else {
        return Err("usage: artifacts_puts STORE SEED BATCHES [STEP]".into());
    };
    let (seed, batches): (u64, u64) = (seed.parse()?, batches.parse()?);
    let last = rest.first().map(|step| step.parse::<u64>()).transpose()?.unwrap_or(u64::MAX);
    let steps = AtomicU64::new(0);
    let faults = Faults::new(move |_| {
        if steps.fetch_add(1, Ordering::Relaxed) == last {
            rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            )?;
        }
        Ok(())
    });
    let mut store = Store::open(Path::new(store), faults)?;
    let mut out = std::io::stdout().lock();
    for batch in 0..batches {
        let contents: Vec<_> = (0..BATCH).map(|number| content(seed, batch, number)).collect();
        let about = |number: usize| About {
            name: Some(format!("{batch}/{number}")),
            made: Some(Made { run: Some(format!("seed-{seed}")), ..Made::default() }),
            media: None,
            ts: batch.to_string(),
        };
        let items: Vec<_> = contents
            .iter()
            .enumerate()
            .map(|(number, data)| (data.as_slice(), about(number)))
            .collect();
        let puts = store.put(&items)?;
        store.flush()?;
        for put in puts {
            write!(out, "{} ", put.reference)?;
        }
        writeln!(out)?;
        out.flush()?;
    }
    Ok(())
}
