//! The errors that the switch itself answers calls with; the texts are those of `bus/refusals.py`.

use symphony_wire::constants::RETRY_MS;
use symphony_wire::{BusError, Code};

/// A bound was reached, too many of `what`, and the call may be made again.
pub(crate) fn overloaded(what: &str) -> BusError {
    BusError::new(Code::Overloaded, format!("too many {what}"))
        .at(what)
        .help("wait for answers before calling again")
        .retry_after_ms(RETRY_MS)
        .repeatable()
}

/// A flow was called more often than `rate` times a second, and may be after so long.
pub(crate) fn too_often(rate: f64, retry_ms: u32) -> BusError {
    BusError::new(Code::Overloaded, format!("more than {rate} calls a second of this flow"))
        .at("rate of this flow")
        .help("wait for the time that retry_after_ms says before calling again")
        .retry_after_ms(retry_ms)
        .repeatable()
}

/// The provider ended before it answered.
pub(crate) fn crashed(provider: &str) -> BusError {
    BusError::new(Code::Crashed, "the provider ended before it answered").at(provider)
}

/// The deadline passed.
pub(crate) fn late() -> BusError {
    BusError::new(Code::Deadline, "the call was not answered in time")
}

/// A cancelled call whose provider did not end it within the grace.
pub(crate) fn unanswered(provider: &str) -> BusError {
    BusError::new(Code::Cancelled, "the provider did not end the cancelled call").at(provider)
}

/// The provider sent a chunk that nobody had asked for.
pub(crate) fn without_credit() -> BusError {
    BusError::new(Code::Protocol, "a chunk without credit")
}

/// Says whether the same call may be made again.
pub(crate) fn repeatable(mut error: BusError, whether: bool) -> BusError {
    error.repeatable = whether;
    error
}
