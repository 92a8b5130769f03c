//! What comes back, and what was spent.

use std::sync::Arc;

use symphony_journal::Storage;
use symphony_wire::reactor::Now;
use symphony_wire::{BusError, Code};

use super::Arbiter;
use crate::record::{Charged, Record, Released};
use crate::requests::{grant_number, RawCharge, RawRelease};

impl<S: Storage> Arbiter<S> {
    pub(super) fn release(&mut self, mut raw: RawRelease, now: Now) -> Result<Vec<u8>, BusError> {
        let (used, print) = raw.check()?;
        if let Some(told) = self.remembered(&raw.id, print)? {
            return Ok(told);
        }
        let number = self.number_of(&raw.grant)?;
        if !self.state.held.contains_key(&number) {
            let what = format!("{} was released before", raw.grant);
            return Err(BusError::new(Code::Conflict, what).at("grant"));
        }
        self.stats.releases += 1;
        if let Some(at) = self.granted_at.remove(&number) {
            let held = now.mono_ms.saturating_sub(at);
            self.hold_ms = (self.hold_ms * 7 + held) / 8;
        }
        let id = raw.id;
        self.commit(Record::Released(Released {
            by: Some((Arc::clone(&id), print)),
            grants: vec![number],
            outcome: raw.outcome,
            used,
            at: now.wall_ms,
            assumed: Vec::new(),
        }))?;
        self.told(&id)
    }

    /// The number of a grant that was given; `not-found` for any other name.
    pub(super) fn number_of(&self, name: &str) -> Result<u64, BusError> {
        let known = grant_number(name).filter(|number| (1..=self.state.grants).contains(number));
        known.ok_or_else(|| {
            let shown: String = name.chars().take(32).collect();
            BusError::new(Code::NotFound, format!("there is no grant {shown:?}")).at("grant")
        })
    }

    /// The reply to an id that just had its effect.
    pub(super) fn told(&self, id: &str) -> Result<Vec<u8>, BusError> {
        let effect = self.state.ids.get(id).map(|effect| effect.reply.to_vec());
        effect.ok_or_else(|| BusError::new(Code::Internal, "the effect was not remembered"))
    }

    pub(super) fn charge(&mut self, raw: &RawCharge, now: Now) -> Result<Vec<u8>, BusError> {
        let (amounts, day, print) = raw.check()?;
        if let Some(told) = self.remembered(&raw.id, print)? {
            return Ok(told);
        }
        let grant = raw.grant.as_deref().and_then(grant_number);
        let held = grant.and_then(|number| self.state.held.get(&number));
        let tenant = match (&raw.tenant, held) {
            (None, Some(held)) => held.grant.tenant.to_string(),
            (named, _) => self.state.config.tenant_of(named.as_deref()).to_owned(),
        };
        self.stats.charges += 1;
        let id = Arc::clone(&raw.id);
        let (run, at) = (raw.run.clone(), now.wall_ms);
        let record = Charged { id: Arc::clone(&id), print, run, tenant, grant, amounts, day, at };
        self.commit(Record::Charged(record))?;
        self.told(&id)
    }
}
