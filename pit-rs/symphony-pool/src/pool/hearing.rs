//! What the kernel answered.

use symphony_journal::Storage;
use symphony_member::is_name;
use symphony_wire::service::{parse, Outcome};
use symphony_wire::{BusError, Code};

use super::{Asked, Pool};
use crate::fleet::SlotId;

use crate::replies::{Probed, Spawned};
use crate::table::Event;

impl<S: Storage> Pool<S> {
    pub(super) fn hear(&mut self, asked: Asked, outcome: Outcome, now: u64) {
        match asked {
            Asked::Spawn(id) => self.spawn_ended(id, outcome, now),
            Asked::Unload(id) => self.unload_ended(id, outcome, now),
            Asked::Probe(id) => self.probe_ended(id, outcome, now),
        }
    }

    fn spawn_ended(&mut self, id: SlotId, outcome: Outcome, now: u64) {
        // A resync may have named it already, and it may have left since.
        let Some(slot) = self.fleet.slots.get(&id).filter(|slot| slot.loads) else { return };
        let (kind, named) = (slot.kind.clone(), slot.name.clone());
        match outcome.and_then(|body| parse::<Spawned>(&body)).and_then(|it| self.admit(id, it)) {
            Ok(instance) => {
                if named.is_none() {
                    self.fleet.name(id, &instance);
                }
                // It loads, so the table has it.
                let _ = self.loaded(id, now);
            }
            Err(error) => {
                self.stats.spawn_failures += 1;
                let _ = self.fleet.fire(id, Event::SpawnFailed, now);
                self.unsettled = true;
                self.cannot_spawn(&kind, error, now);
            }
        }
    }

    /// The name, if it can be that of a new instance.
    fn admit(&self, id: SlotId, spawned: Spawned) -> Result<String, BusError> {
        let Spawned { instance } = spawned;
        let fault = |what| Err(BusError::new(Code::Protocol, what));
        if !is_name(&instance) {
            fault("the kernel gave an instance no name")
        } else if self.has_departed(&instance) {
            fault("it died as soon as it was there")
        } else if self.fleet.find(&instance).is_some_and(|known| known != id) {
            fault("the kernel gave two instances one name")
        } else {
            Ok(instance)
        }
    }

    fn unload_ended(&mut self, id: SlotId, outcome: Outcome, now: u64) {
        let Some(slot) = self.fleet.slots.get_mut(&id) else { return };
        slot.unloading = false;
        match outcome {
            Err(error) if error.code != Code::NotFound => {
                tracing::warn!(instance = slot.name, %error, "failed to unload; trying again");
                slot.unload_backoff.failed(now);
            }
            _ => {
                let name = slot.name.clone();
                let _ = self.fleet.fire(id, Event::Unloaded, now);
                name.into_iter().for_each(|name| self.depart(name));
                self.unsettled = true;
            }
        }
    }

    fn probe_ended(&mut self, id: SlotId, outcome: Outcome, now: u64) {
        let Some(slot) = self.fleet.slots.get_mut(&id) else { return };
        let is_to_be_believed = slot.probing.take() == Some(true);
        slot.worked_at = now;
        let within = self.fleet.kinds.get(&slot.kind).and_then(|kind| kind.spec.probe.as_ref());
        let within = within.map_or(u64::MAX, |probe| probe.within_ms);
        let took = outcome.and_then(|body| parse::<Probed>(&body)).map(|probed| probed.took_ms);
        let works = took.is_ok_and(|took| took <= within);
        if !is_to_be_believed {
            // A call came in between: how that goes says more.
            return;
        }
        if works {
            slot.strikes.worked(false);
        } else {
            slot.strikes.failed();
            self.stats.probe_failures += 1;
            self.judge(id, "it failed its probes", now);
        }
    }
}
