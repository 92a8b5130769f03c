//! The contract `pit.artifacts/1` on the wire: arguments in, replies out.
//!
//! [`contents`] has the methods that bring bytes in and out, [`curation`] those that let them go, [`questions`] those
//! that only tell, [`copies`] the one that is answered later. Here is what they share, and when the audit trail is written.

mod contents;
mod copies;
mod curation;
mod questions;

use std::path::Path;

use serde::Serialize;
use symphony_wire::constants::MAX_BODY;
use symphony_wire::reactor::{CallId, Effect, Effects, Now, Reactor, Token};
use symphony_wire::service::{reply, Answer, Call, Outcome};
use symphony_wire::{BusError, Code};

use self::copies::Waiting;
use crate::audit::{Record, MAX_REFS};
use crate::error::StoreError;
use crate::faults::Faults;
use crate::info::Made;
use crate::instant;
use crate::keys::Source;
use crate::store::{Options, Store};
use crate::Reference;

/// A reply in pages ends before it gets larger than this, bytes.
const MAX_PAGE: usize = MAX_BODY / 2;
/// Milliseconds after which reads are in the audit trail, if nothing is written before.
const WRITE_READS_MS: u64 = 1_000;
/// Longest name of a caller, bytes.
const MAX_BY: usize = 128;
/// Set to `1`: the store is opened such that nothing on disk changes.
pub const READ_ONLY: &str = "SYMPHONY_ARTIFACTS_READ_ONLY";

/// The Artifact Store as a provider.
pub struct ArtifactService {
    store: Store,
    now: Now,
    /// Since when reads wait to be written down.
    reads_since: Option<u64>,
    /// Whose read of what the last `get` was: reading on is the same read.
    last_read: Option<(Option<String>, Reference, u64)>,
    copies: Waiting,
}

impl ArtifactService {
    /// Opens the store at `store`, making it if there is none, as the environment says.
    pub fn open(store: &Path) -> Result<Self, StoreError> {
        let read_only = std::env::var_os(READ_ONLY).is_some_and(|value| value == "1");
        let keys = Source::find(store);
        Self::with(store, Options { keys, read_only, faults: Faults::default() })
    }

    pub fn with(store: &Path, options: Options) -> Result<Self, StoreError> {
        let store = Store::open_with(store, options)?;
        let (now, copies) = (Now::default(), Waiting::default());
        Ok(Self { store, now, reads_since: None, last_read: None, copies })
    }

    fn answer(&mut self, call: Call<'_>) -> Result<Reply, BusError> {
        let body = call.body;
        match call.method {
            "put" => self.put(body),
            "put_many" => self.put_many(body),
            "begin" => self.begin(body),
            "part" => self.part(body),
            "commit" => self.commit(body),
            "collect" => self.collect(body),
            "stage" => self.stage(body),
            "get" => self.get(body),
            "listing" => self.listing(body),
            "stat" => self.stat(body),
            "list" => self.list(body),
            "verify" => self.verify(body),
            "configure" => self.configure(body),
            "mark" => self.mark(body),
            "unmark" => self.unmark(body),
            "sweep" => self.sweep(body),
            "pack" => self.pack(body),
            "rotate" => self.rotate(body),
            "tag" => self.tag(body),
            "tags" => self.tags(body),
            "score" => self.score(body),
            "use" => self.used(body),
            "versions" => self.versions(body),
            "diff" => self.diff(body),
            "lineage" => self.lineage(body),
            "search" => self.search(body),
            "audit" => self.audit(body),
            other => Err(bad("method", &format!("there is no method {other}"))),
        }
    }

    /// One call, and when its outcome may be told.
    pub fn handle(&mut self, call: Call<'_>, now: Now) -> Answer {
        self.now = now;
        let answer = match self.answer(call) {
            Ok(Reply::Now(body)) => Answer::Now(Ok(body)),
            Ok(Reply::AfterFlush(body)) => Answer::AfterFlush(Ok(body)),
            // A refusal changed nothing: it need not wait for the disk.
            Err(error) => Answer::Now(Err(error)),
        };
        if !self.store.has_reads() {
            self.reads_since = None;
        } else if self.reads_since.is_none() {
            self.reads_since = Some(now.mono_ms);
        }
        answer
    }

    /// When reads are to be written into the audit trail.
    fn reads_due(&self) -> Option<u64> {
        let since = self.reads_since.filter(|_| self.store.has_reads());
        since.map(|since| since.saturating_add(WRITE_READS_MS))
    }

    /// Notes a read of contents.
    fn note_read(&mut self, method: &str, who: &Who, refs: &[Reference]) {
        for refs in refs.chunks(MAX_REFS) {
            let record = who.record(method, self.now.wall_ms, refs);
            self.store.note_read(record);
        }
    }

    /// Notes a change, to be written together with it.
    fn note_write(&mut self, method: &str, who: &Who, refs: &[Reference]) {
        let at = who.at(self.now.wall_ms);
        if refs.is_empty() {
            self.store.note_write(who.record(method, at, refs));
        }
        for refs in refs.chunks(MAX_REFS) {
            self.store.note_write(who.record(method, at, refs));
        }
    }
}

/// A reply, and whether what it says rests on the next flush.
enum Reply {
    Now(Vec<u8>),
    AfterFlush(Vec<u8>),
}

type Handled = Result<Reply, BusError>;

fn now<T: Serialize>(value: &T) -> Handled {
    bounded(value).map(Reply::Now)
}

fn after_flush<T: Serialize>(value: &T) -> Handled {
    bounded(value).map(Reply::AfterFlush)
}

/// Who calls, on whose account and when, for the audit trail.
#[derive(Clone, Debug, Default)]
struct Who {
    by: Option<String>,
    run: Option<String>,
    step: Option<String>,
    ts: Option<String>,
}

impl Who {
    fn new(by: Option<String>, made: Option<&Made>, ts: Option<&str>) -> Result<Self, BusError> {
        if by.as_ref().is_some_and(|by| by.is_empty() || by.len() > MAX_BY) {
            return Err(bad("by", "the caller's name has not 1 to 128 bytes"));
        }
        let run = made.and_then(|made| made.run.clone());
        let step = made.and_then(|made| made.step.clone());
        Ok(Self { by, run, step, ts: ts.map(str::to_owned) })
    }

    /// When, in milliseconds since 1970: as the caller says, if that is a time.
    fn at(&self, wall_ms: i64) -> i64 {
        self.ts.as_deref().and_then(instant::read).unwrap_or(wall_ms)
    }

    fn record(&self, method: &str, at: i64, refs: &[Reference]) -> Record {
        let Self { by, run, step, .. } = self.clone();
        Record { at, method: method.to_owned(), by, run, step, refs: refs.to_vec() }
    }
}

impl Reactor for ArtifactService {
    fn call(&mut self, id: CallId, call: Call<'_>, now: Now, out: &mut Effects) {
        if call.method == "backup" {
            return self.backup(id, call.body, now, out);
        }
        match self.handle(call, now) {
            Answer::Now(outcome) => out.now(Effect::Answer { call: id, outcome }),
            Answer::AfterFlush(outcome) => out.after_flush(Effect::Answer { call: id, outcome }),
        }
    }

    fn cancelled(&mut self, _: CallId, _: Now, _: &mut Effects) {}

    fn heard(&mut self, _: Token, _: Outcome, _: Now, _: &mut Effects) {}

    fn tick(&mut self, now: Now, out: &mut Effects) {
        self.now = now;
        self.poll_backup(now, out);
        if self.reads_due().is_none_or(|at| at > now.mono_ms) {
            return;
        }
        self.reads_since = None;
        if let Err(error) = self.store.write_reads() {
            tracing::warn!(%error, "what was read is not yet in the audit trail");
            self.reads_since = Some(now.mono_ms);
        }
    }

    fn wakeup(&self) -> Option<u64> {
        self.reads_due().into_iter().chain(self.copies.wakeup()).min()
    }

    fn flush(&mut self) -> Result<(), BusError> {
        self.store.flush()?;
        self.reads_since = None;
        Ok(())
    }
}

/// A reply, unless it would not fit into a message.
fn bounded<T: Serialize>(value: &T) -> Outcome {
    let body = reply(value)?;
    if body.len() > MAX_BODY {
        let error = BusError::new(Code::Overloaded, "the reply is larger than a message may be");
        return Err(error.at("2 MiB").help("ask for less at once; `get` pages through a listing"));
    }
    Ok(body)
}

fn bad(place: &str, message: &str) -> BusError {
    BusError::new(Code::BadRequest, message).at(place)
}

/// Refuses a `limit` that is not within 1 and `most`.
fn limited(limit: usize, most: usize) -> Result<usize, BusError> {
    if (1..=most).contains(&limit) {
        return Ok(limit);
    }
    Err(bad("limit", &format!("the limit is not within 1 to {most}")))
}

/// The time of a call that compares times.
fn instant_of(ts: &str) -> Result<i64, BusError> {
    instant::read(ts).ok_or_else(|| {
        bad("ts", "this is no time").help("give RFC 3339 in UTC: 2026-01-31T12:00:00.000Z")
    })
}

/// Counts what a page holds; says when it is full.
struct Page {
    size: usize,
    items: usize,
    limit: usize,
}

impl Page {
    fn new(limit: usize) -> Self {
        Self { size: 0, items: 0, limit }
    }

    fn has_room<T: Serialize>(&mut self, item: &T) -> bool {
        self.size += reply(item).map_or(MAX_PAGE, |item| item.len());
        self.items += 1;
        self.items <= self.limit && (self.size <= MAX_PAGE || self.items == 1)
    }
}
