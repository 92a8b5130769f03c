//! Brings an index of format 1 up to date, in one transaction: what a crash cuts short is done again.

use redb::ReadableTable;

use super::change::derive;
use super::tables as t;
use super::{decode, Index};
use crate::error::Result;
use crate::info::Entry;

pub const NEWEST: u64 = 2;

impl Index {
    /// Makes the tables that format 2 added and fills those that follow from the entries.
    pub(super) fn upgrade(&self) -> Result<()> {
        if self.read(t::NUMBERS, t::FORMAT, |format| format)? == Some(NEWEST) {
            return Ok(());
        }
        self.make_tables()?;
        let transaction = self.database.begin_write().map_err(self.fault())?;
        {
            let seals = transaction.open_table(t::SEALS).map_err(self.fault())?;
            let mut shards = transaction.open_table(t::SHARDS).map_err(self.fault())?;
            for item in seals.iter().map_err(self.fault())? {
                let (shard, seal) = item.map_err(self.fault())?;
                let shard = u16::from(shard.value());
                shards.insert(shard, seal.value()).map_err(self.fault())?;
            }
            let entries = transaction.open_table(t::ENTRIES).map_err(self.fault())?;
            let mut inputs = transaction.open_table(t::INPUTS).map_err(self.fault())?;
            let mut versions = transaction.open_table(t::VERSIONS).map_err(self.fault())?;
            for item in entries.iter().map_err(self.fault())? {
                let (number, record) = item.map_err(self.fault())?;
                let entry: Entry = decode(&self.path, record.value())?;
                derive(&mut inputs, &mut versions, &entries, self, number.value(), &entry)?;
            }
            let mut numbers = transaction.open_table(t::NUMBERS).map_err(self.fault())?;
            numbers.insert(t::FORMAT, NEWEST).map_err(self.fault())?;
        }
        transaction.delete_table(t::SEALS).map_err(self.fault())?;
        transaction.commit().map_err(self.fault())
    }
}
