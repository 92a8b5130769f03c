//! Wakes the control plane from a thread of its own: who waits for the interpreter's lock must not be the hub.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::Arc;
use std::thread::{self, Thread};

use pyo3::prelude::*;

#[derive(Default)]
struct State {
    told: AtomicBool,
    ended: AtomicBool,
}

/// Held by the threads that have something to tell; the notifier's own ends after the last of them.
pub struct Notifier {
    state: Arc<State>,
    thread: Thread,
}

impl Notifier {
    /// `wake` takes no arguments, is quick and does not raise. `alive` is dropped when the thread ends.
    pub fn start(wake: Py<PyAny>, alive: Sender<()>) -> std::io::Result<Self> {
        let state = Arc::new(State::default());
        let theirs = Arc::clone(&state);
        let thread = thread::Builder::new().name("symphony-wake".to_owned()).spawn(move || {
            run(&theirs, wake);
            drop(alive);
        })?;
        Ok(Self { state, thread: thread.thread().clone() })
    }

    /// There is something to poll.
    pub fn tell(&self) {
        self.state.told.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Release);
        self.thread.unpark();
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
