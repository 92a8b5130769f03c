//! The ticket: what the kernel gives an instance so that it can join (PROTOCOL section 1).

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::FromRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::constants::{TICKET_VARIABLE, TICKET_VERSION};

/// More than this is no ticket.
const MAX_TICKET: u64 = 65_536;
/// The bits of a mode that give a file to others than its owner.
const OTHERS: u32 = 0o077;

/// Endpoint, secret and name of one instance. `Debug` leaves the secret out.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Ticket {
    pub v: u64,
    pub endpoint: String,
    identity: String,
    pub instance: String,
    /// Absent for consoles.
    pub inbox: Option<PathBuf>,
    /// Absent for consoles.
    pub outbox: Option<PathBuf>,
    /// Only over tcp.
    pub curve: Option<Curve>,
}

/// The keys of a connection over tcp, as Z85: the hub's public one and this peer's own pair. `Debug` leaves the secret out.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Curve {
    pub server: String,
    pub public: String,
    pub secret: String,
}

impl Curve {
    /// The three keys with their names.
    fn keys(&self) -> [(&'static str, &str); 3] {
        [("server", &self.server), ("public", &self.public), ("secret", &self.secret)]
    }
}

impl fmt::Debug for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Curve")
            .field("server", &self.server)
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// Why there is no ticket to use.
#[derive(Debug)]
pub enum TicketError {
    /// `SYMPHONY_TICKET` is not set.
    Absent,
    /// `SYMPHONY_TICKET` is neither `fd:N` nor `file:PATH`.
    Place(String),
    Unreadable(String, std::io::Error),
    /// A file that is not its owner's alone, with its mode.
    Exposed(String, u32),
    /// Not the JSON object it should be; never quotes it.
    Malformed(String),
    Version(u64),
    /// The system gives no random bytes.
    NoRandomness,
}

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => write!(f, "{TICKET_VARIABLE} is not set"),
            Self::Place(found) => {
                write!(f, "{TICKET_VARIABLE} is {found:?}, not fd:N or file:PATH")
            }
            Self::Unreadable(place, error) => {
                write!(f, "the ticket at {place} is unreadable: {error}")
            }
            Self::Exposed(path, mode) => write!(
                f,
                "the ticket at {path} is a secret, but its mode {mode:04o} lets others have it: chmod 600 {path}"
            ),
            Self::Malformed(what) => write!(f, "the ticket is malformed: {what}"),
            Self::NoRandomness => write!(f, "the system gives no random bytes"),
            Self::Version(found) => write!(f, "ticket version {found}, this is {TICKET_VERSION}"),
        }
    }
}

impl std::error::Error for TicketError {}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("endpoint", &self.endpoint)
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

impl Ticket {
    /// Reads the ticket from where `SYMPHONY_TICKET` says. Call it once: a descriptor is read empty and closed.
    pub fn load() -> Result<Self, TicketError> {
        let place = std::env::var(TICKET_VARIABLE).map_err(|_| TicketError::Absent)?;
        Self::load_from(&place)
    }

    /// Reads the ticket from `fd:N` or `file:PATH`.
    pub fn load_from(place: &str) -> Result<Self, TicketError> {
        let read = |reader: &mut dyn Read| {
            let mut bytes = Vec::new();
            reader
                .take(MAX_TICKET)
                .read_to_end(&mut bytes)
                .map(|_| bytes)
                .map_err(|error| TicketError::Unreadable(place.to_owned(), error))
        };
        let bytes = match place.split_once(':') {
            Some(("fd", "0")) => read(&mut std::io::stdin().lock())?,
            Some(("fd", number)) => {
                let number = number
                    .parse::<i32>()
                    .ok()
                    .filter(|number| *number > 2)
                    .ok_or_else(|| TicketError::Place(place.to_owned()))?;
                // SAFETY: whoever set the variable opened this descriptor for us alone to read and close;
                // nothing else in the process has it, the three standard ones are excluded.
                let mut file = unsafe { File::from_raw_fd(number) };
                read(&mut file)?
            }
            Some(("file", path)) => {
                let unreadable = |error| TicketError::Unreadable(place.to_owned(), error);
                let mut file = File::open(Path::new(path)).map_err(unreadable)?;
                let mode = file.metadata().map_err(unreadable)?.mode() & 0o7777;
                if mode & OTHERS != 0 {
                    return Err(TicketError::Exposed(path.to_owned(), mode));
                }
                read(&mut file)?
            }
            _ => return Err(TicketError::Place(place.to_owned())),
        };
        Self::parse(&bytes)
    }

    /// Reads the ticket's JSON. Unknown keys are ignored.
    pub fn parse(json: &[u8]) -> Result<Self, TicketError> {
        // serde_json's own message could quote the secret: line and column say enough.
        let ticket: Self = serde_json::from_slice(json).map_err(|error| {
            TicketError::Malformed(format!("line {} column {}", error.line(), error.column()))
        })?;
        if ticket.v != TICKET_VERSION {
            return Err(TicketError::Version(ticket.v));
        }
        for (name, key) in ticket.curve.iter().flat_map(Curve::keys) {
            if !is_z85_key(key) {
                return Err(TicketError::Malformed(format!("curve.{name} is no key in Z85")));
            }
        }
        ticket.secret().map(|_| ticket)
    }

    /// Whether several peers may join with this ticket at once (section 8).
    pub fn is_console(&self) -> bool {
        self.inbox.is_none()
    }

    /// The ZeroMQ routing id, a secret: 16 bytes, of a console 16 and as many random ones of its own.
    pub fn routing_id(&self) -> Result<Vec<u8>, TicketError> {
        let mut id = self.secret()?.to_vec();
        if self.is_console() {
            let mut own = [0; 16];
            getrandom::fill(&mut own).map_err(|_| TicketError::NoRandomness)?;
            id.extend_from_slice(&own);
        }
        Ok(id)
    }

    fn secret(&self) -> Result<[u8; 16], TicketError> {
        let wrong = || TicketError::Malformed("identity is not 32 hex digits".to_owned());
        if self.identity.len() != 32 || !self.identity.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        u128::from_str_radix(&self.identity, 16).map(u128::to_be_bytes).map_err(|_| wrong())
    }
}

/// Whether this is a key of 32 bytes as Z85 (ZeroMQ RFC 32).
fn is_z85_key(text: &str) -> bool {
    const OTHERS: &[u8] = b".-:+=^!/*?&<>()[]{}@%$#";
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_alphanumeric() || OTHERS.contains(&b))
}
