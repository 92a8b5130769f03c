//! Where the hub listens.

use std::os::fd::{IntoRawFd, OwnedFd};

use symphony_wire::constants::HANDSHAKE_MS;
use symphony_zmq::{opt, Error, Socket};

use crate::door::OPEN_DOMAIN;

/// How long a connection over ipc may take, milliseconds: its process may have to be named first.
const LOCAL_HANDSHAKE_MS: i32 = 30_000;

/// An endpoint to listen at.
pub struct Place {
    pub endpoint: String,
    /// Whoever connects waits for a verdict, unless it is empty.
    pub domain: String,
    /// The secret key that CURVE is spoken with; empty: no CURVE.
    pub curve: Vec<u8>,
    /// A socket that listens there already.
    pub listening: Option<OwnedFd>,
}

pub fn bind(router: &mut Socket, place: Place) -> Result<(), Error> {
    // A listener takes over the options that are in force when it is bound.
    let domain = if place.domain.is_empty() { OPEN_DOMAIN } else { place.domain.as_bytes() };
    router.set_bytes(opt::ZAP_DOMAIN, domain)?;
    let handshake = if place.curve.is_empty() { LOCAL_HANDSHAKE_MS } else { HANDSHAKE_MS };
    router.set(opt::HANDSHAKE_IVL, handshake)?;
    if !place.curve.is_empty() {
        router.set_bytes(opt::CURVE_SECRETKEY, &place.curve)?;
        router.set(opt::CURVE_SERVER, 1)?;
    }
    // From here on it is libzmq's to close.
    router.set(opt::USE_FD, place.listening.map_or(-1, IntoRawFd::into_raw_fd))?;
    let bound = router.bind(&place.endpoint);
    router.set(opt::USE_FD, -1)?;
    router.set(opt::CURVE_SERVER, 0)?;
    bound
}

pub fn unbind(router: &mut Socket, endpoint: &str) {
    // What fails was not bound: it is as it should be.
    let _ = router.unbind(endpoint);
}
