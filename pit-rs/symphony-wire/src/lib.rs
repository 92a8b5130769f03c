//! The Symphony bus protocol as bytes and values, without a socket: `bus/PROTOCOL.md` in Rust.
//!
//! [`Header`] is the first frame of every message, the structs of [`body`] the second one where the
//! protocol fixes it, [`BusError`] the typed error that says whose fault it is, [`Ticket`] what a
//! process is given to join with, [`service`] how a provider decides without knowing sockets, and
//! [`reactor`] how one does that also waits, asks others and acts in time.

pub mod body;
pub mod constants;
mod error;
mod header;
pub mod reactor;
mod reader;
pub mod service;
mod ticket;

pub use constants::{Kind, PROTOCOL};
pub use error::{BusError, Code, Fault};
pub use header::{is_foreign_hello, Header, HeaderError, Target};
pub use rmpv::Value;
pub use ticket::{Curve, Ticket, TicketError};
