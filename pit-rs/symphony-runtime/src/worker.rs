//! A player's calls: those that run or are to be run, and what their functions want of the bus.

use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use foldhash::HashMap;
use serde::Deserialize;
use symphony_wire::body::{self, has_context, Activate};
use symphony_wire::constants::DEFAULT_METHOD;
use symphony_wire::service::{parse, Outcome};
use symphony_wire::{BusError, Code, Header, Kind, Ticket};

use crate::asking::{Asking, Numbers, Reply};
use crate::calls::after;
use crate::events::{Events, Notice};
use crate::extension::Functions;
use crate::handover::Handover;
use crate::mailbox::Mailbox;
use crate::outgoing::Outgoing;
use crate::serving::{key, Key};
use crate::session::Provider;
use crate::{log, Body, Context};

/// A call that is over its deadline by this much counts as hung.
const OVERRUN: Duration = Duration::from_secs(2);

/// No flow has this number.
const EVENTS: u32 = 0;

/// What a running function wants of the thread that owns the socket.
pub enum Command {
    /// An answer, progress or a chunk.
    Say(Outgoing),
    /// A call of its own, replies to which go into the mailbox.
    Ask {
        header: Header,
        body: Body,
        deadline: Option<Instant>,
        replies: Arc<Mailbox>,
    },
    Credit(u64, u32),
    Abandon(u64),
}

/// The way to that thread.
#[derive(Clone)]
pub struct Desk {
    pub numbers: Numbers,
    pub max_body: usize,
    pub handover: Arc<Handover>,
}

/// What all calls of an instance have in common.
#[derive(Clone)]
pub struct Instance {
    pub activate: Activate,
    pub inbox: Option<PathBuf>,
    pub outbox: Option<PathBuf>,
    pub desk: Desk,
}

/// What the player's thread runs.
pub enum Job {
    Call(Call),
    Event(Notice),
}

/// A call to be run.
pub struct Call {
    context: Context,
    capability: Arc<str>,
    method: Option<String>,
    body: Body,
}

impl Job {
    /// Among which others it waits: those of its flow, or the events.
    pub fn lane(&self) -> u32 {
        match self {
            Self::Call(call) => key(&call.context.header).map_or(EVENTS, |(flow, _)| flow),
            Self::Event(_) => EVENTS,
        }
    }

    /// Runs it and gives the answer, if there is one to give.
    pub fn run(self, functions: &mut Functions) -> Option<Command> {
        match self {
            Self::Call(call) => call.run(functions),
            Self::Event(notice) => {
                notice.run(&mut functions.handlers);
                None
            }
        }
    }
}

impl Call {
    /// Runs the call's function and gives the answer; `None` if the call is answered already.
    fn run(self, functions: &mut Functions) -> Option<Command> {
        let Self { context, .. } = &self;
        context.mailbox.begin().then(|| {
            let outcome = log::serving(context.header.trace.as_deref(), || self.call(functions));
            let max_body = context.instance.desk.max_body;
            Command::Say(Outgoing::answer(&context.header, outcome, max_body))
        })
    }

    fn call(&self, functions: &mut Functions) -> Outcome {
        let Self { context, capability, body, .. } = self;
        let method = self.method.as_deref().unwrap_or(DEFAULT_METHOD);
        context.check()?;
        let methods = functions.calls.get_mut(&**capability);
        let function = methods.and_then(|methods| methods.get_mut(method)).ok_or_else(|| {
            BusError::new(Code::NotFound, format!("{capability} has no method {method}"))
                .at("method")
        })?;
        // A function that panicked is called again for the next call: what it keeps between calls is its own affair.
        panic::catch_unwind(AssertUnwindSafe(|| function(context, body))).unwrap_or_else(
            |payload| {
                let text = payload
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| payload.downcast_ref::<&str>().copied())
                    .unwrap_or("without a message");
                let text = format!("the function panicked: {text}");
                Err(BusError::new(Code::Failed, text).class("panic"))
            },
        )
    }
}

pub struct Worker {
    /// Until the player's thread takes them.
    pub jobs: Vec<Job>,
    instance: Arc<Instance>,
    events: Events,
    running: HashMap<Key, Arc<Mailbox>>,
    /// Where the replies to a running function's own calls go.
    asked: HashMap<u64, Arc<Mailbox>>,
    /// Empty between two turns; its memory serves again.
    commands: Vec<Command>,
}

impl Worker {
    pub fn new(ticket: &Ticket, desk: Desk, events: Events) -> Self {
        let (inbox, outbox) = (ticket.inbox.clone(), ticket.outbox.clone());
        let instance = Instance { activate: Activate::default(), inbox, outbox, desk };
        Self {
            jobs: Vec::new(),
            instance: Arc::new(instance),
            events,
            running: HashMap::default(),
            asked: HashMap::default(),
            commands: Vec::new(),
        }
    }

    fn obey(&mut self, command: Command, asking: &mut Asking, out: &mut Vec<Outgoing>) {
        match command {
            Command::Say(outgoing) => {
                if matches!(outgoing.header.kind, Kind::Result | Kind::Error) {
                    key(&outgoing.header).map(|call| self.running.remove(&call));
                }
                out.push(outgoing);
            }
            Command::Ask { header, body, deadline, replies } => {
                let request = header.request;
                match asking.open(header, body, deadline) {
                    Ok(outgoing) => {
                        self.asked.insert(request, replies);
                        out.push(outgoing);
                    }
                    Err(error) => replies.deliver(request, Reply::Answer(Err(error))),
                }
            }
            Command::Credit(request, chunks) => out.extend(asking.credit(request, chunks)),
            Command::Abandon(request) => {
                if let Some(replies) = self.asked.remove(&request) {
                    replies.forget(request);
                }
                out.extend(asking.abandon(request));
            }
        }
    }
}

impl Provider for Worker {
    /// Few: while these calls run, their caller works on the answers to those before.
    const BATCH: usize = 16;

    fn call(
        &mut self,
        mut header: Header,
        capability: Arc<str>,
        body: Body,
        out: &mut Vec<Outgoing>,
    ) {
        let origin = match origin(&body) {
            Ok(origin) => origin,
            Err(error) => return out.push(Outgoing::answer(&header, Err(error), usize::MAX)),
        };
        let Some(call) = key(&header) else { return };
        let ttl = (header.ttl > 0).then(|| Duration::from_millis(u64::from(header.ttl)));
        let mailbox = Arc::new(Mailbox::new(after(ttl), header.stream));
        self.running.insert(call, Arc::clone(&mailbox));
        let method = header.method.take();
        let instance = Arc::clone(&self.instance);
        let context = Context { header, origin, mailbox, instance, trace: OnceLock::new() };
        let call = Call { context, capability, method, body };
        self.jobs.push(Job::Call(call));
    }

    /// Its function goes on.
    fn repeated(&mut self, _: Key) {}

    fn cancel(&mut self, call: Key, out: &mut Vec<Outgoing>) {
        let Some(mailbox) = self.running.get(&call) else { return };
        if mailbox.cancel() {
            // It waits behind another call, which may take longer than the hub waits for this answer.
            self.running.remove(&call);
            let header = Header {
                target: symphony_wire::Target::Flow(call.0),
                request: call.1,
                ..Header::new(Kind::Error)
            };
            let error = BusError::new(Code::Cancelled, "the call was cancelled before it began");
            out.push(Outgoing { header, body: error.to_body().into() });
        }
    }

    fn credit(&mut self, call: Key, chunks: u32) {
        if let Some(mailbox) = self.running.get(&call) {
            mailbox.give(chunks);
        }
    }

    fn renewed(&mut self, _: Duration, out: &mut Vec<Outgoing>) {
        let streams = self.running.iter().filter(|(_, mailbox)| mailbox.streams());
        let calls: Vec<Key> = streams.map(|(call, _)| *call).collect();
        for call in calls {
            self.cancel(call, out);
        }
    }

    fn heard(&mut self, request: u64, reply: Reply) {
        if let Reply::Answer(outcome) = &reply {
            if self.events.answered(request, outcome.as_ref().map(drop).map_err(Clone::clone)) {
                return;
            }
        }
        let mailbox = match &reply {
            Reply::Answer(_) => self.asked.remove(&request),
            _ => self.asked.get(&request).cloned(),
        };
        if let Some(mailbox) = mailbox {
            mailbox.deliver(request, reply);
        }
    }

    fn activate(&mut self, activate: Activate) {
        self.instance = Arc::new(Instance { activate, ..Instance::clone(&self.instance) });
    }

    fn prepare(&mut self, header: &Header, asking: &mut Asking, out: &mut Vec<Outgoing>) -> bool {
        self.events.begin(header, asking, out)
    }

    fn event(&mut self, header: Header, body: Body) {
        self.jobs.extend(self.events.admit(header, body).map(Job::Event));
    }

    fn settle(&mut self, asking: &mut Asking, out: &mut Vec<Outgoing>) {
        let mut commands = std::mem::take(&mut self.commands);
        self.instance.desk.handover.take(&mut commands);
        for command in commands.drain(..) {
            self.obey(command, asking, out);
        }
        self.commands = commands;
        out.extend(self.events.ready(self.instance.desk.max_body));
    }

    fn busy(&self) -> bool {
        !self.running.is_empty()
    }

    fn hung(&self, now: Instant) -> bool {
        self.running
            .values()
            .any(|call| call.deadline().is_some_and(|deadline| now >= deadline + OVERRUN))
    }
}

impl Drop for Worker {
    /// Whatever still runs has nobody to answer to.
    fn drop(&mut self) {
        for mailbox in self.running.values() {
            mailbox.cancel();
        }
    }
}

/// The context that a call's arguments name; most calls have none, and what is large in them is not read for that.
fn origin(body: &[u8]) -> Result<body::Context, BusError> {
    #[derive(Deserialize)]
    struct Arguments {
        #[serde(rename = "$", default)]
        context: body::Context,
    }
    if has_context(body) == Some(false) {
        return Ok(body::Context::default());
    }
    parse(body).map(|arguments: Arguments| arguments.context)
}
