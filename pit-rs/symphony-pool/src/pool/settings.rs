//! What the pool is told to keep: its configuration, pins, what is to drain.

use std::collections::BTreeMap;

use symphony_journal::Storage;
use symphony_member::{digest, short, Request};
use symphony_wire::reactor::Now;
use symphony_wire::service::{reply, Outcome};
use symphony_wire::{BusError, Code};

use super::Pool;
use crate::config::Config;
use crate::fleet::{Kind, SlotId};
use crate::record::Record;
use crate::replies::{self, Empty};
use crate::requests;
use crate::table::{Event, State};

impl<S: Storage> Pool<S> {
    pub(super) fn configure(&mut self, body: &[u8], now: Now) -> Outcome {
        let config = Config::read(body)?;
        let digest = digest(&config)?;
        let is_same = self.ledger.config.as_ref().is_some_and(|(_, known)| *known == digest);
        if !is_same || !self.ledger.pins.is_empty() {
            let record = Record::Configured { config: Box::new(config), digest: digest.clone() };
            self.commit(record)?;
            self.adopt_kinds();
            self.drain_retired(now.mono_ms);
        }
        reply(&replies::Configured { digest })
    }

    /// Makes the kinds those of the ledger's configuration.
    pub(super) fn adopt_kinds(&mut self) {
        let configured = self.ledger.config.iter().flat_map(|(config, _)| &config.kinds);
        let mut specs: BTreeMap<&str, _> =
            configured.map(|spec| (spec.kind.as_str(), spec)).collect();
        for (name, kind) in &mut self.fleet.kinds {
            kind.retired = match specs.remove(name.as_str()) {
                Some(spec) => {
                    kind.spec = spec.clone();
                    false
                }
                None => true,
            };
        }
        for (name, spec) in specs {
            self.fleet.kinds.insert(name.to_owned(), Kind::new(spec.clone()));
        }
        self.fleet.kinds.retain(|_, kind| !kind.retired || !kind.slots.is_empty());
        for (name, kind) in &mut self.fleet.kinds {
            kind.pinned = self.ledger.pins.get(name).copied().unwrap_or(kind.spec.pinned);
        }
    }

    pub(super) fn drain_retired(&mut self, now: u64) {
        let retired = self.fleet.kinds.values().filter(|kind| kind.retired);
        let slots: Vec<SlotId> = retired.flat_map(|kind| kind.slots.iter().copied()).collect();
        slots.into_iter().for_each(|id| self.drain_slot(id, "not configured any more", now));
    }

    /// It leaves when it is free.
    pub(super) fn drain_slot(&mut self, id: SlotId, reason: &'static str, now: u64) {
        let Some(slot) = self.fleet.slots.get_mut(&id) else { return };
        if slot.state != State::Draining {
            slot.reason = reason;
            // Every state of an instance that there is allows it.
            let _ = self.fleet.fire(id, Event::Drained, now);
        }
    }

    pub(super) fn kind(&self, name: &str) -> Result<&Kind, BusError> {
        let kind = self.fleet.kinds.get(name).filter(|kind| !kind.retired);
        kind.ok_or_else(|| unknown_kind(name))
    }

    pub(super) fn pin(&mut self, body: &[u8]) -> Outcome {
        let requests::Pin { kind: name, pinned } = requests::Pin::read(body)?;
        if self.kind(&name)?.pinned != pinned {
            self.commit(Record::Pinned { kind: name.clone(), pinned })?;
            if let Some(kind) = self.fleet.kinds.get_mut(&name) {
                kind.pinned = pinned;
            }
        }
        reply(&Empty {})
    }

    pub(super) fn drain(&mut self, body: &[u8], now: Now) -> Outcome {
        let requests::Drain { kind, instance } = requests::Drain::read(body)?;
        let slots: Vec<SlotId> = match (kind, instance) {
            (Some(kind), _) => {
                self.kind(&kind)?;
                self.fleet.slots_of(&kind).map(|(id, _)| id).collect()
            }
            (None, instance) => {
                let name = instance.unwrap_or_default();
                let unknown = || {
                    let message = format!("there is no instance {}", short(&name));
                    BusError::new(Code::NotFound, message).at("instance")
                };
                vec![self.fleet.find(&name).ok_or_else(unknown)?]
            }
        };
        slots.iter().for_each(|id| self.drain_slot(*id, "asked to", now.mono_ms));
        let named = slots.iter().filter_map(|id| self.fleet.slots.get(id)?.name.clone());
        reply(&replies::Drained { instances: named.collect() })
    }
}

pub(super) fn unknown_kind(name: &str) -> BusError {
    let message = format!("there is no kind {}", short(name));
    BusError::new(Code::NotFound, message).at("kind")
}
