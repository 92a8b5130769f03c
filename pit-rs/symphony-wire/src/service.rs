//! How a provider decides, free of sockets: calls in, answers out, one flush for many of them.
//!
//! The runtime hands a [`Service`] every call that waits on the socket and flushes once: what must be
//! durable before it is acknowledged shares one fsync (group commit).

use serde::de::DeserializeOwned;
use serde::Serialize;

use crate::{body, BusError, Code};

/// One call as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub capability: &'a str,
    /// Which operation; `call` where the header names none.
    pub method: &'a str,
    /// The arguments: one msgpack map. [`parse`] reads it.
    pub body: &'a [u8],
}

/// A result as msgpack, or the error.
pub type Outcome = Result<Vec<u8>, BusError>;

/// When the caller may hear of the outcome.
#[derive(Debug)]
pub enum Answer {
    /// At once: nothing that this answer says depends on the next flush.
    Now(Outcome),
    /// Only once [`Service::flush`] succeeded; if it fails, the caller gets the flush's error instead.
    AfterFlush(Outcome),
}

/// The decisions of one provider.
pub trait Service {
    fn call(&mut self, call: Call<'_>) -> Answer;

    /// Makes everything durable that was answered with [`Answer::AfterFlush`] since the last flush.
    fn flush(&mut self) -> Result<(), BusError>;
}

/// Reads the arguments of a call. Anything that does not fit is `bad-request` with the field in `where`.
pub fn parse<T: DeserializeOwned>(arguments: &[u8]) -> Result<T, BusError> {
    const NONE: &[u8] = &[0x80];
    body::read(if arguments.is_empty() { NONE } else { arguments }).map_err(|error| {
        BusError::new(Code::BadRequest, format!("the arguments do not fit: {}", error.message))
            .at(error.field.unwrap_or_else(|| "arguments".to_owned()))
    })
}

/// Writes a result: structs become maps with string keys.
pub fn reply<T: Serialize>(value: &T) -> Outcome {
    rmp_serde::to_vec_named(value).map_err(|error| {
        BusError::new(Code::Internal, format!("failed to encode the result: {error}"))
    })
}
