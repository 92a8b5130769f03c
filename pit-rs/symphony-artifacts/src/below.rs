//! Folders that untrusted programs write to, seen so that nothing planted there leads elsewhere.
//!
//! Every step opens one name below an open folder with `O_NOFOLLOW`: a symlink is never followed, not even
//! one that is put in place while we look. What a name is gets checked before it is opened (a FIFO would block)
//! and again afterwards on the open file.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::{Result, StoreError};
use crate::relative::RelativePath;

const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// What a name stands for, opened.
pub enum Node {
    File { file: File, bytes: u64, executable: bool },
    Folder(OwnedFd),
}

/// Opens the folder that a caller named. Its last part must not be a symlink.
pub fn open_root(folder: &Path) -> Result<OwnedFd> {
    sys::open(folder, FOLDER, Mode::empty()).map_err(|error| {
        let place = folder.display().to_string();
        match error {
            Errno::NOENT => StoreError::Missing { place },
            Errno::NOTDIR | Errno::LOOP => {
                StoreError::bad("folder", format!("{place} is not a folder"))
            }
            other => StoreError::io(format!("open {place}"), folder)(other),
        }
    })
}

/// Opens the folder in which the last part of `path` lies.
pub fn open_parent<'p>(root: &OwnedFd, path: &'p RelativePath) -> Result<(OwnedFd, &'p str)> {
    let mut parent = root.try_clone().map_err(StoreError::io("open a folder", path.as_str()))?;
    let mut parts = path.parts().peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return Ok((parent, part));
        }
        parent = open_folder(&parent, part, path)?;
    }
    Err(StoreError::Bug("a relative path has no parts".to_owned()))
}

/// Opens a regular file or folder; refuses everything else, naming `path`.
pub fn open_node(parent: impl AsFd, name: &str, path: &RelativePath) -> Result<Node> {
    let stat = sys::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW);
    match classify(&stat.map_err(|error| refused(error, path))?, path)? {
        FileType::Directory => Ok(Node::Folder(open_folder(&parent, name, path)?)),
        _ => {
            let file = sys::openat(&parent, name, FILE, Mode::empty());
            let file = file.map_err(|error| refused(error, path))?;
            let stat = sys::fstat(&file).map_err(|error| refused(error, path))?;
            if classify(&stat, path)? != FileType::RegularFile {
                return Err(changed(path));
            }
            let bytes = u64::try_from(stat.st_size).unwrap_or(0);
            let executable = Mode::from_raw_mode(stat.st_mode).contains(Mode::XUSR);
            Ok(Node::File { file: File::from(file), bytes, executable })
        }
    }
}

fn open_folder(parent: impl AsFd, name: &str, path: &RelativePath) -> Result<OwnedFd> {
    sys::openat(parent, name, FOLDER, Mode::empty()).map_err(|error| refused(error, path))
}

/// Regular files with one name, and folders.
fn classify(stat: &Stat, path: &RelativePath) -> Result<FileType> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let what = match kind {
        FileType::Directory => return Ok(kind),
        FileType::RegularFile if stat.st_nlink <= 1 => return Ok(kind),
        FileType::RegularFile => "a file with several hard links",
        FileType::Symlink => "a symlink",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "of an unknown kind",
    };
    let message = format!("{path} is {what}; only regular files and folders are taken");
    Err(StoreError::bad(path.as_str(), message))
}

fn refused(error: Errno, path: &RelativePath) -> StoreError {
    match error {
        Errno::NOENT => StoreError::Missing { place: path.to_string() },
        Errno::LOOP | Errno::NOTDIR => {
            let message = format!("a part of {path} is a symlink or no folder");
            StoreError::bad(path.as_str(), message)
        }
        Errno::NXIO => changed(path),
        other => StoreError::io(format!("open {path}"), path.as_str())(other),
    }
}

fn changed(path: &RelativePath) -> StoreError {
    StoreError::bad(path.as_str(), format!("{path} changed while it was collected"))
}
