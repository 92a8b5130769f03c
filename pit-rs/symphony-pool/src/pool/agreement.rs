//! Agreement on what there is: with the kernel after a restart of either side, with the journal after a
//! flush that failed.

use std::collections::{BTreeMap, BTreeSet};

use symphony_journal::Storage;
use symphony_member::Request;
use symphony_wire::reactor::Now;
use symphony_wire::service::{reply, Outcome};
use symphony_wire::BusError;

use super::{Asked, Pool, RETRY_MS};
use crate::fleet::{Slot, SlotId};
use crate::names::{lease_name, lease_number};
use crate::record::{Record, Returned};
use crate::replies;
use crate::requests::{self, Seen};
use crate::table::{Event, State};

impl<S: Storage> Pool<S> {
    pub(super) fn resync(&mut self, body: &[u8], now: Now) -> Outcome {
        let request = requests::Resync::read(body)?;
        let mut held: BTreeSet<u64> = BTreeSet::new();
        let mut lost = Vec::new();
        for name in request.leases {
            let number = lease_number(&name);
            match number.filter(|number| self.ledger.lease(*number).is_ok_and(|l| l.end.is_none()))
            {
                Some(number) => drop(held.insert(number)),
                None => lost.push(name),
            }
        }
        let listed: BTreeSet<&str> =
            request.instances.iter().map(|listed| listed.instance.as_str()).collect();
        let over = self.ledger.open().filter(|lease| {
            !held.contains(&lease.number) || !listed.contains(lease.instance.as_str())
        });
        let over: Vec<(u64, String)> =
            over.map(|lease| (lease.number, lease.instance.clone())).collect();
        self.commit(Record::Synced { epoch: self.ledger.epoch + 1, ts: request.ts })?;
        for (number, _) in &over {
            let outcome = requests::Outcome::Lost;
            let returned = Returned { lease: *number, outcome, by: None };
            self.commit(Record::Returned(Box::new(returned)))?;
            lost.push(lease_name(*number));
        }
        let now = now.mono_ms;
        let missing =
            self.fleet.slots.iter().filter(|(_, slot)| {
                slot.name.as_deref().is_some_and(|name| !listed.contains(name))
            });
        let missing: Vec<SlotId> = missing.map(|(id, _)| *id).collect();
        for id in missing {
            let name = self.fleet.slots.get(&id).and_then(|slot| slot.name.clone());
            self.fleet.fire(id, Event::Died, now)?;
            name.into_iter().for_each(|name| self.depart(name));
        }
        for listed in &request.instances {
            self.adopt(listed, now)?;
        }
        self.recount(now);
        let drains = |slot: &Slot| slot.state == State::Draining;
        let kill = request.instances.into_iter().filter(|listed| {
            let slot = self.fleet.by_name(&listed.instance);
            slot.is_none_or(|slot| drains(slot) && slot.leases.is_empty())
        });
        let kill = kill.map(|listed| listed.instance).collect();
        self.synced = Some(self.ledger.epoch);
        self.unsettled = true;
        reply(&replies::Resynced { kill, lost })
    }

    /// Takes over an instance that the kernel has.
    pub(super) fn adopt(&mut self, listed: &requests::Listed, now: u64) -> Result<(), BusError> {
        let found = self.fleet.find(&listed.instance).or_else(|| {
            // The answer to its spawn may still be on its way.
            let spawned = |slot: &Slot| {
                slot.name.is_none() && listed.id.as_deref() == Some(slot.spawn.as_str())
            };
            self.fleet.slots.iter().find(|(_, slot)| spawned(slot)).map(|(id, _)| *id)
        });
        let mark = self.ledger.marks.get(&listed.instance).cloned();
        let id = match found {
            Some(id) => id,
            None => {
                let leased = self.ledger.open().find(|it| it.instance == listed.instance);
                let size = match (self.kind(&listed.kind), leased) {
                    (_, Some(lease)) => lease.size(),
                    (Ok(kind), None) => kind.spec.size(),
                    // Not wanted, and how much it takes nobody knows any more.
                    (Err(_), None) => return Ok(()),
                };
                let owner = mark.as_ref().map(|mark| mark.tenant.clone());
                let tenant = owner.or_else(|| listed.tenant.clone());
                self.fleet.spawn(&listed.kind, tenant.as_deref(), size, now)
            }
        };
        self.fleet.name(id, &listed.instance);
        let loads = self.fleet.slots.get(&id).is_some_and(|slot| slot.loads);
        let was_loaded_before = loads && listed.state != Seen::Loading;
        if was_loaded_before {
            self.loaded(id, now)?;
        }
        let open = self.ledger.open().filter(|lease| lease.instance == listed.instance);
        let leases: BTreeSet<u64> = open.map(|lease| lease.number).collect();
        let Some(slot) = self.fleet.slots.get_mut(&id) else { return Ok(()) };
        if was_loaded_before {
            // Whoever gets it waited for the kernel's word, not for a spawn.
            slot.loaded_at = 0;
        }
        let mut unwanted = None;
        if listed.tenant.is_some() && slot.tenant.is_some() && listed.tenant != slot.tenant {
            unwanted = Some("its tenant is in doubt");
        } else if listed.tenant.is_some() {
            slot.tenant.clone_from(&listed.tenant);
        }
        if mark.is_some_and(|mark| mark.spoiled) {
            unwanted = Some("a call failed");
        }
        if listed.state == Seen::Active && leases.is_empty() {
            unwanted = Some("it is in use without a lease");
        }
        if listed.state == Seen::Leaving {
            unwanted = Some("it was leaving");
        }
        if self.kind(&listed.kind).is_err() {
            unwanted = Some("not configured any more");
        }
        self.hold(id, leases, now)?;
        if let Some(reason) = unwanted {
            self.drain_slot(id, reason, now);
        }
        Ok(())
    }

    /// Makes these the instance's leases, with the state that follows.
    pub(super) fn hold(
        &mut self,
        id: SlotId,
        leases: BTreeSet<u64>,
        now: u64,
    ) -> Result<(), BusError> {
        let Some(slot) = self.fleet.slots.get_mut(&id) else { return Ok(()) };
        let (had, has) = (!slot.leases.is_empty(), !leases.is_empty());
        let serving = slot.state.is_serving();
        slot.leases = leases;
        match (had, has) {
            (false, true) if serving => self.fleet.fire(id, Event::Leased, now),
            (true, false) if serving => self.fleet.fire(id, Event::Freed, now),
            _ => Ok(()),
        }
    }

    /// Counts anew who uses which kind.
    pub(super) fn recount(&mut self, now: u64) {
        let mut users: BTreeMap<&str, u64> = BTreeMap::new();
        for lease in self.ledger.open() {
            *users.entry(lease.kind.as_str()).or_default() += 1;
        }
        for waiter in self.queue.iter() {
            *users.entry(waiter.request.kind.as_str()).or_default() += 1;
        }
        for (name, kind) in &mut self.fleet.kinds {
            kind.demand.set_users(users.get(name.as_str()).copied().unwrap_or(0), now);
        }
    }

    /// Takes back what the journal did not take.
    pub(super) fn take_back(&mut self) -> Result<(), BusError> {
        let now = self.now_ms;
        self.ledger = self.store.replay()?;
        for token in std::mem::take(&mut self.unsent) {
            match self.asked.remove(&token) {
                Some(Asked::Spawn(id)) => self.fleet.fire(id, Event::SpawnFailed, now)?,
                Some(Asked::Unload(id)) => {
                    if let Some(slot) = self.fleet.slots.get_mut(&id) {
                        slot.unloading = false;
                    }
                }
                Some(Asked::Probe(id)) => {
                    if let Some(slot) = self.fleet.slots.get_mut(&id) {
                        slot.probing = None;
                    }
                }
                None => {}
            }
        }
        let mut held: BTreeMap<SlotId, BTreeSet<u64>> =
            self.fleet.slots.keys().map(|id| (*id, BTreeSet::new())).collect();
        for lease in self.ledger.open() {
            if let Some(id) = self.fleet.find(&lease.instance) {
                held.entry(id).or_default().insert(lease.number);
            }
        }
        for (id, leases) in held {
            self.hold(id, leases, now)?;
        }
        self.adopt_kinds();
        self.recount(now);
        if self.synced.is_some_and(|epoch| epoch > self.ledger.epoch) {
            self.synced = None;
        }
        self.unsettled = true;
        // Not at once: the disk may fail again.
        self.wake = Some(now.saturating_add(RETRY_MS));
        Ok(())
    }
}
