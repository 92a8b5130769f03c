//! The switch and its egress alone, with neither socket nor clock, for the test that holds them against Python's.

use std::collections::HashSet;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use symphony_switch::{Counters, Egress, Flow, Refusal, Switch, Times, Transport, UpcallQueue};

use crate::datapath::{
    flow_rows, peer_rows, to_python, PyFlow, PyFlowStats, PyPeerStats, PyUpcall,
};

type Frame = Vec<u8>;
/// (routing id, header, body)
type Sent<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>);

/// Refuses for the peers it is told of and keeps what it took.
struct Scripted {
    busy: HashSet<Vec<u8>>,
    gone: HashSet<Vec<u8>>,
    sent: Vec<(Frame, Frame, Frame)>,
}

impl Transport<Frame> for Scripted {
    fn try_send(&mut self, to: &[u8], header: &mut Frame, body: &mut Frame) -> Result<(), Refusal> {
        if self.gone.contains(to) {
            return Err(Refusal::Gone);
        }
        if self.busy.contains(to) {
            return Err(Refusal::Busy);
        }
        self.sent.push((to.to_vec(), std::mem::take(header), std::mem::take(body)));
        Ok(())
    }
}

/// The methods are those of `bus/switch.py`.
#[pyclass]
pub struct SwitchProbe {
    switch: Switch<Frame>,
    egress: Egress<Frame>,
    upcalls: Arc<UpcallQueue<Frame>>,
}

#[pymethods]
impl SwitchProbe {
    #[new]
    fn new(heartbeat_ms: u32, liveness: u32, grace_ms: u32, now: f64) -> Self {
        let upcalls: Arc<UpcallQueue<Frame>> = Arc::default();
        let counters: Arc<Counters> = Arc::default();
        let switch = Switch::new(
            Arc::clone(&upcalls),
            counters,
            Times { heartbeat_ms, liveness, grace_ms },
            now,
        );
        Self { switch, egress: Egress::default(), upcalls }
    }

    fn admit(&mut self, name: &str, identity: &[u8], now: f64, console: bool) {
        if console {
            self.switch.admit_consoles(name, identity);
        } else {
            self.switch.admit(name, identity, now);
        }
    }

    fn open(&mut self, name: &str, now: f64) {
        self.switch.open(name, now);
    }

    fn expel(&mut self, name: &str, now: f64) {
        self.switch.expel(name, now);
    }

    fn install(&mut self, flow: PyFlow) {
        let (number, ref caller, ref provider, generation, safe, credit, rate, burst) = flow;
        let flow = Flow { number, caller, provider, generation, safe, credit, rate, burst };
        self.switch.install(&flow);
    }

    fn revoke(&mut self, generation: u64) {
        self.switch.revoke(generation);
    }

    fn send(&mut self, name: &str, header: Frame, body: Frame) {
        self.switch.send(name, header, body);
    }

    fn event(&mut self, names: Vec<String>, header: Frame, body: Frame) {
        self.switch.event(names.iter().map(String::as_str), header, body);
    }

    fn violated(&mut self, identity: &[u8], now: f64) {
        self.switch.violated(identity, now);
    }

    fn inject(&mut self, name: &str, header: Frame, body: Frame, now: f64) {
        self.switch.inject(name, header, body, now);
    }

    fn receive(&mut self, identity: &[u8], header: Frame, body: Frame, now: f64) -> bool {
        self.switch.receive(identity, header, body, now)
    }

    fn next_tick(&self) -> f64 {
        self.switch.next_tick()
    }

    fn tick(&mut self, now: f64) {
        self.switch.tick(now);
    }

    /// Sends what can be sent, where the transport is full for some routing ids and not connected for others; with
    /// `absent`, what waits for peers that were not connected is tried again first.
    fn flush<'py>(
        &mut self,
        py: Python<'py>,
        busy: HashSet<Vec<u8>>,
        gone: HashSet<Vec<u8>>,
        absent: bool,
        now: f64,
    ) -> Vec<Sent<'py>> {
        let mut transport = Scripted { busy, gone, sent: Vec::new() };
        if absent {
            self.egress.retry_absent(&mut self.switch, &mut transport, now);
        }
        self.egress.retry_blocked(&mut self.switch, &mut transport, now);
        self.egress.flush(&mut self.switch, &mut transport, now);
        let bytes = |frame: &Frame| PyBytes::new(py, frame);
        transport
            .sent
            .iter()
            .map(|(to, header, body)| (bytes(to), bytes(header), bytes(body)))
            .collect()
    }

    fn blocked(&self) -> bool {
        self.egress.blocked()
    }

    fn absent(&self) -> bool {
        self.egress.absent()
    }

    fn flows(&self) -> Vec<PyFlowStats> {
        flow_rows(self.switch.flows())
    }

    fn peers(&self) -> Vec<PyPeerStats> {
        peer_rows(self.switch.peers())
    }

    fn take<'py>(&self, py: Python<'py>, limit: usize) -> Vec<PyUpcall<'py>> {
        to_python(py, self.upcalls.take(limit))
    }

    /// (name, count) of everything that is counted.
    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.switch.counters().read().collect()
    }
}
