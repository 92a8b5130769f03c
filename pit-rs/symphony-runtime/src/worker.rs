//! The thread that runs a player's functions, one call at a time, while the session's thread keeps the socket.

use std::collections::HashMap;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use symphony_wire::body::{self, Activate};
use symphony_wire::service::{parse, Call, Outcome};
use symphony_wire::{BusError, Code, Header, Kind, Target, Ticket};

use crate::extension::Functions;
use crate::session::{Outgoing, Provider};
use crate::{Context, Stop};

/// A call that is over its deadline by this much counts as hung.
const OVERRUN: Duration = Duration::from_secs(2);

struct Job {
    context: Context,
    key: (String, String),
    body: Vec<u8>,
}

struct Running {
    cancelled: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

pub struct Worker {
    jobs: Sender<Job>,
    done: Receiver<Outgoing>,
    out: Sender<Outgoing>,
    running: HashMap<(u32, u64), Running>,
    activate: Arc<Activate>,
    inbox: Option<PathBuf>,
    outbox: Option<PathBuf>,
    stop: Stop,
}

impl Worker {
    pub fn start(functions: Functions, ticket: &Ticket, stop: &Stop, max_body: usize) -> Self {
        let (jobs, queue) = mpsc::channel();
        let (out, done) = mpsc::channel();
        // Not joined: it ends when the queue does, and a function that hangs must not keep the process.
        thread::spawn(move || work(functions, &queue, max_body));
        Self {
            jobs,
            done,
            out,
            running: HashMap::new(),
            activate: Arc::default(),
            inbox: ticket.inbox.clone(),
            outbox: ticket.outbox.clone(),
            stop: stop.clone(),
        }
    }
}

impl Provider for Worker {
    fn call(&mut self, header: Header, call: Call<'_>, out: &mut Vec<Outgoing>) {
        #[derive(Deserialize)]
        struct Arguments {
            #[serde(rename = "$", default)]
            context: body::Context,
        }
        let arguments: Arguments = match parse(call.body) {
            Ok(arguments) => arguments,
            Err(error) => return out.push(Outgoing::answer(&header, Err(error), usize::MAX)),
        };
        let ttl = Duration::from_millis(u64::from(header.ttl));
        let deadline = (!ttl.is_zero()).then(|| Instant::now() + ttl);
        let cancelled = Arc::new(AtomicBool::new(false));
        let running = Running { cancelled: Arc::clone(&cancelled), deadline };
        self.running.insert(key(&header), running);
        let context = Context {
            header,
            call: arguments.context,
            activate: Arc::clone(&self.activate),
            cancelled,
            deadline,
            inbox: self.inbox.clone(),
            outbox: self.outbox.clone(),
            out: self.out.clone(),
            stop: self.stop.clone(),
        };
        let key = (call.capability.to_owned(), call.method.to_owned());
        // The thread outlives this sender: a panic in a function does not end it.
        let _ = self.jobs.send(Job { context, key, body: call.body.to_vec() });
    }

    fn cancel(&mut self, header: &Header) {
        if let Some(running) = self.running.get(&key(header)) {
            running.cancelled.store(true, Ordering::Release);
        }
    }

    fn activate(&mut self, activate: Activate) {
        self.activate = Arc::new(activate);
    }

    fn settle(&mut self, out: &mut Vec<Outgoing>) {
        for message in self.done.try_iter() {
            if message.header.kind != Kind::Progress {
                self.running.remove(&key(&message.header));
            }
            out.push(message);
        }
    }

    fn busy(&self) -> bool {
        !self.running.is_empty()
    }

    fn hung(&self, now: Instant) -> bool {
        self.running
            .values()
            .any(|running| running.deadline.is_some_and(|deadline| now >= deadline + OVERRUN))
    }
}

fn key(header: &Header) -> (u32, u64) {
    let flow = if let Target::Flow(flow) = header.target { flow } else { 0 };
    (flow, header.request)
}

fn work(mut functions: Functions, queue: &Receiver<Job>, max_body: usize) {
    for Job { context, key, body } in queue {
        let outcome = answer(&mut functions, &context, &key, &body);
        let message = Outgoing::answer(&context.header, outcome, max_body);
        if context.out.send(message).is_ok() {
            context.stop.ring();
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
