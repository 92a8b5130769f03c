//! Calling capabilities, publishing and listening to events. One thread owns a client; between calls it must be kept
//! alive with [`Client::rest`].

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::Serialize;
use symphony_wire::body::{self, Progress};
use symphony_wire::{BusError, Code, Header, Kind, Target, Ticket};

use crate::ask::ttl;
use crate::asking::{Asking, Reply};
use crate::calls::{self, after, encode, Bus};
use crate::link::{dismissal, Link};
use crate::{trace, Ask, Body, RuntimeError, Stop, Stream};

/// Something that happened to a call that was opened by [`Client::start`] or [`Client::send`].
#[derive(Debug)]
pub enum Event {
    Progress(u64, Progress),
    /// The call is over.
    Answer(u64, Result<Body, BusError>),
}

/// An event of a topic that was subscribed to.
#[derive(Clone, Debug, PartialEq)]
pub struct Published<T> {
    pub topic: String,
    pub value: T,
    /// Counts the topic's events.
    pub sequence: u64,
    /// So many of them were dropped for this peer just before this one.
    pub gap: u64,
    /// It was published before the subscription.
    pub snapshot: bool,
}

/// Messages that are taken from the socket before the first of them is looked at: while these are dealt with, the hub
/// works on what they lead to.
const BATCH: usize = 16;

pub(crate) type Handler = Box<dyn FnMut(&Header, &[u8]) + Send>;

/// Reads every event of a topic for `handle`.
pub(crate) fn handler<T: DeserializeOwned>(
    topic: &str,
    mut handle: impl FnMut(Published<T>) + Send + 'static,
) -> Handler {
    let topic = topic.to_owned();
    Box::new(move |header, frame| match body::read_value(frame) {
        Ok(value) => handle(Published {
            topic: topic.clone(),
            value,
            sequence: header.request,
            gap: header.gap.unwrap_or(0),
            snapshot: header.snapshot,
        }),
        // What another peer published is no reason to end this one.
        Err(error) => tracing::warn!(%error, topic, "dropped an event"),
    })
}

/// A peer that calls, publishes and listens, and provides nothing.
pub struct Client {
    link: Link,
    stop: Stop,
    asking: Asking,
    handlers: HashMap<String, Handler>,
    /// What came and was not asked for yet, by request.
    replies: VecDeque<(u64, Reply)>,
}

impl Client {
    /// Joins the hub. `stop` ends a wait from outside.
    pub fn join(ticket: &Ticket, stop: &Stop) -> Result<Self, RuntimeError> {
        let link = Link::join(ticket, Vec::new(), stop)?.ok_or(RuntimeError::NoWelcome)?;
        let asking = Asking::new(link.max_body());
        let (handlers, replies) = (HashMap::new(), VecDeque::new());
        Ok(Self { link, stop: stop.clone(), asking, handlers, replies })
    }

    /// Calls and waits for the answer.
    pub fn call<'a, R: DeserializeOwned>(
        mut self: &mut Self,
        ask: impl Into<Ask<'a>>,
        arguments: &impl Serialize,
    ) -> Result<R, BusError> {
        calls::call(&mut self, traced(ask.into()), encode(arguments)?)
    }

    /// Calls a capability that answers in chunks.
    pub fn stream<'a, T: DeserializeOwned>(
        &'a mut self,
        ask: impl Into<Ask<'a>>,
        arguments: &impl Serialize,
    ) -> Result<Stream<'a, T>, BusError> {
        Stream::open(Box::new(self), traced(ask.into()), encode(arguments)?)
    }

    /// Sends a call and returns its request number; [`Client::next`] gives what becomes of it, which makes its progress
    /// and retries the caller's own affair.
    pub fn start<'a>(
        mut self: &mut Self,
        ask: impl Into<Ask<'a>>,
        arguments: &impl Serialize,
    ) -> Result<u64, BusError> {
        let ask = traced(ask.into());
        self.open(ask.header(ask.limit), encode(arguments)?.into())
    }

    /// As [`Client::start`], with arguments that are msgpack already and without a trace.
    pub fn send(
        mut self: &mut Self,
        capability: &str,
        method: Option<&str>,
        arguments: Vec<u8>,
        limit: Option<Duration>,
    ) -> Result<u64, BusError> {
        let header = Header {
            target: Target::Name(capability.to_owned()),
            ttl: limit.map_or(0, ttl),
            method: method.map(str::to_owned),
            ..Header::new(Kind::Call)
        };
        self.open(header, arguments.into())
    }

    /// Asks for the end of an open call, whose answer still comes.
    pub fn cancel(&mut self, request: u64) -> Result<(), RuntimeError> {
        self.asking.cancel(request).map_or(Ok(()), |cancel| self.link.send(cancel))
    }

    /// The next event of a call of [`Client::start`]; `None` once `deadline` is over or the stop was raised.
    pub fn next(&mut self, deadline: Option<Instant>) -> Result<Option<Event>, RuntimeError> {
        loop {
            while let Some((request, reply)) = self.replies.pop_front() {
                match reply {
                    Reply::Progress(progress) => {
                        return Ok(Some(Event::Progress(request, progress)));
                    }
                    Reply::Answer(outcome) => return Ok(Some(Event::Answer(request, outcome))),
                    Reply::Chunk(_) => {} // not asked for
                }
            }
            if !self.pump(deadline)? {
                return Ok(None);
            }
        }
    }

    /// Stays alive on the bus for a while, so that events reach their handlers.
    pub fn rest(&mut self, duration: Duration) -> Result<(), RuntimeError> {
        let until = after(Some(duration));
        while self.pump(until)? {}
        Ok(())
    }

    /// Gives every event of a topic to `handle`, on this thread, whenever this client waits for something.
    /// `refused` if this peer was not granted the topic.
    pub fn subscribe<T: DeserializeOwned>(
        &mut self,
        topic: &str,
        handle: impl FnMut(Published<T>) + Send + 'static,
    ) -> Result<(), BusError> {
        self.handlers.insert(topic.to_owned(), handler(topic, handle));
        self.ask_for(topic, true).inspect_err(|_| {
            self.handlers.remove(topic);
        })
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, topic: &str) -> Result<(), BusError> {
        self.ask_for(topic, false)?;
        self.handlers.remove(topic);
        Ok(())
    }

    fn ask_for(mut self: &mut Self, topic: &str, begin: bool) -> Result<(), BusError> {
        let (request, outgoing) = self.asking.subscribe(topic, begin)?;
        self.link.send(outgoing).map_err(lost)?;
        loop {
            if let Some(Reply::Answer(outcome)) = self.reply(request, None)? {
                return outcome.map(drop);
            }
        }
    }

    /// Publishes an event; the hub drops it if this peer may not.
    pub fn publish(&mut self, topic: &str, value: &impl Serialize) -> Result<(), BusError> {
        self.say(topic, value, false)
    }

    /// As [`Client::publish`]; the hub sends it to later subscribers as well, until there is a newer one.
    pub fn publish_kept(&mut self, topic: &str, value: &impl Serialize) -> Result<(), BusError> {
        self.say(topic, value, true)
    }

    fn say(&mut self, topic: &str, value: &impl Serialize, keep: bool) -> Result<(), BusError> {
        let outgoing = self.asking.publish(topic, keep, encode(value)?.into())?;
        self.link.send(outgoing).map_err(lost)
    }

    /// Leaves the bus.
    pub fn close(mut self) -> Result<(), RuntimeError> {
        self.link.bye("done")
    }

    /// Takes what is there, or waits for it; false once `deadline` is over or the stop was raised.
    fn pump(&mut self, deadline: Option<Instant>) -> Result<bool, RuntimeError> {
        loop {
            let mut heard = false;
            for _ in 0..BATCH {
                let Some((header, body)) = self.link.receive()? else { break };
                heard |= self.hear(&header, body)?;
            }
            self.link.tend(true)?;
            if heard {
                return Ok(true);
            }
            let left = calls::left(deadline).unwrap_or(Duration::MAX);
            if left.is_zero() || self.stop.is_raised() {
                return Ok(false);
            }
            self.link.wait(left, &self.stop)?;
        }
    }

    /// Takes one message; true if there is a reply now that was not there before.
    fn hear(&mut self, header: &Header, body: Body) -> Result<bool, RuntimeError> {
        match (header.kind, &header.target) {
            (Kind::Bye, _) => return Err(dismissal(&body)),
            (Kind::Welcome, _) => return self.welcomed(&body),
            (Kind::Event, Target::Name(topic)) if self.asking.is_subscribed(topic) => {
                if let Some(handler) = self.handlers.get_mut(topic) {
                    handler(header, &body);
                }
            }
            _ => {
                if let Some(reply) = self.asking.hear(header, body) {
                    self.replies.push_back(reply);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// A hub that has started anew is asked again for what is open; true if some of that has ended.
    fn welcomed(&mut self, body: &[u8]) -> Result<bool, RuntimeError> {
        if !self.link.welcomed(body)? {
            return Ok(false);
        }
        tracing::warn!("the hub has started anew");
        let (repeated, ended) = self.asking.repeat(Instant::now());
        for outgoing in repeated {
            self.link.send(outgoing)?;
        }
        let some = !ended.is_empty();
        let answers =
            ended.into_iter().map(|(request, error)| (request, Reply::Answer(Err(error))));
        self.replies.extend(answers);
        Ok(some)
    }
}

impl Bus for &mut Client {
    fn open(&mut self, mut header: Header, body: Body) -> Result<u64, BusError> {
        let request = self.asking.numbers.next();
        header.request = request;
        let limit = (header.ttl > 0).then(|| Duration::from_millis(u64::from(header.ttl)));
        let outgoing = self.asking.open(header, body, after(limit))?;
        self.link.send(outgoing).map_err(lost)?;
        Ok(request)
    }

    fn reply(&mut self, request: u64, until: Option<Instant>) -> Result<Option<Reply>, BusError> {
        loop {
            if let Some(at) = self.replies.iter().position(|(asked, _)| *asked == request) {
                return Ok(self.replies.remove(at).map(|(_, reply)| reply));
            }
            if !self.pump(until).map_err(lost)? {
                if self.stop.is_raised() {
                    return Err(BusError::new(Code::Cancelled, "this process is to end"));
                }
                return Ok(None);
            }
        }
    }

    fn credit(&mut self, request: u64, chunks: u32) -> Result<(), BusError> {
        let credit = self.asking.credit(request, chunks);
        credit.map_or(Ok(()), |credit| self.link.send(credit)).map_err(lost)
    }

    fn abandon(&mut self, request: u64) {
        self.replies.retain(|(asked, _)| *asked != request);
        if let Some(cancel) = self.asking.abandon(request) {
            // A link that is over is reported by whatever uses it next.
            if let Err(error) = self.link.send(cancel) {
                tracing::warn!(%error, "failed to cancel a call");
            }
        }
    }

    fn pause(&mut self, time: Duration) -> Result<(), BusError> {
        self.rest(time).map_err(lost)
    }
}

fn traced(mut ask: Ask<'_>) -> Ask<'_> {
    ask.trace = ask.trace.or_else(trace::begin);
    ask
}

fn lost(error: RuntimeError) -> BusError {
    BusError::new(Code::Unavailable, error.to_string()).help(error.help())
}
