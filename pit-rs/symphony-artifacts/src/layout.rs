//! Where each file of a store lies: `blobs/AB/CDEF…` or `chunks/AB/CDEF…` by its hash, `tmp` what has no place yet.
//!
//! A folder's *seal* is its modification time, set to a number that no clock gives.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{futimens, Timespec, Timestamps, UTIME_OMIT};

use crate::error::{Result, StoreError};
use crate::Reference;

/// Number of the commit that last placed or dropped a file in a folder.
pub type Seal = u64;

/// What a file holds: a whole content, or a chunk of large ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    Blobs = 0,
    Chunks = 1,
}

/// A folder of files: an area and the first byte of their hashes. The number is part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard(pub u16);

impl Shard {
    pub fn all() -> impl Iterator<Item = Self> {
        (0..512).map(Self)
    }

    pub fn area(self) -> Area {
        if self.0 < 256 {
            Area::Blobs
        } else {
            Area::Chunks
        }
    }

    pub fn byte(self) -> u8 {
        self.0.to_le_bytes()[0]
    }
}

/// Which file: a hash is at most once in each area.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub area: Area,
    pub hash: Reference,
}

impl Place {
    pub fn blob(hash: Reference) -> Self {
        Self { area: Area::Blobs, hash }
    }

    pub fn chunk(hash: Reference) -> Self {
        Self { area: Area::Chunks, hash }
    }

    pub fn shard(&self) -> Shard {
        Shard((self.area as u16) << 8 | u16::from(self.hash.as_bytes()[0]))
    }
}

/// The folder of a store.
#[derive(Clone, Debug)]
pub struct Layout(pub PathBuf);

impl Layout {
    pub fn area(&self, area: Area) -> PathBuf {
        self.0.join(match area {
            Area::Blobs => "blobs",
            Area::Chunks => "chunks",
        })
    }

    pub fn shard(&self, shard: Shard) -> PathBuf {
        self.area(shard.area()).join(format!("{:02x}", shard.byte()))
    }

    pub fn file(&self, place: &Place) -> PathBuf {
        let hex = place.hash.hex();
        let (shard, rest) = hex.split_at(2);
        self.area(place.area).join(shard).join(rest)
    }

    pub fn tmp(&self) -> PathBuf {
        self.0.join("tmp")
    }

    /// Where a file is kept that went, or was replaced, while the store is copied.
    pub fn held(&self, place: &Place) -> PathBuf {
        let area = match place.area {
            Area::Blobs => 'b',
            Area::Chunks => 'c',
        };
        self.tmp().join(format!("{HELD}{area}{}", place.hash.hex()))
    }

    pub fn index(&self) -> PathBuf {
        self.0.join("index.redb")
    }
}

/// How the names of held files begin.
pub const HELD: &str = "held-";

/// A modification time no clock gives: the commit's number in nanoseconds after 1970 began.
pub fn time_of(seal: Seal) -> (i64, i64) {
    const SECOND: Seal = 1_000_000_000;
    ((seal / SECOND) as i64, (seal % SECOND) as i64)
}

pub fn set_seal(folder: &Path, seal: Seal) -> Result<()> {
    let (tv_sec, tv_nsec) = time_of(seal);
    let keep = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let last_modification = Timespec { tv_sec, tv_nsec };
    let times = Timestamps { last_access: keep, last_modification };
    let opened = File::open(folder).map_err(StoreError::io("seal a blob folder", folder))?;
    futimens(&opened, &times).map_err(StoreError::io("seal a blob folder", folder))
}
