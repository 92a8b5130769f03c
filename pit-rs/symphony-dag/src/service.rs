//! The tracker over a folder of the file system: what the extension's main runs.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use symphony_journal::{synced_of, Folder, Id, Storage, Synced};
use symphony_member::open_folder;
use symphony_wire::service::{Answer, Call, Service};
use symphony_wire::{BusError, Code};
use tracing::{info, warn};

use crate::names::run_of;
use crate::tracker::Tracker;

const FORMAT: &str = "symphony-dag";
/// 2 knows more kinds of records than 1 (`grown`, `rerouted`, `redone`, `rolledback`) and has the file `learned`.
const NEWEST: u32 = 2;

const RUNS: &str = "runs";
/// Under which the folder's companion counts journals.
const COUNT: Id = *b"journals";

pub struct DagService {
    tracker: Tracker<Folder>,
    /// How many runs were acknowledged: nothing in their folder tells of it when that is gone.
    count: u64,
    /// None: it cannot be read, and stays as it is for a person to see.
    companion: Option<Synced<fs::File>>,
}

impl DagService {
    /// Opens the store in this folder, made if absent; the caller sees that no other process has it open.
    /// Journals are read when they are asked for.
    ///
    /// Errors: `io` (unreadable, unwritable, of a newer format), `corrupt` (the folder holds something else).
    pub fn open(store: &Path) -> Result<Self, BusError> {
        let folder = open_folder(store, FORMAT, NEWEST, "a store of runs")?;
        let failed = |error: io::Error| {
            BusError::new(Code::Io, format!("failed to open a store of runs: {error}"))
                .at(store.display().to_string())
                .help("make the folder readable and writable")
        };
        upgrade(store).map_err(failed)?;
        let name = synced_of(RUNS);
        let companion = folder.open(&name).map_err(failed)?;
        let said = match companion.map(|it| Synced::new(it).read(Some(COUNT))).transpose() {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                warn!(%error, "failed to read how many runs were acknowledged: remove {name}");
                None
            }
            said => Some(said.map_err(failed)?.flatten().unwrap_or(0)),
        };
        let (said, legible) = (said.unwrap_or(0), said.is_some());
        let place = store.join(RUNS);
        let found = journals(&place).map_err(failed)?;
        if found == 0 && said > 0 {
            return Err(BusError::new(Code::Corrupt, format!("the journals of {said} runs are gone"))
                .at(place.display().to_string())
                .help(format!(
                    "restore this folder from a backup; to begin anew without these runs, remove {name} beside it"
                )));
        }
        if found < said {
            warn!(acknowledged = said, found, "journals of runs are gone");
        }
        let make = || {
            let runs = Folder::open(&place)?;
            let companion = if legible {
                let mut companion = Synced::new(folder.create(&name)?);
                companion.read(Some(COUNT))?;
                Some(companion)
            } else {
                None
            };
            // Files that a killed predecessor made are listed durably from here on, and the folder itself.
            runs.sync()?;
            folder.sync()?;
            Ok((runs, companion))
        };
        let (runs, companion) = make().map_err(failed)?;
        let count = found.max(said);
        let mut service = Self { tracker: Tracker::new(runs), count, companion };
        service.say();
        Ok(service)
    }

    /// Tells the folder's companion how many runs are acknowledged. It says less where this fails.
    fn say(&mut self) {
        let Some(companion) = &mut self.companion else { return };
        if let Err(error) = companion.write(COUNT, self.count) {
            warn!(%error, "failed to write how many runs are acknowledged");
        }
    }
}

/// How many journals there are.
fn journals(runs: &Path) -> io::Result<u64> {
    match fs::read_dir(runs) {
        Ok(entries) => entries
            .map(|entry| Ok(is_journal(&entry?)))
            .try_fold(0, |count, is: io::Result<bool>| Ok(count + u64::from(is?))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

fn is_journal(entry: &fs::DirEntry) -> bool {
    entry.file_name().to_str().is_some_and(|name| run_of(name).is_some())
}

impl Service for DagService {
    fn call(&mut self, call: Call<'_>) -> Answer {
        self.tracker.call(call)
    }

    fn flush(&mut self) -> Result<(), BusError> {
        self.tracker.flush()?;
        let made = self.tracker.shelf.take_named();
        if made > 0 {
            self.count += made;
            self.say();
        }
        Ok(())
    }
}

/// Marks a store of format 1 as one of format 2. Its journals are valid as they are; it is only that whoever reads format
/// 1 must not open what is written from here on.
fn upgrade(store: &Path) -> io::Result<()> {
    let (format, draft) = (store.join("format"), store.join("format.new"));
    let newest = format!("{FORMAT} {NEWEST}\n");
    if fs::read_to_string(&format)? == newest {
        return Ok(());
    }
    let mut file = fs::File::create(&draft)?;
    file.write_all(newest.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, &format)?;
    fs::File::open(store)?.sync_all()?;
    info!(store = %store.display(), "upgraded the store of runs to format {NEWEST}");
    Ok(())
}
