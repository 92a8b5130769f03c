//! What the hub's thread is told to do; see `bus/datapath.py`.

use std::sync::mpsc::SyncSender;

use symphony_switch::{FlowStats, PeerStats};
use symphony_zmq::Error;

use crate::endpoint::Place;
use crate::frame::Wire;

/// `done` and `reply` are dropped if the thread ends before it comes to them.
pub enum Command {
    Bind {
        place: Place,
        done: SyncSender<Result<(), Error>>,
    },
    Unbind {
        endpoint: String,
    },
    Admit {
        peer: String,
        identity: Vec<u8>,
        console: bool,
    },
    Open {
        peer: String,
    },
    Expel {
        peer: String,
    },
    Install(OwnedFlow),
    Revoke {
        generation: u64,
    },
    Send {
        peer: String,
        header: Wire,
        body: Wire,
    },
    Event {
        peers: Vec<String>,
        header: Wire,
        body: Wire,
    },
    Inject {
        peer: String,
        header: Wire,
        body: Wire,
    },
    Flows {
        reply: SyncSender<Vec<FlowStats>>,
    },
    Peers {
        reply: SyncSender<Vec<PeerStats>>,
    },
    /// Panic, for this reason: what the thread cannot do without has failed.
    Fail {
        reason: String,
    },
    Stop,
}

/// A `symphony_switch::Flow` that waits in a queue.
pub struct OwnedFlow {
    pub number: u32,
    pub caller: String,
    pub provider: String,
    pub generation: u64,
    pub safe: bool,
    pub credit: u64,
    pub rate: f64,
    pub burst: u64,
}
