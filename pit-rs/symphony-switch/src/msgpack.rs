//! Reads msgpack without allocating, as the decoder of `bus/codec.py` does: what that one refuses is refused here.
//!
//! One difference is tolerated: nesting deeper than [`MAX_DEPTH`] is refused here, and there where the interpreter's
//! stack ends, at about 1,000.

use rmp::Marker;

pub(crate) const MAX_DEPTH: usize = 512;

/// The extension type of a point in time.
const TIMESTAMP: i8 = -1;
/// The years 1 to 9999 as seconds since 1970, the first and the last.
const FIRST_SECOND: i64 = -62_135_596_800;
const LAST_SECOND: i64 = 253_402_300_799;
/// From here on nanoseconds round up to the next second in units of microseconds.
const ROUNDS_UP: u32 = 999_999_500;

/// Bytes that are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecodable;

pub(crate) type Read<T> = Result<T, Undecodable>;

/// One msgpack item without its children.
pub(crate) enum Token<'a> {
    Nil,
    Uint(u64),
    Str(&'a [u8]),
    Array(u32),
    Map(u32),
    Extension(i8, &'a [u8]),
    Bool(bool),
    /// A negative or floating number, or bytes.
    Other,
}

pub(crate) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Undecodable)?;
        self.0 = rest;
        Ok(taken)
    }

    fn big_endian(&mut self, width: usize) -> Read<u64> {
        Ok(self.take(width)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// A length of at most four bytes.
    fn length(&mut self, width: usize) -> Read<u32> {
        u32::try_from(self.big_endian(width)?).map_err(|_| Undecodable)
    }

    fn bytes(&mut self, width: usize) -> Read<&'a [u8]> {
        let length = self.length(width)?;
        self.take(usize::try_from(length).map_err(|_| Undecodable)?)
    }

    fn extension(&mut self, length: u32) -> Read<Token<'a>> {
        let kind = self.take(1)?[0];
        let data = self.take(usize::try_from(length).map_err(|_| Undecodable)?)?;
        Ok(Token::Extension(i8::from_be_bytes([kind]), data))
    }

    /// A signed encoding of a number that is not negative counts as unsigned: msgpack writers differ.
    fn signed(&mut self, width: usize) -> Read<Token<'a>> {
        let value = self.big_endian(width)?;
        let negative = value >> (8 * width - 1) == 1;
        Ok(if negative { Token::Other } else { Token::Uint(value) })
    }

    pub fn token(&mut self) -> Read<Token<'a>> {
        Ok(match Marker::from_u8(self.take(1)?[0]) {
            Marker::Null => Token::Nil,
            Marker::FixPos(value) => Token::Uint(u64::from(value)),
            Marker::U8 => Token::Uint(self.big_endian(1)?),
            Marker::U16 => Token::Uint(self.big_endian(2)?),
            Marker::U32 => Token::Uint(self.big_endian(4)?),
            Marker::U64 => Token::Uint(self.big_endian(8)?),
            Marker::I8 => self.signed(1)?,
            Marker::I16 => self.signed(2)?,
            Marker::I32 => self.signed(4)?,
            Marker::I64 => self.signed(8)?,
            Marker::FixStr(length) => Token::Str(self.take(usize::from(length))?),
            Marker::Str8 => Token::Str(self.bytes(1)?),
            Marker::Str16 => Token::Str(self.bytes(2)?),
            Marker::Str32 => Token::Str(self.bytes(4)?),
            Marker::FixArray(length) => Token::Array(u32::from(length)),
            Marker::Array16 => Token::Array(self.length(2)?),
            Marker::Array32 => Token::Array(self.length(4)?),
            Marker::FixMap(length) => Token::Map(u32::from(length)),
            Marker::Map16 => Token::Map(self.length(2)?),
            Marker::Map32 => Token::Map(self.length(4)?),
            Marker::True => Token::Bool(true),
            Marker::False => Token::Bool(false),
            Marker::FixNeg(_) => Token::Other,
            Marker::F32 => self.take(4).map(|_| Token::Other)?,
            Marker::F64 => self.take(8).map(|_| Token::Other)?,
            Marker::Bin8 => self.bytes(1).map(|_| Token::Other)?,
            Marker::Bin16 => self.bytes(2).map(|_| Token::Other)?,
            Marker::Bin32 => self.bytes(4).map(|_| Token::Other)?,
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 => self.length(1).and_then(|length| self.extension(length))?,
            Marker::Ext16 => self.length(2).and_then(|length| self.extension(length))?,
            Marker::Ext32 => self.length(4).and_then(|length| self.extension(length))?,
            Marker::Reserved => return Err(Undecodable),
        })
    }

    pub fn uint(&mut self) -> Read<u64> {
        match self.token()? {
            Token::Uint(value) => Ok(value),
            _ => Err(Undecodable),
        }
    }

    pub fn array(&mut self) -> Read<u32> {
        match self.token()? {
            Token::Array(length) => Ok(length),
            _ => Err(Undecodable),
        }
    }

    pub fn str(&mut self) -> Read<&'a str> {
        match self.token()? {
            Token::Str(text) => utf8(text),
            _ => Err(Undecodable),
        }
    }

    /// Refuses what follows the last item.
    pub fn end(&self) -> Read<()> {
        self.0.is_empty().then_some(()).ok_or(Undecodable)
    }

    /// The bytes of the next item, which must be a good one.
    pub fn raw(&mut self) -> Read<&'a [u8]> {
        let all = self.0;
        self.value(1, false)?;
        Ok(&all[..all.len() - self.0.len()])
    }

    /// Passes over a value that must be a good one, of a map's key even hashable in Python's sense.
    fn value(&mut self, depth: usize, is_key: bool) -> Read<()> {
        if depth > MAX_DEPTH {
            return Err(Undecodable);
        }
        match self.token()? {
            Token::Str(text) => utf8(text).map(drop),
            Token::Array(items) => (0..items).try_for_each(|_| self.value(depth + 1, is_key)),
            Token::Map(_) if is_key => Err(Undecodable),
            Token::Map(pairs) => (0..pairs).try_for_each(|_| {
                self.value(depth + 1, true)?;
                self.value(depth + 1, false)
            }),
            Token::Extension(TIMESTAMP, data) => timestamp(data),
            Token::Extension(..) if is_key => Err(Undecodable),
            Token::Nil | Token::Uint(_) | Token::Bool(_) | Token::Extension(..) | Token::Other => {
                Ok(())
            }
        }
    }

    /// Passes over an element that nobody reads.
    pub fn skip(&mut self, depth: usize) -> Read<()> {
        if depth > MAX_DEPTH {
            return Err(Undecodable);
        }
        let children = match self.token()? {
            Token::Array(items) => u64::from(items),
            Token::Map(pairs) => 2 * u64::from(pairs),
            _ => 0,
        };
        (0..children).try_for_each(|_| self.skip(depth + 1))
    }
}

/// Whether an extension's bytes are a point in time within the years 1 to 9999.
fn timestamp(data: &[u8]) -> Read<()> {
    let mut reader = Reader(data);
    let (nanoseconds, seconds) = match data.len() {
        4 => (0, i64::from(reader.length(4)?)),
        8 => {
            let both = reader.big_endian(8)?;
            // 30 bits and 34 bits: neither conversion loses any.
            ((both >> 34) as u32, (both & 0x3_ffff_ffff) as i64)
        }
        12 => (reader.length(4)?, reader.big_endian(8)?.cast_signed()),
        _ => return Err(Undecodable),
    };
    let within = (FIRST_SECOND..=LAST_SECOND).contains(&seconds)
        && nanoseconds < 1_000_000_000
        && !(seconds == LAST_SECOND && nanoseconds >= ROUNDS_UP);
    within.then_some(()).ok_or(Undecodable)
}

pub(crate) fn utf8(text: &[u8]) -> Read<&str> {
    std::str::from_utf8(text).map_err(|_| Undecodable)
}
