//! The store: one batch of writes on its way to disk, and every read.
//!
//! Writes collect in a batch until [`Store::flush`] makes all of them durable with one index commit; reads
//! see only what was committed. A flush that fails is undone like a crash: the batch is dropped, the index
//! reopened and everything it does not know swept away. While even that fails (a disk that stays full, say)
//! every call answers `io` and tries it again first.

mod values;
mod writes;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::blobs::Blobs;
use crate::collect::{Limits, Walk};
use crate::error::{Result, StoreError};
use crate::faults::Faults;
use crate::folder::{self, Member};
use crate::index::{Changes, Facet, Index};
use crate::info::{About, Blob, Info, Kind};
use crate::reads::{self, Reads};
use crate::relative::RelativePath;
use crate::stage::Target;
use crate::{below, format, Reference};

pub use self::values::{Collected, Put, Query, Report, Wanted};
use self::writes::Batch;

pub struct Store {
    folder: PathBuf,
    blobs: Blobs,
    /// `None` after a failed flush until it could be reopened.
    index: Option<Index>,
    batch: Batch,
    reads: Reads,
    /// Blobs that were found damaged: putting their content again replaces them.
    damaged: HashSet<Reference>,
    faults: Faults,
}

impl Store {
    /// Opens the store at `folder`, making it if there is none, and drops what a crash left over.
    pub fn open(folder: &Path, faults: Faults) -> Result<Self> {
        format::check(folder)?;
        let blobs = Blobs::open(folder, faults.clone())?;
        let mut store = Self {
            folder: folder.to_owned(),
            blobs,
            index: None,
            batch: Batch::default(),
            reads: Reads::default(),
            damaged: HashSet::new(),
            faults,
        };
        store.recover()?;
        Ok(store)
    }

    /// Puts contents with their descriptions: all of them or none.
    pub fn put(&mut self, items: &[(&[u8], About)]) -> Result<Vec<Put>> {
        self.ready()?;
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
        self.ready()?;
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
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        let flushed = self.commit(&batch);
        if flushed.is_err() {
            drop(batch);
            self.index = None;
            // The error that counts is the flush's; whether the store is usable again, `ready` finds out.
            let _ = self.recover();
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
        Ok(Info::new(*reference, blob, newest))
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
            each(number, Info::new(entry.reference, blob, Some(entry)))
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
        let piece = self.reads.piece(&self.blobs, reference, blob.bytes, offset, limit);
        Ok((self.note_damage(piece)?, blob))
    }

    /// The files of a folder artifact.
    pub fn listing(&mut self, reference: &Reference) -> Result<Vec<Member>> {
        let blob = self.blob(reference)?;
        if blob.kind() != Kind::Folder {
            return Err(StoreError::bad("ref", format!("{reference} is not a folder")));
        }
        let listing = reads::whole(&self.blobs, reference, blob.bytes);
        let listing = self.note_damage(listing)?;
        folder::decode(&listing).map_err(|reason| StoreError::corrupt(*reference, reason))
    }

    /// Writes artifacts below `folder`: all of them or none.
    pub fn stage(
        &mut self,
        folder: &Path,
        items: &[(Reference, RelativePath)],
        writable: bool,
    ) -> Result<Vec<(u64, Kind)>> {
        self.ready()?;
        let mut target = Target::open(folder, writable, self.faults.clone())?;
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

    /// Reads every blob back.
    pub fn verify(&mut self) -> Result<Report> {
        self.ready()?;
        let mut report = Report::default();
        let blobs = &self.blobs;
        self.index()?.blobs(|reference, blob| {
            report.blobs += 1;
            report.bytes += blob.bytes;
            match blobs.read(&reference, blob.bytes, |_| Ok(())) {
                Err(StoreError::Corrupt { reference, .. }) => report.bad.push(reference),
                other => other?,
            }
            Ok(())
        })?;
        self.damaged.extend(&report.bad);
        Ok(report)
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
        let blobs = &self.blobs;
        let staged = target.file(path, executable, |sink| blobs.read(reference, blob.bytes, sink));
        self.note_damage(staged)
    }

    fn note_damage<T>(&mut self, outcome: Result<T>) -> Result<T> {
        if let Err(StoreError::Corrupt { reference, .. }) = &outcome {
            self.damaged.insert(*reference);
        }
        outcome
    }

    fn commit(&mut self, batch: &Batch) -> Result<()> {
        let index = self.index.as_mut().ok_or_else(unavailable)?;
        for reference in batch.files.keys() {
            self.reads.forget(reference);
        }
        let seals = self.blobs.place(batch.files.values(), index.generation() + 1)?;
        index.commit(&Changes { blobs: &batch.records, entries: &batch.entries, seals: &seals })?;
        for reference in batch.files.keys() {
            self.damaged.remove(reference);
        }
        Ok(())
    }

    /// Reopens the index and drops everything it does not know. Its lock comes first: what another
    /// process is writing must not be swept away.
    fn recover(&mut self) -> Result<()> {
        let path = self.folder.join("index.redb");
        if !path.exists() {
            if !self.blobs.is_empty() {
                let reason = "its index is missing".to_owned();
                return Err(StoreError::Damaged { path: self.folder.clone(), reason });
            }
            Index::create(&path, &self.faults)?;
        }
        let index = Index::open(&path, &self.faults)?;
        self.blobs.sweep(|shard| index.seal(shard), |hash| index.has_blob(hash))?;
        self.index = Some(index);
        Ok(())
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
