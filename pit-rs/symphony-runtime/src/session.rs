//! The life of a provider on the bus: joined, serving, asked to end, gone. One loop for every kind of provider.
//!
//! What differs between them, when a call is answered and who computes it, is a [`Provider`].

use std::collections::HashMap;
use std::time::{Duration, Instant};

use symphony_wire::body::{self, Activate, Unload};
use symphony_wire::constants::DEFAULT_METHOD;
use symphony_wire::service::{Call, Outcome};
use symphony_wire::{BusError, Code, Header, Kind, Target, Ticket};

use crate::link::{dismissal, Link};
use crate::{RuntimeError, Stop};

/// So many messages are taken from the socket before the answers go out.
const BATCH: usize = 256;
/// How long running calls may take to end when no grace was named.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// The longest wait: everything that has a time of its own is looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// The body of an answer that says nothing.
const NIL: &[u8] = &[0xc0];

/// How a session came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The hub asked for it.
    Unloaded,
    /// A signal or [`Stop::raise`].
    Stopped,
}

/// One message to send: an answer or progress.
pub struct Outgoing {
    pub header: Header,
    pub body: Vec<u8>,
}

impl Outgoing {
    /// The answer to `call`; a result that is too large becomes an error.
    pub fn answer(call: &Header, outcome: Outcome, max_body: usize) -> Self {
        let outcome = outcome.and_then(|body| match body.len() {
            length if length <= max_body => Ok(body),
            length => Err(BusError::new(
                Code::WrongOutput,
                format!("the result has {length} bytes, the bus takes {max_body}"),
            )
            .at("result")
            .help("give large results as files")),
        });
        match outcome {
            Ok(body) => Self { header: call.answer(Kind::Result), body },
            Err(error) => Self { header: call.answer(Kind::Error), body: error.to_body() },
        }
    }
}

/// What serves the calls of a session.
pub trait Provider {
    /// Takes a call; answers now or in a later [`Provider::settle`], through `out`.
    fn call(&mut self, header: Header, call: Call<'_>, out: &mut Vec<Outgoing>);
    /// The caller no longer waits for this call.
    fn cancel(&mut self, header: &Header);
    fn activate(&mut self, activate: Activate);
    /// Everything that waited on the socket was handed over.
    fn settle(&mut self, out: &mut Vec<Outgoing>);
    /// Whether answers are still to come.
    fn busy(&self) -> bool;
    /// Whether it makes no progress any more; heartbeats then stop.
    fn hung(&self, now: Instant) -> bool;
}

/// Joins and serves until the hub or `stop` ends it.
pub fn run<P: Provider>(
    ticket: &Ticket,
    capabilities: &[String],
    stop: &Stop,
    make: impl FnOnce(&Link) -> P,
) -> Result<Ended, RuntimeError> {
    let Some(link) = Link::join(ticket, capabilities.to_vec(), stop)? else {
        return Ok(Ended::Stopped);
    };
    tracing::info!(instance = link.instance(), ?capabilities, "joined");
    let provider = make(&link);
    let flows = HashMap::new();
    Session { link, provider, capabilities, flows, out: Vec::new(), end: None }.run(stop)
}

struct Session<'a, P> {
    link: Link,
    provider: P,
    capabilities: &'a [String],
    /// Which capability a flow stands for: kept only where there are several.
    flows: HashMap<u32, String>,
    out: Vec<Outgoing>,
    /// Set once the end was asked for: how, and until when running calls may go on.
    end: Option<(Ended, Instant)>,
}

impl<P: Provider> Session<'_, P> {
    fn run(mut self, stop: &Stop) -> Result<Ended, RuntimeError> {
        loop {
            let mut taken = 0;
            while taken < BATCH {
                let Some((header, body)) = self.link.receive()? else { break };
                self.dispatch(header, &body)?;
                taken += 1;
            }
            self.provider.settle(&mut self.out);
            for message in self.out.drain(..) {
                self.link.send(&message.header, message.body)?;
            }
            let now = Instant::now();
            if stop.is_raised() && self.end.is_none() {
                self.end = Some((Ended::Stopped, now + STOP_GRACE));
            }
            if let Some((ended, until)) = self.end {
                if !self.provider.busy() || now >= until {
                    let reason = if ended == Ended::Unloaded { "unload" } else { "stop" };
                    self.link.bye(reason)?;
                    tracing::info!(reason, "left");
                    return Ok(ended);
                }
            }
            self.link.tend(!self.provider.hung(now))?;
            if taken < BATCH {
                let limit = self.end.map_or(LOOK, |(_, until)| until - now);
                self.link.wait(limit.min(LOOK), stop)?;
            }
        }
    }

    fn dispatch(&mut self, header: Header, body: &[u8]) -> Result<(), RuntimeError> {
        match header.kind {
            Kind::Call => self.call(header, body),
            Kind::Cancel => self.provider.cancel(&header),
            Kind::Activate => {
                let outcome = body::read(body)
                    .map(|activate| self.provider.activate(activate))
                    .map(|()| NIL.to_vec())
                    .map_err(|error| BusError::new(Code::BadRequest, error.to_string()));
                self.out.push(Outgoing::answer(&header, outcome, self.link.max_body()));
            }
            Kind::Unload => {
                let grace = body::read::<Unload>(body)
                    .map_or(STOP_GRACE, |unload| Duration::from_millis(u64::from(unload.grace_ms)));
                self.end = Some((Ended::Unloaded, Instant::now() + grace));
            }
            Kind::Bye => return Err(dismissal(body)),
            // A sign of life, counted when it was received, or nothing that a provider is sent.
            _ => {}
        }
        Ok(())
    }

    fn call(&mut self, mut header: Header, body: &[u8]) {
        let (Target::Flow(flow), true) = (&header.target, header.request > 0) else {
            tracing::warn!(request = header.request, "dropped a call without flow or request");
            return;
        };
        let capability = match (self.capabilities, header.cap.take()) {
            ([only], _) => Some(only.clone()),
            (_, Some(named)) => {
                self.flows.insert(*flow, named.clone());
                Some(named)
            }
            (_, None) => self.flows.get(flow).cloned(),
        };
        let Some(capability) = capability else {
            let error =
                BusError::new(Code::Protocol, "the hub did not say which capability is called")
                    .fault(symphony_wire::Fault::Kernel)
                    .at("options.cap");
            self.out.push(Outgoing::answer(&header, Err(error), self.link.max_body()));
            return;
        };
        let method = header.method.take();
        let method = method.as_deref().unwrap_or(DEFAULT_METHOD);
        self.provider.call(header, Call { capability: &capability, method, body }, &mut self.out);
    }
}
