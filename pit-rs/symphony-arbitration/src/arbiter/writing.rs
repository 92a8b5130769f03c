//! The journal: written with each flush, read back after one that failed, begun anew when it has grown long.

use std::hash::{DefaultHasher, Hasher};

use symphony_journal::{Journal, LogError, Storage};
use symphony_wire::{BusError, Code};
use tracing::warn;

use super::{Arbiter, COMPACT_FACTOR, FILE};
use crate::record::Record;
use crate::snapshot;
use crate::state::State;

impl<S: Storage> Arbiter<S> {
    /// Reads the journal back after a flush that failed: what it does not hold did not happen.
    pub(super) fn reload(&mut self) -> Result<(), BusError> {
        self.unwritten.clear();
        self.lost = true;
        let (state, _) = replay(&self.journal)?;
        self.state = state;
        let groups = &self.state.groups;
        self.began.retain(|number, _| groups.contains_key(number));
        let held = &self.state.held;
        self.granted_at.retain(|number, _| held.contains_key(number));
        self.rebuild(self.line.now_ms());
        (self.lost, self.unsettled) = (false, true);
        Ok(())
    }

    pub(super) fn write(&mut self) -> Result<(), BusError> {
        let error = if self.lost {
            BusError::new(Code::Internal, "a decision could not be recorded")
        } else {
            match self.journal.commit(&self.unwritten) {
                Ok(()) => {
                    self.unwritten.clear();
                    return Ok(());
                }
                Err(error) => io_error(&error),
            }
        };
        self.stats.failed_flushes += 1;
        if let Err(error) = self.reload() {
            warn!(%error, "failed to read the ledger back; trying again later");
        }
        Err(error)
    }

    /// Begins the journal anew if it has become much longer than what it says.
    pub(super) fn compact(&mut self) {
        let bytes = self.journal.bytes();
        if bytes < self.compact_bytes || bytes < COMPACT_FACTOR * self.snapshot_bytes {
            return;
        }
        let records = snapshot::of(&self.state).into_iter().zip(self.state.index + 1..);
        let payloads = records.map(|(record, index)| record.encode(index));
        let Ok(payloads) = payloads.collect::<Result<Vec<_>, _>>() else { return };
        match self.journal.begin_anew(&payloads) {
            Ok(()) => {
                self.state.index += payloads.len() as u64;
                self.snapshot_bytes = self.journal.bytes();
                self.stats.snapshots += 1;
            }
            Err(error) => {
                // Not tried again before the journal has grown to several times this.
                self.snapshot_bytes = bytes;
                warn!(%error, "failed to begin the ledger anew; it goes on as it is");
            }
        }
    }
}

/// The state that the journal tells, and the bytes of the snapshot that it begins with.
pub(super) fn replay<S: Storage>(journal: &Journal<S>) -> Result<(State, u64), BusError> {
    let mut state = State::default();
    let mut snapshot_bytes = 0;
    let mut fault = None;
    // Prints of the payloads, by their place: a write that was done twice says nothing new.
    let (mut first, mut seen) = (None, Vec::new());
    let read = journal.read(|payload| {
        let step = Record::decode(payload).and_then(|(index, record)| {
            let mut print = DefaultHasher::new();
            print.write(payload);
            let place = index.checked_sub(*first.get_or_insert(index));
            let known = place.and_then(|place| seen.get(usize::try_from(place).ok()?));
            if known == Some(&print.finish()) {
                return Ok(Vec::new());
            }
            seen.push(print.finish());
            if matches!(record, Record::Snapshot(_)) {
                snapshot_bytes += payload.len() as u64;
            }
            state.apply(index, record)
        });
        fault = step.err();
        fault.is_none()
    });
    read.map_err(|error| log_error(&error))?;
    match fault {
        None => Ok((state, snapshot_bytes)),
        Some(fault) => Err(corrupt(&fault.message)),
    }
}

fn corrupt(what: &str) -> BusError {
    BusError::new(Code::Corrupt, format!("the ledger is damaged: {what}"))
        .at(FILE)
        .help(
            "restore this file from a backup and remove ledger.journal.synced beside it; to begin anew without what \
             was spent and granted, move both away",
        )
}

pub(super) fn log_error(error: &LogError) -> BusError {
    match error {
        LogError::Io(error) => io_error(error),
        LogError::Corrupt { .. } | LogError::Lost { .. } => corrupt(&error.to_string()),
    }
}

fn io_error(error: &std::io::Error) -> BusError {
    if error.kind() == std::io::ErrorKind::InvalidData {
        return corrupt(&error.to_string());
    }
    BusError::new(Code::Io, format!("the ledger: {error}; nothing was written"))
        .at(FILE)
        .help("free disk space or repair the disk; then repeat the call")
}
