//! The Artifact Store (`pit.artifacts/1`): immutable artifacts named by the BLAKE3 hash of their bytes.
//!
//! How it fits together, from the wire down:
//!
//! - [`service`] reads arguments and writes replies; it decides nothing.
//! - [`store`] is the store: one batch of writes that waits for the next flush, and all reads.
//! - [`collect`] takes an untrusted folder in, [`stage`] writes artifacts out; both see folders only
//!   through [`below`], which never follows a symlink.
//! - [`blobs`] keeps the bytes: one file a content, or, from 1 MiB on, one a chunk ([`chunking`]); [`layout`] says where,
//!   [`backup`] brings all of them into another folder; [`encoding`] and
//!   [`sealing`] say how they lie in it, [`writing`] and [`direct`] get large ones there, [`keys`] with which keys. [`index`] keeps what is known about them.
//! - [`curation`] is what a deletion rests on, [`quality`] how good an artifact is, [`words`] what it is found by,
//!   [`audit`] who did what, [`openlineage`] how lineage is told to others.
//! - [`folder`], [`Reference`], [`relative`] and [`info`] are the values that pass between them.
//!
//! Durability: bytes are synced under `tmp`, renamed into place, their folders synced, and only then
//! does one index transaction make them visible. What a crash leaves in between is dropped at start.

mod ahead;
mod audit;
pub mod backup;
mod below;
mod blobs;
mod chunking;
pub mod collect;
pub mod curation;
mod direct;
mod encoding;
pub mod error;
pub mod faults;
pub mod folder;
mod format;
mod index;
pub mod info;
pub mod keys;
mod layout;
mod messages;
mod openlineage;
mod quality;
mod reads;
pub mod relative;
mod sealing;
pub mod service;
mod stage;
pub mod store;
mod words;
mod writing;

pub use error::StoreError;
pub use service::ArtifactService;
pub use store::Store;
use symphony_member::instant;
pub use symphony_member::Reference;
