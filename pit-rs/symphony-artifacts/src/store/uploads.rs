//! Contents that come in parts: cut and written as they come, and nothing until they are whole and the right ones.

use std::collections::{BTreeMap, VecDeque};

use super::writes::{Batch, Form};
use super::{Put, Store};
use crate::blobs::Manner;
use crate::chunking::{Chunk, Chunker, Recipe, CHUNKED};
use crate::error::{Result, StoreError};
use crate::info::About;
use crate::layout::Place;
use crate::Reference;

/// Uploads at once; one more drops the one that was begun first. Each holds up to 8 MiB.
const MAX_UPLOADS: usize = 8;
/// Uploads whose `commit` may be repeated.
const MAX_COMMITTED: usize = 64;
pub const MAX_PART: usize = 1024 * 1024;
/// Parts of an upload that may be sent again: the last ones.
const MAX_REPEATED: usize = 1024;

/// What is to be uploaded.
#[derive(Clone, Debug)]
pub struct Begin {
    pub reference: Reference,
    pub bytes: u64,
    pub about: About,
}

struct Upload {
    number: u64,
    begin: Begin,
    written: u64,
    hasher: blake3::Hasher,
    /// What is too short to be cut.
    short: Vec<u8>,
    chunker: Chunker,
    chunks: Vec<Chunk>,
    batch: Batch,
    /// Offset and hash of the last parts.
    parts: VecDeque<(u64, Reference)>,
}

impl Uploads {
    /// Drops those that are open: their files are gone.
    pub fn clear(&mut self) {
        self.open.clear();
    }
}

#[derive(Default)]
pub(super) struct Uploads {
    begun: u64,
    open: VecDeque<Upload>,
    committed: BTreeMap<u64, (Reference, u64)>,
}

impl Store {
    /// Begins an upload; gives its number.
    pub fn begin(&mut self, begin: Begin) -> Result<u64> {
        self.writable()?;
        begin.about.check()?;
        if self.uploads.open.len() >= MAX_UPLOADS {
            self.uploads.open.pop_front();
        }
        self.uploads.begun += 1;
        let number = self.uploads.begun;
        self.uploads.open.push_back(Upload {
            number,
            begin,
            written: 0,
            hasher: blake3::Hasher::new(),
            short: Vec::new(),
            chunker: Chunker::default(),
            chunks: Vec::new(),
            batch: Batch::default(),
            parts: VecDeque::new(),
        });
        Ok(number)
    }

    /// Takes the next part, or the same one again.
    pub fn part(&mut self, number: u64, offset: u64, data: &[u8]) -> Result<()> {
        self.writable()?;
        if !(1..=MAX_PART).contains(&data.len()) {
            return Err(StoreError::bad("data", "a part has 1 byte to 1 MiB"));
        }
        let place = self.upload(number)?;
        let upload = &mut self.uploads.open[place];
        if offset != upload.written {
            let again = (offset, Reference::of(data));
            if upload.parts.contains(&again) {
                return Ok(());
            }
            let message = format!("the next part begins at {}", upload.written);
            return Err(StoreError::Conflict { message, place: "offset".to_owned() });
        }
        let bytes = upload.begin.bytes;
        if bytes - upload.written < data.len() as u64 {
            let message = format!("more than the {bytes} bytes it began with");
            return Err(StoreError::bad("data", message));
        }
        if bytes < CHUNKED as u64 {
            upload.short.extend_from_slice(data);
        } else {
            let Upload { chunker, chunks, batch, begin, .. } = upload;
            let media = begin.about.media.as_deref();
            let blobs = &mut self.blobs;
            let kept = chunker.write(data, |chunk| keep(blobs, chunks, batch, chunk, media));
            if kept.is_err() {
                // Half of a part may be written: there is no way on from here.
                self.uploads.open.remove(place);
                return kept;
            }
        }
        let upload = &mut self.uploads.open[place];
        upload.hasher.update(data);
        upload.parts.push_back((offset, Reference::of(data)));
        if upload.parts.len() > MAX_REPEATED {
            upload.parts.pop_front();
        }
        upload.written += data.len() as u64;
        Ok(())
    }

    /// Puts what was uploaded, if it is whole and has the right hash. Durable after the next flush.
    pub fn commit_upload(&mut self, number: u64) -> Result<Put> {
        self.writable()?;
        if let Some((reference, bytes)) = self.uploads.committed.get(&number).copied() {
            let known = self.lookup(&Batch::default(), &reference)?;
            known.ok_or(StoreError::NotFound { reference })?;
            return Ok(Put { reference, bytes, new: false });
        }
        let place = self.upload(number)?;
        let Upload { begin, written, .. } = &self.uploads.open[place];
        if *written != begin.bytes {
            let message = format!("{written} of {} bytes are there", begin.bytes);
            return Err(StoreError::bad("upload", message));
        }
        let Some(upload) = self.uploads.open.remove(place) else {
            return Err(StoreError::Bug("an upload is gone".to_owned()));
        };
        let Upload { begin, hasher, short, chunker, mut chunks, batch: mut own, .. } = upload;
        let Begin { reference, bytes, about } = begin;
        if hasher.finalize().as_bytes() != reference.as_bytes() {
            let message = format!("the bytes have another hash than {reference}");
            return Err(StoreError::bad("upload", message));
        }
        let mut change = Batch::default();
        let put = if bytes < CHUNKED as u64 {
            self.add(&mut change, &short, &about, None)?
        } else {
            let (blobs, media) = (&mut self.blobs, about.media.as_deref());
            chunker.finish(|chunk| keep(blobs, &mut chunks, &mut own, chunk, media))?;
            // What the store has by now need not be placed again. Not earlier: it might have gone meanwhile.
            for chunk in &chunks {
                let waits = self.batch.change.chunks.contains_key(&chunk.hash);
                if waits || self.has_chunk(&chunk.hash)? {
                    own.files.remove(&Place::chunk(chunk.hash));
                    own.change.chunks.remove(&chunk.hash);
                }
            }
            let known = self.lookup(&change, &reference)?;
            let form = match &known {
                Some(known) if self.holds(&change, &reference, known)? => Form::Known,
                _ => Form::Chunked(Recipe(chunks), Box::new(own)),
            };
            self.register(&mut change, (reference, bytes), known, form, &about, None)?
        };
        self.admit(change)?;
        self.uploads.committed.insert(number, (reference, bytes));
        if self.uploads.committed.len() > MAX_COMMITTED {
            self.uploads.committed.pop_first();
        }
        Ok(put)
    }

    fn upload(&self, number: u64) -> Result<usize> {
        let place = self.uploads.open.iter().position(|upload| upload.number == number);
        place.ok_or_else(|| StoreError::Missing { place: format!("upload {number}") })
    }
}

/// Writes a chunk under `tmp`, each once.
fn keep(
    blobs: &mut crate::blobs::Blobs,
    chunks: &mut Vec<Chunk>,
    batch: &mut Batch,
    content: &[u8],
    media: Option<&str>,
) -> Result<()> {
    let hash = Reference::of(content);
    let bytes = u32::try_from(content.len())
        .map_err(|_| StoreError::Bug("a chunk is too long".to_owned()))?;
    chunks.push(Chunk { hash, bytes });
    let place = Place::chunk(hash);
    if !batch.files.contains_key(&place) {
        let file = blobs.write(place, content, Manner::fast(media))?;
        batch.change.chunks.insert(hash, (file.bytes, file.stored));
        batch.files.insert(place, file);
    }
    Ok(())
}
