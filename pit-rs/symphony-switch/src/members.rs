//! Who is let in: peers by name, by routing id and by the number that calls and routes refer to them with, and consoles
//! by their common secret.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::HashMap;
use slab::Slab;

use crate::gaps::Gaps;
use crate::table::OpenCall;

/// The name of the kernel, a peer of its own that has no connection.
pub const KERNEL: &str = "";
pub const MAX_CONSOLES: usize = 256;

const IDENTITY_BYTES: usize = 16;
const CONSOLE_IDENTITY_BYTES: usize = 32;

/// Refers to a peer as long as anything may: an expelled one keeps its number until nothing is left to send to it.
pub(crate) type PeerId = usize;

/// What waits for one peer; see `bus/datapath.py`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStats {
    pub peer: Arc<str>,
    pub queued: usize,
    pub queued_bytes: usize,
    pub open_calls: usize,
    pub owed: usize,
}

/// An answer that a provider still has to give.
#[derive(Clone, Copy)]
pub(crate) struct Owed {
    /// The call's order, its caller and its request number there.
    pub call: u64,
    pub caller: PeerId,
    pub request: u64,
    pub until: f64,
    /// Rises with each that is owed.
    seat: u64,
}

/// One admitted routing id.
pub(crate) struct Peer<F> {
    pub name: Arc<str>,
    pub identity: Box<[u8]>,
    pub heard: f64,
    pub opened: bool,
    /// The control plane knows of its silence.
    pub told: bool,
    /// As a caller, by request number.
    pub open_calls: HashMap<u64, OpenCall>,
    /// As a provider, by flow and request number.
    pub owed: HashMap<(u32, u64), Owed>,
    pub gaps: Gaps,
    /// What the transport would not take yet.
    pub queue: VecDeque<(F, F)>,
    pub queued_bytes: usize,
    /// Unique and rising with each admission.
    order: u64,
    owed_seen: u64,
}

impl<F> Peer<F> {
    /// Whether it came by itself, and goes when it is not heard of, welcomed or not.
    pub fn is_console(&self) -> bool {
        self.identity.len() == CONSOLE_IDENTITY_BYTES
    }

    /// Its open calls with their request numbers, oldest first.
    pub fn calls_in_order(&self) -> Vec<(u64, OpenCall)> {
        let mut calls: Vec<_> =
            self.open_calls.iter().map(|(request, call)| (*request, *call)).collect();
        calls.sort_unstable_by_key(|(_, call)| call.order);
        calls
    }

    /// It owes the answer to a call until a time; one that it owed under the same numbers is forgotten.
    pub fn owe(&mut self, flow: u32, caller: PeerId, request: u64, call: u64, until: f64) {
        self.owed_seen += 1;
        let seat = self.owed.get(&(flow, request)).map_or(self.owed_seen, |former| former.seat);
        self.owed.insert((flow, request), Owed { call, caller, request, until, seat });
    }

    /// Takes what was owed for too long, oldest first; the others are forgiven so many seconds.
    pub fn take_overdue(&mut self, forgiven: f64, now: f64) -> Vec<Owed> {
        let mut late = Vec::new();
        self.owed.retain(|_, owed| {
            owed.until += forgiven;
            let in_time = owed.until > now;
            if !in_time {
                late.push(*owed);
            }
            in_time
        });
        late.sort_unstable_by_key(|owed| owed.seat);
        late
    }

    fn stats(&self) -> PeerStats {
        PeerStats {
            peer: Arc::clone(&self.name),
            queued: self.queue.len(),
            queued_bytes: self.queued_bytes,
            open_calls: self.open_calls.len(),
            owed: self.owed.len(),
        }
    }
}

/// A console cannot join before another one leaves.
pub(crate) struct TooManyConsoles;

pub(crate) struct Members<F> {
    pub kernel: PeerId,
    slots: Slab<Peer<F>>,
    by_name: HashMap<Arc<str>, PeerId>,
    by_identity: HashMap<Box<[u8]>, PeerId>,
    /// Names by secret.
    consoles: HashMap<Box<[u8]>, Arc<str>>,
    consoles_seen: u64,
    departed: Vec<PeerId>,
    admitted: u64,
}

impl<F> Members<F> {
    pub fn new(now: f64) -> Self {
        let mut members = Self {
            kernel: 0,
            slots: Slab::new(),
            by_name: HashMap::default(),
            by_identity: HashMap::default(),
            consoles: HashMap::default(),
            consoles_seen: 0,
            departed: Vec::new(),
            admitted: 0,
        };
        members.kernel = members.insert(KERNEL.into(), &[], now);
        let kernel = members.kernel;
        members[kernel].opened = true;
        members
    }

    /// Adds one under a name that is free.
    pub fn add(&mut self, name: Arc<str>, identity: &[u8], now: f64) -> PeerId {
        let id = self.insert(name, identity, now);
        self.by_identity.insert(identity.into(), id);
        id
    }

    fn insert(&mut self, name: Arc<str>, identity: &[u8], now: f64) -> PeerId {
        self.admitted += 1;
        let id = self.slots.insert(Peer {
            name: Arc::clone(&name),
            identity: identity.into(),
            heard: now,
            opened: false,
            told: false,
            open_calls: HashMap::default(),
            owed: HashMap::default(),
            gaps: Gaps::default(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            order: self.admitted,
            owed_seen: 0,
        });
        self.by_name.insert(name, id);
        id
    }

    /// Lets in every long routing id that begins with `secret`.
    pub fn add_consoles(&mut self, name: &str, secret: &[u8]) {
        self.consoles.insert(secret.into(), name.into());
    }

    /// A new console if the routing id is one's.
    pub fn find_console(
        &mut self,
        identity: &[u8],
        now: f64,
    ) -> Result<Option<PeerId>, TooManyConsoles> {
        if identity.len() != CONSOLE_IDENTITY_BYTES {
            return Ok(None);
        }
        let Some(name) = self.consoles.get(&identity[..IDENTITY_BYTES]).map(Arc::clone) else {
            return Ok(None);
        };
        if self.consoles_of(&name).len() >= MAX_CONSOLES {
            return Err(TooManyConsoles);
        }
        let unused = self.unused(&name);
        Ok(Some(self.add(unused, identity, now)))
    }

    fn unused(&mut self, name: &str) -> Arc<str> {
        loop {
            self.consoles_seen += 1;
            let unused: Arc<str> = format!("{name}/{}", self.consoles_seen).into();
            if self.named(&unused).is_none() {
                return unused;
            }
        }
    }

    /// Takes out a peer, or all consoles of this name, and returns who is gone; their numbers stay good until `bury`.
    pub fn remove(&mut self, name: &str) -> Vec<PeerId> {
        let before = self.consoles.len();
        self.consoles.retain(|_, console| **console != *name);
        let mut names = Vec::new();
        if self.consoles.len() < before {
            names = self.consoles_of(name);
        }
        names.push(name.into());
        names.iter().filter_map(|name| self.remove_one(name)).collect()
    }

    fn remove_one(&mut self, name: &str) -> Option<PeerId> {
        let id = self.named(name).filter(|id| *id != self.kernel)?;
        self.by_name.remove(name);
        self.mute(id);
        self.departed.push(id);
        Some(id)
    }

    /// Its routing id is nobody's from now on.
    pub fn mute(&mut self, id: PeerId) {
        let identity = &self.slots[id].identity;
        if self.by_identity.get(identity) == Some(&id) {
            self.by_identity.remove(identity);
        }
    }

    /// Gives the numbers of expelled peers free, but for those that something still waits to be sent to, and returns
    /// them.
    pub fn bury(&mut self) -> Vec<PeerId> {
        let slots = &mut self.slots;
        let (buried, waiting) = std::mem::take(&mut self.departed)
            .into_iter()
            .partition(|id| slots[*id].queue.is_empty());
        self.departed = waiting;
        for id in &buried {
            slots.remove(*id);
        }
        buried
    }

    pub fn named(&self, name: &str) -> Option<PeerId> {
        self.by_name.get(name).copied()
    }

    pub fn with_identity(&self, identity: &[u8]) -> Option<PeerId> {
        self.by_identity.get(identity).copied()
    }

    /// Whether its routing id is still its own.
    pub fn is_heard(&self, id: PeerId) -> bool {
        self.with_identity(&self.slots[id].identity) == Some(id)
    }

    /// The peer with a number that may have been given free.
    pub fn find(&self, id: PeerId) -> Option<&Peer<F>> {
        self.slots.get(id)
    }

    pub fn find_mut(&mut self, id: PeerId) -> Option<&mut Peer<F>> {
        self.slots.get_mut(id)
    }

    /// All that are admitted, the kernel included, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Peer<F>> {
        self.by_name.values().map(|id| &self.slots[*id])
    }

    /// The numbers of all that are admitted, in the order of their admission.
    pub fn in_order(&self) -> Vec<PeerId> {
        let mut ids: Vec<_> = self.by_name.values().copied().collect();
        ids.sort_unstable_by_key(|id| self.slots[*id].order);
        ids
    }

    /// By name, without the kernel.
    pub fn stats(&self) -> Vec<PeerStats> {
        let peers = self.by_name.values().filter(|id| **id != self.kernel);
        let mut rows: Vec<_> = peers.map(|id| self.slots[*id].stats()).collect();
        rows.sort_unstable_by(|one, other| one.peer.cmp(&other.peer));
        rows
    }

    /// The names of all consoles of this name that are connected, oldest first.
    fn consoles_of(&self, console: &str) -> Vec<Arc<str>> {
        let belongs = |name: &str| name.strip_prefix(console).is_some_and(|n| n.starts_with('/'));
        let ids = self.in_order().into_iter();
        ids.map(|id| Arc::clone(&self.slots[id].name)).filter(|name| belongs(name)).collect()
    }
}

impl<F> std::ops::Index<PeerId> for Members<F> {
    type Output = Peer<F>;

    fn index(&self, id: PeerId) -> &Peer<F> {
        &self.slots[id]
    }
}

impl<F> std::ops::IndexMut<PeerId> for Members<F> {
    fn index_mut(&mut self, id: PeerId) -> &mut Peer<F> {
        &mut self.slots[id]
    }
}
