//! The methods of `pit.stale/1`.
//!
//! What asks nobody is done at once. A plan, run, restore or training list is a job; one at a time, the others
//! wait for it. A pin or hold of what is marked for a sweep is a job beside that: it is acknowledged only once
//! the store has taken the mark back.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::ops::Bound;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use symphony_journal::Storage;
use symphony_member::instant;
use symphony_member::{digest, no_method, short, Folded, Reference, Request, COMPACT_FROM};
use symphony_wire::reactor::{CallId, Effect, Effects, Now, Reactor, Token};
use symphony_wire::service::{reply, Call, Outcome};
use symphony_wire::{BusError, Code};

use crate::archive::Archive;
use crate::config::Config;
use crate::desk::{Core, Desk, Disk, Told};
use crate::ledger::{MAX_HELD, MAX_HOLDS, MAX_PINS};
use crate::record::{Amount, Hold, Kind, Mark, Proof, Record, Subject, Taught, Word};
use crate::replies;
use crate::requests::{self, subject, MAX_HELD as MAX_OF_HOLD};
use crate::restore::restore;
use crate::run::{plan, run, unmark, PAGE_BYTES};
use crate::training::training;

/// Artifacts, and runs, of a hold that `holds` names.
const SHOWN_OF_HOLD: usize = 100;
/// Jobs that wait for the one that runs, and pins that wait for the store.
const MAX_JOBS: usize = 64;

type Work = Pin<Box<dyn Future<Output = Outcome> + Send>>;

struct Job {
    call: CallId,
    /// It looks at everything: only one of these at a time.
    heavy: bool,
    work: Work,
}

pub struct Curator<S: Storage> {
    desk: Arc<Desk<S>>,
    jobs: Vec<Job>,
    queue: VecDeque<Job>,
    /// Calls whose job ended with a flush that failed.
    lost: Vec<(CallId, BusError)>,
    /// The journal could not be read again after a failed flush: nothing can be said any more.
    broken: Option<BusError>,
}

enum Handled {
    Now(Outcome),
    Job(bool, Work),
}

impl<S: Disk> Curator<S> {
    pub fn open(storage: S, archive: Archive<S>) -> Result<Self, BusError> {
        Self::open_compacting(storage, archive, COMPACT_FROM)
    }

    /// As [`open`](Self::open), with a journal that is rewritten from so many bytes.
    pub fn open_compacting(
        storage: S,
        archive: Archive<S>,
        compact_from: u64,
    ) -> Result<Self, BusError> {
        let (store, ledger) = Folded::open(storage, compact_from)?;
        Ok(Self {
            desk: Arc::new(Desk::new(ledger, store, archive)),
            jobs: Vec::new(),
            queue: VecDeque::new(),
            lost: Vec::new(),
            broken: None,
        })
    }

    fn dispatch(&mut self, call: Call<'_>) -> Result<Handled, BusError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let desk = Arc::clone(&self.desk);
        let mut core = self.desk.lock();
        core.stats.calls += 1;
        let body = call.body;
        let done = match call.method {
            "configure" => configure(&mut core, Request::read(body)?),
            "note" => note(&mut core, Request::read(body)?),
            "feedback" => feedback(&mut core, Request::read(body)?),
            "pin" => {
                let request = requests::Pin::read(body)?;
                let ts = request.ts.clone();
                let subject = pin(&mut core, request)?;
                let reply = reply(&replies::Pinned { pinned: core.ledger.pins.len() });
                let marked = marked(&core, |mark| covers(&subject, mark));
                return Ok(spare(desk, marked, ts, reply));
            }
            "unpin" => {
                let request = requests::Pin::read(body)?;
                unpin(&mut core, &request)?;
                reply(&replies::Pinned { pinned: core.ledger.pins.len() })
            }
            "hold" => {
                let request = requests::Hold::read(body)?;
                let (ts, name) = (request.ts.clone(), request.name.clone());
                let held = hold(&mut core, request)?;
                let reply = reply(&replies::Held { held });
                let marked = match core.ledger.holds.get(&name) {
                    Some(hold) => marked(&core, |mark| {
                        let refs = hold.refs.iter().copied().map(Subject::Ref);
                        let runs = hold.runs.iter().cloned().map(Subject::Run);
                        refs.chain(runs).any(|subject| covers(&subject, mark))
                    }),
                    None => Vec::new(),
                };
                return Ok(spare(desk, marked, ts, reply));
            }
            "release_hold" => {
                release(&mut core, requests::Hold::read(body)?)?;
                reply(&replies::Held { held: core.ledger.held_count() })
            }
            "taught" => {
                let requests::Taught { policy, refs, gain, ts } = Request::read(body)?;
                core.commit(Record::Taught(Taught { policy, refs, gain, ts }))?;
                reply(&replies::Empty {})
            }
            "report" => requests::Nothing::read(body).and_then(|_| report(&core)),
            "proofs" => proofs(&core, &Request::read(body)?),
            "holds" => holds(&core, &Request::read(body)?),
            "events" => events(&core, &Request::read(body)?),
            "cleanup" => {
                let request = requests::Cleanup::read(body)?;
                let (remove, leases) = request.remove();
                reply(&replies::Cleaned { remove, leases })
            }
            "stats" => {
                requests::Nothing::read(body)?;
                let mut stats = core.stats.clone();
                stats.waiting = (self.jobs.len() + self.queue.len()) as u64;
                stats.journal_bytes = core.store.bytes();
                reply(&stats)
            }
            "plan" => {
                let request = requests::Plan::read(body)?;
                let now = instant::read(&request.ts).unwrap_or_default();
                core.stats.plans += 1;
                return Ok(Handled::Job(
                    true,
                    Box::pin(async move { plan(&desk, request, now).await }),
                ));
            }
            "run" => {
                let request = requests::Run::read(body)?;
                let now = instant::read(&request.ts).unwrap_or_default();
                core.stats.runs += 1;
                return Ok(Handled::Job(
                    true,
                    Box::pin(async move { run(&desk, request, now).await }),
                ));
            }
            "restore" => {
                let request = requests::Restore::read(body)?;
                core.stats.restores += 1;
                return Ok(Handled::Job(
                    true,
                    Box::pin(async move { restore(&desk, request).await }),
                ));
            }
            "training" => {
                let request = requests::Training::read(body)?;
                return Ok(Handled::Job(
                    true,
                    Box::pin(async move { training(&desk, request).await }),
                ));
            }
            other => Err(no_method(crate::CAPABILITY, other)),
        };
        Ok(Handled::Now(done))
    }

    /// Lets every job go on as far as it can.
    fn advance(&mut self, out: &mut Effects) {
        for (call, error) in self.lost.drain(..) {
            out.now(Effect::Answer { call, outcome: Err(error) });
        }
        let mut context = Context::from_waker(Waker::noop());
        let mut place = 0;
        loop {
            if !self.jobs.iter().any(|job| job.heavy) {
                self.jobs.extend(self.queue.pop_front());
            }
            let Some(job) = self.jobs.get_mut(place) else { break };
            match job.work.as_mut().poll(&mut context) {
                Poll::Pending => place += 1,
                Poll::Ready(outcome) => {
                    let Job { call, .. } = self.jobs.remove(place);
                    self.desk.lock().push(Effect::Answer { call, outcome });
                }
            }
        }
        for (effect, rests) in self.desk.lock().take_effects() {
            if rests {
                out.after_flush(effect)
            } else {
                out.now(effect)
            }
        }
    }
}

fn configure<S: Storage>(core: &mut Core<S>, config: Config) -> Outcome {
    let digest = digest(&config)?;
    core.commit(Record::Configured { config, digest: digest.clone() })?;
    reply(&replies::Configured { digest })
}

fn note<S: Storage>(core: &mut Core<S>, request: requests::Note) -> Outcome {
    let print = request.print()?;
    if let Some(reply) = core.ledger.known(&request.id, &print)? {
        return Ok(reply);
    }
    let reply = reply(&replies::Empty {})?;
    core.commit(Record::Noted { run: request.run, outcome: request.outcome })?;
    core.commit(Record::Did { id: request.id, print, reply: reply.clone() })?;
    Ok(reply)
}

fn feedback<S: Storage>(core: &mut Core<S>, request: requests::Feedback) -> Outcome {
    let print = request.print()?;
    if let Some(reply) = core.ledger.known(&request.id, &print)? {
        return Ok(reply);
    }
    let reply = reply(&replies::Empty {})?;
    let subject = subject(request.reference, request.run.as_ref())?;
    let word = Word { who: request.who, why: request.why.unwrap_or_default(), ts: request.ts };
    core.commit(Record::Feedback { subject, sum: request.score, count: 1, word })?;
    core.commit(Record::Did { id: request.id, print, reply: reply.clone() })?;
    Ok(reply)
}

fn full(what: &str, most: usize) -> BusError {
    BusError::new(Code::Overloaded, format!("there are {most} {what}")).help("take some back")
}

fn pin<S: Storage>(core: &mut Core<S>, request: requests::Pin) -> Result<Subject, BusError> {
    let subject = subject(request.reference, request.run.as_ref())?;
    if core.ledger.pins.len() >= MAX_PINS && !core.ledger.pins.contains_key(&subject) {
        return Err(full("pins", MAX_PINS));
    }
    let new = !core.ledger.pins.contains_key(&subject);
    let word = Word { who: request.who, why: request.why, ts: request.ts };
    core.commit(Record::Pinned { subject: subject.clone(), word: Some(word.clone()) })?;
    if new {
        said(core, Kind::Pinned, &subject.to_string(), 1, &word)?;
    }
    Ok(subject)
}

fn unpin<S: Storage>(core: &mut Core<S>, request: &requests::Pin) -> Result<(), BusError> {
    let subject = subject(request.reference, request.run.as_ref())?;
    if core.ledger.pins.contains_key(&subject) {
        let requests::Pin { who, why, ts, .. } = request;
        let word = Word { who: who.clone(), why: why.clone(), ts: ts.clone() };
        said(core, Kind::Unpinned, &subject.to_string(), 1, &word)?;
        core.commit(Record::Pinned { subject, word: None })?;
    }
    Ok(())
}

/// Somebody's word on artifacts is an event.
fn said<S: Storage>(
    core: &mut Core<S>,
    kind: Kind,
    name: &str,
    items: usize,
    word: &Word,
) -> Result<(), BusError> {
    let Word { who, why, ts } = word;
    let amount = Amount { items: items as u64, bytes: 0 };
    core.tell(kind, Told { name, ts, who: Some(who), why: Some(why) }, amount)
}

fn hold<S: Storage>(core: &mut Core<S>, request: requests::Hold) -> Result<usize, BusError> {
    let requests::Hold { name, mut refs, mut runs, who, why, ts } = request;
    if refs.is_empty() && runs.is_empty() {
        let error = BusError::new(Code::BadRequest, "a hold is of artifacts or runs, or of both");
        return Err(error.at("refs").help("name at least one"));
    }
    if core.ledger.holds.len() >= MAX_HOLDS && !core.ledger.holds.contains_key(&name) {
        return Err(full("holds", MAX_HOLDS));
    }
    if core.ledger.held_count() + refs.len() + runs.len() > MAX_HELD {
        return Err(full("artifacts and runs under hold", MAX_HELD));
    }
    let before = core.ledger.holds.get(&name);
    let had = before.map_or(0, Hold::len);
    if let Some(before) = before {
        refs.extend(&before.refs);
        runs.extend(before.runs.iter().cloned());
    }
    let hold = Hold { refs, runs, word: Word { who, why, ts } };
    if hold.len() > MAX_OF_HOLD {
        let message = format!("a hold is of at most {MAX_OF_HOLD} artifacts and runs");
        return Err(BusError::new(Code::Overloaded, message).at("refs").help("begin another hold"));
    }
    if hold.len() > had {
        said(core, Kind::Held, &name, hold.len() - had, &hold.word)?;
    }
    core.commit(Record::Held { name, hold: Some(hold) })?;
    Ok(core.ledger.held_count())
}

/// All of a hold, or what is named of it.
fn release<S: Storage>(core: &mut Core<S>, request: requests::Hold) -> Result<(), BusError> {
    let requests::Hold { name, refs, runs, who, why, ts } = request;
    let Some(hold) = core.ledger.holds.get(&name) else {
        let message = format!("there is no hold {:?}", short(&name));
        return Err(BusError::new(Code::NotFound, message).at("name"));
    };
    let strange = refs.difference(&hold.refs).next().map(ToString::to_string);
    if let Some(strange) = strange.or_else(|| runs.difference(&hold.runs).next().cloned()) {
        let message = format!("{} is not under the hold {:?}", short(&strange), short(&name));
        return Err(BusError::new(Code::NotFound, message).at("refs"));
    }
    let all = refs.is_empty() && runs.is_empty();
    let rest = Hold {
        refs: hold.refs.difference(&refs).copied().collect(),
        runs: hold.runs.difference(&runs).cloned().collect(),
        word: hold.word.clone(),
    };
    let gone = if all { hold.len() } else { hold.len() - rest.len() };
    let word = Word { who, why, ts };
    said(core, Kind::Released, &name, gone, &word)?;
    core.commit(Record::Held { name, hold: (!all && !rest.is_empty()).then_some(rest) })
}

fn covers(subject: &Subject, mark: &Mark) -> bool {
    match subject {
        Subject::Ref(reference) => mark.reference == *reference || mark.whole == Some(*reference),
        Subject::Run(run) => mark.runs.contains(run),
    }
}

/// What is marked of that: a folder with all its files, even if only one of them is meant.
fn marked<S: Storage>(core: &Core<S>, meant: impl Fn(&Mark) -> bool) -> Vec<Reference> {
    let marks = core.ledger.marks.values();
    let wholes: std::collections::BTreeSet<Reference> = marks
        .clone()
        .filter(|mark| meant(mark))
        .map(|it| it.whole.unwrap_or(it.reference))
        .collect();
    let all = marks.filter(|mark| wholes.contains(&mark.whole.unwrap_or(mark.reference)));
    all.map(|mark| mark.reference).collect()
}

/// Answers once the store has taken these marks back. A sweep that is under way was asked for before: the store
/// has ended it when it answers this.
fn spare<S: Disk>(
    desk: Arc<Desk<S>>,
    marked: Vec<Reference>,
    ts: String,
    reply: Outcome,
) -> Handled {
    if marked.is_empty() {
        return Handled::Now(reply);
    }
    Handled::Job(
        false,
        Box::pin(async move {
            unmark(&desk, &marked, "pinned or held", &ts).await.map_err(|miss| {
                BusError::from(miss)
                    .help("it is written down, but may be swept just now: repeat the call")
            })?;
            reply
        }),
    )
}

fn report<S: Storage>(core: &Core<S>) -> Outcome {
    let mut tiers = BTreeMap::new();
    let cold = core.ledger.proofs.values().filter(|proof| proof.freed.is_some());
    let tier: &mut crate::record::Amount = tiers.entry("cold").or_default();
    cold.for_each(|proof| tier.add(proof.bytes));
    if let Some(kept) = &core.plan {
        for (item, _, _) in &kept.items {
            let packed = core.ledger.is_packed(&item.reference);
            tiers.entry(if packed { "packed" } else { "hot" }).or_default().add(item.bytes);
        }
    }
    let totals = &core.ledger.totals;
    reply(&replies::Report {
        tiers,
        freed: totals.freed.bytes,
        deleted: totals.deleted.bytes,
        archived: totals.archived.bytes,
        restored: totals.restored.bytes,
        proofs: core.ledger.proofs.len(),
        marked: core.ledger.marks.len(),
        pins: core.ledger.pins.len(),
        holds: core.ledger.holds.len(),
        last: core.ledger.last.as_ref(),
        stopped: core.ledger.last.as_ref().and_then(|last| last.stopped.as_deref()),
    })
}

fn proofs<S: Storage>(core: &Core<S>, request: &requests::Proofs) -> Outcome {
    let requests::Proofs { away, run, begins, .. } = request;
    let wanted = |proof: &&Proof| {
        away.is_none_or(|away| proof.freed.is_some() == away)
            && run.as_ref().is_none_or(|run| proof.runs.contains(run))
            && begins.as_ref().is_none_or(|it| proof.reference.to_string().starts_with(it.as_str()))
    };
    let all = &core.ledger.proofs;
    let after = request.after;
    if let Some(whole) = begins.as_ref().and_then(|it| it.parse::<Reference>().ok()) {
        let one = core.ledger.proof(&whole).filter(wanted);
        let one = one.filter(|_| after.is_none());
        return reply(&replies::Proofs { proofs: one.into_iter().collect(), next: None });
    }
    let (proofs, more) = if request.newest {
        let below = all.range(..after.unwrap_or(u64::MAX)).rev();
        cut(below.map(|(_, proof)| proof).filter(wanted), request.limit)
    } else {
        let above = all.range(after.map_or(0, |after| after.saturating_add(1))..);
        cut(above.map(|(_, proof)| proof).filter(wanted), request.limit)
    };
    let next = proofs.last().filter(|_| more).map(|last| last.number);
    reply(&replies::Proofs { proofs, next })
}

fn events<S: Storage>(core: &Core<S>, request: &requests::Events) -> Outcome {
    let told = core.ledger.told.iter();
    let after = request.after;
    let (events, more) = if request.newest {
        let below = told.rev().filter(|it| after.is_none_or(|after| it.number < after));
        cut(below, request.limit)
    } else {
        cut(told.filter(|it| after.is_none_or(|after| it.number > after)), request.limit)
    };
    let next = events.last().filter(|_| more).map(|last| last.number);
    reply(&replies::Events { events, next })
}

/// A page, and whether there is more.
fn cut<T>(mut all: impl Iterator<Item = T>, limit: usize) -> (Vec<T>, bool) {
    let page = all.by_ref().take(limit).collect();
    (page, all.next().is_some())
}

fn holds<S: Storage>(core: &Core<S>, request: &requests::Holds) -> Outcome {
    let from = request.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut size = 0;
    let mut all = core.ledger.holds.range::<String, _>((from, Bound::Unbounded));
    let mut holds: Vec<replies::HoldRow<'_>> = Vec::new();
    let mut more = false;
    for (name, hold) in all.by_ref() {
        let runs: Vec<&str> = hold.runs.iter().map(String::as_str).take(SHOWN_OF_HOLD).collect();
        let refs: Vec<Reference> = hold.refs.iter().copied().take(SHOWN_OF_HOLD).collect();
        let Word { who, why, ts } = &hold.word;
        size += 200 + name.len() + who.len() + why.len() + 80 * refs.len();
        size += runs.iter().map(|run| run.len() + 5).sum::<usize>();
        more = holds.len() == request.limit || (size > PAGE_BYTES && !holds.is_empty());
        if more {
            break;
        }
        holds.push(replies::HoldRow { name, held: hold.len(), refs, runs, who, why, ts });
    }
    let next = holds.last().filter(|_| more).map(|last| last.name);
    reply(&replies::Holds { holds, next })
}

impl<S: Disk> Reactor for Curator<S> {
    fn call(&mut self, id: CallId, call: Call<'_>, now: Now, out: &mut Effects) {
        self.desk.lock().now = now;
        match self.dispatch(call).unwrap_or_else(|error| Handled::Now(Err(error))) {
            Handled::Now(outcome) => self.desk.lock().push(Effect::Answer { call: id, outcome }),
            Handled::Job(..) if self.jobs.len() + self.queue.len() >= MAX_JOBS => {
                let error = BusError::new(Code::Overloaded, "too many calls wait for the curator");
                let outcome = Err(error.retry_after_ms(1_000));
                self.desk.lock().push(Effect::Answer { call: id, outcome });
            }
            Handled::Job(heavy, work) => {
                let job = Job { call: id, heavy, work };
                if heavy {
                    self.queue.push_back(job)
                } else {
                    self.jobs.push(job)
                }
            }
        }
        self.advance(out);
    }

    fn cancelled(&mut self, id: CallId, now: Now, out: &mut Effects) {
        self.desk.lock().now = now;
        let before = self.jobs.len() + self.queue.len();
        self.jobs.retain(|job| job.call != id);
        self.queue.retain(|job| job.call != id);
        if self.jobs.len() + self.queue.len() < before {
            let error = BusError::new(Code::Cancelled, "the caller wants it no more")
                .help("what was done is written down; the same call goes on from there");
            self.desk.lock().push(Effect::Answer { call: id, outcome: Err(error) });
        }
        self.advance(out);
    }

    fn heard(&mut self, token: Token, outcome: Outcome, now: Now, out: &mut Effects) {
        {
            let mut core = self.desk.lock();
            core.now = now;
            core.hear(token, outcome);
        }
        self.advance(out);
    }

    fn tick(&mut self, now: Now, out: &mut Effects) {
        self.desk.lock().now = now;
        self.advance(out);
    }

    fn wakeup(&self) -> Option<u64> {
        let core = self.desk.lock();
        if self.lost.is_empty() {
            core.wakeup()
        } else {
            Some(core.now.mono_ms)
        }
    }

    fn flush(&mut self) -> Result<(), BusError> {
        let mut core = self.desk.lock();
        let flushed = core.store.flush();
        match &flushed {
            Ok(()) => {
                let Core { store, ledger, .. } = &mut *core;
                store.compact(ledger);
            }
            Err(error) => {
                match core.store.replay() {
                    Ok(ledger) => core.ledger = ledger,
                    Err(fault) => self.broken = Some(fault),
                }
                core.plan = None;
                drop(core);
                // What they rested on did not happen. Asked again, they go on from what is durable.
                let jobs = self.jobs.drain(..).chain(self.queue.drain(..));
                self.lost.extend(jobs.map(|job| (job.call, error.clone())));
            }
        }
        flushed
    }
}
