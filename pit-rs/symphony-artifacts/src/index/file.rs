//! The index's file as redb sees it: its own file backend behind the seam of [`Faults`], or under an overlay that
//! leaves it as it is.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use crate::faults::{Faults, Step};

type IoResult<T> = std::io::Result<T>;
type LockResult<T> = Result<T, BackendError>;

const PAGE: u64 = 4096;

/// Of a file of this length, what redb may have written: it grows by whole pages, and refuses any other length.
pub fn whole_pages(length: u64) -> u64 {
    length / PAGE * PAGE
}

/// Cuts off part of a page: a power cut left it where the file grew and nothing was committed yet.
pub fn trim(file: &File) -> IoResult<()> {
    let length = file.metadata()?.len();
    if length == whole_pages(length) {
        return Ok(());
    }
    file.set_len(whole_pages(length))
}

#[derive(Debug)]
pub struct IndexFile {
    pub file: FileBackend,
    pub faults: Faults,
}

impl StorageBackend for IndexFile {
    fn len(&self) -> IoResult<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> IoResult<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> IoResult<()> {
        self.faults.before(Step::WriteIndex(0))?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> IoResult<()> {
        self.faults.before(Step::SyncIndex)?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> IoResult<()> {
        self.faults.before(Step::WriteIndex(data.len()))?;
        self.file.write(offset, data)
    }

    fn close(&self) -> IoResult<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> LockResult<bool> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> LockResult<bool> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> LockResult<()> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> LockResult<()> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> LockResult<()> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> LockResult<bool> {
        self.file.query_lock_range(start, end)
    }
}

/// A file that is read and never written: what redb writes over it stays in memory.
#[derive(Debug)]
pub struct Overlay {
    file: FileBackend,
    /// How much of the file is there.
    below: u64,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    length: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE as usize]>>,
}

impl Overlay {
    pub fn new(file: FileBackend, length: u64) -> Self {
        let written = Mutex::new(Written { length, pages: BTreeMap::new() });
        Self { file, below: length, written }
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        // Nothing panics while it is held, so there is nothing half done to find.
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One page as the file has it; zeros behind its end.
    fn page(&self, number: u64) -> IoResult<Box<[u8; PAGE as usize]>> {
        let mut page = Box::new([0; PAGE as usize]);
        let start = number * PAGE;
        let there = self.below.saturating_sub(start).min(PAGE) as usize;
        if there > 0 {
            self.file.read(start, &mut page[..there])?;
        }
        Ok(page)
    }

    /// Splits a stretch into what lies in each page: number, begin in the page, begin in the stretch, length.
    fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
        let mut done = 0;
        std::iter::from_fn(move || {
            let at = offset + done as u64;
            let within = (at % PAGE) as usize;
            let piece = (length - done).min(PAGE as usize - within);
            let item = (at / PAGE, within, done, piece);
            done += piece;
            (piece > 0).then_some(item)
        })
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> IoResult<u64> {
        Ok(self.written().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> IoResult<()> {
        let written = self.written();
        for (number, within, at, length) in Self::pieces(offset, out.len()) {
            let target = &mut out[at..at + length];
            match written.pages.get(&number) {
                Some(page) => target.copy_from_slice(&page[within..within + length]),
                None => target.copy_from_slice(&self.page(number)?[within..within + length]),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> IoResult<()> {
        let mut written = self.written();
        if len < written.length {
            // What is cut off must be gone if the file grows again.
            for number in len / PAGE..=written.length / PAGE {
                let mut page = match written.pages.remove(&number) {
                    Some(page) => page,
                    None => self.page(number)?,
                };
                let kept = len.saturating_sub(number * PAGE).min(PAGE) as usize;
                page[kept..].fill(0);
                written.pages.insert(number, page);
            }
        }
        written.length = len;
        Ok(())
    }

    fn sync_data(&self) -> IoResult<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> IoResult<()> {
        let mut written = self.written();
        for (number, within, at, length) in Self::pieces(offset, data.len()) {
            let mut page = match written.pages.remove(&number) {
                Some(page) => page,
                None => self.page(number)?,
            };
            page[within..within + length].copy_from_slice(&data[at..at + length]);
            written.pages.insert(number, page);
        }
        Ok(())
    }

    fn close(&self) -> IoResult<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> LockResult<bool> {
        self.file.try_lock_shared_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> LockResult<bool> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> LockResult<()> {
        self.file.lock_shared_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> LockResult<()> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> LockResult<()> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> LockResult<bool> {
        self.file.query_lock_range(start, end)
    }
}
