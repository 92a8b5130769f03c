//! The tables of the index. Their names, keys and values are part of the store's format.

use redb::{Key, TableDefinition, Value};

use crate::error::Result;

pub type Hash = &'static [u8; 32];
pub type Bytes = &'static [u8];

/// Content → `Blob`: everything that can be had.
pub const BLOBS: TableDefinition<Hash, Bytes> = TableDefinition::new("blobs");
/// Content → `Swept`: what was there once.
pub const SWEPT: TableDefinition<Hash, Bytes> = TableDefinition::new("swept");
/// Content → its chunks, 36 bytes each.
pub const RECIPES: TableDefinition<Hash, Bytes> = TableDefinition::new("recipes");
/// Chunk → its length, that of its file, and how many contents have it.
pub const CHUNKS: TableDefinition<Hash, (u64, u64, u64)> = TableDefinition::new("chunks");
/// Content → `Mark`.
pub const MARKS: TableDefinition<Hash, Bytes> = TableDefinition::new("marks");
/// Entry number → `Entry`.
pub const ENTRIES: TableDefinition<u64, Bytes> = TableDefinition::new("entries");
/// Hash of (reference, name, lineage) → entry number: one entry for the same.
pub const MADE: TableDefinition<Hash, u64> = TableDefinition::new("made");
/// (Facet, its value, entry number): the ways to look up an entry whose content is there.
pub const FACETS: TableDefinition<(u8, &str, u64), ()> = TableDefinition::new("facets");
/// (Input, entry number): what was made from it.
pub const INPUTS: TableDefinition<(Hash, u64), ()> = TableDefinition::new("inputs");
/// (Name, version) → an entry of its content, and when it was put.
pub const VERSIONS: TableDefinition<(&str, u64), (u64, &str)> = TableDefinition::new("versions");
/// (Tag, content) and (content, tag).
pub const TAGS: TableDefinition<(&str, Hash), ()> = TableDefinition::new("tags");
pub const TAGGED: TableDefinition<(Hash, &str), ()> = TableDefinition::new("tagged");
/// Content → `Score`.
pub const SCORES: TableDefinition<Hash, Bytes> = TableDefinition::new("scores");
/// (Content, who used it).
pub const USES: TableDefinition<(Hash, &str), ()> = TableDefinition::new("uses");
/// (Word, document) → how often.
pub const WORDS: TableDefinition<(u64, u64), u16> = TableDefinition::new("words");
/// Document → content, and back.
pub const DOCUMENTS: TableDefinition<u64, Hash> = TableDefinition::new("documents");
pub const DOCUMENT_OF: TableDefinition<Hash, u64> = TableDefinition::new("document-of");
/// Number → hash of the one before and this, then the record.
pub const AUDIT: TableDefinition<u64, Bytes> = TableDefinition::new("audit");
/// Folder of files → its seal.
pub const SHARDS: TableDefinition<u16, u64> = TableDefinition::new("shards");
/// The same in format 1, and no more in format 2: blob folders alone.
pub const SEALS: TableDefinition<u8, u64> = TableDefinition::new("seals");
/// Name of a counter → its value.
pub const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");
/// Name → bytes.
pub const TEXTS: TableDefinition<&str, Bytes> = TableDefinition::new("texts");

pub const GENERATION: &str = "generation";
pub const LAST_ENTRY: &str = "last-entry";
pub const LAST_DOCUMENT: &str = "last-document";
/// Absent in format 1.
pub const FORMAT: &str = "format";
/// Milliseconds between mark and sweep.
pub const GRACE: &str = "grace-ms";
/// What words are hashed with, sealed where there is a key.
pub const SECRET: &str = "secret";

/// What is done with every table.
pub trait EachTable {
    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<K, V>,
    ) -> Result<()>;
}

pub fn each(visitor: &mut impl EachTable) -> Result<()> {
    visitor.table(BLOBS)?;
    visitor.table(SWEPT)?;
    visitor.table(RECIPES)?;
    visitor.table(CHUNKS)?;
    visitor.table(MARKS)?;
    visitor.table(ENTRIES)?;
    visitor.table(MADE)?;
    visitor.table(FACETS)?;
    visitor.table(INPUTS)?;
    visitor.table(VERSIONS)?;
    visitor.table(TAGS)?;
    visitor.table(TAGGED)?;
    visitor.table(SCORES)?;
    visitor.table(USES)?;
    visitor.table(WORDS)?;
    visitor.table(DOCUMENTS)?;
    visitor.table(DOCUMENT_OF)?;
    visitor.table(AUDIT)?;
    visitor.table(SHARDS)?;
    visitor.table(NUMBERS)?;
    visitor.table(TEXTS)
}
