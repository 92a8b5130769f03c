//! A reference: `blake3:` and 64 lower-case hex digits, the name of an artifact.

use std::fmt;
use std::str::FromStr;

use serde::{de, Deserialize, Deserializer, Serialize, Serializer};

const SCHEME: &str = "blake3:";

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
}
