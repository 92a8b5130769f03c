//! The index as it was at one moment, for another thread to read while the store goes on.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use redb::{
    Key, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, Value, WriteTransaction,
};

use super::tables::{self as t, EachTable};
use super::{decode, fault_of, Index};
use crate::error::Result;
use crate::faults::Faults;
use crate::info::Blob;
use crate::layout::{Place, Seal, Shard};
use crate::Reference;

/// Rows that are copied before it is asked whether to go on.
const STRETCH: usize = 1_000;

pub struct Snapshot {
    transaction: ReadTransaction,
    path: PathBuf,
}

impl Index {
    pub fn snapshot(&self) -> Result<Snapshot> {
        let transaction = self.database.begin_read().map_err(self.fault())?;
        Ok(Snapshot { transaction, path: self.path.clone() })
    }
}

impl Snapshot {
    /// Every content, by hash.
    pub fn contents(&self, mut each: impl FnMut(Reference, Blob) -> Result<()>) -> Result<()> {
        let table = self.transaction.open_table(t::BLOBS).map_err(self.fault())?;
        for item in table.iter().map_err(self.fault())? {
            let (hash, record) = item.map_err(self.fault())?;
            each(Reference::from(*hash.value()), decode(&self.path, record.value())?)?;
        }
        Ok(())
    }

    /// Every file of a chunk with its length, by hash.
    pub fn chunks(&self, mut each: impl FnMut(Place, u64) -> Result<()>) -> Result<()> {
        let table = self.transaction.open_table(t::CHUNKS).map_err(self.fault())?;
        for item in table.iter().map_err(self.fault())? {
            let (hash, row) = item.map_err(self.fault())?;
            let (_, stored, _) = row.value();
            each(Place::chunk(Reference::from(*hash.value())), stored)?;
        }
        Ok(())
    }

    pub fn seals(&self) -> Result<Vec<(Shard, Seal)>> {
        let table = self.transaction.open_table(t::SHARDS).map_err(self.fault())?;
        let mut seals = Vec::new();
        for item in table.iter().map_err(self.fault())? {
            let (shard, seal) = item.map_err(self.fault())?;
            seals.push((Shard(shard.value()), seal.value()));
        }
        Ok(seals)
    }

    /// Writes an index that says the same, durably; `go_on` may end it with an error.
    pub fn write(
        &self,
        path: &Path,
        faults: &Faults,
        go_on: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        let mut options = OpenOptions::new();
        let copy = Index::load(path, options.read(true).write(true).create_new(true), faults)?;
        let transaction = copy.database.begin_write().map_err(copy.fault())?;
        t::each(&mut Copy { from: self, into: &copy, transaction: &transaction, go_on })?;
        transaction.commit().map_err(copy.fault())
    }

    fn fault<E: Into<redb::Error>>(&self) -> impl FnOnce(E) -> crate::StoreError + use<'_, E> {
        fault_of(&self.path)
    }
}

struct Copy<'c> {
    from: &'c Snapshot,
    into: &'c Index,
    transaction: &'c WriteTransaction,
    go_on: &'c mut dyn FnMut() -> Result<()>,
}

impl EachTable for Copy<'_> {
    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<K, V>,
    ) -> Result<()> {
        let from = self.from.transaction.open_table(table).map_err(self.from.fault())?;
        let mut into = self.transaction.open_table(table).map_err(self.into.fault())?;
        for (number, item) in from.iter().map_err(self.from.fault())?.enumerate() {
            if number.is_multiple_of(STRETCH) {
                (self.go_on)()?;
            }
            let (key, value) = item.map_err(self.from.fault())?;
            into.insert(key.value(), value.value()).map_err(self.into.fault())?;
        }
        Ok(())
    }
}
