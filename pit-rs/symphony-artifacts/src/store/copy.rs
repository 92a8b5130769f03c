//! A copy of the whole store, made while everything else goes on.

use super::Store;
use crate::audit::Record;
use crate::backup::{self, Backed, Backup, Order};
use crate::error::{Result, StoreError};

impl Store {
    /// Begins to copy the store as it is now, with all that waits to be written. What is there already is told at
    /// once; else [`poll_backup`](Self::poll_backup) tells the end. `record` goes into the audit trail.
    pub fn begin_backup(&mut self, order: &Order, record: Record) -> Result<Option<Backed>> {
        self.ready()?;
        if let Some(backup) = &self.backup {
            if backup.order.id == order.id && backup.order.to == order.to {
                return Ok(None);
            }
            return Err(StoreError::limit("backup", "another copy is being made"));
        }
        if let Some(done) = backup::done(order)? {
            return Ok(Some(done));
        }
        if self.writable().is_ok() {
            self.settle()?;
            self.note_write(record);
            self.write_batch()?;
        }
        let snapshot = self.index()?.snapshot()?;
        self.blobs.begin_holding();
        let faults = self.options.faults.clone();
        let keys = self.blobs.keys().clone();
        match Backup::begin(order.clone(), &self.layout, snapshot, keys, faults) {
            Ok(backup) => self.backup = Some(backup),
            Err(error) => {
                self.release_held();
                return Err(error);
            }
        }
        Ok(None)
    }

    /// What became of the copy, once it has ended.
    pub fn poll_backup(&mut self) -> Option<Result<Backed>> {
        let backup = self.backup.take_if(|backup| backup.is_finished())?;
        let ended = backup.end();
        self.release_held();
        Some(ended)
    }

    /// Ends a copy that is being made, before the index that it reads is opened anew.
    pub(super) fn end_backup(&mut self) {
        if let Some(backup) = &mut self.backup {
            backup.stop();
        }
    }

    fn release_held(&mut self) {
        if self.options.read_only {
            return;
        }
        if let Err(error) = self.blobs.end_holding() {
            tracing::warn!(%error, "files that were held for a copy stay until the next start");
        }
    }
}
