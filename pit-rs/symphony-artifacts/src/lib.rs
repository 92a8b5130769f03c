//! The Artifact Store (`pit.artifacts/1`): immutable artifacts named by the BLAKE3 hash of their bytes.
//!
//! How it fits together, from the wire down:
//!
//! - [`service`] reads arguments and writes replies; it decides nothing.
//! - [`store`] is the store: one batch of writes that waits for the next flush, and all reads.
//! - [`collect`] takes an untrusted folder in, [`stage`] writes artifacts out; both see folders only
//!   through [`below`], which never follows a symlink.
//! - [`blobs`] keeps the bytes (one file a content, see [`encoding`]), [`index`] what is known about them.
//! - [`folder`], [`reference`], [`relative`] and [`info`] are the values that pass between them.
//!
//! Durability: bytes are synced under `tmp`, renamed into place, their folders synced, and only then
//! does one index transaction make them visible. What a crash leaves in between is dropped at start.

mod ahead;
mod below;
mod blobs;
pub mod collect;
mod encoding;
pub mod error;
pub mod faults;
pub mod folder;
mod format;
mod index;
mod index_file;
pub mod info;
mod messages;
mod reads;
pub mod reference;
pub mod relative;
pub mod service;
mod stage;
pub mod store;

pub use error::StoreError;
pub use reference::Reference;
pub use service::ArtifactService;
pub use store::Store;
