//! Writing past the page cache: what is long and read seldom would push out what is read often, and is copied once
//! less.
//!
//! The kernel takes whole blocks from memory that begins at one; what is left over at the end goes the usual way.
//! Where a file system has no such writes everything does.

use std::fs::File;
use std::io::{self, ErrorKind, Write};

use rustix::fs::{fcntl_getfl, fcntl_setfl, OFlags};

const BLOCK: usize = 4096;

/// A file's bytes in memory that begins at a block.
#[derive(Default)]
pub struct Aligned {
    bytes: Vec<u8>,
    begin: usize,
}

impl Aligned {
    /// Empty, with room for this many bytes.
    pub fn begin(&mut self, room: usize) {
        self.bytes.clear();
        self.bytes.reserve(room + BLOCK);
        self.begin = self.bytes.as_ptr().align_offset(BLOCK);
        self.bytes.resize(self.begin, 0);
    }

    /// Writes everything to an empty file.
    pub fn write_to(&self, file: &mut File) -> io::Result<()> {
        let bytes = &self.bytes[self.begin..];
        let (blocks, mut rest) = bytes.split_at(bytes.len() / BLOCK * BLOCK);
        // Memory that had to grow begins anywhere.
        let aligned = bytes.as_ptr().align_offset(BLOCK) == 0;
        if aligned && !blocks.is_empty() && set_direct(file, true) {
            let written = file.write_all(blocks);
            set_direct(file, false);
            match written {
                Err(error) if error.kind() == ErrorKind::InvalidInput => rest = bytes,
                other => other?,
            }
        } else {
            rest = bytes;
        }
        file.write_all(rest)
    }
}

impl Write for Aligned {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn set_direct(file: &File, on: bool) -> bool {
    let flags = fcntl_getfl(file);
    flags
        .and_then(|flags| {
            let flags = if on { flags | OFlags::DIRECT } else { flags - OFlags::DIRECT };
            fcntl_setfl(file, flags)
        })
        .is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_length_is_written_whole_on_every_file_system() {
        let folders = [tempfile::tempdir().ok(), tempfile::tempdir_in("/dev/shm").ok()];
        for folder in folders.into_iter().flatten() {
            let mut aligned = Aligned::default();
            for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5, 2_000_000] {
                let content: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
                for room in [length, 10] {
                    aligned.begin(room);
                    for piece in content.chunks(70_000) {
                        aligned.write_all(piece).unwrap();
                    }
                    let path = folder.path().join(format!("{length}-{room}"));
                    aligned.write_to(&mut File::create(&path).unwrap()).unwrap();
                    assert_eq!(fs::read(path).unwrap(), content, "{length}");
                }
            }
        }
    }
}
