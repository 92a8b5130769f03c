//! Which ids have had their effect, and what was replied: a call that is repeated has one effect.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use symphony_member::{short, Print};
use symphony_wire::{BusError, Code};

/// Ids remembered whose matter is closed; those of grants that are out come on top.
const REMEMBERED: usize = 100_000;

/// What an id stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    pub print: Print,
    #[serde(with = "serde_bytes")]
    pub reply: Box<[u8]>,
    /// The number of the grant that it made, if it did.
    pub grant: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ids {
    effects: HashMap<Arc<str>, Effect>,
    /// In the order in which they were closed.
    closed: VecDeque<Arc<str>>,
}

impl Ids {
    pub fn get(&self, id: &str) -> Option<&Effect> {
        self.effects.get(id)
    }

    /// Adds an id that is remembered until it is closed and long after.
    pub fn open(&mut self, id: &Arc<str>, effect: Effect) {
        self.effects.insert(Arc::clone(id), effect);
    }

    /// From now on the id may be forgotten when enough others were closed.
    pub fn close(&mut self, id: &Arc<str>) {
        self.closed.push_back(Arc::clone(id));
        if self.closed.len() > REMEMBERED {
            if let Some(oldest) = self.closed.pop_front() {
                self.effects.remove(&oldest);
            }
        }
    }

    /// Those that are closed, in order.
    pub fn closed(&self) -> impl Iterator<Item = (&Arc<str>, &Effect)> {
        self.closed.iter().filter_map(|id| self.effects.get_key_value(id))
    }
}

pub fn conflict(id: &str) -> BusError {
    BusError::new(Code::Conflict, format!("{:?} was used with other arguments", short(id)))
        .at("id")
        .help("give every request an id of its own")
}
