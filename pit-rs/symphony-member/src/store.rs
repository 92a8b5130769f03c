//! A member's folder in the file system.

use std::path::Path;

use symphony_journal::{mark, Folder, FormatError, Storage};
use symphony_wire::{BusError, Code};

/// Opens a store of the format `NAME NEWEST` or an earlier one, made if absent; the caller sees that no other
/// process has it open. `what` says what the folder holds.
///
/// Errors: `io` (unreadable, unwritable, of a newer format), `corrupt` (the folder holds something else, or a store
/// without its format).
pub fn open_folder(store: &Path, name: &str, newest: u32, what: &str) -> Result<Folder, BusError> {
    let folder = mark(store, name, newest).and_then(|()| {
        let folder = Folder::open(store)?;
        // Files that a killed predecessor made are listed durably from here on.
        folder.sync()?;
        Ok(folder)
    });
    folder.map_err(|error| {
        refusal(&error, &format!("{name} {newest}"), what).at(store.display().to_string())
    })
}

fn refusal(error: &FormatError, newest: &str, what: &str) -> BusError {
    let (code, help) = match error {
        FormatError::Io(_) => (Code::Io, "make the folder readable and writable".to_owned()),
        FormatError::Newer(_) => {
            (Code::Io, "use the version of Symphony that wrote it, or a later one".to_owned())
        }
        FormatError::Foreign(_) => {
            let help = format!(
                "if it holds {what}, write {newest:?} into its file format; else name another folder"
            );
            (Code::Corrupt, help)
        }
        FormatError::Missing => {
            let help = format!(
                "put the file back from a backup; if no later version of Symphony used this store, \
                 write {newest:?} into it"
            );
            (Code::Corrupt, help)
        }
    };
    BusError::new(code, format!("failed to open {what}: {error}")).help(help)
}
