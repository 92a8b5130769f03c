//! The door of the bus: libzmq asks here, over ZAP (RFC 27), about whoever connects; `bus/zap.py` in Rust.
//!
//! A thread of its own owns the socket, so that the bus never waits for a decision. libzmq holds the connection back
//! until it is answered.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::rand::{getrandom, GetRandomFlags};
use symphony_switch::{Event, Frame, Reason, Upcall};
use symphony_zmq::{Context, Error, Kind, Message, Socket, DONTWAIT};

use crate::commands::Command;
use crate::frame::Wire;
use crate::notifier::Notifier;
use crate::shared::{panic_text, Shared};

/// Of endpoints that let everybody in; libzmq knows no empty one.
pub const OPEN_DOMAIN: &[u8] = b"-";

const MAX_PENDING: usize = 1_024;
const TOKEN_BYTES: usize = 8;
/// Where libzmq asks, once for each context.
const ADDRESS: &str = "inproc://zeromq.zap.01";
const VERSION: &[u8] = b"1.0";
const CURVE: &[u8] = b"CURVE";
/// Longest sleep while nobody waits.
const IDLE: Duration = Duration::from_secs(3_600);

/// What the door's thread is told to do.
pub enum Order {
    Verdict { token: Vec<u8>, allowed: bool },
    Stop,
}

type Token = [u8; TOKEN_BYTES];

pub struct Door {
    /// Before the notifier, whose end says that all is closed.
    asked: Socket,
    shared: Arc<Shared>,
    notifier: Arc<Notifier>,
    /// How long a connection waits for its verdict.
    patience: Duration,
    /// The frames that a reply begins with.
    pending: HashMap<Token, Vec<Message>>,
    /// All wait equally long, so the first to come is the first to go. Decided ones stay until their time.
    queue: VecDeque<(Instant, Token)>,
}

impl Door {
    pub fn new(
        context: &Context,
        shared: Arc<Shared>,
        notifier: Arc<Notifier>,
        patience: Duration,
    ) -> io::Result<Self> {
        let mut asked = context.socket(Kind::Router)?;
        asked.bind(ADDRESS)?;
        let (pending, queue) = (HashMap::new(), VecDeque::new());
        Ok(Self { shared, notifier, asked, patience, pending, queue })
    }

    pub fn start(self) -> io::Result<()> {
        thread::Builder::new().name("symphony-door".to_owned()).spawn(move || self.run()).map(drop)
    }

    /// Serves until told to stop. Without a door the bus must not go on: a failure is the hub's as well.
    fn run(mut self) {
        let ended = catch_unwind(AssertUnwindSafe(|| self.serve()));
        let failure = match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(panic) => Some(panic_text(&*panic)),
        };
        self.shared.orders.close();
        if let Some(reason) = failure {
            self.shared
                .commands
                .give(Command::Fail { reason: format!("its door ended: {reason}") });
        }
    }

    fn serve(&mut self) -> io::Result<()> {
        loop {
            for order in self.shared.orders.take(MAX_PENDING) {
                match order {
                    Order::Stop => return Ok(()),
                    Order::Verdict { token, allowed } => {
                        if let Some(reply) = self.pending.remove(token.as_slice()) {
                            self.reply(reply, allowed)?;
                        }
                    }
                }
            }
            let wait = self.refuse_late(Instant::now())?;
            // To the last one: only after a receive that gave nothing may the descriptor be waited for.
            loop {
                match self.asked.recv_all(DONTWAIT) {
                    Ok(request) => self.connecting(request)?,
                    Err(Error::AGAIN) => break,
                    Err(Error::INTERRUPTED) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if self.shared.upcalls.to_tell() {
                self.notifier.tell();
            }
            let wait = if self.queue.is_empty() { wait } else { wait.min(self.patience) };
            let descriptor = self.asked.descriptor()?;
            self.shared.orders.sleep(descriptor, wait)?;
        }
    }

    fn connecting(&mut self, mut request: Vec<Message>) -> io::Result<()> {
        // ROUTER's routing ids up to the empty frame, then version, request id, domain, address, identity, mechanism and
        // credentials.
        let Some(start) = request.iter().position(|frame| frame.is_empty()).map(|empty| empty + 1)
        else {
            return Ok(());
        };
        let question = request.split_off(start);
        let [version, id, domain, address, _, mechanism, credentials @ ..] = &question[..] else {
            return Ok(());
        };
        let mut reply = request;
        for frame in [VERSION, id] {
            reply.push(Message::copy_from(frame)?);
        }
        let known = **version == *VERSION;
        if !known || domain.is_empty() || **domain == *OPEN_DOMAIN {
            return self.reply(reply, known);
        }
        let mut token = Token::default();
        getrandom(&mut token, GetRandomFlags::empty())?;
        let key = credentials.first().filter(|_| **mechanism == *CURVE);
        let body = [&token[..], key.map_or(&[], |key| key)].concat();
        let upcall = Upcall {
            event: Event::Connecting,
            peer: String::from_utf8_lossy(domain).into(),
            header: Wire::copy_from(address),
            body: Wire::copy_from(&body),
        };
        if self.pending.len() >= MAX_PENDING || self.shared.upcalls.offer(upcall, true).is_err() {
            return self.reply(reply, false);
        }
        self.pending.insert(token, reply);
        self.queue.push_back((Instant::now() + self.patience, token));
        Ok(())
    }

    /// Refuses those that waited long enough; says how long the next one still has.
    fn refuse_late(&mut self, now: Instant) -> io::Result<Duration> {
        while let Some((until, token)) = self.queue.front().copied() {
            if until > now && self.pending.contains_key(&token) {
                return Ok(until - now);
            }
            self.queue.pop_front();
            if let Some(reply) = self.pending.remove(&token) {
                self.reply(reply, false)?;
            }
        }
        Ok(IDLE)
    }

    fn reply(&mut self, mut reply: Vec<Message>, allowed: bool) -> io::Result<()> {
        let (code, text): (&[u8], &[u8]) =
            if allowed { (b"200", b"OK") } else { (b"400", b"refused") };
        if !allowed {
            self.shared.counters.count(Reason::ConnectionRefused);
        }
        for frame in [code, text, b"", b""] {
            reply.push(Message::copy_from(frame)?);
        }
        Ok(self.asked.send_all(&mut reply, DONTWAIT)?)
    }
}
