//! The curator over a folder of the file system: what the extension's main runs.

use std::path::Path;

use symphony_journal::Folder;
use symphony_member::open_folder;
use symphony_wire::BusError;

use crate::archive::Archive;
use crate::curator::Curator;

/// Opens the store in this folder, made if absent; the caller sees that no other process has it open.
///
/// Errors: `io` (unreadable, unwritable, of a newer format), `corrupt` (damaged, or something else).
pub fn open(store: &Path) -> Result<Curator<Folder>, BusError> {
    let folder = open_folder(store, "symphony-stale", 1, "a store of decisions")?;
    Curator::open(folder, open_archive(&store.join("archive"))?)
}

/// Opens the built-in archive in this folder, made if absent.
pub fn open_archive(place: &Path) -> Result<Archive<Folder>, BusError> {
    Archive::open(open_folder(place, "symphony-archive", 1, "an archive")?)
}
