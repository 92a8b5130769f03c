//! A folder in memory that has the faults of real disks: full, failing to sync, losing power.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storage::{Medium, Storage};

#[derive(Debug, Default)]
struct Bytes {
    written: Vec<u8>,
    on_disk: Vec<u8>,
    /// What the next sync must bring to disk. A sync that fails forgets it, as Linux does.
    dirty: Vec<Range<usize>>,
}

#[derive(Debug, Default)]
struct Disk {
    names: BTreeMap<String, usize>,
    /// The names as they are on disk: what a power cut leaves.
    listed: BTreeMap<String, usize>,
    files: BTreeMap<usize, Bytes>,
    made: usize,
    capacity: Option<usize>,
    /// So many changes until the disk does nothing any more.
    fuse: Option<usize>,
    syncs_fail: bool,
    truncates_fail: bool,
    syncs: usize,
}

/// Clones share one disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage(Arc<Mutex<Disk>>);

/// A file of a [`MemoryStorage`].
#[derive(Debug)]
pub struct MemoryFile {
    storage: MemoryStorage,
    number: usize,
}

fn no_space() -> io::Error {
    const ENOSPC: i32 = 28;
    io::Error::from_raw_os_error(ENOSPC)
}

fn broken() -> io::Error {
    const EIO: i32 = 5;
    io::Error::from_raw_os_error(EIO)
}

impl Disk {
    /// One change of the disk is about to happen, if it still does anything.
    fn burn(&mut self) -> io::Result<()> {
        match &mut self.fuse {
            None => Ok(()),
            Some(0) => Err(broken()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    /// The number of the file with this name, made if there is none.
    fn number_of(&mut self, name: &str) -> usize {
        if let Some(number) = self.names.get(name) {
            return *number;
        }
        self.made += 1;
        self.names.insert(name.to_owned(), self.made);
        self.files.insert(self.made, Bytes::default());
        self.made
    }

    /// Forgets the files that no name leads to, on disk or before it.
    fn forget_nameless(&mut self) {
        let Self { names, listed, files, .. } = self;
        files
            .retain(|number, _| names.values().chain(listed.values()).any(|named| named == number));
    }
}

impl MemoryStorage {
    pub fn new() -> Self {
        Self::default()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on all files together hold at most this many bytes.
    pub fn set_capacity(&self, bytes: Option<usize>) {
        self.disk().capacity = bytes;
    }

    pub fn set_syncs_fail(&self, fail: bool) {
        self.disk().syncs_fail = fail;
    }

    pub fn set_truncates_fail(&self, fail: bool) {
        self.disk().truncates_fail = fail;
    }

    /// How many syncs of files succeeded.
    pub fn syncs(&self) -> usize {
        self.disk().syncs
    }

    /// From now on only this many changes (writes, truncations, syncs, new names) succeed: the power is about
    /// to go. Whoever uses the disk then sees every further change fail until [`cut_power`](Self::cut_power).
    pub fn set_fuse(&self, changes: Option<usize>) {
        self.disk().fuse = changes;
    }

    /// Whether the changes that [`set_fuse`](Self::set_fuse) allowed have all happened.
    pub fn is_burnt(&self) -> bool {
        self.disk().fuse == Some(0)
    }

    /// Cuts the power: what was not synced is gone, names too. Afterwards the disk works again.
    pub fn cut_power(&self) {
        let mut disk = self.disk();
        disk.fuse = None;
        disk.names = disk.listed.clone();
        disk.forget_nameless();
        for bytes in disk.files.values_mut() {
            bytes.written.clone_from(&bytes.on_disk);
            bytes.dirty.clear();
        }
    }

    /// Cuts the power just after the system had written the names of its own accord; of the files, only
    /// what was synced is there.
    pub fn cut_power_after_names(&self) {
        {
            let mut disk = self.disk();
            disk.listed = disk.names.clone();
        }
        self.cut_power();
    }

    /// A file's bytes, empty if there is none.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let disk = self.disk();
        let found = disk.names.get(name).and_then(|number| disk.files.get(number));
        found.map(|bytes| bytes.written.clone()).unwrap_or_default()
    }

    /// Replaces a file, durably.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let on_disk = bytes.clone();
        let stored = Bytes { on_disk, written: bytes, dirty: Vec::new() };
        let mut disk = self.disk();
        let number = disk.number_of(name);
        disk.files.insert(number, stored);
        disk.listed.insert(name.to_owned(), number);
    }

    fn file(&self, number: usize) -> MemoryFile {
        MemoryFile { storage: self.clone(), number }
    }
}

impl Storage for MemoryStorage {
    type File = MemoryFile;

    fn open(&self, name: &str) -> io::Result<Option<MemoryFile>> {
        let number = self.disk().names.get(name).copied();
        Ok(number.map(|number| self.file(number)))
    }

    fn create(&self, name: &str) -> io::Result<MemoryFile> {
        let mut disk = self.disk();
        if !disk.names.contains_key(name) {
            disk.burn()?;
        }
        Ok(self.file(disk.number_of(name)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.burn()?;
        let number = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.names.insert(to.to_owned(), number);
        disk.forget_nameless();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.burn()?;
        disk.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        disk.forget_nameless();
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.disk().names.keys().cloned().collect())
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk();
        if disk.syncs_fail {
            return Err(broken());
        }
        disk.burn()?;
        disk.listed = disk.names.clone();
        disk.forget_nameless();
        Ok(())
    }
}

impl MemoryFile {
    fn with<T>(&self, act: impl FnOnce(&mut Bytes) -> T) -> io::Result<T> {
        self.storage.disk().files.get_mut(&self.number).map(act).ok_or_else(broken)
    }
}

impl Medium for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|bytes| bytes.written.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| broken())?;
        self.with(|bytes| match bytes.written.get(start..start + buffer.len()) {
            Some(found) => {
                buffer.copy_from_slice(found);
                Ok(())
            }
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        })?
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| broken())?;
        let mut disk = self.storage.disk();
        disk.burn()?;
        let others: usize = disk
            .files
            .iter()
            .filter(|(number, _)| **number != self.number)
            .map(|f| f.1.written.len())
            .sum();
        let room = disk.capacity.map_or(usize::MAX, |capacity| capacity.saturating_sub(others));
        let bytes = disk.files.get_mut(&self.number).ok_or_else(broken)?;
        let end = (start + data.len()).min(room.max(bytes.written.len()));
        let fitting = end.saturating_sub(start);
        if bytes.written.len() < start + fitting {
            bytes.written.resize(start + fitting, 0);
        }
        bytes.written[start..start + fitting].copy_from_slice(&data[..fitting]);
        bytes.dirty.push(start..start + fitting);
        if fitting < data.len() {
            return Err(no_space());
        }
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        {
            let mut disk = self.storage.disk();
            if disk.truncates_fail {
                return Err(broken());
            }
            disk.burn()?;
        }
        let length = usize::try_from(length).map_err(|_| broken())?;
        self.with(|bytes| bytes.written.resize(length, 0))
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.storage.disk();
        let fail = disk.burn().is_err() || disk.syncs_fail;
        disk.syncs += usize::from(!fail);
        let bytes = disk.files.get_mut(&self.number).ok_or_else(broken)?;
        let dirty = std::mem::take(&mut bytes.dirty);
        if fail {
            return Err(broken());
        }
        let length = bytes.written.len();
        bytes.on_disk.resize(length, 0);
        for range in dirty {
            let range = range.start.min(length)..range.end.min(length);
            bytes.on_disk[range.clone()].copy_from_slice(&bytes.written[range]);
        }
        Ok(())
    }
}
