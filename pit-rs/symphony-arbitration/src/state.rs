//! What was decided: a fold over the journal's records, the same after a crash as before it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use symphony_wire::service::reply;
use symphony_wire::{BusError, Code};

use crate::amounts::Amounts;
use crate::budgets::{Ledger, Saved, Spender};
use crate::config::Config;
use crate::ids::{Effect, Ids};
use crate::record::{decode, encode};
use crate::record::{Charged, Grant, Granted, Record, Released, Seen};
use crate::replies;

/// Grants that can be explained.
const EXPLAINED: usize = 10_000;

/// Grants of which it is remembered what they were assumed to have spent.
const ASSUMED: usize = 65_536;

/// A grant that is out, and what of its estimate it has not spent.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub grant: Arc<Grant>,
    pub promise: Amounts,
}

/// Grants that use the resources of one: they are free when the last of them is released.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub first: Arc<Grant>,
    pub out: u32,
}

/// A grant and what its decision saw, encoded: thousands of them are remembered, and few are asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    grant: Arc<Grant>,
    seen: Box<[u8]>,
}

impl Explained {
    pub fn of(granted: &Granted) -> Result<Self, BusError> {
        let seen = encode(&granted.seen)?.into_boxed_slice();
        Ok(Self { grant: Arc::clone(&granted.grant), seen })
    }

    pub fn granted(&self) -> Result<Granted, BusError> {
        let seen: Seen = decode(&self.seen)?;
        Ok(Granted { grant: Arc::clone(&self.grant), seen })
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Number of the last record.
    pub index: u64,
    pub config: Arc<Config>,
    /// Number of the last grant.
    pub grants: u64,
    pub held: BTreeMap<u64, Held>,
    /// By the number of their first grant.
    pub groups: BTreeMap<u64, Group>,
    /// Tenant, key, first grant: the last one is the one to join.
    shares: BTreeSet<(String, String, u64)>,
    /// Grants that are out by player.
    busy: HashMap<String, u64>,
    pub explained: VecDeque<Explained>,
    pub ids: Ids,
    pub ledger: Ledger,
    /// What grants whose holder is gone were assumed to have spent, until that is told.
    pub assumed: BTreeMap<u64, Vec<Saved>>,
}

fn spender(grant: &Grant) -> Spender<'_> {
    Spender { run: &grant.run, tenant: &grant.tenant, day: &grant.day }
}

fn corrupt(what: String) -> BusError {
    BusError::new(Code::Corrupt, what)
}

impl State {
    /// Nothing but a configuration and what was counted so far.
    pub fn begin(index: u64, config: Config, grants: u64) -> Self {
        Self { index, config: Arc::new(config), grants, ..Self::default() }
    }

    /// Applies the record with this number. Returns the grants whose resources became free by it.
    pub fn apply(&mut self, index: u64, record: Record) -> Result<Vec<Arc<Grant>>, BusError> {
        let begins = self.index == 0 && matches!(record, Record::Snapshot(_));
        if index != self.index + 1 && !begins {
            let after = self.index;
            return Err(corrupt(format!("record {index} follows record {after}")));
        }
        self.index = index;
        match record {
            Record::Configured(config) => self.configured(config),
            Record::Granted(grants) => {
                for granted in grants {
                    self.granted(granted)?;
                }
            }
            Record::Released(released) => return self.released(&released),
            Record::Charged(charged) => self.charged(&charged)?,
            Record::Snapshot(part) => part.restore(self)?,
        }
        Ok(Vec::new())
    }

    fn configured(&mut self, config: Config) {
        self.ledger.reconfigure(&self.config, &config, &mut self.assumed);
        self.config = Arc::new(config);
        // Other budgets may count what grants that are out may spend.
        self.ledger.forget_promises();
        for held in self.held.values() {
            self.ledger.promise(&self.config, spender(&held.grant), &held.promise);
        }
    }

    fn granted(&mut self, granted: Granted) -> Result<(), BusError> {
        let grant = &granted.grant;
        if grant.number != self.grants + 1 {
            return Err(corrupt(format!("grant {} follows grant {}", grant.number, self.grants)));
        }
        self.grants = grant.number;
        let told = reply(&replies::Granted::of(grant))?.into_boxed_slice();
        let effect = Effect { print: grant.print, reply: told, grant: Some(grant.number) };
        self.ids.open(&grant.id, effect);
        self.hold(Held { promise: grant.estimate.clone(), grant: Arc::clone(grant) })?;
        self.explain(Explained::of(&granted)?);
        Ok(())
    }

    /// Counts a grant that is out.
    pub fn hold(&mut self, held: Held) -> Result<(), BusError> {
        let grant = &held.grant;
        self.ledger.promise(&self.config, spender(grant), &held.promise);
        if let Some(player) = &grant.player {
            *self.busy.entry(player.clone()).or_default() += 1;
        }
        let own = grant.share.is_some().then_some(grant.number);
        if grant.with.is_none() && own.is_some() && !self.groups.contains_key(&grant.number) {
            self.group(Arc::clone(grant));
        }
        if let Some(first) = grant.with.or(own) {
            let group = self.groups.get_mut(&first);
            group.ok_or_else(|| corrupt(format!("grant {first} is not out")))?.out += 1;
        }
        self.held.insert(grant.number, held);
        Ok(())
    }

    /// Adds the group that this grant began, of which none is out yet.
    pub fn group(&mut self, first: Arc<Grant>) {
        let (tenant, number) = (first.tenant.to_string(), first.number);
        self.shares.insert((tenant, first.share.clone().unwrap_or_default(), number));
        self.groups.insert(number, Group { first, out: 0 });
    }

    pub fn explain(&mut self, explained: Explained) {
        self.explained.push_back(explained);
        if self.explained.len() > EXPLAINED {
            self.explained.pop_front();
        }
    }

    fn released(&mut self, released: &Released) -> Result<Vec<Arc<Grant>>, BusError> {
        let mut free = Vec::new();
        for number in &released.grants {
            let held = self.held.remove(number);
            let held = held.ok_or_else(|| corrupt(format!("grant {number} is not out")))?;
            self.ledger.forgive(&self.config, spender(&held.grant), &held.promise);
            if released.assumed.binary_search(number).is_ok() {
                let spent = self.ledger.assume(&self.config, spender(&held.grant), &held.promise);
                self.assume(*number, spent);
            }
            self.ids.close(&held.grant.id);
            if let Some(player) = &held.grant.player {
                if let Some(out) = self.busy.get_mut(player) {
                    *out -= 1;
                    if *out == 0 {
                        self.busy.remove(player);
                    }
                }
            }
            free.extend(self.leave_group(held.grant));
        }
        if let Some((id, print)) = &released.by {
            let told = reply(&replies::Nothing {})?.into_boxed_slice();
            self.ids.open(id, Effect { print: *print, reply: told, grant: None });
            self.ids.close(id);
        }
        Ok(free)
    }

    /// Remembers what a grant was assumed to have spent.
    pub fn assume(&mut self, grant: u64, spent: Vec<Saved>) {
        if !spent.is_empty() {
            self.assumed.insert(grant, spent);
        }
        if self.assumed.len() > ASSUMED {
            self.assumed.pop_first();
        }
    }

    /// The grant whose resources are free once this one is released, if they are.
    fn leave_group(&mut self, grant: Arc<Grant>) -> Option<Arc<Grant>> {
        let first = match (grant.with, &grant.share) {
            (Some(first), _) => first,
            (None, Some(_)) => grant.number,
            (None, None) => return Some(grant),
        };
        let group = self.groups.get_mut(&first)?;
        group.out -= 1;
        if group.out > 0 {
            return None;
        }
        let group = self.groups.remove(&first)?;
        let key = group.first.share.clone().unwrap_or_default();
        self.shares.remove(&(group.first.tenant.to_string(), key, first));
        Some(group.first)
    }

    fn charged(&mut self, charged: &Charged) -> Result<(), BusError> {
        let Charged { run, tenant, day, amounts, .. } = charged;
        if let Some(spent) = charged.grant.and_then(|number| self.assumed.remove(&number)) {
            self.ledger.take_back(&spent);
        }
        let budgets = self.ledger.charge(&self.config, Spender { run, tenant, day }, amounts);
        if let Some(held) = charged.grant.and_then(|number| self.held.get_mut(&number)) {
            let mut spent = Amounts::new();
            for (name, promise) in &mut held.promise {
                let part = amounts.get(name).copied().unwrap_or(0).min(*promise);
                *promise -= part;
                spent.insert(name.clone(), part);
            }
            self.ledger.forgive(&self.config, spender(&held.grant), &spent);
        }
        let told = reply(&replies::Budgets { budgets, more: false })?.into_boxed_slice();
        self.ids.open(&charged.id, Effect { print: charged.print, reply: told, grant: None });
        self.ids.close(&charged.id);
        Ok(())
    }

    /// The grant that a new one with this key joins.
    pub fn joinable(&self, tenant: &str, key: &str) -> Option<&Arc<Grant>> {
        let of = |number| (tenant.to_owned(), key.to_owned(), number);
        let (_, _, first) = self.shares.range(of(0)..=of(u64::MAX)).next_back()?;
        self.groups.get(first).map(|group| &group.first)
    }

    /// How many grants of a player are out.
    pub fn busy(&self, player: &str) -> u64 {
        self.busy.get(player).copied().unwrap_or(0)
    }

    /// The grants whose resources are in use.
    pub fn occupants(&self) -> impl Iterator<Item = &Arc<Grant>> {
        let alone = |held: &&Held| held.grant.with.is_none() && held.grant.share.is_none();
        let alone = self.held.values().filter(alone).map(|held| &held.grant);
        alone.chain(self.groups.values().map(|group| &group.first))
    }

    pub fn explanation(&self, grant: u64) -> Option<&Explained> {
        let first = self.explained.front()?.grant.number;
        self.explained.get(usize::try_from(grant.checked_sub(first)?).ok()?)
    }
}
