//! One pass over everything: what follows from the state and the time, whatever changed them.
//!
//! In this order: what is over is written down; who waits is served, in the order of arrival; what is
//! superfluous drains; what will be needed is spawned, from room that nobody waits for; what drains and is
//! free leaves. A pass that changes nothing asks nothing, so it may run at any time.

use symphony_journal::Storage;
use symphony_member::short;
use symphony_wire::reactor::{Effects, Now};
use symphony_wire::{BusError, Code, Fault};

use super::room::{Claims, PATIENCE_MS};
use super::settings::unknown_kind;
use super::upkeep::COOLDOWN_MS;
use super::{Pool, RETRY_MS};
use crate::fleet::{Kind, Pick, Slot, SlotId};
use crate::queue::Waiter;
use crate::record::{Record, Returned};
use crate::requests::{self, Outcome};
use crate::table::State;

/// What becomes of a call that waits.
enum Fate {
    Waits,
    Granted(SlotId),
    Ends(BusError),
}

impl<S: Storage> Pool<S> {
    pub(super) fn pass(&mut self, now: Now, out: &mut Effects) {
        let at = now.mono_ms;
        self.now_ms = at;
        self.expire_expectations(at);
        self.end_overdue(at, out);
        if self.synced.is_some() {
            self.settle();
            self.cool(at);
            let claims = self.serve(now, out);
            self.trim(at);
            self.retire(at);
            self.anticipate(&claims, at, out);
            self.unload(at, out);
            self.probe(at, out);
        }
        self.wake = self.next_change(at);
    }

    /// Leases and marks of instances that are gone are over.
    pub(super) fn settle(&mut self) {
        if !std::mem::take(&mut self.unsettled) {
            return;
        }
        let is_gone = |instance: &str| self.fleet.find(instance).is_none();
        let lost = self.ledger.open().filter(|lease| is_gone(&lease.instance));
        let lost: Vec<Record> = lost
            .map(|lease| Returned { lease: lease.number, outcome: Outcome::Lost, by: None })
            .map(|returned| Record::Returned(Box::new(returned)))
            .collect();
        let gone = self.ledger.marks.keys().filter(|instance| is_gone(instance));
        let gone: Vec<Record> =
            gone.map(|instance| Record::Gone { instance: instance.clone() }).collect();
        for record in lost.into_iter().chain(gone) {
            if let Err(error) = self.commit(record) {
                tracing::warn!(%error, "failed to write down what is over; trying again later");
                self.unsettled = true;
            }
        }
    }

    /// Calls whose deadline has passed, and those of kinds that are no more.
    fn end_overdue(&mut self, now: u64, out: &mut Effects) {
        for number in self.queue.numbers() {
            let Some(waiter) = self.queue.get(number) else { continue };
            let kind = &waiter.request.kind;
            let is_known = self.fleet.kinds.get(kind).is_some_and(|kind| !kind.retired);
            if !is_known {
                let error = unknown_kind(kind);
                self.end(number, error, now, out);
            } else if waiter.deadline.is_some_and(|deadline| deadline <= now) {
                self.stats.deadlines += 1;
                let message = format!("no instance of {} in time", short(kind));
                let error = BusError::new(Code::Deadline, message).fault(Fault::Environment);
                self.end(number, error, now, out);
            }
        }
    }

    /// A waiting call ends with an error.
    fn end(&mut self, number: u64, error: BusError, now: u64, out: &mut Effects) {
        let Some(waiter) = self.queue.remove(number) else { return };
        self.leave(&waiter.request.kind, now);
        for call in waiter.calls {
            self.answer(call, Err(error.clone()), out);
        }
    }

    /// Serves those who wait, the first first.
    fn serve(&mut self, now: Now, out: &mut Effects) -> Claims {
        let mut claims = Claims::default();
        for number in self.queue.numbers() {
            match self.fate(number, &mut claims, now.mono_ms, out) {
                Fate::Waits => {}
                Fate::Ends(error) => self.end(number, error, now.mono_ms, out),
                Fate::Granted(slot) => {
                    let Some(waiter) = self.queue.remove(number) else { continue };
                    let outcome = self.grant(&waiter, slot, now);
                    if outcome.is_err() {
                        self.leave(&waiter.request.kind, now.mono_ms);
                    }
                    for call in waiter.calls {
                        self.answer(call, outcome.clone(), out);
                    }
                }
            }
        }
        claims
    }

    fn fate(&mut self, number: u64, claims: &mut Claims, now: u64, out: &mut Effects) -> Fate {
        let Some(waiter) = self.queue.get(number) else { return Fate::Waits };
        let requests::Acquire { kind, tenant, key, .. } = &waiter.request;
        // One with a key may have an instance of its own.
        if key.is_none() && claims.is_hopeless(kind, tenant) {
            return Fate::Waits;
        }
        match self.pick(waiter) {
            Pick::Free(slot) => return Fate::Granted(slot),
            Pick::Taken => return Fate::Waits,
            Pick::None => {}
        }
        let Some(kind) = self.fleet.kinds.get(&waiter.request.kind) else { return Fate::Waits };
        if let Some(slot) = self.loading_for(waiter, kind, claims) {
            *claims.loading.entry(slot).or_default() += 1;
            return Fate::Waits;
        }
        if let Some(left_ms) = kind.backoff.left_ms(now) {
            let may_come =
                |slot: &Slot| slot.state == State::Active && slot.serves(&waiter.request.tenant);
            if self.fleet.slots_of(&kind.spec.kind).any(|(_, slot)| may_come(slot)) {
                return Fate::Waits;
            }
            return Fate::Ends(unavailable(kind, left_ms));
        }
        if claims.blocked {
            claims.give_up(&waiter.request.kind, &waiter.request.tenant);
            return Fate::Waits;
        }
        let head = (waiter.request.kind.clone(), waiter.request.tenant.clone());
        let waited = now.saturating_sub(waiter.arrived);
        self.place(&head.0, &head.1, waited, claims, now, out);
        Fate::Waits
    }

    /// An instance that loads and could serve the call, not needed by those before it.
    fn loading_for(&self, waiter: &Waiter, kind: &Kind, claims: &Claims) -> Option<SlotId> {
        let mut loading = self.fleet.slots_of(&kind.spec.kind).filter(|(id, slot)| {
            slot.state == State::Loading
                && slot.serves(&waiter.request.tenant)
                && claims.loading.get(id).is_none_or(|claimed| *claimed < kind.spec.share)
        });
        // The tenant's own first: nobody else could use them.
        let all: Vec<(SlotId, bool)> =
            loading.by_ref().map(|(id, slot)| (id, slot.tenant.is_none())).collect();
        all.into_iter().min_by_key(|(id, free)| (*free, *id)).map(|(id, _)| id)
    }

    /// When time alone changes something.
    fn next_change(&self, now: u64) -> Option<u64> {
        let waiters = self
            .queue
            .iter()
            .flat_map(|waiter| [waiter.deadline, Some(waiter.arrived.saturating_add(PATIENCE_MS))]);
        let slots = self.fleet.slots.values().flat_map(|slot| {
            let kind = self.fleet.kinds.get(&slot.kind);
            let keep = kind.map(|kind| slot.idle_since.saturating_add(kind.spec.keep_ms));
            let cooled = slot.since.saturating_add(COOLDOWN_MS);
            [
                keep.filter(|_| slot.is_idle()),
                Some(cooled).filter(|_| slot.state == State::Cooldown),
                self.probe_at(slot).filter(|_| slot.is_idle() && slot.probing.is_none()),
                Some(slot.unload_backoff.until()).filter(|_| slot.is_leaving()),
            ]
        });
        let kinds = self.fleet.kinds.values().flat_map(|kind| {
            let changes = kind.demand.changes(now, self.terms(kind));
            changes.map(Some).chain([Some(kind.backoff.until())])
        });
        let unsettled = Some(now.saturating_add(RETRY_MS)).filter(|_| self.unsettled);
        let times = waiters.chain(slots).chain(kinds).chain([unsettled]).flatten();
        // What is due and was not done waits for something else than time.
        times.filter(|at| *at > now).chain(self.save_at).min()
    }
}

fn unavailable(kind: &Kind, left_ms: u64) -> BusError {
    let name = short(&kind.spec.kind);
    let reason = kind.error.as_ref().map_or("", |error| error.message.as_str());
    let retry = u32::try_from(left_ms).unwrap_or(u32::MAX);
    let fault = kind.error.as_ref().map_or(Fault::Environment, |error| error.fault);
    BusError::new(Code::Unavailable, format!("{name} could not be spawned: {reason}"))
        .fault(fault)
        .retry_after_ms(retry)
}
