//! How the bytes of a blob lie in its file: one byte that names the encoding, then the bytes, in whole or sealed.
//!
//! | first byte | then |
//! |---|---|
//! | 0 | the content |
//! | 1 | the content, zstd |
//! | 2, 3 | the same, sealed ([`crate::sealing`]) |
//!
//! zstd where it pays. Media types that are compressed already are left alone, so is whatever fits one
//! disk block; otherwise a sample decides.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use crate::keys::{KeyId, Keys};
use crate::sealing::{Opener, Sealer};

/// Content up to this long takes one disk block either way.
const BLOCK: usize = 4095;
/// How much of a content is compressed to decide about the rest.
const SAMPLE: usize = 16 * 1024;
/// The fastest of zstd's usual levels: pace comes before the last few per cent of space.
pub const FAST: i32 = 1;
/// The level of what is packed: about 40 MB/s, and a fifth smaller.
pub const SMALL: i32 = 12;
/// The bit of the first byte that says that the rest is sealed.
const SEALED: u8 = 2;
/// Between a file and what encodes, bytes.
const BUFFER: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Plain = 0,
    Zstd = 1,
}

impl Encoding {
    /// Chooses by media type and by the beginning of the content.
    pub fn choose(beginning: &[u8], media: Option<&str>) -> Self {
        if beginning.len() <= BLOCK || media.is_some_and(is_compressed) {
            return Self::Plain;
        }
        let sample = &beginning[..beginning.len().min(SAMPLE)];
        let packed =
            SAMPLER.with_borrow_mut(|sampler| sampler.as_mut().ok()?.compress(sample).ok());
        match packed {
            Some(packed) if packed.len() < sample.len() / 10 * 9 => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

thread_local! {
    /// Made once a thread: to make one costs as much as to use it.
    static SAMPLER: RefCell<io::Result<zstd::bulk::Compressor<'static>>> =
        RefCell::new(zstd::bulk::Compressor::new(FAST));
}

fn is_compressed(media: &str) -> bool {
    let media = media.split(';').next().unwrap_or(media).trim();
    let (family, name) = media.split_once('/').unwrap_or((media, ""));
    match family {
        "audio" | "video" => true,
        "image" => !matches!(name, "svg+xml" | "bmp" | "tiff" | "x-portable-pixmap"),
        "application" => {
            matches!(
                name,
                "zip" | "gzip" | "zstd" | "x-xz" | "x-bzip2" | "x-7z-compressed" | "java-archive"
            )
        }
        _ => false,
    }
}

/// What a file is written through.
enum Sink<W: Write> {
    Open(W),
    Sealed(Sealer<W>),
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Open(file) => file.write(bytes),
            Self::Sealed(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Open(file) => file.flush(),
            Self::Sealed(file) => file.flush(),
        }
    }
}

enum Form<W: Write> {
    Plain(Sink<W>),
    Zstd(zstd::stream::write::Encoder<'static, Sink<W>>),
}

/// What goes into a file in pieces of some length, however it comes.
pub fn buffered(file: File) -> BufWriter<File> {
    BufWriter::with_capacity(BUFFER, file)
}

/// Writes a content as it lies in its file, sealed where there is a key.
pub struct Encoder<W: Write>(Form<W>);

impl<W: Write> Encoder<W> {
    pub fn new(mut file: W, encoding: Encoding, level: i32, keys: &Keys) -> io::Result<Self> {
        let sink = match keys.current() {
            None => {
                file.write_all(&[encoding as u8])?;
                Sink::Open(file)
            }
            Some((id, cipher)) => {
                file.write_all(&[encoding as u8 | SEALED])?;
                Sink::Sealed(Sealer::new(file, id, cipher.clone())?)
            }
        };
        Ok(Self(match encoding {
            Encoding::Plain => Form::Plain(sink),
            Encoding::Zstd => Form::Zstd(zstd::stream::write::Encoder::new(sink, level)?),
        }))
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Form::Plain(sink) => sink.write_all(bytes),
            Form::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    /// What it was written to, with everything in it.
    pub fn finish(self) -> io::Result<W> {
        let sink = match self.0 {
            Form::Plain(sink) => sink,
            Form::Zstd(encoder) => encoder.finish()?,
        };
        match sink {
            Sink::Open(file) => Ok(file),
            Sink::Sealed(sealer) => sealer.finish(),
        }
    }
}

type Sealed = Opener<BufReader<File>>;

/// Reads a content from its file, forward only.
pub enum Decoder {
    Plain(File),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<File>>>),
    Sealed(Box<Sealed>),
    SealedZstd(Box<zstd::stream::read::Decoder<'static, BufReader<Sealed>>>),
}

impl Decoder {
    /// An unknown encoding is `InvalidData`, like any damage found while decoding.
    pub fn new(mut file: File, keys: &Keys) -> io::Result<Self> {
        let mut encoding = [0];
        file.read_exact(&mut encoding)?;
        let [encoding] = encoding;
        let sealed = |file| Opener::new(BufReader::with_capacity(BUFFER, file), keys);
        match encoding {
            0 => Ok(Self::Plain(file)),
            1 => Ok(Self::Zstd(Box::new(zstd::stream::read::Decoder::new(file)?))),
            2 => Ok(Self::Sealed(Box::new(sealed(file)?))),
            3 => {
                let decoder = zstd::stream::read::Decoder::new(sealed(file)?)?;
                Ok(Self::SealedZstd(Box::new(decoder)))
            }
            other => {
                let message = format!("the blob has the unknown encoding {other}");
                Err(io::Error::new(io::ErrorKind::InvalidData, message))
            }
        }
    }

    /// Passes over `bytes` of the content.
    pub fn skip(&mut self, bytes: u64) -> io::Result<()> {
        match self {
            Self::Plain(file) => {
                let bytes = i64::try_from(bytes).map_err(io::Error::other)?;
                file.seek(SeekFrom::Current(bytes)).map(drop)
            }
            _ => io::copy(&mut self.take(bytes), &mut io::sink()).map(drop),
        }
    }
}

impl Read for Decoder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
            Self::Sealed(opener) => opener.read(buffer),
            Self::SealedZstd(decoder) => decoder.read(buffer),
        }
    }
}

/// How a file is written: whether it is compressed, and with which key it is sealed.
pub fn head(file: &mut File) -> io::Result<(u8, Option<KeyId>)> {
    let mut encoding = [0];
    file.read_exact(&mut encoding)?;
    let mut key = None;
    if encoding[0] & SEALED != 0 {
        let mut id = [0; 8];
        file.read_exact(&mut id)?;
        key = Some(KeyId(id));
    }
    Ok((encoding[0], key))
}

/// Whether an error of [`Decoder`] means damaged bytes rather than a disk that cannot be read.
pub fn is_damage(error: &io::Error) -> bool {
    error.raw_os_error().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compression_is_chosen_only_where_it_pays() {
        let text = b"the same words again and again ".repeat(400);
        let mut noise = vec![0; 10_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        assert_eq!(Encoding::choose(&text, Some("text/plain")), Encoding::Zstd);
        assert_eq!(Encoding::choose(&text, None), Encoding::Zstd);
        assert_eq!(Encoding::choose(&text, Some("image/png")), Encoding::Plain);
        assert_eq!(Encoding::choose(&text[..1000], None), Encoding::Plain);
        assert_eq!(Encoding::choose(&noise, Some("text/plain")), Encoding::Plain);
    }
}
