//! What there is and what was counted.

use symphony_journal::Storage;
use symphony_wire::reactor::Now;
use symphony_wire::service::{reply, Outcome};

use super::Pool;
use crate::config::SECONDS;
use crate::fleet::Slot;
use crate::names::lease_name;
use crate::replies::{self, Stats};
use crate::table::State;

impl<S: Storage> Pool<S> {
    pub(super) fn list(&self, now: Now) -> Outcome {
        let kinds = self.fleet.kinds.iter().map(|(name, kind)| {
            let slots: Vec<&Slot> = self.fleet.slots_of(name).map(|(_, slot)| slot).collect();
            let instances = slots.iter().map(|slot| replies::Instance {
                instance: slot.name.as_deref().unwrap_or(&slot.spawn),
                state: slot.state,
                tenant: slot.tenant.as_deref(),
                leases: slot.leases.iter().map(|lease| lease_name(*lease)).collect(),
                calls: slot.calls,
                since_ms: now.mono_ms.saturating_sub(slot.since),
            });
            let waiting = self.queue.iter().filter(|waiter| waiter.request.kind == *name);
            replies::Kind {
                kind: name,
                player: &kind.spec.player,
                state: summary(slots.iter().map(|slot| slot.state)),
                instances: instances.collect(),
                waiting: waiting.count(),
                warm_hits: kind.warm_hits,
                cold_starts: kind.cold_starts,
            }
        });
        let (limits, used) = (self.limits(), self.fleet.used());
        let memory = replies::Memory { used_mib: used.memory_mib, limit_mib: limits.memory_mib };
        let money = limits.money_per_hour.map(|limit_per_hour| replies::Money {
            used_per_hour: used.money.saturating_mul(SECONDS),
            limit_per_hour,
        });
        reply(&replies::List { kinds: kinds.collect(), memory, money })
    }

    pub(super) fn stats(&self) -> Outcome {
        let granted = self.stats.warm_hits + self.stats.cold_starts;
        reply(&Stats {
            hit_rate_ppm: (self.stats.warm_hits * 1_000_000).checked_div(granted).unwrap_or(0),
            waiting: self.queue.len() as u64,
            instances: self.fleet.count(),
            leases: self.ledger.open_count() as u64,
            journal_bytes: self.store.bytes(),
            ..self.stats.clone()
        })
    }
}

/// The state of a kind is that of its most useful instance.
fn summary(states: impl Iterator<Item = State>) -> State {
    let useful = |state: &State| match state {
        State::Idle => 0,
        State::Draining => 1,
        State::Loading => 2,
        State::Warm => 3,
        State::Cooldown => 4,
        State::Active => 5,
    };
    states.max_by_key(useful).unwrap_or(State::Idle)
}
