//! Which format a store has: one line in `STORE/format`, read before anything else is touched.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use symphony_journal::read_format;

use crate::error::{Result, StoreError};

pub const FILE: &str = "format";
pub const DRAFT: &str = "format.new";
const FORMAT: &str = "symphony-artifacts";
/// What this program writes; it reads format 1, too.
const VERSION: u64 = 2;

/// Reads the format of the store at `folder`, or begins a new store there. An older one is written over first
/// of all: from then on no older program opens the store, and the index is brought up to date when it is opened.
pub fn check(folder: &Path, read_only: bool) -> Result<()> {
    let failed = || StoreError::io(format!("open the store at {}", folder.display()), folder);
    let damaged = |reason: String| StoreError::Damaged { path: folder.to_owned(), reason };
    if !read_only {
        fs::create_dir_all(folder).map_err(failed())?;
    }
    let path = folder.join(FILE);
    let text = match read_format(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound && !read_only => {
            if folder.join("index.redb").exists() || folder.join("blobs").exists() {
                return Err(damaged("its format file is missing".to_owned()));
            }
            return write(folder).map_err(failed());
        }
        Err(error) => return Err(failed()(error)),
    };
    let version = text.trim_end().strip_prefix(FORMAT).and_then(|rest| rest.trim().parse().ok());
    match version {
        Some(VERSION) => Ok(()),
        Some(1) if read_only => Ok(()),
        Some(1) => {
            tracing::info!(store = %folder.display(), "upgrades the store from format 1 to 2");
            write(folder).map_err(failed())
        }
        Some(found) if found > VERSION => {
            Err(StoreError::Newer { path: folder.to_owned(), found, known: VERSION })
        }
        _ => Err(damaged(format!("its format file says {text:?}"))),
    }
}

pub fn write(folder: &Path) -> std::io::Result<()> {
    let draft = folder.join(DRAFT);
    let mut file = File::create(&draft)?;
    writeln!(file, "{FORMAT} {VERSION}")?;
    file.sync_all()?;
    fs::rename(&draft, folder.join(FILE))?;
    File::open(folder)?.sync_all()
}
