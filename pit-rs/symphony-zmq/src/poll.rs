//! Waiting on several sockets and descriptors at once.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::raw::{c_int, c_long, c_short};
use std::time::Duration;

use crate::{sys, Error, Socket};

const POLLIN: c_short = 1;

/// Something to wait on until it can be read.
pub enum Interest<'a> {
    Socket(&'a Socket),
    Descriptor(BorrowedFd<'a>),
}

/// Waits until one of `interests` can be read or the time is over; says for each whether it can.
/// A signal that arrives meanwhile ends the wait early, with nothing ready.
pub fn poll<const N: usize>(
    interests: [Interest<'_>; N],
    timeout: Duration,
) -> Result<[bool; N], Error> {
    let mut items = interests.map(|interest| match interest {
        Interest::Socket(socket) => {
            sys::PollItem { socket: socket.raw(), fd: 0, events: POLLIN, revents: 0 }
        }
        Interest::Descriptor(descriptor) => sys::PollItem {
            socket: std::ptr::null_mut(),
            fd: descriptor.as_raw_fd(),
            events: POLLIN,
            revents: 0,
        },
    });
    // Rounded up: a wait of less than a millisecond must not become a busy loop.
    let timeout_ms = c_long::try_from(timeout.as_micros().div_ceil(1_000)).unwrap_or(c_long::MAX);
    // SAFETY: N initialised items; sockets and descriptors are borrowed and so open for the whole call.
    let polled = unsafe { sys::zmq_poll(items.as_mut_ptr(), N as c_int, timeout_ms) };
    match Error::check(polled) {
        Ok(_) => Ok(items.map(|item| item.revents & POLLIN != 0)),
        Err(Error::INTERRUPTED) => Ok([false; N]),
        Err(error) => Err(error),
    }
}
