//! One measurement of `scripts/bench artifacts`; prints how many seconds it took.
//!
//! | arguments | measured |
//! |---|---|
//! | `make KIND MIB SEED FILE` | nothing: writes `noise` or `text` |
//! | `scatter COUNT SEED FOLDER` | nothing: writes files of 1 KiB |
//! | `put STORE FILE` | a file collected, durable |
//! | `get STORE FILE TARGET` | the same content staged as TARGET, checked, not synced |
//! | `put-many STORE FOLDER` | each file of the folder put, 100 to a flush, durable |
//! | `write FILE TARGET` | the floor: read, hashed, written and synced |
//! | `read FILE TARGET` | the floor: read, hashed, written |
//! | `write-many FOLDER TARGET` | the floor: each file hashed, written and synced |

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use symphony_artifacts::collect::Limits;
use symphony_artifacts::faults::Faults;
use symphony_artifacts::info::About;
use symphony_artifacts::relative::RelativePath;
use symphony_artifacts::store::Wanted;
use symphony_artifacts::{Reference, Store};

type Outcome<T> = Result<T, Box<dyn Error>>;

const MIB: usize = 1024 * 1024;
const IN_FLIGHT: usize = 100;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let took = match arguments[..] {
        ["make", kind, mib, seed, file] => return make(kind, mib.parse()?, seed.parse()?, file),
        ["scatter", count, seed, folder] => return scatter(count.parse()?, seed.parse()?, folder),
        ["put", store, file] => put(store, Path::new(file))?,
        ["get", store, file, target] => get(store, file, Path::new(target))?,
        ["put-many", store, folder] => put_many(store, folder)?,
        ["write", file, target] => hash_and_write(file, target, true)?,
        ["read", file, target] => hash_and_write(file, target, false)?,
        ["write-many", folder, target] => write_many(folder, Path::new(target))?,
        _ => return Err("usage: see the program's first lines".into()),
    };
    println!("{}", took.as_secs_f64());
    Ok(())
}

fn about(name: Option<String>) -> About {
    About { name, ts: "2026-01-01T00:00:00.000Z".to_owned(), ..About::default() }
}

fn part(path: &Path) -> Outcome<(&Path, RelativePath)> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or("a path without a name")?;
    Ok((path.parent().ok_or("a path without a folder")?, RelativePath::parse(name, "path")?))
}

fn put(store: &str, file: &Path) -> Outcome<Duration> {
    let mut store = Store::open(Path::new(store), Faults::default())?;
    let (folder, path) = part(file)?;
    let wanted = [Wanted { path, about: about(None) }];
    let begin = Instant::now();
    store.collect(folder, &wanted, Limits { bytes: u64::MAX, files: 1 })?;
    store.flush()?;
    Ok(begin.elapsed())
}

fn get(store: &str, file: &str, target: &Path) -> Outcome<Duration> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(file)?)?;
    let reference = Reference::from(*hasher.finalize().as_bytes());
    let mut store = Store::open(Path::new(store), Faults::default())?;
    let (folder, path) = part(target)?;
    let begin = Instant::now();
    store.stage(folder, &[(reference, path)], false)?;
    Ok(begin.elapsed())
}

fn contents(folder: &str) -> Outcome<Vec<(String, Vec<u8>)>> {
    let mut contents = Vec::new();
    for item in fs::read_dir(folder)? {
        let path = item?.path();
        contents.push((path.display().to_string(), fs::read(path)?));
    }
    Ok(contents)
}

fn put_many(store: &str, folder: &str) -> Outcome<Duration> {
    let contents = contents(folder)?;
    let mut store = Store::open(Path::new(store), Faults::default())?;
    let begin = Instant::now();
    // As they come from callers: one put each, one flush for those that arrive together.
    for batch in contents.chunks(IN_FLIGHT) {
        for (name, content) in batch {
            store.put(&[(content, about(Some(name.clone())))])?;
        }
        store.flush()?;
    }
    Ok(begin.elapsed())
}

fn write_many(folder: &str, target: &Path) -> Outcome<Duration> {
    let contents = contents(folder)?;
    let begin = Instant::now();
    for (_, content) in &contents {
        let mut file = File::create(target.join(blake3::hash(content).to_hex().as_str()))?;
        file.write_all(content)?;
        file.sync_all()?;
    }
    Ok(begin.elapsed())
}

fn hash_and_write(source: &str, target: &str, sync: bool) -> Outcome<Duration> {
    let begin = Instant::now();
    let (mut source, mut target) = (File::open(source)?, File::create(target)?);
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; MIB / 4];
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
    Ok(begin.elapsed())
}

fn make(kind: &str, mib: usize, seed: u64, file: &str) -> Outcome<()> {
    let mut file = BufWriter::new(File::create(file)?);
    let mut piece = vec![0; MIB];
    for number in 0..mib as u64 {
        match kind {
            "noise" => noise(seed << 32 | number, &mut piece),
            _ => text(seed << 32 | number, &mut piece),
        }
        file.write_all(&piece)?;
    }
    file.into_inner()?.sync_all()?;
    Ok(())
}

fn scatter(count: u64, seed: u64, folder: &str) -> Outcome<()> {
    let mut content = [0; 1024];
    for number in 0..count {
        noise(seed << 32 | number, &mut content);
        fs::write(Path::new(folder).join(number.to_string()), content)?;
    }
    rustix::fs::syncfs(File::open(folder)?)?;
    Ok(())
}

fn noise(seed: u64, bytes: &mut [u8]) {
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(bytes);
}

/// Lines such as a log or a table has.
fn text(seed: u64, bytes: &mut [u8]) {
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
