//! The pool over a folder of the file system: what the extension's main runs.

use std::path::Path;

use symphony_journal::Folder;
use symphony_member::open_folder;
use symphony_wire::BusError;

use crate::pool::Pool;

/// Opens the store in this folder, made if absent; the caller sees that no other process has it open.
///
/// Errors: `io` (unreadable, unwritable, of a newer format), `corrupt` (damaged, or something else).
pub fn open(store: &Path) -> Result<Pool<Folder>, BusError> {
    Pool::open(open_folder(store, "symphony-pool", 1, "a store of leases")?)
}
