//! Where a large content is cut: FastCDC (Xia et al., USENIX ATC 2016; the 2020 version of crate `fastcdc`).
//!
//! A cut depends only on the bytes around it, so contents that share a stretch share its chunks wherever it
//! stands. The sizes are part of the format: others would cut the same content elsewhere, and nothing put before
//! would be met again.

use std::io::{self, Read};
use std::ops::{Deref, Range};
use std::sync::mpsc::{channel, sync_channel, Receiver, Sender, SyncSender};
use std::sync::Arc;
use std::thread;

use fastcdc::v2020::FastCDC;

use crate::error::{Result, StoreError};
use crate::Reference;

/// From this many bytes on a content is kept in chunks.
pub const CHUNKED: usize = 1024 * 1024;
pub const LEAST: usize = 256 * 1024;
pub const USUAL: usize = 1024 * 1024;
/// Longest chunk, and what a reader of chunks holds in memory, bytes.
pub const MOST: usize = 4 * 1024 * 1024;
/// What a chunker holds in memory, bytes.
const BUFFER: usize = 2 * MOST;
/// Buffers of one stream: one is read and cut, one hashed, one written, one is on its way.
const DEPTH: usize = 4;

/// One chunk of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub hash: Reference,
    pub bytes: u32,
}

/// What a content that is kept in chunks is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipe(pub Vec<Chunk>);

impl Recipe {
    const ITEM: usize = 36;

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * Self::ITEM);
        for chunk in &self.0 {
            bytes.extend_from_slice(chunk.hash.as_bytes());
            bytes.extend_from_slice(&chunk.bytes.to_le_bytes());
        }
        bytes
    }

    pub fn decode(bytes: &[u8]) -> std::result::Result<Self, String> {
        let (items, rest) = bytes.as_chunks::<{ Self::ITEM }>();
        if !rest.is_empty() {
            return Err("a list of chunks has half an item".to_owned());
        }
        let chunk = |item: &[u8; Self::ITEM]| {
            let (mut hash, mut bytes) = ([0; 32], [0; 4]);
            hash.copy_from_slice(&item[..32]);
            bytes.copy_from_slice(&item[32..]);
            Chunk { hash: hash.into(), bytes: u32::from_le_bytes(bytes) }
        };
        Ok(Self(items.iter().map(chunk).collect()))
    }

    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|chunk| u64::from(chunk.bytes)).sum()
    }
}

/// Cuts a content that comes piece by piece.
#[derive(Default)]
pub struct Chunker {
    buffer: Vec<u8>,
}

impl Chunker {
    /// Takes a piece; hands every chunk that is complete to `each`.
    pub fn write(
        &mut self,
        mut piece: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        while !piece.is_empty() {
            let room = BUFFER - self.buffer.len();
            let (now, later) = piece.split_at(piece.len().min(room));
            self.buffer.extend_from_slice(now);
            piece = later;
            if self.buffer.len() == BUFFER {
                let mut start = 0;
                for end in cuts(&self.buffer, false) {
                    each(&self.buffer[start..end])?;
                    start = end;
                }
                self.buffer.drain(..start);
            }
        }
        Ok(())
    }

    /// Hands the rest to `each`.
    pub fn finish(self, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut start = 0;
        for end in cuts(&self.buffer, true) {
            each(&self.buffer[start..end])?;
            start = end;
        }
        Ok(())
    }
}

/// Where the chunks end. Unless this is the `last` of the content, one that would reach to its end is left for later:
/// with more behind it, it may be longer.
fn cuts(content: &[u8], last: bool) -> Vec<usize> {
    let cutter = FastCDC::new(content, LEAST, USUAL, MOST);
    let (mut start, mut ends) = (0, Vec::new());
    while start < content.len() {
        // A cut lies behind its begin and not behind the content's end, whatever the crate says.
        let (_, end) = cutter.cut(start, content.len() - start);
        let end = end.clamp(start + 1, content.len());
        if end == content.len() && end - start < MOST && !last {
            break;
        }
        start = end;
        ends.push(start);
    }
    ends
}

/// A stretch of a content on its way through the threads. Whoever is done with it last lets the reader have its
/// buffer, also where that is because of an error: a reader that waited for one would wait for ever.
struct Stretch {
    buffer: Vec<u8>,
    /// Before this it was in the stretch before, too.
    fresh: usize,
    ends: Vec<usize>,
    home: Sender<Vec<u8>>,
}

impl Stretch {
    fn chunks(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).map(|(&start, &end)| start..end)
    }
}

/// A chunk that other threads may have, too.
#[derive(Clone)]
pub struct Piece {
    stretch: Arc<Stretch>,
    range: Range<usize>,
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.stretch.buffer[self.range.clone()]
    }
}

impl Drop for Stretch {
    fn drop(&mut self) {
        // A reader that has ended needs no more buffers.
        let _ = self.home.send(std::mem::take(&mut self.buffer));
    }
}

/// Why a content was not read to its end.
enum Cut {
    TooLong,
    Failed(io::Error),
}

/// What comes from the thread that reads.
type Cutting = std::result::Result<Stretch, Cut>;
/// What comes from the thread that hashes: with the hash of each chunk.
type Hashed = std::result::Result<(Stretch, Vec<Reference>), Cut>;

/// Reads and cuts a content in one thread, hashes it and its chunks in another, and hands these to `each`. Gives
/// reference and length. `fault` turns an error of `source` into the caller's; more bytes than `limit` are
/// `too_long`.
pub fn stream(
    source: impl Read + Send,
    limit: u64,
    fault: impl FnOnce(io::Error) -> StoreError,
    too_long: impl FnOnce() -> StoreError,
    mut each: impl FnMut(Reference, Piece) -> Result<()>,
) -> Result<(Reference, u64)> {
    thread::scope(|scope| {
        let (send_read, read) = sync_channel(DEPTH);
        let (send_hashed, hashed) = sync_channel(DEPTH);
        scope.spawn(move || read_stretches(source, limit, &send_read));
        let hashing = scope.spawn(move || hash_stretches(read, &send_hashed));
        for stretch in hashed {
            let (stretch, hashes) = match stretch {
                Ok(stretch) => stretch,
                Err(Cut::TooLong) => return Err(too_long()),
                Err(Cut::Failed(error)) => return Err(fault(error)),
            };
            let stretch = Arc::new(stretch);
            for (hash, range) in hashes.into_iter().zip(stretch.chunks()) {
                each(hash, Piece { stretch: Arc::clone(&stretch), range })?;
            }
        }
        hashing.join().map_err(|_| StoreError::Bug("hashing a content ended early".to_owned()))
    })
}

fn hash_stretches(read: Receiver<Cutting>, hashed: &SyncSender<Hashed>) -> (Reference, u64) {
    let (mut hasher, mut bytes) = (blake3::Hasher::new(), 0);
    for stretch in read {
        let stretch = stretch.map(|stretch| {
            let fresh = &stretch.buffer[stretch.fresh..];
            hasher.update(fresh);
            bytes += fresh.len() as u64;
            let chunks = stretch.chunks().map(|range| &stretch.buffer[range]);
            let hashes = chunks.map(Reference::of).collect();
            (stretch, hashes)
        });
        // A writer that failed wants no more.
        if hashed.send(stretch).is_err() {
            break;
        }
    }
    (Reference::from(*hasher.finalize().as_bytes()), bytes)
}

fn read_stretches(mut source: impl Read, limit: u64, read: &SyncSender<Cutting>) {
    let (home, empty) = channel();
    for _ in 0..DEPTH {
        // Both ends are alive.
        let _ = home.send(Vec::new());
    }
    let (mut rest, mut left) = (Vec::new(), limit);
    for mut buffer in empty {
        buffer.clear();
        buffer.reserve_exact(BUFFER);
        buffer.append(&mut rest);
        let fresh = buffer.len();
        let room = (BUFFER - fresh) as u64;
        // One more than the limit, to see that there is more.
        let most = room.min(left.saturating_add(1));
        if let Err(error) = source.by_ref().take(most).read_to_end(&mut buffer) {
            let _ = read.send(Err(Cut::Failed(error)));
            return;
        }
        let taken = (buffer.len() - fresh) as u64;
        let Some(still) = left.checked_sub(taken) else {
            let _ = read.send(Err(Cut::TooLong));
            return;
        };
        left = still;
        let last = taken < most;
        let ends = cuts(&buffer, last);
        rest.extend_from_slice(&buffer[ends.last().copied().unwrap_or(0)..]);
        let stretch = Stretch { buffer, fresh, ends, home: home.clone() };
        if read.send(Ok(stretch)).is_err() || last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn cut(content: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        let mut take = |chunk: &[u8]| {
            chunks.push(chunk.to_vec());
            Ok(())
        };
        let mut chunker = Chunker::default();
        for piece in content.chunks(piece) {
            chunker.write(piece, &mut take).unwrap();
        }
        chunker.finish(take).unwrap();
        chunks
    }

    #[test]
    fn the_cuts_are_the_same_however_the_content_comes_and_near_a_change_alone_others() {
        let content = noise(1, 24_000_000);
        let chunks = cut(&content, content.len());
        assert_eq!(chunks.concat(), content);
        assert!(chunks.iter().all(|chunk| chunk.len() <= MOST));
        assert!(chunks.iter().rev().skip(1).all(|chunk| chunk.len() >= LEAST));
        assert_eq!(chunks, cut(&content, 100_003));
        let mut seen = Vec::new();
        let whole = stream(
            content.as_slice(),
            u64::MAX,
            StoreError::io("read", "a file"),
            || StoreError::Bug("too long".to_owned()),
            |hash, chunk| {
                assert_eq!(hash, Reference::of(&chunk));
                seen.push(chunk.to_vec());
                Ok(())
            },
        );
        assert_eq!(whole.unwrap(), (Reference::of(&content), 24_000_000));
        assert_eq!(seen, chunks);

        let changed = [&content[..12_000_000], b"!", &content[12_000_000..]].concat();
        let known: HashSet<_> = chunks.iter().collect();
        let new = cut(&changed, 1 << 20).iter().filter(|chunk| !known.contains(chunk)).count();
        assert!((1..=3).contains(&new), "{new} new chunks of {}", chunks.len());
    }

    #[test]
    fn errors_end_it_on_both_sides() {
        struct Torn(u8);
        impl Read for Torn {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                if self.0 > 90 {
                    Err(io::Error::other("torn"))
                } else {
                    Ok(buffer.len())
                }
            }
        }
        let run = |limit, fail: bool| {
            let long = || StoreError::limit("x", "long");
            stream(Torn(0), limit, StoreError::io("read", "a file"), long, |_, _| {
                if fail {
                    Err(StoreError::Bug("full".to_owned()))
                } else {
                    Ok(())
                }
            })
        };
        assert!(matches!(run(u64::MAX, false), Err(StoreError::Io { .. })));
        assert!(matches!(run(9_000_000, false), Err(StoreError::Limit { .. })));
        assert!(matches!(run(u64::MAX, true), Err(StoreError::Bug(_))));
    }

    #[test]
    fn a_writer_that_fails_when_all_is_hashed_ends_it_too() {
        struct Endless(SyncSender<usize>, usize);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                buffer.fill(7);
                self.1 += buffer.len();
                let _ = self.0.try_send(self.1);
                Ok(buffer.len())
            }
        }
        let (told, read) = sync_channel(10_000);
        let source = Endless(told, 0);
        let long = || StoreError::limit("x", "long");
        let outcome = stream(source, u64::MAX, StoreError::io("read", "a file"), long, |_, _| {
            // Until the last buffer is being read, and long enough for it to be hashed.
            let all = read.iter().any(|bytes| bytes > 2 * BUFFER);
            let long = Reference::of(&vec![0; 16 * BUFFER]);
            Err(StoreError::Bug(format!("full: {all} {long}")))
        });
        assert!(matches!(outcome, Err(StoreError::Bug(_))));
    }

    #[test]
    fn a_recipe_comes_back_as_it_was() {
        let chunk = |seed: u8| Chunk { hash: Reference::of(&[seed]), bytes: 9 + u32::from(seed) };
        let recipe = Recipe((0..5).map(chunk).collect());
        assert_eq!(Recipe::decode(&recipe.encode()), Ok(recipe.clone()));
        assert_eq!(recipe.bytes(), 55);
        assert!(Recipe::decode(&recipe.encode()[1..]).is_err());
    }
}
