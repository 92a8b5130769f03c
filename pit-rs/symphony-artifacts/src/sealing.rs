//! Sealed bytes: XChaCha20-Poly1305 over a stream, in segments of 64 KiB.
//!
//! The head is the key's id (8 bytes) and 16 random bytes; the nonce of a segment is those 16 and, in 8 more,
//! its number and whether it is the last (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár,
//! CRYPTO 2015): nothing can be cut off, put in front, moved or repeated unnoticed.

use std::io::{self, Read, Write};

use chacha20poly1305::aead::{Aead, AeadInOut};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use crate::keys::{KeyId, Keys};

const SEGMENT: usize = 64 * 1024;
const TAG: usize = 16;
const SALT: usize = 16;

/// That the key of sealed bytes is not at hand.
#[derive(Debug, thiserror::Error)]
#[error("the key {0} is not among those given")]
pub struct KeyMissing(pub KeyId);

fn damage(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

fn nonce(salt: &[u8; SALT], number: u64, last: bool) -> XNonce {
    let mut nonce = [0; 24];
    nonce[..SALT].copy_from_slice(salt);
    nonce[SALT..].copy_from_slice(&(number << 1 | u64::from(last)).to_le_bytes());
    nonce.into()
}

/// Seals what is written to it. [`finish`](Self::finish) must be called.
pub struct Sealer<W: Write> {
    sink: W,
    cipher: XChaCha20Poly1305,
    salt: [u8; SALT],
    number: u64,
    buffer: Vec<u8>,
}

impl<W: Write> Sealer<W> {
    pub fn new(mut sink: W, id: KeyId, cipher: XChaCha20Poly1305) -> io::Result<Self> {
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt).map_err(io::Error::other)?;
        sink.write_all(&id.0)?;
        sink.write_all(&salt)?;
        Ok(Self { sink, cipher, salt, number: 0, buffer: Vec::with_capacity(SEGMENT + TAG) })
    }

    fn segment(&mut self, last: bool) -> io::Result<()> {
        let nonce = nonce(&self.salt, self.number, last);
        let sealed = self.cipher.encrypt_in_place(&nonce, b"", &mut self.buffer);
        sealed.map_err(|_| io::Error::other("failed to seal"))?;
        self.sink.write_all(&self.buffer)?;
        self.buffer.clear();
        self.number += 1;
        Ok(())
    }

    pub fn finish(mut self) -> io::Result<W> {
        self.segment(true)?;
        Ok(self.sink)
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == SEGMENT {
            self.segment(false)?;
        }
        let taken = bytes.len().min(SEGMENT - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives what was sealed, each segment only once it was found genuine.
pub struct Opener<R: Read> {
    source: R,
    cipher: XChaCha20Poly1305,
    salt: [u8; SALT],
    number: u64,
    buffer: Vec<u8>,
    at: usize,
    ended: bool,
    /// The first byte of the next segment, read to know whether there is one.
    next: Option<u8>,
}

impl<R: Read> Opener<R> {
    pub fn new(mut source: R, keys: &Keys) -> io::Result<Self> {
        let (mut id, mut salt) = ([0; 8], [0; SALT]);
        source.read_exact(&mut id)?;
        source.read_exact(&mut salt)?;
        let cipher = keys.get(&KeyId(id)).ok_or_else(|| {
            io::Error::new(io::ErrorKind::PermissionDenied, KeyMissing(KeyId(id)))
        })?;
        let mut opener = Self {
            source,
            cipher: cipher.clone(),
            salt,
            number: 0,
            buffer: Vec::with_capacity(SEGMENT + TAG),
            at: 0,
            ended: false,
            next: None,
        };
        opener.next = opener.byte()?;
        Ok(opener)
    }

    fn byte(&mut self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        loop {
            match self.source.read(&mut byte) {
                Ok(0) => return Ok(None),
                Ok(_) => return Ok(Some(byte[0])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
    }

    fn segment(&mut self) -> io::Result<()> {
        let first = self.next.ok_or_else(|| damage("the sealed bytes end too early"))?;
        self.buffer.clear();
        self.at = 0;
        self.buffer.push(first);
        let rest = (SEGMENT + TAG - 1) as u64;
        self.source.by_ref().take(rest).read_to_end(&mut self.buffer)?;
        self.next = self.byte()?;
        self.ended = self.next.is_none();
        let nonce = nonce(&self.salt, self.number, self.ended);
        self.number += 1;
        let opened = self.cipher.decrypt_in_place(&nonce, b"", &mut self.buffer);
        opened.map_err(|_| damage("the sealed bytes are not genuine"))
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.buffer.len() {
            if self.ended || buffer.is_empty() {
                return Ok(0);
            }
            self.segment()?;
        }
        let taken = buffer.len().min(self.buffer.len() - self.at);
        buffer[..taken].copy_from_slice(&self.buffer[self.at..self.at + taken]);
        self.at += taken;
        Ok(taken)
    }
}

/// Seals a few bytes: key id, nonce, sealed bytes.
pub fn seal(id: KeyId, cipher: &XChaCha20Poly1305, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut nonce = [0; 24];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    let sealed = cipher.encrypt(&nonce.into(), bytes);
    let sealed = sealed.map_err(|_| io::Error::other("failed to seal"))?;
    Ok([id.0.as_slice(), &nonce, &sealed].concat())
}

/// Opens what [`seal`] gave.
pub fn open(keys: &Keys, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let short = || damage("the sealed bytes are too few");
    let (id, rest) = bytes.split_first_chunk::<8>().ok_or_else(short)?;
    let (nonce, sealed) = rest.split_first_chunk::<24>().ok_or_else(short)?;
    let cipher = keys
        .get(&KeyId(*id))
        .ok_or_else(|| io::Error::new(io::ErrorKind::PermissionDenied, KeyMissing(KeyId(*id))))?;
    let opened = cipher.decrypt(&(*nonce).into(), sealed);
    opened.map_err(|_| damage("the sealed bytes are not genuine"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(keys: &Keys, content: &[u8]) -> Vec<u8> {
        let (id, cipher) = keys.current().unwrap();
        let mut sealer = Sealer::new(Vec::new(), id, cipher.clone()).unwrap();
        for piece in content.chunks(70_001) {
            sealer.write_all(piece).unwrap();
        }
        sealer.finish().unwrap()
    }

    fn opened(keys: &Keys, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        Opener::new(bytes, keys)?.read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn what_is_sealed_comes_back_and_no_change_goes_unnoticed() {
        let keys = Keys::parse(&"42".repeat(32), "test").unwrap();
        for length in [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT + 7] {
            let content: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let bytes = sealed(&keys, &content);
            assert_eq!(opened(&keys, &bytes).unwrap(), content);
            assert_ne!(bytes, sealed(&keys, &content), "a nonce came twice");
            let head = 8 + SALT;
            for at in [0, 8, head, bytes.len() / 2, bytes.len() - 1] {
                let mut bad = bytes.clone();
                bad[at] ^= 1;
                assert!(opened(&keys, &bad).is_err(), "byte {at} of {length}");
            }
            // Whole segments cut off, repeated or changed about.
            for end in (head..bytes.len()).step_by(SEGMENT + TAG).chain([head, bytes.len() - 1]) {
                assert!(opened(&keys, &bytes[..end]).is_err(), "cut to {end} of {length}");
            }
            let again = [&bytes[..], &bytes[head..]].concat();
            assert!(opened(&keys, &again).is_err());
        }
        let other = Keys::parse(&"43".repeat(32), "test").unwrap();
        let error = opened(&other, &sealed(&keys, b"x")).unwrap_err();
        assert!(error.get_ref().is_some_and(|inner| inner.is::<KeyMissing>()));
    }

    #[test]
    fn a_few_bytes_are_sealed_the_same_way() {
        let keys = Keys::parse(&"42".repeat(32), "test").unwrap();
        let (id, cipher) = keys.current().unwrap();
        let bytes = seal(id, cipher, b"secret").unwrap();
        assert_eq!(open(&keys, &bytes).unwrap(), b"secret");
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(open(&keys, &bad).is_err());
        }
        assert!(open(&keys, &bytes[..20]).is_err());
    }
}
