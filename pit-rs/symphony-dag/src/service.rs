//! The tracker over a folder of the file system: what the extension's main runs.

use std::path::Path;

use symphony_journal::{mark, Folder, FormatError, Storage};
use symphony_wire::service::{Answer, Call, Service};
use symphony_wire::{BusError, Code};

use crate::tracker::Tracker;

const FORMAT: &str = "symphony-dag";
const NEWEST: u32 = 1;

pub struct DagService(Tracker<Folder>);

impl DagService {
    /// Opens the store in this folder, made if absent; the caller sees that no other process has it open.
    /// Journals are read when they are asked for.
    ///
    /// Errors: `io` (unreadable, unwritable, of a newer format), `corrupt` (the folder holds something else).
    pub fn open(store: &Path) -> Result<Self, BusError> {
        let runs = mark(store, FORMAT, NEWEST).and_then(|()| {
            let runs = Folder::open(&store.join("runs"))?;
            // Files that a killed predecessor made are listed durably from here on, and the folder itself.
            runs.sync()?;
            Folder::open(store)?.sync()?;
            Ok(runs)
        });
        let place = || store.display().to_string();
        runs.map(|runs| Self(Tracker::new(runs))).map_err(|error| refusal(&error).at(place()))
    }
}

impl Service for DagService {
    fn call(&mut self, call: Call<'_>) -> Answer {
        self.0.call(call)
    }

    fn flush(&mut self) -> Result<(), BusError> {
        self.0.flush()
    }
}

fn refusal(error: &FormatError) -> BusError {
    let (code, help) = match error {
        FormatError::Io(_) => (Code::Io, "make the folder readable and writable"),
        FormatError::Newer(_) => {
            (Code::Io, "use the version of Symphony that wrote it, or a later one")
        }
        FormatError::Foreign(_) => {
            (Code::Corrupt, "name a folder that holds a store of runs, or an empty one")
        }
    };
    BusError::new(code, format!("failed to open the store of runs: {error}")).help(help)
}
