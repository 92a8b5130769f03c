//! How the bytes of a blob lie in its file: one byte that names the encoding, then the bytes.
//!
//! zstd where it pays. Media types that are compressed already are left alone, so is whatever fits one
//! disk block; otherwise a sample decides.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};

/// Content up to this long takes one disk block either way.
const BLOCK: usize = 4095;
/// How much of a content is compressed to decide about the rest.
const SAMPLE: usize = 64 * 1024;
/// The fastest of zstd's usual levels: pace comes before the last few per cent of space.
const LEVEL: i32 = 1;

/// Threads that compress one large content; each holds about 4 MiB.
const THREADS: u32 = 2;

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
        match zstd::bulk::compress(sample, LEVEL) {
            Ok(packed) if packed.len() < sample.len() / 10 * 9 => Self::Zstd,
            _ => Self::Plain,
        }
    }
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

/// Writes a content into its file.
pub enum Encoder<W: Write> {
    Plain(W),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    /// `parallel`: compress in threads of its own, beside the caller's reading and hashing.
    pub fn new(mut file: W, encoding: Encoding, parallel: bool) -> io::Result<Self> {
        file.write_all(&[encoding as u8])?;
        if encoding == Encoding::Plain {
            return Ok(Self::Plain(file));
        }
        let mut encoder = zstd::stream::write::Encoder::new(file, LEVEL)?;
        if parallel {
            encoder.multithread(THREADS)?;
        }
        Ok(Self::Zstd(encoder))
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.write_all(bytes),
            Self::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(file) => Ok(file),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

/// Reads a content from its file, forward only.
pub enum Decoder {
    Plain(File),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<File>>>),
}

impl Decoder {
    /// An unknown encoding is `InvalidData`, like any damage found while decoding.
    pub fn new(mut file: File) -> io::Result<Self> {
        let mut encoding = [0];
        file.read_exact(&mut encoding)?;
        match encoding[0] {
            0 => Ok(Self::Plain(file)),
            1 => Ok(Self::Zstd(Box::new(zstd::stream::read::Decoder::new(file)?))),
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
            Self::Zstd(_) => io::copy(&mut self.take(bytes), &mut io::sink()).map(drop),
        }
    }
}

impl Read for Decoder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
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
