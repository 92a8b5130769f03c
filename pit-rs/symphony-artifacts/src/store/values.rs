//! What the store is asked for and what it answers.

use crate::info::{About, Entry, Kind};
use crate::relative::RelativePath;
use crate::Reference;

/// What became of one content that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Put {
    pub reference: Reference,
    pub bytes: u64,
    /// Whether the store did not have it before.
    pub new: bool,
}

/// One thing to take from an outbox.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub path: RelativePath,
    pub about: About,
}

/// What became of one thing taken from an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collected {
    pub put: Put,
    pub kind: Kind,
    pub bytes: u64,
    pub files: u64,
}

/// What became of contents that were to be swept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweeping {
    /// Gone, with their bytes; 0 of what was not there.
    pub freed: Vec<(Reference, u64)>,
    /// Bears no mark any more.
    pub revived: Vec<Reference>,
}

/// Which entries to list; `before` is the number of an entry.
#[derive(Clone, Debug, Default)]
pub struct Query {
    pub name: Option<String>,
    pub run: Option<String>,
    pub step: Option<String>,
    pub player: Option<String>,
    pub before: Option<u64>,
}

/// What [`Store::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub blobs: u64,
    pub bytes: u64,
    pub bad: Vec<Reference>,
    /// Contents whose key is not there, so that nothing can be said of them.
    pub locked: u64,
    /// The first audit record that does not follow from the one before it.
    pub broken: Option<u64>,
    /// The last content read, if it ended early.
    pub next: Option<Reference>,
}

impl Query {
    pub(super) fn fits(&self, entry: &Entry) -> bool {
        let same = |wanted: &Option<String>, has: Option<&String>| {
            wanted.as_ref().is_none_or(|wanted| has == Some(wanted))
        };
        let made = entry.made.as_ref();
        same(&self.name, entry.name.as_ref())
            && same(&self.run, made.and_then(|made| made.run.as_ref()))
            && same(&self.step, made.and_then(|made| made.step.as_ref()))
            && same(&self.player, made.and_then(|made| made.player.as_ref()))
    }
}
