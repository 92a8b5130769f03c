//! What can be asked of the index beside contents and their entries.

use redb::{ReadableDatabase, ReadableTableMetadata};

use super::tables as t;
use super::{decode, Index};
use crate::audit::Link;
use crate::curation::{Mark, Swept};
use crate::error::Result;
use crate::info::{Blob, Entry};
use crate::layout::Place;
use crate::quality::Score;
use crate::Reference;

impl Index {
    pub fn swept(&self, reference: &Reference) -> Result<Option<Swept>> {
        self.record(t::SWEPT, reference.as_bytes())
    }

    pub fn mark(&self, reference: &Reference) -> Result<Option<Mark>> {
        self.record(t::MARKS, reference.as_bytes())
    }

    pub fn score(&self, reference: &Reference) -> Result<Option<Score>> {
        self.record(t::SCORES, reference.as_bytes())
    }

    pub fn was_used(&self, reference: &Reference, by: &str) -> Result<bool> {
        Ok(self.read(t::USES, (reference.as_bytes(), by), |()| ())?.is_some())
    }

    pub fn is_indexed(&self, reference: &Reference) -> Result<bool> {
        Ok(self.read(t::DOCUMENT_OF, reference.as_bytes(), |_| ())?.is_some())
    }

    pub fn entry(&self, number: u64) -> Result<Option<Entry>> {
        let record = self.read(t::ENTRIES, number, <[u8]>::to_vec)?;
        record.map(|record| decode(&self.path, &record)).transpose()
    }

    /// The tags of a content, sorted.
    pub fn tags(&self, reference: &Reference) -> Result<Vec<String>> {
        let hash = reference.as_bytes();
        let transaction = self.database.begin_read().map_err(self.fault())?;
        let table = transaction.open_table(t::TAGGED).map_err(self.fault())?;
        let mut tags = Vec::new();
        for item in table.range((hash, "")..).map_err(self.fault())? {
            let key = item.map_err(self.fault())?.0;
            let (owner, tag) = key.value();
            if owner != hash {
                break;
            }
            tags.push(tag.to_owned());
        }
        Ok(tags)
    }

    /// The tags of what is there behind `after`, sorted, with how many contents have them, while `each` says to go on.
    pub fn all_tags(
        &self,
        after: &str,
        mut each: impl FnMut(&str, u64) -> Result<bool>,
    ) -> Result<()> {
        let transaction = self.database.begin_read().map_err(self.fault())?;
        let table = transaction.open_table(t::TAGS).map_err(self.fault())?;
        let blobs = transaction.open_table(t::BLOBS).map_err(self.fault())?;
        let mut current: Option<(String, u64)> = None;
        for item in table.range((after, &[0xff; 32])..).map_err(self.fault())? {
            let key = item.map_err(self.fault())?.0;
            let (tag, hash) = key.value();
            // What was swept keeps its tags, and is not counted.
            if tag == after || blobs.get(hash).map_err(self.fault())?.is_none() {
                continue;
            }
            match &mut current {
                Some((last, count)) if last == tag => *count += 1,
                _ => {
                    if let Some((last, count)) = current.take() {
                        if !each(&last, count)? {
                            return Ok(());
                        }
                    }
                    current = Some((tag.to_owned(), 1));
                }
            }
        }
        if let Some((last, count)) = current {
            each(&last, count)?;
        }
        Ok(())
    }

    /// Contents with this tag behind `after`, by hash, while `each` says to go on.
    pub fn tagged(
        &self,
        tag: &str,
        after: Option<&Reference>,
        mut each: impl FnMut(Reference) -> Result<bool>,
    ) -> Result<()> {
        use std::ops::Bound::{Excluded, Included};
        let transaction = self.database.begin_read().map_err(self.fault())?;
        let table = transaction.open_table(t::TAGS).map_err(self.fault())?;
        let from = match after {
            None => Included((tag, &[0; 32])),
            Some(after) => Excluded((tag, after.as_bytes())),
        };
        let range = (from, Included((tag, &[0xff; 32])));
        for item in table.range::<(&str, &[u8; 32])>(range).map_err(self.fault())? {
            let key = item.map_err(self.fault())?.0;
            if !each(Reference::from(*key.value().1))? {
                break;
            }
        }
        Ok(())
    }

    /// Versions of a name older than `before`, each with an entry of its content and when it was put, newest first.
    pub fn versions(
        &self,
        name: &str,
        before: u64,
        mut each: impl FnMut(u64, Entry, &str) -> Result<bool>,
    ) -> Result<()> {
        let transaction = self.database.begin_read().map_err(self.fault())?;
        let table = transaction.open_table(t::VERSIONS).map_err(self.fault())?;
        let range = table.range((name, 0)..(name, before)).map_err(self.fault())?;
        for item in range.rev() {
            let (key, began) = item.map_err(self.fault())?;
            let (number, created) = began.value();
            let entry = self.entry(number)?;
            let entry = entry.ok_or_else(|| self.damaged(format!("entry {number} is missing")))?;
            if !each(key.value().1, entry, created)? {
                break;
            }
        }
        Ok(())
    }

    /// Entries that were made from this content, newest first, at most `limit`.
    pub fn made_from(&self, input: &Reference, limit: usize) -> Result<Vec<Entry>> {
        let hash = input.as_bytes();
        let transaction = self.database.begin_read().map_err(self.fault())?;
        let table = transaction.open_table(t::INPUTS).map_err(self.fault())?;
        let range = table.range((hash, 0)..=(hash, u64::MAX)).map_err(self.fault())?;
        let mut entries = Vec::new();
        for item in range.rev().take(limit) {
            let number = item.map_err(self.fault())?.0.value().1;
            entries.extend(self.entry(number)?);
        }
        Ok(entries)
    }

    /// Documents that hold a word, newest first, with how often it stands there.
    pub fn holding(&self, word: u64, limit: usize) -> Result<Vec<(u64, u16)>> {
        let transaction = self.database.begin_read().map_err(self.fault())?;
        let table = transaction.open_table(t::WORDS).map_err(self.fault())?;
        let range = table.range((word, 0)..=(word, u64::MAX)).map_err(self.fault())?;
        let mut found = Vec::new();
        for item in range.rev().take(limit) {
            let (key, often) = item.map_err(self.fault())?;
            found.push((key.value().1, often.value()));
        }
        Ok(found)
    }

    /// How many documents there are.
    pub fn documents(&self) -> Result<u64> {
        let transaction = self.database.begin_read().map_err(self.fault())?;
        let table = transaction.open_table(t::DOCUMENTS).map_err(self.fault())?;
        table.len().map_err(self.fault())
    }

    pub fn document(&self, number: u64) -> Result<Option<Reference>> {
        self.read(t::DOCUMENTS, number, |hash| Reference::from(*hash))
    }

    /// Audit records behind `after`, while `each` says to go on.
    pub fn audit(&self, after: u64, mut each: impl FnMut(Link) -> Result<bool>) -> Result<()> {
        let transaction = self.database.begin_read().map_err(self.fault())?;
        let table = transaction.open_table(t::AUDIT).map_err(self.fault())?;
        for item in table.range(after.saturating_add(1)..).map_err(self.fault())? {
            let (number, link) = item.map_err(self.fault())?;
            let link = Link::decode(number.value(), link.value());
            if !each(link.map_err(|reason| self.damaged(reason))?)? {
                break;
            }
        }
        Ok(())
    }

    /// Contents behind `after`, by hash, while `each` says to go on.
    pub fn blobs(
        &self,
        after: Option<&Reference>,
        mut each: impl FnMut(Reference, Blob) -> Result<bool>,
    ) -> Result<()> {
        use std::ops::Bound::{Excluded, Unbounded};
        let transaction = self.database.begin_read().map_err(self.fault())?;
        let table = transaction.open_table(t::BLOBS).map_err(self.fault())?;
        let from = after.map_or(Unbounded, |after| Excluded(after.as_bytes()));
        let range = table.range::<&[u8; 32]>((from, Unbounded)).map_err(self.fault())?;
        for item in range {
            let (hash, record) = item.map_err(self.fault())?;
            let reference = Reference::from(*hash.value());
            if !each(reference, decode(&self.path, record.value())?)? {
                break;
            }
        }
        Ok(())
    }

    /// Files behind `after` with the lengths of what they hold: blobs, then chunks, by hash.
    pub fn files(
        &self,
        after: Option<Place>,
        mut each: impl FnMut(Place, u64) -> Result<bool>,
    ) -> Result<()> {
        use std::ops::Bound::{Excluded, Unbounded};
        let mut going = true;
        let blob = after.filter(|after| *after < Place::chunk(Reference::from([0; 32])));
        if after.is_none() || blob.is_some() {
            self.blobs(blob.map(|blob| blob.hash).as_ref(), |reference, blob| {
                going = blob.chunked || each(Place::blob(reference), blob.bytes)?;
                Ok(going)
            })?;
        }
        if !going {
            return Ok(());
        }
        let transaction = self.database.begin_read().map_err(self.fault())?;
        let table = transaction.open_table(t::CHUNKS).map_err(self.fault())?;
        let chunk = after.filter(|_| blob.is_none()).map(|after| after.hash);
        let from = chunk.as_ref().map_or(Unbounded, |after| Excluded(after.as_bytes()));
        for item in table.range::<&[u8; 32]>((from, Unbounded)).map_err(self.fault())? {
            let (hash, row) = item.map_err(self.fault())?;
            if !each(Place::chunk(Reference::from(*hash.value())), row.value().0)? {
                break;
            }
        }
        Ok(())
    }
}
