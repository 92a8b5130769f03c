//! How fast the store is beside the least that any durable store does, in one run, alternating.
//!
//! `artifacts_bench [FOLDER] [MIB]`: works below FOLDER (default: the temporary folder) with contents of MIB MiB
//! (default 256). `floor` is a loop that reads, hashes with BLAKE3, writes and syncs (put) or reads, hashes and
//! writes (get). Medians of five. Then the time a start takes after a clean end and after kill -9.

use std::error::Error;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use symphony_artifacts::collect::Limits;
use symphony_artifacts::faults::Faults;
use symphony_artifacts::info::About;
use symphony_artifacts::relative::RelativePath;
use symphony_artifacts::store::Wanted;
use symphony_artifacts::{Reference, Store};

type Outcome<T> = Result<T, Box<dyn Error>>;

const ROUNDS: u64 = 5;
const MIB: u64 = 1024 * 1024;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    let mib: u64 = arguments.next().map_or(Ok(256), |mib| mib.parse())?;
    let folder = parent.join(format!("artifacts-bench-{}", std::process::id()));
    fs::create_dir(&folder)?;
    let outcome = large(&folder, "noise", mib, noise)
        .and_then(|()| large(&folder, "text", mib, prose))
        .and_then(|()| small(&folder))
        .and_then(|()| start(&folder));
    fs::remove_dir_all(&folder)?;
    outcome
}

fn large(folder: &Path, name: &str, mib: u64, make: fn(u64, &mut [u8])) -> Outcome<()> {
    let mut store = Store::open(&folder.join(name), Faults::default())?;
    let (mut puts, mut gets, mut put_floors, mut get_floors) = (vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        let outbox = folder.join(format!("outbox-{name}-{round}"));
        fs::create_dir(&outbox)?;
        let mut file = File::create(outbox.join("file"))?;
        let mut chunk = vec![0; MIB as usize];
        for number in 0..mib {
            make(round * mib + number, &mut chunk);
            file.write_all(&chunk)?;
        }
        file.sync_all()?;

        let (source, target) = (outbox.join("file"), outbox.join("floor"));
        let about = About { ts: "1".to_owned(), ..About::default() };
        let wanted = [Wanted { path: RelativePath::parse("file", "path")?, about }];
        let limits = Limits { bytes: u64::MAX, files: 1 };
        let mut reference = Reference::of(b"");
        let (put, floor) = alternating(
            round,
            || {
                reference = store.collect(&outbox, &wanted, limits)?[0].put.reference;
                Ok(store.flush()?)
            },
            || hash_and_write(&source, &target, true),
        )?;
        puts.push(put);
        put_floors.push(floor);
        let staged = [(reference, RelativePath::parse("staged", "path")?)];
        let (get, floor) = alternating(
            round,
            || {
                store.stage(&outbox, &staged, false)?;
                Ok(())
            },
            || hash_and_write(&source, &outbox.join("floor-2"), false),
        )?;
        gets.push(get);
        get_floors.push(floor);
        fs::remove_dir_all(&outbox)?;
    }
    report(&format!("put {mib} MiB of {name}"), "MiB/s", mib, puts, put_floors);
    report(&format!("get {mib} MiB of {name}"), "MiB/s", mib, gets, get_floors);
    Ok(())
}

fn small(folder: &Path) -> Outcome<()> {
    const BATCH: u64 = 1000;
    let mut store = Store::open(&folder.join("small"), Faults::default())?;
    let floor = folder.join("floor");
    fs::create_dir(&floor)?;
    let (mut ours, mut floors) = (vec![], vec![]);
    for round in 0..ROUNDS {
        let contents: Vec<_> = (0..BATCH).map(|number| kibibyte(round * BATCH + number)).collect();
        floors.push(timed(|| {
            for (number, content) in contents.iter().enumerate() {
                let mut file = File::create(floor.join(format!("{round}-{number}")))?;
                std::hint::black_box(blake3::hash(content));
                file.write_all(content)?;
                file.sync_all()?;
            }
            Ok(())
        })?);
        let named = |number| About {
            name: Some(format!("{round}/{number}")),
            ts: "1".to_owned(),
            ..About::default()
        };
        let items: Vec<_> =
            contents.iter().enumerate().map(|(n, data)| (data.as_slice(), named(n))).collect();
        ours.push(timed(|| {
            // As they come from callers: one put each, one flush for those that arrive together.
            for batch in items.chunks(100) {
                for item in batch {
                    store.put(std::slice::from_ref(item))?;
                }
                store.flush()?;
            }
            Ok(())
        })?);
    }
    report("put 1 KiB, 100 in flight", "objects/s", BATCH, ours, floors);
    Ok(())
}

fn start(folder: &Path) -> Outcome<()> {
    let path = folder.join("large");
    let mut store = Store::open(&path, Faults::default())?;
    for batch in 0..20 {
        let contents: Vec<_> =
            (0..1000).map(|number| kibibyte(1 << 40 | batch << 20 | number)).collect();
        let about = |number| About {
            name: Some(format!("{batch}/{number}")),
            ts: "1".to_owned(),
            ..About::default()
        };
        let items: Vec<_> =
            contents.iter().enumerate().map(|(n, data)| (data.as_slice(), about(n))).collect();
        store.put(&items)?;
        store.flush()?;
    }
    // What a killed process leaves: its files as they are, the index without its clean end.
    let crashed = folder.join("crashed");
    fs::create_dir_all(crashed.join("blobs"))?;
    fs::copy(path.join("format"), crashed.join("format"))?;
    fs::copy(path.join("index.redb"), crashed.join("index.redb"))?;
    drop(store);
    for (case, path) in [
        ("after a clean end", &path),
        ("after a kill", &crashed),
        ("of a new store", &folder.join("new")),
    ] {
        let took = timed(|| {
            drop(Store::open(path, Faults::default())?);
            Ok(())
        })?;
        println!(
            "{:<34}{:>10.1} ms",
            format!("start {case}, 20,000 blobs"),
            took.as_secs_f64() * 1e3
        );
    }
    Ok(())
}

fn hash_and_write(source: &Path, target: &Path, sync: bool) -> Outcome<()> {
    let (mut source, mut target) = (File::open(source)?, File::create(target)?);
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let length = source.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        hasher.update(&buffer[..length]);
        target.write_all(&buffer[..length])?;
    }
    std::hint::black_box(hasher.finalize());
    if sync {
        target.sync_all()?;
    }
    Ok(())
}

/// Times both, the second one first in every other round: the disk is slower while it still writes back.
fn alternating(
    round: u64,
    ours: impl FnOnce() -> Outcome<()>,
    floor: impl FnOnce() -> Outcome<()>,
) -> Outcome<(Duration, Duration)> {
    if round.is_multiple_of(2) {
        let ours = timed(ours)?;
        Ok((ours, timed(floor)?))
    } else {
        let floor = timed(floor)?;
        Ok((timed(ours)?, floor))
    }
}

fn timed(work: impl FnOnce() -> Outcome<()>) -> Outcome<Duration> {
    let begin = Instant::now();
    work()?;
    Ok(begin.elapsed())
}

fn report(case: &str, unit: &str, amount: u64, mut ours: Vec<Duration>, mut floors: Vec<Duration>) {
    ours.sort();
    floors.sort();
    let [ours, floor] =
        [ours, floors].map(|times| amount as f64 / times[times.len() / 2].as_secs_f64());
    println!("{case:<34}{ours:>10.0} {unit:<10} floor {floor:>8.0}, ratio {:.2}", ours / floor);
}

fn noise(seed: u64, bytes: &mut [u8]) {
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(bytes);
}

/// Lines such as a log or a table has.
fn prose(seed: u64, bytes: &mut [u8]) {
    let mut text = Vec::with_capacity(bytes.len() + 100);
    let mut number = seed << 20;
    while text.len() < bytes.len() {
        number += 1;
        let value = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        text.extend(
            format!(
                "{number:012}, user-{:05}, opened the order {value:016x} and paid {}.{:02}\n",
                value % 9973,
                value % 501,
                value % 100
            )
            .bytes(),
        );
    }
    bytes.copy_from_slice(&text[..bytes.len()]);
}

fn kibibyte(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    noise(seed, &mut bytes);
    bytes
}
