//! A store's folder: the file `format` says what it is, and a lock on it keeps a second process out.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{flock, FlockOperation};

use crate::storage::{Folder, Storage};

/// A predecessor that was just killed gives its lock back within this time.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);

/// Why a store cannot be opened.
#[derive(Debug)]
pub enum HomeError {
    Io(io::Error),
    /// `format` holds this, which is not what was asked for.
    Foreign(String),
    /// Written by a later version.
    Newer(u32),
    /// Another process has it open.
    Locked,
}

impl fmt::Display for HomeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Foreign(found) => write!(f, "the store's format is {found:?}"),
            Self::Newer(found) => write!(f, "the store has the newer format {found}"),
            Self::Locked => write!(f, "another process has the store open"),
        }
    }
}

impl std::error::Error for HomeError {}

impl From<io::Error> for HomeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Holds the store for this process until dropped.
#[derive(Debug)]
pub struct Home {
    _lock: File,
}

impl Home {
    /// Opens the store at `path`, made if absent, whose `format` is `NAME NUMBER` with a number up to `newest`.
    pub fn open(path: &Path, name: &str, newest: u32) -> Result<Self, HomeError> {
        let folder = Folder::open(path)?;
        let mut lock = folder.create("lock")?;
        acquire(&lock)?;
        let format = path.join("format");
        match fs::read_to_string(&format) {
            Ok(text) => check(&text, name, newest)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let draft = path.join("format.new");
                let mut file = File::create(&draft)?;
                writeln!(file, "{name} {newest}")?;
                file.sync_all()?;
                fs::rename(&draft, &format)?;
                folder.sync()?;
            }
            Err(error) => return Err(error.into()),
        }
        lock.set_len(0)?;
        writeln!(lock, "{}", std::process::id())?;
        Ok(Self { _lock: lock })
    }
}

fn acquire(lock: &File) -> Result<(), HomeError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                std::thread::sleep(PAUSE);
            }
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(HomeError::Locked),
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
}

fn check(text: &str, name: &str, newest: u32) -> Result<(), HomeError> {
    let number = text.trim_end().strip_prefix(name).and_then(|rest| rest.strip_prefix(' '));
    match number.and_then(|number| number.parse::<u32>().ok()) {
        Some(number) if (1..=newest).contains(&number) => Ok(()),
        Some(number) if number > newest => Err(HomeError::Newer(number)),
        _ => Err(HomeError::Foreign(text.trim_end().chars().take(80).collect())),
    }
}
