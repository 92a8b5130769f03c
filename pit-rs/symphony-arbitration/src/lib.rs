//! Arbitration, `pit.arbitration/1`: who gets scarce things, and why.
//!
//! What was decided is a journal of records ([`record`]) and a [`state`] that is a fold over it: who holds what,
//! what was spent, which ids had their effect. Who waits is in memory alone, for their callers go when the
//! process goes. A decision is journaled and told only after the flush that makes it durable.
//!
//! The order of those who wait: [`line`] over all tenants, made of [`first_fit`] (the first that fits),
//! [`rounds`] (deficit round robin), [`shares`] (dominant resources), [`window`] (fairness and its correction)
//! and [`reserves`] (what is kept for whom). [`strategy`] says how a grant came about and picks the player.
//! [`arbiter`] holds the methods. No clock, no randomness and no float in what decides.

mod amounts;
pub mod arbiter;
mod budgets;
pub mod config;
mod crowd;
pub mod first_fit;
mod ids;
pub mod line;
pub mod record;
mod replies;
mod requests;
pub mod reserves;
pub mod rounds;
mod service;
pub mod shares;
mod snapshot;
pub mod state;
pub mod strategy;
pub mod window;

pub use arbiter::Arbiter;
pub use service::open;
pub use snapshot::of as snapshot_of;

/// The capability this crate provides.
pub const CAPABILITY: &str = "pit.arbitration/1";
