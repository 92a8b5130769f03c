//! The life of a provider on the bus: joined, serving, asked to end, gone. The same for every kind of provider.
//!
//! What differs between them, when a call is answered and who computes it, is a [`Provider`]. Which thread keeps a session
//! going is its owner's affair.

use std::sync::Arc;
use std::time::{Duration, Instant};

use symphony_wire::body::{self, Activate, Unload};
use symphony_wire::{BusError, Code, Header, Kind, Ticket};

use crate::asking::{Asking, Numbers, Reply};
use crate::link::{dismissal, Link};
use crate::outgoing::Outgoing;
use crate::serving::{key, Key, Serving, Taken};
use crate::{Body, RuntimeError, Stop};

/// How long running calls may take to end when no grace was named.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// The longest wait: everything that has a time of its own is looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// The body of an answer that says nothing.
pub const NIL: &[u8] = &[0xc0];

/// How a session came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The hub asked for it.
    Unloaded,
    /// A signal or [`Stop::raise`].
    Stopped,
}

/// What serves the calls of a session.
pub trait Provider {
    /// So many messages are taken from the socket before the answers go out.
    const BATCH: usize;

    /// Takes a call; answers now or in a later [`Provider::settle`], through `out`.
    fn call(&mut self, header: Header, capability: Arc<str>, body: Body, out: &mut Vec<Outgoing>);
    /// The caller, who asked a new hub for it, still waits for this call.
    fn repeated(&mut self, call: Key);
    /// The caller no longer waits for this call, which must be answered all the same.
    fn cancel(&mut self, call: Key, out: &mut Vec<Outgoing>);
    /// The caller takes so many more chunks.
    fn credit(&mut self, call: Key, chunks: u32);
    /// The hub started anew: chunks may have been lost with the old one, and calls of callers that are gone. Whoever
    /// still wants an answer asks again; one of whom nothing is heard for `silence` counts as dead.
    fn renewed(&mut self, silence: Duration, out: &mut Vec<Outgoing>);
    /// Something came for a call that this provider makes.
    fn heard(&mut self, request: u64, reply: Reply);
    fn activate(&mut self, activate: Activate);
    /// Asks for what it needs besides, and answers the activation itself once it has that; false if it needs nothing.
    fn prepare(&mut self, _: &Header, _: &mut Asking, _: &mut Vec<Outgoing>) -> bool {
        false
    }
    /// Takes an event of a topic that it subscribed to.
    fn event(&mut self, _: Header, _: Body) {}
    /// Everything that waited on the socket was handed over.
    fn settle(&mut self, asking: &mut Asking, out: &mut Vec<Outgoing>);
    /// Whether answers are still to come.
    fn busy(&self) -> bool;
    /// Whether it makes no progress any more; heartbeats then stop.
    fn hung(&self, now: Instant) -> bool;
}

/// What a session asks for after a turn.
pub enum Turn {
    /// Another turn at once.
    Again,
    /// A rest, no longer than this.
    Rest(Duration),
    /// Nothing: it is over.
    Ended(Ended),
}

pub struct Session<P> {
    pub provider: P,
    link: Link,
    serving: Serving,
    asking: Asking,
    out: Vec<Outgoing>,
    /// Set once the end was asked for: how, and until when running calls may go on.
    end: Option<(Ended, Instant)>,
}

impl<P: Provider> Session<P> {
    /// Joins the hub; `None` if `stop` was raised before. `make` is given what numbers the provider's own calls and the
    /// limit of a body.
    pub fn join(
        ticket: &Ticket,
        capabilities: &[String],
        stop: &Stop,
        make: impl FnOnce(&Numbers, usize) -> P,
    ) -> Result<Option<Self>, RuntimeError> {
        let Some(link) = Link::join(ticket, capabilities.to_vec(), stop)? else { return Ok(None) };
        let asking = Asking::new(link.max_body());
        let provider = make(&asking.numbers, link.max_body());
        let serving = Serving::new(capabilities);
        Ok(Some(Self { provider, link, serving, asking, out: Vec::new(), end: None }))
    }

    /// Takes what waits on the socket, sends what there is to send and does what is due. In this order: a call that is
    /// repeated while its answer lies ready is answered once.
    pub fn turn(&mut self, stop: &Stop) -> Result<Turn, RuntimeError> {
        let mut taken = 0;
        while taken < P::BATCH {
            let Some((header, body)) = self.link.receive()? else { break };
            self.dispatch(header, body)?;
            taken += 1;
        }
        self.answer()?;
        let now = Instant::now();
        if stop.is_raised() && self.end.is_none() {
            self.end = Some((Ended::Stopped, now + STOP_GRACE));
        }
        if let Some((ended, until)) = self.end {
            if !self.provider.busy() || now >= until {
                let reason = if ended == Ended::Unloaded { "unload" } else { "stop" };
                self.link.bye(reason)?;
                tracing::info!(reason, "left");
                return Ok(Turn::Ended(ended));
            }
        }
        self.link.tend(!self.provider.hung(now))?;
        if taken == P::BATCH {
            return Ok(Turn::Again);
        }
        let limit = self.end.map_or(LOOK, |(_, until)| until - now);
        Ok(Turn::Rest(limit.min(LOOK)))
    }

    /// Sends what the provider has to say.
    fn answer(&mut self) -> Result<(), RuntimeError> {
        self.provider.settle(&mut self.asking, &mut self.out);
        for mut outgoing in self.out.drain(..) {
            self.serving.answering(&mut outgoing);
            self.link.send(outgoing)?;
        }
        Ok(())
    }

    /// Waits for a message, the bell or the next heartbeat, but no longer than `limit`.
    pub fn rest(&self, limit: Duration, stop: &Stop) -> Result<(), RuntimeError> {
        self.link.wait(limit, stop)
    }

    fn dispatch(&mut self, header: Header, body: Body) -> Result<(), RuntimeError> {
        match (header.kind, key(&header)) {
            (Kind::Call, _) => self.call(header, body),
            (Kind::Cancel, Some(call)) => self.provider.cancel(call, &mut self.out),
            (Kind::Credit, Some(call)) => match body::read_value(&body) {
                Ok(chunks) => self.provider.credit(call, chunks),
                Err(error) => tracing::warn!(%error, "dropped credit that is no number"),
            },
            (Kind::Progress | Kind::Chunk | Kind::Result | Kind::Error, _) => {
                if let Some((request, reply)) = self.asking.hear(&header, body) {
                    self.provider.heard(request, reply);
                }
            }
            (Kind::Welcome, _) => self.welcomed(&body)?,
            (Kind::Activate, _) => {
                let outcome = body::read(&body)
                    .map(|activate| self.provider.activate(activate))
                    .map(|()| NIL.to_vec())
                    .map_err(|error| BusError::new(Code::BadRequest, error.to_string()));
                let (provider, out) = (&mut self.provider, &mut self.out);
                if outcome.is_err() || !provider.prepare(&header, &mut self.asking, out) {
                    out.push(Outgoing::answer(&header, outcome, self.link.max_body()));
                }
            }
            (Kind::Event, _) => self.provider.event(header, body),
            (Kind::Unload, _) => {
                let grace = body::read::<Unload>(&body)
                    .map_or(STOP_GRACE, |unload| Duration::from_millis(u64::from(unload.grace_ms)));
                self.end = Some((Ended::Unloaded, Instant::now() + grace));
            }
            (Kind::Bye, _) => return Err(dismissal(&body)),
            // A sign of life, counted when it was received, or nothing that a provider is sent.
            _ => {}
        }
        Ok(())
    }

    fn call(&mut self, mut header: Header, body: Body) {
        match self.serving.take(&mut header) {
            Taken::Serve(capability) => {
                self.provider.call(header, capability, body, &mut self.out);
            }
            Taken::Answered(outgoing) => self.out.push(outgoing),
            Taken::Running => {
                if let Some(call) = key(&header) {
                    self.provider.repeated(call);
                }
            }
            Taken::Refused(error) => {
                self.out.push(Outgoing::answer(&header, Err(error), self.link.max_body()));
            }
            Taken::Nonsense => {
                tracing::warn!(request = header.request, "dropped a call without flow or request");
            }
        }
    }

    /// A hub that has started anew is asked again for what is open.
    fn welcomed(&mut self, body: &[u8]) -> Result<(), RuntimeError> {
        if !self.link.welcomed(body)? {
            return Ok(());
        }
        tracing::warn!("the hub has started anew");
        let (repeated, ended) = self.asking.repeat(Instant::now());
        self.out.extend(repeated);
        for (request, error) in ended {
            self.provider.heard(request, Reply::Answer(Err(error)));
        }
        self.provider.renewed(self.link.silence(), &mut self.out);
        Ok(())
    }
}
