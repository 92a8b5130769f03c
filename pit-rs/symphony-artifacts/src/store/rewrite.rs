//! Writes files anew that say the same: packed smaller, or sealed with the current key.

use super::writes::{Batch, Form};
use super::Store;
use crate::blobs::{unread, Manner};
use crate::chunking::CHUNKED;
use crate::encoding;
use crate::error::{Result, StoreError};
use crate::info::{About, Blob};
use crate::layout::{Area, Place};
use crate::Reference;

/// Bytes that one call rewrites before it answers: about two seconds of the slower one.
const BUDGET: u64 = 64 * 1024 * 1024;
/// Files that one call looks at.
const MAX_FILES: usize = 10_000;

/// How far a rotation has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    pub files: u64,
    pub bytes: u64,
    pub next: Option<Place>,
}

impl Store {
    /// Compresses contents harder; what each takes afterwards, durable when it returns. Those that a call does
    /// not come to are not in its answer.
    pub fn pack(&mut self, refs: &[Reference]) -> Result<Vec<(Reference, u64)>> {
        self.writable()?;
        self.settle()?;
        let mut packed = Vec::new();
        let mut batch = Batch::default();
        let mut done = 0;
        for reference in refs {
            let Some(blob) = self.index()?.blob(reference)? else { continue };
            if done > 0 && done + blob.bytes > BUDGET {
                break;
            }
            done += blob.bytes;
            let before = batch.files.len();
            let mut stored = 0;
            match self.places(reference, &blob)? {
                None => {
                    stored = self.cut_up(&mut batch, reference, &blob)?;
                }
                Some(places) => {
                    for (place, bytes, former) in places {
                        let file = self.rewritten(&batch, &place, bytes, encoding::SMALL)?;
                        let Some(file) = file.filter(|file| file.stored < former) else {
                            stored += former;
                            continue;
                        };
                        stored += file.stored;
                        self.replace(&mut batch, file)?;
                    }
                }
            }
            if batch.files.len() > before {
                tracing::debug!(%reference, stored, "packed");
            }
            packed.push((*reference, stored));
        }
        self.admit(batch)?;
        self.write_batch()?;
        Ok(packed)
    }

    /// Reads the keys again and seals with the current one whatever was not, from behind `after` on; durable when
    /// it returns.
    pub fn rotate(&mut self, after: Option<Place>) -> Result<Rotated> {
        self.writable()?;
        self.settle()?;
        let keys = self.options.keys.read()?;
        let Some((current, _)) = keys.current() else {
            return Err(StoreError::bad("keys", "the store was given no key to seal with"));
        };
        self.blobs.set_keys(keys);
        if after.is_none() {
            self.seal_secret()?;
        }
        let mut rotated = Rotated::default();
        let (mut todo, mut seen, mut last) = (Vec::new(), 0, after);
        let mut bytes = 0;
        self.index()?.files(after, |place, length| {
            if seen == MAX_FILES || bytes >= BUDGET {
                rotated.next = last;
                return Ok(false);
            }
            seen += 1;
            last = Some(place);
            let key = self.blobs.key_of(&place).map_err(|error| unread(&place.hash, error));
            // What is damaged is for `verify` to find and a put to mend.
            if key.is_ok_and(|key| key != Some(current)) {
                bytes += length;
                todo.push((place, length));
            }
            Ok(true)
        })?;
        let mut batch = Batch::default();
        for (place, length) in todo {
            let rewritten = if place.area == Area::Blobs && length >= CHUNKED as u64 {
                let blob = self.blob(&place.hash)?;
                self.cut_up(&mut batch, &place.hash, &blob).map(drop)
            } else {
                match self.rewritten(&batch, &place, length, encoding::FAST) {
                    Ok(Some(file)) => self.replace(&mut batch, file),
                    Ok(None) => Ok(()),
                    Err(error) => Err(error),
                }
            };
            match rewritten {
                Ok(()) => {
                    rotated.files += 1;
                    rotated.bytes += length;
                }
                Err(StoreError::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.admit(batch)?;
        self.write_batch()?;
        Ok(rotated)
    }

    /// The files of a content: place, length of what it holds, length of the file. `None`: format 1 kept it in one
    /// that is too long for memory.
    fn places(&self, reference: &Reference, blob: &Blob) -> Result<Option<Vec<(Place, u64, u64)>>> {
        if !blob.chunked {
            let one = (Place::blob(*reference), blob.bytes, blob.stored);
            return Ok((blob.bytes < CHUNKED as u64).then(|| vec![one]));
        }
        let mut places = std::collections::BTreeMap::new();
        for chunk in self.recipe(reference)?.0 {
            let stored = self.index()?.chunk(&chunk.hash)?.map_or(0, |(_, stored)| stored);
            places.insert(Place::chunk(chunk.hash), (u64::from(chunk.bytes), stored));
        }
        let places = places.into_iter().map(|(place, (bytes, stored))| (place, bytes, stored));
        Ok(Some(places.collect()))
    }

    /// A file written anew under `tmp`, unless `batch` has it already.
    fn rewritten(
        &mut self,
        batch: &Batch,
        place: &Place,
        bytes: u64,
        level: i32,
    ) -> Result<Option<crate::blobs::NewBlob>> {
        if batch.files.contains_key(place) {
            return Ok(None);
        }
        let content = self.blobs.content(place, bytes);
        let content = content.map_err(|error| unread(&place.hash, error))?;
        self.blobs.write(*place, &content, Manner { media: None, level, direct: false }).map(Some)
    }

    fn replace(&self, batch: &mut Batch, file: crate::blobs::NewBlob) -> Result<()> {
        let hash = file.place.hash;
        match file.place.area {
            Area::Chunks => {
                batch.change.chunks.insert(hash, (file.bytes, file.stored));
            }
            Area::Blobs => {
                let Some(mut blob) = self.index()?.blob(&hash)? else { return Ok(()) };
                blob.stored = file.stored;
                batch.change.blobs.insert(hash, blob);
            }
        }
        batch.files.insert(file.place, file);
        Ok(())
    }

    /// Cuts a long content that format 1 kept whole into chunks; what they take.
    fn cut_up(&mut self, batch: &mut Batch, reference: &Reference, blob: &Blob) -> Result<u64> {
        let decoder = self.blobs.file(reference)?;
        let mut own = Batch::default();
        let place = reference.to_string();
        let (hash, _, recipe) = self.cut(
            batch,
            &mut own,
            blob.media.as_deref(),
            (decoder, blob.bytes),
            |error| unread(reference, error),
            || StoreError::corrupt(*reference, "there are too many of them"),
        )?;
        if hash != *reference {
            return Err(StoreError::corrupt(*reference, format!("the hash of {place} is another")));
        }
        let about = About { ts: blob.created.clone(), ..About::default() };
        let form = Form::Chunked(recipe, Box::new(own));
        let content = (*reference, blob.bytes);
        self.register(batch, content, Some(blob.clone()), form, &about, None)?;
        if let Some(record) = batch.change.blobs.get_mut(reference) {
            record.put = blob.put;
        }
        // To be rewritten is not to be used.
        batch.change.unmark.remove(reference);
        Ok(batch.change.blobs.get(reference).map_or(0, |record| record.stored))
    }
}
