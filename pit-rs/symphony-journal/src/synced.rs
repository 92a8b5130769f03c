//! How much of a log was acknowledged, in a companion of its file.
//!
//! After a power cut whatever was not synced may be cut, zeroed, doubled or flipped, and a flip in the tail looks
//! like rot of an acknowledged record. The owner knows the difference, so it says here, after each sync that it
//! keeps, how long the file was: damage from there on is a torn tail, damage before it is corruption.
//!
//! Two slots, written in turn and never synced (one `pwrite`, no reply waits for it), each with the first bytes of the
//! log's first record, so that a companion of another file says nothing. A killed process leaves it exact. A power
//! cut may leave an older length (or none, where it had just been made: 0): that is too small, never too large, and
//! matters only where bytes that had reached the disk are damaged too; those are then set aside, not lost. Without a
//! companion, or with one that cannot be read, a tail that no torn write leaves is corruption. No crash leaves one that
//! cannot be read: it is told, and stays as it is until somebody removes it.
//! As it never says too much, a log that is shorter than it says, or is not there, lost what was acknowledged.
//!
//! A mark in the log itself, by the next commit, would leave the last commit unguarded for as long as none follows.

use std::io;

use crate::log::LogError;
use crate::storage::Medium;

/// The name of a log's companion.
pub fn synced_of(name: &str) -> String {
    format!("{name}.synced")
}

/// Why a companion says nothing although it is not blank.
pub const ILLEGIBLE: &str = "what says how much was acknowledged cannot be read";

/// What a log is known by: length and checksum of its first record.
pub type Id = [u8; 8];

/// `turn: u64 LE`, id, `length: u64 LE`, `crc32c: u32 LE` of these.
const SLOT: usize = 28;
/// Bytes from one slot to the other: a torn write harms only one.
const APART: u64 = 512;

/// A companion: of a log or, under an id of one's own, of whatever else only grows.
#[derive(Debug)]
pub struct Synced<M> {
    file: M,
    /// Of the last slot written.
    turn: u64,
}

struct Slot {
    turn: u64,
    id: Id,
    length: u64,
}

impl Slot {
    fn encode(&self) -> [u8; SLOT] {
        let mut bytes = [0; SLOT];
        bytes[..8].copy_from_slice(&self.turn.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.id);
        bytes[16..24].copy_from_slice(&self.length.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..24]);
        bytes[24..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; SLOT]) -> Option<Self> {
        let word = |at: usize| bytes.get(at..at + 8)?.try_into().ok();
        let sum = u32::from_le_bytes(bytes.get(24..)?.try_into().ok()?);
        let slot = Self {
            turn: u64::from_le_bytes(word(0)?),
            id: word(8)?,
            length: u64::from_le_bytes(word(16)?),
        };
        (crc32c::crc32c(&bytes[..24]) == sum).then_some(slot)
    }
}

impl<M: Medium> Synced<M> {
    pub fn new(file: M) -> Self {
        Self { file, turn: 0 }
    }

    /// How much was acknowledged of the log with this id, if it is known; of a log that has none, for it is empty or
    /// is not there, as much as is said of any. `InvalidData` where neither slot can be read.
    pub fn read(&mut self, id: Option<Id>) -> io::Result<Option<u64>> {
        let size = self.file.len()?;
        let (mut slots, mut blank) = (Vec::new(), true);
        for at in [0, APART] {
            let mut bytes = [0; SLOT];
            let present = size.saturating_sub(at).min(SLOT as u64) as usize;
            if present > 0 {
                self.file.read_at(at, &mut bytes[..present])?;
            }
            blank &= bytes == [0; SLOT];
            slots.extend(Slot::decode(&bytes));
        }
        if slots.is_empty() && !blank {
            return Err(io::Error::new(io::ErrorKind::InvalidData, ILLEGIBLE));
        }
        self.turn = slots.iter().map(|slot| slot.turn).max().unwrap_or(0);
        let Some(id) = id else {
            return Ok(slots.iter().map(|slot| slot.length).max());
        };
        let own = slots.iter().filter(|slot| slot.id == id).max_by_key(|slot| slot.turn);
        // One that is blank had been made when the power went, and nothing of it had reached the disk.
        Ok(own.map(|slot| slot.length).or(blank.then_some(0)))
    }

    /// Says that so much is acknowledged of the log with this id.
    pub fn write(&mut self, id: Id, length: u64) -> io::Result<()> {
        let turn = self.turn + 1;
        self.file.write_at(turn % 2 * APART, &Slot { turn, id, length }.encode())?;
        self.turn = turn;
        Ok(())
    }

    pub fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    /// Makes it the companion of a log that is only beginning.
    pub fn clear(&mut self) -> io::Result<()> {
        self.turn = 0;
        self.file.truncate(0)
    }
}

/// What a log in this file is known by, if it has so many bytes.
pub(crate) fn id_of<M: Medium>(file: &M) -> io::Result<Option<Id>> {
    let mut id = Id::default();
    if file.len()? < id.len() as u64 {
        return Ok(None);
    }
    file.read_at(0, &mut id)?;
    Ok(Some(id))
}

/// How much of the log in this file was acknowledged, as far as its companion can be read; for whoever only reads it:
/// before the log.
pub fn acknowledged<M: Medium>(log: &M, companion: M) -> io::Result<Option<u64>> {
    match Synced::new(companion).read(id_of(log)?) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
        said => said,
    }
}

/// Refuses a log that is not there although its companion says that something of it was acknowledged.
pub fn require_none<M: Medium>(companion: Option<M>) -> Result<(), LogError> {
    let said = companion.map(|it| Synced::new(it).read(None)).transpose()?.flatten().unwrap_or(0);
    match said {
        0 => Ok(()),
        acknowledged => Err(LogError::Lost { acknowledged, found: 0 }),
    }
}
