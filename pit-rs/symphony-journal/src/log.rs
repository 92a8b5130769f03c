//! One log file: appends in order, acknowledges prefixes, and never shows a record that it did not keep.

use std::fmt;
use std::io;
use std::ops::Range;

use tracing::warn;

use crate::frame;
use crate::frames::{Frames, Item};
use crate::scan::scan;
use crate::storage::Medium;
use crate::synced::{id_of, Id, Synced};

/// Why a log cannot be read.
#[derive(Debug)]
pub enum LogError {
    Io(io::Error),
    /// What begins at this byte is no whole record, and not what is left of an unacknowledged one either.
    Corrupt {
        at: u64,
    },
    /// Of so many acknowledged bytes, only the first ones are there.
    Lost {
        acknowledged: u64,
        found: u64,
    },
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Corrupt { at } => write!(f, "the record at byte {at} is damaged"),
            Self::Lost { acknowledged, found } => write!(
                f,
                "{acknowledged} bytes of it were acknowledged, of which {found} are there"
            ),
        }
    }
}

impl std::error::Error for LogError {}

impl From<io::Error> for LogError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The only writer of one file.
///
/// Records go through three marks: written (by [`append`](Self::append)), on disk (by [`sync`](Self::sync))
/// and kept (by [`keep`](Self::keep): somebody was told). [`rewind`](Self::rewind) takes back what was not kept.
#[derive(Debug)]
pub struct Log<M> {
    file: M,
    /// Where each record ends; the last one is where the next begins.
    ends: Vec<u64>,
    kept: usize,
    /// Bytes known to be on disk.
    synced: u64,
    /// The file holds nothing else than the records.
    sound: bool,
    /// A sync failed: bytes that are not known to be on disk must be written once more.
    suspect: bool,
    id: Id,
    guard: Option<Guard<M>>,
}

/// A log's companion, and what it says.
#[derive(Debug)]
struct Guard<M> {
    companion: Synced<M>,
    said: Option<u64>,
    /// Otherwise it stays as it is, for a person to see.
    legible: bool,
}

impl<M: Medium> Log<M> {
    /// Reads every record but a torn last one. Returns the log and the torn bytes, which are still in the file:
    /// the first [`secure`](Self::secure) removes them. It is also to be called before any record is shown, for
    /// whoever wrote them may have died before their sync. A file that has bytes, but no record, is corrupt.
    pub fn open(file: M) -> Result<(Self, Vec<u8>), LogError> {
        Self::open_guarded(file, None)
    }

    /// As [`open`](Self::open), where there may be a companion that says from where on damage is a torn tail.
    pub fn open_guarded(file: M, companion: Option<M>) -> Result<(Self, Vec<u8>), LogError> {
        let id = id_of(&file)?;
        let guard = companion.map(|it| {
            let mut companion = Synced::new(it);
            let read = companion.read(id);
            if let Err(error) = &read {
                warn!(%error, "failed to read how much of a journal was acknowledged: remove its .synced");
            }
            let legible = !read.as_ref().is_err_and(|it| it.kind() == io::ErrorKind::InvalidData);
            Guard { companion, said: read.ok().flatten(), legible }
        });
        let said = guard.as_ref().and_then(|guard| guard.said);
        let mut ends = Vec::new();
        let found = scan(&file, said, |_, end| {
            ends.push(end);
            Ok(())
        })?;
        let (kept, sound) = (ends.len(), ends.is_empty());
        let id = id.unwrap_or_default();
        let log = Self { file, ends, kept, synced: 0, sound, suspect: false, id, guard };
        Ok((log, found.torn))
    }

    /// Whether there is a companion.
    pub fn is_guarded(&self) -> bool {
        self.guard.is_some()
    }

    /// From now on this file says how much is acknowledged.
    pub fn guard(&mut self, companion: M) {
        let mut companion = Synced::new(companion);
        // An empty one says all that is true of a log without records.
        let said = match self.ends.is_empty() {
            true => companion.clear().ok().map(|()| 0),
            false => None,
        };
        self.guard = Some(Guard { companion, said, legible: true });
        self.say();
    }

    /// Takes over the companion of a log in whose place this one is about to be; that may yet fail, so what it
    /// says is true of either.
    pub(crate) fn succeed(&mut self, former: &mut Self) {
        let Some(mut guard) = former.guard.take() else { return };
        if !guard.legible {
            self.guard = Some(guard);
            return;
        }
        let told = guard.companion.write(self.id, 0).and_then(|()| guard.companion.sync());
        guard.said = told.ok().map(|()| 0);
        self.guard = Some(guard);
    }

    /// Tells the companion what is acknowledged, if that changed. It says less where this fails.
    fn say(&mut self) {
        let kept = self.kept.checked_sub(1).map_or(0, |last| self.ends[last]);
        let acknowledged = self.synced.min(kept);
        let Some(guard) = &mut self.guard else { return };
        if acknowledged == 0 || guard.said == Some(acknowledged) || !guard.legible {
            return;
        }
        let mut told = guard.companion.write(self.id, acknowledged);
        if guard.said.is_none() {
            // It said nothing of this log, and after a power cut would again.
            told = told.and_then(|()| guard.companion.sync());
        }
        if let Err(error) = told {
            warn!(%error, "failed to write how much of a journal is acknowledged");
        }
        guard.said = Some(acknowledged);
    }

    /// How many records there are.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of all records.
    pub fn bytes(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Whether every record is kept.
    pub fn is_kept(&self) -> bool {
        self.kept == self.ends.len()
    }

    /// Whether the file is known to hold nothing else than the records. One that is not must not be opened anew.
    pub fn is_sound(&self) -> bool {
        self.sound
    }

    /// Writes the records, all of them or, on an error, none. Payloads: see [`frame::encode`].
    pub fn append(&mut self, payloads: &[Vec<u8>]) -> io::Result<()> {
        self.secure()?;
        let size = payloads.iter().map(|payload| frame::HEADER + payload.len()).sum();
        let mut bytes = Vec::with_capacity(size);
        let start = self.bytes();
        let mut ends = Vec::with_capacity(payloads.len());
        for payload in payloads {
            frame::encode(payload, &mut bytes);
            ends.push(start + bytes.len() as u64);
        }
        if let Err(error) = self.file.write_at(start, &bytes) {
            self.sound = false;
            // If it cannot be done now, the next append tries again before it writes.
            let _ = self.secure();
            return Err(error);
        }
        if let (0, Some(id)) = (start, bytes.first_chunk()) {
            self.id = *id;
        }
        self.ends.extend(ends);
        Ok(())
    }

    /// Makes every record durable. After an error call [`rewind`](Self::rewind).
    pub fn sync(&mut self) -> io::Result<()> {
        if self.synced == self.bytes() {
            return Ok(());
        }
        let synced = self.file.sync();
        match synced {
            Ok(()) => self.synced = self.bytes(),
            Err(_) => self.suspect = true,
        }
        synced
    }

    /// Marks every record as told to somebody: from now on it stays.
    pub fn keep(&mut self) {
        self.kept = self.ends.len();
        self.say();
    }

    /// Takes back every record that is not kept. The log shows them no more, even if the file still has them:
    /// then this returns the error, and the next append removes them first.
    pub fn rewind(&mut self) -> io::Result<()> {
        self.ends.truncate(self.kept);
        self.synced = self.synced.min(self.bytes());
        self.sound = false;
        self.secure()
    }

    /// Removes the records from this one on (0 is the first), which say nothing that those before it do not.
    pub fn cut(&mut self, first: usize) -> io::Result<()> {
        self.kept = self.kept.min(first);
        // First of all durably: after a power cut it must not say more than there is.
        self.say();
        if let Some(guard) = &self.guard {
            guard.companion.sync()?;
        }
        self.rewind()
    }

    /// Brings the file in line with the records, durably: a later, shorter record over the remains of one
    /// taken back would look like damage after a power cut.
    pub fn secure(&mut self) -> io::Result<()> {
        if self.sound {
            return Ok(());
        }
        let end = self.bytes();
        if self.file.len()? != end {
            self.file.truncate(end)?;
        }
        if self.suspect {
            // A failed sync may have marked these pages clean; writing makes them dirty again.
            let mut unsure = vec![0; usize::try_from(end - self.synced).unwrap_or(usize::MAX)];
            self.file.read_at(self.synced, &mut unsure)?;
            self.file.write_at(self.synced, &unsure)?;
        }
        if let Err(error) = self.file.sync() {
            self.suspect = true;
            return Err(error);
        }
        (self.synced, self.sound, self.suspect) = (end, true, false);
        self.say();
        Ok(())
    }

    /// Passes the payloads of these records (0 is the first) to `visit` until it returns false.
    pub fn read(
        &self,
        records: Range<usize>,
        mut visit: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), LogError> {
        let offset = |record: usize| record.checked_sub(1).map_or(0, |before| self.ends[before]);
        let last = records.end.min(self.ends.len());
        if records.start >= last {
            return Ok(());
        }
        let mut frames = Frames::new(&self.file, offset(records.start), offset(last));
        loop {
            match frames.read()? {
                Item::Payload(payload) => {
                    if !visit(payload) {
                        return Ok(());
                    }
                }
                Item::End => return Ok(()),
                Item::Damage => return Err(LogError::Corrupt { at: frames.at() }),
            }
        }
    }
}
