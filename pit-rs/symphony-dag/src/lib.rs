//! The DAG Tracker, `pit.dag/1`: the truth of every run.
//!
//! Each run is a journal of records ([`record`]) and a state ([`state::Run`]) that is a pure function of
//! it. A request is checked against the state, its records go to the journal, and only then the state
//! applies them: by the same code that rebuilds it after a crash.
//!
//! [`table`] holds the life of a step, [`plan`] the graph and its ranks, [`shelf`] the journals that are in
//! memory, [`catalogue`] the list of all runs, [`tracker`] the methods.

mod cascade;
mod catalogue;
mod change;
mod changes;
mod cycles;
mod growth;
mod history;
mod inverse;
mod learned;
mod melody;
mod memory;
mod names;
pub mod plan;
mod rank;
pub mod record;
mod recovery;
mod replies;
mod requests;
mod service;
mod shelf;
pub mod spec;
pub mod state;
pub mod table;
mod tally;
mod tracker;

pub use service::DagService;
pub use tracker::Tracker;

/// The capability this crate provides.
pub const CAPABILITY: &str = "pit.dag/1";
