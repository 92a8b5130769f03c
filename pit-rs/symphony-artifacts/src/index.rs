//! What is known about the blobs: entries, sizes and the seals of the blob folders, in one redb file.
//! The only module that knows redb.
//!
//! | table | key → value |
//! |---|---|
//! | `blobs` | hash → [`Blob`] |
//! | `entries` | entry number → [`Entry`] |
//! | `made` | hash of (reference, name, lineage) → entry number: one entry for the same |
//! | `facets` | (facet, its value, entry number): the ways to look an entry up |
//! | `seals` | blob folder → [`Seal`] |
//! | `numbers` | name of a counter → its value |

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::de::DeserializeOwned;
use serde::Serialize;

use crate::blobs::{Seal, Shard};
use crate::error::{Result, StoreError};
use crate::faults::Faults;
use crate::index_file::IndexFile;
use crate::info::{Blob, Entry};
use crate::Reference;

const BLOBS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("blobs");
const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
const MADE: TableDefinition<&[u8; 32], u64> = TableDefinition::new("made");
const FACETS: TableDefinition<(u8, &str, u64), ()> = TableDefinition::new("facets");
const SEALS: TableDefinition<Shard, Seal> = TableDefinition::new("seals");
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");

const GENERATION: &str = "generation";
const LAST_ENTRY: &str = "last-entry";
/// Pages of the index that are kept in memory, bytes.
const CACHE: usize = 16 * 1024 * 1024;

/// What an entry can be looked up by. The numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facet {
    Any = 0,
    Name = 1,
    Run = 2,
    Step = 3,
    Player = 4,
    Reference = 5,
}

/// Everything that one commit makes visible.
pub struct Changes<'a> {
    pub blobs: &'a BTreeMap<Reference, Blob>,
    pub entries: &'a [Entry],
    pub seals: &'a BTreeMap<Shard, Seal>,
}

pub struct Index {
    database: Database,
    path: PathBuf,
    generation: u64,
}

impl Index {
    /// Opens an index; only one process can have it open.
    pub fn open(path: &Path, faults: &Faults) -> Result<Self> {
        let mut index = Self::load(path, OpenOptions::new().read(true).write(true), faults)?;
        index.generation = index.read(NUMBERS, GENERATION, |value| value)?.unwrap_or(0);
        Ok(index)
    }

    /// Makes an empty index beside `path` and puts it there whole: one that a crash cut short is never opened.
    pub fn create(path: &Path, faults: &Faults) -> Result<()> {
        let failed = || StoreError::io("make the index");
        let draft = path.with_extension("new");
        let mut options = OpenOptions::new();
        let index =
            Self::load(&draft, options.read(true).write(true).create(true).truncate(true), faults)?;
        index.make_tables()?;
        drop(index);
        // Linking, not renaming: it never replaces an index that another process made meanwhile.
        fs::hard_link(&draft, path).map_err(failed())?;
        fs::remove_file(&draft).map_err(failed())?;
        let folder = path.parent().unwrap_or(path);
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed())
    }

    fn load(path: &Path, options: &OpenOptions, faults: &Faults) -> Result<Self> {
        let file = options.open(path).map_err(StoreError::io("open the index"))?;
        let file = FileBackend::new(file).map_err(|error| fault(path, error))?;
        let backend = IndexFile { file, faults: faults.clone() };
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE);
        let database = builder.create_with_backend(backend).map_err(|error| fault(path, error))?;
        Ok(Self { database, path: path.to_owned(), generation: 0 })
    }

    /// The number of the last commit.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn blob(&self, reference: &Reference) -> Result<Option<Blob>> {
        let record = self.read(BLOBS, reference.as_bytes(), <[u8]>::to_vec)?;
        record.map(|record| self.decode(&record)).transpose()
    }

    pub fn has_blob(&self, hash: &[u8; 32]) -> Result<bool> {
        Ok(self.read(BLOBS, hash, |_| ())?.is_some())
    }

    pub fn has_entry(&self, entry: &Entry) -> Result<bool> {
        Ok(self.read(MADE, &identity(entry)?, |_| ())?.is_some())
    }

    pub fn seal(&self, shard: Shard) -> Result<Option<Seal>> {
        self.read(SEALS, shard, |seal| seal)
    }

    /// Entries with this facet that are older than `before`, newest first, while `wanted` says to go on.
    pub fn entries(
        &self,
        facet: Facet,
        value: &str,
        before: u64,
        mut wanted: impl FnMut(u64, Entry) -> Result<bool>,
    ) -> Result<()> {
        let facet = facet as u8;
        let transaction = self.database.begin_read().map_err(self.fault())?;
        let facets = transaction.open_table(FACETS).map_err(self.fault())?;
        let entries = transaction.open_table(ENTRIES).map_err(self.fault())?;
        let range =
            facets.range((facet, value, 0)..(facet, value, before)).map_err(self.fault())?;
        for key in range.rev() {
            let (key, ()) = key.map(|(key, value)| (key, value.value())).map_err(self.fault())?;
            let number = key.value().2;
            let record = entries.get(number).map_err(self.fault())?;
            let record =
                record.ok_or_else(|| self.damaged(format!("entry {number} is missing")))?;
            if !wanted(number, self.decode(record.value())?)? {
                break;
            }
        }
        Ok(())
    }

    /// Every blob, by hash.
    pub fn blobs(&self, mut each: impl FnMut(Reference, Blob) -> Result<()>) -> Result<()> {
        let transaction = self.database.begin_read().map_err(self.fault())?;
        let blobs = transaction.open_table(BLOBS).map_err(self.fault())?;
        for item in blobs.iter().map_err(self.fault())? {
            let (hash, record) = item.map_err(self.fault())?;
            each(Reference::from(*hash.value()), self.decode(record.value())?)?;
        }
        Ok(())
    }

    /// Makes all of `changes` visible and durable, or none. After an error the index must be reopened.
    pub fn commit(&mut self, changes: &Changes<'_>) -> Result<()> {
        let transaction = self.database.begin_write().map_err(self.fault())?;
        {
            let mut blobs = transaction.open_table(BLOBS).map_err(self.fault())?;
            for (reference, blob) in changes.blobs {
                let record = encode(blob)?;
                blobs.insert(reference.as_bytes(), record.as_slice()).map_err(self.fault())?;
            }
            let mut seals = transaction.open_table(SEALS).map_err(self.fault())?;
            for (shard, seal) in changes.seals {
                seals.insert(shard, seal).map_err(self.fault())?;
            }
            let mut made = transaction.open_table(MADE).map_err(self.fault())?;
            let mut entries = transaction.open_table(ENTRIES).map_err(self.fault())?;
            let mut facets = transaction.open_table(FACETS).map_err(self.fault())?;
            let mut numbers = transaction.open_table(NUMBERS).map_err(self.fault())?;
            let last = numbers.get(LAST_ENTRY).map_err(self.fault())?.map(|last| last.value());
            let mut last = last.unwrap_or(0);
            for entry in changes.entries {
                let identity = identity(entry)?;
                if made.get(&identity).map_err(self.fault())?.is_some() {
                    continue;
                }
                last += 1;
                made.insert(&identity, last).map_err(self.fault())?;
                entries.insert(last, encode(entry)?.as_slice()).map_err(self.fault())?;
                for (facet, value) in facets_of(entry) {
                    facets.insert((facet as u8, value.as_str(), last), ()).map_err(self.fault())?;
                }
            }
            numbers.insert(LAST_ENTRY, last).map_err(self.fault())?;
            numbers.insert(GENERATION, self.generation + 1).map_err(self.fault())?;
        }
        transaction.commit().map_err(self.fault())?;
        self.generation += 1;
        Ok(())
    }

    /// All tables exist from the first commit on, so that reading never meets a missing one.
    fn make_tables(&self) -> Result<()> {
        let transaction = self.database.begin_write().map_err(self.fault())?;
        transaction.open_table(BLOBS).map_err(self.fault())?;
        transaction.open_table(ENTRIES).map_err(self.fault())?;
        transaction.open_table(MADE).map_err(self.fault())?;
        transaction.open_table(FACETS).map_err(self.fault())?;
        transaction.open_table(SEALS).map_err(self.fault())?;
        transaction.open_table(NUMBERS).map_err(self.fault())?;
        transaction.commit().map_err(self.fault())
    }

    fn read<'k, K, V, T>(
        &self,
        table: TableDefinition<K, V>,
        key: impl std::borrow::Borrow<K::SelfType<'k>>,
        take: impl FnOnce(V::SelfType<'_>) -> T,
    ) -> Result<Option<T>>
    where
        K: redb::Key + 'static,
        V: redb::Value + 'static,
    {
        let transaction = self.database.begin_read().map_err(self.fault())?;
        let table = transaction.open_table(table).map_err(self.fault())?;
        let value = table.get(key).map_err(self.fault())?;
        Ok(value.map(|value| take(value.value())))
    }

    fn decode<T: DeserializeOwned>(&self, record: &[u8]) -> Result<T> {
        rmp_serde::from_slice(record).map_err(|error| self.damaged(error.to_string()))
    }

    fn damaged(&self, reason: String) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), reason }
    }

    fn fault<E: Into<redb::Error>>(&self) -> impl FnOnce(E) -> StoreError + '_ {
        |error| fault(&self.path, error)
    }
}

fn fault<E: Into<redb::Error>>(path: &Path, error: E) -> StoreError {
    match error.into() {
        redb::Error::Io(source) if source.kind() == io::ErrorKind::InvalidData => {
            StoreError::Damaged { path: path.to_owned(), reason: source.to_string() }
        }
        redb::Error::Io(source) => StoreError::Io { doing: "use the index".to_owned(), source },
        error @ redb::Error::PreviousIo => {
            StoreError::Io { doing: "use the index".to_owned(), source: io::Error::other(error) }
        }
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse { path: path.to_owned() },
        other => StoreError::Damaged { path: path.to_owned(), reason: other.to_string() },
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    rmp_serde::to_vec_named(value).map_err(|error| StoreError::Bug(error.to_string()))
}

/// Entries with the same identity are one.
fn identity(entry: &Entry) -> Result<[u8; 32]> {
    let key = encode(&(&entry.reference, &entry.name, &entry.made))?;
    Ok(*blake3::hash(&key).as_bytes())
}

fn facets_of(entry: &Entry) -> Vec<(Facet, String)> {
    let made = entry.made.clone().unwrap_or_default();
    let named = [
        (Facet::Name, entry.name.clone()),
        (Facet::Run, made.run),
        (Facet::Step, made.step),
        (Facet::Player, made.player),
    ];
    let mut facets = vec![(Facet::Any, String::new()), (Facet::Reference, entry.reference.hex())];
    facets.extend(named.into_iter().filter_map(|(facet, value)| Some((facet, value?))));
    facets
}
