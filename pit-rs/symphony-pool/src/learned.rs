//! What was learned of the kinds, in a file of its own. Losing it costs warmth, nothing else: what cannot
//! be read is learned anew.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};
use symphony_journal::{frame, Frames, Item, Medium, Storage};
use tracing::warn;

use crate::histogram::Histogram;

const FILE: &str = "learned";
const DRAFT: &str = "learned.new";
/// How often it is written, where something was learned.
pub const EVERY_MS: u64 = 60_000;

#[derive(Serialize, Deserialize)]
struct Entry {
    kind: String,
    histogram: Histogram,
}

/// The histograms of all kinds that the file has.
pub fn load(storage: &impl Storage) -> BTreeMap<String, Histogram> {
    let mut learned = BTreeMap::new();
    if let Err(error) = read(storage, &mut learned) {
        warn!(%error, "failed to read what was learned; learning anew");
    }
    learned
}

fn read(storage: &impl Storage, learned: &mut BTreeMap<String, Histogram>) -> io::Result<()> {
    let Some(file) = storage.open(FILE)? else { return Ok(()) };
    let mut frames = Frames::new(&file, 0, file.len()?);
    loop {
        match frames.read()? {
            Item::Payload(payload) => {
                let entry: Entry = rmp_serde::from_slice(payload)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                if entry.histogram.is_whole() {
                    learned.insert(entry.kind, entry.histogram);
                }
            }
            Item::Damage => return Err(io::Error::new(io::ErrorKind::InvalidData, "damaged")),
            Item::End => return Ok(()),
        }
    }
}

/// Writes the whole file anew, durably.
pub fn save<'a>(
    storage: &impl Storage,
    learned: impl Iterator<Item = (&'a str, &'a Histogram)>,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    for (kind, histogram) in learned {
        let entry = Entry { kind: kind.to_owned(), histogram: histogram.clone() };
        let payload = rmp_serde::to_vec_named(&entry).map_err(io::Error::other)?;
        frame::encode(&payload, &mut bytes);
    }
    let draft = storage.create(DRAFT)?;
    draft.truncate(0)?;
    draft.write_at(0, &bytes)?;
    draft.sync()?;
    storage.rename(DRAFT, FILE)?;
    storage.sync()
}
