//! The index's file as redb sees it: its own file backend behind the seam of [`Faults`].

use std::ops::Bound;

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use crate::faults::{Faults, Step};

type IoResult<T> = std::io::Result<T>;
type LockResult<T> = Result<T, BackendError>;

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
