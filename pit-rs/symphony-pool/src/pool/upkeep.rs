//! What is done without anybody asking for it: cooling, leaving, loading ahead, probing.

use std::cmp::Reverse;

use symphony_journal::Storage;
use symphony_wire::reactor::Effects;

use super::room::{exceeds, Claims};
use super::{Asked, Pool};
use crate::fleet::{Purpose, Slot, SlotId};
use crate::replies;
use crate::table::{Event, State};

/// How long an instance stays in cooldown: its next user is often near.
pub(super) const COOLDOWN_MS: u64 = 1_000;
/// A spawn may take so many times its usual time, and this much more.
const LOAD_FACTOR: u64 = 10;
const LOAD_SPARE_MS: u64 = 60_000;
const UNLOAD_MS: u64 = 60_000;
/// What a probe's answer may take beyond the probe.
const PROBE_SPARE_MS: u64 = 5_000;

impl<S: Storage> Pool<S> {
    pub(super) fn cool(&mut self, now: u64) {
        let cold = self.fleet.slots.iter().filter(|(_, slot)| {
            slot.state == State::Cooldown && slot.since.saturating_add(COOLDOWN_MS) <= now
        });
        let cold: Vec<SlotId> = cold.map(|(id, _)| *id).collect();
        for id in cold {
            // The table has it for every instance in cooldown.
            let _ = self.fleet.fire(id, Event::Cooled, now);
        }
    }

    /// Instances that were idle for long leave, but for those that are kept or wanted.
    pub(super) fn retire(&mut self, now: u64) {
        let mut superfluous = Vec::new();
        for (name, kind) in self.fleet.kinds.iter().filter(|(_, kind)| !kind.pinned) {
            let slots = self.fleet.slots_of(name);
            let staying = slots.filter(|(_, slot)| slot.state != State::Draining).count() as u64;
            let mut idle: Vec<(SlotId, &Slot)> =
                self.fleet.slots_of(name).filter(|(_, slot)| slot.is_idle()).collect();
            idle.sort_by_key(|(id, slot)| (Reverse(slot.idle_since), *id));
            let wanted = kind.demand.worth_keeping(now, self.terms(kind));
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
            let surplus = usize::try_from(staying.saturating_sub(kind.spec.least));
            let kept = idle.len().saturating_sub(surplus.unwrap_or(usize::MAX));
            let old = idle.into_iter().skip(wanted.max(kept)).filter(|(_, slot)| {
                slot.state == State::Warm
                    && slot.idle_since.saturating_add(kind.spec.keep_ms) <= now
            });
            superfluous.extend(old.map(|(id, _)| id));
        }
        superfluous.into_iter().for_each(|id| self.drain_slot(id, "unused", now));
    }

    /// Spawns what is always kept and what will be needed, from room that nobody waits for.
    pub(super) fn anticipate(&mut self, claims: &Claims, now: u64, out: &mut Effects) {
        if claims.blocked {
            return;
        }
        let mut wanted: Vec<(String, u64, Purpose)> = Vec::new();
        for (name, kind) in self.fleet.kinds.iter().filter(|(_, kind)| !kind.retired) {
            if kind.backoff.left_ms(now).is_some() {
                continue;
            }
            let slots = || self.fleet.slots_of(name);
            let staying = slots().filter(|(_, slot)| slot.state != State::Draining).count() as u64;
            let least = kind.spec.least.saturating_sub(staying);
            // One that loads for a call that waits is spoken for.
            let free = slots().filter(|(id, slot)| {
                slot.is_idle() || (slot.state == State::Loading && !claims.loading.contains_key(id))
            });
            let free = free.count() as u64 + least;
            let expected = kind.demand.wanted_now(now, self.terms(kind)).saturating_sub(free);
            wanted.push((name.clone(), least, Purpose::Least));
            wanted.push((name.clone(), expected, Purpose::Predicted));
        }
        let limits = self.limits();
        for (name, count, purpose) in wanted {
            let Some(spec) = self.fleet.kinds.get(&name).map(|kind| &kind.spec) else { continue };
            let (size, most) = (spec.size(), spec.most);
            for _ in 0..count {
                let claimed = claims.places.get(&name).copied().unwrap_or(0);
                let places = self.fleet.slots_of(&name).count() as u64 + claimed;
                let fits = exceeds(self.used(claims), size, limits).is_met();
                if !fits || places >= most || self.fleet.loading() >= limits.spawning {
                    break;
                }
                self.spawn(&name, None, purpose, now, out);
            }
        }
    }

    pub(super) fn spawn(
        &mut self,
        name: &str,
        tenant: Option<&str>,
        purpose: Purpose,
        now: u64,
        out: &mut Effects,
    ) {
        let Some(spec) = self.fleet.kinds.get(name).map(|kind| &kind.spec) else { return };
        let ttl = spec.load_ms * LOAD_FACTOR + LOAD_SPARE_MS;
        let id = self.fleet.spawn(name, tenant, spec.size(), now);
        let spawn = self.next_spawn_id();
        if let Some(slot) = self.fleet.slots.get_mut(&id) {
            slot.purpose = purpose;
            slot.spawn.clone_from(&spawn);
        }
        self.stats.spawns += 1;
        self.stats.predicted += u64::from(purpose == Purpose::Predicted);
        let arguments = replies::Spawn { id: &spawn, kind: name, tenant };
        self.ask(Asked::Spawn(id), "spawn", &arguments, ttl, out);
    }

    /// Asks the kernel to unload what drains and is free.
    pub(super) fn unload(&mut self, now: u64, out: &mut Effects) {
        let free = self.fleet.slots.iter().filter(|(_, slot)| {
            slot.is_leaving() && !slot.unloading && slot.unload_backoff.left_ms(now).is_none()
        });
        let free: Vec<(SlotId, Option<String>, &'static str)> =
            free.map(|(id, slot)| (*id, slot.name.clone(), slot.reason)).collect();
        for (id, name, reason) in free {
            let Some(name) = name else { continue };
            if let Some(slot) = self.fleet.slots.get_mut(&id) {
                slot.unloading = true;
            }
            self.stats.unloads += 1;
            let arguments = replies::Unload { instance: &name, reason };
            self.ask(Asked::Unload(id), "unload", &arguments, UNLOAD_MS, out);
        }
    }

    /// Tries those that had nothing to do for long.
    pub(super) fn probe(&mut self, now: u64, out: &mut Effects) {
        let due = self.fleet.slots.iter().filter(|(_, slot)| {
            slot.is_idle()
                && slot.probing.is_none()
                && self.probe_at(slot).is_some_and(|at| at <= now)
        });
        let due: Vec<SlotId> = due.map(|(id, _)| *id).collect();
        for id in due {
            let Some(slot) = self.fleet.slots.get_mut(&id) else { continue };
            let kind = self.fleet.kinds.get(&slot.kind);
            let Some(probe) = kind.and_then(|kind| kind.spec.probe.clone()) else { continue };
            let Some(name) = slot.name.clone() else { continue };
            slot.probing = Some(true);
            self.stats.probes += 1;
            let arguments = replies::Probe {
                instance: &name,
                capability: &probe.capability,
                method: probe.method.as_deref(),
                args: &probe.args,
                within_ms: probe.within_ms,
            };
            self.ask(Asked::Probe(id), "probe", &arguments, probe.within_ms + PROBE_SPARE_MS, out);
        }
    }

    pub(super) fn probe_at(&self, slot: &Slot) -> Option<u64> {
        let probe = self.fleet.kinds.get(&slot.kind)?.spec.probe.as_ref()?;
        Some(slot.worked_at.saturating_add(probe.every_ms))
    }
}
