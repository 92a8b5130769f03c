//! What the pool may never forget: a fold over its records, the same in operation and after a crash.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use symphony_member::{short, Fold, Print};
use symphony_wire::{BusError, Code};

use crate::config::Config;
use crate::names::lease_name;
use crate::record::{End, Lease, Mark, Part, Record, Release, Returned};
use crate::requests::Outcome;

/// Requests that are remembered beyond those whose lease is open: a repetition comes within minutes.
pub const MAX_IDS: usize = 100_000;
/// Open leases: what one reply can list.
pub const MAX_LEASES: usize = 16_384;
/// Keys that are remembered for one instance.
const MAX_KEYS: usize = 256;

/// What a request's id stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Known {
    Acquired { lease: u64, digest: Print },
    Released(Release),
}

/// Kind, tenant, key.
type Key = (String, String, String);

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    /// With its digest.
    pub config: Option<(Config, String)>,
    /// By kind, where `pin` said something else than the configuration.
    pub pins: BTreeMap<String, bool>,
    /// How many times kernel and pool have agreed on what there is.
    pub epoch: u64,
    /// How many leases there have been.
    pub leased: u64,
    leases: HashMap<u64, Lease>,
    open: BTreeSet<u64>,
    pub marks: BTreeMap<String, Mark>,
    keys: BTreeMap<Key, String>,
    ids: HashMap<String, Known>,
    /// The ids that may be forgotten one day, the oldest first.
    order: VecDeque<String>,
}

impl Ledger {
    pub fn lease(&self, number: u64) -> Result<&Lease, BusError> {
        self.leases.get(&number).ok_or_else(|| {
            BusError::new(Code::NotFound, format!("there is no lease {}", lease_name(number)))
                .at("lease")
        })
    }

    /// The leases that are open, in the order in which they were given.
    pub fn open(&self) -> impl Iterator<Item = &Lease> {
        self.open.iter().filter_map(|number| self.leases.get(number))
    }

    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// The instance that had the key before.
    pub fn keeper(&self, kind: &str, tenant: &str, key: &str) -> Option<&str> {
        let key = (kind.to_owned(), tenant.to_owned(), key.to_owned());
        self.keys.get(&key).map(String::as_str)
    }

    /// What a request with this id did before; an error if that was another request.
    pub fn known(&self, id: &str, digest: &Print) -> Result<Option<&Known>, BusError> {
        let known = self.ids.get(id);
        let first = known.map(|known| match known {
            Known::Acquired { digest, .. } => digest,
            Known::Released(release) => &release.digest,
        });
        if first.is_none_or(|first| first == digest) {
            return Ok(known);
        }
        Err(other_request(id))
    }

    fn lend(&mut self, lease: Lease) {
        let mark = self.marks.entry(lease.instance.clone()).or_default();
        mark.kind.clone_from(&lease.kind);
        mark.tenant.clone_from(&lease.tenant);
        if let Some(key) = &lease.key {
            let dropped = keep_key(mark, key);
            let place = |key: String| (lease.kind.clone(), lease.tenant.clone(), key);
            if let Some(dropped) = dropped.map(place) {
                if self.keys.get(&dropped) == Some(&lease.instance) {
                    self.keys.remove(&dropped);
                }
            }
            self.keys.insert(place(key.clone()), lease.instance.clone());
        }
        self.leased = self.leased.max(lease.number);
        self.place(lease);
    }

    fn place(&mut self, lease: Lease) {
        let known = Known::Acquired { lease: lease.number, digest: lease.digest };
        if lease.end.is_none() {
            self.open.insert(lease.number);
        }
        let id = lease.id.clone();
        if let Some(Known::Acquired { lease: lost, .. }) = self.ids.get(&id) {
            self.leases.remove(lost);
        }
        self.leases.insert(lease.number, lease);
        self.remember(id, known);
    }

    fn take_back(&mut self, returned: Returned) {
        let end = if returned.by.is_some() { End::Released } else { End::Lost };
        if let Some(lease) = self.leases.get_mut(&returned.lease) {
            if self.open.remove(&returned.lease) && returned.outcome != Outcome::Ok {
                if let Some(mark) = self.marks.get_mut(&lease.instance) {
                    mark.spoiled = true;
                }
            }
            lease.end = Some(end);
            let id = lease.id.clone();
            if self.order.len() >= MAX_IDS {
                // It may have been passed over while it was open.
                self.order.push_back(id);
            }
        }
        if let Some(release) = returned.by {
            self.remember(release.id.clone(), Known::Released(release));
        }
    }

    fn remember(&mut self, id: String, known: Known) {
        self.ids.insert(id.clone(), known);
        self.order.push_back(id);
        while self.order.len() > MAX_IDS {
            let Some(oldest) = self.order.pop_front() else { return };
            match self.ids.get(&oldest) {
                Some(Known::Acquired { lease, .. }) if self.open.contains(lease) => {}
                Some(Known::Acquired { lease, .. }) => {
                    self.leases.remove(lease);
                    self.ids.remove(&oldest);
                }
                Some(Known::Released(_)) => {
                    self.ids.remove(&oldest);
                }
                None => {}
            }
        }
    }

    fn forget_instance(&mut self, instance: &str) {
        let Some(mark) = self.marks.remove(instance) else { return };
        for key in mark.keys {
            let place = (mark.kind.clone(), mark.tenant.clone(), key);
            if self.keys.get(&place).is_some_and(|keeper| keeper == instance) {
                self.keys.remove(&place);
            }
        }
    }

    fn restore(&mut self, part: Part) {
        match part {
            Part::Head { config, pins, epoch, leases } => {
                (self.config, self.pins, self.epoch, self.leased) = (config, pins, epoch, leases);
            }
            Part::Lease(lease) => self.place(lease),
            Part::Release(release) => {
                self.remember(release.id.clone(), Known::Released(release));
            }
            Part::Mark { instance, mark } => {
                for key in &mark.keys {
                    let place = (mark.kind.clone(), mark.tenant.clone(), key.clone());
                    self.keys.insert(place, instance.clone());
                }
                self.marks.insert(instance, mark);
            }
        }
    }
}

impl Fold for Ledger {
    type Record = Record;
    const FILE: &'static str = "leases.journal";
    const REPAIR: &'static str =
        "move leases.journal and leases.journal.synced away: leases are then agreed on anew with the kernel";

    fn apply(&mut self, record: Record) {
        match record {
            Record::Configured { config, digest } => {
                self.config = Some((*config, digest));
                self.pins.clear();
            }
            Record::Pinned { kind, pinned } => {
                self.pins.insert(kind, pinned);
            }
            Record::Leased(lease) => self.lend(*lease),
            Record::Returned(returned) => self.take_back(*returned),
            Record::Gone { instance } => self.forget_instance(&instance),
            Record::Synced { epoch, .. } => self.epoch = epoch,
            Record::Snapshot(part) => self.restore(*part),
        }
    }

    fn snapshot(&self) -> impl Iterator<Item = Record> + '_ {
        let head = Part::Head {
            config: self.config.clone(),
            pins: self.pins.clone(),
            epoch: self.epoch,
            leases: self.leased,
        };
        let mut seen = BTreeSet::new();
        let order: Vec<&String> = self.order.iter().filter(|id| seen.insert(*id)).collect();
        let aside = self.open().map(|lease| &lease.id).filter(move |id| !seen.contains(id));
        let ids = aside.chain(order).filter_map(|id| self.ids.get(id));
        let requests = ids.filter_map(|known| match known {
            Known::Acquired { lease, .. } => self.leases.get(lease).cloned().map(Part::Lease),
            Known::Released(release) => Some(Part::Release(release.clone())),
        });
        let marks = self.marks.iter().map(|(instance, mark)| {
            // A key that has moved on to another instance is not this one's any more.
            let mut mark = mark.clone();
            let (kind, tenant) = (mark.kind.clone(), mark.tenant.clone());
            mark.keys.retain(|key| self.keeper(&kind, &tenant, key) == Some(instance));
            Part::Mark { instance: instance.clone(), mark }
        });
        let parts = std::iter::once(head).chain(requests).chain(marks);
        parts.map(|part| Record::Snapshot(Box::new(part)))
    }
}

/// Puts the key last; returns one that is one too many.
fn keep_key(mark: &mut Mark, key: &str) -> Option<String> {
    mark.keys.retain(|kept| kept != key);
    mark.keys.push(key.to_owned());
    (mark.keys.len() > MAX_KEYS).then(|| mark.keys.remove(0))
}

/// The id names another request.
pub fn other_request(id: &str) -> BusError {
    let message = format!("the id {} names another request", short(id));
    BusError::new(Code::Conflict, message).at("id").help("use a new id for every request")
}
