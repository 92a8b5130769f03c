//! An append-only log of records in one file, the truth behind whatever state is rebuilt from it.
//!
//! [`frame`] is the form on disk, [`Log`] the only writer of a file, [`Storage`] where files live: a
//! [`Folder`] in production, [`memory::MemoryStorage`] where a test wants full disks, failing syncs
//! and power cuts. [`Home`] marks a folder with its format and keeps a second process out.
//!
//! What a failed fsync leaves in the page cache is undefined (Rebello et al., "Can Applications Recover
//! from fsync Failures?", ATC 2020), so after one nothing is trusted that had not been acknowledged
//! before: see [`Log::rewind`].

pub mod frame;
mod frames;
mod home;
mod log;
pub mod memory;
mod storage;

pub use frames::{Frames, Item};
pub use home::{Home, HomeError};
pub use log::{Log, LogError};
pub use storage::{Folder, Medium, Storage};
