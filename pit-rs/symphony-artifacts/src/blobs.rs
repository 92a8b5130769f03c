//! The bytes of all artifacts: one immutable file a content, `blobs/AB/CDEF…` by its hash.
//!
//! A new blob is written under `tmp`; [`Blobs::place`] syncs a whole batch, renames it into place and syncs
//! the folders. The index decides what exists: a file in place that it does not know is left over from
//! a crash, and [`Blobs::sweep`] drops it at start. So that a start need not look at every file of a large
//! store, each blob folder is *sealed*: placing sets its modification time to the number of the commit, and
//! the index records that number in the same commit. Whatever adds or removes a file breaks the seal, and
//! only folders with a broken one are read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufWriter, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{futimens, syncfs, Timespec, Timestamps, UTIME_OMIT};

use crate::ahead;
use crate::encoding::{self, Decoder, Encoder, Encoding};
use crate::error::{Result, StoreError};
use crate::faults::{Faults, Step};
use crate::Reference;

/// First byte of the hash: the folder that holds a blob.
pub type Shard = u8;
/// Number of the commit that last placed a blob in a folder.
pub type Seal = u64;

/// How much is read, hashed and written at a time, bytes.
pub const CHUNK: usize = 256 * 1024;
/// From this many bytes on a second thread is worth its start.
const LARGE: u64 = 4 * 1024 * 1024;
/// From this many files on, syncing the whole file system is cheaper than syncing each of them.
const MANY: usize = 16;

pub struct Blobs {
    placed: PathBuf,
    tmp: PathBuf,
    /// The store's folder, held open for `syncfs`.
    store: File,
    next: u64,
    faults: Faults,
}

/// A content that is to be written.
pub struct Content<'c, R> {
    pub source: R,
    /// How long it will probably be, bytes.
    pub expected: u64,
    pub media: Option<&'c str>,
    /// More bytes than this are refused.
    pub limit: u64,
    /// What to call it in an error.
    pub place: &'c str,
}

/// A blob under `tmp`, removed again unless it is placed.
#[derive(Debug)]
pub struct NewBlob {
    pub reference: Reference,
    pub bytes: u64,
    pub stored: u64,
    tmp: PathBuf,
}

impl Drop for NewBlob {
    fn drop(&mut self) {
        // After placing there is nothing here; what cannot be removed now is removed at the next start.
        let _ = fs::remove_file(&self.tmp);
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

impl Blobs {
    /// Opens the two folders below `store`, making them if need be.
    pub fn open(store: &Path, faults: Faults) -> Result<Self> {
        let (placed, tmp) = (store.join("blobs"), store.join("tmp"));
        for folder in [&placed, &tmp] {
            fs::create_dir_all(folder).map_err(StoreError::io("make the store's folders"))?;
        }
        let store = File::open(store).map_err(StoreError::io("open the store"))?;
        store.sync_all().map_err(StoreError::io("sync the store's folder"))?;
        Ok(Self { placed, tmp, store, next: 1, faults })
    }

    /// Whether no blob was ever placed here.
    pub fn is_empty(&self) -> bool {
        fs::read_dir(&self.placed).is_ok_and(|mut shards| shards.next().is_none())
    }

    /// Writes a content under `tmp`.
    pub fn write(&mut self, content: Content<'_, impl BufRead>) -> Result<NewBlob> {
        let Content { mut source, expected, media, limit, place } = content;
        let tmp = self.tmp.join(self.next.to_string());
        self.next += 1;
        let failed = || StoreError::io("write a blob");
        let unreadable = || StoreError::io(format!("read {place}"));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&tmp);
        let file = file.map_err(failed())?;
        let mut blob = NewBlob { reference: Reference::of(b""), bytes: 0, stored: 0, tmp };
        let encoding = Encoding::choose(source.fill_buf().map_err(unreadable())?, media);
        let mut encoder =
            Encoder::new(BufWriter::new(file), encoding, expected >= LARGE).map_err(failed())?;
        let mut hasher = blake3::Hasher::new();
        loop {
            let chunk = source.fill_buf().map_err(unreadable())?;
            if chunk.is_empty() {
                break;
            }
            let chunk = &chunk[..chunk.len().min(CHUNK)];
            blob.bytes += chunk.len() as u64;
            if blob.bytes > limit {
                return Err(StoreError::limit(place, "there are more bytes than the limit allows"));
            }
            self.faults.before(Step::WriteBlob(chunk.len())).map_err(failed())?;
            hasher.update(chunk);
            encoder.write(chunk).map_err(failed())?;
            let taken = chunk.len();
            source.consume(taken);
        }
        let mut file = encoder.finish().map_err(failed())?;
        file.flush().map_err(failed())?;
        blob.stored = file.get_ref().metadata().map_err(failed())?.len();
        blob.reference = Reference::from(*hasher.finalize().as_bytes());
        Ok(blob)
    }

    /// Makes these blobs durable in their places and seals the folders they went to. After an error
    /// some may be in place: [`Blobs::sweep`] drops them.
    pub fn place<'b>(
        &self,
        blobs: impl Iterator<Item = &'b NewBlob> + Clone,
        seal: Seal,
    ) -> Result<BTreeMap<Shard, Seal>> {
        self.sync(Step::SyncBlobs, blobs.clone().map(|blob| blob.tmp.clone()).collect())?;
        let mut shards = BTreeSet::new();
        let mut made_shard = false;
        for blob in blobs {
            let shard = blob.reference.as_bytes()[0];
            if shards.insert(shard) {
                made_shard |= self.make_shard(shard)?;
            }
            let placed = self.faults.before(Step::PlaceBlob);
            placed
                .and_then(|()| fs::rename(&blob.tmp, self.file_of(&blob.reference)))
                .map_err(StoreError::io("place a blob"))?;
        }
        for &shard in &shards {
            set_seal(&self.shard_of(shard), seal)?;
        }
        let mut folders: Vec<_> = shards.iter().map(|&shard| self.shard_of(shard)).collect();
        if made_shard {
            folders.push(self.placed.clone());
        }
        self.sync(Step::SyncFolders, folders)?;
        Ok(shards.into_iter().map(|shard| (shard, seal)).collect())
    }

    /// Reads a content whole, piece by piece, and ends with an error if it was not the right one:
    /// the caller must not trust a piece before that.
    pub fn read(
        &self,
        reference: &Reference,
        bytes: u64,
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut decoder = self.decoder(reference)?;
        let mut hasher = blake3::Hasher::new();
        let mut seen = 0;
        let mut pass = |piece: &[u8]| {
            seen += piece.len() as u64;
            if seen > bytes {
                return Err(StoreError::corrupt(*reference, "there are too many of them"));
            }
            hasher.update(piece);
            each(piece)
        };
        if bytes >= LARGE {
            ahead::read(decoder, |error| unread(reference, error), pass)?;
        } else {
            let mut buffer = vec![0; (bytes as usize).clamp(1, CHUNK)];
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
    pub fn decoder(&self, reference: &Reference) -> Result<Decoder> {
        let file = match File::open(self.file_of(reference)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::corrupt(*reference, "the file is missing"));
            }
            other => other.map_err(StoreError::io("open a blob"))?,
        };
        Decoder::new(file).map_err(|error| unread(reference, error))
    }

    /// What the blob's file is now; `None` if there is none.
    pub fn stamp(&self, reference: &Reference) -> Option<Stamp> {
        let metadata = fs::symlink_metadata(self.file_of(reference)).ok()?;
        Some(Stamp {
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Whether the blob's file is there with this length: what putting the same content again relies on.
    pub fn holds(&self, reference: &Reference, stored: u64) -> bool {
        self.stamp(reference).is_some_and(|stamp| stamp.length == stored)
    }

    /// Empties `tmp` and drops every blob that the index does not know; gives the number of blobs dropped.
    pub fn sweep(
        &self,
        sealed: impl Fn(Shard) -> Result<Option<Seal>>,
        known: impl Fn(&[u8; 32]) -> Result<bool>,
    ) -> Result<u64> {
        let failed = || StoreError::io("drop what a crash left over");
        for leftover in fs::read_dir(&self.tmp).map_err(failed())? {
            fs::remove_file(leftover.map_err(failed())?.path()).map_err(failed())?;
        }
        let mut dropped = 0;
        for shard in 0..=Shard::MAX {
            let folder = self.shard_of(shard);
            let Ok(metadata) = fs::symlink_metadata(&folder) else { continue };
            let seal = sealed(shard)?;
            if seal.is_some_and(|seal| (metadata.mtime(), metadata.mtime_nsec()) == time_of(seal)) {
                continue;
            }
            for item in fs::read_dir(&folder).map_err(failed())? {
                let item = item.map_err(failed())?;
                // Only what has a blob's name is ours to drop.
                let name = format!("{shard:02x}{}", item.file_name().to_string_lossy());
                let Ok(hash) = blake3::Hash::from_hex(&name) else { continue };
                if !known(hash.as_bytes())? {
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

    fn sync(&self, step: Step, paths: Vec<PathBuf>) -> Result<()> {
        let synced = self.faults.before(step).and_then(|()| {
            if paths.len() >= MANY {
                syncfs(&self.store).map_err(io::Error::from)
            } else {
                paths.iter().try_for_each(|path| File::open(path)?.sync_all())
            }
        });
        synced.map_err(StoreError::io("sync blobs to disk"))
    }

    /// Makes a blob folder unless it is there; tells whether it made it.
    fn make_shard(&self, shard: Shard) -> Result<bool> {
        match fs::create_dir(self.shard_of(shard)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(StoreError::io("make a blob folder")(error)),
        }
    }

    fn shard_of(&self, shard: Shard) -> PathBuf {
        self.placed.join(format!("{shard:02x}"))
    }

    fn file_of(&self, reference: &Reference) -> PathBuf {
        let hex = reference.hex();
        let (shard, rest) = hex.split_at(2);
        self.placed.join(shard).join(rest)
    }
}

/// An error while decoding: damage, or a disk that cannot be read.
pub fn unread(reference: &Reference, error: io::Error) -> StoreError {
    if encoding::is_damage(&error) {
        StoreError::corrupt(*reference, error.to_string())
    } else {
        StoreError::io(format!("read {reference}"))(error)
    }
}

/// A modification time no clock gives: the commit's number in nanoseconds after 1970 began.
fn time_of(seal: Seal) -> (i64, i64) {
    const SECOND: Seal = 1_000_000_000;
    ((seal / SECOND) as i64, (seal % SECOND) as i64)
}

fn set_seal(folder: &Path, seal: Seal) -> Result<()> {
    let (tv_sec, tv_nsec) = time_of(seal);
    let keep = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let last_modification = Timespec { tv_sec, tv_nsec };
    let times = Timestamps { last_access: keep, last_modification };
    let folder = File::open(folder).map_err(StoreError::io("seal a blob folder"))?;
    futimens(&folder, &times).map_err(StoreError::io("seal a blob folder"))
}
