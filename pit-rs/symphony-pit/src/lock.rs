//! One process per store: a lock on `STORE/pid`, which holds the number of the process that has it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use symphony_wire::{BusError, Code};

/// A predecessor that was just killed gives its lock back within this time.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);

/// Refuses a link, wherever it leads.
pub fn require_folder(path: &Path) -> Result<(), BusError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_dir() => {
            Err(BusError::new(Code::Io, "the store's folder is a link: it is not followed")
                .at(path.display().to_string())
                .help("put the folder itself in its place, or use another home"))
        }
        _ => Ok(()), // whoever uses it says what else is wrong with it
    }
}

/// Takes the store at `path`, made if absent (0700); it is given back when the file is dropped.
pub fn take(path: &Path) -> Result<File, BusError> {
    let io = |what: &'static str| {
        move |error: io::Error| {
            BusError::new(Code::Io, format!("failed to {what}: {error}"))
                .at(path.display().to_string())
                .help("make the folder readable and writable for this user")
        }
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(io("make the store's folder"))?;
    require_folder(path)?;
    let name = path.join("pid");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&name)
        .map_err(io("open the store's lock"))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&name).unwrap_or_default();
                let message = format!("the store is in use by process {}", holder.trim());
                return Err(BusError::new(Code::Io, message)
                    .at(path.display().to_string())
                    .help("end that process or use another folder"));
            }
            Err(TryLockError::Error(error)) => return Err(io("lock the store")(error)),
        }
    }
    let mut write = || {
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())
    };
    write().map_err(io("write the store's lock"))?;
    Ok(file)
}
