//! Why a peer cannot go on.

use std::fmt;

use symphony_wire::{TicketError, PROTOCOL};

#[derive(Debug)]
pub enum RuntimeError {
    Ticket(TicketError),
    /// libzmq or the system refused this.
    Io(&'static str, std::io::Error),
    /// The hub did not welcome us in time.
    NoWelcome,
    /// The hub speaks another version of the protocol.
    Incompatible,
    /// The hub sent us away, with this reason.
    Dismissed(String),
    /// The hub has fallen silent.
    HubLost,
}

impl RuntimeError {
    pub(crate) fn zmq(what: &'static str) -> impl Fn(symphony_zmq::Error) -> Self {
        move |error| Self::Io(what, std::io::Error::other(error))
    }

    /// The exit code of a process that ends with this.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Ticket(_) => 2,
            Self::Dismissed(_) => 3,
            Self::NoWelcome | Self::Incompatible | Self::HubLost => 5,
            Self::Io(..) => 6,
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Ticket(_) => "start this program through the kernel",
            Self::Io(..) => {
                "see that the socket's folder is reachable and descriptors are not used up"
            }
            Self::NoWelcome | Self::HubLost => {
                "see whether the kernel is running: symphony-kernel status"
            }
            Self::Incompatible => "install the binary that belongs to this version of the kernel",
            Self::Dismissed(_) => {
                "see that the manifest lists every capability this program provides"
            }
        }
    }
}

impl fmt::Display for RuntimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ticket(error) => error.fmt(f),
            Self::Io(what, error) => write!(f, "failed to {what}: {error}"),
            Self::NoWelcome => write!(f, "the hub did not answer"),
            Self::Incompatible => {
                write!(f, "the hub does not speak protocol {PROTOCOL}, which this binary needs")
            }
            Self::Dismissed(reason) => write!(f, "the hub sent this process away: {reason}"),
            Self::HubLost => write!(f, "the hub has fallen silent"),
        }
    }
}

impl std::error::Error for RuntimeError {}

impl From<TicketError> for RuntimeError {
    fn from(error: TicketError) -> Self {
        Self::Ticket(error)
    }
}
