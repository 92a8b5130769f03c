//! The thread that runs a player's functions, one call at a time, while the session's thread keeps the socket.

use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use symphony_wire::body::{self, Activate};
use symphony_wire::constants::DEFAULT_METHOD;
use symphony_wire::service::{parse, Outcome};
use symphony_wire::{BusError, Code, Header, Kind, Ticket};

use crate::asking::{Asking, Numbers, Reply};
use crate::calls::after;
use crate::extension::Functions;
use crate::mailbox::Mailbox;
use crate::outgoing::Outgoing;
use crate::serving::{key, Key};
use crate::session::Provider;
use crate::{Body, Context, Stop};

/// A call that is over its deadline by this much counts as hung.
const OVERRUN: Duration = Duration::from_secs(2);

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
    commands: Sender<Command>,
    stop: Stop,
}

impl Desk {
    pub fn send(&self, command: Command) {
        // The other end goes away only when the session is over; nobody waits for anything then.
        if self.commands.send(command).is_ok() {
            self.stop.ring();
        }
    }
}

struct Job {
    context: Context,
    key: (String, String),
    body: Body,
}

pub struct Worker {
    jobs: Sender<Job>,
    commands: Receiver<Command>,
    desk: Desk,
    running: HashMap<Key, Arc<Mailbox>>,
    /// Where the replies to a running function's own calls go.
    asked: HashMap<u64, Arc<Mailbox>>,
    activate: Arc<Activate>,
    inbox: Option<PathBuf>,
    outbox: Option<PathBuf>,
}

impl Worker {
    pub fn start(
        functions: Functions,
        ticket: &Ticket,
        stop: &Stop,
        numbers: &Numbers,
        max_body: usize,
    ) -> Self {
        let (jobs, queue) = mpsc::channel();
        let (sender, commands) = mpsc::channel();
        let desk =
            Desk { numbers: numbers.clone(), max_body, commands: sender, stop: stop.clone() };
        let theirs = desk.clone();
        // Not joined: it ends when the queue does, and a function that hangs must not keep the process.
        thread::spawn(move || work(functions, &queue, &theirs));
        Self {
            jobs,
            commands,
            desk,
            running: HashMap::new(),
            asked: HashMap::new(),
            activate: Arc::default(),
            inbox: ticket.inbox.clone(),
            outbox: ticket.outbox.clone(),
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
    fn call(
        &mut self,
        mut header: Header,
        capability: String,
        body: Body,
        out: &mut Vec<Outgoing>,
    ) {
        #[derive(Deserialize)]
        struct Arguments {
            #[serde(rename = "$", default)]
            context: body::Context,
        }
        let arguments: Arguments = match parse(&body) {
            Ok(arguments) => arguments,
            Err(error) => return out.push(Outgoing::answer(&header, Err(error), usize::MAX)),
        };
        let Some(call) = key(&header) else { return };
        let ttl = (header.ttl > 0).then(|| Duration::from_millis(u64::from(header.ttl)));
        let mailbox = Arc::new(Mailbox::new(after(ttl), header.stream));
        self.running.insert(call, Arc::clone(&mailbox));
        let method = header.method.take().unwrap_or_else(|| DEFAULT_METHOD.to_owned());
        let context = Context {
            header,
            origin: arguments.context,
            activate: Arc::clone(&self.activate),
            mailbox,
            inbox: self.inbox.clone(),
            outbox: self.outbox.clone(),
            trace: OnceLock::new(),
            desk: self.desk.clone(),
        };
        // The thread outlives this sender: a panic in a function does not end it.
        let _ = self.jobs.send(Job { context, key: (capability, method), body });
    }

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

    fn lose_streams(&mut self, out: &mut Vec<Outgoing>) {
        let streams = self.running.iter().filter(|(_, mailbox)| mailbox.streams());
        let calls: Vec<Key> = streams.map(|(call, _)| *call).collect();
        for call in calls {
            self.cancel(call, out);
        }
    }

    fn heard(&mut self, request: u64, reply: Reply) {
        let mailbox = match &reply {
            Reply::Answer(_) => self.asked.remove(&request),
            _ => self.asked.get(&request).cloned(),
        };
        if let Some(mailbox) = mailbox {
            mailbox.deliver(request, reply);
        }
    }

    fn activate(&mut self, activate: Activate) {
        self.activate = Arc::new(activate);
    }

    fn settle(&mut self, asking: &mut Asking, out: &mut Vec<Outgoing>) {
        while let Ok(command) = self.commands.try_recv() {
            self.obey(command, asking, out);
        }
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

fn work(mut functions: Functions, queue: &Receiver<Job>, desk: &Desk) {
    for Job { context, key, body } in queue {
        if context.mailbox.begin() {
            let outcome = answer(&mut functions, &context, &key, &body);
            desk.send(Command::Say(Outgoing::answer(&context.header, outcome, desk.max_body)));
        }
    }
}

fn answer(
    functions: &mut Functions,
    context: &Context,
    key: &(String, String),
    body: &[u8],
) -> Outcome {
    context.check()?;
    let function = functions.get_mut(key).ok_or_else(|| {
        let (capability, method) = key;
        BusError::new(Code::NotFound, format!("{capability} has no method {method}")).at("method")
    })?;
    // A function that panicked is called again for the next call: what it keeps between calls is its own affair.
    panic::catch_unwind(AssertUnwindSafe(|| function(context, body))).unwrap_or_else(|payload| {
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("without a message");
        Err(BusError::new(Code::Failed, format!("the function panicked: {text}")).class("panic"))
    })
}
