//! What a peer asks for: its open calls, streams, flows and subscriptions (PROTOCOL sections 3 and 10 to 12).
//! Messages go in and come out; there is no socket and no clock.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Instant;

use foldhash::HashMap;
use symphony_wire::body::{self, Progress};
use symphony_wire::constants::{MAX_OPEN_CALLS, RETRY_MS};
use symphony_wire::{BusError, Code, Fault, Header, Kind, Target};

use crate::ask::ttl;
use crate::outgoing::{check, Outgoing};
use crate::Body;

/// What came for an open call.
#[derive(Debug)]
pub enum Reply {
    Progress(Progress),
    Chunk(Body),
    /// The call is over.
    Answer(Result<Body, BusError>),
}

/// Gives every call of a peer its request number.
#[derive(Clone, Default)]
pub struct Numbers(Arc<AtomicU64>);

impl Numbers {
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// A call or subscription that is not answered yet, with all it takes to repeat it.
struct Open {
    /// As it was asked: its target is a name.
    header: Header,
    body: Body,
    deadline: Option<Instant>,
    cancelled: bool,
    /// A subscription that was made anew by itself: nobody waits for its answer.
    renewal: bool,
}

pub struct Asking {
    pub numbers: Numbers,
    max_body: usize,
    open: HashMap<u64, Open>,
    flows: HashMap<String, u32>,
    topics: BTreeSet<String>,
}

impl Asking {
    pub fn new(max_body: usize) -> Self {
        Self {
            numbers: Numbers::default(),
            max_body,
            open: HashMap::default(),
            flows: HashMap::default(),
            topics: BTreeSet::new(),
        }
    }

    /// Asks for a topic's events, or for no more of them.
    pub fn subscribe(&mut self, topic: &str, begin: bool) -> Result<(u64, Outgoing), BusError> {
        let header = Header {
            target: Target::Name(topic.to_owned()),
            request: self.numbers.next(),
            ..Header::new(Kind::Subscribe)
        };
        let request = header.request;
        let outgoing = self.open(header, body::write(&begin).into(), None)?;
        if begin {
            self.topics.insert(topic.to_owned());
        } else {
            self.topics.remove(topic);
        }
        Ok((request, outgoing))
    }

    /// Opens a call; gives the message to send. Refuses what the hub would drop without an answer.
    pub fn open(
        &mut self,
        header: Header,
        mut body: Body,
        deadline: Option<Instant>,
    ) -> Result<Outgoing, BusError> {
        if self.open.len() >= MAX_OPEN_CALLS {
            return Err(BusError::new(Code::Overloaded, "too many open calls")
                .retry_after_ms(RETRY_MS)
                .repeatable());
        }
        check(&header, &body, self.max_body)?;
        let outgoing = Outgoing { header: header.to(self.target(&header)), body: body.share() };
        self.open.insert(
            header.request,
            Open { header, body, deadline, cancelled: false, renewal: false },
        );
        Ok(outgoing)
    }

    /// Makes an event.
    pub fn publish(&self, topic: &str, keep: bool, body: Body) -> Result<Outgoing, BusError> {
        Outgoing::event(topic, keep, body, self.max_body)
    }

    /// Asks for the end of a call, whose answer still comes.
    pub fn cancel(&mut self, request: u64) -> Option<Outgoing> {
        let open = self.open.get_mut(&request)?;
        if open.header.kind != Kind::Call || std::mem::replace(&mut open.cancelled, true) {
            return None;
        }
        self.about(request, Kind::Cancel).map(Outgoing::bare)
    }

    /// As [`Asking::cancel`], but the answer is of no more interest.
    pub fn abandon(&mut self, request: u64) -> Option<Outgoing> {
        let cancel = self.cancel(request);
        self.open.remove(&request);
        cancel
    }

    /// Lets the provider of an open stream send so many more chunks.
    pub fn credit(&self, request: u64, chunks: u32) -> Option<Outgoing> {
        let header = self.about(request, Kind::Credit)?;
        Some(Outgoing { header, body: body::write(&chunks).into() })
    }

    pub fn is_subscribed(&self, topic: &str) -> bool {
        self.topics.contains(topic)
    }

    fn about(&self, request: u64, kind: Kind) -> Option<Header> {
        let open = self.open.get(&request)?;
        Some(Header { target: self.target(&open.header), request, ..Header::new(kind) })
    }

    /// The flow of a call's capability once it is known.
    fn target(&self, header: &Header) -> Target {
        match &header.target {
            Target::Name(name) if header.kind == Kind::Call => self
                .flows
                .get(name)
                .map_or_else(|| header.target.clone(), |flow| Target::Flow(*flow)),
            target => target.clone(),
        }
    }

    /// Takes a message for an open call; `None` for any other and for one that cannot be read.
    pub fn hear(&mut self, header: &Header, body: Body) -> Option<(u64, Reply)> {
        let open = self.open.get(&header.request)?;
        let reply = match header.kind {
            Kind::Progress => Reply::Progress(body::read(&body).ok()?),
            Kind::Chunk => Reply::Chunk(body),
            Kind::Result => Reply::Answer(Ok(body)),
            Kind::Error => Reply::Answer(Err(BusError::from_body(&body))),
            _ => return None,
        };
        if let (Target::Flow(flow), Target::Name(name)) = (&header.target, &open.header.target) {
            if header.kind != Kind::Error && self.flows.get(name) != Some(flow) {
                self.flows.insert(name.clone(), *flow);
            }
        }
        if let Reply::Answer(outcome) = &reply {
            let asked = self.open.remove(&header.request)?;
            if let (Err(error), Kind::Subscribe, Target::Name(topic)) =
                (outcome, asked.header.kind, &asked.header.target)
            {
                tracing::warn!(%error, topic, "not subscribed");
                self.topics.remove(topic);
            }
            if asked.renewal {
                return None;
            }
        }
        Some((header.request, reply))
    }

    /// Asks again for all that is open, as the hub has started anew; gives what to send and how those ended that cannot
    /// go on. A stream cannot: chunks may have been lost with the old hub.
    pub fn repeat(&mut self, now: Instant) -> (Vec<Outgoing>, Vec<(u64, BusError)>) {
        let (mut out, mut ended) = (Vec::new(), Vec::new());
        let mut requests: Vec<u64> = self.open.keys().copied().collect();
        requests.sort_unstable();
        let mut asked = BTreeSet::new();
        for request in requests {
            let Some(open) = self.open.get_mut(&request) else { continue };
            let mut header = open.header.clone();
            if header.kind == Kind::Subscribe {
                if let Target::Name(topic) = &header.target {
                    asked.insert(topic.clone());
                }
            } else if open.cancelled || header.stream.is_some() {
                ended.push((request, broken_off(open.cancelled)));
                out.extend(self.abandon(request));
                continue;
            } else {
                header.again = true;
                header.ttl = open.deadline.map_or(0, |at| ttl(at.saturating_duration_since(now)));
            }
            let body = open.body.share();
            header.target = self.target(&header);
            out.push(Outgoing { header, body });
        }
        for topic in self.topics.difference(&asked).cloned().collect::<Vec<_>>() {
            // With as many open calls as there may be, the subscription is lost and the log says so.
            match self.subscribe(&topic, true) {
                Ok((request, outgoing)) => {
                    self.open.entry(request).and_modify(|open| open.renewal = true);
                    out.push(outgoing);
                }
                Err(error) => tracing::error!(%error, topic, "failed to subscribe again"),
            }
        }
        (out, ended)
    }
}

fn broken_off(cancelled: bool) -> BusError {
    if cancelled {
        return BusError::new(Code::Cancelled, "the call was cancelled");
    }
    BusError::new(Code::Unavailable, "the stream broke off when the hub started anew")
        .fault(Fault::Kernel)
        .help("call again")
}
