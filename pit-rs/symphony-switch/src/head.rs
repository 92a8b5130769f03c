//! What the switch reads of a header (`PROTOCOL.md` section 2), without allocating.
//!
//! Accepts exactly what `bus/codec.py` accepts: text of any form where `symphony-wire` wants a name, since names are
//! the control plane's business, and options of any values that msgpack's types allow. One difference is tolerated:
//! nesting deeper than [`MAX_DEPTH`] is refused here, and there where the interpreter's stack ends, at about 1,000.

use rmp::Marker;
use symphony_wire::constants::{Kind, PROTOCOL, REQUEST_LIMIT};

const MAX_DEPTH: usize = 512;
const CAPABILITY_OPTION: &[u8] = b"cap";

/// The extension type of a point in time.
const TIMESTAMP: i8 = -1;
/// The years 1 to 9999 as seconds since 1970, the first and the last.
const FIRST_SECOND: i64 = -62_135_596_800;
const LAST_SECOND: i64 = 253_402_300_799;
/// From here on nanoseconds round up to the next second in units of microseconds.
const ROUNDS_UP: u32 = 999_999_500;

/// Whom a message is for or what it is about. The switch knows flows alone: no name is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    None,
    Flow(u32),
    Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub kind: Kind,
    pub target: Target,
    pub request: u64,
    pub ttl: u32,
    /// Whether the options say what capability a flow stands for.
    pub names_capability: bool,
}

/// Bytes that are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecodable;

type Read<T> = Result<T, Undecodable>;

impl Head {
    pub fn decode(frame: &[u8]) -> Read<Self> {
        let mut reader = Reader(frame);
        let length = match reader.token()? {
            Token::Array(length) if length >= 6 => length,
            _ => return Err(Undecodable),
        };
        if reader.uint()? != PROTOCOL {
            return Err(Undecodable);
        }
        let kind = Kind::from_number(reader.uint()?).ok_or(Undecodable)?;
        let target = match reader.token()? {
            Token::Nil => Target::None,
            Token::Uint(number) => match u32::try_from(number) {
                Ok(number) if number > 0 => Target::Flow(number),
                _ => return Err(Undecodable),
            },
            Token::Str(text) => utf8(text).map(|_| Target::Name)?,
            _ => return Err(Undecodable),
        };
        let request = reader.uint()?;
        if request >= REQUEST_LIMIT {
            return Err(Undecodable);
        }
        let ttl = u32::try_from(reader.uint()?).map_err(|_| Undecodable)?;
        match reader.token()? {
            Token::Nil => {}
            Token::Str(text) => utf8(text)?,
            _ => return Err(Undecodable),
        }
        let names_capability = length > 6 && reader.options()?;
        for _ in 7..length {
            reader.skip(0)?;
        }
        if reader.0.is_empty() {
            Ok(Self { kind, target, request, ttl, names_capability })
        } else {
            Err(Undecodable)
        }
    }
}

fn utf8(text: &[u8]) -> Read<()> {
    std::str::from_utf8(text).map(|_| ()).map_err(|_| Undecodable)
}

/// One msgpack item without its children.
enum Token<'a> {
    Nil,
    Uint(u64),
    Str(&'a [u8]),
    Array(u32),
    Map(u32),
    Extension(i8, &'a [u8]),
    /// A negative or floating number, a boolean or bytes.
    Other,
}

struct Reader<'a>(&'a [u8]);

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

    fn token(&mut self) -> Read<Token<'a>> {
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
            Marker::FixNeg(_) | Marker::True | Marker::False => Token::Other,
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

    fn uint(&mut self) -> Read<u64> {
        match self.token()? {
            Token::Uint(value) => Ok(value),
            _ => Err(Undecodable),
        }
    }

    /// Passes over the options; says whether they name a capability.
    fn options(&mut self) -> Read<bool> {
        let pairs = match self.token()? {
            Token::Nil => 0,
            Token::Map(pairs) => pairs,
            _ => return Err(Undecodable),
        };
        let mut named = false;
        for _ in 0..pairs {
            let Token::Str(key) = self.token()? else { return Err(Undecodable) };
            utf8(key)?;
            named |= key == CAPABILITY_OPTION;
            self.value(1, false)?;
        }
        Ok(named)
    }

    /// Passes over a value that must be a good one, of a map's key even hashable in Python's sense.
    fn value(&mut self, depth: usize, is_key: bool) -> Read<()> {
        if depth > MAX_DEPTH {
            return Err(Undecodable);
        }
        match self.token()? {
            Token::Str(text) => utf8(text),
            Token::Array(items) => (0..items).try_for_each(|_| self.value(depth + 1, is_key)),
            Token::Map(_) if is_key => Err(Undecodable),
            Token::Map(pairs) => (0..pairs).try_for_each(|_| {
                self.value(depth + 1, true)?;
                self.value(depth + 1, false)
            }),
            Token::Extension(TIMESTAMP, data) => timestamp(data),
            Token::Extension(..) if is_key => Err(Undecodable),
            Token::Nil | Token::Uint(_) | Token::Extension(..) | Token::Other => Ok(()),
        }
    }

    /// Passes over an element that nobody reads.
    fn skip(&mut self, depth: usize) -> Read<()> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use symphony_wire::Header;

    fn head(bytes: &[u8]) -> Option<Head> {
        Head::decode(bytes).ok()
    }

    #[test]
    fn what_symphony_wire_writes_is_read() {
        let header = Header {
            target: symphony_wire::Target::Flow(7),
            request: (1 << 53) - 1,
            ttl: 5,
            method: Some("put".to_owned()),
            cap: Some("a.b/1".to_owned()),
            ..Header::new(Kind::Call)
        };
        let expected = Head {
            kind: Kind::Call,
            target: Target::Flow(7),
            request: (1 << 53) - 1,
            ttl: 5,
            names_capability: true,
        };
        assert_eq!(head(&header.encode()), Some(expected));
    }

    #[test]
    fn every_prefix_and_every_continuation_is_refused() {
        let bytes = b"\x97\x01\x04\x01\x05\x00\xa1m\x81\xa1a\x92\xc0\xcb\0\0\0\0\0\0\0\0";
        assert!(head(bytes).is_some());
        for end in 0..bytes.len() {
            assert_eq!(head(&bytes[..end]), None, "{end}");
        }
        assert_eq!(head(&[bytes.as_slice(), &[0]].concat()), None);
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| {
            [b"\x98\x01\x04\x01\x05\x00\xc0\xc0".as_slice(), &vec![0x91; depth], &[0]].concat()
        };
        assert!(head(&nested(MAX_DEPTH)).is_some());
        assert_eq!(head(&nested(MAX_DEPTH + 1)), None);
        assert_eq!(head(&nested(4_000)), None);
    }
}
