//! Reading pieces of artifacts: nothing is handed out before the whole blob was checked against its hash.
//!
//! A small content is read and checked each time. A large one is checked whole on its first read and not
//! again while its file stays the same; reading on from where the last piece ended continues the same decoder,
//! so that paging through a compressed blob stays linear.

use std::io::Read;
use std::num::NonZeroUsize;

use lru::LruCache;

use crate::blobs::{unread, Blobs, Stamp};
use crate::encoding::Decoder;
use crate::error::{Result, StoreError};
use crate::Reference;

/// Contents up to this long are read whole, bytes.
const SMALL: u64 = 256 * 1024;
const REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);
/// Open decoders; one of a compressed blob holds about 1 MiB.
const CURSORS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);

struct Cursor {
    decoder: Decoder,
    position: u64,
}

pub struct Reads {
    checked: LruCache<Reference, Stamp>,
    cursors: LruCache<Reference, Cursor>,
}

impl Default for Reads {
    fn default() -> Self {
        Self { checked: LruCache::new(REMEMBERED), cursors: LruCache::new(CURSORS) }
    }
}

impl Reads {
    /// Up to `limit` bytes from `offset` of a content that has `bytes` in all.
    pub fn piece(
        &mut self,
        blobs: &Blobs,
        reference: &Reference,
        bytes: u64,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<u8>> {
        let length = (bytes - offset.min(bytes)).min(limit as u64);
        if bytes <= SMALL {
            let content = whole(blobs, reference, bytes)?;
            let start = offset.min(bytes) as usize;
            return Ok(content[start..start + length as usize].to_vec());
        }
        self.check(blobs, reference, bytes)?;
        let mut cursor = match self.cursors.pop(reference) {
            Some(cursor) if cursor.position <= offset => cursor,
            _ => Cursor { decoder: blobs.decoder(reference)?, position: 0 },
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

    /// Forgets what was read of a blob whose file is about to be another.
    pub fn forget(&mut self, reference: &Reference) {
        self.checked.pop(reference);
        self.cursors.pop(reference);
    }

    fn check(&mut self, blobs: &Blobs, reference: &Reference, bytes: u64) -> Result<()> {
        let stamp = blobs.stamp(reference);
        if stamp.is_some() && self.checked.get(reference).copied() == stamp {
            return Ok(());
        }
        self.forget(reference);
        blobs.read(reference, bytes, |_| Ok(()))?;
        if let Some(stamp) = stamp {
            self.checked.put(*reference, stamp);
        }
        Ok(())
    }
}

/// A content in memory, checked.
pub fn whole(blobs: &Blobs, reference: &Reference, bytes: u64) -> Result<Vec<u8>> {
    let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    blobs.read(reference, bytes, |piece| {
        content.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(content)
}
