//! The options of a header that have a meaning, with their types, as `bus/codec.py` checks them.

use symphony_wire::constants::{MAX_CREDIT, MAX_IDEM};

use crate::msgpack::{utf8, Read, Reader, Token, Undecodable};

/// What the switch itself needs of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// They say what capability a flow stands for, which providers trust, or have a key, which the control plane keeps.
    pub for_kernel: bool,
    /// The call has an idempotency key.
    pub keyed: bool,
    /// The call was sent before under the same number.
    pub again: bool,
    /// Chunks that the provider may send at once, no more than the bound; None: no stream.
    pub stream: Option<u32>,
    /// Events that were dropped before this one.
    pub gap: u64,
}

impl Options {
    /// Reads the map or nil. Of a key that is there twice the last counts.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let pairs = match reader.token()? {
            Token::Nil => 0,
            Token::Map(pairs) => pairs,
            _ => return Err(Undecodable),
        };
        let mut options = Self::default();
        let mut wrong = 0u8; // one bit for each option that has a meaning
        for _ in 0..pairs {
            let key = reader.str()?;
            let value = Reader(reader.raw()?).token()?;
            if let Some((bit, right)) = options.take(key, value) {
                wrong = wrong & !bit | if right { 0 } else { bit };
            }
        }
        (wrong == 0).then_some(options).ok_or(Undecodable)
    }

    /// Which option this is and whether its value is right; None for one without a meaning.
    fn take(&mut self, key: &str, value: Token<'_>) -> Option<(u8, bool)> {
        let is_bool = matches!(value, Token::Bool(_));
        let is_uint = matches!(value, Token::Uint(_));
        Some(match key {
            "idem" => {
                self.for_kernel = true;
                self.keyed = true;
                (1, text(&value).is_some_and(|text| text.chars().count() <= MAX_IDEM))
            }
            "trace" => (2, text(&value).is_some()),
            "cap" => {
                self.for_kernel = true;
                (4, text(&value).is_some_and(is_name))
            }
            "stream" => {
                if let Token::Uint(credit) = value {
                    self.stream = Some(credit.min(MAX_CREDIT.into()) as u32);
                }
                (8, is_uint)
            }
            "again" => {
                self.again = matches!(value, Token::Bool(true));
                (16, is_bool)
            }
            "keep" => (32, is_bool),
            "snapshot" => (64, is_bool),
            "gap" => {
                if let Token::Uint(gap) = value {
                    self.gap = gap;
                }
                (128, is_uint)
            }
            _ => return None,
        })
    }
}

fn text<'a>(value: &Token<'a>) -> Option<&'a str> {
    match value {
        Token::Str(text) => utf8(text).ok(),
        _ => None,
    }
}

/// A capability or topic as the grammar has it: `label(.label)*`, then `/major` or nothing.
fn is_name(text: &str) -> bool {
    let (labels, major) = match text.split_once('/') {
        Some((labels, major)) => (labels, Some(major)),
        None => (text, None),
    };
    let is_label = |label: &str| {
        label.starts_with(|first: char| first.is_ascii_lowercase())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let is_major = |major: &str| {
        !major.starts_with('0') && !major.is_empty() && major.bytes().all(|b| b.is_ascii_digit())
    };
    labels.split('.').all(is_label) && major.is_none_or(is_major)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_grammar() {
        for good in ["a", "a-1.b2", "a.b/1", "a/10"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "A", "1a", "a.", ".a", "a..b", "a/", "a/0", "a/01", "a/1/2", "a/1\n", "ä"]
        {
            assert!(!is_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn of_a_key_that_is_there_twice_the_last_counts() {
        let read = |bytes: &[u8]| Options::read(&mut Reader(bytes));
        assert_eq!(
            read(b"\x82\xa3gap\xa1x\xa3gap\x02"),
            Ok(Options { gap: 2, ..Options::default() })
        );
        assert_eq!(read(b"\x82\xa3gap\x02\xa3gap\xa1x"), Err(Undecodable));
    }
}
