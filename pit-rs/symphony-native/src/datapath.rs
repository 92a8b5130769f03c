//! The interpreter's side of the thread. Every method but `bind` and `close` only leaves a command.

use std::sync::mpsc::{channel, sync_channel, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use symphony_switch::{Frame, Upcall};

use crate::clock::Clock;
use crate::commands::Command;
use crate::frame::Wire;
use crate::hub::{Hub, Shared};
use crate::notifier::Notifier;

const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// (event, peer, header, body)
pub type PyUpcall<'py> = (&'static str, String, Bound<'py, PyBytes>, Bound<'py, PyBytes>);

pub fn to_python<'py, F: Frame>(py: Python<'py>, upcalls: Vec<Upcall<F>>) -> Vec<PyUpcall<'py>> {
    let convert = |upcall: Upcall<F>| {
        let (header, body) = (PyBytes::new(py, &upcall.header), PyBytes::new(py, &upcall.body));
        (upcall.event.as_str(), upcall.peer.to_string(), header, body)
    };
    upcalls.into_iter().map(convert).collect()
}

/// See `bus/datapath.py`; wrapped by `bus/native.py`.
#[pyclass(frozen)]
pub struct Datapath {
    shared: Arc<Shared>,
    clock: Mutex<Option<Clock>>,
    /// Disconnected once both threads have ended.
    ended: Mutex<Option<Receiver<()>>>,
}

impl Drop for Datapath {
    fn drop(&mut self) {
        self.shared.commands.give(Command::Stop);
    }
}

#[pymethods]
impl Datapath {
    /// `clock` gives seconds and must be monotonic; None: the system's.
    #[new]
    fn new(clock: Option<Py<PyAny>>) -> PyResult<Self> {
        let clock = clock.map_or_else(|| Clock::System(Instant::now()), Clock::Injected);
        let shared =
            Shared::new().map_err(|error| os_error(error.raw_os_error(), &error.to_string()))?;
        Ok(Self {
            shared: Arc::new(shared),
            clock: Mutex::new(Some(clock)),
            ended: Mutex::new(None),
        })
    }

    fn start(&self, wake: Py<PyAny>, heartbeat_ms: u32, liveness: u32) -> PyResult<()> {
        let again = || PyRuntimeError::new_err("a datapath is started once");
        let clock = self.clock.lock().ok().and_then(|mut clock| clock.take()).ok_or_else(again)?;
        let (notifier, waking) = Notifier::start(wake)?;
        let hub = Hub::new(Arc::clone(&self.shared), notifier, clock, heartbeat_ms, liveness)
            .map_err(|error| os_error(error.errno(), &error.to_string()))?;
        let (alive, ended) = channel::<()>();
        thread::Builder::new().name("symphony-bus".to_owned()).spawn(move || {
            hub.run();
            // It ends with the notifier, which the hub held; a panic of it has nothing to add.
            let _ = waking.join();
            drop(alive);
        })?;
        if let Ok(mut place) = self.ended.lock() {
            *place = Some(ended);
        }
        Ok(())
    }

    fn close(&self, py: Python<'_>) {
        self.shared.commands.give(Command::Stop);
        let ended = self.ended.lock().ok().and_then(|mut ended| ended.take());
        if let Some(ended) = ended {
            // The thread may need the interpreter for the last time: let it.
            py.detach(move || {
                let _ = ended.recv_timeout(CLOSE_LIMIT);
            });
        }
    }

    fn bind(&self, py: Python<'_>, endpoint: String) -> PyResult<()> {
        let (done, result) = sync_channel(1);
        self.shared.commands.give(Command::Bind { endpoint, done });
        match py.detach(move || result.recv()) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(os_error(error.errno, &error.text)),
            Err(_) => Err(PyRuntimeError::new_err(
                self.shared.failure().unwrap_or_else(|| "the datapath is closed".to_owned()),
            )),
        }
    }

    fn unbind(&self, endpoint: String) {
        self.shared.commands.give(Command::Unbind { endpoint });
    }

    fn admit(&self, peer: String, identity: Vec<u8>, console: bool) {
        self.shared.commands.give(Command::Admit { peer, identity, console });
    }

    fn open(&self, peer: String) {
        self.shared.commands.give(Command::Open { peer });
    }

    fn expel(&self, peer: String) {
        self.shared.commands.give(Command::Expel { peer });
    }

    fn install(&self, number: u32, caller: String, provider: String, generation: u64) {
        self.shared.commands.give(Command::Install { number, caller, provider, generation });
    }

    fn revoke(&self, generation: u64) {
        self.shared.commands.give(Command::Revoke { generation });
    }

    fn send(&self, peer: String, header: &[u8], body: &[u8]) {
        let (header, body) = (Wire::copy_from(header), Wire::copy_from(body));
        self.shared.commands.give(Command::Send { peer, header, body });
    }

    fn inject(&self, peer: String, header: &[u8], body: &[u8]) {
        let (header, body) = (Wire::copy_from(header), Wire::copy_from(body));
        self.shared.commands.give(Command::Inject { peer, header, body });
    }

    fn poll<'py>(&self, py: Python<'py>) -> Vec<PyUpcall<'py>> {
        to_python(py, self.shared.upcalls.take())
    }

    /// (name, count) of everything that is counted.
    fn counters(&self) -> Vec<(&'static str, u64)> {
        let ours = self.shared.counters.read();
        ours.chain([("endless", symphony_zmq::messages_cut())]).collect()
    }

    /// Why the thread ended without having been told to; None while it serves.
    fn failed(&self) -> Option<String> {
        self.shared.failure()
    }
}

fn os_error(errno: i32, text: &str) -> PyErr {
    PyOSError::new_err((errno, text.to_owned()))
}
