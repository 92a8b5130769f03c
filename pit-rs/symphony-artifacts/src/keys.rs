//! The keys that seal what lies on disk: where they come from and what they are called.
//!
//! A key is 32 bytes as 64 hex digits. The first one given seals whatever is written, the others only open what
//! they sealed before. A key is called by the first eight bytes of a hash of it (BLAKE3 with a context of its
//! own), so nobody chooses names and no two places can disagree on them.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chacha20poly1305::{KeyInit, XChaCha20Poly1305};

use crate::error::{Result, StoreError};

/// The keys themselves, separated by commas or white space; for where no file can be.
pub const KEYS: &str = "SYMPHONY_ARTIFACTS_KEYS";
/// The path of a file with one key a line.
pub const KEY_FILE: &str = "SYMPHONY_ARTIFACTS_KEY_FILE";
const MAX_KEYS: usize = 1_000;
const MAX_FILE: u64 = 1024 * 1024;
const CONTEXT: &str = "symphony-artifacts 2026 name of a key";

/// What a key is called.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Where the keys come from; read again when they are rotated.
#[derive(Clone, Debug, Default)]
pub enum Source {
    #[default]
    None,
    /// Hex digits as they stood in the environment.
    Given(String),
    File(PathBuf),
}

impl Source {
    /// What the environment says, else the file `STORE.keys` beside the store if it is there.
    pub fn find(store: &Path) -> Self {
        if let Some(keys) = std::env::var(KEYS).ok().filter(|keys| !keys.trim().is_empty()) {
            return Self::Given(keys);
        }
        if let Some(path) = std::env::var_os(KEY_FILE).filter(|path| !path.is_empty()) {
            return Self::File(path.into());
        }
        let mut beside = store.as_os_str().to_owned();
        beside.push(".keys");
        let beside = PathBuf::from(beside);
        match fs::symlink_metadata(&beside) {
            Err(error) if error.kind() == ErrorKind::NotFound => Self::None,
            _ => Self::File(beside),
        }
    }

    pub fn read(&self) -> Result<Keys> {
        match self {
            Self::None => Ok(Keys::default()),
            Self::Given(text) => Keys::parse(text, KEYS),
            Self::File(path) => {
                let place = path.display().to_string();
                let failed = || StoreError::io(format!("read the keys in {place}"), path);
                let metadata = fs::metadata(path).map_err(failed())?;
                let private = metadata.is_file() && metadata.mode() & 0o077 == 0;
                let ours = metadata.uid() == rustix::process::geteuid().as_raw();
                if !private || !ours || metadata.len() > MAX_FILE {
                    let reason = "it is no small file of our own with mode 0600".to_owned();
                    return Err(StoreError::Key { place, reason });
                }
                Keys::parse(&fs::read_to_string(path).map_err(failed())?, &place)
            }
        }
    }
}

/// All keys at hand. Cheap to clone.
#[derive(Clone, Default)]
pub struct Keys {
    current: Option<KeyId>,
    all: Arc<HashMap<KeyId, XChaCha20Poly1305>>,
}

impl Keys {
    /// Reads keys; what stands behind `#` in a line is a comment. `place` is named in the error.
    pub fn parse(text: &str, place: &str) -> Result<Self> {
        let wrong =
            |reason: &str| StoreError::Key { place: place.to_owned(), reason: reason.to_owned() };
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        let words = lines.flat_map(|line| line.split(|it: char| it == ',' || it.is_whitespace()));
        let mut keys = Self::default();
        let mut all = HashMap::new();
        for word in words.filter(|word| !word.is_empty()) {
            let key = blake3::Hash::from_hex(word)
                .map_err(|_| wrong("a key in it is not 64 hex digits"))?;
            let mut id = [0; 8];
            id.copy_from_slice(&blake3::derive_key(CONTEXT, key.as_bytes())[..8]);
            keys.current.get_or_insert(KeyId(id));
            all.insert(KeyId(id), XChaCha20Poly1305::new(key.as_bytes().into()));
        }
        if all.is_empty() || all.len() > MAX_KEYS {
            return Err(wrong("it holds no key, or more than 1000"));
        }
        keys.all = Arc::new(all);
        Ok(keys)
    }

    /// What seals whatever is written from now on; `None`: nothing is sealed.
    pub fn current(&self) -> Option<(KeyId, &XChaCha20Poly1305)> {
        let id = self.current?;
        Some((id, self.all.get(&id)?))
    }

    pub fn get(&self, id: &KeyId) -> Option<&XChaCha20Poly1305> {
        self.all.get(id)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Keys({} of them, current {:?})", self.all.len(), self.current)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_first_key_is_the_current_one_and_nothing_else_is_a_key() {
        let (one, two) = ("11".repeat(32), "22".repeat(32));
        let keys = Keys::parse(&format!("# ours\n{one}\n{two} # of last year\n"), "x").unwrap();
        let same = Keys::parse(&format!("{one},{two}"), "x").unwrap();
        assert_eq!(keys.current().unwrap().0, same.current().unwrap().0);
        let other = Keys::parse(&two, "x").unwrap().current().unwrap().0;
        assert!(keys.get(&other).is_some() && keys.current().unwrap().0 != other);
        for wrong in ["", "# none", &one[1..], &format!("{one}0"), "key"] {
            assert!(matches!(Keys::parse(wrong, "x"), Err(StoreError::Key { .. })), "{wrong}");
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        fs::write(&path, "11".repeat(32)).unwrap();
        for (mode, good) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Source::File(path.clone()).read().is_ok(), good, "{mode:o}");
        }
    }
}
