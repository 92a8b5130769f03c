//! A journal that can begin anew: one name in a folder, behind it at any moment one whole file.
//!
//! A journal that only grows would fill the disk and make every start slower, so its owner writes its state
//! as records (a *snapshot*) with which the next file begins: `NAME.new`, synced, renamed to `NAME`, folder
//! synced. Whoever opens the name after a crash at any point finds the former file or the new one, whole. The
//! first file is made in the same way, so a file of this name always begins with a whole record.

use std::io;

use tracing::warn;

use crate::log::{Log, LogError};
use crate::storage::{Medium, Storage};
use crate::synced::{require_none, synced_of};

/// The only writer of the file of one name.
#[derive(Debug)]
pub struct Journal<S: Storage> {
    storage: S,
    name: String,
    log: Log<S::File>,
    /// The file has its name, but after a power cut the former one could have it again: nothing is durable.
    unlisted: bool,
}

fn draft_of(name: &str) -> String {
    format!("{name}.new")
}

/// The name under which the torn ends of a journal are kept.
fn torn_of(name: &str) -> String {
    format!("{name}.torn")
}

impl<S: Storage> Journal<S> {
    /// Opens the file of this name, or makes one that begins with these records where there was none. What it holds is durable from
    /// here on: whoever wrote it may have died before the sync. A torn tail is set aside in `NAME.torn` and cut off;
    /// where it may begin, `NAME.synced` says.
    pub fn open(storage: S, name: &str, first: &[Vec<u8>]) -> Result<Self, LogError> {
        let Some(file) = storage.open(name)? else {
            require_none(storage.open(&synced_of(name))?)?;
            let companion = storage.create(&synced_of(name)).ok();
            let mut log = write(&storage, name, first)?;
            storage.rename(&draft_of(name), name)?;
            storage.sync()?;
            if let Some(companion) = companion {
                // Not before the file has its name: it would be missed after a power cut.
                log.guard(companion);
            }
            return Ok(Self { storage, name: name.to_owned(), log, unlisted: false });
        };
        let companion = storage.open(&synced_of(name)).ok().flatten();
        let (mut log, torn) = Log::open_guarded(file, companion)?;
        if log.count() == 0 {
            return Err(LogError::Corrupt { at: 0 });
        }
        if !torn.is_empty() {
            let kept = storage.create(&torn_of(name))?;
            kept.write_at(kept.len()?, &torn)?;
            kept.sync()?;
            warn!(name, bytes = torn.len(), "set a torn tail aside");
        }
        storage.sync()?;
        log.secure()?;
        if !log.is_guarded() {
            // Made by a version that knew of no companion.
            if let Ok(companion) = storage.create(&synced_of(name)) {
                log.guard(companion);
                storage.sync()?;
            }
        }
        if let Some(draft) = storage.open(&draft_of(name))? {
            // Of a snapshot that a crash cut short: it takes space and says nothing.
            draft.truncate(0)?;
        }
        Ok(Self { storage, name: name.to_owned(), log, unlisted: false })
    }

    /// Bytes of all records.
    pub fn bytes(&self) -> u64 {
        self.log.bytes()
    }

    /// Passes the payloads of all records to `visit` until it returns false.
    pub fn read(&self, visit: impl FnMut(&[u8]) -> bool) -> Result<(), LogError> {
        self.log.read(0..self.log.count(), visit)
    }

    /// Writes these records durably, or leaves none of them. Even if that fails as well, [`read`](Self::read)
    /// does not show them, and the next commit removes them first.
    pub fn commit(&mut self, payloads: &[Vec<u8>]) -> io::Result<()> {
        let written = self.log.append(payloads).and_then(|()| self.sync());
        match written {
            Ok(()) => self.log.keep(),
            Err(_) => {
                if let Err(error) = self.log.rewind() {
                    warn!(name = self.name, %error, "failed to take back records; trying again later");
                }
            }
        }
        written
    }

    fn sync(&mut self) -> io::Result<()> {
        self.log.sync()?;
        if self.unlisted {
            self.storage.sync()?;
            self.unlisted = false;
        }
        Ok(())
    }

    /// Begins a new file with these records, which say all that the former ones said. On an error the journal
    /// goes on in the former file. Where only the sync of the folder fails it goes on in the new one: a power
    /// cut may then leave either, which say the same, and no commit succeeds before the folder is synced.
    pub fn begin_anew(&mut self, snapshot: &[Vec<u8>]) -> io::Result<()> {
        let mut log = write(&self.storage, &self.name, snapshot)?;
        log.succeed(&mut self.log);
        if let Err(error) = self.storage.rename(&draft_of(&self.name), &self.name) {
            self.log.succeed(&mut log);
            self.log.keep();
            return Err(error);
        }
        self.log = log;
        self.unlisted = true;
        match self.sync() {
            Ok(()) => self.log.keep(),
            Err(error) => {
                warn!(name = self.name, %error, "failed to sync the folder; the next commit does it");
            }
        }
        Ok(())
    }
}

/// Writes these records durably under the name's draft.
fn write<S: Storage>(storage: &S, name: &str, records: &[Vec<u8>]) -> io::Result<Log<S::File>> {
    if records.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a journal begins with a record"));
    }
    let file = storage.create(&draft_of(name))?;
    file.truncate(0)?;
    // The file is empty, so the log has nothing to find in it.
    let (mut log, _) = Log::open(file).map_err(|error| match error {
        LogError::Io(error) => error,
        LogError::Corrupt { .. } | LogError::Lost { .. } => io::ErrorKind::InvalidData.into(),
    })?;
    log.append(records)?;
    log.sync()?;
    log.keep();
    Ok(log)
}
