//! The admitted peers: by name, by routing id, and by the number that calls and routes refer to them with.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use slab::Slab;

/// Refers to a peer as long as anything may: an expelled one keeps its number until nothing is left to send to it.
pub(crate) type PeerId = usize;

/// A call that was not answered yet.
#[derive(Clone, Copy)]
pub(crate) struct OpenCall {
    pub flow: u32,
    pub provider: PeerId,
    /// Unique and rising.
    pub order: u64,
}

/// One admitted routing id.
pub(crate) struct Peer<F> {
    pub name: Arc<str>,
    pub identity: Box<[u8]>,
    pub heard: f64,
    pub opened: bool,
    /// The control plane knows of its silence.
    pub told: bool,
    /// By request number.
    pub open_calls: HashMap<u64, OpenCall>,
    /// What the transport would not take yet.
    pub queue: VecDeque<(F, F)>,
    pub queued_bytes: usize,
    /// Unique and rising with each admission.
    order: u64,
}

impl<F> Peer<F> {
    /// Its open calls with their request numbers, oldest first.
    pub fn calls_in_order(&self) -> Vec<(u64, OpenCall)> {
        let mut calls: Vec<_> =
            self.open_calls.iter().map(|(request, call)| (*request, *call)).collect();
        calls.sort_unstable_by_key(|(_, call)| call.order);
        calls
    }
}

pub(crate) struct Peers<F> {
    slots: Slab<Peer<F>>,
    by_name: HashMap<Arc<str>, PeerId>,
    by_identity: HashMap<Box<[u8]>, PeerId>,
    departed: Vec<PeerId>,
    admitted: u64,
}

impl<F> Peers<F> {
    pub fn new() -> Self {
        Self {
            slots: Slab::new(),
            by_name: HashMap::new(),
            by_identity: HashMap::new(),
            departed: Vec::new(),
            admitted: 0,
        }
    }

    /// Adds one under a name that is free. The kernel's peer has no routing id.
    pub fn add(&mut self, name: Arc<str>, identity: Option<&[u8]>, now: f64) -> PeerId {
        self.admitted += 1;
        let id = self.slots.insert(Peer {
            name: Arc::clone(&name),
            identity: identity.unwrap_or_default().into(),
            heard: now,
            opened: false,
            told: false,
            open_calls: HashMap::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            order: self.admitted,
        });
        self.by_name.insert(name, id);
        if let Some(identity) = identity {
            self.by_identity.insert(identity.into(), id);
        }
        id
    }

    /// Takes one out of both tables; its number stays good until `bury`.
    pub fn remove(&mut self, name: &str) -> Option<PeerId> {
        let id = self.by_name.remove(name)?;
        let identity = &self.slots[id].identity;
        if self.by_identity.get(identity) == Some(&id) {
            self.by_identity.remove(identity);
        }
        self.departed.push(id);
        Some(id)
    }

    /// Gives the numbers of expelled peers free, but for those that something still waits to be sent to.
    pub fn bury(&mut self) {
        let slots = &mut self.slots;
        self.departed.retain(|id| {
            let waits = !slots[*id].queue.is_empty();
            if !waits {
                slots.remove(*id);
            }
            waits
        });
    }

    pub fn named(&self, name: &str) -> Option<PeerId> {
        self.by_name.get(name).copied()
    }

    pub fn with_identity(&self, identity: &[u8]) -> Option<PeerId> {
        self.by_identity.get(identity).copied()
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
}

impl<F> std::ops::Index<PeerId> for Peers<F> {
    type Output = Peer<F>;

    fn index(&self, id: PeerId) -> &Peer<F> {
        &self.slots[id]
    }
}

impl<F> std::ops::IndexMut<PeerId> for Peers<F> {
    fn index_mut(&mut self, id: PeerId) -> &mut Peer<F> {
        &mut self.slots[id]
    }
}
