//! A reference: `blake3:` and 64 lower-case hex digits, the name of an artifact; and where they occur in other bytes.

use std::fmt;
use std::str::FromStr;

use serde::{de, Deserialize, Deserializer, Serialize, Serializer};

const SCHEME: &str = "blake3:";
const DIGITS: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference([u8; 32]);

impl Reference {
    /// The reference of a content.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hex digits without the scheme.
    pub fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }

    /// Every reference that stands anywhere in these bytes, of whatever form they are, in either case.
    pub fn all_in(bytes: &[u8]) -> impl Iterator<Item = Self> + '_ {
        let whole = SCHEME.len() + DIGITS;
        bytes.windows(whole).filter(|window| window.starts_with(SCHEME.as_bytes())).filter_map(
            |window| {
                let digits = window[SCHEME.len()..].to_ascii_lowercase();
                blake3::Hash::from_hex(digits).ok().map(Self::from)
            },
        )
    }
}

impl From<blake3::Hash> for Reference {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl From<[u8; 32]> for Reference {
    fn from(hash: [u8; 32]) -> Self {
        Self(hash)
    }
}

impl FromStr for Reference {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "a reference is `blake3:` and 64 lower-case hex digits";
        let digits = text.strip_prefix(SCHEME).ok_or(EXPECTED)?;
        // One artifact has one spelling, or equal references would compare as different.
        if digits.bytes().any(|digit| digit.is_ascii_uppercase()) {
            return Err(EXPECTED);
        }
        let hash = blake3::Hash::from_hex(digits).map_err(|_| EXPECTED)?;
        Ok(Self(*hash.as_bytes()))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{SCHEME}{}", self.hex())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_reads_back_as_itself_and_nothing_else_is_one() {
        let reference = Reference::of(b"symphony");
        assert_eq!(reference.to_string().parse(), Ok(reference));
        let text = reference.to_string();
        for wrong in [
            "",
            "blake3:",
            &text[..70],
            &format!("{text}0"),
            &text.replace("blake3", "sha256"),
            &text.to_uppercase().replace("BLAKE3", "blake3"),
        ] {
            assert!(wrong.parse::<Reference>().is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn a_reference_is_found_wherever_it_stands() {
        let (a, b) = (Reference::of(b"a"), Reference::of(b"b"));
        let text =
            format!("blake3:blake3:{} {{\"x\":\"{a}{b}\"}} blake3:12", a.hex().to_uppercase());
        assert_eq!(Reference::all_in(text.as_bytes()).collect::<Vec<_>>(), [a, a, b]);
    }
}
