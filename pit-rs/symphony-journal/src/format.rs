//! The file `format` in a store's folder: what the store is, and which version of its form.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::storage::{Folder, Storage};

const FILE: &str = "format";
const DRAFT: &str = "format.new";

/// Why a folder is not a store of the wanted form.
#[derive(Debug)]
pub enum FormatError {
    Io(io::Error),
    /// `format` holds this, which is not what was asked for.
    Foreign(String),
    /// Written by a later version.
    Newer(u32),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Foreign(found) => write!(f, "the store's format is {found:?}"),
            Self::Newer(found) => write!(f, "the store has the newer format {found}"),
        }
    }
}

impl std::error::Error for FormatError {}

impl From<io::Error> for FormatError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Checks that the folder's `format` is `NAME NUMBER` with a number up to `newest`; where there is none, makes
/// the folder and writes `NAME NEWEST`, durably. One process at a time.
pub fn mark(folder: &Path, name: &str, newest: u32) -> Result<(), FormatError> {
    match fs::read_to_string(folder.join(FILE)) {
        Ok(text) => check(&text, name, newest),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
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

fn check(text: &str, name: &str, newest: u32) -> Result<(), FormatError> {
    let number = text.trim_end().strip_prefix(name).and_then(|rest| rest.strip_prefix(' '));
    match number.and_then(|number| number.parse::<u32>().ok()) {
        Some(number) if (1..=newest).contains(&number) => Ok(()),
        Some(number) if number > newest => Err(FormatError::Newer(number)),
        _ => Err(FormatError::Foreign(text.trim_end().chars().take(80).collect())),
    }
}
