//! What is known about the blobs, in one redb file. Nothing outside this folder knows redb.
//!
//! [`tables`] says what is in it, [`change`] how one commit changes it, [`queries`] what else can be asked,
//! [`snapshot`] how it was at one moment, [`upgrade`] how an older one becomes a new one, [`file`] how it lies on the
//! disk.

mod change;
mod file;
mod queries;
mod snapshot;
mod tables;
mod upgrade;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, StorageBackend, TableDefinition, WriteTransaction};
use serde::de::DeserializeOwned;
use serde::Serialize;

use self::file::{IndexFile, Overlay};
use self::tables as t;
use crate::chunking::Recipe;
use crate::error::{Result, StoreError};
use crate::faults::Faults;
use crate::info::{Blob, Entry};
use crate::layout::{Area, Place, Seal, Shard};
use crate::Reference;

pub use self::change::Change;
pub use self::snapshot::Snapshot;
pub use self::tables::{GRACE, SECRET};

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

pub struct Index {
    database: Database,
    path: PathBuf,
    generation: u64,
}

impl Index {
    /// Opens an index; only one process can have it open.
    pub fn open(path: &Path, faults: &Faults) -> Result<Self> {
        Self::load(path, OpenOptions::new().read(true).write(true), faults)?.up_to_date()
    }

    /// Opens an index such that its file stays as it is, even if it has to be repaired or upgraded to be read:
    /// what is written stays in memory. Processes that do this may be several, one that writes is refused.
    pub fn open_read_only(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(StoreError::io("open the index", path))?;
        let file = FileBackend::new(file).map_err(|error| fault(path, error))?;
        let length = file.len().map_err(StoreError::io("open the index", path))?;
        Self::over(path, Overlay::new(file, file::whole_pages(length)))?.up_to_date()
    }

    fn up_to_date(mut self) -> Result<Self> {
        self.upgrade()?;
        self.generation = self.number(t::GENERATION)?.unwrap_or(0);
        Ok(self)
    }

    /// Makes an empty index beside `path` and puts it there whole: one that a crash cut short is never opened.
    pub fn create(path: &Path, faults: &Faults) -> Result<()> {
        let failed = || StoreError::io("make the index", path);
        let draft = path.with_extension("new");
        let mut options = OpenOptions::new();
        let index =
            Self::load(&draft, options.read(true).write(true).create(true).truncate(true), faults)?;
        index.make_tables()?;
        index.upgrade()?;
        drop(index);
        // Linking, not renaming: it never replaces an index that another process made meanwhile.
        fs::hard_link(&draft, path).map_err(failed())?;
        fs::remove_file(&draft).map_err(failed())?;
        let folder = path.parent().unwrap_or(path);
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed())
    }

    fn load(path: &Path, options: &OpenOptions, faults: &Faults) -> Result<Self> {
        let file = options.open(path).map_err(StoreError::io("open the index", path))?;
        file::trim(&file).map_err(StoreError::io("open the index", path))?;
        let file = FileBackend::new(file).map_err(|error| fault(path, error))?;
        Self::over(path, IndexFile { file, faults: faults.clone() })
    }

    fn over(path: &Path, backend: impl StorageBackend) -> Result<Self> {
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
        self.record(t::BLOBS, reference.as_bytes())
    }

    /// Whether a file is one of those that the store consists of.
    pub fn knows(&self, place: &Place) -> Result<bool> {
        let hash = place.hash.as_bytes();
        match place.area {
            Area::Chunks => Ok(self.read(t::CHUNKS, hash, |_| ())?.is_some()),
            // What is kept in chunks has no file of its own.
            Area::Blobs => Ok(self.blob(&place.hash)?.is_some_and(|blob| !blob.chunked)),
        }
    }

    pub fn recipe(&self, reference: &Reference) -> Result<Option<Recipe>> {
        let bytes = self.read(t::RECIPES, reference.as_bytes(), <[u8]>::to_vec)?;
        bytes.map(|bytes| self.recipe_of(&bytes)).transpose()
    }

    /// Length of a chunk and of its file.
    pub fn chunk(&self, hash: &Reference) -> Result<Option<(u64, u64)>> {
        self.read(t::CHUNKS, hash.as_bytes(), |(bytes, stored, _)| (bytes, stored))
    }

    pub fn has_entry(&self, entry: &Entry) -> Result<bool> {
        Ok(self.read(t::MADE, &identity(entry)?, |_| ())?.is_some())
    }

    pub fn seal(&self, shard: Shard) -> Result<Option<Seal>> {
        self.read(t::SHARDS, shard.0, |seal| seal)
    }

    pub fn number(&self, name: &str) -> Result<Option<u64>> {
        self.read(t::NUMBERS, name, |value| value)
    }

    pub fn text(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.read(t::TEXTS, name, <[u8]>::to_vec)
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
        let facets = transaction.open_table(t::FACETS).map_err(self.fault())?;
        let entries = transaction.open_table(t::ENTRIES).map_err(self.fault())?;
        let range =
            facets.range((facet, value, 0)..(facet, value, before)).map_err(self.fault())?;
        for key in range.rev() {
            let (key, ()) = key.map(|(key, value)| (key, value.value())).map_err(self.fault())?;
            let number = key.value().2;
            let record = entries.get(number).map_err(self.fault())?;
            let record =
                record.ok_or_else(|| self.damaged(format!("entry {number} is missing")))?;
            if !wanted(number, decode(&self.path, record.value())?)? {
                break;
            }
        }
        Ok(())
    }

    /// All tables exist from the first commit on, so that reading never meets a missing one.
    fn make_tables(&self) -> Result<()> {
        let transaction = self.database.begin_write().map_err(self.fault())?;
        t::each(&mut Make { index: self, transaction: &transaction })?;
        transaction.commit().map_err(self.fault())
    }

    fn record<T: DeserializeOwned>(
        &self,
        table: TableDefinition<t::Hash, t::Bytes>,
        key: &[u8; 32],
    ) -> Result<Option<T>> {
        let record = self.read(table, key, <[u8]>::to_vec)?;
        record.map(|record| decode(&self.path, &record)).transpose()
    }

    fn recipe_of(&self, bytes: &[u8]) -> Result<Recipe> {
        Recipe::decode(bytes).map_err(|reason| self.damaged(reason))
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

    fn damaged(&self, reason: String) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), reason }
    }

    fn fault<E: Into<redb::Error>>(&self) -> impl FnOnce(E) -> StoreError + use<'_, E> {
        fault_of(&self.path)
    }
}

struct Make<'i> {
    index: &'i Index,
    transaction: &'i WriteTransaction,
}

impl t::EachTable for Make<'_> {
    fn table<K: redb::Key + 'static, V: redb::Value + 'static>(
        &mut self,
        table: TableDefinition<K, V>,
    ) -> Result<()> {
        self.transaction.open_table(table).map(drop).map_err(self.index.fault())
    }
}

fn fault_of<E: Into<redb::Error>>(path: &Path) -> impl FnOnce(E) -> StoreError + use<'_, E> {
    move |error| fault(path, error)
}

fn decode<T: DeserializeOwned>(path: &Path, record: &[u8]) -> Result<T> {
    rmp_serde::from_slice(record)
        .map_err(|error| StoreError::Damaged { path: path.to_owned(), reason: error.to_string() })
}

fn fault<E: Into<redb::Error>>(path: &Path, error: E) -> StoreError {
    match error.into() {
        redb::Error::Io(source) if source.kind() == io::ErrorKind::InvalidData => {
            StoreError::Damaged { path: path.to_owned(), reason: source.to_string() }
        }
        redb::Error::Io(source) => StoreError::io("use the index", path)(source),
        error @ redb::Error::PreviousIo => {
            StoreError::io("use the index", path)(io::Error::other(error))
        }
        other @ redb::Error::TableTypeMismatch { .. } => {
            StoreError::Foreign { path: path.to_owned(), reason: other.to_string() }
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
