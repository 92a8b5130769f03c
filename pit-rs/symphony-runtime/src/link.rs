//! The connection to the hub: joining, frames in and out, heartbeats. Owned by one thread.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{self, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use symphony_wire::body::{self, Bye, Hello, Welcome};
use symphony_wire::constants::{HEARTBEAT_MS, LIVENESS, MAX_BODY};
use symphony_wire::{BusError, Code, Header, HeaderError, Kind, Ticket, PROTOCOL};
use symphony_zmq::{self as zmq, opt, poll, Context, Interest, Message, Socket, DONTWAIT};

use crate::liveness::Liveness;
use crate::outgoing::Outgoing;
use crate::{Body, RuntimeError, Stop, SDK};

/// How long the hub may take to welcome a peer.
const JOIN_PATIENCE: Duration = Duration::from_secs(10);
/// How long a hello may be unanswered before it is said again.
const HELLO_AGAIN: Duration = Duration::from_secs(2);
/// How long the last messages may take to leave at the end, milliseconds.
const LINGER_MS: i32 = 500;
/// How long the hub may take to answer a farewell.
const FAREWELL: Duration = Duration::from_millis(500);

pub struct Link {
    socket: Socket,
    liveness: Liveness,
    /// Since the clock was last read for it.
    sent: bool,
    heard: bool,
    /// Where headers are written.
    scratch: Vec<u8>,
    /// Nothing was there to receive, and nothing was done with the socket since: its descriptor tells of what comes.
    drained: bool,
    instance: String,
    max_body: usize,
    epoch: u64,
}

impl Link {
    /// Connects, says hello and waits for the welcome; `None` if `stop` was raised first.
    pub fn join(
        ticket: &Ticket,
        provides: Vec<String>,
        stop: &Stop,
    ) -> Result<Option<Self>, RuntimeError> {
        let now = Instant::now();
        let mut link = Self {
            socket: connect(ticket)?,
            liveness: Liveness::new(Duration::from_millis(HEARTBEAT_MS), LIVENESS as u32, now),
            sent: false,
            heard: false,
            scratch: Vec::new(),
            drained: false,
            instance: ticket.instance.clone(),
            max_body: MAX_BODY,
            epoch: 0,
        };
        let (sdk, pid) = (SDK.to_owned(), std::process::id());
        let hello = body::write(&Hello { protocol: PROTOCOL, sdk, pid, provides });
        let mut said = None;
        while !stop.is_raised() {
            // A hub that ended took a hello with it; one that is there only counts another.
            if said.is_none_or(|said: Instant| said.elapsed() >= HELLO_AGAIN) {
                let body = hello.clone().into();
                let hello = Outgoing { header: Header::new(Kind::Hello), body };
                // There is nowhere to send it while the hub refuses the connection.
                link.try_send(hello, DONTWAIT)?;
                said = Some(Instant::now());
            }
            let Some((header, frame)) = link.receive()? else {
                let left = (now + JOIN_PATIENCE).saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(RuntimeError::NoWelcome);
                }
                link.wait(left.min(HELLO_AGAIN), stop)?;
                continue;
            };
            match header.kind {
                Kind::Welcome => {
                    link.welcomed(&frame)?;
                    tracing::info!(instance = link.instance, "joined");
                    return Ok(Some(link));
                }
                Kind::Bye => return Err(dismissal(&frame)),
                _ => {}
            }
        }
        link.bye("stop").map(|()| None)
    }

    /// Takes over what the hub says of itself; true if it is another one than before.
    pub fn welcomed(&mut self, frame: &[u8]) -> Result<bool, RuntimeError> {
        let welcome: Welcome = body::read(frame).map_err(|error| {
            tracing::error!(%error, "the welcome is malformed");
            RuntimeError::Incompatible
        })?;
        let beat = Duration::from_millis(u64::from(welcome.heartbeat_ms.get()));
        self.liveness = Liveness::new(beat, u32::from(welcome.liveness.get()), Instant::now());
        self.max_body = usize::try_from(welcome.max_body).unwrap_or(MAX_BODY).min(MAX_BODY);
        // A hub that takes nothing more for as long as this is as good as dead.
        let limit = i32::try_from(self.liveness.limit().as_millis()).unwrap_or(i32::MAX);
        self.socket.set(opt::SNDTIMEO, limit).map_err(RuntimeError::zmq("set a socket option"))?;
        self.instance = welcome.instance;
        Ok(std::mem::replace(&mut self.epoch, welcome.epoch) != welcome.epoch)
    }

    /// Bytes that a body may have.
    pub fn max_body(&self) -> usize {
        self.max_body
    }

    /// The longest silence of a peer that is not dead.
    pub fn silence(&self) -> Duration {
        self.liveness.limit()
    }

    pub fn send(&mut self, outgoing: Outgoing) -> Result<(), RuntimeError> {
        match self.try_send(outgoing, 0)? {
            true => Ok(()),
            false => Err(RuntimeError::HubLost),
        }
    }

    fn try_send(&mut self, outgoing: Outgoing, flags: i32) -> Result<bool, RuntimeError> {
        let failed = RuntimeError::zmq("send to the hub");
        let Outgoing { header, body } = outgoing;
        self.drained = false;
        self.scratch.clear();
        header.encode_into(&mut self.scratch);
        let header = Message::copy_from(&self.scratch).map_err(&failed)?;
        let mut frames = [header, body.into_message()];
        match self.socket.send_all(&mut frames, flags) {
            Ok(()) => {
                self.sent = true;
                Ok(true)
            }
            Err(zmq::Error::AGAIN) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// The next message that is there; what breaks the protocol is dropped, but a call is answered if that is possible.
    pub fn receive(&mut self) -> Result<Option<(Header, Body)>, RuntimeError> {
        loop {
            let mut frames = [Message::new(), Message::new()];
            let number = match self.socket.recv_into(&mut frames, DONTWAIT) {
                Ok(number) => number,
                Err(zmq::Error::AGAIN) => {
                    self.drained = true;
                    return Ok(None);
                }
                Err(zmq::Error::INTERRUPTED) => continue,
                Err(error) => return Err(RuntimeError::zmq("receive from the hub")(error)),
            };
            self.heard = true;
            if number != frames.len() {
                tracing::warn!("dropped a message that has not two frames");
                continue;
            }
            let [header, body] = frames;
            match Header::decode(&header) {
                Ok(header) => return Ok(Some((header, body.into()))),
                Err(error) => self.refuse(&header, &error)?,
            }
        }
    }

    fn refuse(&mut self, header: &[u8], error: &HeaderError) -> Result<(), RuntimeError> {
        tracing::warn!(%error, "cannot read a message");
        let Some(call) = Header::salvage(header) else { return Ok(()) };
        let error = BusError::new(Code::BadRequest, error.to_string()).at("header");
        self.send(Outgoing::answer(&call, Err(error), MAX_BODY))
    }

    /// Reads the clock for what was sent and heard, sends a heartbeat if one is due and `alive`; fails once the hub has been silent for too long.
    pub fn tend(&mut self, alive: bool) -> Result<(), RuntimeError> {
        let now = Instant::now();
        if std::mem::take(&mut self.heard) {
            self.liveness.heard(now);
        }
        if std::mem::take(&mut self.sent) {
            self.liveness.sent(now);
        }
        if self.liveness.dead(now) {
            return Err(RuntimeError::HubLost);
        }
        if alive && self.liveness.beat_due(now) {
            self.send(Outgoing::bare(Header::new(Kind::Heartbeat)))?;
            self.liveness.beaten(now);
        }
        Ok(())
    }

    /// Waits for a message, the bell or the next heartbeat, but no longer than `limit`; not at all if there may be
    /// something to receive.
    pub fn wait(&self, limit: Duration, stop: &Stop) -> Result<(), RuntimeError> {
        // A heartbeat that is withheld stays due: look again in a while, not at once.
        let rest = self.liveness.rest(Instant::now()).max(Duration::from_millis(10));
        if self.drained && self.wait_for(stop.bell(), rest.min(limit))? {
            stop.hush();
        }
        Ok(())
    }

    /// Says farewell and waits, in bounded time, until the hub has heard it: a connection that is closed
    /// with something unread may take what was sent before with it.
    pub fn bye(&mut self, reason: &str) -> Result<(), RuntimeError> {
        let bye = body::write(&Bye { reason: reason.to_owned() });
        self.send(Outgoing { header: Header::new(Kind::Bye), body: bye.into() })?;
        let until = Instant::now() + FAREWELL;
        loop {
            while let Some((header, _)) = self.receive()? {
                if header.kind == Kind::Bye {
                    return Ok(());
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            poll([Interest::Socket(&self.socket)], left)
                .map_err(RuntimeError::zmq("wait for the hub"))?;
        }
    }

    /// Waits for the drained socket or the bell; whether that was rung. A signal ends the wait early.
    fn wait_for(&self, bell: BorrowedFd<'_>, limit: Duration) -> Result<bool, RuntimeError> {
        let socket = self.socket.descriptor().map_err(RuntimeError::zmq("wait for the hub"))?;
        let mut both = [socket, bell].map(|one| PollFd::from_borrowed_fd(one, PollFlags::IN));
        let limit = Timespec::try_from(limit).ok();
        match event::poll(&mut both, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(!both[1].revents().is_empty()),
            Err(error) => Err(RuntimeError::Io("wait for the hub", error.into())),
        }
    }
}

/// What a *bye* from the hub means for us.
pub fn dismissal(frame: &[u8]) -> RuntimeError {
    match body::read::<Bye>(frame) {
        Ok(Bye { reason }) if reason == "protocol" => RuntimeError::Incompatible,
        Ok(Bye { reason }) => RuntimeError::Dismissed(reason),
        Err(_) => RuntimeError::Dismissed("no reason given".to_owned()),
    }
}

fn connect(ticket: &Ticket) -> Result<Socket, RuntimeError> {
    let id = ticket.routing_id()?;
    let open = || {
        let mut socket = Context::new()?.socket(zmq::Kind::Dealer)?;
        socket.set_bytes(opt::ROUTING_ID, &id)?;
        socket.set(opt::LINGER, LINGER_MS)?;
        socket.set_i64(opt::MAXMSGSIZE, MAX_BODY as i64)?;
        if let Some(curve) = &ticket.curve {
            socket.set_bytes(opt::CURVE_SERVERKEY, curve.server.as_bytes())?;
            socket.set_bytes(opt::CURVE_PUBLICKEY, curve.public.as_bytes())?;
            socket.set_bytes(opt::CURVE_SECRETKEY, curve.secret.as_bytes())?;
        }
        socket.connect(&ticket.endpoint)?;
        Ok(socket)
    };
    open().map_err(RuntimeError::zmq("connect to the hub"))
}
