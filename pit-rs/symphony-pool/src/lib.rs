//! The Pool Manager, `pit.pool/1`: the life of every model process. It decides; the kernel spawns and kills.
//!
//! What must outlive the process is a fold ([`ledger`]) over the records of a journal ([`record`]): the configuration, the leases, what was promised to whom. Everything else ([`fleet`]) is
//! made anew from the kernel's word.
//!
//! [`table`] holds the life of an instance, [`pool`] the methods and what follows from them. The algorithms stand alone: [`histogram`] and [`demand`] (what will
//! be needed), [`evict`] (what may go), [`health`], [`backoff`].

pub mod backoff;
pub mod config;
pub mod demand;
pub mod evict;
mod fleet;
pub mod health;
pub mod histogram;
mod learned;
pub mod ledger;
mod names;
mod pool;
mod queue;
pub mod record;
mod replies;
pub mod requests;
mod service;
pub mod table;

pub use pool::Pool;
pub use service::open;

/// The capability this crate provides.
pub const CAPABILITY: &str = "pit.pool/1";
/// The capability it asks.
pub const KERNEL: &str = "kernel.instances/1";
