//! Every number and name of the protocol that is not a field: the only place in Rust that has them.

/// Version of the protocol, in every header and in *hello*.
pub const PROTOCOL: u64 = 1;
/// Version of the ticket.
pub const TICKET_VERSION: u64 = 1;
/// The environment variable that says where the ticket is.
pub const TICKET_VARIABLE: &str = "SYMPHONY_TICKET";

/// Largest header frame, bytes.
pub const MAX_HEADER: usize = 4_096;
/// Largest body frame, bytes.
pub const MAX_BODY: usize = 2_097_152;
/// Bodies above this many bytes should be files.
pub const INLINE_MAX: usize = 262_144;
/// Request numbers are below this (a double holds them exactly).
pub const REQUEST_LIMIT: u64 = 1 << 53;
/// Longest idempotency key, characters.
pub const MAX_IDEM: usize = 128;
/// Most frames of one message that are only dropped; a peer that sends more in one is cut off.
pub const MAX_FRAMES: usize = 64;

/// Default silence after which a peer sends a heartbeat, milliseconds.
pub const HEARTBEAT_MS: u64 = 1_000;
/// Default number of heartbeats of silence after which the other side is dead.
pub const LIVENESS: u64 = 5;
/// Default time from *cancel* to the provider's answer, milliseconds.
pub const GRACE_MS: u32 = 2_000;
/// The epoch of a hub that has not said one.
pub const FIRST_EPOCH: u64 = 1;

/// What whoever connects over tcp may take until the two speak CURVE, milliseconds.
pub const HANDSHAKE_MS: i32 = 2_000;

/// Open calls of one caller.
pub const MAX_OPEN_CALLS: usize = 1_024;
/// Chunks that a provider may be allowed to send at any time.
pub const MAX_CREDIT: u32 = 1_024;
/// When to try again after `overloaded` where nothing says better, milliseconds.
pub const RETRY_MS: u32 = 50;
/// Answers that a provider remembers.
pub const MAX_ANSWERS: usize = 256;
/// Calls that a provider knows to have answered.
pub const MAX_ANSWERED: usize = 16_384;
/// Bytes of the answers that a provider remembers.
pub const MAX_ANSWER_BYTES: usize = 4 * 1_024 * 1_024;

/// The operation of a capability that is meant when the header names none.
pub const DEFAULT_METHOD: &str = "call";
/// The key of the arguments that holds the call's context.
pub const CONTEXT_KEY: &str = "$";

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    Hello = 1,
    Welcome = 2,
    Heartbeat = 3,
    Call = 4,
    Result = 5,
    Error = 6,
    Progress = 7,
    Cancel = 8,
    Event = 9,
    Activate = 10,
    Unload = 11,
    Bye = 12,
    Chunk = 13,
    Credit = 14,
    Subscribe = 15,
}

impl Kind {
    /// The kind with this number, if the protocol has one.
    pub fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            1 => Self::Hello,
            2 => Self::Welcome,
            3 => Self::Heartbeat,
            4 => Self::Call,
            5 => Self::Result,
            6 => Self::Error,
            7 => Self::Progress,
            8 => Self::Cancel,
            9 => Self::Event,
            10 => Self::Activate,
            11 => Self::Unload,
            12 => Self::Bye,
            13 => Self::Chunk,
            14 => Self::Credit,
            15 => Self::Subscribe,
            _ => return None,
        })
    }
}
