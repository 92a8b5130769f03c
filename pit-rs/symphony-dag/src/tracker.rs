//! The methods of `pit.dag/1`.

use std::collections::HashSet;

use symphony_journal::Storage;
use symphony_member::no_method;
use symphony_wire::service::{parse, reply, Answer, Call, Outcome, Service};
use symphony_wire::{BusError, Code, Value};

use crate::catalogue::Catalogue;
use crate::learned::Table;
use crate::melody::{self, Note};
use crate::memory::Memory;
use crate::names::check_run;
use crate::record::{self, Kind, Record};
use crate::replies::{self, MAX_RECORD, ROOM};
use crate::requests::{self, Request};
use crate::shelf::{log_error, Shelf, Slot};
use crate::spec::{Learned, StepSpec};
use crate::state::{News, Run};
use crate::table::{Event, StepState};

/// Room that each step's entry in a list of replies takes beyond what it takes in the record.
const RANK_ROOM: usize = 8;

/// All runs of one store.
pub struct Tracker<S: Storage> {
    pub(crate) shelf: Shelf<S>,
    pub(crate) catalogue: Catalogue,
    pub(crate) memory: Memory<S::File>,
}

/// How a step is to end.
struct Ending<'a> {
    run: &'a str,
    step: &'a str,
    event: Event,
    attempt: Option<u32>,
    /// What a repetition must have in common.
    verdict: Value,
    record: Record,
}

impl<S: Storage> Tracker<S> {
    pub fn new(storage: S) -> Self {
        Self { shelf: Shelf::new(storage), catalogue: Catalogue::default(), memory: Memory::new() }
    }

    fn answer<R: Request>(&mut self, body: &[u8], act: fn(&mut Self, R) -> Outcome) -> Answer {
        let request: R = match parse(body) {
            Ok(request) => request,
            Err(error) => return Answer::Now(Err(error)),
        };
        if let Err(error) = check_run(request.run()).and_then(|()| request.check()) {
            return Answer::Now(Err(error));
        }
        let run = request.run().to_owned();
        let outcome = act(self, request);
        self.release(Some(&run), outcome)
    }

    /// Whatever is said about a run with records that are not on disk yet, waits until they are.
    fn release(&self, run: Option<&str>, outcome: Outcome) -> Answer {
        if self.shelf.is_waiting(run) {
            Answer::AfterFlush(outcome)
        } else {
            Answer::Now(outcome)
        }
    }

    pub(crate) fn slot(&mut self, run: &str) -> Result<&mut Slot<S::File>, BusError> {
        let found = self.shelf.find(run)?;
        found.ok_or_else(|| {
            BusError::new(Code::NotFound, format!("there is no run {run}")).at("run")
        })
    }

    /// The run, after the records that a crash kept from following its last one.
    pub(crate) fn settled(&mut self, run: &str, ts: &str) -> Result<&mut Slot<S::File>, BusError> {
        self.catalogue.changing(run);
        let owed = self.slot(run)?.run.cascade(None, ts)?;
        if !owed.is_empty() {
            self.shelf.commit(run, owed, true)?;
        }
        self.slot(run)
    }

    fn open(&mut self, request: requests::Open) -> Outcome {
        let requests::Open { run, melody, version, digest, document, inputs, steps, ts } = request;
        if let Some(slot) = self.shelf.find(&run)? {
            let head = &slot.run.head;
            if head.digest != digest || !record::same(&head.inputs, &inputs) {
                let other = if head.digest == digest { "inputs" } else { "digest" };
                let message = format!("run {run} exists with another {other}");
                return Err(BusError::new(Code::Conflict, message).at(other));
            }
            return opened(&slot.run);
        }
        let count = steps.len();
        let learned = self.estimates(&document, &steps);
        let data = record::Opened { melody, version, digest, document, inputs, steps, learned };
        let mut record = Record { index: 1, ..Record::new(Kind::Opened, &ts).data(&data)? };
        let room =
            |record: &Record| Ok::<usize, BusError>(record.encode()?.len() + count * RANK_ROOM);
        let mut size = room(&record)?;
        if size > MAX_RECORD && !data.learned.is_empty() {
            // Estimates are dispensable.
            record = record.data(record::Opened { learned: Vec::new(), ..data })?;
            size = room(&record)?;
        }
        let state = Run::open(&record)?;
        if size > MAX_RECORD {
            // The state with its document and its ready steps must fit in one reply.
            return Err(BusError::new(Code::BadRequest, format!("the run takes {size} bytes"))
                .at(format!("size: at most {MAX_RECORD} bytes"))
                .help("pass large inputs as artifacts or files"));
        }
        self.catalogue.changing(&run);
        self.catalogue.opened(&run, &ts);
        match self.shelf.create(&run, &record, state) {
            Ok(state) => opened(state),
            Err(error) => {
                self.catalogue.forget();
                Err(error)
            }
        }
    }

    /// What is known of the steps whose estimate nobody told, from earlier attempts.
    pub(crate) fn estimates(&mut self, document: &Value, steps: &[StepSpec]) -> Learned {
        let notes = melody::notes(document);
        let mut known: HashSet<(Option<&str>, &str)> = HashSet::new();
        let mut learned = Vec::new();
        for spec in steps.iter().filter(|spec| spec.estimate_ms.is_none()) {
            let note = notes.get(spec.id.as_str());
            let player = note.and_then(|note| note.player);
            let Some(kind) = spec.kind.as_deref().or(note.and_then(Note::kind)) else { continue };
            if known.insert((player, kind)) {
                let expected = self.memory.table(&self.shelf.storage).expected(player, kind);
                learned.extend(expected.map(|ms| (player.map(str::to_owned), kind.to_owned(), ms)));
            }
        }
        learned
    }

    /// Learns from the attempts that are not counted yet.
    fn feed(&mut self) {
        let samples = self.shelf.take_samples();
        self.memory.feed(&self.shelf.storage, samples);
    }

    /// What was learned, the latest included.
    pub(crate) fn learn(&mut self) -> &Table {
        self.feed();
        self.memory.table(&self.shelf.storage)
    }

    fn append(&mut self, request: requests::Append) -> Outcome {
        let (run, durable) = (request.run.clone(), request.durable);
        let mut records = request.into_records()?;
        let ts = records[0].ts.clone();
        let state = &self.settled(&run, &ts)?.run;
        state.review(&mut records)?;
        let first = state.last + 1;
        let last = state.last + records.len() as u64;
        self.shelf.commit(&run, records, durable)?;
        reply(&replies::Appended { first, last })
    }

    fn complete(&mut self, request: requests::Complete) -> Outcome {
        let requests::Complete { run, step, attempt, outputs, quality, data, ts } = request;
        let verdict = outputs.clone();
        let record = Record::new(Kind::Completed, &ts)
            .step(&step)
            .attempt(attempt)
            .data(record::Completed { outputs, quality, data })?;
        let attempt = Some(attempt);
        let event = Event::Completed;
        let (state, step) =
            self.end(Ending { run: &run, step: &step, event, attempt, verdict, record })?;
        let effect = state.effect(step);
        let ready = state.plan.ranked(effect.ready);
        reply(&replies::Completed { index: effect.index, ready, left: effect.left })
    }

    fn fail(&mut self, request: requests::Fail) -> Outcome {
        let requests::Fail { run, step, attempt, error, ts } = request;
        let verdict = error.clone();
        let record = Record::new(Kind::Failed, &ts).step(&step).attempt(attempt);
        let record = Record { for_good: true, ..record.data(record::Failure { error })? };
        let attempt = Some(attempt);
        let event = Event::Failed;
        let (state, step) =
            self.end(Ending { run: &run, step: &step, event, attempt, verdict, record })?;
        reply(&replies::ended(state, &state.effect(step)))
    }

    fn skip(&mut self, request: requests::Skip) -> Outcome {
        let requests::Skip { run, step, reason, ts } = request;
        let verdict = Value::from(reason.as_str());
        let record =
            Record::new(Kind::Skipped, &ts).step(&step).data(record::Skipped { reason })?;
        let event = Event::Skipped;
        let (state, step) =
            self.end(Ending { run: &run, step: &step, event, attempt: None, verdict, record })?;
        reply(&replies::ended(state, &state.effect(step)))
    }

    /// Ends a step, with everything that follows from it, unless it has ended so before.
    fn end(&mut self, ending: Ending<'_>) -> Result<(&Run, u32), BusError> {
        let Ending { run, step, event, attempt, verdict, record } = ending;
        let state = &self.settled(run, &record.ts)?.run;
        let step = state.number(step)?;
        if state.review_end(step, event, attempt, &verdict)? == News::Fresh {
            let mut records = match event {
                Event::Completed => Vec::new(),
                Event::Failed => state.cascade(Some((step, StepState::Failed)), &record.ts)?,
                _ => state.cascade(Some((step, StepState::Skipped)), &record.ts)?,
            };
            records.insert(0, record);
            self.shelf.commit(run, records, true)?;
        }
        Ok((&self.slot(run)?.run, step))
    }

    fn finish(&mut self, request: requests::Finish) -> Outcome {
        let requests::Finish { run, outcome, data, ts } = request;
        let state = &self.settled(&run, &ts)?.run;
        let index = match &state.end {
            Some(end) if end.outcome == outcome => end.index,
            _ => {
                state.check_open()?;
                let index = state.last + 1;
                let data = record::Finished { outcome, data };
                let record = Record::new(Kind::Finished, &ts).data(data)?;
                self.shelf.commit(&run, vec![record], true)?;
                index
            }
        };
        reply(&replies::Finished { index })
    }

    fn resume(&mut self, request: requests::Resume) -> Outcome {
        let requests::Resume { run, ts } = request;
        let state = &self.settled(&run, &ts)?.run;
        state.check_open()?;
        let from = state.last;
        self.shelf.commit(&run, vec![Record::new(Kind::Resumed, &ts)], true)?;
        let slot = self.slot(&run)?;
        let state = replies::state(&run, &slot.run, slot.cut, None)?;
        reply(&replies::Resumed { index: from + 1, from, run: state })
    }

    fn state(&mut self, request: requests::State) -> Outcome {
        let slot = self.slot(&request.run)?;
        reply(&replies::state(&request.run, &slot.run, slot.cut, request.after)?)
    }

    fn journal(&mut self, request: requests::Journal) -> Outcome {
        let requests::Journal { run, after, limit } = request;
        let log = &self.slot(&run)?.log;
        let first = usize::try_from(after).unwrap_or(usize::MAX).min(log.count());
        let last = first.saturating_add(limit.max(1)).min(log.count());
        let mut records = Vec::new();
        let mut fault = None;
        let mut room = ROOM;
        log.read(first..last, |payload| {
            if payload.len() > room && !records.is_empty() {
                return false;
            }
            room = room.saturating_sub(payload.len());
            match Record::decode((first + records.len()) as u64 + 1, payload) {
                Ok(record) => records.push(record),
                Err(error) => fault = Some(error),
            }
            fault.is_none()
        })
        .map_err(|error| log_error(&run, &error))?;
        if let Some(fault) = fault {
            return Err(fault);
        }
        let more = first + records.len() < log.count();
        reply(&replies::Journal { records, more })
    }

    fn runs(&mut self, body: &[u8]) -> Outcome {
        let requests::Runs { limit, before } = parse(body)?;
        before.as_deref().map_or(Ok(()), check_run).map_err(|error| error.at("before"))?;
        // A summary takes a few hundred bytes at most, names of Melodies apart.
        const MOST: usize = 1_000;
        let limit = limit.clamp(1, MOST);
        let runs = self.catalogue.page(&mut self.shelf, limit, before.as_deref())?;
        reply(&replies::Runs { runs })
    }
}

fn opened(run: &Run) -> Outcome {
    let first = (0..).zip(&run.cells).filter(|(_, cell)| cell.first).map(|(step, _)| step);
    let ready = run.plan.ranked(first.collect());
    reply(&replies::Opened { index: 1, ready, steps: run.opened_with })
}

impl<S: Storage> Service for Tracker<S> {
    fn call(&mut self, call: Call<'_>) -> Answer {
        match call.method {
            "open" => self.answer(call.body, Self::open),
            "append" => self.answer(call.body, Self::append),
            "complete" => self.answer(call.body, Self::complete),
            "fail" => self.answer(call.body, Self::fail),
            "skip" => self.answer(call.body, Self::skip),
            "finish" => self.answer(call.body, Self::finish),
            "resume" => self.answer(call.body, Self::resume),
            "state" => self.answer(call.body, Self::state),
            "journal" => self.answer(call.body, Self::journal),
            "grow" => self.answer(call.body, Self::grow),
            "reroute" => self.answer(call.body, Self::reroute),
            "redo" => self.answer(call.body, Self::redo),
            "rollback" => self.answer(call.body, Self::rollback),
            "plan" => self.answer(call.body, Self::plan),
            "learned" => Answer::Now(self.learned(call.body)),
            "runs" => {
                let outcome = self.runs(call.body);
                self.release(None, outcome)
            }
            other => Answer::Now(Err(no_method(crate::CAPABILITY, other))),
        }
    }

    fn flush(&mut self) -> Result<(), BusError> {
        let result = self.shelf.flush();
        match result {
            Ok(()) => self.feed(),
            Err(_) => self.catalogue.forget(),
        }
        result
    }
}
