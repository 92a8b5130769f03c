//! What a player's function is given besides its arguments, and files that pass by reference.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use symphony_wire::body::{self, Activate, Progress};
use symphony_wire::{BusError, Code, Header, Kind};

use crate::session::Outgoing;
use crate::Stop;

/// A file by reference: `{"$file": PATH}`, relative to the call's own folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    #[serde(rename = "$file")]
    pub path: String,
}

/// A folder by reference: `{"$folder": PATH}`, relative to the call's own folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    #[serde(rename = "$folder")]
    pub path: String,
}

/// One call, as the function that serves it sees it.
pub struct Context {
    pub(crate) header: Header,
    pub(crate) call: body::Context,
    pub(crate) activate: Arc<Activate>,
    pub(crate) cancelled: Arc<AtomicBool>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) inbox: Option<PathBuf>,
    pub(crate) outbox: Option<PathBuf>,
    pub(crate) out: Sender<Outgoing>,
    pub(crate) stop: Stop,
}

impl Context {
    /// Tells the caller how far this call is, in whatever unit; `None`: the total is not known.
    pub fn progress(&self, done: f64, total: Option<f64>, message: &str) {
        let body = body::write(&Progress { done, total, message: message.to_owned() });
        let header = self.header.answer(Kind::Progress);
        // The other end goes away only when the session is over; nobody waits for progress then.
        if self.out.send(Outgoing { header, body }).is_ok() {
            self.stop.ring();
        }
    }

    /// Whether nobody waits for this call any more: cancelled, or its deadline is over.
    pub fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
            || self.remaining().is_some_and(|left| left.is_zero())
    }

    /// [`Context::cancelled`] as an error, for `?` in loops.
    pub fn check(&self) -> Result<(), BusError> {
        if self.cancelled() {
            return Err(BusError::new(Code::Cancelled, "ended at the caller's wish"));
        }
        Ok(())
    }

    /// When the caller stops waiting.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How long the caller still waits.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Run, step, attempt and parameters of this call, as far as the caller named them.
    pub fn call(&self) -> &body::Context {
        &self.call
    }

    /// What this instance was configured with.
    pub fn activation(&self) -> &Activate {
        &self.activate
    }

    /// This call's own folder of inputs.
    pub fn inbox(&self) -> Result<PathBuf, BusError> {
        self.folder(self.inbox.as_deref())
    }

    /// This call's own folder for outputs, made if it is not there yet.
    pub fn outbox(&self) -> Result<PathBuf, BusError> {
        let folder = self.folder(self.outbox.as_deref())?;
        fs::create_dir_all(&folder).map_err(|error| {
            BusError::new(Code::Io, format!("failed to make the outbox: {error}"))
                .at(folder.display().to_string())
        })?;
        Ok(folder)
    }

    /// The bytes of a file among the arguments.
    pub fn read(&self, file: &File) -> Result<Vec<u8>, BusError> {
        let path = inside(&self.inbox()?, &file.path)?;
        fs::read(&path).map_err(|error| {
            BusError::new(Code::Io, format!("failed to read an input: {error}")).at(&file.path)
        })
    }

    /// Writes a file into the outbox; the reference goes into the result.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<File, BusError> {
        let target = inside(&self.outbox()?, path)?;
        let write = || {
            target.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(&target, bytes)
        };
        write().map_err(|error| {
            BusError::new(Code::Io, format!("failed to write an output: {error}")).at(path)
        })?;
        Ok(File { path: path.to_owned() })
    }

    fn folder(&self, base: Option<&Path>) -> Result<PathBuf, BusError> {
        let base =
            base.ok_or_else(|| BusError::new(Code::Refused, "this instance has no folders"))?;
        match &self.call.folder {
            Some(folder) => inside(base, folder),
            None => Ok(base.to_owned()),
        }
    }
}

/// `base` joined with a relative path that has no `..` and no empty part.
fn inside(base: &Path, path: &str) -> Result<PathBuf, BusError> {
    let plain = !path.split('/').any(str::is_empty)
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if plain {
        Ok(base.join(path))
    } else {
        Err(BusError::new(Code::BadRequest, "not a path below the call's folder").at(path))
    }
}
