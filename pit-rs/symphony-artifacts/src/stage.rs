//! Writes artifacts into a folder, following no symlink; all of a call or nothing.
//!
//! Files are always copies. A hard link would let whoever gets write permission on the staged file change the
//! store's blob, and a reflink cannot cut off the encoding byte at the head of a blob's file.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self as sys, AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::below;
use crate::error::{Result, StoreError};
use crate::faults::{Faults, Step};
use crate::relative::RelativePath;

const FOLDER_MODE: Mode = Mode::from_raw_mode(0o755);
const NEW_FILE: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// A folder that artifacts are staged into. What was made is removed again unless it is [kept](Self::keep).
pub struct Target {
    root: OwnedFd,
    writable: bool,
    /// To whom writable copies belong when the store runs as root and the folder is another user's.
    owner: Option<(Uid, Gid)>,
    made: Vec<(RelativePath, AtFlags)>,
    faults: Faults,
}

impl Target {
    pub fn open(folder: &Path, writable: bool, faults: Faults) -> Result<Self> {
        let root = below::open_root(folder)?;
        let stat = sys::fstat(&root).map_err(StoreError::io("look at the folder", folder))?;
        let foreign = writable && rustix::process::geteuid().is_root() && stat.st_uid != 0;
        let owner = foreign.then(|| (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid)));
        Ok(Self { root, writable, owner, made: Vec::new(), faults })
    }

    /// Makes the file `path`. `fill` is given a sink for its bytes; its error undoes everything.
    pub fn file(
        &mut self,
        path: &RelativePath,
        executable: bool,
        fill: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>,
    ) -> Result<()> {
        let failed = || StoreError::io(format!("stage {path}"), path.as_str());
        let (parent, name) = self.parent(path)?;
        let file = sys::openat(&parent, name, NEW_FILE, Mode::RUSR | Mode::WUSR);
        let file = file.map_err(|error| in_the_way(error, path))?;
        self.made.push((path.clone(), AtFlags::empty()));
        let mut file = File::from(file);
        let faults = self.faults.clone();
        fill(&mut |bytes| {
            let write = faults.before(Step::WriteStaged(bytes.len()));
            write.and_then(|()| file.write_all(bytes)).map_err(failed())
        })?;
        let mode = match (self.writable, executable) {
            (false, false) => 0o444,
            (false, true) => 0o555,
            (true, false) => 0o644,
            (true, true) => 0o755,
        };
        self.finish(&file, Mode::from_raw_mode(mode)).map_err(failed())
    }

    /// Makes the folder `path`, which must not be there yet.
    pub fn folder(&mut self, path: &RelativePath) -> Result<()> {
        let (parent, name) = self.parent(path)?;
        self.make_folder(&parent, name, path)
    }

    /// Lets what was made stay.
    pub fn keep(mut self) {
        self.made.clear();
    }

    /// Opens the parent of `path`, making the folders that are missing.
    fn parent<'p>(&mut self, path: &'p RelativePath) -> Result<(OwnedFd, &'p str)> {
        let text = path.as_str();
        for (end, _) in text.match_indices('/') {
            let ancestor = RelativePath::parse(&text[..end], text)?;
            let (parent, name) = below::open_parent(&self.root, &ancestor)
                .map_err(|error| standing_in(error, &ancestor))?;
            match sys::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => self.make_folder(&parent, name, &ancestor)?,
                _ => continue,
            }
        }
        below::open_parent(&self.root, path).map_err(|error| standing_in(error, path))
    }

    fn make_folder(&mut self, parent: &OwnedFd, name: &str, path: &RelativePath) -> Result<()> {
        sys::mkdirat(parent, name, Mode::RWXU).map_err(|error| in_the_way(error, path))?;
        self.made.push((path.clone(), AtFlags::REMOVEDIR));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = sys::openat(parent, name, flags, Mode::empty()).map_err(io::Error::from);
        folder
            .and_then(|folder| self.finish(&File::from(folder), FOLDER_MODE))
            .map_err(StoreError::io(format!("make the folder {path}"), path.as_str()))
    }

    /// Owner first: changing it would clear bits of the mode.
    fn finish(&self, file: &File, mode: Mode) -> io::Result<()> {
        if let Some((user, group)) = self.owner {
            sys::fchown(file, Some(user), Some(group))?;
        }
        Ok(sys::fchmod(file, mode)?)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // A best effort: the caller hears of the error that led here, and the folder is its own to clear.
        for (path, flags) in self.made.iter().rev() {
            if let Ok((parent, name)) = below::open_parent(&self.root, path) {
                let _ = sys::unlinkat(&parent, name, *flags);
            }
        }
    }
}

fn in_the_way(error: Errno, path: &RelativePath) -> StoreError {
    match error {
        Errno::EXIST => StoreError::Exists { place: path.to_string() },
        other => StoreError::io(format!("stage {path}"), path.as_str())(other),
    }
}

/// A symlink or file where a folder must be: something stands there already.
fn standing_in(error: StoreError, path: &RelativePath) -> StoreError {
    match error {
        StoreError::Bad { .. } => StoreError::Exists { place: path.to_string() },
        other => other,
    }
}
