//! libzmq 4.3.5 with CURVE, linked statically, behind a small safe interface.
//!
//! Only what a hub and its peers need: [`Context`], [`Socket`], [`Message`] and [`poll`]. Every call that
//! libzmq refuses gives an [`Error`] with its errno. Sockets linger 0 ms unless told otherwise: libzmq's
//! own default, for ever, would let a process hang at its end.

mod context;
mod error;
mod lending;
mod limits;
mod message;
mod poll;
mod socket;
mod sys;

// Only for linking: libzmq's CURVE code calls it.
use libsodium_sys as _;

pub use context::{curve_keypair, has, messages_cut, version, Context};
pub use error::Error;
pub use lending::{Account, Lending};
pub use limits::{MAX_FRAMES, MAX_MESSAGE};
pub use message::Message;
pub use poll::{poll, Interest};
pub use socket::{event, opt, Kind, Socket, DONTWAIT, SNDMORE};
