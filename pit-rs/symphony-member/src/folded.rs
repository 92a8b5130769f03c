//! A state that is the fold of its records, kept in a journal: records wait for the flush that makes them durable
//! together, and a journal that has grown long begins anew with a snapshot.

use serde::de::DeserializeOwned;
use serde::Serialize;
use symphony_journal::{Journal, LogError, Storage};
use symphony_wire::{BusError, Code};
use tracing::warn;

/// A journal of fewer bytes is not worth rewriting: it is read in a second.
pub const COMPACT_FROM: u64 = 64 << 20;
/// Nor is one that would not become much smaller.
const GAIN: u64 = 4;
/// After a snapshot that failed, so many bytes until the next try.
const RETRY_BYTES: u64 = 1 << 20;

/// A state that records make, the same after a crash as before.
pub trait Fold: Default {
    type Record: Serialize + DeserializeOwned;
    /// The journal's name in the store.
    const FILE: &'static str;
    /// What to do about a journal that cannot be read.
    const REPAIR: &'static str;

    fn apply(&mut self, record: Self::Record);
    /// Records that make this state out of nothing; at least one.
    fn snapshot(&self) -> impl Iterator<Item = Self::Record> + '_;
}

pub struct Folded<S: Storage, F: Fold> {
    journal: Journal<S>,
    /// Records of which nobody may hear yet.
    pending: Vec<Vec<u8>>,
    compact_from: u64,
    compact_at: u64,
    state: std::marker::PhantomData<F>,
}

impl<S: Storage, F: Fold> Folded<S, F> {
    /// Opens the journal or makes one, and folds what it holds.
    pub fn open(storage: S, compact_from: u64) -> Result<(Self, F), BusError> {
        let first = encode_all(F::default().snapshot())?;
        let journal = Journal::open(storage, F::FILE, &first).map_err(|it| unreadable::<F>(&it))?;
        let folded = Self {
            journal,
            pending: Vec::new(),
            compact_from,
            compact_at: compact_from,
            state: std::marker::PhantomData,
        };
        let state = folded.replay()?;
        Ok((folded, state))
    }

    /// The state that the durable records make.
    pub fn replay(&self) -> Result<F, BusError> {
        let mut state = F::default();
        let mut fault = None;
        let read = self.journal.read(|payload| match decode(payload) {
            Ok(record) => {
                state.apply(record);
                true
            }
            Err(error) => {
                fault = Some(error);
                false
            }
        });
        read.map_err(|error| unreadable::<F>(&error))?;
        fault.map_or(Ok(state), |error| Err(error.at(F::FILE)))
    }

    /// Writes a record down for the next flush.
    pub fn write(&mut self, record: &F::Record) -> Result<(), BusError> {
        self.pending.push(encode(record)?);
        Ok(())
    }

    /// Whether something waits for a flush.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    pub fn bytes(&self) -> u64 {
        self.journal.bytes()
    }

    /// Makes every record durable or forgets all that were not.
    pub fn flush(&mut self) -> Result<(), BusError> {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return Ok(());
        }
        self.journal.commit(&pending).map_err(|error| {
            BusError::new(Code::Io, format!("failed to write {}: {error}", F::FILE))
                .at(F::FILE)
                .help("make room on the disk, then repeat the call")
        })
    }

    /// Begins the journal anew, if that pays. Everything was flushed.
    pub fn compact(&mut self, state: &F) {
        if self.journal.bytes() < self.compact_at {
            return;
        }
        let snapshot = match encode_all(state.snapshot()) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                warn!(%error, journal = F::FILE, "failed to form a snapshot");
                self.compact_at = self.journal.bytes() + RETRY_BYTES;
                return;
            }
        };
        let size: usize = snapshot.iter().map(Vec::len).sum();
        self.compact_at = self.compact_from.max(GAIN.saturating_mul(size as u64));
        if self.journal.bytes() < self.compact_at {
            return;
        }
        if let Err(error) = self.journal.begin_anew(&snapshot) {
            warn!(%error, journal = F::FILE, "failed to begin it anew; trying again later");
            self.compact_at = self.journal.bytes() + RETRY_BYTES;
        }
    }
}

/// A record as it lies in the journal.
pub fn encode(record: &impl Serialize) -> Result<Vec<u8>, BusError> {
    rmp_serde::to_vec_named(record).map_err(|error| {
        BusError::new(Code::Internal, format!("failed to encode a record: {error}"))
    })
}

pub fn decode<R: DeserializeOwned>(payload: &[u8]) -> Result<R, BusError> {
    rmp_serde::from_slice(payload).map_err(|error| {
        BusError::new(Code::Corrupt, format!("a record cannot be read: {error}"))
            .help("use the version of Symphony that wrote it, or a later one")
    })
}

fn encode_all(records: impl Iterator<Item = impl Serialize>) -> Result<Vec<Vec<u8>>, BusError> {
    records.map(|record| encode(&record)).collect()
}

fn unreadable<F: Fold>(error: &LogError) -> BusError {
    let (code, help) = match error {
        LogError::Io(_) => (Code::Io, "make the folder readable and writable"),
        LogError::Corrupt { .. } | LogError::Lost { .. } => (Code::Corrupt, F::REPAIR),
    };
    BusError::new(code, format!("failed to read {}: {error}", F::FILE)).at(F::FILE).help(help)
}
