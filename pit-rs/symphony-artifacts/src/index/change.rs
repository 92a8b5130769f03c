//! What one commit changes, and how: a transaction that makes all of it visible, or nothing.

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadableTable, Table, WriteTransaction};

use super::tables::{self as t, Bytes, Hash};
use super::{decode, encode, facets_of, identity, Facet, Index};
use crate::audit;
use crate::chunking::Recipe;
use crate::curation::{Mark, Swept};
use crate::error::Result;
use crate::info::{Blob, Entry};
use crate::layout::{Place, Seal, Shard};
use crate::quality::Score;
use crate::words::Words;
use crate::Reference;

/// Everything that one commit makes visible.
#[derive(Default)]
pub struct Change {
    pub blobs: BTreeMap<Reference, Blob>,
    /// Of contents in `blobs`; their chunks are in `chunks` or known.
    pub recipes: BTreeMap<Reference, Recipe>,
    /// Chunks whose files are new: lengths of chunk and file.
    pub chunks: BTreeMap<Reference, (u64, u64)>,
    pub entries: Vec<Entry>,
    pub words: BTreeMap<Reference, Words>,
    pub unmark: BTreeSet<Reference>,
    pub mark: BTreeMap<Reference, Mark>,
    /// Contents that are to go, with what that rests on and the words they were found by.
    pub sweep: BTreeMap<Reference, (Swept, Words)>,
    pub tags: BTreeMap<(Reference, String), bool>,
    pub scores: BTreeMap<Reference, Score>,
    pub uses: BTreeSet<(Reference, String)>,
    pub numbers: BTreeMap<&'static str, u64>,
    pub secret: Option<Vec<u8>>,
    pub audit: Vec<audit::Record>,
}

impl Change {
    /// Adds a later change; neither has audit records yet.
    pub fn absorb(&mut self, other: Self) {
        self.blobs.extend(other.blobs);
        self.recipes.extend(other.recipes);
        self.chunks.extend(other.chunks);
        self.entries.extend(other.entries);
        self.words.extend(other.words);
        for reference in other.unmark {
            // A mark that waits was set before.
            self.mark.remove(&reference);
            self.unmark.insert(reference);
        }
        self.mark.extend(other.mark);
        self.sweep.extend(other.sweep);
        self.tags.extend(other.tags);
        for (reference, score) in other.scores {
            self.scores.entry(reference).or_default().set(&score);
        }
        self.uses.extend(other.uses);
        self.numbers.extend(other.numbers);
        self.secret = other.secret.or(self.secret.take());
    }

    /// Whether nothing but audit records is in it.
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty()
            && self.recipes.is_empty()
            && self.chunks.is_empty()
            && self.entries.is_empty()
            && self.unmark.is_empty()
            && self.mark.is_empty()
            && self.sweep.is_empty()
            && self.tags.is_empty()
            && self.scores.is_empty()
            && self.uses.is_empty()
            && self.numbers.is_empty()
            && self.secret.is_none()
    }
}

impl Index {
    /// Makes all of `change` visible and durable, or none; gives the files that nothing needs any more. After an
    /// error the index must be reopened.
    pub fn commit(&mut self, change: &Change, seals: &BTreeMap<Shard, Seal>) -> Result<Vec<Place>> {
        let transaction = self.database.begin_write().map_err(self.fault())?;
        let generation = self.generation + 1;
        let mut gone = Vec::new();
        {
            let mut work = Work::open(self, &transaction)?;
            for (shard, seal) in seals {
                work.shards.insert(shard.0, seal).map_err(self.fault())?;
            }
            work.contents(change)?;
            work.entries(change)?;
            work.words(change)?;
            work.labels(change)?;
            gone.append(&mut work.gone);
            for (reference, (swept, words)) in &change.sweep {
                work.sweep(reference, swept, words)?;
            }
            gone.append(&mut work.gone);
            // Until the files are gone their folders' seals are broken, so that a crash leaves none behind.
            for place in &gone {
                work.shards.insert(place.shard().0, generation).map_err(self.fault())?;
            }
            for (name, value) in &change.numbers {
                work.numbers.insert(*name, value).map_err(self.fault())?;
            }
            work.numbers.insert(t::GENERATION, generation).map_err(self.fault())?;
        }
        if let Some(secret) = &change.secret {
            let mut texts = transaction.open_table(t::TEXTS).map_err(self.fault())?;
            texts.insert(t::SECRET, secret.as_slice()).map_err(self.fault())?;
        }
        if !change.audit.is_empty() {
            let mut table = transaction.open_table(t::AUDIT).map_err(self.fault())?;
            let last = table.last().map_err(self.fault())?;
            let last = last.map(|(number, link)| (number.value(), link.value().to_vec()));
            let mut chain = audit::Chain::after(last).map_err(|reason| self.damaged(reason))?;
            for record in &change.audit {
                let (number, link) = chain.link(record)?;
                table.insert(number, link.as_slice()).map_err(self.fault())?;
            }
        }
        transaction.commit().map_err(self.fault())?;
        self.generation = generation;
        Ok(gone)
    }
}

/// The tables of one transaction that most changes need.
struct Work<'t, 'i> {
    index: &'i Index,
    blobs: Table<'t, Hash, Bytes>,
    swept: Table<'t, Hash, Bytes>,
    recipes: Table<'t, Hash, Bytes>,
    chunks: Table<'t, Hash, (u64, u64, u64)>,
    marks: Table<'t, Hash, Bytes>,
    entries: Table<'t, u64, Bytes>,
    made: Table<'t, Hash, u64>,
    facets: Table<'t, (u8, &'static str, u64), ()>,
    inputs: Table<'t, (Hash, u64), ()>,
    versions: Versions<'t>,
    tags: Table<'t, (&'static str, Hash), ()>,
    tagged: Table<'t, (Hash, &'static str), ()>,
    scores: Table<'t, Hash, Bytes>,
    uses: Table<'t, (Hash, &'static str), ()>,
    words: Table<'t, (u64, u64), u16>,
    documents: Table<'t, u64, Hash>,
    document_of: Table<'t, Hash, u64>,
    shards: Table<'t, u16, u64>,
    numbers: Table<'t, &'static str, u64>,
    gone: Vec<Place>,
}

impl<'t, 'i> Work<'t, 'i> {
    fn open(index: &'i Index, transaction: &'t WriteTransaction) -> Result<Self> {
        Ok(Self {
            index,
            blobs: transaction.open_table(t::BLOBS).map_err(index.fault())?,
            swept: transaction.open_table(t::SWEPT).map_err(index.fault())?,
            recipes: transaction.open_table(t::RECIPES).map_err(index.fault())?,
            chunks: transaction.open_table(t::CHUNKS).map_err(index.fault())?,
            marks: transaction.open_table(t::MARKS).map_err(index.fault())?,
            entries: transaction.open_table(t::ENTRIES).map_err(index.fault())?,
            made: transaction.open_table(t::MADE).map_err(index.fault())?,
            facets: transaction.open_table(t::FACETS).map_err(index.fault())?,
            inputs: transaction.open_table(t::INPUTS).map_err(index.fault())?,
            versions: transaction.open_table(t::VERSIONS).map_err(index.fault())?,
            tags: transaction.open_table(t::TAGS).map_err(index.fault())?,
            tagged: transaction.open_table(t::TAGGED).map_err(index.fault())?,
            scores: transaction.open_table(t::SCORES).map_err(index.fault())?,
            uses: transaction.open_table(t::USES).map_err(index.fault())?,
            words: transaction.open_table(t::WORDS).map_err(index.fault())?,
            documents: transaction.open_table(t::DOCUMENTS).map_err(index.fault())?,
            document_of: transaction.open_table(t::DOCUMENT_OF).map_err(index.fault())?,
            shards: transaction.open_table(t::SHARDS).map_err(index.fault())?,
            numbers: transaction.open_table(t::NUMBERS).map_err(index.fault())?,
            gone: Vec::new(),
        })
    }

    fn contents(&mut self, change: &Change) -> Result<()> {
        let index = self.index;
        for (hash, (bytes, stored)) in &change.chunks {
            let known = self.chunks.get(hash.as_bytes()).map_err(index.fault())?;
            let users = known.map_or(0, |known| known.value().2);
            let row = (*bytes, *stored, users);
            self.chunks.insert(hash.as_bytes(), row).map_err(index.fault())?;
        }
        for (reference, recipe) in &change.recipes {
            let recipe_bytes = recipe.encode();
            let former = self.recipes.insert(reference.as_bytes(), recipe_bytes.as_slice());
            let former = former.map_err(index.fault())?.map(|former| former.value().to_vec());
            if former.as_ref() == Some(&recipe_bytes) {
                continue;
            }
            self.count(recipe, true)?;
            if let Some(former) = former {
                self.count(&index.recipe_of(&former)?, false)?;
            }
        }
        for (reference, blob) in &change.blobs {
            let record = encode(blob)?;
            let former = self.blobs.insert(reference.as_bytes(), record.as_slice());
            let former = former.map_err(index.fault())?.map(|former| former.value().to_vec());
            let former: Option<Blob> =
                former.map(|former| decode(&index.path, &former)).transpose()?;
            if blob.chunked && former.is_some_and(|former| !former.chunked) {
                self.gone.push(Place::blob(*reference));
            }
            let swept = self.swept.remove(reference.as_bytes()).map_err(index.fault())?.is_some();
            if swept {
                self.facets(reference, true)?;
            }
        }
        Ok(())
    }

    /// One more, or one less, content has these chunks.
    fn count(&mut self, recipe: &Recipe, more: bool) -> Result<()> {
        let index = self.index;
        let hashes: BTreeSet<Reference> = recipe.0.iter().map(|chunk| chunk.hash).collect();
        for hash in hashes {
            let row = self.chunks.get(hash.as_bytes()).map_err(index.fault())?;
            let row = row.map(|row| row.value());
            let (bytes, stored, users) = match row {
                Some(row) => row,
                None if more => {
                    return Err(index.damaged(format!("the chunk {hash} is missing")));
                }
                None => continue,
            };
            if !more && users <= 1 {
                self.chunks.remove(hash.as_bytes()).map_err(index.fault())?;
                self.gone.push(Place::chunk(hash));
                continue;
            }
            let users = if more { users + 1 } else { users - 1 };
            let row = (bytes, stored, users);
            self.chunks.insert(hash.as_bytes(), row).map_err(index.fault())?;
        }
        Ok(())
    }

    fn entries(&mut self, change: &Change) -> Result<()> {
        let index = self.index;
        let last = self.numbers.get(t::LAST_ENTRY).map_err(index.fault())?;
        let mut last = last.map_or(0, |last| last.value());
        for entry in &change.entries {
            let identity = identity(entry)?;
            let known = self.made.get(&identity).map_err(index.fault())?;
            if let Some(number) = known.map(|known| known.value()) {
                // It is known, and may yet begin a version: others came after it.
                number_version(&mut self.versions, &self.entries, index, number, entry)?;
                continue;
            }
            last += 1;
            self.made.insert(&identity, last).map_err(index.fault())?;
            self.entries.insert(last, encode(entry)?.as_slice()).map_err(index.fault())?;
            for (facet, value) in facets_of(entry) {
                let key = (facet as u8, value.as_str(), last);
                self.facets.insert(key, ()).map_err(index.fault())?;
            }
            derive(&mut self.inputs, &mut self.versions, &self.entries, index, last, entry)?;
        }
        self.numbers.insert(t::LAST_ENTRY, last).map_err(index.fault())?;
        Ok(())
    }

    /// Lets the entries of a content be found, or no more. By the content itself they always are.
    fn facets(&mut self, reference: &Reference, there: bool) -> Result<()> {
        let index = self.index;
        let hex = reference.hex();
        let own = Facet::Reference as u8;
        let range = (own, hex.as_str(), 0)..=(own, hex.as_str(), u64::MAX);
        let mut numbers = Vec::new();
        for item in self.facets.range(range).map_err(index.fault())? {
            numbers.push(item.map_err(index.fault())?.0.value().2);
        }
        for number in numbers {
            let record = self.entries.get(number).map_err(index.fault())?;
            let record = record.map(|record| record.value().to_vec());
            let record =
                record.ok_or_else(|| index.damaged(format!("entry {number} is missing")))?;
            let entry: Entry = decode(&index.path, &record)?;
            for (facet, value) in facets_of(&entry) {
                let key = (facet as u8, value.as_str(), number);
                if there {
                    self.facets.insert(key, ()).map_err(index.fault())?;
                } else if facet != Facet::Reference {
                    self.facets.remove(key).map_err(index.fault())?;
                }
            }
        }
        Ok(())
    }

    fn words(&mut self, change: &Change) -> Result<()> {
        let index = self.index;
        let own = Facet::Reference as u8;
        for (reference, words) in &change.words {
            let hex = reference.hex();
            let range = (own, hex.as_str(), 0)..=(own, hex.as_str(), u64::MAX);
            let has_entry = self.facets.range(range).map_err(index.fault())?.next().is_some();
            let known =
                self.document_of.get(reference.as_bytes()).map_err(index.fault())?.is_some();
            if !has_entry || known {
                continue;
            }
            let last = self.numbers.get(t::LAST_DOCUMENT).map_err(index.fault())?;
            let number = last.map_or(0, |last| last.value()) + 1;
            self.numbers.insert(t::LAST_DOCUMENT, number).map_err(index.fault())?;
            self.documents.insert(number, reference.as_bytes()).map_err(index.fault())?;
            self.document_of.insert(reference.as_bytes(), number).map_err(index.fault())?;
            for (word, often) in words {
                self.words.insert((*word, number), often).map_err(index.fault())?;
            }
        }
        Ok(())
    }

    fn labels(&mut self, change: &Change) -> Result<()> {
        let index = self.index;
        for reference in &change.unmark {
            self.marks.remove(reference.as_bytes()).map_err(index.fault())?;
        }
        for (reference, mark) in &change.mark {
            let known = self.marks.get(reference.as_bytes()).map_err(index.fault())?.is_some();
            if !known {
                let record = encode(mark)?;
                self.marks
                    .insert(reference.as_bytes(), record.as_slice())
                    .map_err(index.fault())?;
            }
        }
        for ((reference, tag), there) in &change.tags {
            let (forth, back) = ((tag.as_str(), reference.as_bytes()), (reference.as_bytes(), tag));
            if *there {
                self.tags.insert(forth, ()).map_err(index.fault())?;
                self.tagged.insert((back.0, back.1.as_str()), ()).map_err(index.fault())?;
            } else {
                self.tags.remove(forth).map_err(index.fault())?;
                self.tagged.remove((back.0, back.1.as_str())).map_err(index.fault())?;
            }
        }
        for (reference, score) in &change.scores {
            self.score(reference, |known| known.set(score))?;
        }
        for (reference, by) in &change.uses {
            let key = (reference.as_bytes(), by.as_str());
            let again = self.uses.insert(key, ()).map_err(index.fault())?.is_some();
            if !again {
                self.score(reference, |score| score.uses += 1)?;
            }
        }
        Ok(())
    }

    fn score(&mut self, reference: &Reference, set: impl FnOnce(&mut Score)) -> Result<()> {
        let index = self.index;
        let record = self.scores.get(reference.as_bytes()).map_err(index.fault())?;
        let known = record.map(|record| decode(&index.path, record.value())).transpose()?;
        let mut score: Score = known.unwrap_or_default();
        set(&mut score);
        let record = encode(&score)?;
        self.scores.insert(reference.as_bytes(), record.as_slice()).map_err(index.fault())?;
        Ok(())
    }

    fn sweep(&mut self, reference: &Reference, swept: &Swept, words: &Words) -> Result<()> {
        let index = self.index;
        let hash = reference.as_bytes();
        if self.blobs.remove(hash).map_err(index.fault())?.is_none() {
            return Ok(());
        }
        self.swept.insert(hash, encode(swept)?.as_slice()).map_err(index.fault())?;
        self.marks.remove(hash).map_err(index.fault())?;
        self.facets(reference, false)?;
        let document = self.document_of.remove(hash).map_err(index.fault())?;
        if let Some(document) = document.map(|document| document.value()) {
            self.documents.remove(document).map_err(index.fault())?;
            for word in words.keys() {
                self.words.remove((*word, document)).map_err(index.fault())?;
            }
        }
        let recipe = self.recipes.remove(hash).map_err(index.fault())?;
        match recipe.map(|recipe| recipe.value().to_vec()) {
            Some(recipe) => self.count(&index.recipe_of(&recipe)?, false)?,
            None => self.gone.push(Place::blob(*reference)),
        }
        Ok(())
    }
}

/// What follows from an entry: whose product its inputs went into, and which version of its name it began.
pub fn derive(
    inputs: &mut Table<'_, (Hash, u64), ()>,
    versions: &mut Versions<'_>,
    entries: &impl ReadableTable<u64, Bytes>,
    index: &Index,
    number: u64,
    entry: &Entry,
) -> Result<()> {
    let made = entry.made.iter().flat_map(|made| made.inputs.iter().flatten());
    for input in made {
        inputs.insert((input.as_bytes(), number), ()).map_err(index.fault())?;
    }
    number_version(versions, entries, index, number, entry)
}

type Versions<'t> = Table<'t, (&'static str, u64), (u64, &'static str)>;

/// Begins a version of the entry's name, unless the newest one has the same content.
fn number_version(
    versions: &mut Versions<'_>,
    entries: &impl ReadableTable<u64, Bytes>,
    index: &Index,
    number: u64,
    entry: &Entry,
) -> Result<()> {
    let Some(name) = &entry.name else { return Ok(()) };
    let newest = {
        let mut range = versions
            .range((name.as_str(), 0)..=(name.as_str(), u64::MAX))
            .map_err(index.fault())?;
        let newest = range.next_back().transpose().map_err(index.fault())?;
        newest.map(|(key, began)| (key.value().1, began.value().0))
    };
    let mut version = 0;
    if let Some((last, began)) = newest {
        version = last;
        let record = entries.get(began).map_err(index.fault())?;
        let former: Option<Entry> =
            record.map(|record| decode(&index.path, record.value())).transpose()?;
        if former.is_some_and(|former| former.reference == entry.reference) {
            return Ok(());
        }
    }
    let began = (number, entry.created.as_str());
    versions.insert((name.as_str(), version + 1), began).map_err(index.fault())?;
    Ok(())
}
