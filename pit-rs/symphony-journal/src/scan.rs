//! Reads all of a log's file, which another process may be writing to meanwhile.
//!
//! Records are only ever added behind the others, so what has been read stays as it was: every prefix of a log is
//! one that its owner had. What is not yet a whole record at the end looks like one whose write was cut short.

use std::io;

use crate::frame;
use crate::frames::{Frames, Item};
use crate::log::LogError;
use crate::storage::Medium;

/// What stands in a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Scan {
    pub records: u64,
    /// Where the last whole record ends.
    pub whole: u64,
    /// What stands behind it: a record whose write was cut short, or is still going on.
    pub torn: Vec<u8>,
}

/// Passes every record to `visit`, and where it ends. Bytes without any record are corruption. So are others that are
/// no record if they begin before `acknowledged`, or, where that is not known, if no torn write leaves the like. What ends
/// before `acknowledged` has lost something.
pub fn scan<M: Medium>(
    file: &M,
    acknowledged: Option<u64>,
    mut visit: impl FnMut(&[u8], u64) -> io::Result<()>,
) -> Result<Scan, LogError> {
    let end = file.len()?;
    let mut frames = Frames::new(file, 0, end);
    let mut records = 0;
    let whole = loop {
        let at = frames.at();
        match frames.read()? {
            Item::Payload(payload) => {
                records += 1;
                visit(payload, at + (frame::HEADER + payload.len()) as u64)?;
            }
            Item::End => break end,
            Item::Damage => break at,
        }
    };
    let mut torn = vec![0; usize::try_from(end - whole).unwrap_or(usize::MAX)];
    if whole < end {
        file.read_at(whole, &mut torn)?;
        let is_tail = match acknowledged {
            Some(length) => whole >= length,
            None => frame::is_torn(&torn) && !frame::any_in(&torn[1..]),
        };
        if records == 0 || !is_tail {
            return Err(LogError::Corrupt { at: whole });
        }
    }
    if let Some(acknowledged) = acknowledged.filter(|length| *length > whole) {
        return Err(LogError::Lost { acknowledged, found: whole });
    }
    Ok(Scan { records, whole, torn })
}
