//! Peers of the Symphony bus: what stands between a process and its hub.
//!
//! - [`serve`] drives a [`Reactor`](symphony_wire::reactor::Reactor), or the simplest kind of one, a
//!   [`Service`](symphony_wire::service::Service): every message that waits is handed over, then one flush, then the
//!   effects (group commit).
//! - [`Extension`] makes a player of plain functions, with progress, chunks, cancellation, deadlines and calls of their own.
//! - [`Client`] calls capabilities, publishes events and listens to them.
//!
//! An [`Ask`] says how something is called, a [`Stream`] gives an answer that comes in chunks. A hub that starts anew is
//! asked again for whatever was open.
//!
//! In each, one thread at a time has the socket and everything that goes through it; [`Stop`] ends them from outside.

mod answers;
mod ask;
mod asking;
mod bytes;
mod calls;
mod client;
mod clock;
mod context;
mod driver;
mod error;
mod events;
mod extension;
mod handover;
mod link;
mod liveness;
mod log;
mod mailbox;
mod outgoing;
mod questions;
mod retry;
mod serve;
mod serving;
mod session;
mod shift;
mod stop;
mod trace;
mod turns;
mod waiting;
mod worker;

pub use ask::Ask;
pub use bytes::Body;
pub use calls::Stream;
pub use client::{Client, Event, Published};
pub use context::{Context, File, Folder};
pub use error::RuntimeError;
pub use extension::Extension;
pub use log::log_to_stderr;
pub use retry::Retry;
pub use serve::serve;
pub use session::Ended;
pub use stop::Stop;
pub use symphony_wire::body::Progress;
pub use symphony_wire::{BusError, Code, Fault, Ticket};

/// What this runtime calls itself in *hello*.
const SDK: &str = concat!("symphony-rust/", env!("CARGO_PKG_VERSION"));
