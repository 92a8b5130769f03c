//! Wakes the control plane: whoever waits for the interpreter's lock must not be the hub.
//!
//! An event loop is woken by its bell, which needs no interpreter. For a function there is a thread that calls it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::Arc;
use std::thread::{self, Thread};

use pyo3::prelude::*;

use crate::bell::Bell;

/// Held by the threads that have something to tell. `alive` is dropped after the last of them.
pub enum Notifier {
    Rings { bell: Bell, _alive: Sender<()> },
    Calls { state: Arc<State>, thread: Thread },
}

#[derive(Default)]
pub struct State {
    told: AtomicBool,
    ended: AtomicBool,
}

impl Notifier {
    /// `bell` is an eventfd that somebody listens to.
    pub fn ringing(bell: OwnedFd, alive: Sender<()>) -> Self {
        Self::Rings { bell: Bell::of(bell), _alive: alive }
    }

    /// `wake` takes no arguments, is quick and does not raise.
    pub fn calling(wake: Py<PyAny>, alive: Sender<()>) -> io::Result<Self> {
        let state = Arc::new(State::default());
        let theirs = Arc::clone(&state);
        let thread = thread::Builder::new().name("symphony-wake".to_owned()).spawn(move || {
            run(&theirs, wake);
            drop(alive);
        })?;
        Ok(Self::Calls { state, thread: thread.thread().clone() })
    }

    /// There is something to poll.
    pub fn tell(&self) {
        match self {
            Self::Rings { bell, .. } => bell.ring(),
            Self::Calls { state, thread } => {
                state.told.store(true, Ordering::Release);
                thread.unpark();
            }
        }
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        if let Self::Calls { state, thread } = self {
            state.ended.store(true, Ordering::Release);
            thread.unpark();
        }
    }
}

fn run(state: &State, wake: Py<PyAny>) {
    loop {
        let ended = state.ended.load(Ordering::Acquire);
        if state.told.swap(false, Ordering::Acquire) {
            // None: the interpreter has ended, and with it whoever was to be woken.
            let _ = Python::try_attach(|py| {
                if let Err(error) = wake.call0(py) {
                    error.write_unraisable(py, Some(wake.bind(py)));
                }
            });
        } else if ended {
            break;
        } else {
            thread::park();
        }
    }
    // Without the interpreter nothing can be given back to it.
    if Python::try_attach(|_| ()).is_none() {
        std::mem::forget(wake);
    }
}
