//! A wish to end, raised from anywhere, and the bell that wakes the thread which waits on its socket.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::RuntimeError;

/// Clones share one wish and one bell.
#[derive(Clone, Debug)]
pub struct Stop(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    raised: Arc<AtomicBool>,
    rope: UnixStream,
    bell: UnixStream,
}

impl Stop {
    /// A stop that nothing raises but [`Stop::raise`].
    pub fn new() -> Result<Self, RuntimeError> {
        let make = || {
            let (rope, bell) = UnixStream::pair()?;
            rope.set_nonblocking(true)?;
            bell.set_nonblocking(true)?;
            Ok(Self(Arc::new(Inner { raised: Arc::default(), rope, bell })))
        };
        make().map_err(|error| RuntimeError::Io("make a wake-up channel", error))
    }

    /// A stop that SIGTERM and SIGINT raise too.
    pub fn on_signals() -> Result<Self, RuntimeError> {
        let stop = Self::new()?;
        let listen = |signal| {
            // In this order: the flag is up when the bell rings.
            signal_hook::flag::register(signal, Arc::clone(&stop.0.raised))?;
            signal_hook::low_level::pipe::register(signal, stop.0.rope.try_clone()?)
        };
        for signal in [SIGTERM, SIGINT] {
            listen(signal).map_err(|error| RuntimeError::Io("listen for signals", error))?;
        }
        Ok(stop)
    }

    pub fn raise(&self) {
        self.0.raised.store(true, Ordering::Release);
        self.ring();
    }

    pub fn is_raised(&self) -> bool {
        self.0.raised.load(Ordering::Acquire)
    }

    /// Wakes the waiting thread without a wish to end.
    pub(crate) fn ring(&self) {
        // A full channel rings already.
        let _ = (&self.0.rope).write(&[1]);
    }

    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.0.bell.as_fd()
    }

    /// Silences the bell; what it rang for must be looked at after this.
    pub(crate) fn hush(&self) {
        let mut rung = [0; 64];
        while (&self.0.bell).read(&mut rung).is_ok_and(|count| count == rung.len()) {}
    }
}
