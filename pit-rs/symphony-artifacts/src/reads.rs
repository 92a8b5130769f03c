//! Reading pieces of artifacts: nothing is handed out before the whole content was checked against its hash.
//!
//! A small content is read and checked each time. A large one is checked whole on its first read and not
//! again while its file stays the same; reading on from where the last piece ended continues the same decoder,
//! so that paging through a compressed blob stays linear. What is kept in chunks is checked whole once, and
//! each chunk again whenever it is read: its pieces come from memory.

use std::io::Read;
use std::num::NonZeroUsize;

use lru::LruCache;

use crate::blobs::{unread, Blobs, Kept, Stamp};
use crate::chunking::Recipe;
use crate::encoding::Decoder;
use crate::error::{Result, StoreError};
use crate::layout::Place;
use crate::Reference;

/// Contents up to this long are read whole, bytes.
const SMALL: u64 = 256 * 1024;
const REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);
/// Open decoders; one of a compressed blob holds about 1 MiB, one of chunks up to 4 MiB and its recipe.
const CURSORS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);

struct Cursor {
    decoder: Decoder,
    position: u64,
}

/// A recipe, where its chunks begin, and the one that was read last.
struct Chunks {
    recipe: Recipe,
    begins: Vec<u64>,
    last: Option<(usize, Vec<u8>)>,
}

pub struct Reads {
    checked: LruCache<Reference, Stamp>,
    cursors: LruCache<Reference, Cursor>,
    chunks: LruCache<Reference, Chunks>,
}

impl Default for Reads {
    fn default() -> Self {
        Self {
            checked: LruCache::new(REMEMBERED),
            cursors: LruCache::new(CURSORS),
            chunks: LruCache::new(CURSORS),
        }
    }
}

impl Reads {
    /// Up to `limit` bytes from `offset` of a content that has a file of its own and `bytes` in all.
    pub fn piece(
        &mut self,
        blobs: &Blobs,
        reference: &Reference,
        bytes: u64,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<u8>> {
        let kept = Kept { reference: *reference, bytes, recipe: None };
        let length = (bytes - offset.min(bytes)).min(limit as u64);
        if bytes <= SMALL {
            let content = whole(blobs, &kept)?;
            let start = offset.min(bytes) as usize;
            return Ok(content[start..start + length as usize].to_vec());
        }
        self.check(blobs, &kept)?;
        let mut cursor = match self.cursors.pop(reference) {
            Some(cursor) if cursor.position <= offset => cursor,
            _ => Cursor { decoder: blobs.file(reference)?, position: 0 },
        };
        let fault = |error| unread(reference, error);
        cursor.decoder.skip(offset - cursor.position).map_err(fault)?;
        let mut piece = Vec::with_capacity(length as usize);
        cursor.decoder.by_ref().take(length).read_to_end(&mut piece).map_err(fault)?;
        if piece.len() as u64 != length {
            return Err(StoreError::corrupt(*reference, "there are too few of them"));
        }
        cursor.position = offset + length;
        if cursor.position < bytes {
            self.cursors.put(*reference, cursor);
        }
        Ok(piece)
    }

    /// The same of a content in chunks; `recipe` is asked for only where it is not remembered.
    pub fn chunked(
        &mut self,
        blobs: &Blobs,
        reference: &Reference,
        bytes: u64,
        recipe: impl FnOnce() -> Result<Recipe>,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<u8>> {
        let mut chunks = match self.chunks.pop(reference) {
            Some(chunks) => chunks,
            None => {
                let mut kept = Kept { reference: *reference, bytes, recipe: Some(recipe()?) };
                blobs.read(&kept, |_| Ok(()))?;
                Chunks::new(kept.recipe.take().unwrap_or_default())
            }
        };
        let end = offset.saturating_add(limit as u64).min(bytes);
        let mut piece = Vec::with_capacity(end.saturating_sub(offset) as usize);
        let mut at = offset;
        while at < end {
            let (begin, content) =
                chunks.at(blobs, at).map_err(|error| unread(reference, error))?;
            let from = (at - begin) as usize;
            let to = ((end - begin) as usize).min(content.len());
            let Some(part) = content.get(from..to).filter(|part| !part.is_empty()) else {
                return Err(StoreError::corrupt(*reference, "there are too few of them"));
            };
            piece.extend_from_slice(part);
            at += part.len() as u64;
        }
        self.chunks.put(*reference, chunks);
        Ok(piece)
    }

    /// Forgets what was read of a blob whose file is about to be another.
    pub fn forget(&mut self, reference: &Reference) {
        self.checked.pop(reference);
        self.cursors.pop(reference);
        self.chunks.pop(reference);
    }

    fn check(&mut self, blobs: &Blobs, kept: &Kept) -> Result<()> {
        let reference = &kept.reference;
        let stamp = blobs.stamp(&Place::blob(*reference));
        if stamp.is_some() && self.checked.get(reference).copied() == stamp {
            return Ok(());
        }
        self.forget(reference);
        blobs.read(kept, |_| Ok(()))?;
        if let Some(stamp) = stamp {
            self.checked.put(*reference, stamp);
        }
        Ok(())
    }
}

impl Chunks {
    fn new(recipe: Recipe) -> Self {
        let begins = recipe.0.iter().scan(0, |next, chunk| {
            let begin = *next;
            *next += u64::from(chunk.bytes);
            Some(begin)
        });
        Self { begins: begins.collect(), recipe, last: None }
    }

    /// The chunk that holds a byte, and where it begins.
    fn at(&mut self, blobs: &Blobs, offset: u64) -> std::io::Result<(u64, &[u8])> {
        let number = self.begins.partition_point(|begin| *begin <= offset).saturating_sub(1);
        if self.last.as_ref().is_none_or(|(last, _)| *last != number) {
            self.last = None;
            if let Some(chunk) = self.recipe.0.get(number) {
                let content = blobs.content(&Place::chunk(chunk.hash), u64::from(chunk.bytes))?;
                self.last = Some((number, content));
            }
        }
        let begin = self.begins.get(number).copied().unwrap_or(0);
        Ok((begin, self.last.as_ref().map_or(&[], |(_, content)| content)))
    }
}

/// A content in memory, checked.
pub fn whole(blobs: &Blobs, kept: &Kept) -> Result<Vec<u8>> {
    let mut content = Vec::with_capacity(usize::try_from(kept.bytes).unwrap_or(0).min(1 << 26));
    blobs.read(kept, |piece| {
        content.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(content)
}
