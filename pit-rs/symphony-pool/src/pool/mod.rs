//! The methods of `pit.pool/1`.
//!
//! A request is checked against the state, its record is written down, the state applies it
//! ([`settings`], [`leases`], [`events`], [`expecting`], [`agreement`], [`report`]). What follows from the
//! change is found by one [`pass`] over everything, with [`room`] and [`upkeep`]; [`hearing`] takes the
//! kernel's answers. Whatever is said or asked while a record waits for its flush, waits with it.

mod agreement;
mod events;
mod expecting;
mod hearing;
mod leases;
mod pass;
mod report;
mod room;
mod settings;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use serde::Serialize;
use symphony_journal::Storage;
use symphony_member::{no_method, Fold, Folded, Request, COMPACT_FROM};
use symphony_wire::reactor::{Ask, CallId, Effect, Effects, Now, Reactor, Token};
use symphony_wire::service::{Call, Outcome};
use symphony_wire::{BusError, Code};

use crate::demand::Terms;
use crate::fleet::{Fleet, Kind, SlotId};
use crate::learned;
use crate::ledger::Ledger;
use crate::queue::Queue;
use crate::record::Record;
use crate::replies::Stats;
use crate::requests;

/// Instances of the past whose names may still be on their way to the pool.
const MAX_DEPARTED: usize = 1_024;
/// Runs that expect something.
const MAX_EXPECTING: usize = 10_000;
/// When to try again where nothing says better.
const RETRY_MS: u64 = 1_000;

/// What the kernel was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Spawn(SlotId),
    Unload(SlotId),
    Probe(SlotId),
}

pub struct Pool<S: Storage> {
    storage: S,
    store: Folded<S, Ledger>,
    ledger: Ledger,
    fleet: Fleet,
    queue: Queue,
    stats: Stats,
    asked: HashMap<Token, Asked>,
    /// Questions that leave with the next flush, or never.
    unsent: Vec<Token>,
    tokens: Token,
    spawned: u64,
    /// The epoch in which this process knows what there is; nothing is given or spawned before.
    synced: Option<u64>,
    /// Leases or marks of instances that are gone are to be written down.
    unsettled: bool,
    departed: VecDeque<String>,
    expecting: BTreeMap<String, BTreeSet<String>>,
    /// When time alone changes something.
    wake: Option<u64>,
    /// The time when something last happened.
    now_ms: u64,
    /// What was learned since it was last saved, and when to save it.
    save_at: Option<u64>,
    /// The journal could not be read again after a failed flush: nothing can be said any more.
    broken: Option<BusError>,
}

impl<S: Storage + Clone> Pool<S> {
    pub fn open(storage: S) -> Result<Self, BusError> {
        Self::open_compacting(storage, COMPACT_FROM)
    }

    /// As [`open`](Self::open), with a journal that is rewritten from so many bytes.
    pub fn open_compacting(storage: S, compact_from: u64) -> Result<Self, BusError> {
        let (store, ledger) = Folded::open(storage.clone(), compact_from)?;
        let mut pool = Self {
            storage,
            store,
            ledger,
            fleet: Fleet::default(),
            queue: Queue::default(),
            stats: Stats::default(),
            asked: HashMap::new(),
            unsent: Vec::new(),
            tokens: 0,
            spawned: 0,
            synced: None,
            unsettled: false,
            departed: VecDeque::new(),
            expecting: BTreeMap::new(),
            wake: None,
            now_ms: 0,
            save_at: None,
            broken: None,
        };
        pool.adopt_kinds();
        for (name, histogram) in learned::load(&pool.storage) {
            if let Some(kind) = pool.fleet.kinds.get_mut(&name) {
                kind.demand.histogram = histogram;
            }
        }
        Ok(pool)
    }
}

impl<S: Storage> Pool<S> {
    /// Whatever rests on records that are not durable yet waits until they are.
    fn send(&mut self, effect: Effect, out: &mut Effects) {
        if self.store.is_waiting() {
            out.after_flush(effect);
        } else {
            out.now(effect);
        }
    }

    fn answer(&mut self, call: CallId, outcome: Outcome, out: &mut Effects) {
        self.send(Effect::Answer { call, outcome }, out);
    }

    /// Asks the kernel something; the outcome comes to [`heard`](Reactor::heard).
    fn ask(
        &mut self,
        asked: Asked,
        method: &str,
        arguments: &impl Serialize,
        ttl_ms: u64,
        out: &mut Effects,
    ) {
        self.tokens += 1;
        self.asked.insert(self.tokens, asked);
        if self.store.is_waiting() {
            self.unsent.push(self.tokens);
        }
        let ask = Ask {
            capability: crate::KERNEL.to_owned(),
            method: method.to_owned(),
            body: symphony_wire::body::write(arguments),
            ttl_ms: u32::try_from(ttl_ms).unwrap_or(u32::MAX),
        };
        self.send(Effect::Ask { token: self.tokens, ask }, out);
    }

    /// Writes a record down and applies it.
    fn commit(&mut self, record: Record) -> Result<(), BusError> {
        self.store.write(&record)?;
        self.ledger.apply(record);
        Ok(())
    }

    fn next_spawn_id(&mut self) -> String {
        self.spawned += 1;
        format!("{}.{}", self.ledger.epoch, self.spawned)
    }

    fn terms(&self, kind: &Kind) -> Terms {
        let predict = self.ledger.config.as_ref().is_some_and(|(config, _)| config.predict);
        Terms { load_ms: kind.spec.load_ms, keep_ms: kind.spec.keep_ms, predict }
    }

    fn dispatch(&mut self, id: CallId, call: Call<'_>, now: Now) -> Option<Outcome> {
        if let Some(error) = &self.broken {
            return Some(Err(error.clone()));
        }
        Some(match call.method {
            "acquire" => return self.acquire(id, call.body, now),
            "release" => self.release(call.body, now),
            "event" => self.event(call.body, now),
            "expect" => self.expect(call.body, now),
            "configure" => self.configure(call.body, now),
            "resync" => self.resync(call.body, now),
            "pin" => self.pin(call.body),
            "drain" => self.drain(call.body, now),
            "list" => requests::Nothing::read(call.body).and_then(|_| self.list(now)),
            "stats" => requests::Nothing::read(call.body).and_then(|_| self.stats()),
            other => Err(no_method(crate::CAPABILITY, other)),
        })
    }

    fn save(&mut self, now: u64) {
        if self.save_at.is_none_or(|at| at > now) {
            return;
        }
        self.save_at = None;
        let learned = self.fleet.kinds.iter().filter(|(_, kind)| !kind.retired);
        let learned = learned.map(|(name, kind)| (name.as_str(), &kind.demand.histogram));
        if let Err(error) = learned::save(&self.storage, learned) {
            tracing::warn!(%error, "failed to save what was learned; trying again in a minute");
            self.save_at = Some(now + learned::EVERY_MS);
        }
    }
}

impl<S: Storage> Reactor for Pool<S> {
    fn call(&mut self, id: CallId, call: Call<'_>, now: Now, out: &mut Effects) {
        self.now_ms = now.mono_ms;
        let outcome = self.dispatch(id, call, now);
        // A grant takes nothing that anybody waits for, or it had been his; so nothing follows from it.
        let granted = call.method == "acquire" && matches!(outcome, Some(Ok(_)));
        let quiet = granted || matches!(call.method, "list" | "stats");
        if let Some(outcome) = outcome {
            self.answer(id, outcome, out);
        }
        if !quiet {
            self.pass(now, out);
        }
    }

    fn cancelled(&mut self, id: CallId, now: Now, out: &mut Effects) {
        let Some(left) = self.queue.leave(id) else { return };
        self.stats.cancelled += 1;
        let cancelled = BusError::new(Code::Cancelled, "the caller wants no instance any more");
        self.answer(id, Err(cancelled), out);
        if let Some(waiter) = left {
            self.leave(&waiter.request.kind, now.mono_ms);
            self.pass(now, out);
        }
    }

    fn heard(&mut self, token: Token, outcome: Outcome, now: Now, out: &mut Effects) {
        let Some(asked) = self.asked.remove(&token) else { return };
        self.hear(asked, outcome, now.mono_ms);
        self.pass(now, out);
    }

    fn tick(&mut self, now: Now, out: &mut Effects) {
        self.save(now.mono_ms);
        self.pass(now, out);
    }

    fn wakeup(&self) -> Option<u64> {
        self.wake
    }

    fn flush(&mut self) -> Result<(), BusError> {
        match self.store.flush() {
            Ok(()) => {
                self.unsent.clear();
                self.store.compact(&self.ledger);
                Ok(())
            }
            Err(error) => {
                if let Err(fault) = self.take_back() {
                    self.broken = Some(fault);
                }
                Err(error)
            }
        }
    }
}
