//! How the thread sleeps: until its socket has something to do, somebody rings, or the time is over.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{eventfd, poll, EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::{read, write, Errno};

/// An eventfd: rung by any thread, heard by one.
pub struct Bell(OwnedFd);

impl Bell {
    pub fn new() -> Result<Self, Errno> {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map(Self)
    }

    /// One that somebody else made and listens to.
    pub fn of(eventfd: OwnedFd) -> Self {
        Self(eventfd)
    }

    pub fn ring(&self) {
        // It fails only when it has been rung 2^64 times without being heard: then it will be.
        let _ = write(&self.0, &1u64.to_ne_bytes());
    }

    /// Waits until `descriptor` can be read, the bell was rung or the time is over. A signal ends the wait early.
    pub fn sleep(&self, descriptor: BorrowedFd<'_>, at_most: Duration) -> Result<(), Errno> {
        let mut waiting = [
            PollFd::from_borrowed_fd(descriptor, PollFlags::IN),
            PollFd::new(&self.0, PollFlags::IN),
        ];
        let limit = Timespec {
            tv_sec: at_most.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: at_most.subsec_nanos().into(),
        };
        match poll(&mut waiting, Some(&limit)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        if !waiting[1].revents().is_empty() {
            // Emptied so that it can be heard again; nothing to read means that nobody rang.
            let _ = read(&self.0, &mut [0u8; 8]);
        }
        Ok(())
    }
}
