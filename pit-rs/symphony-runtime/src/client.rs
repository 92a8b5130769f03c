//! Calling capabilities. One thread owns a client; between calls it must be kept alive with [`Client::rest`].

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::Serialize;
use symphony_wire::body::{self, Progress};
use symphony_wire::service::{reply, Outcome};
use symphony_wire::{BusError, Code, Header, Kind, Target, Ticket};

use crate::link::{dismissal, Link};
use crate::{RuntimeError, Stop};

/// The hub answers in the provider's place when a call's time is over; an answer later than this is lost.
const GRACE: Duration = Duration::from_secs(2);

/// Something that happened to an open call.
#[derive(Debug)]
pub enum Event {
    Progress(u64, Progress),
    /// The call is over.
    Answer(u64, Outcome),
}

/// A peer that calls and provides nothing.
pub struct Client {
    link: Link,
    stop: Stop,
    last: u64,
    /// The capability of every open call.
    open: HashMap<u64, String>,
    flows: HashMap<String, u32>,
}

impl Client {
    /// Joins the hub. `stop` ends a wait from outside.
    pub fn join(ticket: &Ticket, stop: &Stop) -> Result<Self, RuntimeError> {
        let link = Link::join(ticket, Vec::new(), stop)?.ok_or(RuntimeError::NoWelcome)?;
        let (open, flows) = (HashMap::new(), HashMap::new());
        Ok(Self { link, stop: stop.clone(), last: 0, open, flows })
    }

    /// Calls and waits for the answer; `limit`: how long the call may take.
    pub fn call<A: Serialize, R: DeserializeOwned>(
        &mut self,
        capability: &str,
        method: Option<&str>,
        arguments: &A,
        limit: Option<Duration>,
    ) -> Result<R, BusError> {
        let request = self
            .send(capability, method, reply(arguments)?, limit)
            .map_err(|error| lost(&error))?;
        let deadline = limit.map(|limit| Instant::now() + limit + GRACE);
        loop {
            match self.next(deadline).map_err(|error| lost(&error))? {
                Some(Event::Answer(answered, outcome)) if answered == request => {
                    return body::read_value(&outcome?).map_err(|error| {
                        BusError::new(Code::WrongOutput, error.message)
                            .at(error.field.unwrap_or_default())
                    });
                }
                Some(_) => {}
                None => {
                    self.cancel(request).map_err(|error| lost(&error))?;
                    return Err(BusError::new(Code::Deadline, "not answered in time"));
                }
            }
        }
    }

    /// Sends a call and returns its request number; [`Client::next`] gives the answer.
    pub fn send(
        &mut self,
        capability: &str,
        method: Option<&str>,
        arguments: Vec<u8>,
        limit: Option<Duration>,
    ) -> Result<u64, RuntimeError> {
        self.last += 1;
        let ttl =
            limit.map_or(0, |limit| u32::try_from(limit.as_millis()).unwrap_or(u32::MAX).max(1));
        let header = Header {
            target: self.target(capability),
            request: self.last,
            ttl,
            method: method.map(str::to_owned),
            ..Header::new(Kind::Call)
        };
        self.link.send(&header, arguments)?;
        self.open.insert(self.last, capability.to_owned());
        Ok(self.last)
    }

    /// Gives an open call up; an answer that still comes is dropped.
    pub fn cancel(&mut self, request: u64) -> Result<(), RuntimeError> {
        let Some(capability) = self.open.remove(&request) else { return Ok(()) };
        let header =
            Header { target: self.target(&capability), request, ..Header::new(Kind::Cancel) };
        self.link.send(&header, Vec::new())
    }

    /// The next event of an open call; `None` once `deadline` is over or the stop was raised.
    pub fn next(&mut self, deadline: Option<Instant>) -> Result<Option<Event>, RuntimeError> {
        loop {
            while let Some((header, frame)) = self.link.receive()? {
                if header.kind == Kind::Bye {
                    return Err(dismissal(&frame));
                }
                if let Some(event) = self.event(&header, &frame) {
                    return Ok(Some(event));
                }
            }
            self.link.tend(true)?;
            let left = deadline.map_or(Duration::MAX, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            if left.is_zero() || self.stop.is_raised() {
                return Ok(None);
            }
            self.link.wait(left, &self.stop)?;
        }
    }

    /// Stays alive on the bus for a while without an open call.
    pub fn rest(&mut self, duration: Duration) -> Result<(), RuntimeError> {
        let until = Instant::now() + duration;
        while self.next(Some(until))?.is_some() {}
        Ok(())
    }

    /// Leaves the bus.
    pub fn close(self) -> Result<(), RuntimeError> {
        self.link.bye("done")
    }

    fn target(&self, capability: &str) -> Target {
        self.flows
            .get(capability)
            .map_or_else(|| Target::Name(capability.to_owned()), |flow| Target::Flow(*flow))
    }

    fn event(&mut self, header: &Header, frame: &[u8]) -> Option<Event> {
        let request = header.request;
        let capability = self.open.get(&request)?;
        if let Target::Flow(flow) = header.target {
            if self.flows.get(capability) != Some(&flow) {
                self.flows.insert(capability.clone(), flow);
            }
        }
        let outcome = match header.kind {
            Kind::Progress => return Some(Event::Progress(request, body::read(frame).ok()?)),
            Kind::Result => Ok(frame.to_vec()),
            Kind::Error => Err(BusError::from_body(frame)),
            _ => return None,
        };
        self.open.remove(&request);
        Some(Event::Answer(request, outcome))
    }
}

fn lost(error: &RuntimeError) -> BusError {
    BusError::new(Code::Unavailable, error.to_string()).help(error.help())
}
