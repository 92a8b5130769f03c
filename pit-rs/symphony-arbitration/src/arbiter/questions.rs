//! Questions that change nothing.

use symphony_journal::Storage;
use symphony_wire::reactor::Now;
use symphony_wire::service::reply;
use symphony_wire::{BusError, Code};

use super::{Arbiter, MAX_WAITING};
use crate::replies::{self, Room, Stats};
use crate::requests;

impl<S: Storage> Arbiter<S> {
    pub(super) fn explain(&mut self, request: &requests::Explain) -> Result<Vec<u8>, BusError> {
        let number = match (&request.grant, &request.id) {
            (Some(name), None) => Some(self.number_of(name)?),
            (None, Some(id)) => self.state.ids.get(id).and_then(|effect| effect.grant),
            _ => {
                let what = "name either a grant or an id";
                return Err(BusError::new(Code::BadRequest, what).at("grant"));
            }
        };
        let granted = number.and_then(|number| self.state.explanation(number));
        let granted = granted.ok_or_else(|| {
            let place = if request.grant.is_some() { "grant" } else { "id" };
            BusError::new(Code::NotFound, "nothing is remembered of such a grant").at(place)
        })?;
        reply(&replies::Explained::of(&granted.granted()?))
    }

    pub(super) fn queue(&mut self, _: requests::Nothing, now: Now) -> Result<Vec<u8>, BusError> {
        let mut waiting = Vec::new();
        let mut room = Room::default();
        let mut add = |number: u64, place: Option<usize>, why: &str| {
            let Some(pending) = self.crowd.get(number) else { return };
            let (run, step) = (&pending.request.run, pending.request.step.as_deref());
            if room
                .take(&[&pending.id, run, step.unwrap_or(""), &pending.tenant, why], &pending.needs)
            {
                waiting.push(replies::Waiting {
                    id: &pending.id,
                    run,
                    step,
                    tenant: &pending.tenant,
                    needs: &pending.needs,
                    place,
                    why: why.to_owned(),
                    waited_ms: now.mono_ms.saturating_sub(pending.arrived_ms),
                });
            }
        };
        for ((seq, why), place) in self.line.listing(MAX_WAITING).into_iter().zip(1..) {
            for number in self.crowd.unit(seq) {
                add(*number, Some(place), &why);
            }
        }
        for (number, _) in self.crowd.iter().filter(|(_, pending)| pending.seq.is_none()) {
            add(number, None, "its gang is not complete");
        }
        let mut room = Room::default();
        let held = self.state.held.values().map(|held| &held.grant).take_while(|grant| {
            let step = grant.step.as_deref().unwrap_or("");
            room.take(&[&grant.run, step, &grant.tenant], &grant.needs)
        });
        let held: Vec<_> = held.map(|grant| replies::Held::of(grant, now.wall_ms)).collect();
        let more = waiting.len() < self.crowd.len() || held.len() < self.state.held.len();
        reply(&replies::Queue { waiting, held, free: self.line.free(), more })
    }

    pub(super) fn budgets(&mut self, request: &requests::Budgets) -> Result<Vec<u8>, BusError> {
        let tenant = request.tenant.as_deref();
        let tenant = tenant.map(|name| self.state.config.tenant_of(Some(name)));
        let (ledger, run) = (&self.state.ledger, request.run.as_deref());
        let most = crate::config::MAX_BUDGETS;
        let mut budgets = ledger.standings(&self.state.config, run, tenant, most + 1);
        let more = budgets.len() > most;
        budgets.truncate(most);
        reply(&replies::Budgets { budgets, more })
    }

    pub(super) fn fairness(&mut self, request: &requests::Fairness) -> Result<Vec<u8>, BusError> {
        let window = self.line.window();
        let span = request.window_ms.unwrap_or(self.state.config.window_ms);
        let balances = window.balances(window.parts_of(span));
        let tenants = self.line.tenants().zip(&balances).enumerate();
        let tenants = tenants.map(|(number, ((name, weight), balance))| {
            let tenant = replies::Tenant {
                weight,
                share_ppm: balance.share_ppm,
                wanted_ppm: balance.wanted_ppm,
                correction_ppm: window.correction(number),
            };
            (name, tenant)
        });
        reply(&replies::Fairness {
            jain_ppm: crate::window::jain_ppm(&balances),
            gini_ppm: crate::window::gini_ppm(&balances),
            tenants: tenants.collect(),
        })
    }

    pub(super) fn stats(&mut self, _: requests::Nothing) -> Result<Vec<u8>, BusError> {
        reply(&Stats {
            waiting: self.crowd.len() as u64,
            held: self.state.held.len() as u64,
            journal_bytes: self.journal.bytes(),
            ..self.stats.clone()
        })
    }
}
