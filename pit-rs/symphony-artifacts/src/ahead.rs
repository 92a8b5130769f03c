//! Reads ahead in a thread of its own, so that decoding a large content overlaps with hashing and writing it.

use std::io::{self, Read};
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

use crate::error::{Result, StoreError};

/// Pieces that may wait; with the two in work they bound the memory.
const DEPTH: usize = 4;
/// Length of a piece, bytes: handing one over costs some microseconds, and all of them together stay in a
/// processor's cache. With 1 MiB each a content took half as long again.
const PIECE: usize = 256 * 1024;

/// Hands `source` to `each` piece by piece. `fault` turns an error of `source` into the caller's.
pub fn read(
    mut source: impl Read + Send,
    fault: impl FnOnce(io::Error) -> StoreError,
    mut each: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    thread::scope(|scope| {
        let (send_full, full) = sync_channel::<io::Result<(Vec<u8>, usize)>>(DEPTH);
        let (send_empty, empty) = channel::<Vec<u8>>();
        for _ in 0..DEPTH {
            // Both ends are alive here; later, a reader that has ended needs no more buffers.
            let _ = send_empty.send(vec![0; PIECE]);
        }
        scope.spawn(move || {
            for mut buffer in empty {
                let piece = source.read(&mut buffer).map(|length| (buffer, length));
                let last = !matches!(piece, Ok((_, length)) if length > 0);
                if send_full.send(piece).is_err() || last {
                    break;
                }
            }
        });
        for piece in full {
            match piece {
                Ok((_, 0)) => break,
                Ok((buffer, length)) => {
                    each(&buffer[..length])?;
                    let _ = send_empty.send(buffer);
                }
                Err(error) => return Err(fault(error)),
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives pieces of all lengths, then an error if it has one.
    struct Uneven(Vec<u8>, Option<io::Error>);

    impl Read for Uneven {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = (self.0.len() / 3 + 1).min(self.0.len()).min(buffer.len());
            if length == 0 {
                return self.1.take().map_or(Ok(0), Err);
            }
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0.drain(..length);
            Ok(length)
        }
    }

    fn gather(source: Uneven, most: usize) -> (Vec<u8>, Result<()>) {
        let mut seen = Vec::new();
        let outcome = read(source, StoreError::io("read", "a file"), |piece| {
            seen.extend_from_slice(piece);
            if seen.len() > most {
                return Err(StoreError::Bug("enough".to_owned()));
            }
            Ok(())
        });
        (seen, outcome)
    }

    #[test]
    fn everything_arrives_in_order_and_errors_end_it_on_both_sides() {
        let bytes: Vec<u8> = (0..8_000_000u32).map(|number| number as u8).collect();
        let (seen, outcome) = gather(Uneven(bytes.clone(), None), usize::MAX);
        assert!(outcome.is_ok() && seen == bytes);
        let broken = Uneven(bytes.clone(), Some(io::Error::other("torn")));
        let (seen, outcome) = gather(broken, usize::MAX);
        assert!(matches!(outcome, Err(StoreError::Io { .. })) && seen == bytes);
        let (_, outcome) = gather(Uneven(bytes, None), 1_000);
        assert!(matches!(outcome, Err(StoreError::Bug(_))));
    }
}
