//! What was learned, on disk: `learned`, a log beside the journals.
//!
//! It is a statistic, not the truth: no call waits for it and none fails by it. It outlives the process but, between
//! two snapshots, not a power cut. A file that cannot be read is begun anew.

use std::io;

use serde::{Deserialize, Serialize};
use symphony_journal::{Log, LogError, Medium, Storage};
use tracing::warn;

use crate::learned::{Line, Table};
use crate::state::Sample;

const FILE: &str = "learned";
const DRAFT: &str = "learned.new";
/// A log of fewer bytes is not worth rewriting: it is read in a few milliseconds.
const COMPACT_FROM: u64 = 256 << 10;
/// It is rewritten once it has so many times the bytes of its last snapshot.
const GROWTH: u64 = 4;

/// Attempts in one record at most: it stays far below the largest that a log takes.
const ENTRY: usize = 8_192;

/// A record of the log.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Entry {
    Table(Vec<Line>),
    /// Player, kind, milliseconds, whether it succeeded.
    Heard(Vec<(String, String, u64, bool)>),
}

/// The table, read when it is first asked for.
pub struct Memory<F> {
    loaded: Option<Loaded<F>>,
}

struct Loaded<F> {
    table: Table,
    /// Nothing, before the first record and where the disk refused: then the next record begins it.
    log: Option<Log<F>>,
    compact_at: u64,
}

impl<F: Medium> Memory<F> {
    pub fn new() -> Self {
        Self { loaded: None }
    }

    pub fn table<S: Storage<File = F>>(&mut self, storage: &S) -> &Table {
        &self.loaded(storage).table
    }

    /// Learns from these attempts, whose records stay.
    pub fn feed<S: Storage<File = F>>(&mut self, storage: &S, samples: Vec<Sample>) {
        if samples.is_empty() {
            return;
        }
        let loaded = self.loaded(storage);
        samples.iter().for_each(|sample| loaded.table.feed(sample));
        for part in samples.chunks(ENTRY) {
            let heard = |it: &Sample| (it.player.to_string(), it.kind.clone(), it.ms, it.succeeded);
            loaded.write(storage, &Entry::Heard(part.iter().map(heard).collect()));
        }
    }

    fn loaded<S: Storage<File = F>>(&mut self, storage: &S) -> &mut Loaded<F> {
        self.loaded.get_or_insert_with(|| Loaded::read(storage))
    }
}

impl<F: Medium> Loaded<F> {
    fn read<S: Storage<File = F>>(storage: &S) -> Self {
        let mut loaded = Self { table: Table::default(), log: None, compact_at: COMPACT_FROM };
        match loaded.replay(storage) {
            Ok(log) => loaded.log = log,
            Err(error) => {
                warn!(file = FILE, %error, "failed to read what was learned; beginning anew");
                loaded.table = Table::default();
            }
        }
        loaded
    }

    fn replay<S: Storage<File = F>>(&mut self, storage: &S) -> Result<Option<Log<F>>, LogError> {
        let Some(file) = storage.open(FILE)? else { return Ok(None) };
        let (mut log, _) = Log::open(file)?;
        log.secure()?;
        let mut readable = true;
        log.read(0..log.count(), |payload| {
            match rmp_serde::from_slice(payload) {
                Ok(Entry::Table(lines)) => {
                    lines.into_iter().for_each(|line| self.table.restore(line))
                }
                Ok(Entry::Heard(heard)) => {
                    heard.into_iter().for_each(|(player, kind, ms, succeeded)| {
                        self.table.feed(&Sample { player: player.into(), kind, ms, succeeded });
                    })
                }
                Err(_) => readable = false,
            }
            readable
        })?;
        match readable {
            true => Ok(Some(log)),
            false => Err(io::Error::from(io::ErrorKind::InvalidData).into()),
        }
    }

    fn write<S: Storage<File = F>>(&mut self, storage: &S, entry: &Entry) {
        let Some(log) = &mut self.log else { return self.begin_anew(storage) };
        let written = encode(entry).and_then(|payload| log.append(&[payload]));
        match written {
            Ok(()) => log.keep(),
            Err(error) => {
                warn!(file = FILE, %error, "failed to write what was learned; it stays in memory");
                let _ = log.rewind();
            }
        }
        if log.bytes() >= self.compact_at {
            self.begin_anew(storage);
        }
    }

    /// Writes the table as the first record of a new file.
    fn begin_anew<S: Storage<File = F>>(&mut self, storage: &S) {
        let write = || {
            let file = storage.create(DRAFT)?;
            file.truncate(0)?;
            let (mut log, _) = Log::open(file).map_err(|_| io::ErrorKind::InvalidData)?;
            log.append(&[encode(&Entry::Table(self.table.snapshot()))?])?;
            log.sync()?;
            log.keep();
            storage.rename(DRAFT, FILE)?;
            storage.sync()?;
            Ok::<Log<F>, io::Error>(log)
        };
        match write() {
            Ok(log) => {
                self.compact_at = COMPACT_FROM.max(log.bytes() * GROWTH);
                self.log = Some(log);
            }
            Err(error) => {
                warn!(file = FILE, %error, "failed to rewrite what was learned");
                self.compact_at = self.compact_at.saturating_add(COMPACT_FROM);
            }
        }
    }
}

fn encode(entry: &Entry) -> io::Result<Vec<u8>> {
    rmp_serde::to_vec(entry).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
