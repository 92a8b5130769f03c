//! The methods of `pit.arbitration/1`.

mod agreement;
mod asking;
mod granting;
mod questions;
mod spending;
mod writing;

use std::collections::HashMap;

use symphony_journal::{Journal, Storage};
use symphony_member::{no_method, Print};
use symphony_wire::reactor::{CallId, Effect, Effects, Now, Reactor, Token};
use symphony_wire::service::{parse, Call, Outcome};
use symphony_wire::{BusError, Code};

use self::writing::{log_error, replay};
use crate::config::Configure;
use crate::crowd::Crowd;
use crate::ids::conflict;
use crate::line::Line;
use crate::record::Record;
use crate::replies::Stats;
use crate::requests::RawRequest;
use crate::snapshot;
use crate::state::State;

/// Requests that wait at most: as many as the open calls of sixteen callers.
pub const MAX_WAITING: usize = 16_384;
/// Grants that are out at most: with longest names they take 100 MiB.
pub const MAX_HELD: usize = 65_536;
/// A journal of fewer bytes is left as it is.
pub const COMPACT_BYTES: u64 = 64 << 20;
/// A journal begins anew when it has this many times the bytes of its snapshot.
const COMPACT_FACTOR: u64 = 4;
/// What `retry_after_ms` says at least and at most.
const RETRY_MS: (u64, u64) = (50, 60_000);

const FILE: &str = "ledger.journal";

/// What a method has to say.
enum Said {
    Reply(Vec<u8>),
    /// The call waits; whatever ends it answers it.
    Later,
}

pub struct Arbiter<S: Storage> {
    journal: Journal<S>,
    state: State,
    line: Line,
    crowd: Crowd,
    /// Records that the next flush writes.
    unwritten: Vec<Vec<u8>>,
    /// A flush failed and the journal could not be read back yet: nothing is known.
    lost: bool,
    /// Requests may fit that were not granted: a flush took grants back.
    unsettled: bool,
    /// When groups began on this process's clock.
    began: HashMap<u64, u64>,
    /// How long grants were out lately, milliseconds: a mean that the last one moves by an eighth.
    hold_ms: u64,
    granted_at: HashMap<u64, u64>,
    /// Bytes of the last snapshot.
    snapshot_bytes: u64,
    compact_bytes: u64,
    stats: Stats,
}

impl<S: Storage> Arbiter<S> {
    /// Reads the ledger in this storage, made if absent.
    ///
    /// Errors: `io`, `corrupt`.
    pub fn open(storage: S) -> Result<Self, BusError> {
        Self::with_compaction(storage, COMPACT_BYTES)
    }

    /// With another size at which the journal begins anew.
    pub fn with_compaction(storage: S, compact_bytes: u64) -> Result<Self, BusError> {
        let first = snapshot::of(&State::default()).into_iter().zip(1..);
        let first = first.map(|(record, index)| record.encode(index));
        let first = first.collect::<Result<Vec<_>, _>>()?;
        let journal = Journal::open(storage, FILE, &first).map_err(|error| log_error(&error))?;
        let (state, snapshot_bytes) = replay(&journal)?;
        let mut arbiter = Self {
            line: Line::new(&state.config, 0),
            journal,
            state,
            crowd: Crowd::default(),
            unwritten: Vec::new(),
            lost: false,
            unsettled: false,
            began: HashMap::new(),
            hold_ms: 0,
            granted_at: HashMap::new(),
            snapshot_bytes,
            compact_bytes,
            stats: Stats::default(),
        };
        arbiter.rebuild(0);
        Ok(arbiter)
    }

    /// What was decided so far.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.crowd.len()
    }

    /// Makes the line anew from what was decided and who waits.
    fn rebuild(&mut self, now_ms: u64) {
        let line = Line::new(&self.state.config, now_ms);
        let former = std::mem::replace(&mut self.line, line);
        for grant in self.state.occupants() {
            self.line.occupy(&grant.tenant, &grant.needs);
        }
        former.into_newcomers().for_each(|newcomer| self.line.add(newcomer));
    }

    /// Journals a record and applies it.
    fn commit(&mut self, record: Record) -> Result<(), BusError> {
        let index = self.state.index + 1;
        self.unwritten.push(record.encode(index)?);
        for free in self.state.apply(index, record)? {
            self.began.remove(&free.number);
            self.line.vacate(&free.tenant, &free.needs);
        }
        Ok(())
    }

    /// Whatever is said while records wait for the flush, waits with them.
    fn answer(&self, call: CallId, outcome: Outcome, out: &mut Effects) {
        let effect = Effect::Answer { call, outcome };
        if self.unwritten.is_empty() {
            out.now(effect);
        } else {
            out.after_flush(effect);
        }
    }

    fn answer_all(&self, calls: &[CallId], outcome: Outcome, out: &mut Effects) {
        let Some((last, others)) = calls.split_last() else { return };
        others.iter().for_each(|call| self.answer(*call, outcome.clone(), out));
        self.answer(*last, outcome, out);
    }

    fn dispatch(
        &mut self,
        id: CallId,
        call: Call<'_>,
        now: Now,
        out: &mut Effects,
    ) -> Result<Said, BusError> {
        let body = call.body;
        match call.method {
            "request" => self.request(id, parse::<RawRequest>(body)?.check()?, now, out),
            "release" => self.release(parse(body)?, now).map(Said::Reply),
            "charge" => self.charge(&parse(body)?, now).map(Said::Reply),
            "configure" => self.configure(parse::<Configure>(body)?.check()?, now, out),
            "resync" => self.resync(&parse(body)?, now, out).map(Said::Reply),
            "explain" => self.explain(&parse(body)?).map(Said::Reply),
            "queue" => parse(body).and_then(|none| self.queue(none, now)).map(Said::Reply),
            "budgets" => self.budgets(&parse(body)?).map(Said::Reply),
            "fairness" => self.fairness(&parse(body)?).map(Said::Reply),
            "stats" => parse(body).and_then(|none| self.stats(none)).map(Said::Reply),
            other => Err(no_method(crate::CAPABILITY, other)),
        }
    }

    /// What was replied to the same request before; `conflict` if it was another one.
    fn remembered(&mut self, id: &str, print: Print) -> Result<Option<Vec<u8>>, BusError> {
        match self.state.ids.get(id) {
            None => match self.crowd.by_id(id) {
                Some((_, pending)) if pending.request.print != print => Err(conflict(id)),
                _ => Ok(None),
            },
            Some(effect) if effect.print == print => {
                self.stats.repeats += 1;
                Ok(Some(effect.reply.to_vec()))
            }
            Some(_) => Err(conflict(id)),
        }
    }
}

impl<S: Storage> Reactor for Arbiter<S> {
    fn call(&mut self, id: CallId, call: Call<'_>, now: Now, out: &mut Effects) {
        if self.lost && self.unwritten.is_empty() {
            if let Err(error) = self.reload() {
                return out.now(Effect::Answer { call: id, outcome: Err(error) });
            }
        }
        self.line.advance(now.mono_ms);
        match self.dispatch(id, call, now, out) {
            Ok(Said::Reply(told)) => self.answer(id, Ok(told), out),
            Ok(Said::Later) => {}
            Err(error) => {
                self.stats.refused += u64::from(error.code == Code::Refused);
                self.answer(id, Err(error), out);
            }
        }
        self.settle(now, out);
    }

    fn cancelled(&mut self, id: CallId, now: Now, out: &mut Effects) {
        let Some(number) = self.crowd.by_call(id) else { return };
        self.stats.cancelled += 1;
        let outcome = Err(BusError::new(Code::Cancelled, "the request left the queue"));
        if self.crowd.detach(id) {
            self.withdraw(number);
            self.line.advance(now.mono_ms);
            self.settle(now, out);
        }
        self.answer(id, outcome, out);
    }

    fn heard(&mut self, _: Token, _: Outcome, _: Now, _: &mut Effects) {}

    fn tick(&mut self, now: Now, out: &mut Effects) {
        if self.lost && self.reload().is_err() {
            return;
        }
        self.settle(now, out);
    }

    fn wakeup(&self) -> Option<u64> {
        if self.unsettled {
            return Some(0);
        }
        if self.state.held.len() >= MAX_HELD {
            return None;
        }
        self.line.wakeup()
    }

    fn flush(&mut self) -> Result<(), BusError> {
        if self.unwritten.is_empty() && !self.lost {
            return Ok(());
        }
        self.stats.flushes += 1;
        self.write()?;
        self.compact();
        Ok(())
    }
}
