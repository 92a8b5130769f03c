//! The file `format` in a store's folder: what the store is, and which version of its form.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::storage::{Folder, Storage};

const FILE: &str = "format";
const DRAFT: &str = "format.new";
const LONGEST: u64 = 1 << 10; // bytes of it that are read
pub const MISSING: &str = "its format file is missing";

/// Why a folder is not a store of the wanted form.
#[derive(Debug)]
pub enum FormatError {
    Io(io::Error),
    /// `format` holds this, which is not what was asked for.
    Foreign(String),
    /// Written by a later version.
    Newer(u32),
    /// There is none, but a store.
    Missing,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Foreign(found) => write!(f, "the store's format is {found:?}"),
            Self::Newer(found) => write!(f, "the store has the newer format {found}"),
            Self::Missing => f.write_str(MISSING),
        }
    }
}

impl std::error::Error for FormatError {}

impl From<io::Error> for FormatError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Checks that the folder's `format` is `NAME NUMBER` with a number up to `newest`; where there is no store, makes
/// the folder and writes `NAME NEWEST`, durably. One process at a time.
pub fn mark(folder: &Path, name: &str, newest: u32) -> Result<(), FormatError> {
    match read_format(&folder.join(FILE)) {
        Ok(text) => check(&text, name, newest),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if is_unmarked(folder)? {
                return Err(FormatError::Missing);
            }
            let listing = Folder::open(folder)?;
            let mut file = File::create(folder.join(DRAFT))?;
            writeln!(file, "{name} {newest}")?;
            file.sync_all()?;
            fs::rename(folder.join(DRAFT), folder.join(FILE))?;
            listing.sync()?;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// The text of a store's format file. Nothing is waited for: what is no plain file is an error.
pub fn read_format(path: &Path) -> io::Result<String> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its format is not a plain file"));
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

/// Whether the folder holds a store whose `format`, which was there before all else, is not.
pub fn is_unmarked(folder: &Path) -> io::Result<bool> {
    match folder.join(FILE).try_exists()? {
        true => Ok(false),
        false => holds_store(folder, true),
    }
}

fn holds_store(folder: &Path, and_below: bool) -> io::Result<bool> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.as_bytes();
        if name.ends_with(b".journal") || name.ends_with(b".synced") || is_content(name) {
            return Ok(true);
        }
        // What cannot be read there will be missed by whoever needs it.
        if and_below
            && entry.file_type()?.is_dir()
            && holds_store(&entry.path(), false).is_ok_and(|it| it)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a file has the name of a content: the digits of its hash.
pub fn is_content(name: &[u8]) -> bool {
    name.len() == 64 && name.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn check(text: &str, name: &str, newest: u32) -> Result<(), FormatError> {
    let number = text.trim_end().strip_prefix(name).and_then(|rest| rest.strip_prefix(' '));
    match number.and_then(|number| number.parse::<u32>().ok()) {
        Some(number) if (1..=newest).contains(&number) => Ok(()),
        Some(number) if number > newest => Err(FormatError::Newer(number)),
        _ => Err(FormatError::Foreign(text.trim_end().chars().take(80).collect())),
    }
}
