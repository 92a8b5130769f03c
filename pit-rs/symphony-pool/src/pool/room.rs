//! Room for one more instance: from what is free, from what leaves already, from what may be evicted.
//!
//! A call that waits holds nothing, so there are no circles; whoever came first has the room that becomes
//! free: once one of those that wait cannot be placed, none behind it may spawn or evict, only take an
//! instance that is free already. If what it needs is leased, then after [`PATIENCE_MS`] a set of instances
//! that makes room drains, so that it is not overtaken for ever.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use symphony_journal::Storage;
use symphony_wire::reactor::Effects;

use super::Pool;
use crate::config::Limits;
use crate::evict::{choose, Candidate, Need, Size};
use crate::fleet::{Purpose, Slot, SlotId};
use crate::requests::CERTAIN;
use crate::table::State;

/// Whoever waits longer at the head of the line has instances drained that are in use.
pub(super) const PATIENCE_MS: u64 = 10_000;

/// The room that those who were looked at before will take.
#[derive(Default)]
pub(super) struct Claims {
    size: Size,
    instances: u64,
    /// Calls that wait for an instance that loads, by slot.
    pub loading: BTreeMap<SlotId, u32>,
    /// Places that become free, by kind.
    pub places: BTreeMap<String, u64>,
    /// Somebody cannot be placed: nobody behind takes room.
    pub blocked: bool,
    /// Tenants, by kind, for whom nothing is free and nothing loads: what is true of one that waits is true
    /// of all behind it.
    hopeless: BTreeMap<String, BTreeSet<String>>,
}

impl Claims {
    pub fn is_hopeless(&self, kind: &str, tenant: &str) -> bool {
        self.hopeless.get(kind).is_some_and(|tenants| tenants.contains(tenant))
    }

    pub fn give_up(&mut self, kind: &str, tenant: &str) {
        self.hopeless.entry(kind.to_owned()).or_default().insert(tenant.to_owned());
    }

    fn room(&mut self, size: Size) {
        self.size = self.size.plus(size);
        self.instances += 1;
    }
}

impl<S: Storage> Pool<S> {
    pub(super) fn limits(&self) -> Limits {
        let configured = self.ledger.config.as_ref().map(|(config, _)| config.limits);
        configured.unwrap_or(Limits {
            memory_mib: None,
            instances: None,
            money_per_hour: None,
            spawning: 1,
        })
    }

    /// Spawns an instance for a call, or makes room for it.
    pub(super) fn place(
        &mut self,
        name: &str,
        tenant: &str,
        waited: u64,
        claims: &mut Claims,
        now: u64,
        out: &mut Effects,
    ) {
        let Some(kind) = self.fleet.kinds.get(name) else { return };
        let (size, most) = (kind.spec.size(), kind.spec.most);
        if !self.has_place(name, most, claims, now) {
            return;
        }
        let limits = self.limits();
        let used = self.used(claims);
        if exceeds(used, size, limits).is_met() && self.fleet_has_place(name, most) {
            if self.fleet.loading() < limits.spawning {
                // Whoever waits for room that only becomes free keeps his claim to it.
                self.spawn(name, Some(tenant), Purpose::Demand, now, out);
                if let Some((id, _)) = self.fleet.slots.last_key_value() {
                    *claims.loading.entry(*id).or_default() += 1;
                }
            } else {
                claims.room(size);
            }
            return;
        }
        let leaving = self.leaving(|slot| slot.is_leaving());
        let need = exceeds(less(used, leaving), size, limits);
        if need.is_met() {
            claims.room(size);
            return;
        }
        let idle = self.candidates(name, |slot| slot.is_idle(), now);
        if let Some(chosen) = choose(&idle, need) {
            self.evict(&chosen, now);
            claims.room(size);
            return;
        }
        claims.blocked = true;
        if waited >= PATIENCE_MS {
            let draining = self.leaving(|slot| slot.state == State::Draining);
            let need = exceeds(less(used, draining), size, limits);
            let serving = self.candidates(name, |slot| slot.state.is_serving(), now);
            if let Some(chosen) = choose(&serving, need).filter(|_| !need.is_met()) {
                self.evict(&chosen, now);
            }
        }
    }

    pub(super) fn fleet_has_place(&self, kind: &str, most: u64) -> bool {
        (self.fleet.slots_of(kind).count() as u64) < most
    }

    /// Whether the kind may have one more instance, now or once one has left that may have to be evicted
    /// for it.
    pub(super) fn has_place(
        &mut self,
        kind: &str,
        most: u64,
        claims: &mut Claims,
        now: u64,
    ) -> bool {
        let claimed = claims.places.get(kind).copied().unwrap_or(0);
        let count = self.fleet.slots_of(kind).count() as u64 + claimed;
        let leaving = self.fleet.slots_of(kind).filter(|(_, slot)| slot.is_leaving()).count();
        if count < most {
            return true;
        }
        if count - leaving as u64 >= most {
            // Those that are idle are another tenant's, or the call had one.
            let own = self.candidates(kind, |slot| slot.is_idle(), now).into_iter();
            let own = own
                .filter(|it| self.fleet.slots.get(&it.slot).is_some_and(|slot| slot.kind == kind));
            let Some(cheapest) = own.min_by_key(|it| (it.cost, it.slot)) else { return false };
            self.evict(&[cheapest.slot], now);
        }
        *claims.places.entry(kind.to_owned()).or_default() += 1;
        true
    }

    /// Size and number of all instances, with what was claimed.
    pub(super) fn used(&self, claims: &Claims) -> Need {
        Need {
            size: self.fleet.used().plus(claims.size),
            instances: self.fleet.count() + claims.instances,
        }
    }

    pub(super) fn leaving(&self, is_meant: impl Fn(&Slot) -> bool) -> Need {
        let meant = self.fleet.slots.values().filter(|slot| is_meant(slot));
        meant.fold(Need::default(), |sum, slot| Need {
            size: sum.size.plus(slot.size),
            instances: sum.instances + 1,
        })
    }

    /// What may be evicted for one more of this kind: unpinned, and not what `least` keeps.
    pub(super) fn candidates(
        &self,
        wanted: &str,
        may: impl Fn(&Slot) -> bool,
        now: u64,
    ) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for (name, kind) in self.fleet.kinds.iter().filter(|(_, kind)| !kind.pinned) {
            let stays = |slot: &&Slot| slot.state != State::Draining;
            let staying =
                self.fleet.slots_of(name).map(|(_, slot)| slot).filter(stays).count() as u64;
            let kept =
                if name == wanted { kind.spec.least.saturating_sub(1) } else { kind.spec.least };
            let surplus = usize::try_from(staying.saturating_sub(kept)).unwrap_or(usize::MAX);
            let mut slots: Vec<(SlotId, &Slot)> =
                self.fleet.slots_of(name).filter(|(_, slot)| may(slot)).collect();
            // The one used last is the most likely to be used next.
            slots.sort_by_key(|(id, slot)| (Reverse(slot.idle_since), *id));
            let chance = kind.demand.chance(now, self.terms(kind));
            let ranked = slots.iter().enumerate().skip(slots.len().saturating_sub(surplus));
            candidates.extend(ranked.map(|(rank, (id, slot))| {
                let chance = match slot.state {
                    State::Cooldown | State::Active => CERTAIN,
                    _ => chance / (rank as u64 + 1),
                };
                let cost = kind.spec.load_ms.max(1).saturating_mul(chance.max(1));
                Candidate { slot: *id, size: slot.size, cost }
            }));
        }
        candidates
    }

    pub(super) fn evict(&mut self, chosen: &[SlotId], now: u64) {
        for id in chosen {
            self.stats.evictions += 1;
            self.drain_slot(*id, "evicted", now);
        }
    }

    /// Where limits have become smaller, idle instances leave until they hold.
    pub(super) fn trim(&mut self, now: u64) {
        let leaving = self.leaving(|slot| slot.is_leaving());
        let used = less(self.used(&Claims::default()), leaving);
        let limits = self.limits();
        let need = Need {
            size: used.size.minus(limits.size()),
            instances: used.instances.saturating_sub(limits.instances()),
        };
        if need.is_met() {
            return;
        }
        let idle = self.candidates("", |slot| slot.is_idle(), now);
        let all = || idle.iter().map(|candidate| candidate.slot).collect();
        let chosen = choose(&idle, need).unwrap_or_else(all);
        self.evict(&chosen, now);
    }
}

/// By how much one more of this size would exceed the limits.
pub(super) fn exceeds(used: Need, size: Size, limits: Limits) -> Need {
    Need {
        size: used.size.plus(size).minus(limits.size()),
        instances: (used.instances + 1).saturating_sub(limits.instances()),
    }
}

fn less(used: Need, freed: Need) -> Need {
    Need {
        size: used.size.minus(freed.size),
        instances: used.instances.saturating_sub(freed.instances),
    }
}
