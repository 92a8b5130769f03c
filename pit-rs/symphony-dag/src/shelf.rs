//! The runs that are in memory, each with its journal; the others wait on disk.
//!
//! A run that nobody waits for may leave memory at any time: its journal says everything. Whoever asks
//! for it next has it read again.

use std::collections::{BTreeSet, HashMap};
use std::io;

use symphony_journal::{frame, require_none, synced_of, Log, LogError, Medium, Storage};
use symphony_wire::{BusError, Code};
use tracing::warn;

use crate::history;
use crate::names::{draft_of, file_of, torn_of};
use crate::record::Record;
use crate::replies::MAX_RECORD;
use crate::state::{Run, Sample};

/// Runs in memory at most; each holds its journal open, and the companion.
const MAX_RUNS: usize = 96;
/// Bytes of journal behind the runs in memory at most, unless one alone has more.
const MAX_BYTES: u64 = 64 << 20;

pub struct Slot<M> {
    pub log: Log<M>,
    pub run: Run,
    /// Bytes cut off a torn journal when it was opened.
    pub cut: u64,
    used: u64,
}

/// A log and how many bytes were cut off it when it was opened.
type Opened<M> = (Log<M>, u64);

pub struct Shelf<S: Storage> {
    pub storage: S,
    slots: HashMap<String, Slot<S::File>>,
    /// Logs whose file could not be brought in line with them: it may hold what was taken back, or not be on disk.
    unsound: HashMap<String, Log<S::File>>,
    /// Runs with records that wait for a flush.
    touched: BTreeSet<String>,
    /// Runs whose journal does not have its name yet.
    drafts: BTreeSet<String>,
    /// How many runs got their journal's name since this was last asked.
    named: u64,
    /// A file got its name since the folder was last synced.
    unlisted: bool,
    uses: u64,
    /// How attempts went whose records wait for a flush, and of which they do not.
    waiting: Vec<Sample>,
    settled: Vec<Sample>,
}

impl<S: Storage> Shelf<S> {
    pub fn new(storage: S) -> Self {
        Self {
            storage,
            slots: HashMap::new(),
            unsound: HashMap::new(),
            touched: BTreeSet::new(),
            drafts: BTreeSet::new(),
            named: 0,
            unlisted: false,
            uses: 0,
            waiting: Vec::new(),
            settled: Vec::new(),
        }
    }

    /// How attempts went since the last time, as far as their records stay.
    pub fn take_samples(&mut self) -> Vec<Sample> {
        std::mem::take(&mut self.settled)
    }

    /// How many runs were made since the last time.
    pub fn take_named(&mut self) -> u64 {
        std::mem::take(&mut self.named)
    }

    /// Whether something was said about the run, or about any, that the next flush may take back.
    pub fn is_waiting(&self, run: Option<&str>) -> bool {
        run.map_or(!self.touched.is_empty(), |run| self.touched.contains(run))
    }

    /// Runs that are in memory alone until the next flush.
    pub fn drafts(&self) -> impl Iterator<Item = &str> {
        self.drafts.iter().map(String::as_str).filter(|run| self.slots.contains_key(*run))
    }

    /// The run if it is in memory, without making it a recently used one.
    pub fn peek(&self, run: &str) -> Option<&Run> {
        self.slots.get(run).map(|slot| &slot.run)
    }

    /// The run, read from its journal if it is not in memory, or nothing if there is none.
    pub fn find(&mut self, run: &str) -> Result<Option<&mut Slot<S::File>>, BusError> {
        self.uses += 1;
        if !self.slots.contains_key(run) {
            let Some((mut log, mut cut)) = self.log(run, false)? else { return Ok(None) };
            if log.count() == 0 {
                self.set_aside(run, log);
                return Ok(None);
            }
            let state = match history::replay(&log) {
                Ok(state) => Ok(state),
                Err(error) => self.without_double(run, &mut log, &mut cut, error),
            };
            match state {
                Ok(state) => self.place(run, Slot { log, run: state, cut, used: 0 }),
                Err(error) => {
                    self.set_aside(run, log);
                    return Err(error);
                }
            }
        }
        let uses = self.uses;
        let mut slot = self.slots.get_mut(run);
        if let Some(slot) = &mut slot {
            slot.used = uses;
        }
        Ok(slot)
    }

    /// The state once more, without a last write that stands there twice. That goes where torn tails go.
    fn without_double(
        &self,
        run: &str,
        log: &mut Log<S::File>,
        cut: &mut u64,
        error: history::Unreadable,
    ) -> Result<Run, BusError> {
        let Some(first) = history::doubled(log).map_err(|error| log_error(run, &error))? else {
            return Err(error.named(run));
        };
        let mut bytes = Vec::new();
        log.read(first..log.count(), |payload| {
            frame::encode(payload, &mut bytes);
            true
        })
        .map_err(|error| log_error(run, &error))?;
        self.keep_torn(run, &bytes).map_err(|error| io_error(run, &error))?;
        warn!(run, bytes = bytes.len(), "set a last write aside that stood there twice");
        log.cut(first).map_err(|error| io_error(run, &error))?;
        *cut += bytes.len() as u64;
        history::replay(log).map_err(|error| error.named(run))
    }

    /// Journals a new run under a name that [`find`](Self::find) found free.
    pub fn create(&mut self, run: &str, record: &Record, state: Run) -> Result<&Run, BusError> {
        let payload = encode(record)?;
        let (mut log, cut) = self
            .log(run, true)?
            .ok_or_else(|| BusError::new(Code::Internal, "the journal was not made"))?;
        if let Err(error) = log.append(&[payload]) {
            self.set_aside(run, log);
            return Err(io_error(run, &error));
        }
        self.touched.insert(run.to_owned());
        self.place(run, Slot { log, run: state, cut, used: self.uses });
        Ok(&self.slots[run].run)
    }

    /// Journals these records of a run that is in memory, all or none, and then applies them. Unless
    /// `durable` they count as told right away, but not before others that wait for the flush.
    pub fn commit(
        &mut self,
        run: &str,
        mut records: Vec<Record>,
        durable: bool,
    ) -> Result<(), BusError> {
        let slot = self.in_memory(run)?;
        for (record, index) in records.iter_mut().zip(slot.run.last + 1..) {
            record.index = index;
        }
        self.write(run, &records, durable)?;
        self.apply(run, &records, durable)
    }

    /// As [`commit`](Self::commit), durably, of records that apply to an earlier state of the run.
    pub fn turn_back(
        &mut self,
        run: &str,
        earlier: Run,
        mut records: Vec<Record>,
    ) -> Result<(), BusError> {
        let last = self.in_memory(run)?.run.last;
        for (record, index) in records.iter_mut().zip(last + 1..) {
            record.index = index;
        }
        self.write(run, &records, true)?;
        self.in_memory(run)?.run = earlier;
        self.apply(run, &records, true)
    }

    fn in_memory(&mut self, run: &str) -> Result<&mut Slot<S::File>, BusError> {
        let slot = self.slots.get_mut(run);
        slot.ok_or_else(|| BusError::new(Code::Internal, "the run is not in memory"))
    }

    fn write(&mut self, run: &str, records: &[Record], durable: bool) -> Result<(), BusError> {
        let payloads = records.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        if !self.in_memory(run)?.log.is_guarded() {
            if let Ok(companion) = self.storage.create(&synced_of(&file_of(run))) {
                self.in_memory(run)?.log.guard(companion);
                self.unlisted = true;
            }
        }
        let slot = self.in_memory(run)?;
        let at_once = !durable && slot.log.is_kept();
        slot.log.append(&payloads).map_err(|error| io_error(run, &error))?;
        if at_once {
            slot.log.keep();
        } else {
            self.touched.insert(run.to_owned());
        }
        Ok(())
    }

    fn apply(&mut self, run: &str, records: &[Record], durable: bool) -> Result<(), BusError> {
        let waits = durable || self.touched.contains(run);
        let slot = self.in_memory(run)?;
        let mut samples = Vec::new();
        for record in records {
            // The state has reviewed them: a refusal here is a bug, and the run is then refused as a whole.
            samples.extend(slot.run.apply(record).map_err(|error| error_of_ours(run, &error))?);
        }
        let known = if waits { &mut self.waiting } else { &mut self.settled };
        known.append(&mut samples);
        Ok(())
    }

    /// Makes every waiting record durable or, if that fails for any run, takes all of them back.
    pub fn flush(&mut self) -> Result<(), BusError> {
        let result = self.sync();
        let mut samples = std::mem::take(&mut self.waiting);
        if result.is_ok() {
            self.settled.append(&mut samples);
        }
        for run in std::mem::take(&mut self.touched) {
            if result.is_ok() {
                if let Some(slot) = self.slots.get_mut(&run) {
                    slot.log.keep();
                }
            } else if let Some(mut slot) = self.slots.remove(&run) {
                if let Err(error) = slot.log.rewind() {
                    warn!(run, %error, "failed to take back unsynced records; trying again later");
                }
                self.set_aside(&run, slot.log);
            }
        }
        self.make_room();
        result
    }

    fn sync(&mut self) -> Result<(), BusError> {
        for run in &self.touched {
            if let Some(slot) = self.slots.get_mut(run) {
                slot.log.sync().map_err(|error| io_error(run, &error))?;
            }
            if self.drafts.contains(run) {
                // What was taken back of a flush that failed may have left an empty file.
                let former =
                    self.storage.open(&file_of(run)).map_err(|error| io_error(run, &error))?;
                let named = self.storage.rename(&draft_of(run), &file_of(run));
                named.map_err(|error| io_error(run, &error))?;
                self.drafts.remove(run);
                self.named += u64::from(former.is_none());
                self.unlisted = true;
            }
        }
        if self.unlisted {
            self.storage.sync().map_err(|error| io_error("*", &error))?;
            self.unlisted = false;
        }
        Ok(())
    }

    fn log(&mut self, run: &str, make: bool) -> Result<Option<Opened<S::File>>, BusError> {
        let (mut log, torn) = match self.unsound.remove(run) {
            Some(log) => (log, Vec::new()),
            None => {
                let file =
                    if make { self.draft(run).map(Some) } else { self.storage.open(&file_of(run)) };
                let Some(file) = file.map_err(|error| io_error(run, &error))? else {
                    let companion = self.storage.open(&synced_of(&file_of(run))).ok().flatten();
                    return match require_none(companion) {
                        Ok(()) => Ok(None),
                        Err(error) => Err(log_error(run, &error)),
                    };
                };
                if make {
                    let (mut log, torn) =
                        Log::open(file).map_err(|error| log_error(run, &error))?;
                    if let Ok(companion) = self.storage.create(&synced_of(&file_of(run))) {
                        log.guard(companion);
                    }
                    (log, torn)
                } else {
                    let companion = self.storage.open(&synced_of(&file_of(run))).ok().flatten();
                    Log::open_guarded(file, companion).map_err(|error| log_error(run, &error))?
                }
            }
        };
        if !torn.is_empty() {
            self.keep_torn(run, &torn).map_err(|error| io_error(run, &error))?;
            warn!(run, bytes = torn.len(), "set a torn tail aside");
        }
        if let Err(error) = log.secure() {
            self.set_aside(run, log);
            return Err(io_error(run, &error));
        }
        Ok(Some((log, torn.len() as u64)))
    }

    /// An empty file for the journal of a new run; what a killed predecessor left there was never told to anybody.
    fn draft(&mut self, run: &str) -> io::Result<S::File> {
        let file = self.storage.create(&draft_of(run))?;
        file.truncate(0)?;
        self.drafts.insert(run.to_owned());
        Ok(file)
    }

    /// Adds the bytes to those kept of the run's journal, durably: only then may they be cut off.
    fn keep_torn(&self, run: &str, bytes: &[u8]) -> io::Result<()> {
        let kept = self.storage.create(&torn_of(run))?;
        kept.write_at(kept.len()?, bytes)?;
        kept.sync()?;
        self.storage.sync()
    }

    /// Forgets a log unless its file says something else.
    fn set_aside(&mut self, run: &str, log: Log<S::File>) {
        if !log.is_sound() {
            self.unsound.insert(run.to_owned(), log);
        }
    }

    fn place(&mut self, run: &str, slot: Slot<S::File>) {
        self.slots.insert(run.to_owned(), Slot { used: self.uses, ..slot });
        self.make_room();
    }

    fn make_room(&mut self) {
        let mut bytes: u64 = self.slots.values().map(|slot| slot.log.bytes()).sum();
        while self.slots.len() > MAX_RUNS || bytes > MAX_BYTES {
            let newest = self.uses;
            let idle = |slot: &Slot<S::File>| {
                slot.used < newest && slot.log.is_kept() && slot.log.is_sound()
            };
            let oldest =
                self.slots.iter().filter(|(_, slot)| idle(slot)).min_by_key(|(_, slot)| slot.used);
            let Some(name) = oldest.map(|(name, _)| name.clone()) else { return };
            bytes -= self.slots.remove(&name).map_or(0, |slot| slot.log.bytes());
        }
    }
}

fn encode(record: &Record) -> Result<Vec<u8>, BusError> {
    let payload = record.encode()?;
    if payload.len() <= MAX_RECORD {
        return Ok(payload);
    }
    let message = format!("the record has {} bytes; at most {MAX_RECORD}", payload.len());
    Err(BusError::new(Code::BadRequest, message)
        .at("size")
        .help("store large values as artifacts and refer to them"))
}

fn error_of_ours(run: &str, error: &BusError) -> BusError {
    BusError::new(Code::Internal, format!("a journaled record was refused: {error}")).at(run)
}

impl history::Unreadable {
    pub fn named(&self, run: &str) -> BusError {
        match self {
            Self::Log(error) => log_error(run, error),
            Self::Record(what) => corrupt(run, what),
        }
    }
}

pub fn log_error(run: &str, error: &LogError) -> BusError {
    match error {
        LogError::Io(error) => io_error(run, error),
        LogError::Corrupt { .. } | LogError::Lost { .. } => corrupt(run, &error.to_string()),
    }
}

fn corrupt(run: &str, what: &str) -> BusError {
    BusError::new(Code::Corrupt, format!("the journal of run {run} is damaged: {what}"))
        .at(file_of(run))
        .help(format!(
            "restore this file from a backup and remove {} beside it; other runs are not affected",
            synced_of(&file_of(run))
        ))
}

pub fn io_error(run: &str, error: &io::Error) -> BusError {
    if error.kind() == io::ErrorKind::InvalidData {
        return corrupt(run, &error.to_string());
    }
    BusError::new(Code::Io, format!("the journal of run {run}: {error}; nothing was written"))
        .at(file_of(run))
        .help("free disk space or repair the disk; then repeat the call")
}
