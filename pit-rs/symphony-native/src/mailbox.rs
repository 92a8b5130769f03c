//! What a thread is told to do: a queue, and a bell that is rung only while the thread sleeps.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

use crate::bell::Bell;

struct Queue<T> {
    waiting: VecDeque<T>,
    /// Nobody takes them any more.
    closed: bool,
}

pub struct Mailbox<T> {
    queue: Mutex<Queue<T>>,
    sleeping: AtomicBool,
    bell: Bell,
}

impl<T> Mailbox<T> {
    pub fn new() -> Result<Self, Errno> {
        let queue = Mutex::new(Queue { waiting: VecDeque::new(), closed: false });
        Ok(Self { queue, sleeping: AtomicBool::new(false), bell: Bell::new()? })
    }

    /// Leaves one, in order; once the thread has ended it is dropped.
    pub fn give(&self, command: T) {
        let mut queue = self.lock();
        if queue.closed {
            return;
        }
        queue.waiting.push_back(command);
        drop(queue);
        // The thread says that it sleeps before it looks into the queue for the last time, and we ask after we filled
        // it: one of us sees the other.
        if self.sleeping.load(Ordering::SeqCst) {
            self.bell.ring();
        }
    }

    /// The oldest, `most` at once.
    pub fn take(&self, most: usize) -> Vec<T> {
        let mut queue = self.lock();
        let number = most.min(queue.waiting.len());
        queue.waiting.drain(..number).collect()
    }

    /// Waits for a command, for `descriptor` to become readable or for the time to pass.
    pub fn sleep(&self, descriptor: BorrowedFd<'_>, at_most: Duration) -> Result<(), Errno> {
        self.sleeping.store(true, Ordering::SeqCst);
        let idle = self.lock().waiting.is_empty();
        let slept = if idle { self.bell.sleep(descriptor, at_most) } else { Ok(()) };
        self.sleeping.store(false, Ordering::SeqCst);
        slept
    }

    /// The thread has ended: whoever waits for a command to be done is told so, by its dropped sender.
    pub fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.waiting.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        // Nothing panics while it is locked.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
