//! How contents get into the batch that the next flush writes: each known one only once.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};

use super::{Collected, Put, Store, Wanted};
use crate::blobs::{Kept, Manner, NewBlob, CHUNK};
use crate::chunking::{self, Chunk, Chunker, Recipe, CHUNKED};
use crate::collect::Walk;
use crate::error::{Result, StoreError};
use crate::folder::{self, Member};
use crate::index::Change;
use crate::info::{About, Blob, FolderSize, Kind};
use crate::layout::Place;
use crate::relative::RelativePath;
use crate::writing;
use crate::Reference;

/// Files that may wait for one flush; each takes about half a kilobyte of memory.
const MAX_BATCH: usize = 100_000;
/// What lies behind so many bytes of a content is written past the page cache.
const CACHED: usize = 32 * 1024 * 1024;

/// What the next flush makes visible.
#[derive(Default)]
pub(super) struct Batch {
    pub files: BTreeMap<Place, NewBlob>,
    pub change: Change,
}

impl Batch {
    pub fn absorb(&mut self, other: Self) {
        self.files.extend(other.files);
        self.change.absorb(other.change);
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.change.is_empty()
    }
}

/// How the bytes of a content are kept, and what has to be written for that.
pub(super) enum Form {
    /// Nothing is to be written.
    Known,
    Whole(NewBlob),
    Chunked(Recipe, Box<Batch>),
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
        let media = about.media.as_deref();
        let form = match &known {
            Some(known) if self.holds(change, &reference, known)? => Form::Known,
            _ if data.len() >= CHUNKED => {
                let (mut chunks, mut batch) = (Vec::new(), Batch::default());
                let mut chunker = Chunker::default();
                let mut take = |content: &[u8]| {
                    let hash = Reference::of(content);
                    let (chunk, file) = self.chunk(change, &batch, hash, content)?;
                    if let Some(file) = file {
                        let file = self.blobs.write(file.place, content, Manner::fast(media))?;
                        batch.change.chunks.insert(hash, (file.bytes, file.stored));
                        batch.files.insert(file.place, file);
                    }
                    chunks.push(chunk);
                    Ok(())
                };
                chunker.write(data, &mut take)?;
                chunker.finish(take)?;
                Form::Chunked(Recipe(chunks), Box::new(batch))
            }
            _ => {
                let place = Place::blob(reference);
                Form::Whole(self.blobs.write(place, data, Manner::fast(media))?)
            }
        };
        let put = self.register(change, (reference, bytes), known, form, about, folder)?;
        if self.lookup(change, &reference)?.is_some_and(|blob| blob.folder.is_some()) {
            // Whoever puts a folder's listing wants its files.
            for member in folder::decode(data).unwrap_or_default() {
                self.want(change, &member.reference)?;
            }
        }
        self.index_words(change, &reference, data, about)?;
        Ok(put)
    }

    /// Notes the words of a text that has, or now gets, an entry.
    fn index_words(
        &self,
        change: &mut Batch,
        reference: &Reference,
        data: &[u8],
        about: &About,
    ) -> Result<()> {
        let index = self.index()?;
        let named = about.name.is_some() || about.made.is_some();
        if (named || index.swept(reference)?.is_some()) && !index.is_indexed(reference)? {
            if let Some(words) = self.hasher()?.words(data, about.media.as_deref()) {
                change.change.words.insert(*reference, words);
            }
        }
        Ok(())
    }

    /// A chunk for `batch`, and its file to be written unless there is one; `change` is what is being put besides.
    pub(super) fn chunk(
        &mut self,
        change: &Batch,
        batch: &Batch,
        hash: Reference,
        content: &[u8],
    ) -> Result<(Chunk, Option<NewBlob>)> {
        let bytes = u32::try_from(content.len())
            .map_err(|_| StoreError::Bug("a chunk is too long".to_owned()))?;
        let waits = |batch: &Batch| batch.change.chunks.contains_key(&hash);
        let known = waits(batch) || waits(change) || waits(&self.batch) || self.has_chunk(&hash)?;
        let file = (!known).then(|| self.blobs.draft(Place::chunk(hash), bytes.into()));
        Ok((Chunk { hash, bytes }, file))
    }

    /// Cuts a content that comes from elsewhere, and writes those of its chunks that are not known. Gives reference,
    /// length and recipe; what is to be committed is in `batch`.
    pub(super) fn cut(
        &mut self,
        change: &Batch,
        batch: &mut Batch,
        media: Option<&str>,
        (source, limit): (impl Read + Send, u64),
        fault: impl FnOnce(io::Error) -> StoreError,
        too_long: impl FnOnce() -> StoreError,
    ) -> Result<(Reference, u64, Recipe)> {
        let (mut chunks, mut taken) = (Vec::new(), 0);
        let pen = self.blobs.pen();
        let written = writing::with(&pen, media, |writers| {
            chunking::stream(source, limit, fault, too_long, |hash, content| {
                let (chunk, file) = self.chunk(change, batch, hash, &content)?;
                taken += content.len();
                if let Some(file) = file {
                    writers.write(&file, content, taken > CACHED)?;
                    batch.change.chunks.insert(hash, (file.bytes, 0));
                    batch.files.insert(file.place, file);
                }
                chunks.push(chunk);
                Ok(())
            })
        });
        let ((reference, bytes), written) = written?;
        for (place, stored) in written {
            if let Some(file) = batch.files.get_mut(&place) {
                file.stored = stored;
                batch.change.chunks.insert(place.hash, (file.bytes, stored));
            }
        }
        Ok((reference, bytes, Recipe(chunks)))
    }

    /// Whether the store has a chunk and need not be given it again.
    pub(super) fn has_chunk(&self, hash: &Reference) -> Result<bool> {
        if self.damaged.contains(hash) {
            return Ok(false);
        }
        let known = self.index()?.chunk(hash)?;
        Ok(known.is_some_and(|(_, stored)| self.blobs.holds(&Place::chunk(*hash), stored)))
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
            let put = self.take(change, found.file, limit, place, about)?;
            walk.took(put.bytes);
            if whole {
                first = Some(put);
            } else {
                let inner = &found.path.as_str()[item.path.as_str().len() + 1..];
                let path = RelativePath::parse(inner, place)?;
                let Put { reference, bytes, .. } = put;
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

    /// Takes a file in. What fits into memory is treated like anything put; more is cut while it is read.
    fn take(
        &mut self,
        change: &mut Batch,
        file: impl Read + Send,
        limit: u64,
        place: &str,
        about: &About,
    ) -> Result<Put> {
        let too_long = || StoreError::limit(place, "there are more bytes than the limit allows");
        let unreadable = || StoreError::io(format!("read {place}"), place);
        let mut file = BufReader::with_capacity(CHUNK, file);
        let mut begin = Vec::new();
        let most = (CHUNKED as u64).min(limit.saturating_add(1));
        file.by_ref().take(most).read_to_end(&mut begin).map_err(unreadable())?;
        if begin.len() as u64 > limit {
            return Err(too_long());
        }
        if begin.len() < CHUNKED {
            return self.add(change, &begin, about, None);
        }
        let mut batch = Batch::default();
        let source = (begin.as_slice().chain(file), limit);
        let media = about.media.as_deref();
        let cut = self.cut(change, &mut batch, media, source, unreadable(), too_long)?;
        let (reference, bytes, recipe) = cut;
        let known = self.lookup(change, &reference)?;
        let form = match &known {
            Some(known) if self.holds(change, &reference, known)? => Form::Known,
            _ => Form::Chunked(recipe, Box::new(batch)),
        };
        self.register(change, (reference, bytes), known, form, about, None)
    }

    /// Notes in a change what was learnt about a content.
    pub(super) fn register(
        &self,
        change: &mut Batch,
        (reference, bytes): (Reference, u64),
        known: Option<Blob>,
        form: Form,
        about: &About,
        folder: Option<FolderSize>,
    ) -> Result<Put> {
        let put = about.put();
        let mut record = match &known {
            Some(known) => known.clone(),
            // What was swept is again what it was.
            None => match self.index()?.swept(&reference)? {
                Some(swept) => Blob { put: None, chunked: false, ..swept.blob },
                None => Blob {
                    bytes,
                    stored: 0,
                    folder: None,
                    media: None,
                    created: about.ts.clone(),
                    chunked: false,
                    put: None,
                },
            },
        };
        record.put = Some(record.put.map_or(put, |former| former.max(put)));
        record.folder = record.folder.or(folder);
        record.media = record.media.or_else(|| about.media.clone());
        match form {
            Form::Known => {}
            Form::Whole(file) => {
                record.stored = file.stored;
                change.files.insert(file.place, file);
            }
            Form::Chunked(recipe, batch) => {
                record.stored = batch.files.values().map(|file| file.stored).sum();
                record.chunked = true;
                change.absorb(*batch);
                change.change.recipes.insert(reference, recipe);
            }
        }
        if known.as_ref() != Some(&record) {
            change.change.blobs.insert(reference, record);
        }
        self.want(change, &reference)?;
        if let Some(entry) = about.entry(reference) {
            // One with a name may begin a version, though it is known.
            if entry.name.is_some() || !self.index()?.has_entry(&entry)? {
                change.change.entries.push(entry);
            }
        }
        Ok(Put { reference, bytes, new: known.is_none() })
    }

    /// Takes the mark from a content, if it has one: it is wanted, whatever was to become of it.
    pub(super) fn want(&self, change: &mut Batch, reference: &Reference) -> Result<()> {
        let waits = self.batch.change.mark.contains_key(reference);
        if waits || self.index()?.mark(reference)?.is_some() {
            change.change.unmark.insert(*reference);
        }
        Ok(())
    }

    /// What is known of a content: by this change, by the waiting batch, by the index.
    pub(super) fn lookup(&self, change: &Batch, reference: &Reference) -> Result<Option<Blob>> {
        let waiting = change.change.blobs.get(reference);
        match waiting.or_else(|| self.batch.change.blobs.get(reference)) {
            Some(blob) => Ok(Some(blob.clone())),
            None => self.index()?.blob(reference),
        }
    }

    /// Whether the bytes of a known content need not be written again.
    pub(super) fn holds(
        &self,
        change: &Batch,
        reference: &Reference,
        known: &Blob,
    ) -> Result<bool> {
        let place = Place::blob(*reference);
        let waits = |batch: &Batch| {
            batch.files.contains_key(&place) || batch.change.recipes.contains_key(reference)
        };
        if waits(change) || waits(&self.batch) {
            return Ok(true);
        }
        if self.damaged.contains(reference) {
            return Ok(false);
        }
        if !known.chunked {
            return Ok(self.blobs.holds(&place, known.stored));
        }
        let recipe = self.index()?.recipe(reference)?;
        let Some(recipe) = recipe.filter(|recipe| recipe.bytes() == known.bytes) else {
            return Ok(false);
        };
        for chunk in &recipe.0 {
            if !self.has_chunk(&chunk.hash)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A content that is there, with its recipe.
    pub(super) fn kept(&self, reference: &Reference, blob: &Blob) -> Result<Kept> {
        let recipe = if blob.chunked { Some(self.recipe(reference)?) } else { None };
        Ok(Kept { reference: *reference, bytes: blob.bytes, recipe })
    }

    pub(super) fn recipe(&self, reference: &Reference) -> Result<Recipe> {
        let recipe = self.index()?.recipe(reference)?;
        recipe.ok_or_else(|| StoreError::corrupt(*reference, "the list of their chunks is missing"))
    }
}
