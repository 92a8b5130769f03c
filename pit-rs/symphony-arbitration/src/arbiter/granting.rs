//! Grants: given in the line's order, and joined.

use std::sync::Arc;

use symphony_journal::Storage;
use symphony_wire::reactor::{CallId, Effects, Now};
use symphony_wire::BusError;
use tracing::warn;

use super::{Arbiter, MAX_HELD};
use crate::amounts::{self, Amounts};
use crate::crowd::Pending;
use crate::line::Choice;
use crate::record::{Grant, Granted, Record, Seen};
use crate::requests::grant_name;
use crate::strategy::{pick, Load, Strategy};

impl<S: Storage> Arbiter<S> {
    /// The grant that this request can join: of its tenant and key, and not for longer than `ageing_ms` while
    /// others wait, for as long as somebody joins nothing is given back.
    pub(super) fn joinable(&mut self, pending: &Pending, now: Now) -> Option<Arc<Grant>> {
        let key = pending.request.share.as_deref()?;
        let first = Arc::clone(self.state.joinable(&pending.tenant, key)?);
        let began = *self.began.entry(first.number).or_insert(now.mono_ms);
        let young = now.mono_ms.saturating_sub(began) < self.state.config.ageing_ms;
        (young || self.line.is_empty()).then_some(first)
    }

    pub(super) fn join(
        &mut self,
        pending: Pending,
        first: &Arc<Grant>,
        now: Now,
        out: &mut Effects,
    ) -> Result<(), BusError> {
        self.stats.joins += 1;
        let key = pending.request.share.clone().unwrap_or_default();
        let leader = grant_name(first.number);
        let reason = format!("shares {key:?} with {leader}: needs nothing of its own");
        let (calls, mut grant) = self.grant_of(pending, Strategy::Collaborate, reason, now, 1);
        grant.needs = Arc::default();
        (grant.with, grant.player) = (Some(first.number), first.player.clone());
        self.issue(vec![(calls, grant, Seen::default())], now, out)
    }

    /// The grant of a request, and the calls that wait for it; `ahead`: how many after the last one.
    pub(super) fn grant_of(
        &self,
        pending: Pending,
        strategy: Strategy,
        reason: String,
        now: Now,
        ahead: u64,
    ) -> (Vec<CallId>, Grant) {
        let Pending { request, id, tenant, needs, calls, arrived_ms, .. } = pending;
        let grant = Grant {
            number: self.state.grants + ahead,
            id,
            print: request.print,
            run: request.run,
            step: request.step,
            tenant,
            needs,
            with: None,
            share: request.share,
            player: None,
            estimate: request.estimate,
            day: request.day,
            strategy,
            reason,
            waited_ms: now.mono_ms.saturating_sub(arrived_ms),
            at: now.wall_ms,
        };
        (calls, grant)
    }

    /// Journals grants, in one record, and answers their calls.
    pub(super) fn issue(
        &mut self,
        grants: Vec<(Vec<CallId>, Grant, Seen)>,
        now: Now,
        out: &mut Effects,
    ) -> Result<(), BusError> {
        let mut calls = Vec::with_capacity(grants.len());
        let mut record = Vec::with_capacity(grants.len());
        for (waiting, grant, seen) in grants {
            self.granted_at.insert(grant.number, now.mono_ms);
            calls.push((waiting, grant.number));
            record.push(Granted { grant: Arc::new(grant), seen });
        }
        self.stats.grants += record.len() as u64;
        if let Err(error) = self.commit(Record::Granted(record)) {
            let told = |error: &BusError| Err(error.clone());
            calls.iter().for_each(|(calls, _)| self.answer_all(calls, told(&error), out));
            return Err(error);
        }
        for (calls, number) in calls {
            let held = self.state.held.get(&number);
            let effect = held.and_then(|held| self.state.ids.get(&held.grant.id));
            if let Some(told) = effect.map(|effect| effect.reply.to_vec()) {
                self.answer_all(&calls, Ok(told), out);
            }
        }
        Ok(())
    }

    /// Grants what fits, in the order.
    pub(super) fn settle(&mut self, now: Now, out: &mut Effects) {
        self.unsettled = false;
        self.line.advance(now.mono_ms);
        while self.state.held.len() < MAX_HELD {
            let Some(choice) = self.line.decide() else { return };
            if let Err((number, error)) = self.affordable(choice.seq) {
                self.dismiss_one(number, &error, out);
            } else if let Err(error) = self.grant(choice, now, out) {
                // A record that cannot be formed is a bug: the flush that fails takes back what it was part of.
                warn!(%error, "failed to grant");
                self.lost = true;
                return;
            }
        }
    }

    /// Whether the budgets allow those who stand under this number; otherwise the one that they do not.
    pub(super) fn affordable(&self, seq: u64) -> Result<(), (u64, BusError)> {
        let mut sum = Amounts::new();
        let unit = self.crowd.unit(seq);
        for number in unit {
            let Some(pending) = self.crowd.get(*number) else { continue };
            self.check_budgets(pending, &sum).map_err(|error| (*number, error))?;
            if unit.len() > 1 {
                amounts::add(&mut sum, &pending.request.estimate);
            }
        }
        Ok(())
    }

    pub(super) fn grant(
        &mut self,
        mut choice: Choice,
        now: Now,
        out: &mut Effects,
    ) -> Result<(), BusError> {
        self.line.grant(&choice);
        self.stats.for_age += u64::from(choice.for_age);
        let mut grants = Vec::new();
        let mut sharing = Vec::new();
        for (pending, ahead) in self.crowd.take(choice.seq).into_iter().zip(1..) {
            let players = &pending.request.players;
            let waiting = choice.others > 0;
            let load = Load { shares: false, players: !players.is_empty(), waiting };
            let strategy = Strategy::by(&load);
            let player = pick(players, |player| self.state.busy(player));
            let mut reason = reason(&choice, strategy, &pending.tenant);
            if let Some(player) = player {
                let (name, fit, cost) = (&player.player, player.fit, player.cost);
                reason.push_str(&format!(
                    "; {name} of {} players: fit {fit}, cost {cost}",
                    players.len()
                ));
            }
            let player = player.map(|player| player.player.clone());
            let (calls, mut grant) = self.grant_of(pending, strategy, reason, now, ahead);
            grant.player = player;
            if let Some(key) = &grant.share {
                sharing.push((Arc::clone(&grant.tenant), key.clone()));
                self.began.insert(grant.number, now.mono_ms);
            }
            grants.push((calls, grant, Seen::default()));
        }
        // The members of a gang were one decision: its first says what that saw.
        if let Some((_, _, seen)) = grants.first_mut() {
            *seen = std::mem::take(&mut choice.seen);
        }
        self.issue(grants, now, out)?;
        for (tenant, key) in sharing {
            self.join_all(&tenant, &key, now, out)?;
        }
        Ok(())
    }

    /// Lets everybody who waits with this key join the grant that just began.
    pub(super) fn join_all(
        &mut self,
        tenant: &str,
        key: &str,
        now: Now,
        out: &mut Effects,
    ) -> Result<(), BusError> {
        for number in self.crowd.sharers(tenant, key) {
            if self.state.held.len() >= MAX_HELD {
                return Ok(());
            }
            let Some(first) = self.state.joinable(tenant, key).map(Arc::clone) else { break };
            let Some(pending) = self.crowd.get(number) else { continue };
            if let Err(error) = self.check_budgets(pending, &Amounts::new()) {
                self.dismiss_one(number, &error, out);
            } else if let Some(pending) = self.withdraw(number) {
                self.join(pending, &first, now, out)?;
            }
        }
        Ok(())
    }
}

fn reason(choice: &Choice, strategy: Strategy, tenant: &str) -> String {
    let Choice { share_ppm, weight, correction_ppm, class, waited_ms, others, .. } = choice;
    let how = strategy.name();
    if choice.for_age {
        return format!("{how}: the oldest of {} that wait, {waited_ms} ms", others + 1);
    }
    let passed = choice.seen.passed_over.len();
    format!(
        "{how}: tenant {tenant} has {share_ppm} ppm for weight {weight} x {correction_ppm} ppm, class \
         {class}, waited {waited_ms} ms; {others} others wait, {passed} before it do not fit"
    )
}
