//! Requests that wait, with the calls that wait for them. A gang stands in the line as one, once it is complete.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use symphony_wire::reactor::CallId;
use symphony_wire::{BusError, Code};

use crate::amounts::{self, Amounts};
use crate::line::Newcomer;
use crate::requests::Request;

/// Calls that wait for one id: a caller that lost its connection asks again before the first call is given up.
const MAX_CALLS: usize = 8;

#[derive(Debug)]
pub struct Pending {
    pub request: Request,
    pub id: Arc<str>,
    pub tenant: Arc<str>,
    pub needs: Arc<Amounts>,
    pub calls: Vec<CallId>,
    pub arrived_ms: u64,
    /// Its number in the line, alone or as part of a gang; none while its gang gathers.
    pub seq: Option<u64>,
}

type GangKey = (String, String);

#[derive(Debug, Default)]
pub struct Crowd {
    arrivals: u64,
    pending: BTreeMap<u64, Pending>,
    by_id: HashMap<Arc<str>, u64>,
    by_call: HashMap<CallId, u64>,
    /// The gangs that stand in the line; whoever is alone stands there under its own number.
    units: HashMap<u64, Vec<u64>>,
    /// Gangs that are not complete, by tenant and name.
    gathering: BTreeMap<GangKey, Vec<u64>>,
    /// Gangs that stand in the line.
    complete: BTreeSet<GangKey>,
    /// Who would share, by tenant and key.
    sharers: BTreeMap<(String, String), BTreeSet<u64>>,
}

fn gang_of(pending: &Pending) -> Option<GangKey> {
    pending.request.gang.as_ref().map(|gang| (pending.tenant.to_string(), gang.id.clone()))
}

impl Crowd {
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    pub fn by_id(&self, id: &str) -> Option<(u64, &Pending)> {
        let number = *self.by_id.get(id)?;
        self.pending.get(&number).map(|pending| (number, pending))
    }

    pub fn by_call(&self, call: CallId) -> Option<u64> {
        self.by_call.get(&call).copied()
    }

    pub fn get(&self, number: u64) -> Option<&Pending> {
        self.pending.get(&number)
    }

    /// Who stands under this number in the line.
    pub fn unit(&self, seq: u64) -> &[u64] {
        match self.pending.get(&seq).and_then(|alone| alone.seq.as_ref()) {
            Some(alone) => std::slice::from_ref(alone),
            None => self.units.get(&seq).map_or(&[], Vec::as_slice),
        }
    }

    /// Who stands in the line and would share with a grant of this key, in the order of arrival.
    pub fn sharers(&self, tenant: &str, key: &str) -> Vec<u64> {
        let found = self.sharers.get(&(tenant.to_owned(), key.to_owned()));
        found.map(|numbers| numbers.iter().copied().collect()).unwrap_or_default()
    }

    /// `bad-request` where the gang that this would be part of has another size, `conflict` where it is complete.
    pub fn check_gang(&self, tenant: &str, request: &Request) -> Result<(), BusError> {
        let Some(gang) = &request.gang else { return Ok(()) };
        let key = (tenant.to_owned(), gang.id.clone());
        if self.complete.contains(&key) {
            let what = format!("all {} of the gang wait already", gang.size);
            return Err(BusError::new(Code::Conflict, what).at("gang.id"));
        }
        let others = self.gathering.get(&key);
        let other = others.and_then(|numbers| self.pending.get(numbers.first()?));
        let size = other.and_then(|other| other.request.gang.as_ref()).map(|gang| gang.size);
        match size.filter(|size| *size != gang.size) {
            None => Ok(()),
            Some(size) => {
                let what = format!("the other members say that the gang has {size}");
                Err(BusError::new(Code::BadRequest, what).at("gang.size"))
            }
        }
    }

    /// One more call waits for a request.
    pub fn attach(&mut self, number: u64, call: CallId) -> Result<(), BusError> {
        let Some(pending) = self.pending.get_mut(&number) else { return Ok(()) };
        if pending.calls.len() >= MAX_CALLS {
            let what = format!("{MAX_CALLS} calls wait for this id already");
            return Err(BusError::new(Code::Overloaded, what).at("id"));
        }
        pending.calls.push(call);
        self.by_call.insert(call, number);
        Ok(())
    }

    /// A call waits no more. True if it was the last one of its request.
    pub fn detach(&mut self, call: CallId) -> bool {
        let number = self.by_call.remove(&call);
        let Some(pending) = number.and_then(|number| self.pending.get_mut(&number)) else {
            return false;
        };
        pending.calls.retain(|waiting| *waiting != call);
        pending.calls.is_empty()
    }

    /// Takes a request in. If it, or with it its gang, is ready for the line, the members that stand there as one.
    pub fn admit(&mut self, pending: Pending) -> (u64, Option<Vec<u64>>) {
        self.arrivals += 1;
        let number = self.arrivals;
        self.by_id.insert(Arc::clone(&pending.id), number);
        pending.calls.iter().for_each(|call| {
            self.by_call.insert(*call, number);
        });
        let gang = gang_of(&pending);
        let size = pending.request.gang.as_ref().map_or(1, |gang| gang.size);
        self.pending.insert(number, pending);
        let Some(key) = gang else { return (number, Some(vec![number])) };
        let gathered = self.gathering.entry(key.clone()).or_default();
        gathered.push(number);
        if (gathered.len() as i64) < size {
            return (number, None);
        }
        let members = self.gathering.remove(&key);
        self.complete.insert(key);
        (number, members)
    }

    /// The needs of all of them together.
    pub fn needs(&self, members: &[u64]) -> Arc<Amounts> {
        let mut each = members.iter().filter_map(|number| self.pending.get(number));
        let mut sum = each.next().map(|first| Arc::clone(&first.needs)).unwrap_or_default();
        each.for_each(|pending| amounts::add(Arc::make_mut(&mut sum), &pending.needs));
        sum
    }

    /// Gives members a place in the line: one request its own number, a gang a new one.
    pub fn stand(&mut self, members: Vec<u64>, now_ms: u64) -> Option<Newcomer> {
        let first = *members.first()?;
        let needs = self.needs(&members);
        let alone = self.pending.get(&first)?.request.gang.is_none();
        let seq = if alone {
            first
        } else {
            self.arrivals += 1;
            self.arrivals
        };
        let mut priority = 0;
        let mut deadline: Option<u64> = None;
        for number in &members {
            let Some(pending) = self.pending.get_mut(number) else { continue };
            pending.seq = Some(seq);
            priority = priority.max(pending.request.priority);
            deadline = deadline.into_iter().chain(pending.request.deadline_ms).min();
            if let Some(share) = &pending.request.share {
                let key = (pending.tenant.to_string(), share.clone());
                self.sharers.entry(key).or_default().insert(*number);
            }
        }
        if !alone {
            self.units.insert(seq, members);
        }
        let first = self.pending.get(&first)?;
        Some(Newcomer {
            seq,
            id: Arc::clone(&first.id),
            tenant: Arc::clone(&first.tenant),
            run: Arc::clone(&first.request.run),
            needs,
            priority,
            deadline_ms: deadline,
            arrived_ms: now_ms,
        })
    }

    /// Takes a request out. The others of its gang gather again.
    pub fn leave(&mut self, number: u64) -> Option<Pending> {
        let pending = self.pending.remove(&number)?;
        self.by_id.remove(&pending.id);
        for call in &pending.calls {
            self.by_call.remove(call);
        }
        if let Some(share) = &pending.request.share {
            let key = (pending.tenant.to_string(), share.clone());
            if let Some(sharers) = self.sharers.get_mut(&key) {
                sharers.remove(&number);
                if sharers.is_empty() {
                    self.sharers.remove(&key);
                }
            }
        }
        let Some(key) = gang_of(&pending) else { return Some(pending) };
        let mut others = match pending.seq {
            Some(seq) => {
                self.complete.remove(&key);
                self.units.remove(&seq).unwrap_or_default()
            }
            None => self.gathering.remove(&key).unwrap_or_default(),
        };
        others.retain(|other| *other != number);
        for other in &others {
            if let Some(other) = self.pending.get_mut(other) {
                other.seq = None;
            }
        }
        if !others.is_empty() {
            self.gathering.entry(key).or_default().extend(others);
        }
        Some(pending)
    }

    /// Takes everybody who stands under this number out of the line: they were granted.
    pub fn take(&mut self, seq: u64) -> Vec<Pending> {
        let members = match self.units.remove(&seq) {
            Some(gang) => gang,
            None => vec![seq],
        };
        members
            .into_iter()
            .filter_map(|number| {
                // Nobody is left to gather again.
                let pending = self.pending.get_mut(&number)?;
                if let Some(key) = gang_of(pending) {
                    self.complete.remove(&key);
                }
                pending.request.gang = None;
                self.leave(number)
            })
            .collect()
    }

    /// Takes everybody out.
    pub fn take_all(&mut self) -> Vec<Pending> {
        let all = std::mem::take(&mut self.pending);
        *self = Self { arrivals: self.arrivals, ..Self::default() };
        all.into_values().collect()
    }

    /// Everybody, in the order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Pending)> {
        self.pending.iter().map(|(number, pending)| (*number, pending))
    }
}
