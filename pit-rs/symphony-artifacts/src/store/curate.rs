//! Deletion, in two phases: a mark, a time of grace in which any use takes it back, a sweep that cites its reason.

use std::collections::BTreeMap;

use super::{Store, Sweeping};
use crate::audit::Record;
use crate::curation::{Citation, Mark, Swept, GRACE_MS};
use crate::error::{Result, StoreError};
use crate::index::{Facet, GRACE};
use crate::info::{Blob, Kind};
use crate::words::MAX_TEXT;
use crate::{folder, instant, Reference};

impl Store {
    /// Milliseconds between mark and sweep.
    pub fn grace_ms(&mut self) -> Result<u64> {
        self.ready()?;
        let waits = self.batch.change.numbers.get(GRACE).copied();
        Ok(waits.or(self.index()?.number(GRACE)?).unwrap_or(GRACE_MS))
    }

    pub fn set_grace_ms(&mut self, grace_ms: u64) -> Result<()> {
        self.writable()?;
        self.batch.change.numbers.insert(GRACE, grace_ms);
        Ok(())
    }

    /// Marks what is there and was not put within the grace; how many bear a mark now.
    pub fn mark(&mut self, refs: &[Reference], why: &str, at: i64) -> Result<u64> {
        self.writable()?;
        self.settle()?;
        let grace = self.grace_ms()?;
        let mut marked = 0;
        for reference in refs {
            let Some(blob) = self.index()?.blob(reference)? else { continue };
            let put = self.put_at(reference, &blob)?;
            let since = Mark { at: put, why: String::new() };
            if since.is_ripe(at, grace) {
                let mark = Mark { at, why: why.to_owned() };
                self.batch.change.mark.insert(*reference, mark);
                marked += 1;
            }
        }
        Ok(marked)
    }

    /// When a content was last put. Format 1 did not write it down: its newest entry says it.
    fn put_at(&self, reference: &Reference, blob: &Blob) -> Result<i64> {
        if let Some(put) = blob.put {
            return Ok(put);
        }
        let mut newest = instant::read(&blob.created).unwrap_or(i64::MAX);
        self.index()?.entries(Facet::Reference, &reference.hex(), u64::MAX, |_, entry| {
            newest = newest.max(instant::read(&entry.created).unwrap_or(i64::MAX));
            Ok(true)
        })?;
        Ok(newest)
    }

    pub fn unmark(&mut self, refs: &[Reference]) -> Result<()> {
        self.writable()?;
        for reference in refs {
            self.batch.change.mark.remove(reference);
            self.batch.change.unmark.insert(*reference);
        }
        Ok(())
    }

    /// Takes the marks from these contents, of a folder also from its files, before they are used.
    pub(super) fn revive(&mut self, refs: impl Iterator<Item = Reference>) -> Result<()> {
        if self.options.read_only || self.secret.is_err() {
            // Nothing can be swept either.
            return Ok(());
        }
        let mut change = super::Batch::default();
        for reference in refs {
            self.want(&mut change, &reference)?;
            let Some(blob) = self.index()?.blob(&reference)? else { continue };
            if blob.kind() == Kind::Folder {
                let listing = self.content(&reference, &blob)?;
                for member in folder::decode(&listing).unwrap_or_default() {
                    self.want(&mut change, &member.reference)?;
                }
            }
        }
        if change.is_empty() {
            return Ok(());
        }
        self.batch.absorb(change);
        self.settle()
    }

    /// Frees what is marked for longer than the grace: durable when it returns. `record` goes into the audit trail with what was freed.
    pub fn sweep(
        &mut self,
        citations: &BTreeMap<Reference, Citation>,
        at: i64,
        record: Record,
    ) -> Result<Sweeping> {
        self.writable()?;
        self.settle()?;
        let grace = self.grace_ms()?;
        let (mut sweeping, mut ripe) = (Sweeping::default(), Vec::new());
        for (reference, citation) in citations {
            let Some(blob) = self.index()?.blob(reference)? else {
                sweeping.freed.push((*reference, 0));
                continue;
            };
            citation.check(&blob)?;
            match self.index()?.mark(reference)? {
                None => sweeping.revived.push(*reference),
                Some(mark) if mark.is_ripe(at, grace) => ripe.push((*reference, blob, citation)),
                Some(_) => {}
            }
        }
        if ripe.is_empty() {
            return Ok(sweeping);
        }
        for (reference, blob, citation) in ripe {
            sweeping.freed.push((reference, blob.bytes));
            let words = self.words_of(&reference, &blob)?;
            let swept = Swept { blob, at, citation: citation.clone() };
            self.batch.change.sweep.insert(reference, (swept, words));
        }
        let gone: Vec<Reference> = self.batch.change.sweep.keys().copied().collect();
        for refs in gone.chunks(crate::audit::MAX_REFS) {
            self.note_write(Record { refs: refs.to_vec(), ..record.clone() });
        }
        self.write_batch()?;
        Ok(sweeping)
    }

    /// The words that a content is found by. Of one that is damaged they stay, and find nothing.
    fn words_of(&mut self, reference: &Reference, blob: &Blob) -> Result<crate::words::Words> {
        let hasher = self.hasher()?;
        if blob.bytes > MAX_TEXT as u64 || !self.index()?.is_indexed(reference)? {
            return Ok(Default::default());
        }
        match self.content(reference, blob) {
            Ok(content) => Ok(hasher.words(&content, None).unwrap_or_default()),
            Err(StoreError::Corrupt { .. } | StoreError::Locked { .. }) => Ok(Default::default()),
            Err(error) => Err(error),
        }
    }
}
