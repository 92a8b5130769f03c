//! Walks an outbox: finds the regular files of an item, within limits, and refuses everything else.

use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::fs::Dir;

use crate::below::{self, Node};
use crate::error::{Result, StoreError};
use crate::folder;
use crate::relative::RelativePath;

/// Folders within folders; each level holds one descriptor open during the walk.
const MAX_DEPTH: usize = 100;
/// All names of a collected tree together, bytes: they are in memory until the listing is written.
const MAX_NAMES: usize = 64 * 1024 * 1024;

/// What a call to collect may still take. Shared by all of its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub bytes: u64,
    pub files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1024 * 1024 * 1024, files: 10_000 }
    }
}

/// A regular file, open. `path` is relative to the folder that is collected from.
pub struct Found {
    pub path: RelativePath,
    pub file: File,
    /// Its length when it was found.
    pub bytes: u64,
    pub mode: u32,
}

/// One walk over the items of a call.
pub struct Walk {
    root: OwnedFd,
    left: Limits,
    /// Folders may be empty, so files alone do not bound them.
    folders_left: u64,
    names: usize,
}

impl Walk {
    pub fn new(root: OwnedFd, limits: Limits) -> Self {
        Self { root, left: limits, folders_left: limits.files, names: 0 }
    }

    /// How many bytes may still be taken.
    pub fn bytes_left(&self) -> u64 {
        self.left.bytes
    }

    /// Says that this many bytes were taken.
    pub fn took(&mut self, bytes: u64) {
        self.left.bytes = self.left.bytes.saturating_sub(bytes);
    }

    /// Hands every file at and below `path` to `each`; tells whether `path` is a folder.
    pub fn item(
        &mut self,
        path: &RelativePath,
        each: &mut dyn FnMut(&mut Self, Found) -> Result<()>,
    ) -> Result<bool> {
        let (parent, name) = below::open_parent(&self.root, path)?;
        match below::open_node(&parent, name, path)? {
            Node::Folder(folder) => {
                self.folder(folder, path, 1, each)?;
                Ok(true)
            }
            file => {
                self.file(file, path, each)?;
                Ok(false)
            }
        }
    }

    fn folder(
        &mut self,
        folder: OwnedFd,
        path: &RelativePath,
        depth: usize,
        each: &mut dyn FnMut(&mut Self, Found) -> Result<()>,
    ) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(StoreError::limit(path.as_str(), "folders are nested over 100 deep"));
        }
        for name in self.names(&folder, path)? {
            let path = name.below(path);
            // A joined path is checked as a whole: it may be longer than the system opens.
            let path = RelativePath::parse(path.as_str(), path.as_str())?;
            match below::open_node(&folder, name.as_str(), &path)? {
                Node::Folder(inner) => {
                    self.folders_left = self.folders_left.checked_sub(1).ok_or_else(|| {
                        StoreError::limit(
                            path.as_str(),
                            "there are more folders than files allowed",
                        )
                    })?;
                    self.folder(inner, &path, depth + 1, each)?;
                }
                file => self.file(file, &path, each)?,
            }
        }
        Ok(())
    }

    fn file(
        &mut self,
        node: Node,
        path: &RelativePath,
        each: &mut dyn FnMut(&mut Self, Found) -> Result<()>,
    ) -> Result<()> {
        let Node::File { file, bytes, executable } = node else { return Ok(()) };
        self.left.files = self.left.files.checked_sub(1).ok_or_else(|| {
            StoreError::limit(path.as_str(), "there are more files than the limit allows")
        })?;
        if bytes > self.left.bytes {
            let message = "there are more bytes than the limit allows";
            return Err(StoreError::limit(path.as_str(), message));
        }
        let mode = if executable { folder::EXECUTABLE } else { folder::PLAIN };
        each(self, Found { path: path.clone(), file, bytes, mode })
    }

    /// The names in a folder, sorted, so that the same tree always fails at the same place.
    fn names(&mut self, folder: &OwnedFd, path: &RelativePath) -> Result<Vec<RelativePath>> {
        let failed = || StoreError::io(format!("read the folder {path}"), path.as_str());
        let mut names = Vec::new();
        for item in Dir::read_from(folder).map_err(failed())? {
            let item = item.map_err(failed())?;
            let name = item.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let Ok(text) = name.to_str() else {
                let place = format!("{path}/{}", name.to_string_lossy());
                return Err(StoreError::bad(&place, format!("the name {place} is not UTF-8")));
            };
            self.names += text.len() + 1;
            let most = self.left.files.saturating_add(self.folders_left);
            if names.len() as u64 >= most || self.names > MAX_NAMES {
                return Err(StoreError::limit(path.as_str(), "there are too many names in it"));
            }
            names.push(RelativePath::parse(text, path.as_str())?);
        }
        names.sort();
        Ok(names)
    }
}
