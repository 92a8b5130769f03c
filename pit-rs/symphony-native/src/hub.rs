//! The thread: a ROUTER and the switch that it drives.
//!
//! Each turn obeys commands, does what is due, then receives up to `MAX_BATCH` messages and sends at once what each
//! leads to. The socket takes from its peers in turn, so a flood of one costs the others no more than its share.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use symphony_switch::{Counters, Egress, Flow, Reason, Refusal, Switch, Transport, UpcallQueue};
use symphony_wire::constants::MAX_BODY;
use symphony_zmq::{opt, Context, Error, Kind, Message, Socket, DONTWAIT, SNDMORE};

use crate::clock::Clock;
use crate::commands::{Command, Commands};
use crate::endpoint;
use crate::frame::Wire;
use crate::notifier::Notifier;

/// Messages received before anything else gets its turn.
const MAX_BATCH: usize = 64;
/// Messages libzmq holds per peer before it says EAGAIN.
const HIGH_WATER: i32 = 256;
/// How soon a slow peer is tried again.
const BLOCKED: Duration = Duration::from_millis(2);

/// What the thread shares with the interpreter's side.
pub struct Shared {
    pub commands: Commands,
    pub counters: Arc<Counters>,
    pub upcalls: Arc<UpcallQueue<Wire>>,
    failure: Mutex<Option<String>>,
}

impl Shared {
    pub fn new() -> Result<Self, rustix::io::Errno> {
        Ok(Self {
            commands: Commands::new()?,
            counters: Arc::default(),
            upcalls: Arc::default(),
            failure: Mutex::default(),
        })
    }

    /// Why the thread ended without having been told to.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fail(&self, reason: String) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }
}

/// The socket as the switch's transport.
struct Router(Socket);

impl Transport<Wire> for Router {
    fn try_send(&mut self, to: &[u8], header: &mut Wire, body: &mut Wire) -> Result<(), Refusal> {
        let mut identity = Message::copy_from(to).map_err(|_| Refusal::Busy)?;
        // Only the first frame can be refused: libzmq accepts or refuses a message as a whole.
        match self.0.send(&mut identity, SNDMORE | DONTWAIT) {
            Ok(()) => {}
            Err(Error::AGAIN | Error::INTERRUPTED) => return Err(Refusal::Busy),
            Err(_) => return Err(Refusal::Gone), // EHOSTUNREACH: nobody is connected with this routing id
        }
        self.0.send(&mut header.0, SNDMORE | DONTWAIT).map_err(|_| Refusal::Gone)?;
        self.0.send(&mut body.0, DONTWAIT).map_err(|_| Refusal::Gone)
    }
}

pub struct Hub {
    shared: Arc<Shared>,
    notifier: Notifier,
    clock: Clock,
    router: Router,
    switch: Switch<Wire>,
    egress: Egress<Wire>,
    stopping: bool,
}

impl Hub {
    /// Opens the socket; nothing is bound yet.
    pub fn new(
        shared: Arc<Shared>,
        notifier: Notifier,
        clock: Clock,
        heartbeat_ms: u32,
        liveness: u32,
    ) -> Result<Self, Error> {
        let mut socket = Context::new()?.socket(Kind::Router)?;
        socket.set(opt::ROUTER_MANDATORY, 1)?;
        socket.set_i64(opt::MAXMSGSIZE, i64::try_from(MAX_BODY).unwrap_or(i64::MAX))?;
        socket.set(opt::SNDHWM, HIGH_WATER)?;
        socket.set(opt::RCVHWM, HIGH_WATER)?;
        let (upcalls, counters) = (Arc::clone(&shared.upcalls), Arc::clone(&shared.counters));
        let now = clock.now();
        let switch = Switch::new(upcalls, counters, heartbeat_ms, liveness, now);
        let router = Router(socket);
        Ok(Self {
            shared,
            notifier,
            clock,
            router,
            switch,
            egress: Egress::default(),
            stopping: false,
        })
    }

    /// Serves until told to stop. A failure, a panic included, is left in `Shared` and the control plane is woken.
    pub fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let ended = catch_unwind(AssertUnwindSafe(|| self.serve()));
        let failure = match ended {
            Ok(Ok(())) => None,
            Ok(Err(reason)) => Some(reason),
            Err(panic) => Some(panic_text(&*panic)),
        };
        let Self { notifier, router, .. } = self;
        drop(router);
        shared.commands.close();
        if let Some(reason) = failure {
            shared.fail(reason);
            notifier.tell();
        }
    }

    fn serve(&mut self) -> Result<(), String> {
        while !self.stopping {
            let drained = self.turn().map_err(|error| format!("the bus socket failed: {error}"))?;
            if drained && !self.stopping {
                self.sleep()?;
            }
        }
        Ok(())
    }

    /// Whether nothing is left to receive; if so, the receive that found it out was the last use of the socket.
    fn turn(&mut self) -> Result<bool, Error> {
        for command in self.shared.commands.take() {
            self.obey(command);
        }
        let now = self.clock.now();
        if now >= self.switch.next_tick() {
            self.switch.tick(now);
        }
        self.egress.retry(&mut self.switch, &mut self.router);
        self.egress.flush(&mut self.switch, &mut self.router);
        self.tell();
        let drained = self.receive_batch(now)?;
        self.tell();
        Ok(drained)
    }

    fn receive_batch(&mut self, now: f64) -> Result<bool, Error> {
        for _ in 0..MAX_BATCH {
            let mut identity = Message::new();
            match self.router.0.recv(&mut identity, DONTWAIT) {
                Ok(()) => {}
                Err(Error::AGAIN) => return Ok(true),
                Err(Error::INTERRUPTED) => return Ok(false),
                Err(error) => return Err(error),
            }
            if let Some((header, body)) = self.rest(&identity)? {
                if !self.switch.receive(&identity, header, body, now) {
                    self.switch.counters().count(Reason::UnknownIdentity);
                }
                self.egress.flush(&mut self.switch, &mut self.router);
            } else {
                self.switch.counters().count(Reason::Frames);
            }
        }
        Ok(false)
    }

    /// Receives what follows a routing id, to its end; `None` if that is not two frames.
    fn rest(&mut self, identity: &Message) -> Result<Option<(Wire, Wire)>, Error> {
        let (mut header, mut body, mut excess) = (Message::new(), Message::new(), Message::new());
        let mut frames = 0;
        let mut more = identity.more();
        while more {
            let frame = match frames {
                0 => &mut header,
                1 => &mut body,
                _ => &mut excess,
            };
            self.router.0.recv(frame, DONTWAIT)?; // it is there: messages arrive whole
            more = frame.more();
            frames += 1;
        }
        Ok((frames == 2).then_some((Wire(header), Wire(body))))
    }

    fn tell(&self) {
        if self.shared.upcalls.to_tell() {
            self.notifier.tell();
        }
    }

    fn sleep(&self) -> Result<(), String> {
        let limit = if self.egress.blocked() {
            BLOCKED
        } else {
            let left = self.switch.next_tick() - self.clock.now();
            Duration::try_from_secs_f64(left).unwrap_or_default()
        };
        let descriptor = self.router.0.descriptor().map_err(|error| error.to_string())?;
        let slept = self.shared.commands.sleep(descriptor, limit);
        slept.map_err(|error| format!("the bus thread cannot wait: {error}"))
    }

    fn obey(&mut self, command: Command) {
        let now = self.clock.now();
        match command {
            Command::Bind { endpoint, done } => {
                // Nobody hears it if the caller has stopped waiting.
                let _ = done.try_send(endpoint::bind(&mut self.router.0, &endpoint));
            }
            Command::Unbind { endpoint } => endpoint::unbind(&mut self.router.0, &endpoint),
            Command::Admit { peer, identity, console: true } => {
                self.switch.admit_consoles(&peer, &identity);
            }
            Command::Admit { peer, identity, console: false } => {
                self.switch.admit(&peer, &identity, now);
            }
            Command::Open { peer } => self.switch.open(&peer, now),
            Command::Expel { peer } => self.switch.expel(&peer),
            Command::Install { number, caller, provider, generation } => {
                let (caller, provider) = (&caller, &provider);
                self.switch.install(&Flow { number, caller, provider, generation });
            }
            Command::Revoke { generation } => self.switch.revoke(generation),
            Command::Send { peer, header, body } => self.switch.send(&peer, header, body),
            Command::Inject { peer, header, body } => self.switch.inject(&peer, header, body, now),
            Command::Stop => self.stopping = true,
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("a bug in the bus thread: {}", text.unwrap_or("it panicked"))
}
