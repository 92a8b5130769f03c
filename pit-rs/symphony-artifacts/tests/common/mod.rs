//! What the tests share: a store in a folder of its own, and the store's files as an outsider sees them.
#![allow(dead_code)] // Every test program uses its own part of this.

pub mod caller;

use std::fs;
use std::path::{Path, PathBuf};

use symphony_artifacts::collect::Limits;
use symphony_artifacts::faults::Faults;
use symphony_artifacts::info::About;
use symphony_artifacts::relative::RelativePath;
use symphony_artifacts::store::{Collected, Wanted};
use symphony_artifacts::{Reference, Store, StoreError};
use tempfile::TempDir;

pub struct Bench {
    pub folder: TempDir,
    pub store: Store,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(Faults::default())
    }

    pub fn with(faults: Faults) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), faults).unwrap();
        Self { folder, store }
    }

    /// Ends this store's life cleanly and opens it anew.
    pub fn reopen(self) -> Self {
        let Self { folder, store } = self;
        drop(store);
        let store = Store::open(&folder.path().join("store"), Faults::default()).unwrap();
        Self { folder, store }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// A new empty folder beside the store.
    pub fn make(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    }

    pub fn put(&mut self, data: &[u8]) -> Reference {
        let put = self.store.put(&[(data, at("1"))]).unwrap()[0];
        self.store.flush().unwrap();
        put.reference
    }

    pub fn read(&mut self, reference: &Reference) -> Result<Vec<u8>, StoreError> {
        let mut content = Vec::new();
        loop {
            let (piece, blob) = self.store.get(reference, content.len() as u64, 100_000)?;
            content.extend(piece);
            if content.len() as u64 >= blob.bytes {
                return Ok(content);
            }
        }
    }

    pub fn collect(&mut self, folder: &Path, paths: &[&str]) -> Result<Vec<Collected>, StoreError> {
        let wanted: Vec<_> = paths.iter().map(|path| wanted(path)).collect();
        let collected = self.store.collect(folder, &wanted, Limits::default())?;
        self.store.flush()?;
        Ok(collected)
    }
}

pub fn at(ts: &str) -> About {
    About { ts: ts.to_owned(), ..About::default() }
}

pub fn wanted(path: &str) -> Wanted {
    let about = About { name: Some(path.to_owned()), ..at("1") };
    Wanted { path: relative(path), about }
}

pub fn relative(path: &str) -> RelativePath {
    RelativePath::parse(path, "path").unwrap()
}

/// Bytes no compressor gets smaller.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub fn blob_file(store: &Path, reference: &Reference) -> PathBuf {
    let hex = reference.hex();
    store.join("blobs").join(&hex[..2]).join(&hex[2..])
}

/// All blob files and whatever lies under `tmp`.
pub fn files(store: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let list = |folder: PathBuf| -> Vec<PathBuf> {
        fs::read_dir(folder).into_iter().flatten().map(|item| item.unwrap().path()).collect()
    };
    let blobs = list(store.join("blobs")).into_iter().flat_map(list).collect();
    (blobs, list(store.join("tmp")))
}

/// Everything below a folder: path → (mode, bytes), folders without bytes.
pub fn tree(folder: &Path) -> std::collections::BTreeMap<String, (u32, Option<Vec<u8>>)> {
    use std::os::unix::fs::PermissionsExt;
    fn walk(
        root: &Path,
        folder: &Path,
        found: &mut std::collections::BTreeMap<String, (u32, Option<Vec<u8>>)>,
    ) {
        for item in fs::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                found.insert(name, (mode, None));
                walk(root, &path, found);
            } else {
                found.insert(name, (mode, Some(fs::read(&path).unwrap())));
            }
        }
    }
    let mut found = std::collections::BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}

/// All files of chunks.
pub fn chunk_files(store: &Path) -> Vec<PathBuf> {
    let list = |folder: PathBuf| -> Vec<PathBuf> {
        fs::read_dir(folder).into_iter().flatten().map(|item| item.unwrap().path()).collect()
    };
    list(store.join("chunks")).into_iter().flat_map(list).collect()
}
