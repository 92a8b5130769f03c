//! The bytes of all artifacts: one immutable file a content or, of large ones, one a chunk.
//!
//! A new blob is written under `tmp`; [`Blobs::place`] syncs a whole batch, renames it into place and syncs
//! the folders. The index decides what exists: a file in place that it does not know is left over from
//! a crash, and [`Blobs::sweep`] drops it at start. So that a start need not look at every file of a large
//! store, each blob folder is *sealed*: placing sets its modification time to the number of the commit, and
//! the index records that number in the same commit. Whatever adds or removes a file breaks the seal, and
//! only folders with a broken one are read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{fadvise, syncfs, Advice};

use crate::ahead;
use crate::chunking::{Chunk, Recipe};
use crate::direct::Aligned;
use crate::encoding::{self, Decoder, Encoder, Encoding};
use crate::error::{Result, StoreError};
use crate::faults::{Faults, Step};
use crate::keys::{KeyId, Keys};
use crate::layout::{set_seal, time_of, Area, Layout, Place, Seal, Shard, HELD};
use crate::sealing::KeyMissing;
use crate::Reference;

/// How much is read, hashed and written at a time, bytes.
pub const CHUNK: usize = 256 * 1024;
/// From this many bytes on a second thread is worth its start.
const LARGE: u64 = 4 * 1024 * 1024;
/// Chunks that the disk is asked for before they are read.
const AHEAD: usize = 4;
/// What a file of a chunk may have beside it: its heads, what is sealed, what does not compress.
const ROOM: usize = 64 * 1024;
/// From this many files on, syncing the whole file system is cheaper than syncing each of them.
const MANY: usize = 16;

pub struct Blobs {
    layout: Layout,
    /// The store's folder, held open for `syncfs`.
    store: File,
    next: u64,
    /// Whether what goes or is replaced is held: somebody copies the store.
    holds: bool,
    pen: Pen,
}

/// What it takes to write a file; other threads may have one, too.
#[derive(Clone)]
pub struct Pen {
    keys: Keys,
    faults: Faults,
}

/// A content as it is kept: in a file of its own, or in chunks.
#[derive(Clone, Debug)]
pub struct Kept {
    pub reference: Reference,
    pub bytes: u64,
    pub recipe: Option<Recipe>,
}

/// A file under `tmp`, removed again unless it is placed.
#[derive(Debug)]
pub struct NewBlob {
    pub place: Place,
    pub bytes: u64,
    pub stored: u64,
    pub tmp: PathBuf,
}

impl Drop for NewBlob {
    fn drop(&mut self) {
        // After placing there is nothing here; what cannot be removed now is removed at the next start.
        let _ = fs::remove_file(&self.tmp);
    }
}

/// How a file is written.
#[derive(Clone, Copy, Debug)]
pub struct Manner<'m> {
    pub media: Option<&'m str>,
    /// zstd's, where compressing pays.
    pub level: i32,
    /// Whether it goes past the page cache.
    pub direct: bool,
}

impl<'m> Manner<'m> {
    pub fn fast(media: Option<&'m str>) -> Self {
        Self { media, level: encoding::FAST, direct: false }
    }
}

/// Tells whether a blob's file is still the one that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Pen {
    /// Writes a content into a new file, not yet synced; how long that is. `aligned` is used where it goes past the
    /// page cache.
    pub fn write(
        &self,
        path: &Path,
        content: &[u8],
        manner: Manner<'_>,
        aligned: &mut Aligned,
    ) -> io::Result<u64> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let (mut file, encoding) = (file?, Encoding::choose(content, manner.media));
        if manner.direct {
            aligned.begin(content.len() + ROOM);
            self.encode(&mut *aligned, content, encoding, manner.level)?;
            aligned.write_to(&mut file)?;
        } else {
            let buffered =
                self.encode(encoding::buffered(file), content, encoding, manner.level)?;
            file = buffered.into_inner().map_err(io::IntoInnerError::into_error)?;
        }
        Ok(file.metadata()?.len())
    }

    fn encode<W: Write>(
        &self,
        sink: W,
        content: &[u8],
        encoding: Encoding,
        level: i32,
    ) -> io::Result<W> {
        let mut encoder = Encoder::new(sink, encoding, level, &self.keys)?;
        for piece in content.chunks(CHUNK) {
            self.faults.before(Step::WriteBlob(piece.len()))?;
            encoder.write(piece)?;
        }
        encoder.finish()
    }
}

impl Blobs {
    /// Opens the folders below `store`, making them if need be. `read_only`: they stay as they are.
    pub fn open(store: &Path, keys: Keys, read_only: bool, faults: Faults) -> Result<Self> {
        let layout = Layout(store.to_owned());
        let made = [layout.area(Area::Blobs), layout.area(Area::Chunks), layout.tmp()];
        for folder in made.iter().filter(|_| !read_only) {
            fs::create_dir_all(folder)
                .map_err(StoreError::io("make the store's folders", folder))?;
        }
        let store = File::open(store).map_err(StoreError::io("open the store", store))?;
        if !read_only {
            store.sync_all().map_err(StoreError::io("sync the store's folder", &layout.0))?;
        }
        Ok(Self { layout, store, next: 1, holds: false, pen: Pen { keys, faults } })
    }

    /// Whether no blob was ever placed here.
    pub fn is_empty(&self) -> bool {
        [Area::Blobs, Area::Chunks].into_iter().all(|area| {
            fs::read_dir(self.layout.area(area)).map_or(true, |mut shards| shards.next().is_none())
        })
    }

    pub fn keys(&self) -> &Keys {
        &self.pen.keys
    }

    pub fn set_keys(&mut self, keys: Keys) {
        self.pen.keys = keys;
    }

    /// A file that is to be written under `tmp`; `place` has the hash of its content.
    pub fn draft(&mut self, place: Place, bytes: u64) -> NewBlob {
        let tmp = self.layout.tmp().join(self.next.to_string());
        self.next += 1;
        NewBlob { place, bytes, stored: 0, tmp }
    }

    /// Writes a content that is in memory under `tmp`.
    pub fn write(&mut self, place: Place, content: &[u8], manner: Manner<'_>) -> Result<NewBlob> {
        let mut blob = self.draft(place, content.len() as u64);
        let stored = self.pen.write(&blob.tmp, content, manner, &mut Aligned::default());
        blob.stored = stored.map_err(StoreError::io("write a blob", &blob.tmp))?;
        Ok(blob)
    }

    pub fn pen(&self) -> Pen {
        self.pen.clone()
    }

    /// Makes these files durable in their places and seals the folders they went to. After an error
    /// some may be in place: [`Blobs::sweep`] drops them.
    pub fn place<'b>(
        &self,
        blobs: impl Iterator<Item = &'b NewBlob> + Clone,
        seal: Seal,
    ) -> Result<BTreeMap<Shard, Seal>> {
        self.sync(Step::SyncBlobs, blobs.clone().map(|blob| blob.tmp.clone()).collect())?;
        let mut shards = BTreeSet::new();
        let mut made = BTreeSet::new();
        for blob in blobs {
            let shard = blob.place.shard();
            if shards.insert(shard) && self.make_shard(shard)? {
                made.insert(shard.area());
            }
            let placed = self.pen.faults.before(Step::PlaceBlob);
            placed
                .and_then(|()| self.hold(&blob.place))
                .and_then(|()| fs::rename(&blob.tmp, self.layout.file(&blob.place)))
                .map_err(StoreError::io("place a blob", &blob.tmp))?;
        }
        for &shard in &shards {
            set_seal(&self.layout.shard(shard), seal)?;
        }
        let folders = shards.iter().map(|&shard| self.layout.shard(shard));
        let folders = folders.chain(made.into_iter().map(|area| self.layout.area(area)));
        self.sync(Step::SyncFolders, folders.collect())?;
        Ok(shards.into_iter().map(|shard| (shard, seal)).collect())
    }

    /// Removes files that the index does not know any more, and seals their folders. What cannot be removed now
    /// is dropped at the next start: its folder's seal stays broken.
    pub fn drop_files(&self, places: &[Place], seal: Seal) -> Result<()> {
        let mut shards = BTreeMap::new();
        let mut failed = None;
        for place in places {
            let removed = self.pen.faults.before(Step::DropBlob);
            let removed = removed.and_then(|()| self.hold(place));
            let removed = removed.and_then(|()| match fs::remove_file(self.layout.file(place)) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                other => other,
            });
            let whole = shards.entry(place.shard()).or_insert(true);
            if let Err(error) = removed {
                *whole = false;
                failed = Some(error);
            }
        }
        for (shard, _) in shards.iter().filter(|(_, whole)| **whole) {
            // A folder that was never made has nothing to seal.
            match set_seal(&self.layout.shard(*shard), seal) {
                Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                other => other?,
            }
        }
        failed.map_or(Ok(()), |error| Err(StoreError::io("remove a blob", &self.layout.0)(error)))
    }

    /// Reads a content whole, piece by piece, and ends with an error if it was not the right one:
    /// the caller must not trust a piece before that.
    pub fn read(&self, kept: &Kept, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let Kept { reference, bytes, .. } = kept;
        let mut decoder = self.decoder(kept)?;
        let mut hasher = blake3::Hasher::new();
        let mut seen = 0;
        let mut pass = |piece: &[u8]| {
            seen += piece.len() as u64;
            if seen > *bytes {
                return Err(StoreError::corrupt(*reference, "there are too many of them"));
            }
            hasher.update(piece);
            each(piece)
        };
        if *bytes >= LARGE {
            ahead::read(decoder, |error| unread(reference, error), pass)?;
        } else {
            let mut buffer = vec![0; (*bytes as usize).clamp(1, CHUNK)];
            loop {
                let length = decoder.read(&mut buffer).map_err(|error| unread(reference, error))?;
                if length == 0 {
                    break;
                }
                pass(&buffer[..length])?;
            }
        }
        if hasher.finalize().as_bytes() != reference.as_bytes() {
            return Err(StoreError::corrupt(*reference, "their hash is another"));
        }
        Ok(())
    }

    /// The content from its beginning, unchecked.
    fn decoder<'b>(&'b self, kept: &'b Kept) -> Result<Box<dyn Read + Send + 'b>> {
        Ok(match &kept.recipe {
            None => Box::new(self.file(&kept.reference)?),
            Some(recipe) => Box::new(Chunks::new(self, recipe)),
        })
    }

    /// A content that has a file of its own, from its beginning, unchecked.
    pub fn file(&self, reference: &Reference) -> Result<Decoder> {
        let file = match File::open(self.layout.file(&Place::blob(*reference))) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(StoreError::corrupt(*reference, "the file is missing"));
            }
            other => other.map_err(StoreError::io("open a blob", &self.layout.0))?,
        };
        Decoder::new(file, &self.pen.keys).map_err(|error| unread(reference, error))
    }

    /// What a file holds, in memory, checked; errors as of a decoder.
    pub fn content(&self, place: &Place, bytes: u64) -> io::Result<Vec<u8>> {
        let damaged = |reason: &str| io::Error::new(ErrorKind::InvalidData, reason);
        let file = File::open(self.layout.file(place)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => damaged("a file is missing"),
            _ => error,
        })?;
        let decoder = Decoder::new(file, &self.pen.keys)?;
        let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0).min(1 << 26));
        decoder.take(bytes.saturating_add(1)).read_to_end(&mut content)?;
        if content.len() as u64 != bytes || Reference::of(&content) != place.hash {
            return Err(damaged("the bytes of a file have another hash"));
        }
        Ok(content)
    }

    /// Which key a file was sealed with.
    pub fn key_of(&self, place: &Place) -> io::Result<Option<KeyId>> {
        encoding::head(&mut File::open(self.layout.file(place))?).map(|(_, key)| key)
    }

    /// What the file is now; `None` if there is none.
    pub fn stamp(&self, place: &Place) -> Option<Stamp> {
        let metadata = fs::symlink_metadata(self.layout.file(place)).ok()?;
        Some(Stamp {
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Whether the file is there with this length: what putting the same content again relies on.
    pub fn holds(&self, place: &Place, stored: u64) -> bool {
        self.stamp(place).is_some_and(|stamp| stamp.length == stored)
    }

    /// Empties `tmp` and drops every blob that the index does not know; gives the number of blobs dropped.
    pub fn sweep(
        &self,
        sealed: impl Fn(Shard) -> Result<Option<Seal>>,
        known: impl Fn(&Place) -> Result<bool>,
    ) -> Result<u64> {
        let failed = || StoreError::io("drop what a crash left over", &self.layout.0);
        for leftover in fs::read_dir(self.layout.tmp()).map_err(failed())? {
            fs::remove_file(leftover.map_err(failed())?.path()).map_err(failed())?;
        }
        let mut dropped = 0;
        for shard in Shard::all() {
            let folder = self.layout.shard(shard);
            let Ok(metadata) = fs::symlink_metadata(&folder) else { continue };
            let seal = sealed(shard)?;
            if seal.is_some_and(|seal| (metadata.mtime(), metadata.mtime_nsec()) == time_of(seal)) {
                continue;
            }
            for item in fs::read_dir(&folder).map_err(failed())? {
                let item = item.map_err(failed())?;
                // Only what has a blob's name is ours to drop.
                let name = item.file_name();
                let name = format!("{:02x}{}", shard.byte(), name.to_string_lossy());
                let Ok(hash) = blake3::Hash::from_hex(&name) else { continue };
                let hash = Reference::from(*hash.as_bytes());
                if !known(&Place { area: shard.area(), hash })? {
                    fs::remove_file(item.path()).map_err(failed())?;
                    dropped += 1;
                }
            }
            if let Some(seal) = seal {
                set_seal(&folder, seal)?;
            }
        }
        Ok(dropped)
    }

    /// From now on every file that goes or is replaced is held as it was: who copies the store finds it.
    pub fn begin_holding(&mut self) {
        self.holds = true;
    }

    /// Lets go what was held.
    pub fn end_holding(&mut self) -> Result<()> {
        self.holds = false;
        let failed = || StoreError::io("drop what was held for a copy", &self.layout.0);
        for file in fs::read_dir(self.layout.tmp()).map_err(failed())? {
            let file = file.map_err(failed())?;
            if file.file_name().as_encoded_bytes().starts_with(HELD.as_bytes()) {
                fs::remove_file(file.path()).map_err(failed())?;
            }
        }
        Ok(())
    }

    /// Keeps a file that is about to go or to be replaced. What is held already is what it was at first.
    fn hold(&self, place: &Place) -> io::Result<()> {
        if !self.holds {
            return Ok(());
        }
        match fs::hard_link(self.layout.file(place), self.layout.held(place)) {
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) =>
            {
                Ok(())
            }
            other => other,
        }
    }

    fn sync(&self, step: Step, paths: Vec<PathBuf>) -> Result<()> {
        let synced = self.pen.faults.before(step).and_then(|()| {
            if paths.len() >= MANY {
                syncfs(&self.store).map_err(io::Error::from)
            } else {
                paths.iter().try_for_each(|path| File::open(path)?.sync_all())
            }
        });
        synced.map_err(StoreError::io("sync blobs to disk", &self.layout.0))
    }

    /// Makes a blob folder unless it is there; tells whether it made it.
    fn make_shard(&self, shard: Shard) -> Result<bool> {
        match fs::create_dir(self.layout.shard(shard)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(StoreError::io("make a blob folder", &self.layout.0)(error)),
        }
    }
}

/// The chunks of a content one after another, unchecked: whoever reads all of it hashes all of it.
struct Chunks<'b> {
    blobs: &'b Blobs,
    chunks: std::slice::Iter<'b, Chunk>,
    /// The next ones, which the disk is asked for already.
    opened: VecDeque<io::Result<File>>,
    current: Option<Decoder>,
}

impl<'b> Chunks<'b> {
    fn new(blobs: &'b Blobs, recipe: &'b Recipe) -> Self {
        Self { blobs, chunks: recipe.0.iter(), opened: VecDeque::new(), current: None }
    }

    fn next(&mut self) -> Option<io::Result<File>> {
        while self.opened.len() < AHEAD {
            let Some(chunk) = self.chunks.next() else { break };
            let file = File::open(self.blobs.layout.file(&Place::chunk(chunk.hash)));
            if let Ok(file) = &file {
                // Without it the reading is only slower.
                let _ = fadvise(file, 0, None, Advice::WillNeed);
            }
            self.opened.push_back(file);
        }
        self.opened.pop_front()
    }
}

impl Read for Chunks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(decoder) = &mut self.current {
                let length = decoder.read(buffer)?;
                if length > 0 || buffer.is_empty() {
                    return Ok(length);
                }
                self.current = None;
            }
            let Some(file) = self.next() else { return Ok(0) };
            let file = file.map_err(|error| match error.kind() {
                ErrorKind::NotFound => io::Error::new(ErrorKind::InvalidData, "a chunk is missing"),
                _ => error,
            })?;
            self.current = Some(Decoder::new(file, &self.blobs.pen.keys)?);
        }
    }
}

/// An error while decoding: damage, a key that is not there, or a disk that cannot be read.
pub fn unread(reference: &Reference, error: io::Error) -> StoreError {
    if let Some(KeyMissing(key)) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
        return StoreError::Locked { key: key.to_string() };
    }
    if encoding::is_damage(&error) {
        StoreError::corrupt(*reference, error.to_string())
    } else {
        StoreError::io(format!("read {reference}"), reference.to_string())(error)
    }
}
