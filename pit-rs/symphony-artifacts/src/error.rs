//! What can go wrong in the store, by whose fault it is, and how the bus names it.

use std::io;
use std::path::{Path, PathBuf};

use symphony_wire::{BusError, Code};

use crate::Reference;

pub type Result<T> = std::result::Result<T, StoreError>;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The caller's arguments, or what lies in the folder it named, are not acceptable.
    #[error("{message}")]
    Bad { message: String, place: String },
    #[error("the store has no artifact {reference}")]
    NotFound { reference: Reference },
    #[error("there is no {place}")]
    Missing { place: String },
    #[error("something stands at {place} already")]
    Exists { place: String },
    /// What is asked does not fit what was done before.
    #[error("{message}")]
    Conflict { message: String, place: String },
    #[error("{message}")]
    Limit { message: String, place: String },
    #[error("failed to {doing}: {source}")]
    Io { doing: String, place: PathBuf, source: io::Error },
    #[error("the stored bytes of {reference} do not match their hash: {reason}")]
    Corrupt { reference: Reference, reason: String },
    #[error("the store at {} is damaged: {reason}", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("the store at {} has format {found}, this program reads up to {known}", path.display())]
    Newer { path: PathBuf, found: u64, known: u64 },
    #[error("the store at {} was written by another build of this program: {reason}", path.display())]
    Foreign { path: PathBuf, reason: String },
    #[error("failed to read the keys in {place}: {reason}")]
    Key { place: String, reason: String },
    #[error("this is sealed with the key {key}, which is not among those given")]
    Locked { key: String },
    #[error("the store is open for reading only")]
    ReadOnly,
    #[error("the store at {} is in use by another process", path.display())]
    InUse { path: PathBuf },
    #[error("{0}")]
    Bug(String),
}

impl StoreError {
    pub fn bad(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Bad { message: message.into(), place: place.into() }
    }

    pub fn limit(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Limit { message: message.into(), place: place.into() }
    }

    pub fn corrupt(reference: Reference, reason: impl Into<String>) -> Self {
        Self::Corrupt { reference, reason: reason.into() }
    }

    /// For `map_err`: an I/O error with what was being done, so that it reads "failed to …", and where.
    pub fn io<E: Into<io::Error>>(
        doing: impl Into<String>,
        place: impl AsRef<Path>,
    ) -> impl FnOnce(E) -> Self {
        move |error| Self::Io {
            doing: doing.into(),
            place: place.as_ref().to_owned(),
            source: error.into(),
        }
    }

    /// The exit code of a program that cannot open its store (INTERFACE: 6 is input/output).
    pub const EXIT_CODE: u8 = 6;

    fn code(&self) -> Code {
        match self {
            Self::Bad { .. } => Code::BadRequest,
            Self::NotFound { .. } | Self::Missing { .. } => Code::NotFound,
            Self::Exists { .. } | Self::Conflict { .. } => Code::Conflict,
            Self::Limit { .. } => Code::Overloaded,
            Self::Locked { .. } | Self::ReadOnly => Code::Refused,
            Self::Io { .. }
            | Self::Newer { .. }
            | Self::Foreign { .. }
            | Self::InUse { .. }
            | Self::Key { .. } => Code::Io,
            Self::Corrupt { .. } | Self::Damaged { .. } => Code::Corrupt,
            Self::Bug(_) => Code::Internal,
        }
    }

    fn place(&self) -> Option<String> {
        match self {
            Self::Bad { place, .. }
            | Self::Missing { place }
            | Self::Exists { place }
            | Self::Conflict { place, .. }
            | Self::Key { place, .. }
            | Self::Limit { place, .. } => Some(place.clone()),
            Self::NotFound { reference } | Self::Corrupt { reference, .. } => {
                Some(reference.to_string())
            }
            Self::Io { place: path, .. }
            | Self::Damaged { path, .. }
            | Self::Newer { path, .. }
            | Self::Foreign { path, .. }
            | Self::InUse { path } => Some(path.display().to_string()),
            Self::Locked { key } => Some(key.clone()),
            Self::ReadOnly | Self::Bug(_) => None,
        }
    }

    fn remedy(&self) -> Option<&'static str> {
        Some(match self {
            Self::Exists { .. } => "stage into a fresh folder or at another path",
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free space on that disk, then repeat the call"
                }
                _ => "make that place readable and writable, then repeat the call",
            },
            Self::Corrupt { .. } => "put the same bytes again, or restore the blob from a copy",
            Self::Damaged { .. } => "restore the store from a copy",
            Self::Newer { .. } => "use a newer version of the program",
            Self::Foreign { .. } => {
                "use the build that wrote it, or another home (--home DIR, or SYMPHONY_HOME)"
            }
            Self::Key { .. } => "give keys of 64 hex digits, in a file of mode 0600",
            Self::Locked { .. } => "start the store with that key as well",
            Self::ReadOnly => "open it for writing",
            Self::InUse { .. } => "stop the other process, or use another home",
            _ => return None,
        })
    }
}

impl From<StoreError> for BusError {
    fn from(error: StoreError) -> Self {
        let mut bus = Self::new(error.code(), error.to_string());
        if let Some(place) = error.place() {
            bus = bus.at(place);
        }
        if let Some(remedy) = error.remedy() {
            bus = bus.help(remedy);
        }
        bus
    }
}
