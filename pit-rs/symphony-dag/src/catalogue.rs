//! The list of all runs, newest first, made when it is first asked for.
//!
//! The order takes the first record of each journal; a page takes one pass over the journals of its runs
//! that are not in memory, without rebuilding their state unless the run changed. Both are remembered: the order with
//! about a hundred bytes a run.

use std::collections::{BTreeSet, HashMap};
use std::io;

use serde::de::IgnoredAny;
use serde::Deserialize;
use symphony_journal::{Frames, Item, Medium, Storage};
use symphony_wire::{BusError, Code};

use crate::names::{file_of, run_of};
use crate::record::{Kind, Outcome};
use crate::replies::{state_name, Summary};
use crate::shelf::{io_error, Shelf};
use crate::state::Run;

/// Summaries that are remembered, a few MiB: beyond that they are made anew when they are asked for.
const MAX_KNOWN: usize = 10_000;

#[derive(Default)]
pub struct Catalogue {
    /// When each run was opened, and its name.
    order: Option<BTreeSet<(String, String)>>,
    /// Of runs that have not changed since.
    known: HashMap<String, Summary>,
}

/// As much of a record as every kind has.
#[derive(Deserialize)]
struct Brief {
    index: u64,
    kind: Kind,
    ts: String,
    #[serde(default, rename = "final")]
    for_good: bool,
}

#[derive(Deserialize)]
struct Head {
    data: HeadData,
}

#[derive(Deserialize)]
struct HeadData {
    melody: String,
    version: String,
    steps: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
struct Tail {
    data: TailData,
}

#[derive(Deserialize)]
struct TailData {
    outcome: Outcome,
}

impl Catalogue {
    /// A run was opened.
    pub fn opened(&mut self, run: &str, ts: &str) {
        if let Some(order) = &mut self.order {
            order.insert((ts.to_owned(), run.to_owned()));
        }
    }

    /// A run is about to change.
    pub fn changing(&mut self, run: &str) {
        self.known.remove(run);
    }

    /// Records were taken back.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Up to `limit` runs that are older than `before`.
    pub fn page<S: Storage>(
        &mut self,
        shelf: &mut Shelf<S>,
        limit: usize,
        before: Option<&str>,
    ) -> Result<Vec<&Summary>, BusError> {
        let order = match self.order.take() {
            Some(order) => order,
            None => order_of(shelf)?,
        };
        let order = self.order.insert(order);
        let newest_first = order.iter().rev();
        let page: Vec<&(String, String)> = match before {
            None => newest_first.take(limit).collect(),
            Some(before) => {
                let mut older = newest_first.skip_while(|(_, run)| run != before);
                older.next().ok_or_else(|| {
                    BusError::new(Code::NotFound, format!("there is no run {before}")).at("before")
                })?;
                older.take(limit).collect()
            }
        };
        if self.known.len() > MAX_KNOWN {
            self.known.clear();
        }
        for (opened, run) in &page {
            if let Some(state) = shelf.peek(run) {
                self.known.insert(run.clone(), summary_of(run, state));
            } else if !self.known.contains_key(run) {
                self.known.insert(run.clone(), summary(shelf, run, opened)?);
            }
        }
        Ok(page.into_iter().filter_map(|(_, run)| self.known.get(run)).collect())
    }
}

fn order_of<S: Storage>(shelf: &mut Shelf<S>) -> Result<BTreeSet<(String, String)>, BusError> {
    let names = shelf.storage.names().map_err(|error| io_error("*", &error))?;
    let mut order = BTreeSet::new();
    let drafts: Vec<String> = shelf.drafts().map(str::to_owned).collect();
    for run in names.iter().filter_map(|name| run_of(name)).chain(drafts.iter().map(String::as_str))
    {
        let opened = match shelf.peek(run) {
            Some(state) => Some(state.opened.clone()),
            None => opened_at(shelf, run)?,
        };
        order.extend(opened.map(|opened| (opened, run.to_owned())));
    }
    Ok(order)
}

/// When the run was opened; nothing, if its journal has no record; empty, if it is damaged.
fn opened_at<S: Storage>(shelf: &mut Shelf<S>, run: &str) -> Result<Option<String>, BusError> {
    let mut opened = None;
    pass(shelf, run, |payload| {
        opened = rmp_serde::from_slice::<Brief>(payload).ok().map(|brief| brief.ts);
        false
    })?;
    if opened.is_some() {
        return Ok(opened);
    }
    match shelf.find(run) {
        Ok(slot) => Ok(slot.map(|slot| slot.run.opened.clone())),
        Err(error) if error.code == Code::Corrupt => Ok(Some(String::new())),
        Err(error) => Err(error),
    }
}

/// Summary of a run that is not in memory.
fn summary<S: Storage>(shelf: &mut Shelf<S>, run: &str, opened: &str) -> Result<Summary, BusError> {
    let mut summary = Summary {
        run: run.to_owned(),
        melody: String::new(),
        version: String::new(),
        state: state_name(None),
        opened: opened.to_owned(),
        finished: None,
        steps: 0,
        ended: 0,
    };
    let mut readable = true;
    let mut index = 0;
    let whole = pass(shelf, run, |payload| {
        index += 1;
        readable = tally(&mut summary, index, payload).unwrap_or(false);
        readable
    })?;
    if readable && whole {
        return Ok(summary);
    }
    // A run that changed, a torn tail, a doubled one or damage: opening the journal tells them apart.
    match shelf.find(run) {
        Ok(Some(slot)) => Ok(summary_of(run, &slot.run)),
        Ok(None) => Ok(summary),
        Err(error) if error.code == Code::Corrupt => Ok(Summary { state: "corrupt", ..summary }),
        Err(error) => Err(error),
    }
}

/// Counts a record. Returns false where counting does not do, for the run changed or the record is out of place.
fn tally(
    summary: &mut Summary,
    index: u64,
    payload: &[u8],
) -> Result<bool, rmp_serde::decode::Error> {
    let brief: Brief = rmp_serde::from_slice(payload)?;
    if brief.index != index {
        return Ok(false);
    }
    match brief.kind {
        Kind::Opened => {
            let Head { data } = rmp_serde::from_slice(payload)?;
            (summary.melody, summary.version) = (data.melody, data.version);
            summary.steps = data.steps.len();
        }
        Kind::Finished => {
            let Tail { data } = rmp_serde::from_slice(payload)?;
            summary.state = state_name(Some(data.outcome));
            summary.finished = Some(brief.ts);
        }
        Kind::Grown | Kind::Rerouted | Kind::Redone | Kind::RolledBack => return Ok(false),
        Kind::Completed | Kind::Skipped => summary.ended += 1,
        Kind::Failed if brief.for_good => summary.ended += 1,
        _ => {}
    }
    Ok(true)
}

/// Passes every payload of the run's journal to `visit` until it returns false. Returns false on damage.
fn pass<S: Storage>(
    shelf: &Shelf<S>,
    run: &str,
    mut visit: impl FnMut(&[u8]) -> bool,
) -> Result<bool, BusError> {
    let mut read = || {
        let file = match shelf.storage.open(&file_of(run)) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut frames = Frames::new(&file, 0, file.len()?);
        loop {
            match frames.read()? {
                Item::Payload(payload) if visit(payload) => {}
                Item::Payload(_) | Item::End => return Ok(true),
                Item::Damage => return Ok(false),
            }
        }
    };
    read().map_err(|error: io::Error| io_error(run, &error))
}

fn summary_of(name: &str, run: &Run) -> Summary {
    Summary {
        run: name.to_owned(),
        melody: run.head.melody.clone(),
        version: run.head.version.clone(),
        state: state_name(run.end.as_ref().map(|end| end.outcome)),
        opened: run.opened.clone(),
        finished: run.end.as_ref().map(|end| end.ts.clone()),
        steps: run.cells.len(),
        ended: run.cells.len() - run.left as usize,
    }
}
