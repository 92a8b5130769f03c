//! Leases: given to calls and given back.

use symphony_journal::Storage;
use symphony_member::{print, short, Request};
use symphony_wire::reactor::{CallId, Now};
use symphony_wire::service::{reply, Outcome};
use symphony_wire::{BusError, Code};

use super::{Pool, RETRY_MS};
use crate::fleet::{Fleet, Pick, Purpose, SlotId};
use crate::learned;
use crate::ledger::{other_request, Known, MAX_LEASES};
use crate::names::{lease_name, lease_number};
use crate::queue::Waiter;
use crate::record::{self, End, Lease, Record, Returned, Spend};
use crate::replies;
use crate::requests;
use crate::table::Event;

impl<S: Storage> Pool<S> {
    /// The outcome, or nothing if the call waits.
    pub(super) fn acquire(&mut self, call: CallId, body: &[u8], now: Now) -> Option<Outcome> {
        match self.try_acquire(call, body, now) {
            Ok(outcome) => outcome,
            Err(error) => Some(Err(error)),
        }
    }

    pub(super) fn try_acquire(
        &mut self,
        call: CallId,
        body: &[u8],
        now: Now,
    ) -> Result<Option<Outcome>, BusError> {
        let request = requests::Acquire::read(body)?;
        let digest = print("acquire", &request)?;
        match self.ledger.known(&request.id, &digest)? {
            Some(Known::Acquired { lease, .. }) => {
                let lease = self.ledger.lease(*lease)?;
                // One that was lost is no use to anybody: who asks again is served anew.
                if lease.end != Some(End::Lost) {
                    return Ok(Some(acquired(lease)));
                }
            }
            Some(Known::Released(_)) => return Err(other_request(&request.id)),
            None => {}
        }
        if let Some(waiter) = self.queue.find(&request.id) {
            if waiter.digest != digest {
                return Err(other_request(&request.id));
            }
            if !self.queue.join(&request.id, call) {
                return Err(overloaded("too many calls wait for this request", RETRY_MS));
            }
            return Ok(None);
        }
        let load_ms = self.kind(&request.kind)?.spec.load_ms;
        self.stats.acquires += 1;
        self.fulfil(&request.run, &request.kind);
        if let Some(kind) = self.fleet.kinds.get_mut(&request.kind) {
            if kind.demand.enter(now.mono_ms) && self.save_at.is_none() {
                self.save_at = Some(now.mono_ms + learned::EVERY_MS);
            }
        }
        let arrived = now.mono_ms;
        let deadline = request.deadline_ms.map(|left| arrived.saturating_add(left));
        let waiter = Waiter { request, digest, calls: vec![call], arrived, deadline };
        let full = self.ledger.open_count() >= MAX_LEASES;
        if self.synced.is_some() && !full {
            if let Pick::Free(slot) = self.pick(&waiter) {
                let granted = self.grant(&waiter, slot, now);
                if granted.is_err() {
                    self.leave(&waiter.request.kind, now.mono_ms);
                }
                return granted.map(|outcome| Some(Ok(outcome)));
            }
        }
        if !waiter.request.wait || full || self.queue.is_full() {
            self.leave(&waiter.request.kind, now.mono_ms);
            self.stats.refused += 1;
            let what = if waiter.request.wait { "too many wait" } else { "no instance is free" };
            return Err(overloaded(what, load_ms.max(1)));
        }
        self.queue.push(waiter);
        Ok(None)
    }

    pub(super) fn pick(&self, waiter: &Waiter) -> Pick {
        let requests::Acquire { kind, tenant, key, .. } = &waiter.request;
        let sticky = self.fleet.kinds.get(kind).is_some_and(|kind| kind.spec.sticky);
        let key = key.as_deref().filter(|_| sticky);
        let keeper = key.and_then(|key| self.ledger.keeper(kind, tenant, key));
        self.fleet.pick(kind, tenant, keeper)
    }

    /// Gives the instance to the call.
    pub(super) fn grant(
        &mut self,
        waiter: &Waiter,
        id: SlotId,
        now: Now,
    ) -> Result<Vec<u8>, BusError> {
        let gone = || BusError::new(Code::Internal, "the instance that was chosen is gone");
        let slot = self.fleet.slots.get(&id).ok_or_else(gone)?;
        let kind = self.fleet.kinds.get(&slot.kind).ok_or_else(gone)?;
        let request = &waiter.request;
        let lease = Lease {
            number: self.ledger.leased + 1,
            id: request.id.clone(),
            digest: waiter.digest,
            instance: slot.name.clone().ok_or_else(gone)?,
            kind: request.kind.clone(),
            run: request.run.clone(),
            tenant: request.tenant.clone(),
            grant: request.grant.clone(),
            key: request.key.clone().filter(|_| kind.spec.sticky),
            // It had to load while this call waited for it.
            warm: slot.calls > 0 || slot.loaded_at <= waiter.arrived,
            waited_ms: now.mono_ms.saturating_sub(waiter.arrived),
            memory_mib: slot.size.memory_mib,
            cost: kind.spec.cost,
            at_ms: now.wall_ms,
            ts: request.ts.clone(),
            end: None,
        };
        let outcome = acquired(&lease)?;
        let (number, warm) = (lease.number, lease.warm);
        self.fleet.fire(id, Event::Leased, now.mono_ms)?;
        self.commit(Record::Leased(Box::new(lease)))?;
        if let Some(slot) = self.fleet.slots.get_mut(&id) {
            slot.leases.insert(number);
            slot.tenant = Some(waiter.request.tenant.clone());
            slot.calls += 1;
            slot.probing = slot.probing.map(|_| false);
            if slot.calls == 1 && slot.purpose == Purpose::Predicted {
                self.stats.predicted_used += 1;
            }
            if let Some(kind) = self.fleet.kinds.get_mut(&slot.kind) {
                let (mine, all) = match warm {
                    true => (&mut kind.warm_hits, &mut self.stats.warm_hits),
                    false => (&mut kind.cold_starts, &mut self.stats.cold_starts),
                };
                *mine += 1;
                *all += 1;
            }
        }
        Ok(outcome)
    }

    /// A call has no instance of the kind any more, and waits for none.
    pub(super) fn leave(&mut self, kind: &str, now: u64) {
        if let Some(kind) = self.fleet.kinds.get_mut(kind) {
            kind.demand.leave(now);
        }
    }

    pub(super) fn release(&mut self, body: &[u8], now: Now) -> Outcome {
        let request = requests::Release::read(body)?;
        let digest = print("release", &request)?;
        match self.ledger.known(&request.id, &digest)? {
            Some(Known::Released(release)) => return released(&release.spend),
            Some(Known::Acquired { .. }) => return Err(other_request(&request.id)),
            None => {}
        }
        let place = || {
            let message = format!("there is no lease {}", short(&request.lease));
            BusError::new(Code::NotFound, message).at("lease")
        };
        let number = lease_number(&request.lease).ok_or_else(place)?;
        let lease = self.ledger.lease(number)?;
        if lease.end == Some(End::Released) {
            let message = format!("{} was released before, by another request", request.lease);
            return Err(BusError::new(Code::Conflict, message).at("lease"));
        }
        let spend = spend_of(lease, &request, now);
        let (instance, kind) = (lease.instance.clone(), lease.kind.clone());
        let is_open = lease.end.is_none();
        let by = record::Release { id: request.id, digest, spend: spend.clone(), ts: request.ts };
        let outcome = request.outcome;
        let returned = Returned { lease: number, outcome, by: Some(by) };
        self.commit(Record::Returned(Box::new(returned)))?;
        self.stats.releases += 1;
        if is_open {
            self.leave(&kind, now.mono_ms);
            self.give_back(&instance, number, outcome, request.busy_ms, now.mono_ms)?;
        }
        released(&spend)
    }

    /// The instance has one lease less, and what that call said of its health.
    pub(super) fn give_back(
        &mut self,
        instance: &str,
        lease: u64,
        outcome: requests::Outcome,
        busy_ms: Option<u64>,
        now: u64,
    ) -> Result<(), BusError> {
        let Some(id) = self.fleet.find(instance) else { return Ok(()) };
        let Fleet { slots, kinds, .. } = &mut self.fleet;
        let Some(slot) = slots.get_mut(&id) else { return Ok(()) };
        slot.leases.remove(&lease);
        let is_free = slot.leases.is_empty();
        let did_work = outcome == requests::Outcome::Ok;
        if let Some(kind) = kinds.get_mut(&slot.kind).filter(|_| did_work) {
            slot.worked_at = now;
            slot.strikes.worked(busy_ms.is_some_and(|took| kind.pace.judge(took)));
        }
        if is_free {
            self.fleet.fire(id, Event::Freed, now)?;
        }
        if did_work {
            self.judge(id, "slow", now);
        } else {
            self.drain_slot(id, "a call failed", now);
        }
        Ok(())
    }
}

fn acquired(lease: &Lease) -> Outcome {
    reply(&replies::Acquired {
        lease: lease_name(lease.number),
        instance: &lease.instance,
        warm: lease.warm,
        waited_ms: lease.waited_ms,
    })
}

fn released(spend: &Spend) -> Outcome {
    reply(&replies::Released { spend: Some(spend).filter(|spend| !spend.is_empty()) })
}

fn spend_of(lease: &Lease, request: &requests::Release, now: Now) -> Spend {
    let had = u64::try_from(now.wall_ms.saturating_sub(lease.at_ms)).unwrap_or(0);
    let tokens = request.tokens.unwrap_or(0);
    let money = lease.cost.map(|cost| cost.of(request.busy_ms.unwrap_or(had), tokens));
    let spend = [("money", money), ("tokens", request.tokens)];
    let spent = spend.into_iter().filter_map(|(name, amount)| Some((name.to_owned(), amount?)));
    spent.collect()
}

pub(super) fn overloaded(what: &str, retry_ms: u64) -> BusError {
    let retry = u32::try_from(retry_ms).unwrap_or(u32::MAX);
    BusError::new(Code::Overloaded, what).retry_after_ms(retry)
}
