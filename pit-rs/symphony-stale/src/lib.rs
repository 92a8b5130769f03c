//! The Stale Manager, `pit.stale/1`: keeps what teaches, frees what does not, loses nothing.
//!
//! What must outlive the process is a fold ([`ledger`]) over the records of a journal ([`record`]).
//! What there is, and who needs it, is asked anew each time ([`survey`]); what is to be done with it is a pure
//! function of both ([`decide`], [`value`]). What asks others is written as one text from top to bottom, as a
//! future that the curator polls ([`desk`]): [`look`] at store and tracker, [`copying`] into the archive and back,
//! [`run`], [`restore`]. [`curator`] is the reactor that has the methods. [`archive`] is the archive that is built
//! in, a service by itself.
//!
//! The rule behind it all: whatever is not certain stops deletion. A question that is not answered, not in
//! time or not in its form, ends the run with `stopped`; what was marked at the store stays there until the
//! next run looks again.

pub mod archive;
pub mod config;
mod copying;
pub mod curator;
pub mod decide;
mod desk;
mod folder;
pub mod ledger;
mod look;
pub mod record;
mod replies;
pub mod requests;
mod restore;
mod run;
mod service;
pub mod survey;
mod training;
pub mod value;

pub use archive::Archive;
pub use curator::Curator;
pub use service::{open, open_archive};

/// The capability this crate provides.
pub const CAPABILITY: &str = "pit.stale/1";
/// What it asks.
pub const ARTIFACTS: &str = "pit.artifacts/1";
pub const DAG: &str = "pit.dag/1";
/// The place of the archive that is in the same process.
pub const BUILT_IN: &str = "built-in";
