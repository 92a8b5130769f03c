//! What the store says about artifacts: the values of the contract and the records of the index.

use serde::{Deserialize, Serialize};

use crate::error::{Result, StoreError};
use crate::instant;
use crate::Reference;

/// Longest name, timestamp or other short text, bytes.
const MAX_TEXT: usize = 1024;
/// Most inputs in one lineage.
const MAX_INPUTS: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    File,
    Folder,
}

/// Lineage: who made an artifact from what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub player: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Vec<Reference>>,
}

/// How a caller describes what it puts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    pub name: Option<String>,
    pub media: Option<String>,
    pub made: Option<Made>,
    /// When, in the caller's words.
    pub ts: String,
}

impl About {
    /// When, in milliseconds since 1970.
    pub fn put(&self) -> i64 {
        instant::read(&self.ts).unwrap_or(i64::MAX)
    }

    /// Refuses texts that are too long to be indexed.
    pub fn check(&self) -> Result<()> {
        let made = self.made.as_ref();
        let texts = [
            ("name", self.name.as_ref()),
            ("media", self.media.as_ref()),
            ("ts", Some(&self.ts)),
            ("made.run", made.and_then(|made| made.run.as_ref())),
            ("made.step", made.and_then(|made| made.step.as_ref())),
            ("made.player", made.and_then(|made| made.player.as_ref())),
            ("made.version", made.and_then(|made| made.version.as_ref())),
        ];
        for (place, text) in texts {
            if text.is_some_and(|text| text.is_empty() || text.len() > MAX_TEXT) {
                return Err(StoreError::bad(place, "the text has not 1 to 1024 bytes"));
            }
        }
        if made.and_then(|made| made.inputs.as_ref()).is_some_and(|all| all.len() > MAX_INPUTS) {
            return Err(StoreError::bad("made.inputs", "there are more than 10000 inputs"));
        }
        Ok(())
    }

    /// The entry that this description adds for an artifact, if it names or derives it.
    pub fn entry(&self, reference: Reference) -> Option<Entry> {
        (self.name.is_some() || self.made.is_some()).then(|| Entry {
            reference,
            name: self.name.clone(),
            media: self.media.clone(),
            made: self.made.clone(),
            created: self.ts.clone(),
        })
    }
}

/// One content, as the index knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// Length of the content.
    pub bytes: u64,
    /// Length of its file, encoding byte included.
    pub stored: u64,
    /// Set once the content was collected as the listing of a folder.
    pub folder: Option<FolderSize>,
    pub media: Option<String>,
    pub created: String,
    /// Kept in chunks: `stored` is then what they take together, as far as they were new.
    #[serde(default)]
    pub chunked: bool,
    /// When it was last put, milliseconds since 1970; unknown of what format 1 put, and the end of all time where
    /// the caller's `ts` is no time: such a content is never marked.
    #[serde(default)]
    pub put: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderSize {
    /// Sum of the files' lengths.
    pub bytes: u64,
    pub files: u64,
}

impl Blob {
    pub fn kind(&self) -> Kind {
        if self.folder.is_some() {
            Kind::Folder
        } else {
            Kind::File
        }
    }

    /// The size a user means: of a folder that of its files, not of its listing.
    pub fn user_bytes(&self) -> u64 {
        self.folder.map_or(self.bytes, |folder| folder.bytes)
    }
}

/// Who made an artifact when, and what it was called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub name: Option<String>,
    pub media: Option<String>,
    pub made: Option<Made>,
    pub created: String,
}

/// One artifact or entry as a caller sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Info {
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub kind: Kind,
    pub bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    pub created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made: Option<Made>,
    /// 0 to 1000, where anything is known of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

impl Info {
    pub fn new(
        reference: Reference,
        blob: Blob,
        entry: Option<Entry>,
        quality: Option<u64>,
        tags: Vec<String>,
    ) -> Self {
        let (kind, bytes) = (blob.kind(), blob.user_bytes());
        let files = blob.folder.map(|folder| folder.files);
        let (name, media, made, created) = match entry {
            Some(entry) => (entry.name, entry.media, entry.made, entry.created),
            None => (None, None, None, blob.created),
        };
        let media = media.or(blob.media);
        Self { reference, kind, bytes, media, name, files, created, made, quality, tags }
    }
}
