//! What the switch remembers of flows: where they lead, what they have carried, which calls are open.

use foldhash::HashMap;
use slab::Slab;

use crate::head::Head;
use crate::members::{Members, PeerId};

pub const LATENCY_BUCKETS: usize = 28;

/// Refers to a route as long as the table or an open call does.
pub(crate) type RouteId = usize;

/// One entry of the flow table; see `bus/datapath.py`.
pub struct Flow<'a> {
    pub number: u32,
    pub caller: &'a str,
    pub provider: &'a str,
    pub generation: u64,
    pub safe: bool,
    pub credit: u64,
    pub rate: f64,
    pub burst: u64,
}

/// What one flow has carried since it was first installed; see `bus/datapath.py`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowStats {
    pub number: u32,
    pub calls: u64,
    pub results: u64,
    pub errors: u64,
    pub shed: u64,
    pub open: u64,
    pub latency: [u64; LATENCY_BUCKETS],
}

/// A call that was forwarded and is not answered.
#[derive(Clone, Copy)]
pub(crate) struct OpenCall {
    pub route: RouteId,
    pub provider: PeerId,
    pub sent: f64,
    /// Chunks that the provider may still send; None: not a stream.
    pub credit: Option<u32>,
    /// Unique and rising.
    pub order: u64,
    /// The provider was told to end it.
    pub cancelled: bool,
}

/// A flow of one caller. The figures and the bucket of tokens outlast a change of the provider or of the limits.
pub(crate) struct Route {
    pub number: u32,
    pub caller: PeerId,
    pub provider: Option<PeerId>,
    pub generation: u64,
    pub safe: bool,
    pub shed: u64,
    credit: u64,
    rate: f64,
    burst: f64,
    calls: u64,
    results: u64,
    errors: u64,
    open: u64,
    latency: [u64; LATENCY_BUCKETS],
    tokens: f64,
    filled: f64,
    /// It can be found by its number.
    listed: bool,
}

/// Why a flow does not carry another call now.
pub(crate) enum Limit {
    OpenCalls,
    /// Calls per second, and the milliseconds until it carries one.
    Rate {
        rate: f64,
        retry_ms: u32,
    },
}

impl Route {
    fn new(number: u32, caller: PeerId) -> Self {
        Self {
            number,
            caller,
            provider: None,
            generation: 0,
            safe: false,
            shed: 0,
            credit: 0,
            rate: 0.0,
            burst: 1.0,
            calls: 0,
            results: 0,
            errors: 0,
            open: 0,
            latency: [0; LATENCY_BUCKETS],
            tokens: f64::INFINITY, // the first call finds the bucket full
            filled: 0.0,
            listed: true,
        }
    }

    /// The limit that a call would break now; one that breaks none takes a token.
    pub fn over_limit(&mut self, now: f64) -> Option<Limit> {
        if self.credit > 0 && self.open >= self.credit {
            return Some(Limit::OpenCalls);
        }
        if self.rate == 0.0 {
            return None;
        }
        let tokens = self.burst.min(self.tokens + (now - self.filled) * self.rate);
        self.filled = now;
        if tokens < 1.0 {
            self.tokens = tokens;
            // A conversion from floating point saturates.
            let retry_ms = ((1.0 - tokens) / self.rate * 1000.0).ceil() as u32;
            return Some(Limit::Rate { rate: self.rate, retry_ms });
        }
        self.tokens = tokens - 1.0;
        None
    }

    pub fn opened(&mut self) {
        self.calls += 1;
        self.open += 1;
    }

    /// The provider answered the call that was sent at this time.
    pub fn answered(&mut self, sent: f64, now: f64, is_result: bool) {
        if is_result {
            self.results += 1;
        } else {
            self.errors += 1;
        }
        let bits = u64::BITS - (((now - sent) * 1e6) as u64).leading_zeros();
        self.latency[(bits as usize).min(LATENCY_BUCKETS - 1)] += 1;
    }

    pub fn failed(&mut self) {
        self.errors += 1;
    }

    fn stats(&self) -> FlowStats {
        let Self { number, calls, results, errors, shed, open, latency, .. } = *self;
        FlowStats { number, calls, results, errors, shed, open, latency }
    }
}

/// The flows by number, and those that only an open call remembers.
#[derive(Default)]
pub(crate) struct Routes {
    slots: Slab<Route>,
    by_number: HashMap<u32, RouteId>,
}

impl Routes {
    pub fn install(&mut self, flow: &Flow<'_>, caller: PeerId, provider: PeerId) {
        let known = self.by_number.get(&flow.number).copied();
        let id = match known.filter(|id| self.slots[*id].caller == caller) {
            Some(id) => id,
            None => {
                let id = self.slots.insert(Route::new(flow.number, caller));
                if let Some(former) = self.by_number.insert(flow.number, id) {
                    self.forget(former);
                }
                id
            }
        };
        let route = &mut self.slots[id];
        route.provider = Some(provider);
        route.generation = flow.generation;
        route.safe = flow.safe;
        route.credit = flow.credit;
        route.rate = flow.rate;
        route.burst = flow.burst as f64;
    }

    /// The kernel's own flows name their provider, so nothing can change for them.
    pub fn revoke(&mut self, generation: u64, kernel: PeerId) {
        for id in self.by_number.values() {
            let route = &mut self.slots[*id];
            if route.generation < generation && route.caller != kernel {
                route.provider = None;
            }
        }
    }

    /// A peer is gone: its flows go, and those that led to it lead nowhere. The kernel has a flow of its own for each
    /// provider; an answer may still come.
    pub fn without(&mut self, gone: PeerId, kernel: PeerId) {
        let numbers: Vec<u32> = self.by_number.keys().copied().collect();
        for number in numbers {
            let id = self.by_number[&number];
            let route = &mut self.slots[id];
            if route.provider == Some(gone) {
                route.provider = None;
            }
            let idle = route.provider.is_none() && route.open == 0;
            if route.caller == gone || (idle && route.caller == kernel) {
                self.by_number.remove(&number);
                self.forget(id);
            }
        }
    }

    pub fn find(&self, head: &Head) -> Option<RouteId> {
        self.by_number.get(&head.flow()?).copied()
    }

    /// The caller and the open call that a message to or from its provider is about.
    pub fn find_call<F>(
        &self,
        members: &Members<F>,
        provider: PeerId,
        head: &Head,
    ) -> Option<(PeerId, OpenCall)> {
        let id = self.find(head)?;
        let caller = self.slots[id].caller;
        let call = members.find(caller)?.open_calls.get(&head.request)?;
        (call.provider == provider && call.route == id).then_some((caller, *call))
    }

    /// One of its calls is open no more; the route itself is gone if nothing else refers to it.
    pub fn closed(&mut self, id: RouteId) {
        let route = &mut self.slots[id];
        route.open -= 1;
        if route.open == 0 && !route.listed {
            self.slots.remove(id);
        }
    }

    /// By number.
    pub fn stats(&self) -> Vec<FlowStats> {
        let mut rows: Vec<_> = self.by_number.values().map(|id| self.slots[*id].stats()).collect();
        rows.sort_unstable_by_key(|row| row.number);
        rows
    }

    fn forget(&mut self, id: RouteId) {
        let route = &mut self.slots[id];
        route.listed = false;
        if route.open == 0 {
            self.slots.remove(id);
        }
    }
}

impl std::ops::Index<RouteId> for Routes {
    type Output = Route;

    fn index(&self, id: RouteId) -> &Route {
        &self.slots[id]
    }
}

impl std::ops::IndexMut<RouteId> for Routes {
    fn index_mut(&mut self, id: RouteId) -> &mut Route {
        &mut self.slots[id]
    }
}
