//! Which format a store has: one line in `STORE/format`, read before anything else is touched.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::error::{Result, StoreError};

const FORMAT: &str = "symphony-artifacts";
const VERSION: u64 = 1;

/// Reads the format of the store at `folder`, or begins a new store there.
pub fn check(folder: &Path) -> Result<()> {
    let failed = || StoreError::io(format!("open the store at {}", folder.display()));
    let damaged = |reason: String| StoreError::Damaged { path: folder.to_owned(), reason };
    fs::create_dir_all(folder).map_err(failed())?;
    let path = folder.join("format");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if folder.join("index.redb").exists() || folder.join("blobs").exists() {
                return Err(damaged("its format file is missing".to_owned()));
            }
            let draft = folder.join("format.new");
            let mut file = File::create(&draft).map_err(failed())?;
            writeln!(file, "{FORMAT} {VERSION}").map_err(failed())?;
            file.sync_all().map_err(failed())?;
            fs::rename(&draft, &path).map_err(failed())?;
            return File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed());
        }
        Err(error) => return Err(failed()(error)),
    };
    let version = text.trim_end().strip_prefix(FORMAT).and_then(|rest| rest.trim().parse().ok());
    match version {
        Some(VERSION) => Ok(()),
        Some(found) if found > VERSION => {
            Err(StoreError::Newer { path: folder.to_owned(), found, known: VERSION })
        }
        _ => Err(damaged(format!("its format file says {text:?}"))),
    }
}
