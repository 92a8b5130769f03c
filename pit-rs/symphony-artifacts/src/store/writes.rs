//! How contents get into the batch that the next flush writes: each known one only once.

use std::collections::BTreeMap;
use std::io::BufReader;

use super::{Collected, Put, Store, Wanted};
use crate::blobs::{Content, NewBlob, CHUNK};
use crate::collect::Walk;
use crate::error::{Result, StoreError};
use crate::folder::{self, Member};
use crate::info::{About, Blob, Entry, FolderSize, Kind};
use crate::relative::RelativePath;
use crate::Reference;

/// Blobs that may wait for one flush; each takes about half a kilobyte of memory.
const MAX_BATCH: usize = 100_000;

/// What the next flush makes visible.
#[derive(Default)]
pub(super) struct Batch {
    pub files: BTreeMap<Reference, NewBlob>,
    pub records: BTreeMap<Reference, Blob>,
    pub entries: Vec<Entry>,
}

impl Batch {
    pub fn absorb(&mut self, other: Self) {
        self.files.extend(other.files);
        self.records.extend(other.records);
        self.entries.extend(other.entries);
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.records.is_empty() && self.entries.is_empty()
    }
}

impl Store {
    /// Lets a change wait for the next flush.
    pub(super) fn admit(&mut self, change: Batch) -> Result<()> {
        if self.batch.files.len() + change.files.len() > MAX_BATCH {
            return Err(StoreError::limit("batch", "too many blobs wait to be written"));
        }
        self.batch.absorb(change);
        Ok(())
    }

    /// Adds one content that is in memory to a change.
    pub(super) fn add(
        &mut self,
        change: &mut Batch,
        data: &[u8],
        about: &About,
        folder: Option<FolderSize>,
    ) -> Result<Put> {
        let reference = Reference::of(data);
        let bytes = data.len() as u64;
        let known = self.lookup(change, &reference)?;
        let file = match &known {
            Some(known) if self.holds(change, &reference, known) => None,
            _ => Some(self.blobs.write(Content {
                source: data,
                expected: bytes,
                media: about.media.as_deref(),
                limit: u64::MAX,
                place: "data",
            })?),
        };
        self.register(change, (reference, bytes), known, file, about, folder)
    }

    pub(super) fn collect_item(
        &mut self,
        change: &mut Batch,
        walk: &mut Walk,
        item: &Wanted,
    ) -> Result<Collected> {
        let mut members = Vec::new();
        let mut first = None;
        // Of a folder only the folder itself is named and derived, its files are contents.
        let plain = About { ts: item.about.ts.clone(), ..About::default() };
        let is_folder = walk.item(&item.path, &mut |walk, found| {
            let whole = found.path == item.path;
            let about = if whole { &item.about } else { &plain };
            let (limit, place) = (walk.bytes_left(), found.path.as_str());
            let file = self.blobs.write(Content {
                source: BufReader::with_capacity(CHUNK, found.file),
                expected: found.bytes,
                media: about.media.as_deref(),
                limit,
                place,
            })?;
            walk.took(file.bytes);
            let content = (file.reference, file.bytes);
            let known = self.lookup(change, &file.reference)?;
            let held = known.as_ref().is_some_and(|known| self.holds(change, &content.0, known));
            let put =
                self.register(change, content, known, (!held).then_some(file), about, None)?;
            if whole {
                first = Some(put);
            } else {
                let inner = &found.path.as_str()[item.path.as_str().len() + 1..];
                let path = RelativePath::parse(inner, place)?;
                let (reference, bytes) = content;
                members.push(Member { path, mode: found.mode, reference, bytes });
            }
            Ok(())
        })?;
        match first {
            Some(put) if !is_folder => {
                Ok(Collected { put, kind: Kind::File, bytes: put.bytes, files: 1 })
            }
            _ => {
                let files = members.len() as u64;
                let bytes = members.iter().map(|member| member.bytes).sum();
                let listing = folder::encode(members).map_err(StoreError::Bug)?;
                let size = FolderSize { bytes, files };
                let put = self.add(change, &listing, &item.about, Some(size))?;
                Ok(Collected { put, kind: Kind::Folder, bytes, files })
            }
        }
    }

    /// Notes in a change what was learnt about a content; `file` is its blob where one has to be placed.
    fn register(
        &self,
        change: &mut Batch,
        (reference, bytes): (Reference, u64),
        known: Option<Blob>,
        file: Option<NewBlob>,
        about: &About,
        folder: Option<FolderSize>,
    ) -> Result<Put> {
        let mut record = known.clone().unwrap_or_else(|| Blob {
            bytes,
            stored: 0,
            folder: None,
            media: None,
            created: about.ts.clone(),
        });
        record.folder = record.folder.or(folder);
        record.media = record.media.or_else(|| about.media.clone());
        if let Some(file) = file {
            record.stored = file.stored;
            change.files.insert(reference, file);
        }
        if known.as_ref() != Some(&record) {
            change.records.insert(reference, record);
        }
        if let Some(entry) = about.entry(reference) {
            if !self.index()?.has_entry(&entry)? {
                change.entries.push(entry);
            }
        }
        Ok(Put { reference, bytes, new: known.is_none() })
    }

    /// What is known of a content: by this change, by the waiting batch, by the index.
    fn lookup(&self, change: &Batch, reference: &Reference) -> Result<Option<Blob>> {
        let waiting = change.records.get(reference).or_else(|| self.batch.records.get(reference));
        match waiting {
            Some(blob) => Ok(Some(blob.clone())),
            None => self.index()?.blob(reference),
        }
    }

    /// Whether the bytes of a known content need not be written again.
    fn holds(&self, change: &Batch, reference: &Reference, known: &Blob) -> bool {
        change.files.contains_key(reference)
            || self.batch.files.contains_key(reference)
            || (!self.damaged.contains(reference) && self.blobs.holds(reference, known.stored))
    }
}
