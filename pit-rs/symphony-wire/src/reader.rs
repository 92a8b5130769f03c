//! msgpack one item at a time, strictly, borrowing from the bytes: what the header is read with.

use rmp::Marker;

use crate::header::HeaderError;

/// One msgpack item without its children.
pub enum Item<'a> {
    Nil,
    Uint(u64),
    Bool(bool),
    Str(&'a str),
    Array(u32),
    Map(u32),
    /// Any other type, or text that is not UTF-8, already passed over.
    Other,
}

#[derive(Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], HeaderError> {
        let length = usize::try_from(length).map_err(|_| HeaderError::Truncated)?;
        if length > self.rest.len() {
            return Err(HeaderError::Truncated);
        }
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(taken)
    }

    fn big_endian(&mut self, width: u64) -> Result<u64, HeaderError> {
        Ok(self.take(width)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn length(&mut self, width: u64) -> Result<u32, HeaderError> {
        u32::try_from(self.big_endian(width)?).map_err(|_| HeaderError::Truncated)
    }

    pub fn uint(&mut self, field: &'static str) -> Result<u64, HeaderError> {
        match self.item()? {
            Item::Uint(value) => Ok(value),
            _ => Err(HeaderError::Field(field)),
        }
    }

    pub fn bool(&mut self, field: &'static str) -> Result<bool, HeaderError> {
        match self.item()? {
            Item::Bool(value) => Ok(value),
            _ => Err(HeaderError::Field(field)),
        }
    }

    pub fn text(&mut self, field: &'static str) -> Result<String, HeaderError> {
        match self.item()? {
            Item::Str(text) => Ok(text.to_owned()),
            _ => Err(HeaderError::Field(field)),
        }
    }

    fn string(&mut self, length: u64) -> Result<Item<'a>, HeaderError> {
        self.take(length).map(|text| std::str::from_utf8(text).map_or(Item::Other, Item::Str))
    }

    /// A signed encoding of a number that is not negative counts as unsigned: msgpack writers differ.
    fn signed(&mut self, width: u64) -> Result<Item<'a>, HeaderError> {
        let value = self.big_endian(width)?;
        let negative = value >> (8 * width - 1) == 1;
        Ok(if negative { Item::Other } else { Item::Uint(value) })
    }

    fn other(&mut self, length: u64) -> Result<Item<'a>, HeaderError> {
        self.take(length).map(|_| Item::Other)
    }

    pub fn item(&mut self) -> Result<Item<'a>, HeaderError> {
        let marker = Marker::from_u8(self.take(1)?[0]);
        match marker {
            Marker::Null => Ok(Item::Nil),
            Marker::FixPos(value) => Ok(Item::Uint(u64::from(value))),
            Marker::U8 => self.big_endian(1).map(Item::Uint),
            Marker::U16 => self.big_endian(2).map(Item::Uint),
            Marker::U32 => self.big_endian(4).map(Item::Uint),
            Marker::U64 => self.big_endian(8).map(Item::Uint),
            Marker::I8 => self.signed(1),
            Marker::I16 => self.signed(2),
            Marker::I32 => self.signed(4),
            Marker::I64 => self.signed(8),
            Marker::FixStr(length) => self.string(u64::from(length)),
            Marker::Str8 => self.big_endian(1).and_then(|length| self.string(length)),
            Marker::Str16 => self.big_endian(2).and_then(|length| self.string(length)),
            Marker::Str32 => self.big_endian(4).and_then(|length| self.string(length)),
            Marker::FixArray(length) => Ok(Item::Array(u32::from(length))),
            Marker::Array16 => self.length(2).map(Item::Array),
            Marker::Array32 => self.length(4).map(Item::Array),
            Marker::FixMap(length) => Ok(Item::Map(u32::from(length))),
            Marker::Map16 => self.length(2).map(Item::Map),
            Marker::Map32 => self.length(4).map(Item::Map),
            Marker::FixNeg(_) => Ok(Item::Other),
            Marker::True => Ok(Item::Bool(true)),
            Marker::False => Ok(Item::Bool(false)),
            Marker::F32 => self.other(4),
            Marker::F64 => self.other(8),
            Marker::Bin8 => self.big_endian(1).and_then(|length| self.other(length)),
            Marker::Bin16 => self.big_endian(2).and_then(|length| self.other(length)),
            Marker::Bin32 => self.big_endian(4).and_then(|length| self.other(length)),
            Marker::FixExt1 => self.other(2),
            Marker::FixExt2 => self.other(3),
            Marker::FixExt4 => self.other(5),
            Marker::FixExt8 => self.other(9),
            Marker::FixExt16 => self.other(17),
            Marker::Ext8 => self.big_endian(1).and_then(|length| self.other(length + 1)),
            Marker::Ext16 => self.big_endian(2).and_then(|length| self.other(length + 1)),
            Marker::Ext32 => self.big_endian(4).and_then(|length| self.other(length + 1)),
            Marker::Reserved => Err(HeaderError::Field("msgpack")),
        }
    }

    /// Passes over `left` items with all that is in them. A count instead of recursion: depth costs nothing.
    pub fn skip(&mut self, mut left: u64) -> Result<(), HeaderError> {
        while left > 0 {
            left += match self.item()? {
                Item::Array(items) => u64::from(items),
                Item::Map(pairs) => 2 * u64::from(pairs),
                _ => 0,
            };
            left -= 1;
        }
        Ok(())
    }
}
