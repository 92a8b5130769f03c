//! An append-only log of records in one file, the truth behind whatever state is rebuilt from it.
//!
//! [`frame`] is the form on disk, [`Log`] the only writer of a file, [`Storage`] where files live: a
//! [`Folder`] in production, [`memory::MemoryStorage`] where a test wants full disks, failing syncs
//! and power cuts. A [`Journal`] is a log that can begin anew from a snapshot. [`mark`] says in a folder what it holds. One process at a time may write to a folder.
//!
//! What a failed fsync leaves in the page cache is undefined (Rebello et al., "Can Applications Recover
//! from fsync Failures?", ATC 2020), so after one nothing is trusted that had not been acknowledged
//! before: see [`Log::rewind`]. How much that is, a log's companion says: see [`synced_of`].

mod format;
pub mod frame;
mod frames;
mod log;
pub mod memory;
mod scan;
mod snapshot;
mod storage;
mod synced;

pub use format::{is_content, is_unmarked, mark, read_format, FormatError, MISSING};
pub use frames::{Frames, Item};
pub use log::{Log, LogError};
pub use scan::{scan, Scan};
pub use snapshot::Journal;
pub use storage::{Folder, Medium, Storage};
pub use synced::{acknowledged, require_none, synced_of, Id, Synced, ILLEGIBLE};
