//! A copy of a whole store in another folder, made in a thread of its own while the store goes on.
//!
//! What is copied is fixed when the copy begins: a [`Snapshot`] of the index, which names every file. Files never
//! change, they come, go or are replaced; the store holds those that go or are replaced meanwhile
//! ([`Blobs::begin_holding`](crate::blobs::Blobs::begin_holding)), and the copy takes what is held before what is in
//! place. Where both folders are on one file system the files are linked.
//!
//! Files are copied as they are. One that has another length than the index says is read: a store that was killed
//! while it packed has whole ones of another length.
//!
//! `backup.part` names the copy that is being made, `backup.json`, written last, says that it is whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustix::fs::syncfs;
use serde::{Deserialize, Serialize};

use crate::encoding::Decoder;
use crate::error::{Result, StoreError};
use crate::faults::{Faults, Step};
use crate::format;
use crate::index::Snapshot;
use crate::keys::Keys;
use crate::layout::{set_seal, Area, Layout, Place};
use crate::Reference;

const FORMAT: &str = "symphony-artifacts-backup 1";
const MANIFEST: &str = "backup.json";
const DRAFT: &str = "backup.json.new";
const PART: &str = "backup.part";
/// Damaged files that are named.
const NAMED: usize = 1_000;

/// What is to be copied where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub id: String,
    pub to: PathBuf,
    /// When, as the caller says it.
    pub ts: String,
}

/// What is in a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backed {
    pub artifacts: u64,
    /// Of their contents.
    pub bytes: u64,
    pub files: u64,
    /// Files that were not there to be copied, or were not whole.
    #[serde(default)]
    pub damaged: u64,
    /// The first of them.
    #[serde(default)]
    pub named: Vec<Damage>,
}

/// A file that is not what it should be, below the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    pub path: PathBuf,
    pub why: String,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    format: String,
    id: String,
    at: String,
    #[serde(flatten)]
    backed: Backed,
    /// BLAKE3 of the index, in hex.
    index: String,
}

/// What the folder `to` holds already, if it is the whole copy that was ordered.
pub fn done(order: &Order) -> Result<Option<Backed>> {
    let text = match fs::read(order.to.join(MANIFEST)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(StoreError::io("read the manifest of a copy", &order.to))?,
    };
    let manifest = serde_json::from_slice::<Manifest>(&text).ok();
    let ours = manifest.filter(|manifest| manifest.format == FORMAT && manifest.id == order.id);
    Ok(ours.map(|manifest| manifest.backed))
}

/// A copy that is being made. Dropped, it is ended.
pub struct Backup {
    pub order: Order,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Backed>>>,
    ended: Option<Result<Backed>>,
}

impl Backup {
    /// Begins to copy the store in `from`, which is as `snapshot` says. The store must hold its files by now.
    pub fn begin(
        order: Order,
        from: &Layout,
        snapshot: Snapshot,
        keys: Keys,
        faults: Faults,
    ) -> Result<Self> {
        let made = prepare(from, &order)?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut copying = Copying {
            from: from.clone(),
            to: Layout(order.to.clone()),
            keys,
            faults,
            stop: Arc::clone(&stop),
            links: true,
            backed: Backed::default(),
        };
        let own = order.clone();
        let thread = thread::Builder::new().name("backup".to_owned()).spawn(move || {
            let copied = copying.run(&snapshot, &own);
            if copied.is_err() {
                // The error that counts is the copy's.
                let _ = clear(&own.to, made);
            }
            copied
        });
        let thread = thread.map_err(StoreError::io("start a thread", &order.to))?;
        Ok(Self { order, stop, thread: Some(thread), ended: None })
    }

    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends it early, unless it has ended by itself.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.join();
    }

    /// Waits for its end.
    pub fn end(mut self) -> Result<Backed> {
        self.join();
        let ended = self.ended.take();
        ended.unwrap_or_else(|| Err(StoreError::Bug("a copy ended early".to_owned())))
    }

    fn join(&mut self) {
        if let Some(Ok(ended)) = self.thread.take().map(JoinHandle::join) {
            self.ended = Some(ended);
        }
    }
}

impl Drop for Backup {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Makes the folder, or empties it of what a copy with the same id left half done. Tells whether it made it.
fn prepare(from: &Layout, order: &Order) -> Result<bool> {
    let Order { id, to, .. } = order;
    let place = || to.display().to_string();
    let failed = || StoreError::io(format!("make the folder {}", to.display()), to);
    let made = match DirBuilder::new().mode(0o700).create(to) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(StoreError::bad("to", format!("there is no folder to make {} in", place())))
        }
        Err(error) => return Err(failed()(error)),
    };
    let (own, there) = (from.0.canonicalize(), to.canonicalize());
    if there.map_err(failed())?.starts_with(own.map_err(failed())?) {
        if made {
            fs::remove_dir(to).map_err(failed())?;
        }
        return Err(StoreError::bad("to", "it lies in the store itself"));
    }
    let part = to.join(PART);
    if fs::read(&part).is_ok_and(|part| part == id.as_bytes()) {
        clear(to, false).map_err(failed())?;
    }
    if fs::read_dir(to).map_err(failed())?.next().is_some() {
        let message = format!("{} is not empty", place());
        return Err(StoreError::Conflict { message, place: "to".to_owned() });
    }
    fs::write(part, id).map_err(failed())?;
    Ok(made)
}

/// Removes what a copy consists of, and nothing else.
fn clear(to: &Path, made: bool) -> io::Result<()> {
    let layout = Layout(to.to_owned());
    let gone = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    };
    gone(fs::remove_dir_all(layout.area(Area::Blobs)))?;
    gone(fs::remove_dir_all(layout.area(Area::Chunks)))?;
    let files = [layout.index(), to.join(format::FILE), to.join(format::DRAFT)];
    for file in files.into_iter().chain([DRAFT, MANIFEST, PART].map(|name| to.join(name))) {
        gone(fs::remove_file(file))?;
    }
    if made {
        fs::remove_dir(to)?;
    }
    Ok(())
}

struct Copying {
    from: Layout,
    to: Layout,
    keys: Keys,
    faults: Faults,
    stop: Arc<AtomicBool>,
    /// Whether linking was not found impossible yet.
    links: bool,
    backed: Backed,
}

impl Copying {
    fn run(&mut self, snapshot: &Snapshot, order: &Order) -> Result<Backed> {
        let failed =
            || StoreError::io(format!("copy the store to {}", order.to.display()), &order.to);
        for area in [Area::Blobs, Area::Chunks] {
            fs::create_dir(self.to.area(area)).map_err(failed())?;
        }
        snapshot.contents(|reference, blob| {
            self.backed.artifacts += 1;
            self.backed.bytes += blob.bytes;
            if blob.chunked {
                return Ok(());
            }
            self.file(&Place::blob(reference), blob.stored)
        })?;
        snapshot.chunks(|place, stored| self.file(&place, stored))?;
        snapshot.write(&self.to.index(), &self.faults, &mut || self.go_on())?;
        for (shard, seal) in snapshot.seals()? {
            let folder = self.to.shard(shard);
            if folder.exists() {
                set_seal(&folder, seal)?;
            }
        }
        // All of it at once: what was linked is synced already, copies and folders are not.
        let whole = File::open(&self.to.0).map_err(failed())?;
        self.faults.before(Step::SyncCopy).map_err(failed())?;
        syncfs(&whole).map_err(io::Error::from).map_err(failed())?;
        format::write(&self.to.0).map_err(failed())?;
        self.manifest(order).map_err(failed())?;
        let above = order.to.parent().unwrap_or(&order.to);
        File::open(above).and_then(|above| above.sync_all()).map_err(failed())?;
        Ok(std::mem::take(&mut self.backed))
    }

    fn go_on(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            let source = io::Error::other("it was ended");
            return Err(StoreError::io("copy the store", &self.to.0)(source));
        }
        Ok(())
    }

    /// One file as it was when the copy began; its length then, as the index has it.
    fn file(&mut self, place: &Place, stored: u64) -> Result<()> {
        self.go_on()?;
        let to = self.to.0.display().to_string();
        let doing = || StoreError::io(format!("copy the store to {to}"), &to);
        let folder = self.to.shard(place.shard());
        match fs::create_dir(folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            other => other.map_err(doing())?,
        }
        self.faults.before(Step::CopyFile).map_err(doing())?;
        let target = self.to.file(place);
        let source = self.from.file(place);
        let mut there = self.bring(&source, &target).map_err(doing())?;
        // It may have gone, or another may have come, before it was brought: then it is held as it was.
        let held = self.from.held(place);
        if held.exists() {
            if there {
                fs::remove_file(&target).map_err(doing())?;
            }
            there = self.bring(&held, &target).map_err(doing())?;
        }
        self.backed.files += u64::from(there);
        let damage = if there {
            let length = fs::symlink_metadata(&target).map_err(doing())?.len();
            (length != stored)
                .then(|| self.unread(&target, place))
                .flatten()
                .map(|why| format!("{length} bytes instead of {stored}: {why}"))
        } else {
            Some("this file is missing".to_owned())
        };
        if let Some(why) = damage {
            self.backed.damaged += 1;
            if self.backed.named.len() < NAMED {
                let path = source.strip_prefix(&self.from.0).unwrap_or(&source).to_owned();
                self.backed.named.push(Damage { path, why });
            }
        }
        Ok(())
    }

    /// Why what a file holds cannot be read, if it cannot.
    fn unread(&self, file: &Path, place: &Place) -> Option<String> {
        let mut hash = blake3::Hasher::new();
        let opened = File::open(file).and_then(|file| Decoder::new(file, &self.keys));
        match opened.and_then(|content| hash.update_reader(content).map(drop)) {
            Err(error) => Some(error.to_string()),
            Ok(()) if Reference::from(*hash.finalize().as_bytes()) != place.hash => {
                Some("it holds something else".to_owned())
            }
            Ok(()) => None,
        }
    }

    /// Links or copies a file; tells whether there is one.
    fn bring(&mut self, source: &Path, target: &Path) -> io::Result<bool> {
        if self.links {
            match fs::hard_link(source, target) {
                Ok(()) => return Ok(true),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
                // One file may have too many links; another file system has none for us at all.
                Err(error) if error.kind() == ErrorKind::TooManyLinks => {}
                Err(_) => self.links = false,
            }
        }
        let mut from = match File::open(source) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        let mut options = OpenOptions::new();
        let mut into = options.write(true).create_new(true).mode(0o600).open(target)?;
        // Shares the blocks where the file system can.
        io::copy(&mut from, &mut into)?;
        Ok(true)
    }

    fn manifest(&self, order: &Order) -> io::Result<()> {
        let mut index = blake3::Hasher::new();
        index.update_reader(File::open(self.to.index())?)?;
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            id: order.id.clone(),
            at: order.ts.clone(),
            backed: self.backed.clone(),
            index: index.finalize().to_hex().to_string(),
        };
        let draft = self.to.0.join(DRAFT);
        let mut file = File::create(&draft)?;
        serde_json::to_writer_pretty(&mut file, &manifest)?;
        writeln!(file)?;
        file.sync_all()?;
        fs::rename(&draft, self.to.0.join(MANIFEST))?;
        fs::remove_file(self.to.0.join(PART))?;
        File::open(&self.to.0)?.sync_all()
    }
}
