//! One message to send.

use symphony_wire::service::Outcome;
use symphony_wire::{BusError, Code, Header, Kind, Target};

use crate::Body;

#[derive(Debug)]
pub struct Outgoing {
    pub header: Header,
    pub body: Body,
}

impl Outgoing {
    /// A message whose body is empty.
    pub fn bare(header: Header) -> Self {
        Self { header, body: Body::default() }
    }

    /// An event of a topic. Refuses what the hub would drop.
    pub fn event(topic: &str, keep: bool, body: Body, max_body: usize) -> Result<Self, BusError> {
        let header =
            Header { target: Target::Name(topic.to_owned()), keep, ..Header::new(Kind::Event) };
        check(&header, &body, max_body)?;
        Ok(Self { header, body })
    }

    /// The answer to `call`; a result that is too large becomes an error.
    pub fn answer(call: &Header, outcome: Outcome, max_body: usize) -> Self {
        let outcome = outcome.and_then(|body| {
            fits(&body, max_body, Code::WrongOutput, "result")?;
            Ok(body)
        });
        match outcome {
            Ok(body) => Self { header: call.answer(Kind::Result), body: body.into() },
            Err(mut error) => {
                // That another's call may be repeated says nothing of this one.
                error.repeatable = false;
                Self { header: call.answer(Kind::Error), body: error.to_body().into() }
            }
        }
    }
}

/// Refuses what the hub would drop without an answer.
pub fn check(header: &Header, body: &[u8], max_body: usize) -> Result<(), BusError> {
    header
        .check()
        .map_err(|error| BusError::new(Code::BadRequest, error.to_string()).at("header"))?;
    fits(body, max_body, Code::BadRequest, "body")
}

/// Refuses a body that is over the bus's limit.
pub fn fits(body: &[u8], max_body: usize, code: Code, what: &str) -> Result<(), BusError> {
    if body.len() <= max_body {
        return Ok(());
    }
    let found = format!("the {what} has {} bytes, the bus takes {max_body}", body.len());
    Err(BusError::new(code, found).at(what).help("pass large data as a file"))
}
