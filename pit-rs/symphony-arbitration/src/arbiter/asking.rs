//! Requests: checked, put in line or sent away.

use std::sync::Arc;

use symphony_journal::Storage;
use symphony_member::Faults;
use symphony_wire::reactor::{CallId, Effects, Now};
use symphony_wire::{BusError, Code};

use super::{Arbiter, Said, MAX_HELD, MAX_WAITING, RETRY_MS};
use crate::amounts::{self, Amounts};
use crate::budgets::Spender;
use crate::crowd::Pending;
use crate::requests::Request;

impl<S: Storage> Arbiter<S> {
    pub(super) fn check_weight(&self, tenant: &str) -> Result<(), BusError> {
        match self.state.config.tenants.get(tenant).map(|tenant| tenant.weight) {
            Some(0) => {
                let what = format!("tenant {tenant} has weight 0, so it gets nothing");
                Err(BusError::new(Code::Refused, what).at("tenant"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_needs(&self, tenant: &str, needs: &Amounts) -> Result<(), BusError> {
        let mut faults = Faults::default();
        self.state.config.check_needs(tenant, needs, "needs", &mut faults);
        faults.finish()
    }

    pub(super) fn check_budgets(&self, pending: &Pending, more: &Amounts) -> Result<(), BusError> {
        let request = &pending.request;
        let spender = Spender { run: &request.run, tenant: &pending.tenant, day: &request.day };
        if more.is_empty() {
            return self.state.ledger.check(&self.state.config, spender, &request.estimate);
        }
        let mut estimate = request.estimate.clone();
        amounts::add(&mut estimate, more);
        self.state.ledger.check(&self.state.config, spender, &estimate)
    }

    pub(super) fn request(
        &mut self,
        call: CallId,
        request: Request,
        now: Now,
        out: &mut Effects,
    ) -> Result<Said, BusError> {
        self.stats.requests += 1;
        if let Some(told) = self.remembered(&request.id, request.print)? {
            return Ok(Said::Reply(told));
        }
        if let Some((number, pending)) = self.crowd.by_id(&request.id) {
            if !request.wait {
                let place = pending.seq.and_then(|seq| self.line.place(seq));
                return Err(self.overloaded(place));
            }
            return self.crowd.attach(number, call).map(|()| Said::Later);
        }
        let config = &self.state.config;
        let tenant: Arc<str> = Arc::from(config.tenant_of(request.tenant.as_deref()));
        let needs = request.needs.clone().or_else(|| config.needs.clone());
        let needs = needs.ok_or_else(|| {
            BusError::new(Code::BadRequest, "no needs, and none are configured").at("needs")
        })?;
        self.check_weight(&tenant)?;
        self.check_needs(&tenant, &needs)?;
        self.crowd.check_gang(&tenant, &request)?;
        let id = Arc::clone(&request.id);
        let arrived_ms = now.mono_ms;
        let (wait, calls) = (request.wait, vec![call]);
        let pending = Pending { id, tenant, needs, calls, arrived_ms, seq: None, request };
        self.check_budgets(&pending, &Amounts::new())?;
        if self.crowd.len() >= MAX_WAITING || self.state.held.len() >= MAX_HELD {
            return Err(self.overloaded(None));
        }
        if let Some(first) = self.joinable(&pending, now) {
            self.join(pending, &first, now, out)?;
            return Ok(Said::Later);
        }
        let (number, ready) = self.crowd.admit(pending);
        if let Some(members) = ready {
            self.line_up(members, now, out);
        }
        if wait {
            return Ok(Said::Later);
        }
        self.settle(now, out);
        if self.crowd.get(number).is_some() {
            let place = self.crowd.get(number).and_then(|it| it.seq);
            let place = place.and_then(|seq| self.line.place(seq));
            self.withdraw(number);
            self.settle(now, out);
            return Err(self.overloaded(place));
        }
        Ok(Said::Later)
    }

    /// Gives members a place in the line, or sends all of a gang away that no capacity can hold.
    pub(super) fn line_up(&mut self, members: Vec<u64>, now: Now, out: &mut Effects) {
        let tenant = members.first().and_then(|number| self.crowd.get(*number));
        let Some(tenant) = tenant.map(|pending| Arc::clone(&pending.tenant)) else { return };
        // One alone was checked when it came.
        let together = match members[..] {
            [_] => Ok(()),
            _ => self.check_needs(&tenant, &self.crowd.needs(&members)),
        };
        if let Err(error) = together {
            let error =
                BusError { message: format!("the gang together: {}", error.message), ..error };
            members.iter().for_each(|member| self.dismiss_one(*member, &error, out));
        } else if let Some(newcomer) = self.crowd.stand(members, now.mono_ms) {
            self.line.add(newcomer);
        }
    }

    pub(super) fn overloaded(&mut self, place: Option<usize>) -> BusError {
        self.stats.overloaded += 1;
        let out = self.state.held.len().max(1) as u64;
        let ahead = place.unwrap_or(self.crowd.len()) as u64;
        let wait = (self.hold_ms.saturating_mul(ahead) / out).clamp(RETRY_MS.0, RETRY_MS.1);
        let error = BusError::new(Code::Overloaded, "it cannot be had at once")
            .retry_after_ms(u32::try_from(wait).unwrap_or(u32::MAX))
            .help("ask again later, or wait");
        match place {
            Some(place) => error.at(format!("place {place}")),
            None => error,
        }
    }

    /// Ends a request that waits with this error.
    pub(super) fn dismiss_one(&mut self, number: u64, error: &BusError, out: &mut Effects) {
        if let Some(pending) = self.withdraw(number) {
            self.stats.refused += u64::from(error.code == Code::Refused);
            self.answer_all(&pending.calls, Err(error.clone()), out);
        }
    }

    /// Takes a request out of crowd and line.
    pub(super) fn withdraw(&mut self, number: u64) -> Option<Pending> {
        let pending = self.crowd.leave(number)?;
        if let Some(seq) = pending.seq {
            self.line.remove(seq);
        }
        Some(pending)
    }
}
