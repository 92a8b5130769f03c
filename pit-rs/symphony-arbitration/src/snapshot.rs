//! The state as records with which a journal begins anew.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use symphony_wire::BusError;

use crate::amounts::Amounts;
use crate::budgets::Saved;
use crate::config::Config;
use crate::ids::Effect;
use crate::record::{Grant, Granted, Record};
use crate::state::{Explained, Held, State};

/// Entries in one record: each has 32 KiB at most, all names of the longest, and a record holds 4 MiB.
const CHUNK: usize = 64;

/// A part of the state; a list goes on in the next record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The first one: configuration and number of the last grant.
    Head(Config, u64),
    /// First grant of a group. How many of it are out follows from the grants.
    Groups(Vec<Arc<Grant>>),
    /// Grants that are out, and what each may spend yet.
    Held(Vec<(Arc<Grant>, Amounts)>),
    Spent(Vec<Saved>),
    /// Replies to ids, and whether their matter is closed.
    Ids(Vec<(Arc<str>, Effect, bool)>),
    Explained(Vec<Granted>),
    /// What grants were assumed to have spent: it is among what was spent.
    Assumed(Vec<(u64, Vec<Saved>)>),
}

/// All of the state.
pub fn of(state: &State) -> Vec<Record> {
    let mut parts = vec![Part::Head((*state.config).clone(), state.grants)];
    let groups = state.groups.values().map(|group| Arc::clone(&group.first));
    chunks(groups, Part::Groups, &mut parts);
    let held = state.held.values().map(|held| (Arc::clone(&held.grant), held.promise.clone()));
    chunks(held, Part::Held, &mut parts);
    chunks(state.ledger.saved(), Part::Spent, &mut parts);
    let open = state.held.values().filter_map(|held| {
        let id = &held.grant.id;
        state.ids.get(id).map(|effect| (Arc::clone(id), effect.clone(), false))
    });
    let closed = state.ids.closed().map(|(id, effect)| (Arc::clone(id), effect.clone(), true));
    chunks(open.chain(closed), Part::Ids, &mut parts);
    // What was encoded here can be decoded.
    let explained = state.explained.iter().filter_map(|explained| explained.granted().ok());
    chunks(explained, Part::Explained, &mut parts);
    let assumed = state.assumed.iter().map(|(grant, spent)| (*grant, spent.clone()));
    chunks(assumed, Part::Assumed, &mut parts);
    parts.into_iter().map(Record::Snapshot).collect()
}

fn chunks<T>(entries: impl Iterator<Item = T>, part: fn(Vec<T>) -> Part, parts: &mut Vec<Part>) {
    let mut entries = entries.peekable();
    while entries.peek().is_some() {
        parts.push(part(entries.by_ref().take(CHUNK).collect()));
    }
}

impl Part {
    /// Adds this part to a state that has those before it.
    pub fn restore(self, state: &mut State) -> Result<(), BusError> {
        match self {
            Self::Head(config, grants) => {
                *state = State::begin(state.index, config, grants);
            }
            Self::Groups(firsts) => {
                firsts.into_iter().for_each(|first| state.group(first));
            }
            Self::Held(list) => {
                for (grant, promise) in list {
                    state.hold(Held { grant, promise })?;
                }
            }
            Self::Spent(accounts) => {
                for (budget, who, spent) in accounts {
                    state.ledger.add(&budget, &who, spent);
                }
            }
            Self::Ids(list) => {
                for (id, effect, closed) in list {
                    state.ids.open(&id, effect);
                    if closed {
                        state.ids.close(&id);
                    }
                }
            }
            Self::Assumed(list) => {
                list.into_iter().for_each(|(grant, spent)| state.assume(grant, spent));
            }
            Self::Explained(list) => {
                for granted in &list {
                    state.explain(Explained::of(granted)?);
                }
            }
        }
        Ok(())
    }
}
