//! A member's store seen from outside, whether the member runs or not: all of it read, or copied as of one moment.
//!
//! Nothing here takes the store's lock or changes it. Journals only grow, and one that begins anew gets its name once
//! it is whole, so whoever opens a journal and takes its whole records has a state that the member had.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::{json, Value};
use symphony_journal::{
    acknowledged, frame, is_content, is_unmarked, scan, synced_of, LogError, Synced, ILLEGIBLE,
    MISSING,
};
use symphony_wire::{BusError, Code};

use crate::lock;

/// What a file of a store is, by its name.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// Of this process alone, or a draft that says nothing.
    Left,
    /// Written once.
    Plain,
    /// The same, under the name of its hash: that of a folder which is a store of its own.
    Content,
    Journal,
    /// A journal that its member begins anew when it cannot be read.
    Statistic,
    /// Of a journal, or of a folder of them, as it lies there: a copy has whole records alone.
    Companion,
    Unknown,
}

fn kind(name: &[u8]) -> Kind {
    match name {
        b"pid" | b"gone" => Kind::Left,
        _ if name.ends_with(b".synced") => Kind::Companion,
        _ if name.ends_with(b".new") || name.starts_with(b"upload-") => Kind::Left,
        b"format" => Kind::Plain,
        b"learned" => Kind::Statistic,
        _ if name.ends_with(b".journal") => Kind::Journal,
        _ if name.ends_with(b".torn") => Kind::Plain,
        _ if is_content(name) => Kind::Content,
        _ => Kind::Unknown,
    }
}

/// How often a journal is read that becomes shorter meanwhile: its member took back what it could not sync.
const TRIES: usize = 3;
const CHUNK: usize = 1 << 20;
const NO_FILE: &str = "this is not a plain file";
const PUT_BACK: &str =
    "put the file back from a backup; its member, which refuses the store, says what must be in it";
const REMOVE: &str = "remove this file: it is made anew with the next record";

/// Reads every file of the store; with `to`, an absolute path at which nothing is yet, copies it there, durably.
///
/// Each file is told as one line of JSON in `said`: `{path, bytes, records?, torn?}`, the path below the store and,
/// of a journal, how many records are whole and how many bytes behind them are not. `damaged`, with `help` where
/// there is one, says what is wrong with a file, and `left` why it is none of the copy. Damage stops nothing: it is
/// copied as it is.
///
/// Fails with `io` where the store cannot be read, or the copy or the line cannot be written.
pub fn visit(store: &Path, to: Option<&Path>, said: &mut dyn Write) -> Result<(), BusError> {
    let told = |place: &Path, error: &io::Error| {
        let (what, help) = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                ("the disk is full", "free space there")
            }
            _ => ("the store cannot be read or copied", "make both folders usable for this user"),
        };
        BusError::new(Code::Io, format!("{what}: {error}"))
            .at(place.display().to_string())
            .help(help)
    };
    lock::require_folder(store)?;
    let mut waiting = vec![PathBuf::new()];
    while let Some(folder) = waiting.pop() {
        let from = store.join(&folder);
        let target = to.map(|to| to.join(&folder));
        if let Some(target) = &target {
            DirBuilder::new().mode(0o700).create(target).map_err(|error| told(target, &error))?;
        }
        let mut entries = fs::read_dir(&from)
            .and_then(|entries| entries.collect::<io::Result<Vec<_>>>())
            .map_err(|error| told(&from, &error))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        let mut say = |line: &Value| {
            writeln!(said, "{line}").map_err(|error| told(Path::new("standard output"), &error))
        };
        let is_store = folder.as_os_str().is_empty()
            || entries.iter().any(|it| kind(it.file_name().as_bytes()) == Kind::Content);
        if is_store && is_unmarked(&from).map_err(|error| told(&from, &error))? {
            let path = folder.join("format");
            say(&json!({"path": path.to_string_lossy(), "damaged": MISSING, "help": PUT_BACK}))?;
        }
        for entry in entries {
            let path = folder.join(entry.file_name());
            let place = entry.path();
            let Ok(type_) = entry.file_type() else { continue }; // it is gone
            let kind = kind(entry.file_name().as_bytes());
            if type_.is_dir() && matches!(kind, Kind::Left | Kind::Unknown) {
                waiting.push(path);
                continue;
            }
            if kind == Kind::Left {
                continue;
            }
            if !type_.is_file() {
                let path = path.to_string_lossy();
                say(&match kind {
                    Kind::Unknown => json!({"path": path, "left": NO_FILE}),
                    _ => json!({"path": path, "damaged": NO_FILE, "help": PUT_BACK}),
                })?;
                continue;
            }
            let target = target.as_ref().map(|target| target.join(entry.file_name()));
            let found = match kind {
                Kind::Unknown => Ok(Some(json!({"left": "not a file of such a store"}))),
                Kind::Companion => missing(&place, &path),
                Kind::Plain | Kind::Content => plain(&place, target.as_deref()),
                _ => journal(&place, target.as_deref(), kind == Kind::Statistic),
            };
            let Some(mut line) = found.map_err(|error| told(&place, &error))? else { continue };
            if line["path"].is_null() {
                line["path"] = path.to_string_lossy().into();
            }
            say(&line)?;
        }
        if let Some(target) = &target {
            File::open(target)
                .and_then(|folder| folder.sync_all())
                .map_err(|error| told(target, &error))?;
        }
    }
    Ok(())
}

/// The file, if there is a plain one.
fn open(path: &Path) -> io::Result<Option<File>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK; // nothing is waited for at a pipe
    match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => Ok(file.metadata()?.is_file().then_some(file)),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None), // gone meanwhile
        Err(error) => Err(error),
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// A file that is written once.
fn plain(from: &Path, to: Option<&Path>) -> io::Result<Option<Value>> {
    let Some(file) = open(from)? else { return Ok(None) };
    let bytes = copy(&file, to.map(create).transpose()?.as_ref())?;
    Ok(Some(json!({"bytes": bytes})))
}

/// Copies all bytes there are; without a target they are only read.
fn copy(from: &File, to: Option<&File>) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK];
    let mut at = 0;
    loop {
        let count = from.read_at(&mut chunk, at)?;
        if count == 0 {
            break;
        }
        if let Some(to) = to {
            to.write_all_at(&chunk[..count], at)?;
        }
        at += count as u64;
    }
    to.map_or(Ok(()), File::sync_all)?;
    Ok(at)
}

fn journal(from: &Path, to: Option<&Path>, is_statistic: bool) -> io::Result<Option<Value>> {
    let Some(file) = open(from)? else { return Ok(None) };
    let target = to.map(create).transpose()?;
    let mut tries = TRIES;
    loop {
        tries -= 1;
        match records(&file, companion_of(from)?, target.as_ref()) {
            Ok((records, bytes, torn)) => {
                let mut line = json!({"bytes": bytes, "records": records});
                if torn > 0 {
                    line["torn"] = torn.into();
                }
                return Ok(Some(line));
            }
            Err(LogError::Io(error)) => {
                if error.kind() != io::ErrorKind::UnexpectedEof || tries == 0 {
                    return Err(error);
                }
            }
            Err(error @ (LogError::Corrupt { .. } | LogError::Lost { .. })) => {
                if let (true, Some(to)) = (is_statistic, to) {
                    fs::remove_file(to)?;
                } else if let Some(target) = &target {
                    target.set_len(0)?;
                    copy(&file, Some(target))?;
                }
                let mut line = json!({"bytes": file.metadata()?.len()});
                let (key, why) = match (is_statistic, to) {
                    (false, _) => ("damaged", error.to_string()),
                    (true, Some(_)) => ("left", error.to_string()),
                    (true, None) => ("damaged", format!("{error}; its member begins it anew")),
                };
                line[key] = why.into();
                return Ok(Some(line));
            }
        }
    }
}

/// What a companion, which lies at `path` in its store, tells that its journal, or the folder of journals, cannot: that
/// it is not there, or not all of it; or that the companion itself is damaged.
fn missing(companion: &Path, path: &Path) -> io::Result<Option<Value>> {
    let Some(file) = open(companion)? else { return Ok(None) };
    // What it tells of was there before, so this is read first.
    let said = match Synced::new(file).read(None) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            let path = path.to_string_lossy();
            return Ok(Some(json!({"path": path, "damaged": ILLEGIBLE, "help": REMOVE})));
        }
        said => said?.unwrap_or(0),
    };
    let of = companion.with_extension("");
    let is_journal = of.extension().is_some();
    let found = match fs::read_dir(&of) {
        _ if is_journal => u64::from(fs::symlink_metadata(&of).is_ok_and(|it| it.is_file())) * said,
        Ok(entries) => entries
            .filter_map(Result::ok)
            .filter(|entry| kind(entry.file_name().as_bytes()) == Kind::Journal)
            .filter(|entry| entry.file_type().is_ok_and(|it| it.is_file()))
            .count() as u64,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    if found >= said {
        return Ok(None);
    }
    let what = if is_journal { "bytes" } else { "journals" };
    let why = format!("{said} {what} of it were acknowledged, of which {found} are there");
    Ok(Some(json!({"path": path.with_extension("").to_string_lossy(), "damaged": why})))
}

/// What says how much of this journal was acknowledged, as far as that can be read.
fn companion_of(journal: &Path) -> io::Result<Option<File>> {
    let name = journal.file_name().map(|name| synced_of(&name.to_string_lossy()));
    name.map_or(Ok(None), |name| open(&journal.with_file_name(name)))
}

/// Copies the whole records; returns how many, their bytes, and those behind them.
fn records(
    from: &File,
    companion: Option<File>,
    to: Option<&File>,
) -> Result<(u64, u64, usize), LogError> {
    let acknowledged = companion.map(|it| acknowledged(from, it)).transpose()?.flatten();
    let (mut waiting, mut written) = (Vec::new(), 0);
    let mut write = |waiting: &mut Vec<u8>| -> io::Result<()> {
        if let Some(to) = to {
            to.write_all_at(waiting, written)?;
            written += waiting.len() as u64;
        }
        waiting.clear();
        Ok(())
    };
    if let Some(to) = to {
        to.set_len(0)?;
    }
    let found = scan(from, acknowledged, |payload, _| {
        frame::encode(payload, &mut waiting);
        if waiting.len() < CHUNK {
            return Ok(());
        }
        write(&mut waiting)
    })?;
    write(&mut waiting)?;
    to.map_or(Ok(()), File::sync_all)?;
    Ok((found.records, found.whole, found.torn.len()))
}
