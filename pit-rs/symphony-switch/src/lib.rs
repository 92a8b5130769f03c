//! The decisions of the bus's datapath, without a socket or a clock: `bus/switch.py` and `bus/egress.py` in Rust.
//!
//! [`Switch`] takes messages and the time and says what is to be sent and what the control plane must hear of;
//! [`Egress`] sends through a transport that may refuse for a while. Names, order of decisions and counters are those
//! of the Python modules, against which a differential test holds them. Frames are moved, never copied: whatever
//! carries them ([`Frame`]) comes out of a forwarded message as it went in.

mod counters;
mod deadlines;
mod egress;
mod events;
mod frame;
mod gaps;
mod head;
mod ledger;
mod liveness;
mod losses;
mod members;
mod msgpack;
mod options;
mod refusals;
mod streams;
mod switch;
mod table;
mod upcalls;

pub use counters::{Counters, Reason};
pub use egress::{
    Egress, Refusal, Transport, LARGE_BODY, MAX_LENT_BYTES, MAX_QUEUED, MAX_QUEUED_BYTES,
};
pub use frame::Frame;
pub use head::{Head, Target};
pub use members::{PeerStats, KERNEL, MAX_CONSOLES};
pub use msgpack::Undecodable;
pub use options::Options;
pub use switch::{Switch, Times, MAX_QUEUED_EVENTS};
pub use table::{Flow, FlowStats, LATENCY_BUCKETS};
pub use upcalls::{Event, Upcall, UpcallQueue, MAX_UPCALLS, MAX_UPCALLS_PER_PEER};
