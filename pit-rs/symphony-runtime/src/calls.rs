//! Calls and streams, the same for a client and for a function that calls while it is being called.

use std::marker::PhantomData;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::Serialize;
use symphony_wire::constants::GRACE_MS;
use symphony_wire::service::reply;
use symphony_wire::{BusError, Code, Header};

use crate::asking::Reply;
use crate::{Ask, Body};

/// The hub answers in the provider's place when a call's time is over; an answer later than this is lost.
const GRACE: Duration = Duration::from_millis(GRACE_MS as u64);

/// How whoever calls reaches the thread that owns the socket.
pub trait Bus {
    /// Sends a call; gives its request number.
    fn open(&mut self, header: Header, body: Body) -> Result<u64, BusError>;
    /// The next reply to an open call; `None` at `until`.
    fn reply(&mut self, request: u64, until: Option<Instant>) -> Result<Option<Reply>, BusError>;
    fn credit(&mut self, request: u64, chunks: u32) -> Result<(), BusError>;
    /// Cancels an open call and drops what still comes for it.
    fn abandon(&mut self, request: u64);
    fn pause(&mut self, time: Duration) -> Result<(), BusError>;
}

/// Calls, waits for the answer and reads it.
pub fn call<R: DeserializeOwned>(
    bus: &mut dyn Bus,
    mut ask: Ask<'_>,
    arguments: Vec<u8>,
) -> Result<R, BusError> {
    let mut arguments = Body::from(arguments);
    let deadline = after(ask.limit);
    let mut made = 0;
    loop {
        let error = match attempt(bus, &mut ask, deadline, arguments.share()) {
            Ok(body) => return body.decode(),
            Err(error) => error,
        };
        made += 1;
        match ask.retry.pause(&error, made, left(deadline)) {
            Some(pause) => bus.pause(pause)?,
            None => return Err(error),
        }
    }
}

fn attempt(
    bus: &mut dyn Bus,
    ask: &mut Ask<'_>,
    deadline: Option<Instant>,
    arguments: Body,
) -> Result<Body, BusError> {
    let request = bus.open(ask.header(left(deadline)), arguments)?;
    let until = deadline.and_then(|deadline| deadline.checked_add(GRACE));
    loop {
        match bus.reply(request, until) {
            Ok(Some(Reply::Answer(outcome))) => return outcome,
            Ok(Some(Reply::Progress(progress))) => ask.progressed(progress),
            Ok(Some(Reply::Chunk(_))) => {} // not asked for
            Ok(None) => {
                bus.abandon(request);
                return Err(late());
            }
            Err(error) => {
                bus.abandon(request);
                return Err(error);
            }
        }
    }
}

/// An open streaming call: an iterator of its chunks, then [`Stream::result`]. Dropped early, it cancels the call.
pub struct Stream<'a, T> {
    bus: Box<dyn Bus + 'a>,
    ask: Ask<'a>,
    request: u64,
    until: Option<Instant>,
    /// Chunks that were taken since credit was last given back.
    taken: u32,
    end: Option<Result<Body, BusError>>,
    chunks: PhantomData<fn() -> T>,
}

impl<'a, T: DeserializeOwned> Stream<'a, T> {
    pub(crate) fn open(
        mut bus: Box<dyn Bus + 'a>,
        ask: Ask<'a>,
        arguments: Vec<u8>,
    ) -> Result<Self, BusError> {
        let header = Header { stream: Some(ask.credit), ..ask.header(ask.limit) };
        let request = bus.open(header, arguments.into())?;
        let until = after(ask.limit.and_then(|limit| limit.checked_add(GRACE)));
        Ok(Self { bus, ask, request, until, taken: 0, end: None, chunks: PhantomData })
    }

    /// The result, once the chunks that are left have been passed over.
    pub fn result<R: DeserializeOwned>(mut self) -> Result<R, BusError> {
        while let Some(chunk) = self.next_body() {
            chunk?;
        }
        match self.end.take() {
            Some(outcome) => outcome?.decode(),
            None => Err(late()), // a stream that gives no more chunks has an end
        }
    }

    fn next_body(&mut self) -> Option<Result<Body, BusError>> {
        loop {
            if self.end.is_some() {
                return None;
            }
            let error = match self.bus.reply(self.request, self.until) {
                Ok(Some(Reply::Chunk(body))) => match self.give_back() {
                    Ok(()) => return Some(Ok(body)),
                    Err(error) => error,
                },
                Ok(Some(Reply::Progress(progress))) => {
                    self.ask.progressed(progress);
                    continue;
                }
                Ok(Some(Reply::Answer(Ok(body)))) => {
                    self.end = Some(Ok(body));
                    return None;
                }
                Ok(Some(Reply::Answer(Err(error)))) => {
                    self.end = Some(Err(error.clone()));
                    return Some(Err(error));
                }
                Ok(None) => late(),
                Err(error) => error,
            };
            return Some(Err(self.give_up(error)));
        }
    }

    /// Credit goes back in halves: the provider neither waits for each chunk nor runs dry.
    fn give_back(&mut self) -> Result<(), BusError> {
        self.taken += 1;
        if self.taken >= (self.ask.credit / 2).max(1) {
            self.bus.credit(self.request, std::mem::take(&mut self.taken))?;
        }
        Ok(())
    }

    fn give_up(&mut self, error: BusError) -> BusError {
        self.bus.abandon(self.request);
        self.end = Some(Err(error.clone()));
        error
    }
}

impl<T: DeserializeOwned> Iterator for Stream<'_, T> {
    type Item = Result<T, BusError>;

    fn next(&mut self) -> Option<Self::Item> {
        let body = match self.next_body()? {
            Ok(body) => body,
            Err(error) => return Some(Err(error)),
        };
        Some(body.decode().map_err(|error| self.give_up(error)))
    }
}

impl<T> Drop for Stream<'_, T> {
    fn drop(&mut self) {
        if self.end.is_none() {
            self.bus.abandon(self.request);
        }
    }
}

/// What is told in place of an answer that did not come.
pub fn late() -> BusError {
    BusError::new(Code::Deadline, "the call was not answered in time")
}

/// The arguments of a call as its body.
pub fn encode(arguments: &impl Serialize) -> Result<Vec<u8>, BusError> {
    reply(arguments).map_err(|error| BusError::new(Code::BadRequest, error.message))
}

/// A limit so far away that no clock reaches it is none.
pub fn after(limit: Option<Duration>) -> Option<Instant> {
    limit.and_then(|limit| Instant::now().checked_add(limit))
}

pub fn left(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
}
