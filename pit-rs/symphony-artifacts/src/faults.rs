//! The seam through which tests make the disk fail: every step that can fail is announced first.

use std::fmt;
use std::io;
use std::sync::Arc;

/// A step that is about to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Up to this many bytes into a file under `tmp`.
    WriteBlob(usize),
    /// Making files under `tmp` durable.
    SyncBlobs,
    /// One file from `tmp` to its place.
    PlaceBlob,
    /// Removing a file that the index does not know any more.
    DropBlob,
    /// Making the folders of the placed files durable.
    SyncFolders,
    /// Up to this many bytes into the index.
    WriteIndex(usize),
    /// Making the index durable.
    SyncIndex,
    /// One file into a copy of the store.
    CopyFile,
    /// Making a copy of the store durable.
    SyncCopy,
    /// Bytes into a staged file.
    WriteStaged(usize),
}

type Hook = dyn Fn(Step) -> io::Result<()> + Send + Sync;

/// Lets every step pass unless a hook was given; a hook may also end the process.
#[derive(Clone, Default)]
pub struct Faults(Option<Arc<Hook>>);

impl Faults {
    pub fn new(hook: impl Fn(Step) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    /// Asks whether a step may be taken.
    pub fn before(&self, step: Step) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |hook| hook(step))
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "Faults(hook)" } else { "Faults(none)" })
    }
}
