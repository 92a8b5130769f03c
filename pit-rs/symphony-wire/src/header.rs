//! The header frame: a msgpack array at fixed positions (PROTOCOL section 2).
//!
//! Read by hand rather than through serde: types and ranges are strict (a byte string is no string, a
//! float no integer), later elements are skipped unread, and nothing is allocated but the strings kept.

use std::fmt;

use rmp::encode::{write_array_len, write_map_len, write_str, write_uint};
use rmp::Marker;

use crate::constants::{Kind, MAX_CREDIT, MAX_HEADER, MAX_IDEM, PROTOCOL, REQUEST_LIMIT};
use crate::reader::{Item, Reader};

/// Whom a message is for or what it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    #[default]
    None,
    /// A flow id, never 0.
    Flow(u32),
    /// A capability or a topic.
    Name(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub target: Target,
    /// Below 2^53; 0 where there is none.
    pub request: u64,
    /// Milliseconds the call may still take; 0: no deadline.
    pub ttl: u32,
    pub method: Option<String>,
    /// Idempotency key, at most 128 characters.
    pub idem: Option<String>,
    /// A W3C `traceparent`.
    pub trace: Option<String>,
    /// The capability that a flow stands for; the hub says it with the flow's first call.
    pub cap: Option<String>,
    /// The caller takes chunks, so many before it gives more credit; never over [`MAX_CREDIT`].
    pub stream: Option<u32>,
    /// This request number was sent before.
    pub again: bool,
    /// The hub keeps this event for late subscribers.
    pub keep: bool,
    /// A kept event, sent because the peer has just subscribed.
    pub snapshot: bool,
    /// So many events of this topic were dropped just before this one.
    pub gap: Option<u64>,
}

/// An option as it is written.
enum Given<'a> {
    Text(&'a str),
    Number(u64),
    True,
}

/// Why a frame is no header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderError {
    TooLong,
    Truncated,
    Version(u64),
    UnknownKind(u64),
    /// Another type than this field has, or a value out of its range.
    Field(&'static str),
    TrailingBytes,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "header over {MAX_HEADER} bytes"),
            Self::Truncated => write!(f, "header ends too soon"),
            Self::Version(found) => write!(f, "header version {found}, this is {PROTOCOL}"),
            Self::UnknownKind(found) => write!(f, "unknown message kind {found}"),
            Self::Field(name) => write!(f, "header field {name} has a wrong type or value"),
            Self::TrailingBytes => write!(f, "bytes follow the header"),
        }
    }
}

impl std::error::Error for HeaderError {}

impl Header {
    /// A header of this kind and nothing else.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            target: Target::None,
            request: 0,
            ttl: 0,
            method: None,
            idem: None,
            trace: None,
            cap: None,
            stream: None,
            again: false,
            keep: false,
            snapshot: false,
            gap: None,
        }
    }

    /// A header that answers `self`: same target, same request.
    pub fn answer(&self, kind: Kind) -> Self {
        Self { target: self.target.clone(), request: self.request, ..Self::new(kind) }
    }

    /// The same header with another target.
    pub fn to(&self, target: Target) -> Self {
        Self {
            target,
            method: self.method.clone(),
            idem: self.idem.clone(),
            trace: self.trace.clone(),
            cap: self.cap.clone(),
            ..*self
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(40);
        self.encode_into(&mut out);
        out
    }

    /// Appends what [`Header::encode`] gives.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        // A Vec takes every write.
        let _ = self.write(out);
    }

    /// Whether the hub would take this header: it drops what it cannot read, and nobody answers.
    pub fn check(&self) -> Result<(), HeaderError> {
        let name = match &self.target {
            Target::Flow(0) => return Err(HeaderError::Field("target")),
            Target::Name(name) => Some(name),
            Target::None | Target::Flow(_) => None,
        };
        if self.request >= REQUEST_LIMIT {
            return Err(HeaderError::Field("request"));
        }
        self.check_texts()?;
        let texts = [name, self.method.as_ref(), self.trace.as_ref(), self.cap.as_ref()];
        let length: usize = texts.into_iter().flatten().map(String::len).sum();
        // The other parts are bounded and take far less than half of the room.
        if length > MAX_HEADER / 2 && self.encode().len() > MAX_HEADER {
            return Err(HeaderError::TooLong);
        }
        Ok(())
    }

    fn check_texts(&self) -> Result<(), HeaderError> {
        let is_idem = |text: &String| text.chars().count() <= MAX_IDEM;
        let wrong = match self {
            Self { target: Target::Name(name), .. } if !is_name(name) => "target",
            Self { method: Some(method), .. } if !is_method(method) => "method",
            Self { idem: Some(idem), .. } if !is_idem(idem) => "idem",
            Self { cap: Some(cap), .. } if !is_name(cap) => "cap",
            _ => return Ok(()),
        };
        Err(HeaderError::Field(wrong))
    }

    fn options(&self) -> [(&'static str, Option<Given<'_>>); 8] {
        fn text(value: &Option<String>) -> Option<Given<'_>> {
            value.as_deref().map(Given::Text)
        }
        let flag = |value: bool| value.then_some(Given::True);
        [
            ("idem", text(&self.idem)),
            ("trace", text(&self.trace)),
            ("cap", text(&self.cap)),
            ("stream", self.stream.map(|credit| Given::Number(u64::from(credit)))),
            ("again", flag(self.again)),
            ("keep", flag(self.keep)),
            ("snapshot", flag(self.snapshot)),
            ("gap", self.gap.map(Given::Number)),
        ]
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), rmp::encode::ValueWriteError> {
        let options = self.options();
        let given = options.iter().map(|(_, value)| u32::from(value.is_some())).sum();
        write_array_len(out, if given == 0 { 6 } else { 7 })?;
        write_uint(out, PROTOCOL)?;
        write_uint(out, self.kind as u64)?;
        match &self.target {
            Target::None => out.push(Marker::Null.to_u8()),
            Target::Flow(id) => write_uint(out, u64::from(*id)).map(drop)?,
            Target::Name(name) => write_str(out, name)?,
        }
        write_uint(out, self.request)?;
        write_uint(out, u64::from(self.ttl))?;
        match &self.method {
            None => out.push(Marker::Null.to_u8()),
            Some(method) => write_str(out, method)?,
        }
        if given > 0 {
            write_map_len(out, given)?;
            for (key, value) in options {
                if let Some(value) = value {
                    write_str(out, key)?;
                    match value {
                        Given::Text(text) => write_str(out, text)?,
                        Given::Number(number) => write_uint(out, number).map(drop)?,
                        Given::True => out.push(Marker::True.to_u8()),
                    }
                }
            }
        }
        Ok(())
    }

    pub fn decode(frame: &[u8]) -> Result<Self, HeaderError> {
        if frame.len() > MAX_HEADER {
            return Err(HeaderError::TooLong);
        }
        let mut reader = Reader::new(frame);
        let length = match reader.item()? {
            Item::Array(length) if length >= 6 => length,
            _ => return Err(HeaderError::Field("header")),
        };
        match reader.uint("version")? {
            PROTOCOL => {}
            other => return Err(HeaderError::Version(other)),
        }
        let kind = reader.uint("kind")?;
        let kind = Kind::from_number(kind).ok_or(HeaderError::UnknownKind(kind))?;
        let target = match reader.item()? {
            Item::Nil => Target::None,
            Item::Uint(id) => match u32::try_from(id) {
                Ok(id) if id > 0 => Target::Flow(id),
                _ => return Err(HeaderError::Field("target")),
            },
            Item::Str(name) => Target::Name(name.to_owned()),
            _ => return Err(HeaderError::Field("target")),
        };
        let request = reader.uint("request")?;
        if request >= REQUEST_LIMIT {
            return Err(HeaderError::Field("request"));
        }
        let ttl = u32::try_from(reader.uint("ttl")?).map_err(|_| HeaderError::Field("ttl"))?;
        let method = match reader.item()? {
            Item::Nil => None,
            Item::Str(method) => Some(method.to_owned()),
            _ => return Err(HeaderError::Field("method")),
        };
        let mut header = Self { target, request, ttl, method, ..Self::new(kind) };
        if length > 6 {
            header.read_options(&mut reader)?;
            reader.skip(u64::from(length) - 7)?;
        }
        if !reader.is_at_end() {
            return Err(HeaderError::TrailingBytes);
        }
        header.check_texts()?;
        Ok(header)
    }

    /// Who called, of a header that does not decode: enough to answer the call.
    pub fn salvage(frame: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(frame);
        let Item::Array(length @ 4..) = reader.item().ok()? else { return None };
        let mut uint = || reader.uint("").ok();
        let (version, kind) = (uint()?, uint()?);
        let flow = u32::try_from(uint()?).ok()?;
        let request = uint()?;
        reader.skip(u64::from(length) - 4).ok()?;
        let is_call = version == PROTOCOL && kind == Kind::Call as u64 && reader.is_at_end();
        let call = Self { target: Target::Flow(flow), request, ..Self::new(Kind::Call) };
        (is_call && request > 0 && call.check().is_ok()).then_some(call)
    }

    /// Of a key that is there twice the last counts.
    fn read_options(&mut self, reader: &mut Reader<'_>) -> Result<(), HeaderError> {
        let mut wrong = Vec::new(); // takes no memory as long as it is empty
        let pairs = match reader.item()? {
            Item::Nil => 0,
            Item::Map(pairs) => pairs,
            _ => return Err(HeaderError::Field("options")),
        };
        for _ in 0..pairs {
            let Item::Str(key) = reader.item()? else {
                return Err(HeaderError::Field("options"));
            };
            let mut value = *reader;
            reader.skip(1)?;
            match self.read_option(key, &mut value) {
                Ok(()) => wrong.retain(|(other, _)| *other != key),
                Err(error) => wrong.push((key, error)),
            }
        }
        wrong.pop().map_or(Ok(()), |(_, error)| Err(error))
    }

    fn read_option(&mut self, key: &str, value: &mut Reader<'_>) -> Result<(), HeaderError> {
        match key {
            "idem" => self.idem = Some(value.text("idem")?),
            "trace" => self.trace = Some(value.text("trace")?),
            "cap" => self.cap = Some(value.text("cap")?),
            "stream" => {
                let credit = value.uint("stream")?.min(u64::from(MAX_CREDIT));
                self.stream = u32::try_from(credit).ok();
            }
            "again" => self.again = value.bool("again")?,
            "keep" => self.keep = value.bool("keep")?,
            "snapshot" => self.snapshot = value.bool("snapshot")?,
            "gap" => self.gap = Some(value.uint("gap")?),
            _ => {}
        }
        Ok(())
    }
}

/// Whether this is the header of a hello in another version of the protocol; only the two positions
/// that every version keeps are looked at.
pub fn is_foreign_hello(frame: &[u8]) -> bool {
    read_foreign_hello(frame).unwrap_or(false)
}

fn read_foreign_hello(frame: &[u8]) -> Result<bool, HeaderError> {
    let mut reader = Reader::new(frame);
    let Item::Array(length @ 2..) = reader.item()? else { return Ok(false) };
    let (version, kind) = (reader.uint("version")?, reader.uint("kind")?);
    reader.skip(u64::from(length) - 2)?;
    Ok(version != PROTOCOL && kind == Kind::Hello as u64 && reader.is_at_end())
}

/// `name ["/" major]`: labels `[a-z][a-z0-9-]*` joined by dots, a major version without leading zero.
fn is_name(text: &str) -> bool {
    let (name, major) = match text.split_once('/') {
        Some((name, major)) => (name, Some(major)),
        None => (text, None),
    };
    name.split('.').all(|label| is_word(label, b'-'))
        && major.is_none_or(|digits| {
            !digits.starts_with('0')
                && !digits.is_empty()
                && digits.bytes().all(|b| b.is_ascii_digit())
        })
}

fn is_method(text: &str) -> bool {
    is_word(text, b'_')
}

fn is_word(text: &str, joiner: u8) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == joiner)
}
