//! The native datapath: `bus/reference.py` as a Rust thread inside the kernel process.
//!
//! The thread owns the ROUTER and drives `symphony-switch`; nothing that the interpreter does holds it up. A second one
//! is the [`door`]. Python reaches them through [`Datapath`], whose methods leave commands, and hears from them through a queue of upcalls.
//! [`Dealer`] is a peer's socket, with no thread of ours.
//! [`SwitchProbe`] is the switch alone, for the test that holds it against the Python one.
//! [`mod@quest`] has nothing to do with the bus: the solvers of Function Quest.

mod bell;
mod clock;
mod commands;
mod datapath;
mod dealer;
mod door;
mod endpoint;
mod frame;
mod handshakes;
mod hub;
mod mailbox;
mod notifier;
mod probe;
mod quest;
mod shared;

use pyo3::prelude::*;

#[pymodule]
mod symphony_native {
    #[pymodule_export]
    use super::datapath::Datapath;
    #[pymodule_export]
    use super::dealer::Dealer;
    #[pymodule_export]
    use super::probe::SwitchProbe;
    #[pymodule_export]
    use super::quest::quest;

    /// Raised, here and in `bus/native.py`, whenever what Python calls of this module changes.
    #[pymodule_export]
    const INTERFACE: u32 = 3;
}
