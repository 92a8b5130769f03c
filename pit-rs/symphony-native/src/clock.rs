//! Seconds of one monotonic clock: the system's, or one that a test holds.

use std::time::Instant;

use pyo3::prelude::*;

pub enum Clock {
    /// Seconds since this instant.
    System(Instant),
    /// A callable without arguments. It costs the thread the interpreter's lock each time it is read.
    Injected(Py<PyAny>),
}

impl Clock {
    /// Panics if an injected clock fails: without the time the hub cannot go on.
    pub fn now(&self) -> f64 {
        match self {
            Self::System(start) => start.elapsed().as_secs_f64(),
            Self::Injected(clock) => {
                match Python::try_attach(|py| clock.call0(py)?.extract::<f64>(py)) {
                    Some(Ok(now)) => now,
                    Some(Err(error)) => panic!("the clock failed: {error}"),
                    None => panic!("the clock's interpreter has ended"),
                }
            }
        }
    }
}
