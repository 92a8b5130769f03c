//! What the switch reads of a header (`PROTOCOL.md` section 2), without allocating.
//!
//! Accepts exactly what `bus/codec.py` accepts: text of any form where `symphony-wire` wants the name of a capability or
//! topic, since these are the control plane's business, and options of any values that msgpack's types allow, but for those that have a
//! meaning.

use symphony_wire::constants::{Kind, PROTOCOL, REQUEST_LIMIT};

use crate::msgpack::{utf8, Read, Reader, Token, Undecodable};
use crate::options::Options;

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
    pub options: Options,
}

impl Head {
    pub fn decode(frame: &[u8]) -> Read<Self> {
        let mut reader = Reader(frame);
        let length = reader.array()?;
        if length < 6 || reader.uint()? != PROTOCOL {
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
            Token::Str(text) if is_method(text) => {}
            _ => return Err(Undecodable),
        }
        let options = if length > 6 { Options::read(&mut reader)? } else { Options::default() };
        for _ in 7..length {
            reader.skip(0)?;
        }
        reader.end()?;
        Ok(Self { kind, target, request, ttl, options })
    }

    /// The number of the flow that it is about.
    pub fn flow(&self) -> Option<u32> {
        match self.target {
            Target::Flow(number) => Some(number),
            Target::None | Target::Name => None,
        }
    }
}

/// Methods pass the control plane by, so what a peer could not read must not pass here.
fn is_method(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_lowercase)
        && text.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_')
}

/// Whether this is the header of a hello in another version of the protocol.
pub(crate) fn is_foreign_hello(frame: &[u8]) -> bool {
    let read = || {
        let mut reader = Reader(frame);
        let length = reader.array()?;
        if length < 2 {
            return Err(Undecodable);
        }
        let (version, kind) = (reader.uint()?, reader.uint()?);
        for _ in 2..length {
            reader.skip(0)?;
        }
        reader.end()?;
        Ok(version != PROTOCOL && kind == Kind::Hello as u64)
    };
    read() == Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msgpack::MAX_DEPTH;
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
            options: Options { for_kernel: true, ..Options::default() },
        };
        assert_eq!(head(&header.encode()), Some(expected));
    }

    #[test]
    fn a_hello_of_another_version_is_told() {
        for foreign in [b"\x92\x02\x01".as_slice(), b"\x96\x00\x01\xc0\x00\x00\xc0"] {
            assert!(is_foreign_hello(foreign));
        }
        let others =
            [b"\x92\x01\x01".as_slice(), b"\x92\x02\x02", b"\x91\x02", b"\x92\x02\x01\0", b""];
        assert!(!others.into_iter().any(is_foreign_hello));
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
