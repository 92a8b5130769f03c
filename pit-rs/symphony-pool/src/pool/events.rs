//! What happens to instances by the kernel's word.

use symphony_journal::Storage;
use symphony_member::{short, Request};
use symphony_wire::reactor::Now;
use symphony_wire::service::{reply, Outcome};
use symphony_wire::{BusError, Code};

use super::{Pool, MAX_DEPARTED};
use crate::fleet::{Purpose, SlotId};
use crate::health::STRIKES;
use crate::replies::Empty;
use crate::requests::{self, Happening};
use crate::table::{Event, State};

impl<S: Storage> Pool<S> {
    pub(super) fn event(&mut self, body: &[u8], now: Now) -> Outcome {
        let request = requests::Event::read(body)?;
        let found = self.fleet.find(&request.instance);
        match (request.kind, found) {
            (Happening::Died, found) => {
                tracing::info!(instance = request.instance, reason = request.reason, "died");
                if let Some(id) = found {
                    self.stats.deaths += 1;
                    self.lose(id, now.mono_ms)?;
                }
                self.depart(request.instance);
                if self.synced.is_some() {
                    self.settle();
                }
            }
            (_, None) => {
                let message = format!("there is no instance {}", short(&request.instance));
                return Err(BusError::new(Code::NotFound, message).at("instance"));
            }
            (Happening::Ready, Some(id)) => self.loaded(id, now.mono_ms)?,
            (Happening::Slow, Some(id)) => {
                if let Some(slot) = self.fleet.slots.get_mut(&id) {
                    slot.strikes.slow();
                }
                self.judge(id, "slow", now.mono_ms);
            }
        }
        reply(&Empty {})
    }

    /// The instance is ready.
    pub(super) fn loaded(&mut self, id: SlotId, now: u64) -> Result<(), BusError> {
        self.fleet.fire(id, Event::Loaded, now)?;
        let kind = self.fleet.slots.get(&id).map(|slot| slot.kind.clone()).unwrap_or_default();
        if let Some(kind) = self.fleet.kinds.get_mut(&kind) {
            (kind.backoff, kind.error) = Default::default();
        }
        Ok(())
    }

    /// The instance is there no more; its leases are over.
    pub(super) fn lose(&mut self, id: SlotId, now: u64) -> Result<(), BusError> {
        let Some(slot) = self.fleet.slots.get(&id) else { return Ok(()) };
        let (kind, leases) = (slot.kind.clone(), slot.leases.len());
        // Of one that was found nobody knows whether it was used.
        let is_new = slot.calls == 0 && slot.purpose != Purpose::Found;
        let was_unused = is_new && slot.state != State::Draining;
        self.fleet.fire(id, Event::Died, now)?;
        (0..leases).for_each(|_| self.leave(&kind, now));
        if was_unused {
            let why = "it died before its first call";
            self.cannot_spawn(&kind, BusError::new(Code::Crashed, why), now);
        }
        self.unsettled = true;
        Ok(())
    }

    /// The kind is left alone for a while.
    pub(super) fn cannot_spawn(&mut self, kind: &str, error: BusError, now: u64) {
        if let Some(kind) = self.fleet.kinds.get_mut(kind) {
            kind.backoff.failed(now);
            kind.error = Some(error);
        }
    }

    /// Drains the instance if too much stands against it.
    pub(super) fn judge(&mut self, id: SlotId, reason: &'static str, now: u64) {
        let Some(slot) = self.fleet.slots.get(&id) else { return };
        let spec = self.fleet.kinds.get(&slot.kind).map(|kind| &kind.spec);
        let strikes = spec.and_then(|spec| spec.probe.as_ref()).map(|probe| probe.strikes);
        let is_out = slot.strikes.is_out(strikes.unwrap_or(STRIKES));
        if is_out && slot.state.is_serving() {
            self.stats.drained_unhealthy += 1;
            self.drain_slot(id, reason, now);
        }
    }

    /// Remembers a name that may still be mentioned.
    pub(super) fn depart(&mut self, instance: String) {
        if self.departed.len() == MAX_DEPARTED {
            self.departed.pop_front();
        }
        self.departed.push_back(instance);
    }

    pub(super) fn has_departed(&self, instance: &str) -> bool {
        self.departed.iter().any(|name| name == instance)
    }
}
