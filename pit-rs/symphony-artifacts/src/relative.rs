//! Paths from outside: relative ones inside an artifact, absolute ones of folders on this machine.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Result, StoreError};

/// Longest path, bytes (PATH_MAX on Linux).
const MAX_PATH: usize = 4096;
/// Longest part of a path, bytes (NAME_MAX on Linux).
const MAX_PART: usize = 255;

/// A relative path of plain parts: no empty one, no `.`, no `..`, no NUL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RelativePath(String);

impl RelativePath {
    /// Checks `text`; `place` names the argument in the error.
    pub fn parse(text: impl Into<String>, place: &str) -> Result<Self> {
        let text = text.into();
        match fault(&text) {
            None => Ok(Self(text)),
            Some(fault) => Err(StoreError::bad(place, format!("the path {text:?} {fault}"))),
        }
    }

    /// This path below a folder.
    pub fn below(&self, parent: &Self) -> Self {
        Self(format!("{}/{}", parent.0, self.0))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl std::fmt::Display for RelativePath {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Checks the absolute path of a folder. A closing slash is refused too: it would make the system
/// follow a symlink that stands there.
pub fn absolute(text: &str) -> Result<PathBuf> {
    let fault = match text.strip_prefix('/') {
        None => Some("is not absolute"),
        Some(rest) => fault(rest),
    };
    match fault {
        None => Ok(Path::new(text).to_owned()),
        Some(fault) => Err(StoreError::bad("folder", format!("the path {text:?} {fault}"))),
    }
}

fn fault(text: &str) -> Option<&'static str> {
    if text.len() > MAX_PATH {
        return Some("is longer than 4096 bytes");
    }
    text.split('/').find_map(|part| match part {
        "" => Some("has an empty part"),
        "." | ".." => Some("has a part `.` or `..`"),
        _ if part.contains('\0') => Some("contains a NUL"),
        _ if part.len() > MAX_PART => Some("has a part longer than 255 bytes"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_are_taken() {
        for good in ["a", "a/b.c", "…/ü", ".hidden", "..a", "a b\n"] {
            assert!(RelativePath::parse(good, "path").is_ok(), "{good:?} was refused");
        }
        let long = "a/".repeat(2048) + "b";
        let part = "a".repeat(256);
        for bad in ["", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\0b", &long, &part] {
            let error = RelativePath::parse(bad, "items[0].path").unwrap_err();
            assert!(matches!(error, StoreError::Bad { place, .. } if place == "items[0].path"));
        }
    }

    #[test]
    fn only_plain_absolute_folders_are_taken() {
        assert!(absolute("/tmp/x").is_ok());
        for bad in ["", "/", "tmp", "/tmp/", "/tmp/../etc", "//tmp", "/a\0"] {
            assert!(absolute(bad).is_err(), "{bad:?} was taken");
        }
    }
}
