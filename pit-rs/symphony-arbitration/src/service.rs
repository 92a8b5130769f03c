//! Arbitration over a folder of the file system: what the extension's main runs.

use std::path::Path;

use symphony_journal::Folder;
use symphony_member::open_folder;
use symphony_wire::BusError;

use crate::arbiter::Arbiter;

/// Opens the store in this folder, made if absent; the caller sees that no other process has it open.
///
/// Errors: `io` (unreadable, unwritable, of a newer format), `corrupt` (the folder holds something else, or a
/// damaged ledger).
pub fn open(store: &Path) -> Result<Arbiter<Folder>, BusError> {
    Arbiter::open(open_folder(store, "symphony-arbitration", 1, "a ledger")?)
}
