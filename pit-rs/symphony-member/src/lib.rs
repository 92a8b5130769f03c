//! What the members of the Pit share beside the wire and the journal.
//!
//! [`Request`] reads arguments and names all their [`Faults`] at once, [`print`] tells a repeated request from
//! another one, [`Folded`] is a state that is the fold of a journal, [`open_folder`] opens a member's store, and
//! [`Reference`] and [`instant`] are how contracts write artifacts and times. No clock, no sockets.

mod faults;
mod folded;
pub mod instant;
mod print;
mod reference;
mod request;
mod store;

pub use faults::{is_name, short, Faults, MAX_NAME, MAX_TEXT};
pub use folded::{decode, encode, Fold, Folded, COMPACT_FROM};
pub use print::{digest, print, Print};
pub use reference::Reference;
pub use request::{no_method, Request};
pub use store::open_folder;
