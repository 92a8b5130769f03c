//! Reads the records of a file one after another, through one buffer that is as large as it must be.

use std::io;

use crate::frame;
use crate::storage::Medium;

const CHUNK: usize = 256 << 10;

/// What stands at the reader's place.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    Payload(&'a [u8]),
    /// No whole record, or not the one that was written.
    Damage,
    End,
}

pub struct Frames<'m, M> {
    file: &'m M,
    /// Offset in the file of the next record.
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    /// Where in the buffer `at` is.
    start: usize,
}

impl<'m, M: Medium> Frames<'m, M> {
    /// Reads from byte `at`, where a record begins, to byte `end`.
    pub fn new(file: &'m M, at: u64, end: u64) -> Self {
        Self { file, at, end, buffer: Vec::new(), start: 0 }
    }

    /// Offset of what the next call reads; after [`Item::Damage`], of the damage.
    pub fn at(&self) -> u64 {
        self.at
    }

    pub fn read(&mut self) -> io::Result<Item<'_>> {
        if self.at >= self.end {
            return Ok(Item::End);
        }
        if !self.fill(frame::HEADER)? {
            return Ok(Item::Damage);
        }
        let Some(length) = frame::length(&self.buffer[self.start..]) else {
            return Ok(Item::Damage);
        };
        let whole = frame::HEADER + length;
        if !self.fill(whole)? {
            return Ok(Item::Damage);
        }
        let start = self.start;
        match frame::decode(&self.buffer[start..start + whole]) {
            None => Ok(Item::Damage),
            Some(payload) => {
                self.start += whole;
                self.at += whole as u64;
                Ok(Item::Payload(payload))
            }
        }
    }

    /// Makes `need` bytes from `at` on present in the buffer; false where the file has fewer.
    fn fill(&mut self, need: usize) -> io::Result<bool> {
        let present = self.buffer.len() - self.start;
        if present >= need {
            return Ok(true);
        }
        let left = self.end - self.at;
        if left < need as u64 {
            return Ok(false);
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let wanted = need.max(CHUNK).min(usize::try_from(left).unwrap_or(usize::MAX));
        self.buffer.resize(wanted, 0);
        self.file.read_at(self.at + present as u64, &mut self.buffer[present..])?;
        Ok(true)
    }
}
