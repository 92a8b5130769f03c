//! The decisions of the bus's datapath, without a socket or a clock: `bus/switch.py` and `bus/egress.py` in Rust.
//!
//! [`Switch`] takes messages and the time and says what is to be sent and what the control plane must hear of;
//! [`Egress`] sends through a transport that may refuse for a while. Names, order of decisions and counters are those
//! of the Python modules, against which a differential test holds them. Frames are moved, never copied: whatever
//! carries them ([`Frame`]) comes out of a forwarded message as it went in.

mod counters;
mod egress;
mod frame;
mod head;
mod liveness;
mod peers;
mod switch;
mod upcalls;

pub use counters::{Counters, Reason};
pub use egress::{Egress, Refusal, Transport, MAX_QUEUED, MAX_QUEUED_BYTES};
pub use frame::Frame;
pub use head::{Head, Target, Undecodable};
pub use switch::{Flow, Switch, KERNEL, MAX_CONSOLES, MAX_OPEN_CALLS};
pub use upcalls::{Event, Upcall, UpcallQueue, MAX_UPCALLS, MAX_UPCALLS_PER_PEER};
