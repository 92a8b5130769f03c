//! The store: one batch of writes on its way to disk, and every read.
//!
//! Writes collect in a [`Batch`] until [`Store::flush`] makes all of them durable with one index commit; reads
//! see only what was committed. A flush that fails is undone like a crash: the batch is dropped, the index
//! reopened and everything it does not know swept away. While even that fails (a disk that stays full, say)
//! every call answers `io` and tries it again first.

use std::collections::{BTreeMap, HashSet};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::blobs::{Blobs, Content, NewBlob, CHUNK};
use crate::collect::{Limits, Walk};
use crate::error::{Result, StoreError};
use crate::faults::Faults;
use crate::folder::{self, Member};
use crate::index::{Changes, Facet, Index};
use crate::info::{About, Blob, Entry, FolderSize, Info, Kind};
use crate::reads::{self, Reads};
use crate::relative::RelativePath;
use crate::stage::Target;
use crate::{below, format, Reference};

/// Blobs that may wait for one flush; each takes about half a kilobyte of memory.
const MAX_BATCH: usize = 100_000;

/// What the next flush makes visible.
#[derive(Default)]
struct Batch {
    files: BTreeMap<Reference, NewBlob>,
    records: BTreeMap<Reference, Blob>,
    entries: Vec<Entry>,
}

impl Batch {
    fn absorb(&mut self, other: Self) {
        self.files.extend(other.files);
        self.records.extend(other.records);
        self.entries.extend(other.entries);
    }

    fn is_empty(&self) -> bool {
        self.files.is_empty() && self.records.is_empty() && self.entries.is_empty()
    }
}

/// What became of one content that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Put {
    pub reference: Reference,
    pub bytes: u64,
    /// Whether the store did not have it before.
    pub new: bool,
}

/// One thing to take from an outbox.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub path: RelativePath,
    pub about: About,
}

/// What became of one thing taken from an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collected {
    pub put: Put,
    pub kind: Kind,
    pub bytes: u64,
    pub files: u64,
}

/// Which entries to list; `before` is the number of an entry.
#[derive(Clone, Debug, Default)]
pub struct Query {
    pub name: Option<String>,
    pub run: Option<String>,
    pub step: Option<String>,
    pub player: Option<String>,
    pub before: Option<u64>,
}

/// What [`Store::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub blobs: u64,
    pub bytes: u64,
    pub bad: Vec<Reference>,
}

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

    /// Lets a change wait for the next flush.
    fn admit(&mut self, change: Batch) -> Result<()> {
        if self.batch.files.len() + change.files.len() > MAX_BATCH {
            return Err(StoreError::limit("batch", "too many blobs wait to be written"));
        }
        self.batch.absorb(change);
        Ok(())
    }

    /// Adds one content that is in memory to a change.
    fn add(
        &mut self,
        change: &mut Batch,
        data: &[u8],
        about: &About,
        folder: Option<FolderSize>,
    ) -> Result<Put> {
        let reference = Reference::of(data);
        let bytes = data.len() as u64;
        let known = self.lookup(change, &reference)?;
        let file = match &known {
            Some(known) if self.holds(change, &reference, known) => None,
            _ => Some(self.blobs.write(Content {
                source: data,
                expected: bytes,
                media: about.media.as_deref(),
                limit: u64::MAX,
                place: "data",
            })?),
        };
        self.register(change, (reference, bytes), known, file, about, folder)
    }

    fn collect_item(
        &mut self,
        change: &mut Batch,
        walk: &mut Walk,
        item: &Wanted,
    ) -> Result<Collected> {
        let mut members = Vec::new();
        let mut first = None;
        // Of a folder only the folder itself is named and derived, its files are contents.
        let plain = About { ts: item.about.ts.clone(), ..About::default() };
        let is_folder = walk.item(&item.path, &mut |walk, found| {
            let whole = found.path == item.path;
            let about = if whole { &item.about } else { &plain };
            let (limit, place) = (walk.bytes_left(), found.path.as_str());
            let file = self.blobs.write(Content {
                source: BufReader::with_capacity(CHUNK, found.file),
                expected: found.bytes,
                media: about.media.as_deref(),
                limit,
                place,
            })?;
            walk.took(file.bytes);
            let content = (file.reference, file.bytes);
            let known = self.lookup(change, &file.reference)?;
            let held = known.as_ref().is_some_and(|known| self.holds(change, &content.0, known));
            let put =
                self.register(change, content, known, (!held).then_some(file), about, None)?;
            if whole {
                first = Some(put);
            } else {
                let inner = &found.path.as_str()[item.path.as_str().len() + 1..];
                let path = RelativePath::parse(inner, place)?;
                let (reference, bytes) = content;
                members.push(Member { path, mode: found.mode, reference, bytes });
            }
            Ok(())
        })?;
        match first {
            Some(put) if !is_folder => {
                Ok(Collected { put, kind: Kind::File, bytes: put.bytes, files: 1 })
            }
            _ => {
                let files = members.len() as u64;
                let bytes = members.iter().map(|member| member.bytes).sum();
                let listing = folder::encode(members).map_err(StoreError::Bug)?;
                let size = FolderSize { bytes, files };
                let put = self.add(change, &listing, &item.about, Some(size))?;
                Ok(Collected { put, kind: Kind::Folder, bytes, files })
            }
        }
    }

    /// Notes in a change what was learnt about a content; `file` is its blob where one has to be placed.
    fn register(
        &self,
        change: &mut Batch,
        (reference, bytes): (Reference, u64),
        known: Option<Blob>,
        file: Option<NewBlob>,
        about: &About,
        folder: Option<FolderSize>,
    ) -> Result<Put> {
        let mut record = known.clone().unwrap_or_else(|| Blob {
            bytes,
            stored: 0,
            folder: None,
            media: None,
            created: about.ts.clone(),
        });
        record.folder = record.folder.or(folder);
        record.media = record.media.or_else(|| about.media.clone());
        if let Some(file) = file {
            record.stored = file.stored;
            change.files.insert(reference, file);
        }
        if known.as_ref() != Some(&record) {
            change.records.insert(reference, record);
        }
        if let Some(entry) = about.entry(reference) {
            if !self.index()?.has_entry(&entry)? {
                change.entries.push(entry);
            }
        }
        Ok(Put { reference, bytes, new: known.is_none() })
    }

    /// What is known of a content: by this change, by the waiting batch, by the index.
    fn lookup(&self, change: &Batch, reference: &Reference) -> Result<Option<Blob>> {
        let waiting = change.records.get(reference).or_else(|| self.batch.records.get(reference));
        match waiting {
            Some(blob) => Ok(Some(blob.clone())),
            None => self.index()?.blob(reference),
        }
    }

    /// Whether the bytes of a known content need not be written again.
    fn holds(&self, change: &Batch, reference: &Reference, known: &Blob) -> bool {
        change.files.contains_key(reference)
            || self.batch.files.contains_key(reference)
            || (!self.damaged.contains(reference) && self.blobs.holds(reference, known.stored))
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

impl Query {
    fn fits(&self, entry: &Entry) -> bool {
        let same = |wanted: &Option<String>, has: Option<&String>| {
            wanted.as_ref().is_none_or(|wanted| has == Some(wanted))
        };
        let made = entry.made.as_ref();
        same(&self.name, entry.name.as_ref())
            && same(&self.run, made.and_then(|made| made.run.as_ref()))
            && same(&self.step, made.and_then(|made| made.step.as_ref()))
            && same(&self.player, made.and_then(|made| made.player.as_ref()))
    }
}

fn unavailable() -> StoreError {
    StoreError::Bug("the index is used before it was reopened".to_owned())
}
