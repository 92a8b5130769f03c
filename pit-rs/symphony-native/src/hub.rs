//! The thread: a ROUTER and the switch that it drives.
//!
//! Each turn obeys some commands, does what is due, then receives up to `MAX_BATCH` messages and sends at once what each
//! leads to: nothing that is to be sent waits for messages that lead nowhere. The socket takes from its peers in turn, so
//! a flood of one costs the others no more than its share.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use symphony_switch::{
    Egress, Event, Flow, Frame, Reason, Refusal, Switch, Times, Transport, Upcall, KERNEL,
    LARGE_BODY, MAX_LENT_BYTES,
};
use symphony_wire::constants::{MAX_BODY, MAX_FRAMES};
use symphony_zmq::{opt, Context, Error, Kind, Lending, Message, Socket, DONTWAIT, SNDMORE};

use crate::clock::Clock;
use crate::commands::Command;
use crate::endpoint;
use crate::frame::Wire;
use crate::handshakes::Handshakes;
use crate::notifier::Notifier;
use crate::shared::{panic_text, Shared};

/// Messages received before anything else gets its turn.
const MAX_BATCH: usize = 64;
/// The same for commands.
const MAX_COMMANDS: usize = 16;
/// Messages libzmq holds per peer before it says EAGAIN.
const HIGH_WATER: i32 = 256;
/// How soon a slow peer is tried again.
const BLOCKED: Duration = Duration::from_millis(2);
/// How soon one that is not connected.
const ABSENT: Duration = Duration::from_millis(16);

/// The socket as the switch's transport.
struct Router {
    socket: Socket,
    lending: Lending,
}

impl Transport<Wire> for Router {
    fn try_send(&mut self, to: &[u8], header: &mut Wire, body: &mut Wire) -> Result<(), Refusal> {
        let account = if body.len() < LARGE_BODY {
            None
        } else {
            Some(self.lending.account(to, body.len()).ok_or(Refusal::Busy)?)
        };
        let mut identity = Message::copy_from(to).map_err(|_| Refusal::Busy)?;
        // Only the first frame can be refused: libzmq accepts or refuses a message as a whole.
        match self.socket.send(&mut identity, SNDMORE | DONTWAIT) {
            Ok(()) => {}
            Err(Error::AGAIN | Error::INTERRUPTED) => return Err(Refusal::Busy),
            Err(_) => return Err(Refusal::Gone), // EHOSTUNREACH: nobody is connected with this routing id
        }
        self.socket.send(&mut header.0, SNDMORE | DONTWAIT).map_err(|_| Refusal::Gone)?;
        if let Some(account) = account {
            body.lend(account);
        }
        self.socket.send(&mut body.0, DONTWAIT).map_err(|_| Refusal::Gone)
    }
}

pub struct Hub {
    shared: Arc<Shared>,
    notifier: Arc<Notifier>,
    clock: Clock,
    router: Router,
    handshakes: Handshakes,
    switch: Switch<Wire>,
    egress: Egress<Wire>,
    /// When those that are not connected are tried again.
    absent_at: Instant,
    stopping: bool,
}

impl Hub {
    /// Opens the socket; nothing is bound yet.
    pub fn new(
        context: &Context,
        shared: Arc<Shared>,
        notifier: Arc<Notifier>,
        clock: Clock,
        times: Times,
    ) -> Result<Self, Error> {
        let mut socket = context.socket(Kind::Router)?;
        socket.set(opt::ROUTER_MANDATORY, 1)?;
        socket.set_i64(opt::MAXMSGSIZE, i64::try_from(MAX_BODY).unwrap_or(i64::MAX))?;
        socket.set(opt::SNDHWM, HIGH_WATER)?;
        socket.set(opt::RCVHWM, HIGH_WATER)?;
        let handshakes = Handshakes::of(context, &mut socket)?;
        let (upcalls, counters) = (Arc::clone(&shared.upcalls), Arc::clone(&shared.counters));
        let switch = Switch::new(upcalls, counters, times, clock.now());
        let (router, egress, absent_at) = (
            Router { socket, lending: Lending::new(MAX_LENT_BYTES) },
            Egress::default(),
            Instant::now(),
        );
        let stopping = false;
        Ok(Self {
            shared,
            notifier,
            clock,
            router,
            handshakes,
            switch,
            egress,
            absent_at,
            stopping,
        })
    }

    /// Serves until told to stop. A failure, a panic included, is the last upcall.
    pub fn run(mut self) {
        let ended = catch_unwind(AssertUnwindSafe(|| self.serve()));
        let failure = match ended {
            Ok(Ok(())) => None,
            Ok(Err(reason)) => Some(reason),
            Err(panic) => Some(format!("a bug in it: {}", panic_text(&*panic))),
        };
        let Self { shared, notifier, router, handshakes, .. } = self;
        drop((router, handshakes));
        shared.commands.close();
        if let Some(reason) = failure {
            let (header, body) = (Wire::copy_from(reason.as_bytes()), Wire::copy_from(&[]));
            let failed = Upcall { event: Event::Failed, peer: KERNEL.into(), header, body };
            // It is not bounded, so it is taken.
            let _ = shared.upcalls.offer(failed, false);
            notifier.tell();
        }
    }

    fn serve(&mut self) -> Result<(), String> {
        while !self.stopping {
            let drained = self.turn().map_err(|error| format!("its socket failed: {error}"))?;
            if drained && !self.stopping {
                self.sleep()?;
            }
        }
        Ok(())
    }

    /// Whether nothing is left to receive; if so, the receive that found it out was the last use of the socket.
    fn turn(&mut self) -> Result<bool, Error> {
        for command in self.shared.commands.take(MAX_COMMANDS) {
            self.obey(command);
        }
        let now = self.clock.now();
        if now >= self.switch.next_tick() {
            self.switch.tick(now);
            self.report_handshakes();
        }
        self.egress.retry_blocked(&mut self.switch, &mut self.router, now);
        if self.egress.absent() && Instant::now() >= self.absent_at {
            self.absent_at = Instant::now() + ABSENT;
            self.egress.retry_absent(&mut self.switch, &mut self.router, now);
        }
        self.flush(now);
        self.tell();
        let drained = self.receive_batch(now)?;
        self.tell();
        Ok(drained)
    }

    fn report_handshakes(&mut self) {
        for (domain, failed) in self.handshakes.take() {
            for _ in 0..failed {
                self.switch.counters().count(Reason::HandshakeFailed);
            }
            let header = Wire::copy_from(failed.to_string().as_bytes());
            let body = Wire::copy_from(&[]);
            let upcall = Upcall { event: Event::Handshake, peer: domain.into(), header, body };
            // It is not bounded, so it is taken.
            let _ = self.shared.upcalls.offer(upcall, false);
        }
    }

    fn receive_batch(&mut self, now: f64) -> Result<bool, Error> {
        for _ in 0..MAX_BATCH {
            let mut identity = Message::new();
            match self.router.socket.recv(&mut identity, DONTWAIT) {
                Ok(()) => {}
                Err(Error::AGAIN) => return Ok(true),
                Err(Error::INTERRUPTED) => return Ok(false),
                Err(error) => return Err(error),
            }
            match self.rest(&identity)? {
                Rest::Message(header, body) => {
                    if !self.switch.receive(&identity, header, body, now) {
                        self.switch.counters().count(Reason::UnknownIdentity);
                    }
                    self.flush(now);
                }
                Rest::Frames(number) => {
                    self.switch.counters().count(Reason::Frames);
                    if number > MAX_FRAMES {
                        self.switch.violated(&identity, now);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Receives what follows a routing id, to its end.
    fn rest(&mut self, identity: &Message) -> Result<Rest, Error> {
        let (mut header, mut body, mut excess) = (Message::new(), Message::new(), Message::new());
        let mut frames = 0;
        let mut more = identity.more();
        while more {
            let frame = match frames {
                0 => &mut header,
                1 => &mut body,
                _ => &mut excess,
            };
            self.router.socket.recv(frame, DONTWAIT)?; // it is there: messages arrive whole
            more = frame.more();
            frames += 1;
        }
        Ok(if frames == 2 { Rest::Message(Wire(header), Wire(body)) } else { Rest::Frames(frames) })
    }

    fn flush(&mut self, now: f64) {
        self.egress.flush(&mut self.switch, &mut self.router, now);
    }

    fn tell(&self) {
        if self.shared.upcalls.to_tell() {
            self.notifier.tell();
        }
    }

    fn sleep(&self) -> Result<(), String> {
        let left = self.switch.next_tick() - self.clock.now();
        let mut limit = Duration::try_from_secs_f64(left).unwrap_or_default();
        if self.egress.blocked() {
            limit = limit.min(BLOCKED);
        } else if self.egress.absent() {
            limit = limit.min(ABSENT);
        }
        let descriptor = self.router.socket.descriptor().map_err(|error| error.to_string())?;
        let slept = self.shared.commands.sleep(descriptor, limit);
        slept.map_err(|error| format!("its thread cannot wait: {error}"))
    }

    /// What a command makes the switch say is sent at once, so that the next one finds the queues as they are.
    fn obey(&mut self, command: Command) {
        let now = self.clock.now();
        match command {
            Command::Bind { place, done } => {
                // Nobody hears it if the caller has stopped waiting; so it is with the other answers.
                if !place.curve.is_empty() {
                    self.handshakes.bound(&place.endpoint, &place.domain);
                }
                let _ = done.try_send(endpoint::bind(&mut self.router.socket, place));
            }
            Command::Unbind { endpoint } => {
                self.handshakes.unbound(&endpoint);
                endpoint::unbind(&mut self.router.socket, &endpoint);
            }
            Command::Admit { peer, identity, console: true } => {
                self.switch.admit_consoles(&peer, &identity);
            }
            Command::Admit { peer, identity, console: false } => {
                self.switch.admit(&peer, &identity, now);
            }
            Command::Open { peer } => self.switch.open(&peer, now),
            Command::Expel { peer } => self.switch.expel(&peer, now),
            Command::Install(flow) => self.switch.install(&Flow {
                number: flow.number,
                caller: &flow.caller,
                provider: &flow.provider,
                generation: flow.generation,
                safe: flow.safe,
                credit: flow.credit,
                rate: flow.rate,
                burst: flow.burst,
            }),
            Command::Revoke { generation } => self.switch.revoke(generation),
            Command::Send { peer, header, body } => self.switch.send(&peer, header, body),
            Command::Event { peers, header, body } => {
                self.switch.event(peers.iter().map(String::as_str), header, body);
            }
            Command::Inject { peer, header, body } => self.switch.inject(&peer, header, body, now),
            Command::Flows { reply } => {
                let _ = reply.try_send(self.switch.flows());
            }
            Command::Peers { reply } => {
                let _ = reply.try_send(self.switch.peers());
            }
            Command::Fail { reason } => panic!("{reason}"),
            Command::Stop => self.stopping = true,
        }
        self.flush(now);
    }
}

/// What follows a routing id: a message, or another number of frames.
enum Rest {
    Message(Wire, Wire),
    Frames(usize),
}
