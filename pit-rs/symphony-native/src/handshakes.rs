//! Who does not speak CURVE where it must; `bus/handshakes.py` in Rust.
//!
//! libzmq ends such a connection by itself, before the door is asked, and tells of it only here. What it tells names
//! the endpoint by the address of the connection: where that is not the address that was bound (`tcp://0.0.0.0:7700`),
//! the port says which it is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use symphony_zmq::{event, opt, Context, Error, Kind, Socket, DONTWAIT};

/// The second where the other side saw first that the two do not fit, and hung up.
const FAILED: i32 = event::HANDSHAKE_FAILED_PROTOCOL | event::HANDSHAKE_FAILED_NO_DETAIL;

static WATCHED: AtomicU64 = AtomicU64::new(0);

/// Watches a socket.
pub struct Handshakes {
    events: Socket,
    /// By port or path.
    domains: BTreeMap<String, String>,
}

impl Handshakes {
    pub fn of(context: &Context, router: &mut Socket) -> Result<Self, Error> {
        let number = WATCHED.fetch_add(1, Ordering::Relaxed);
        let address = format!("inproc://symphony-handshakes-{number}");
        router.monitor(&address, FAILED)?;
        let mut events = context.socket(Kind::Pair)?;
        // libzmq's own threads would wait for us to read.
        events.set(opt::RCVHWM, 0)?;
        events.connect(&address)?;
        Ok(Self { events, domains: BTreeMap::new() })
    }

    /// From now on failures there are this domain's.
    pub fn bound(&mut self, endpoint: &str, domain: &str) {
        self.domains.insert(place(endpoint).to_owned(), domain.to_owned());
    }

    /// Nobody connects there any more.
    pub fn unbound(&mut self, endpoint: &str) {
        self.domains.remove(place(endpoint));
    }

    /// How many failed since this was last asked, by domain.
    pub fn take(&mut self) -> BTreeMap<String, u32> {
        let mut failed = BTreeMap::new();
        while let Ok(frames) = self.events.recv_all(DONTWAIT) {
            let told = frames.get(1).and_then(|endpoint| std::str::from_utf8(endpoint).ok());
            if let Some(domain) = told.and_then(|endpoint| self.domains.get(place(endpoint))) {
                *failed.entry(domain.clone()).or_default() += 1;
            }
        }
        failed
    }
}

/// The port, or the path of a socket.
fn place(endpoint: &str) -> &str {
    endpoint.rsplit(':').next().unwrap_or(endpoint)
}
