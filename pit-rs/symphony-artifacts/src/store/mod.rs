//! The store: one batch of writes on its way to disk, and every read.
//!
//! Writes collect in a batch until [`Store::flush`] makes all of them durable with one index commit; reads
//! see only what was committed. A flush that fails is undone like a crash: the batch is dropped, the index
//! reopened and everything it does not know swept away. While even that fails (a disk that stays full, say)
//! every call answers `io` and tries it again first.
//!
//! [`writes`] is how contents get into the batch, [`uploads`] the same for those that come in parts; [`curate`] marks,
//! sweeps and rewrites; [`labels`] notes what is thought of artifacts; [`find`] and [`descent`] answer questions;
//! [`copy`] makes a copy of everything.

mod copy;
mod curate;
mod descent;
mod find;
mod labels;
mod rewrite;
mod uploads;
mod values;
mod writes;

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::Path;

use crate::audit::Record;
use crate::backup::Backup;
use crate::blobs::Blobs;
use crate::collect::{Limits, Walk};
use crate::error::{Result, StoreError};
use crate::faults::Faults;
use crate::folder::{self, Member};
use crate::index::{Facet, Index, SECRET};
use crate::info::{About, Blob, Entry, Info, Kind};
use crate::keys::Source;
use crate::layout::{Layout, Place};
use crate::reads::{self, Reads};
use crate::relative::RelativePath;
use crate::stage::Target;
use crate::words::Hasher;
use crate::{below, format, sealing, Reference};

pub use crate::audit::Record as Trail;

pub use self::descent::{Edge, Lineage, Node, Way};
pub use self::find::{Found, Search, Version};
pub use self::rewrite::Rotated;
pub use self::uploads::Begin;
use self::uploads::Uploads;
pub use self::values::{Collected, Put, Query, Report, Sweeping, Wanted};
use self::writes::Batch;

/// Damaged contents and chunks that are remembered, so that putting them again replaces them.
const MAX_DAMAGED: usize = 100_000;
/// Reads that may wait to be written into the audit trail.
const MAX_READS: usize = 10_000;

/// How a store is opened.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub keys: Source,
    /// Nothing below the store's folder is changed; what changes anything is refused.
    pub read_only: bool,
    pub faults: Faults,
}

/// What a call did, for the audit trail. A write that fails was none, a read stays one.
enum Done {
    Read(Record),
    Write(Record),
}

pub struct Store {
    /// First of all, so that it ends before the index is closed.
    backup: Option<Backup>,
    layout: Layout,
    options: Options,
    blobs: Blobs,
    /// `None` after a failed flush until it could be reopened.
    index: Option<Index>,
    /// What words are hashed with; the key it is sealed with may be missing.
    secret: std::result::Result<[u8; 32], String>,
    batch: Batch,
    uploads: Uploads,
    reads: Reads,
    /// Contents and chunks that were found damaged.
    damaged: HashSet<Reference>,
    /// What the audit trail does not hold yet.
    trail: Vec<Done>,
    /// A flush that failed before those who wait for it asked for it.
    failed: Option<StoreError>,
}

impl Store {
    /// Opens the store at `folder` without keys, making it if there is none, and drops what a crash left over.
    pub fn open(folder: &Path, faults: Faults) -> Result<Self> {
        Self::open_with(folder, Options { faults, ..Options::default() })
    }

    pub fn open_with(folder: &Path, options: Options) -> Result<Self> {
        let keys = options.keys.read()?;
        format::check(folder, options.read_only)?;
        let blobs = Blobs::open(folder, keys, options.read_only, options.faults.clone())?;
        let mut store = Self {
            backup: None,
            layout: Layout(folder.to_owned()),
            options,
            blobs,
            index: None,
            secret: Err(String::new()),
            batch: Batch::default(),
            uploads: Uploads::default(),
            reads: Reads::default(),
            damaged: HashSet::new(),
            trail: Vec::new(),
            failed: None,
        };
        store.recover()?;
        store.unseal()?;
        Ok(store)
    }

    /// Puts contents with their descriptions: all of them or none.
    pub fn put(&mut self, items: &[(&[u8], About)]) -> Result<Vec<Put>> {
        self.writable()?;
        let mut change = Batch::default();
        let mut puts = Vec::with_capacity(items.len());
        for (data, about) in items {
            about.check()?;
            puts.push(self.add(&mut change, data, about, None)?);
        }
        self.admit(change)?;
        Ok(puts)
    }

    /// Takes files and folders below `folder`: all of them or none.
    pub fn collect(
        &mut self,
        folder: &Path,
        items: &[Wanted],
        limits: Limits,
    ) -> Result<Vec<Collected>> {
        self.writable()?;
        let mut change = Batch::default();
        let mut walk = Walk::new(below::open_root(folder)?, limits);
        let mut collected = Vec::with_capacity(items.len());
        for item in items {
            item.about.check()?;
            collected.push(self.collect_item(&mut change, &mut walk, item)?);
        }
        self.admit(change)?;
        Ok(collected)
    }

    /// Makes everything durable and visible that was put or collected since the last flush, or nothing.
    pub fn flush(&mut self) -> Result<()> {
        if let Some(error) = self.failed.take() {
            // Whoever waits hears that it failed, so nothing of it may come true later.
            self.forget_writes();
            return Err(error);
        }
        self.write_batch()
    }

    /// Flushes early: what comes next must see everything that waits. If it fails, those who wait hear of it from
    /// their own flush.
    fn settle(&mut self) -> Result<()> {
        let waits = self.has_writes();
        let flushed = self.write_batch();
        if let (Err(error), true) = (&flushed, waits) {
            let kind = match error {
                StoreError::Io { source, .. } => source.kind(),
                _ => ErrorKind::Other,
            };
            let source = std::io::Error::new(kind, error.to_string());
            self.failed = Some(StoreError::io("write what waited", &self.layout.0)(source));
        }
        flushed
    }

    /// Writes down what was read, if nothing else waits: that has its own flush.
    pub fn write_reads(&mut self) -> Result<()> {
        if self.has_writes() || self.trail.is_empty() {
            return Ok(());
        }
        self.ready()?;
        self.write_batch()
    }

    /// Notes for the audit trail what a call read; written with the next flush.
    pub fn note_read(&mut self, record: Record) {
        if self.options.read_only {
            return;
        }
        if self.trail.len() < MAX_READS {
            self.trail.push(Done::Read(record));
        } else {
            tracing::warn!(
                method = record.method,
                "the audit trail cannot be written, and is full"
            );
        }
    }

    pub fn has_reads(&self) -> bool {
        !self.trail.is_empty()
    }

    /// Notes for the audit trail what a call wrote, in the same commit.
    pub fn note_write(&mut self, record: Record) {
        self.trail.push(Done::Write(record));
    }

    fn has_writes(&self) -> bool {
        !self.batch.is_empty() || self.trail.iter().any(|done| matches!(done, Done::Write(_)))
    }

    fn forget_writes(&mut self) {
        self.batch = Batch::default();
        self.trail.retain(|done| matches!(done, Done::Read(_)));
    }

    fn write_batch(&mut self) -> Result<()> {
        if !self.has_writes() && (self.trail.is_empty() || self.index.is_none()) {
            return Ok(());
        }
        let mut batch = std::mem::take(&mut self.batch);
        let trail = self.trail.iter().map(|(Done::Read(record) | Done::Write(record))| record);
        batch.change.audit = trail.cloned().collect();
        let flushed = self.commit(&batch);
        if flushed.is_err() {
            drop(batch);
            self.forget_writes();
            self.end_backup();
            self.index = None;
            // The error that counts is the flush's; whether the store is usable again, `ready` finds out.
            let _ = self.recover();
        } else {
            self.trail.clear();
        }
        flushed
    }

    /// The newest entry of an artifact, or the artifact alone if it has none.
    pub fn stat(&mut self, reference: &Reference) -> Result<Info> {
        let blob = self.blob(reference)?;
        let mut newest = None;
        self.index()?.entries(Facet::Reference, &reference.hex(), u64::MAX, |_, entry| {
            newest = Some(entry);
            Ok(false)
        })?;
        self.info(*reference, blob, newest)
    }

    /// What a caller is told of an artifact or entry.
    fn info(&self, reference: Reference, blob: Blob, entry: Option<Entry>) -> Result<Info> {
        let index = self.index()?;
        let quality = index.score(&reference)?.and_then(|score| score.quality());
        Ok(Info::new(reference, blob, entry, quality, index.tags(&reference)?))
    }

    /// Entries that fit the query with their numbers, newest first, while `each` says to go on.
    pub fn list(
        &mut self,
        query: &Query,
        mut each: impl FnMut(u64, Info) -> Result<bool>,
    ) -> Result<()> {
        self.ready()?;
        // The facet that usually leaves the fewest entries leads; the others are compared.
        let (facet, value) = match query {
            Query { run: Some(run), .. } => (Facet::Run, run.as_str()),
            Query { name: Some(name), .. } => (Facet::Name, name.as_str()),
            Query { step: Some(step), .. } => (Facet::Step, step.as_str()),
            Query { player: Some(player), .. } => (Facet::Player, player.as_str()),
            _ => (Facet::Any, ""),
        };
        let index = self.index()?;
        index.entries(facet, value, query.before.unwrap_or(u64::MAX), |number, entry| {
            if !query.fits(&entry) {
                return Ok(true);
            }
            let blob = index.blob(&entry.reference)?;
            let blob = blob.ok_or(StoreError::NotFound { reference: entry.reference })?;
            each(number, self.info(entry.reference, blob, Some(entry))?)
        })
    }

    /// Up to `limit` bytes of an artifact from `offset`, checked against its hash.
    pub fn get(
        &mut self,
        reference: &Reference,
        offset: u64,
        limit: usize,
    ) -> Result<(Vec<u8>, Blob)> {
        let blob = self.blob(reference)?;
        let (blobs, bytes) = (&self.blobs, blob.bytes);
        let piece = if blob.chunked {
            let index = self.index.as_ref().ok_or_else(unavailable)?;
            let recipe = || {
                index.recipe(reference)?.ok_or_else(|| {
                    StoreError::corrupt(*reference, "the list of their chunks is missing")
                })
            };
            self.reads.chunked(blobs, reference, bytes, recipe, offset, limit)
        } else {
            self.reads.piece(blobs, reference, bytes, offset, limit)
        };
        Ok((self.note_damage(piece)?, blob))
    }

    /// The files of a folder artifact.
    pub fn listing(&mut self, reference: &Reference) -> Result<Vec<Member>> {
        let blob = self.blob(reference)?;
        if blob.kind() != Kind::Folder {
            return Err(StoreError::bad("ref", format!("{reference} is not a folder")));
        }
        let listing = self.content(reference, &blob)?;
        folder::decode(&listing).map_err(|reason| StoreError::corrupt(*reference, reason))
    }

    /// A whole content in memory, checked.
    fn content(&mut self, reference: &Reference, blob: &Blob) -> Result<Vec<u8>> {
        let content = reads::whole(&self.blobs, &self.kept(reference, blob)?);
        self.note_damage(content)
    }

    /// Writes artifacts below `folder`: all of them or none. Their marks are taken from them first.
    pub fn stage(
        &mut self,
        folder: &Path,
        items: &[(Reference, RelativePath)],
        writable: bool,
    ) -> Result<Vec<(u64, Kind)>> {
        self.ready()?;
        self.revive(items.iter().map(|(reference, _)| *reference))?;
        let mut target = Target::open(folder, writable, self.options.faults.clone())?;
        let mut staged = Vec::with_capacity(items.len());
        for (reference, path) in items {
            let blob = self.blob(reference)?;
            match blob.kind() {
                Kind::File => self.stage_file(&mut target, reference, &blob, path, false)?,
                Kind::Folder => self.stage_folder(&mut target, reference, path)?,
            }
            staged.push((blob.user_bytes(), blob.kind()));
        }
        target.keep();
        Ok(staged)
    }

    /// Reads back every content behind `after`, and, once that is done, the audit trail. Ends early after about
    /// `limit` bytes.
    pub fn verify(&mut self, after: Option<&Reference>, limit: u64) -> Result<Report> {
        self.ready()?;
        let mut report = Report::default();
        let mut last = None;
        self.index()?.blobs(after, |reference, blob| {
            if report.bytes >= limit && last.is_some() {
                report.next = last;
                return Ok(false);
            }
            last = Some(reference);
            report.blobs += 1;
            report.bytes += blob.bytes;
            let kept = self.kept(&reference, &blob);
            match kept.and_then(|kept| self.blobs.read(&kept, |_| Ok(()))) {
                Err(StoreError::Corrupt { reference, .. }) => report.bad.push(reference),
                Err(StoreError::Locked { .. }) => report.locked += 1,
                other => other?,
            }
            Ok(true)
        })?;
        if report.next.is_none() {
            report.broken = self.broken_audit()?;
        }
        for reference in report.bad.clone() {
            self.note_damaged(&reference)?;
        }
        Ok(report)
    }

    /// The first record of the audit trail that does not follow from the one before it.
    fn broken_audit(&self) -> Result<Option<u64>> {
        let (mut number, mut hash, mut broken) = (0, [0; 32], None);
        self.index()?.audit(0, |link| {
            if link.follows(number, &hash) {
                (number, hash) = (link.number, link.hash);
            } else {
                broken = Some(number + 1);
            }
            Ok(broken.is_none())
        })?;
        Ok(broken)
    }

    /// Audit records behind `after`, while `each` says to go on.
    pub fn audit(
        &mut self,
        after: u64,
        each: impl FnMut(crate::audit::Link) -> Result<bool>,
    ) -> Result<()> {
        self.ready()?;
        self.write_reads()?;
        self.index()?.audit(after, each)
    }

    fn stage_folder(
        &mut self,
        target: &mut Target,
        reference: &Reference,
        path: &RelativePath,
    ) -> Result<()> {
        let members = self.listing(reference)?;
        target.folder(path)?;
        for member in members {
            let place = member.path.below(path);
            let place = RelativePath::parse(place.as_str(), path.as_str())?;
            let blob = self.blob(&member.reference)?;
            let executable = member.mode == folder::EXECUTABLE;
            self.stage_file(target, &member.reference, &blob, &place, executable)?;
        }
        Ok(())
    }

    fn stage_file(
        &mut self,
        target: &mut Target,
        reference: &Reference,
        blob: &Blob,
        path: &RelativePath,
        executable: bool,
    ) -> Result<()> {
        let kept = self.kept(reference, blob)?;
        let staged = target.file(path, executable, |sink| self.blobs.read(&kept, sink));
        self.note_damage(staged)
    }

    fn note_damage<T>(&mut self, outcome: Result<T>) -> Result<T> {
        if let Err(StoreError::Corrupt { reference, .. }) = &outcome {
            self.note_damaged(reference)?;
        }
        outcome
    }

    /// Remembers what is damaged: a content, and, where it is kept in chunks, which of them.
    fn note_damaged(&mut self, reference: &Reference) -> Result<()> {
        self.reads.forget(reference);
        if self.damaged.len() >= MAX_DAMAGED {
            return Ok(());
        }
        self.damaged.insert(*reference);
        for chunk in self.index()?.recipe(reference)?.unwrap_or_default().0 {
            if self.blobs.content(&Place::chunk(chunk.hash), u64::from(chunk.bytes)).is_err() {
                self.damaged.insert(chunk.hash);
            }
        }
        Ok(())
    }

    fn commit(&mut self, batch: &Batch) -> Result<()> {
        for place in batch.files.keys() {
            self.reads.forget(&place.hash);
        }
        for reference in batch.change.recipes.keys().chain(batch.change.sweep.keys()) {
            self.reads.forget(reference);
        }
        let index = self.index.as_mut().ok_or_else(unavailable)?;
        let generation = index.generation() + 1;
        let seals = match batch.files.is_empty() {
            true => Default::default(),
            false => self.blobs.place(batch.files.values(), generation)?,
        };
        let gone = index.commit(&batch.change, &seals)?;
        for place in batch.files.keys() {
            self.damaged.remove(&place.hash);
        }
        for reference in batch.change.recipes.keys().chain(batch.change.sweep.keys()) {
            self.damaged.remove(reference);
        }
        // It is done; files that stay are in nobody's way and dropped at the next start.
        if let Err(error) = self.blobs.drop_files(&gone, generation) {
            tracing::warn!(%error, "files of what was swept are left over");
        }
        Ok(())
    }

    /// Reopens the index and drops everything it does not know. Its lock comes first: what another
    /// process is writing must not be swept away.
    fn recover(&mut self) -> Result<()> {
        let path = self.layout.index();
        if self.options.read_only {
            self.index = Some(Index::open_read_only(&path)?);
            return Ok(());
        }
        if !path.exists() {
            if !self.blobs.is_empty() {
                let reason = "its index is missing".to_owned();
                return Err(StoreError::Damaged { path: self.layout.0.clone(), reason });
            }
            Index::create(&path, &self.options.faults)?;
        }
        let index = Index::open(&path, &self.options.faults)?;
        self.blobs.sweep(|shard| index.seal(shard), |place| index.knows(place))?;
        self.index = Some(index);
        // Their files lay under `tmp`.
        self.uploads.clear();
        Ok(())
    }

    /// Finds out what words are hashed with, or makes it up: the first commit of a new store.
    fn unseal(&mut self) -> Result<()> {
        let stored = self.index()?.text(SECRET)?;
        let secret = match stored.as_deref().and_then(|stored| stored.split_first()) {
            Some((0, secret)) => Ok(secret.to_vec()),
            Some((_, sealed)) => match sealing::open(self.blobs.keys(), sealed) {
                Ok(secret) => Ok(secret),
                Err(error) => {
                    tracing::warn!(%error, "the store is sealed: it can be looked at, not written");
                    Err(error.get_ref().map_or_else(String::new, |inner| {
                        let missing = inner.downcast_ref::<sealing::KeyMissing>();
                        missing.map_or_else(|| inner.to_string(), |missing| missing.0.to_string())
                    }))
                }
            },
            None if self.options.read_only => Ok(vec![0; 32]),
            None => {
                let mut secret = [0; 32];
                getrandom::fill(&mut secret)
                    .map_err(|error| StoreError::Bug(format!("no random bytes: {error}")))?;
                Ok(secret.to_vec())
            }
        };
        self.secret = match secret {
            Ok(secret) => Ok(secret.try_into().map_err(|_| StoreError::Damaged {
                path: self.layout.0.clone(),
                reason: "the secret of its index has another length".to_owned(),
            })?),
            Err(key) => Err(key),
        };
        let sealed = stored.as_ref().is_some_and(|stored| stored.first() == Some(&1));
        let seal = self.blobs.keys().current().is_some();
        if self.secret.is_ok() && !self.options.read_only && (stored.is_none() || (seal && !sealed))
        {
            self.seal_secret()?;
            self.write_batch()?;
        }
        Ok(())
    }

    /// Writes the secret of the index anew, sealed with the current key.
    fn seal_secret(&mut self) -> Result<()> {
        let secret = self.hasher()?.0;
        let stored = match self.blobs.keys().current() {
            None => [&[0], secret.as_slice()].concat(),
            Some((id, cipher)) => {
                let sealed = sealing::seal(id, cipher, &secret)
                    .map_err(StoreError::io("seal the secret of the index", &self.layout.0))?;
                [&[1], sealed.as_slice()].concat()
            }
        };
        self.batch.change.secret = Some(stored);
        Ok(())
    }

    fn hasher(&self) -> Result<Hasher> {
        match &self.secret {
            Ok(secret) => Ok(Hasher(*secret)),
            Err(key) => Err(StoreError::Locked { key: key.clone() }),
        }
    }

    /// Whether anything may be changed: not in a store that is open for reading only, nor in one whose key is
    /// missing, for that would not be sealed.
    fn writable(&mut self) -> Result<()> {
        if self.options.read_only {
            return Err(StoreError::ReadOnly);
        }
        self.hasher()?;
        self.ready()
    }

    fn ready(&mut self) -> Result<()> {
        if self.index.is_none() {
            self.recover()?;
        }
        Ok(())
    }

    fn index(&self) -> Result<&Index> {
        self.index.as_ref().ok_or_else(unavailable)
    }

    fn blob(&mut self, reference: &Reference) -> Result<Blob> {
        self.ready()?;
        self.index()?.blob(reference)?.ok_or(StoreError::NotFound { reference: *reference })
    }
}

fn unavailable() -> StoreError {
    StoreError::Bug("the index is used before it was reopened".to_owned())
}
