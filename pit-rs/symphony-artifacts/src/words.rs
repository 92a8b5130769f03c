//! The words of a text, as the full-text index has them.
//!
//! A word is a run of letters, digits and `_`, lower-cased, of up to 64 bytes. The index holds not the word but
//! eight bytes of a keyed hash of it (BLAKE3): a text that is sealed on disk cannot be read off its index.

use std::collections::BTreeMap;

/// Longest text that is indexed, bytes.
pub const MAX_TEXT: usize = 1024 * 1024;
const MAX_WORD: usize = 64;
/// Different words of one text; further ones are not indexed.
const MAX_WORDS: usize = 20_000;
/// How much is looked at to tell a text from other bytes.
const SAMPLE: usize = 4096;

/// The hashes of a text's words, and how often each stands there.
pub type Words = BTreeMap<u64, u16>;

pub struct Hasher(pub [u8; 32]);

impl Hasher {
    fn hash(&self, word: &str) -> u64 {
        let hash = blake3::keyed_hash(&self.0, word.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        u64::from_le_bytes(first)
    }

    /// The words of a content; `None` if it is no text.
    pub fn words(&self, content: &[u8], media: Option<&str>) -> Option<Words> {
        let text = text(content, media)?;
        let mut words = Words::new();
        each(text, |word| {
            let hash = self.hash(word);
            if words.len() < MAX_WORDS || words.contains_key(&hash) {
                let often = words.entry(hash).or_default();
                *often = often.saturating_add(1);
            }
        });
        Some(words)
    }

    /// What is asked for, each word once.
    pub fn query(&self, text: &str) -> Vec<u64> {
        let mut hashes = Vec::new();
        each(text, |word| hashes.push(self.hash(word)));
        hashes.sort_unstable();
        hashes.dedup();
        hashes
    }
}

/// The content as text: UTF-8 without NUL, not too long, and not declared to be something else.
pub fn text<'c>(content: &'c [u8], media: Option<&str>) -> Option<&'c str> {
    let other = ["audio/", "video/", "image/", "font/", "application/octet-stream"];
    let svg = media.is_some_and(|media| media.starts_with("image/svg"));
    if content.len() > MAX_TEXT
        || media.is_some_and(|media| other.iter().any(|it| media.starts_with(it)) && !svg)
        || content[..content.len().min(SAMPLE)].contains(&0)
    {
        return None;
    }
    std::str::from_utf8(content).ok()
}

fn each(text: &str, mut take: impl FnMut(&str)) {
    let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    for word in words.filter(|word| (1..=MAX_WORD).contains(&word.len())) {
        if word.bytes().any(|byte| !byte.is_ascii() || byte.is_ascii_uppercase()) {
            take(&word.to_lowercase());
        } else {
            take(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_whatever_their_case_and_nothing_else_is() {
        let hasher = Hasher([7; 32]);
        let content = "Grüße, WELT! snake_case 42; welt";
        let words = hasher.words(content.as_bytes(), None).unwrap();
        assert_eq!(words.len(), 4);
        let [welt] = hasher.query("Welt")[..] else { panic!() };
        assert_eq!(words[&welt], 2);
        assert!(hasher.query("GRÜSSE grüße").iter().any(|word| words.contains_key(word)));
        assert_ne!(hasher.query("welt"), Hasher([8; 32]).query("welt"));
        assert_eq!(hasher.query("b a b"), hasher.query("a b"));
        assert!(hasher.query("... ;").is_empty());
        for (content, media) in [
            (b"a\0b".as_slice(), None),
            (b"\xff\xfe", None),
            (b"text", Some("image/png")),
            (&[b'x'; MAX_TEXT + 1], None),
        ] {
            assert!(hasher.words(content, media).is_none());
        }
        assert!(hasher.words(b"<svg>", Some("image/svg+xml")).is_some());
    }
}
