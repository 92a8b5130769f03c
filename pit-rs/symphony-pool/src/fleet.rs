//! The instances that there are, by the table of their life, and what is known of their kinds.
//!
//! All of it is soft: after a restart it is made anew from the kernel's word and the ledger.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use symphony_member::short;
use symphony_wire::{BusError, Code};

use crate::backoff::Backoff;
use crate::config::Spec;
use crate::demand::Demand;
use crate::evict::Size;
use crate::health::{Pace, Strikes};
use crate::table::{Event, State};

pub type SlotId = u64;

/// Why an instance was spawned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// For a call that waited.
    Demand,
    /// Because so many are always kept.
    Least,
    /// Because a call is expected.
    Predicted,
    /// Not by this process.
    Found,
}

/// One instance, from the decision to spawn it until it is gone.
#[derive(Debug)]
pub struct Slot {
    /// As the kernel names it, once it is said.
    pub name: Option<String>,
    /// The spawn's id.
    pub spawn: String,
    pub kind: String,
    /// Whose it is for the rest of its life.
    pub tenant: Option<String>,
    pub state: State,
    /// Its spawn has not ended; it may drain already.
    pub loads: bool,
    pub size: Size,
    pub leases: BTreeSet<u64>,
    pub purpose: Purpose,
    pub calls: u64,
    pub strikes: Strikes,
    /// When it came into its state.
    pub since: u64,
    /// When it was last given back, or ready.
    pub idle_since: u64,
    pub loaded_at: u64,
    /// When it last did useful work.
    pub worked_at: u64,
    /// The probe that is under way is to be believed: the instance had nothing else to do.
    pub probing: Option<bool>,
    /// The kernel was asked to unload it.
    pub unloading: bool,
    pub unload_backoff: Backoff,
    /// Why it drains.
    pub reason: &'static str,
}

impl Slot {
    pub fn is_idle(&self) -> bool {
        self.leases.is_empty() && matches!(self.state, State::Warm | State::Cooldown)
    }

    /// Whether it leaves as soon as the kernel has done it.
    pub fn is_leaving(&self) -> bool {
        self.state == State::Draining && self.leases.is_empty() && !self.loads
    }

    pub fn serves(&self, tenant: &str) -> bool {
        self.tenant.as_deref().is_none_or(|owner| owner == tenant)
    }
}

/// One kind, with what was learned of it.
pub struct Kind {
    pub spec: Spec,
    /// Not configured any more; goes with its last instance.
    pub retired: bool,
    pub pinned: bool,
    pub slots: BTreeSet<SlotId>,
    pub demand: Demand,
    pub backoff: Backoff,
    /// Why it could not be spawned.
    pub error: Option<BusError>,
    pub pace: Pace,
    pub warm_hits: u64,
    pub cold_starts: u64,
}

impl Kind {
    pub fn new(spec: Spec) -> Self {
        Self {
            pinned: spec.pinned,
            spec,
            retired: false,
            slots: BTreeSet::new(),
            demand: Demand::default(),
            backoff: Backoff::default(),
            error: None,
            pace: Pace::default(),
            warm_hits: 0,
            cold_starts: 0,
        }
    }
}

/// Which instance a call gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    Free(SlotId),
    /// Only this one will do, and it is taken.
    Taken,
    None,
}

#[derive(Default)]
pub struct Fleet {
    pub slots: BTreeMap<SlotId, Slot>,
    pub kinds: BTreeMap<String, Kind>,
    names: HashMap<String, SlotId>,
    used: Size,
    loading: u64,
    made: SlotId,
}

impl Fleet {
    /// What all instances together take.
    pub fn used(&self) -> Size {
        self.used
    }

    pub fn count(&self) -> u64 {
        self.slots.len() as u64
    }

    /// How many load now.
    pub fn loading(&self) -> u64 {
        self.loading
    }

    pub fn find(&self, name: &str) -> Option<SlotId> {
        self.names.get(name).copied()
    }

    pub fn by_name(&self, name: &str) -> Option<&Slot> {
        self.find(name).and_then(|id| self.slots.get(&id))
    }

    pub fn slots_of(&self, kind: &str) -> impl Iterator<Item = (SlotId, &Slot)> {
        let ids = self.kinds.get(kind).into_iter().flat_map(|kind| &kind.slots);
        ids.filter_map(|id| self.slots.get(id).map(|slot| (*id, slot)))
    }

    /// Begins the life of an instance: it loads.
    pub fn spawn(&mut self, kind: &str, tenant: Option<&str>, size: Size, now: u64) -> SlotId {
        self.made += 1;
        let slot = Slot {
            name: None,
            spawn: String::new(),
            kind: kind.to_owned(),
            tenant: tenant.map(str::to_owned),
            state: State::Idle,
            loads: false,
            size,
            leases: BTreeSet::new(),
            purpose: Purpose::Found,
            calls: 0,
            strikes: Strikes::default(),
            since: now,
            idle_since: now,
            loaded_at: now,
            worked_at: now,
            probing: None,
            unloading: false,
            unload_backoff: Backoff::default(),
            reason: "",
        };
        self.slots.insert(self.made, slot);
        self.used = self.used.plus(size);
        if let Some(kind) = self.kinds.get_mut(kind) {
            kind.slots.insert(self.made);
        }
        // From idle this leads to loading.
        let _ = self.fire(self.made, Event::Spawned, now);
        self.made
    }

    pub fn name(&mut self, id: SlotId, name: &str) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.name = Some(name.to_owned());
            self.names.insert(name.to_owned(), id);
        }
    }

    /// What happens to an instance, if it may happen in its state; otherwise `conflict` and no change. One
    /// that is idle again is gone.
    pub fn fire(&mut self, id: SlotId, event: Event, now: u64) -> Result<(), BusError> {
        let Some(slot) = self.slots.get_mut(&id) else {
            return Err(BusError::new(Code::NotFound, "there is no such instance").at("instance"));
        };
        let Some(next) = slot.state.after(event) else {
            let name = short(slot.name.as_deref().unwrap_or(&slot.spawn));
            let state = slot.state.name();
            let message = format!("{name} is {state}: {event:?} cannot happen to it");
            return Err(BusError::new(Code::Conflict, message).at(state));
        };
        if next != slot.state {
            (slot.state, slot.since) = (next, now);
        }
        match event {
            Event::Loaded => (slot.loaded_at, slot.idle_since, slot.worked_at) = (now, now, now),
            Event::Freed => slot.idle_since = now,
            _ => {}
        }
        let loads = match event {
            Event::Spawned => true,
            Event::Loaded | Event::SpawnFailed | Event::Died => false,
            _ => slot.loads,
        };
        self.loading = self.loading + u64::from(loads) - u64::from(slot.loads);
        slot.loads = loads;
        if next == State::Idle {
            self.remove(id);
        }
        Ok(())
    }

    fn remove(&mut self, id: SlotId) {
        let Some(slot) = self.slots.remove(&id) else { return };
        self.used = self.used.minus(slot.size);
        if let Some(name) = &slot.name {
            self.names.remove(name);
        }
        if let Some(kind) = self.kinds.get_mut(&slot.kind) {
            kind.slots.remove(&id);
            if kind.retired && kind.slots.is_empty() {
                self.kinds.remove(&slot.kind);
            }
        }
    }

    /// The least loaded instance that may serve the tenant; `keeper` is the one that had the call's key.
    /// Of equals those that are beyond doubt, then the tenant's own, then the one used last: the others may
    /// grow cold.
    pub fn pick(&self, kind: &str, tenant: &str, keeper: Option<&str>) -> Pick {
        let Some(share) = self.kinds.get(kind).map(|kind| kind.spec.share as usize) else {
            return Pick::None;
        };
        let may = |slot: &Slot| slot.state.is_serving() && slot.serves(tenant);
        if let Some(id) = keeper.and_then(|name| self.find(name)) {
            if let Some(slot) = self.slots.get(&id).filter(|slot| may(slot)) {
                return if slot.leases.len() < share { Pick::Free(id) } else { Pick::Taken };
            }
        }
        let free = self.slots_of(kind).filter(|(_, slot)| may(slot) && slot.leases.len() < share);
        let best = free.min_by_key(|(id, slot)| {
            let doubtful = slot.strikes.is_suspect() || slot.probing.is_some();
            (doubtful, slot.leases.len(), slot.tenant.is_none(), Reverse(slot.idle_since), *id)
        });
        best.map_or(Pick::None, |(id, _)| Pick::Free(id))
    }
}
