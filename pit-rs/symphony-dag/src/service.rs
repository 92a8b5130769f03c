//! The tracker over a folder of the file system: what the extension's main runs.

use std::path::Path;

use symphony_journal::{Folder, Home, HomeError, Storage};
use symphony_wire::service::{Answer, Call, Service};
use symphony_wire::{BusError, Code};

use crate::tracker::Tracker;

const FORMAT: &str = "symphony-dag";
const NEWEST: u32 = 1;

pub struct DagService {
    tracker: Tracker<Folder>,
    _home: Home,
}

impl DagService {
    /// Opens the store in this folder, made if absent. Journals are read when they are asked for.
    ///
    /// Errors: `io` (unreadable, unwritable, in use by another process, of a newer format), `corrupt` (the folder
    /// holds something else).
    pub fn open(store: &Path) -> Result<Self, BusError> {
        let place = store.display().to_string();
        let home = Home::open(store, FORMAT, NEWEST).map_err(|error| refusal(&error).at(&place))?;
        let runs = Folder::open(&store.join("runs")).and_then(|runs| {
            // Files that a killed predecessor made are listed durably from here on.
            runs.sync().map(|()| runs)
        });
        let runs = runs.map_err(|error| refusal(&HomeError::Io(error)).at(&place))?;
        Ok(Self { tracker: Tracker::new(runs), _home: home })
    }
}

impl Service for DagService {
    fn call(&mut self, call: Call<'_>) -> Answer {
        self.tracker.call(call)
    }

    fn flush(&mut self) -> Result<(), BusError> {
        self.tracker.flush()
    }
}

fn refusal(error: &HomeError) -> BusError {
    let (code, help) = match error {
        HomeError::Io(_) => (Code::Io, "make the folder readable and writable"),
        HomeError::Locked => (Code::Io, "end the other process or use another folder"),
        HomeError::Newer(_) => {
            (Code::Io, "use the version of Symphony that wrote it, or a later one")
        }
        HomeError::Foreign(_) => {
            (Code::Corrupt, "name a folder that holds a store of runs, or an empty one")
        }
    };
    BusError::new(code, format!("failed to open the store of runs: {error}")).help(help)
}
