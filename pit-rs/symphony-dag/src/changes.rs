//! The methods of `pit.dag/1` that change the plan of a run, or return it to a checkpoint.

use symphony_journal::Storage;
use symphony_wire::service::{parse, reply, Outcome};
use symphony_wire::{BusError, Code, Value};

use crate::change::Change;
use crate::history;
use crate::record::{Growth, Kind, Record, Redone, RolledBack};
use crate::recovery;
use crate::replies;
use crate::requests;
use crate::shelf::log_error;
use crate::state::Run;
use crate::tracker::Tracker;

fn conflict(message: &str) -> BusError {
    BusError::new(Code::Conflict, message).at("id")
}

fn changed(run: &Run, id: &str) -> Outcome {
    match run.change(id) {
        Some(Change::Stands { index, ready, left, round }) => {
            let round = (*round > 0).then_some(*round);
            let ready = run.plan.ranked(ready.clone());
            reply(&replies::Changed { index: *index, ready, left: *left, round })
        }
        _ => Err(BusError::new(Code::Internal, "the change was not noted")),
    }
}

impl<S: Storage> Tracker<S> {
    pub(crate) fn grow(&mut self, request: requests::Grow) -> Outcome {
        let (run, ts) = (request.run.clone(), request.ts.clone());
        self.extend(&run, &ts, Kind::Grown, request.into_growth())
    }

    pub(crate) fn reroute(&mut self, request: requests::Reroute) -> Outcome {
        let (run, ts) = (request.run.clone(), request.ts.clone());
        self.extend(&run, &ts, Kind::Rerouted, request.into_growth())
    }

    fn extend(&mut self, run: &str, ts: &str, kind: Kind, mut growth: Growth) -> Outcome {
        let id = growth.id.clone();
        self.settled(run, ts)?;
        if !self.is_repeated(run, &id, kind, |record| {
            let known: Growth = record.read()?;
            Ok(Growth { learned: Vec::new(), ..known } == growth)
        })? {
            growth.learned = self.estimates(&Value::Nil, &growth.steps);
            self.slot(run)?.run.review_growth(kind, &growth)?;
            let record = Record::new(kind, ts).data(growth)?;
            self.shelf.commit(run, vec![record], true)?;
        }
        changed(&self.slot(run)?.run, &id)
    }

    pub(crate) fn redo(&mut self, request: requests::Redo) -> Outcome {
        let requests::Redo { run, steps, id, ts } = request;
        let redone = Redone { id, steps };
        self.settled(&run, &ts)?;
        let alike = |record: &Record| Ok(record.read::<Redone>()? == redone);
        if !self.is_repeated(&run, &redone.id, Kind::Redone, alike)? {
            self.slot(&run)?.run.review_redo(&redone)?;
            let record = Record::new(Kind::Redone, &ts).data(&redone)?;
            self.shelf.commit(&run, vec![record], true)?;
        }
        changed(&self.slot(&run)?.run, &redone.id)
    }

    pub(crate) fn rollback(&mut self, request: requests::Rollback) -> Outcome {
        let requests::Rollback { run, to, id, ts } = request;
        let back = RolledBack { id, to };
        self.settled(&run, &ts)?;
        let alike = |record: &Record| Ok(record.read::<RolledBack>()? == back);
        if !self.is_repeated(&run, &back.id, Kind::RolledBack, alike)? {
            let slot = self.slot(&run)?;
            if to > slot.run.last {
                let message = format!("the run has {} records", slot.run.last);
                return Err(BusError::new(Code::BadRequest, message).at("to"));
            }
            let earlier = history::after(&slot.log, to).map_err(|error| error.named(&run))?;
            earlier.review_return(&back)?;
            let mut records = earlier.cascade(None, &ts)?;
            records.insert(0, Record::new(Kind::RolledBack, &ts).data(&back)?);
            self.shelf.turn_back(&run, earlier, records)?;
        }
        let slot = self.slot(&run)?;
        let Some(Change::Stands { index, .. }) = slot.run.change(&back.id) else {
            return Err(BusError::new(Code::Internal, "the rollback was not noted"));
        };
        let state = replies::state(&run, &slot.run, slot.cut, None)?;
        reply(&replies::RolledBack { index: *index, to, run: state })
    }

    /// Whether there was this very change before. Another one with its id is refused, and so is one that a
    /// rollback took back.
    fn is_repeated(
        &mut self,
        run: &str,
        id: &str,
        kind: Kind,
        alike: impl Fn(&Record) -> Result<bool, BusError>,
    ) -> Result<bool, BusError> {
        let slot = self.slot(run)?;
        let (index, stands) = match slot.run.change(id) {
            None => return Ok(false),
            Some(Change::Stands { index, .. }) => (*index, true),
            Some(Change::Abandoned { index }) => (*index, false),
        };
        let mut found = Ok(false);
        let place = usize::try_from(index - 1).unwrap_or(usize::MAX);
        slot.log
            .read(place..place.saturating_add(1), |payload| {
                let record = Record::decode(index, payload);
                found = record.and_then(|record| Ok(record.kind == kind && alike(&record)?));
                false
            })
            .map_err(|error| log_error(run, &error))?;
        match (found?, stands) {
            (true, true) => Ok(true),
            (true, false) => Err(conflict("a rollback took this change back")),
            (false, _) => Err(conflict("another change has this id")),
        }
    }

    pub(crate) fn plan(&mut self, request: requests::Plan) -> Outcome {
        self.learn();
        let name = request.run.clone();
        self.slot(&name)?;
        let run = self.shelf.peek(&name);
        let run = run.ok_or_else(|| BusError::new(Code::Internal, "the run left memory"))?;
        let table = self.memory.table(&self.shelf.storage);
        reply(&recovery::plan(run, table, &request)?)
    }

    pub(crate) fn learned(&mut self, body: &[u8]) -> Outcome {
        const MOST: usize = 1_000;
        let requests::Learned { player, kind, limit, after } = parse(body)?;
        let mut lines = self.learn().snapshot();
        lines.retain(|line| {
            let wanted =
                |wish: &Option<String>, is: &str| wish.as_deref().is_none_or(|it| it == is);
            let place = (&*line.kind, &*line.player);
            let behind = after.as_ref().is_none_or(|(kind, player)| place > (kind, player));
            wanted(&player, &line.player) && wanted(&kind, &line.kind) && behind
        });
        let more = lines.len() > limit.clamp(1, MOST);
        lines.truncate(limit.clamp(1, MOST));
        reply(&replies::Learned { pairs: lines.iter().map(replies::Pair::from).collect(), more })
    }
}
