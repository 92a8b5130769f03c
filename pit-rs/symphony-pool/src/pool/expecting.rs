//! What open runs say that they will need.

use symphony_journal::Storage;
use symphony_member::Request;
use symphony_wire::reactor::Now;
use symphony_wire::service::{reply, Outcome};

use super::leases::overloaded;
use super::{Pool, MAX_EXPECTING, RETRY_MS};
use crate::demand::Terms;
use crate::replies::Empty;
use crate::requests;

impl<S: Storage> Pool<S> {
    pub(super) fn expect(&mut self, body: &[u8], now: Now) -> Outcome {
        let requests::Expect { run, next } = requests::Expect::read(body)?;
        for expected in &next {
            self.kind(&expected.kind).map_err(|error| error.at("next"))?;
        }
        self.forget_run(&run);
        if !next.is_empty() && self.expecting.len() >= MAX_EXPECTING {
            return Err(overloaded("too many runs expect something", RETRY_MS));
        }
        for (number, expected) in next.into_iter().enumerate() {
            if let Some(kind) = self.fleet.kinds.get_mut(&expected.kind) {
                let at = now.mono_ms.saturating_add(expected.in_ms);
                kind.demand.expect(&run, number, at, expected.chance);
                self.expecting.entry(run.clone()).or_default().insert(expected.kind);
            }
        }
        reply(&Empty {})
    }

    pub(super) fn forget_run(&mut self, run: &str) {
        for kind in self.expecting.remove(run).unwrap_or_default() {
            if let Some(kind) = self.fleet.kinds.get_mut(&kind) {
                kind.demand.forget(run);
            }
        }
    }

    /// Forgets expectations that did not come about.
    pub(super) fn expire_expectations(&mut self, now: u64) {
        let kinds = self.fleet.kinds.iter().map(|(name, kind)| (name, kind, self.terms(kind)));
        let expired = kinds.filter(|(_, kind, terms)| kind.demand.has_expired(now, *terms));
        let expired: Vec<(String, Terms)> =
            expired.map(|(name, _, terms)| (name.clone(), terms)).collect();
        for (name, terms) in expired {
            let Some(kind) = self.fleet.kinds.get_mut(&name) else { continue };
            for run in kind.demand.expire(now, terms) {
                self.expects_less(&run, &name);
            }
        }
    }

    /// The run's next expected use of the kind has come.
    pub(super) fn fulfil(&mut self, run: &str, name: &str) {
        if let Some(kind) = self.fleet.kinds.get_mut(name) {
            kind.demand.fulfil(run);
        }
        self.expects_less(run, name);
    }

    /// Forgets that the run expects something of the kind, once it does not.
    fn expects_less(&mut self, run: &str, name: &str) {
        if self.fleet.kinds.get(name).is_some_and(|kind| kind.demand.expects(run)) {
            return;
        }
        if let Some(kinds) = self.expecting.get_mut(run) {
            kinds.remove(name);
            if kinds.is_empty() {
                self.expecting.remove(run);
            }
        }
    }
}
