//! The interpreter's side of the threads. Methods leave a command; those that return something wait for its answer.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::mpsc::{channel, sync_channel, Receiver, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use symphony_switch::{FlowStats, Frame, PeerStats, Times, Upcall};
use symphony_zmq::Context;

use crate::clock::Clock;
use crate::commands::{Command, OwnedFlow};
use crate::door::{Door, Order};
use crate::endpoint::Place;
use crate::frame::Wire;
use crate::hub::Hub;
use crate::notifier::Notifier;
use crate::shared::Shared;

const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// `bus/datapath.py`'s FlowStats, field by field.
pub type PyFlowStats = (u32, u64, u64, u64, u64, u64, Vec<u64>);
/// PeerStats.
pub type PyPeerStats = (String, usize, usize, usize, usize);
/// Flow.
pub type PyFlow = (u32, String, String, u64, bool, u64, f64, u64);
/// (event, peer, header, body)
pub type PyUpcall<'py> = (&'static str, String, Bound<'py, PyBytes>, Bound<'py, PyBytes>);

pub fn to_python<'py, F: Frame>(py: Python<'py>, upcalls: Vec<Upcall<F>>) -> Vec<PyUpcall<'py>> {
    let convert = |upcall: Upcall<F>| {
        let (header, body) = (PyBytes::new(py, &upcall.header), PyBytes::new(py, &upcall.body));
        (upcall.event.as_str(), upcall.peer.to_string(), header, body)
    };
    upcalls.into_iter().map(convert).collect()
}

pub fn flow_rows(rows: Vec<FlowStats>) -> Vec<PyFlowStats> {
    let convert = |row: FlowStats| {
        let FlowStats { number, calls, results, errors, shed, open, latency } = row;
        (number, calls, results, errors, shed, open, latency.to_vec())
    };
    rows.into_iter().map(convert).collect()
}

pub fn peer_rows(rows: Vec<PeerStats>) -> Vec<PyPeerStats> {
    let convert = |row: PeerStats| {
        let PeerStats { peer, queued, queued_bytes, open_calls, owed } = row;
        (peer.to_string(), queued, queued_bytes, open_calls, owed)
    };
    rows.into_iter().map(convert).collect()
}

/// See `bus/datapath.py`; wrapped by `bus/native.py`.
#[pyclass(frozen)]
pub struct Datapath {
    shared: Arc<Shared>,
    clock: Mutex<Option<Clock>>,
    /// Disconnected once all threads have ended.
    ended: Mutex<Option<Receiver<()>>>,
}

impl Drop for Datapath {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Datapath {
    /// The hub's answer to a command; None if its thread has ended.
    fn ask<T: Send>(
        &self,
        py: Python<'_>,
        command: impl FnOnce(SyncSender<T>) -> Command,
    ) -> Option<T> {
        let (sender, answer) = sync_channel(1);
        self.shared.commands.give(command(sender));
        py.detach(move || answer.recv().ok())
    }
}

#[pymethods]
impl Datapath {
    /// `clock` gives seconds and must be monotonic; None: the system's.
    #[new]
    fn new(clock: Option<Py<PyAny>>) -> PyResult<Self> {
        let clock = clock.map_or_else(|| Clock::System(Instant::now()), Clock::Injected);
        let shared = Shared::new()
            .map_err(|error| os_error(Some(error.raw_os_error()), &error.to_string()))?;
        Ok(Self {
            shared: Arc::new(shared),
            clock: Mutex::new(Some(clock)),
            ended: Mutex::new(None),
        })
    }

    /// `bell`: an eventfd that is duplicated and rung instead of calling `wake`, unless it is negative. `verdict_ms`:
    /// how long a connection waits for its verdict.
    fn start(
        &self,
        wake: Py<PyAny>,
        bell: RawFd,
        heartbeat_ms: u32,
        liveness: u32,
        grace_ms: u32,
        verdict_ms: u32,
    ) -> PyResult<()> {
        let again = || PyRuntimeError::new_err("a datapath is started once");
        let clock = self.clock.lock().ok().and_then(|mut clock| clock.take()).ok_or_else(again)?;
        let (alive, ended) = channel::<()>();
        let notifier = Arc::new(match duplicate(bell)? {
            Some(bell) => Notifier::ringing(bell, alive),
            None => Notifier::calling(wake, alive)?,
        });
        let shared = || Arc::clone(&self.shared);
        let times = Times { heartbeat_ms, liveness, grace_ms };
        let opened = || -> io::Result<(Door, Hub)> {
            let context = Context::new()?;
            let patience = Duration::from_millis(verdict_ms.into());
            let door = Door::new(&context, shared(), Arc::clone(&notifier), patience)?;
            let hub = Hub::new(&context, shared(), Arc::clone(&notifier), clock, times)?;
            Ok((door, hub))
        };
        let (door, hub) =
            opened().map_err(|error| os_error(error.raw_os_error(), &error.to_string()))?;
        thread::Builder::new().name("symphony-bus".to_owned()).spawn(move || hub.run())?;
        door.start()?;
        if let Ok(mut place) = self.ended.lock() {
            *place = Some(ended);
        }
        Ok(())
    }

    fn close(&self, py: Python<'_>) {
        self.shared.stop();
        let ended = self.ended.lock().ok().and_then(|mut ended| ended.take());
        if let Some(ended) = ended {
            // A thread may need the interpreter for the last time: let it.
            py.detach(move || {
                let _ = ended.recv_timeout(CLOSE_LIMIT);
            });
        }
    }

    /// `fd` is duplicated unless it is negative. Raises OSError if it cannot listen there, RuntimeError if the hub has
    /// ended.
    fn bind(
        &self,
        py: Python<'_>,
        endpoint: String,
        domain: String,
        curve: Vec<u8>,
        fd: RawFd,
    ) -> PyResult<()> {
        let place = Place { endpoint, domain, curve, listening: duplicate(fd)? };
        match self.ask(py, |done| Command::Bind { place, done }) {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(os_error(Some(error.errno()), &error.to_string())),
            None => Err(PyRuntimeError::new_err("the bus has ended")),
        }
    }

    fn verdict(&self, token: Vec<u8>, allowed: bool) {
        self.shared.orders.give(Order::Verdict { token, allowed });
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

    fn install(&self, flow: PyFlow) {
        let (number, caller, provider, generation, safe, credit, rate, burst) = flow;
        self.shared.commands.give(Command::Install(OwnedFlow {
            number,
            caller,
            provider,
            generation,
            safe,
            credit,
            rate,
            burst,
        }));
    }

    fn revoke(&self, generation: u64) {
        self.shared.commands.give(Command::Revoke { generation });
    }

    fn send(&self, peer: String, header: &[u8], body: &[u8]) {
        let (header, body) = (Wire::copy_from(header), Wire::copy_from(body));
        self.shared.commands.give(Command::Send { peer, header, body });
    }

    fn event(&self, peers: Vec<String>, header: &[u8], body: &[u8]) {
        let (header, body) = (Wire::copy_from(header), Wire::copy_from(body));
        self.shared.commands.give(Command::Event { peers, header, body });
    }

    fn inject(&self, peer: String, header: &[u8], body: &[u8]) {
        let (header, body) = (Wire::copy_from(header), Wire::copy_from(body));
        self.shared.commands.give(Command::Inject { peer, header, body });
    }

    fn poll<'py>(&self, py: Python<'py>, limit: usize) -> Vec<PyUpcall<'py>> {
        to_python(py, self.shared.upcalls.take(limit))
    }

    /// (name, count) of everything that is counted.
    fn counters(&self) -> Vec<(&'static str, u64)> {
        let ours = self.shared.counters.read();
        ours.chain([("endless", symphony_zmq::messages_cut())]).collect()
    }

    /// None of them once the hub has ended.
    fn flows(&self, py: Python<'_>) -> Vec<PyFlowStats> {
        flow_rows(self.ask(py, |reply| Command::Flows { reply }).unwrap_or_default())
    }

    /// None of them once the hub has ended.
    fn peers(&self, py: Python<'_>) -> Vec<PyPeerStats> {
        peer_rows(self.ask(py, |reply| Command::Peers { reply }).unwrap_or_default())
    }

    /// Makes the hub's thread panic; only for tests.
    fn crash(&self) {
        self.shared.commands.give(Command::Fail { reason: "crashed on purpose".to_owned() });
    }
}

/// None if it is negative.
fn duplicate(fd: RawFd) -> io::Result<Option<OwnedFd>> {
    let owned = (fd >= 0).then(|| {
        // SAFETY: borrowed for one call of dup, which checks the number; its owner closes it no sooner than the method
        // that was given it has returned.
        unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()
    });
    owned.transpose()
}

pub fn os_error(errno: Option<i32>, text: &str) -> PyErr {
    PyOSError::new_err((errno.unwrap_or_default(), text.to_owned()))
}
