//! The acquires that wait, in the order of their arrival. They hold nothing, so nobody waits for them.

use std::collections::{BTreeMap, HashMap};

use symphony_member::Print;
use symphony_wire::reactor::CallId;

use crate::requests::Acquire;

/// More are refused: a longer queue is no better than trying again later.
pub const MAX_WAITING: usize = 10_000;
/// Calls that wait for one request: it may be repeated while it waits.
const MAX_CALLS: usize = 8;

pub struct Waiter {
    pub request: Acquire,
    pub digest: Print,
    /// Its callers; the first one and those that repeated it.
    pub calls: Vec<CallId>,
    pub arrived: u64,
    pub deadline: Option<u64>,
}

#[derive(Default)]
pub struct Queue {
    waiting: BTreeMap<u64, Waiter>,
    by_id: HashMap<String, u64>,
    by_call: HashMap<CallId, u64>,
    arrived: u64,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_WAITING
    }

    pub fn push(&mut self, waiter: Waiter) {
        self.arrived += 1;
        self.by_id.insert(waiter.request.id.clone(), self.arrived);
        self.by_call.extend(waiter.calls.iter().map(|call| (*call, self.arrived)));
        self.waiting.insert(self.arrived, waiter);
    }

    pub fn get(&self, number: u64) -> Option<&Waiter> {
        self.waiting.get(&number)
    }

    pub fn find(&self, id: &str) -> Option<&Waiter> {
        self.by_id.get(id).and_then(|number| self.waiting.get(number))
    }

    pub fn numbers(&self) -> Vec<u64> {
        self.waiting.keys().copied().collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Waiter> {
        self.waiting.values()
    }

    /// Lets one more call wait for the request with this id; false if too many do.
    pub fn join(&mut self, id: &str, call: CallId) -> bool {
        let Some(number) = self.by_id.get(id).copied() else { return false };
        let Some(waiter) = self.waiting.get_mut(&number) else { return false };
        if waiter.calls.len() >= MAX_CALLS {
            return false;
        }
        waiter.calls.push(call);
        self.by_call.insert(call, number);
        true
    }

    pub fn remove(&mut self, number: u64) -> Option<Waiter> {
        let waiter = self.waiting.remove(&number)?;
        self.by_id.remove(&waiter.request.id);
        for call in &waiter.calls {
            self.by_call.remove(call);
        }
        Some(waiter)
    }

    /// A call waits no more: whether it did, and its request if no other call waits for that.
    pub fn leave(&mut self, call: CallId) -> Option<Option<Waiter>> {
        let number = self.by_call.remove(&call)?;
        let waiter = self.waiting.get_mut(&number)?;
        waiter.calls.retain(|waiting| *waiting != call);
        Some(if waiter.calls.is_empty() { self.remove(number) } else { None })
    }
}
