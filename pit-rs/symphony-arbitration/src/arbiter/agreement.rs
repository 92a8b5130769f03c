//! What kernel and Arbitration agree on: the configuration, and which grants are out.

use std::collections::BTreeSet;
use std::sync::Arc;

use symphony_journal::Storage;
use symphony_member::digest;
use symphony_wire::reactor::{Effects, Now};
use symphony_wire::service::reply;
use symphony_wire::{BusError, Code};

use super::{Arbiter, Said};
use crate::amounts::Amounts;
use crate::config::Config;
use crate::record::{self, Record, Released};
use crate::replies;
use crate::requests::{self, grant_name, grant_number};

impl<S: Storage> Arbiter<S> {
    pub(super) fn configure(
        &mut self,
        config: Config,
        now: Now,
        out: &mut Effects,
    ) -> Result<Said, BusError> {
        let digest = digest(&config)?;
        if *self.state.config != config {
            self.commit(Record::Configured(config))?;
            self.rebuild(now.mono_ms);
            self.dismiss(out);
        }
        reply(&replies::Configured { digest }).map(Said::Reply)
    }

    /// Sends away who could never be granted under a new configuration.
    pub(super) fn dismiss(&mut self, out: &mut Effects) {
        let config = Arc::clone(&self.state.config);
        let waiting: Vec<u64> = self.crowd.iter().map(|(number, _)| number).collect();
        for number in waiting {
            // It may have gone with its gang.
            let Some(pending) = self.crowd.get(number) else { continue };
            let tenant = &*pending.tenant;
            let members = pending.seq.map(|seq| self.crowd.unit(seq).to_vec());
            let members = members.unwrap_or_else(|| vec![number]);
            let possible = if config.tenants.contains_key(tenant) {
                let needs = self.crowd.needs(&members);
                self.check_weight(tenant).and_then(|()| self.check_needs(tenant, &needs))
            } else {
                let what = format!("tenant {tenant} is configured no more");
                Err(BusError::new(Code::Refused, what).at("tenant"))
            };
            if let Err(error) = possible {
                members.iter().for_each(|member| self.dismiss_one(*member, &error, out));
            }
        }
    }

    pub(super) fn resync(
        &mut self,
        request: &requests::Resync,
        now: Now,
        out: &mut Effects,
    ) -> Result<Vec<u8>, BusError> {
        request.check()?;
        let gone = BusError::new(Code::Cancelled, "the caller started anew");
        for pending in self.crowd.take_all() {
            if let Some(seq) = pending.seq {
                self.line.remove(seq);
            }
            self.stats.cancelled += 1;
            self.answer_all(&pending.calls, Err(gone.clone()), out);
        }
        let number = |name: &String| {
            grant_number(name).filter(|number| self.state.held.contains_key(number))
        };
        let unknown = request.held.iter().filter(|name| number(name).is_none()).cloned().collect();
        let kept: BTreeSet<u64> = request.held.iter().filter_map(number).collect();
        let lost = self.state.held.iter().filter(|(number, _)| !kept.contains(number));
        let (mut grants, mut assumed) = (Vec::new(), Vec::new());
        for (number, held) in lost {
            grants.push(*number);
            if !request.knows(&held.grant.id) {
                assumed.push(*number);
            }
        }
        let released = grants.iter().map(|number| grant_name(*number)).collect();
        if !grants.is_empty() {
            grants.iter().for_each(|number| {
                self.granted_at.remove(number);
            });
            let (outcome, used) = (record::Outcome::Lost, Amounts::new());
            let record = Released { by: None, grants, outcome, used, at: now.wall_ms, assumed };
            self.commit(Record::Released(record))?;
        }
        reply(&replies::Resynced { released, unknown })
    }
}
