//! Random histories against a small model: puts, marks, sweeps, tags, packing, disks that fill up, power cuts that
//! tear whatever was not synced. After each, the store is exactly what it was before the call or after it.
//!
//! `SYMPHONY_HISTORIES=10000` runs more of them, `SYMPHONY_SEED=7` one again; both: so many from that one on.
#![allow(clippy::unwrap_used)] // A test ends where its helpers fail.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use common::{noise, relative};
use symphony_artifacts::curation::{Citation, Pressure};
use symphony_artifacts::faults::{Faults, Step};
use symphony_artifacts::info::About;
use symphony_artifacts::store::{Options, Query, Sweeping, Trail};
use symphony_artifacts::{Reference, Store, StoreError};

const DAY_MS: i64 = 86_400_000;
const FIRST_DAY_MS: i64 = 1_767_225_600_000;

/// Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Every step fails until the disk has room again.
    Full,
    /// The power goes.
    Cut,
}

/// A disk that meets its fate some steps from now.
#[derive(Default)]
struct Disk {
    folder: PathBuf,
    left: u64,
    fate: Option<Fate>,
    met: bool,
    /// The index as it was last synced, if something was written since.
    synced: Option<Vec<u8>>,
    dirty: bool,
    /// Files that were in place when the folders were last synced.
    placed: BTreeSet<PathBuf>,
    /// The folders are being synced: with the next step they are.
    syncs_folders: bool,
    last: Option<Step>,
}

impl Disk {
    fn step(&mut self, step: Step) -> io::Result<()> {
        if self.met && (self.fate == Some(Fate::Cut) || step != Step::SyncIndex) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        if matches!(step, Step::WriteIndex(_)) && !self.dirty {
            self.synced = fs::read(self.folder.join("index.redb")).ok();
            self.dirty = true;
        }
        if std::mem::take(&mut self.syncs_folders) {
            self.placed = in_place(&self.folder);
        }
        self.last = Some(step);
        if self.fate.is_some() {
            if self.left == 0 {
                self.met = true;
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            self.left -= 1;
        }
        match step {
            Step::SyncIndex => self.dirty = false,
            Step::SyncFolders => self.syncs_folders = true,
            _ => {}
        }
        Ok(())
    }
}

fn in_place(store: &Path) -> BTreeSet<PathBuf> {
    let (blobs, _) = common::files(store);
    blobs.into_iter().chain(common::chunk_files(store)).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let path = item.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
    // The seals.
    let modified = fs::metadata(from).unwrap().modified().unwrap();
    fs::File::open(to).unwrap().set_modified(modified).unwrap();
}

/// Truncates, zeroes, doubles or flips.
fn tear(bytes: &mut Vec<u8>, dice: &mut Dice) {
    if bytes.is_empty() {
        return;
    }
    let at = dice.below(bytes.len() as u64) as usize;
    match dice.below(4) {
        0 => bytes.truncate(at),
        1 => bytes[at..].fill(0),
        2 => bytes.extend_from_within(at..),
        _ => bytes[at] ^= 1 << dice.below(8),
    }
}

/// What a disk may hold after the power was cut: of what was not synced each sector is old, new, empty, its neighbour's
/// or has a wrong bit; of the index's header each byte is old or new.
fn cut(disk: &Disk, to: &Path, dice: &mut Dice) {
    copy(&disk.folder, to);
    if disk.dirty {
        let old = disk.synced.clone().unwrap();
        let mut torn = fs::read(to.join("index.redb")).unwrap();
        let new = torn.clone();
        for (number, sector) in torn.chunks_mut(512).enumerate() {
            let at = number * 512;
            let before = old.get(at..at + sector.len());
            if before == Some(&*sector) {
                continue;
            }
            if at == 0 {
                // The header, which is written over in place: redb asks of a disk that it harms no byte that is not
                // written, and writes none by halves.
                for (byte, old) in sector.iter_mut().zip(before.unwrap()) {
                    if dice.one_in(2) {
                        *byte = *old;
                    }
                }
                continue;
            }
            match dice.below(12) {
                0..=4 => {}
                5..=8 => match before {
                    Some(before) => sector.copy_from_slice(before),
                    None => sector.fill(0),
                },
                9 => sector.fill(0),
                10 => sector.copy_from_slice(&new[at.saturating_sub(512)..][..sector.len()]),
                _ => sector[dice.below(sector.len() as u64) as usize] ^= 1 << dice.below(8),
            }
        }
        // It grew, to any length between.
        if new.len() > old.len() && dice.one_in(3) {
            let more = dice.below((new.len() - old.len()) as u64 + 1) as usize;
            torn.truncate(old.len() + more);
        }
        fs::write(to.join("index.redb"), torn).unwrap();
    }
    let (_, tmp) = common::files(to);
    for path in tmp {
        let mut bytes = fs::read(&path).unwrap();
        tear(&mut bytes, dice);
        fs::write(&path, bytes).unwrap();
    }
    if matches!(disk.last, Some(Step::PlaceBlob | Step::SyncFolders)) {
        for path in in_place(&disk.folder).difference(&disk.placed) {
            let path = to.join(path.strip_prefix(&disk.folder).unwrap());
            match dice.below(3) {
                0 => fs::remove_file(path).unwrap(),
                1 => {
                    let mut bytes = fs::read(&path).unwrap();
                    tear(&mut bytes, dice);
                    fs::write(&path, bytes).unwrap();
                }
                _ => {}
            }
        }
    }
}

/// One content of the model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    there: bool,
    put: i64,
    marked: Option<i64>,
    names: BTreeSet<String>,
    tags: BTreeSet<String>,
}

type Model = BTreeMap<usize, Known>;

#[derive(Clone, Debug)]
enum Change {
    Put { content: usize, name: Option<String>, at: i64 },
    Mark { content: usize, at: i64 },
    Unmark { content: usize },
    Sweep { content: usize, at: i64 },
    Stage { content: usize },
    Tag { content: usize, tag: String, there: bool },
    Pack { content: usize },
}

impl Change {
    fn apply(&self, model: &mut Model) {
        match self {
            Self::Put { content, name, at } => {
                let known = model.entry(*content).or_default();
                // What was swept is as old as it is put anew.
                known.put = if known.there { known.put.max(*at) } else { *at };
                (known.there, known.marked) = (true, None);
                known.names.extend(name.clone());
            }
            Self::Mark { content, at } => {
                let known = model.entry(*content).or_default();
                if known.there && at - known.put >= DAY_MS {
                    known.marked.get_or_insert(*at);
                }
            }
            Self::Unmark { content } | Self::Stage { content } => {
                model.entry(*content).or_default().marked = None;
            }
            Self::Sweep { content, at } => {
                let known = model.entry(*content).or_default();
                if known.marked.is_some_and(|marked| at - marked >= DAY_MS) {
                    (known.there, known.marked) = (false, None);
                }
            }
            Self::Tag { content, tag, there } => {
                let known = model.entry(*content).or_default();
                if *there {
                    known.tags.insert(tag.clone());
                } else {
                    known.tags.remove(tag);
                }
            }
            Self::Pack { .. } => {}
        }
    }
}

struct History {
    seed: u64,
    dice: Dice,
    folder: tempfile::TempDir,
    contents: Arc<Vec<Vec<u8>>>,
    path: PathBuf,
    number: u64,
    disk: Arc<Mutex<Disk>>,
    store: Option<Store>,
    /// Durable.
    model: Model,
    /// Done and not yet flushed.
    waits: Vec<Change>,
    at: i64,
    cuts: u64,
}

fn named(name: Option<&String>, at: i64) -> About {
    About { name: name.cloned(), ts: symphony_member::instant::write(at), ..About::default() }
}

impl History {
    fn new(seed: u64, contents: Arc<Vec<Vec<u8>>>) -> Self {
        let shared = Path::new("/dev/shm");
        let parent = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
        let folder = tempfile::tempdir_in(parent).unwrap();
        let path = folder.path().join("store-0");
        let mut history = Self {
            seed,
            dice: Dice(seed),
            folder,
            contents,
            path,
            number: 0,
            disk: Arc::default(),
            store: None,
            model: Model::new(),
            waits: Vec::new(),
            at: FIRST_DAY_MS,
            cuts: 0,
        };
        history.open();
        history
    }

    fn open(&mut self) {
        let placed = if self.path.exists() { in_place(&self.path) } else { BTreeSet::new() };
        let disk = Disk { folder: self.path.clone(), placed, ..Disk::default() };
        self.disk = Arc::new(Mutex::new(disk));
        let disk = Arc::clone(&self.disk);
        let faults = Faults::new(move |step| disk.lock().unwrap().step(step));
        let options = Options { faults, ..Options::default() };
        self.store = Some(Store::open_with(&self.path, options).unwrap());
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().unwrap()
    }

    fn reference(&self, content: usize) -> Reference {
        Reference::of(&self.contents[content])
    }

    fn choose(&mut self) -> Change {
        let content = self.dice.below(self.contents.len() as u64) as usize;
        self.at += self.dice.below(8) as i64 * DAY_MS / 8;
        let at = self.at;
        let there = |model: &Model| model.get(&content).is_some_and(|known| known.there);
        let may = there(&self.model);
        match self.dice.below(16) {
            5 | 6 => Change::Mark { content, at },
            7 => Change::Unmark { content },
            8..=10 => Change::Sweep { content, at },
            11 if may => Change::Stage { content },
            12 | 13 if may => Change::Tag {
                content,
                tag: format!("t{}", self.dice.below(3)),
                there: !self.dice.one_in(3),
            },
            14 if may => Change::Pack { content },
            _ => {
                let name = (!self.dice.one_in(3)).then(|| format!("n{}", self.dice.below(4)));
                Change::Put { content, name, at }
            }
        }
    }

    /// Does it at the store; true where it is durable already.
    fn act(&mut self, change: &Change) -> Result<bool, StoreError> {
        let before = self.after(self.waits.len());
        let contents = Arc::clone(&self.contents);
        let reference = |content: &usize| Reference::of(&contents[*content]);
        let known = |content: &usize| before.get(content).cloned().unwrap_or_default();
        let stage = self.folder.path().join(format!("stage-{}", self.dice.next()));
        let store = self.store.as_mut().unwrap();
        match change {
            Change::Put { content, name, at } => {
                let about = named(name.as_ref(), *at);
                let put = store.put(&[(contents[*content].as_slice(), about)])?[0];
                assert_eq!(put.new, !known(content).there, "new");
                Ok(false)
            }
            Change::Mark { content, at } => {
                let may = known(content);
                let marked = store.mark(&[reference(content)], "old", *at)?;
                assert_eq!(marked == 1, may.there && at - may.put >= DAY_MS, "marked");
                Ok(false)
            }
            Change::Unmark { content } => store.unmark(&[reference(content)]).map(|()| false),
            Change::Sweep { content, at } => {
                let pressure = Pressure { plan: "p".to_owned(), used: 1, bytes: 0, value: 0 };
                let reference = reference(content);
                let citation = Citation { reference, proof: None, pressure: Some(pressure) };
                let citations = BTreeMap::from([(reference, citation)]);
                let record = Trail {
                    at: *at,
                    method: "sweep".to_owned(),
                    by: None,
                    run: None,
                    step: None,
                    refs: vec![],
                };
                let Sweeping { freed, revived } = store.sweep(&citations, *at, record)?;
                let known = known(content);
                let ripe = known.marked.is_some_and(|marked| at - marked >= DAY_MS);
                let bytes = if known.there { contents[*content].len() as u64 } else { 0 };
                assert_eq!(freed.contains(&(reference, bytes)), !known.there || ripe, "freed");
                assert_eq!(revived.len() == 1, known.there && known.marked.is_none(), "revived");
                Ok(true)
            }
            Change::Stage { content } => {
                fs::create_dir(&stage).unwrap();
                store.stage(&stage, &[(reference(content), relative("f"))], false)?;
                assert!(fs::read(stage.join("f")).unwrap() == contents[*content]);
                Ok(true)
            }
            Change::Tag { content, tag, there } => {
                let tags = [tag.clone()];
                let (add, remove): (&[String], &[String]) =
                    if *there { (&tags, &[]) } else { (&[], &tags) };
                store.tag(&reference(content), add, remove)?;
                Ok(false)
            }
            Change::Pack { content } => {
                store.pack(&[reference(content)])?;
                Ok(true)
            }
        }
    }

    /// The model after the first so many of what waits.
    fn after(&self, waits: usize) -> Model {
        let mut model = self.model.clone();
        self.waits[..waits].iter().for_each(|change| change.apply(&mut model));
        model
    }

    fn step(&mut self) {
        let fate = match self.dice.below(10) {
            0 => Some(Fate::Full),
            1 | 2 => Some(Fate::Cut),
            _ => None,
        };
        {
            let left = self.dice.below(40);
            let mut disk = self.disk.lock().unwrap();
            (disk.fate, disk.left) = (fate, left);
        }
        let change = self.choose();
        let waited = self.waits.len();
        let outcome = self.act(&change).and_then(|durable| {
            self.waits.push(change.clone());
            if durable || self.dice.one_in(2) {
                self.store().flush()?;
                self.model = self.after(self.waits.len());
                self.waits.clear();
            }
            Ok(())
        });
        let (met, fate) = {
            let mut disk = self.disk.lock().unwrap();
            (disk.met, disk.fate.take())
        };
        if outcome.is_err() {
            assert!(met, "{change:?} failed by itself: {outcome:?}");
        }
        if !met {
            return;
        }
        // What may be there now: as before, with the first of what waited, with this change too.
        if outcome.is_err() && self.waits.len() == waited {
            self.waits.push(change.clone());
        }
        let may: Vec<Model> = (0..=self.waits.len()).map(|waits| self.after(waits)).collect();
        if fate == Some(Fate::Cut) {
            self.power_cut();
        } else {
            self.disk.lock().unwrap().met = false;
            if outcome.is_ok() && !self.waits.is_empty() {
                // It was full, and nobody noticed but for what needs no room.
                return;
            }
            // Whoever waits for a flush that was done early hears of it now.
            let _ = self.store().flush();
        }
        self.waits.clear();
        let found = self.look();
        let fits: Vec<&Model> = may.iter().filter(|model| seen(model) == found).collect();
        let Some(first) = fits.first() else {
            panic!(
                "{:?} after {change:?} ({outcome:?}) is found as\n{found:#?}\ninstead of\n{:#?}",
                fate,
                may.iter().map(seen).collect::<Vec<_>>()
            );
        };
        // When a content was put, and when marked, is not to be seen. Where that is open, marks find it out.
        let mut model = (*first).clone();
        for (content, known) in model.iter_mut().filter(|(_, known)| known.there) {
            let may: BTreeSet<(i64, Option<i64>)> =
                fits.iter().map(|it| (it[content].put, it[content].marked)).collect();
            if may.len() > 1 {
                known.put = self.put_time(*content, may.into_iter().map(|(put, _)| put).collect());
                known.marked = None;
            }
        }
        self.model = model;
    }

    /// Which of these times a content was last put at. Afterwards it bears no mark.
    fn put_time(&mut self, content: usize, may: BTreeSet<i64>) -> i64 {
        let reference = [self.reference(content)];
        let mut first = |at: i64| {
            let marked = self.store().mark(&reference, "old", at).unwrap() == 1;
            self.store().unmark(&reference).unwrap();
            self.store().flush().unwrap();
            marked
        };
        let found = may.iter().find(|put| first(*put + DAY_MS)).copied();
        let found = found.unwrap_or_else(|| panic!("{content} was put after each of {may:?}"));
        assert!(!first(found + DAY_MS - 1), "{content} was put before {found}, of {may:?}");
        found
    }

    fn power_cut(&mut self) {
        self.cuts += 1;
        self.number += 1;
        let next = self.folder.path().join(format!("store-{}", self.number));
        cut(&self.disk.lock().unwrap(), &next, &mut self.dice);
        self.disk.lock().unwrap().fate = Some(Fate::Cut);
        self.disk.lock().unwrap().met = true;
        self.store = None;
        fs::remove_dir_all(&self.path).unwrap();
        self.path = next;
        self.open();
    }

    /// What can be seen of every content: there, marked, its names and tags; and that its bytes are right.
    fn look(&mut self) -> BTreeMap<usize, Seen> {
        let mut seen = BTreeMap::new();
        for content in 0..self.contents.len() {
            let reference = self.reference(content);
            let data = &Arc::clone(&self.contents)[content];
            let store = self.store();
            match store.stat(&reference) {
                Err(StoreError::NotFound { .. }) => continue,
                other => other.unwrap(),
            };
            let mut read = Vec::new();
            while read.len() < data.len() {
                read.extend(store.get(&reference, read.len() as u64, 1 << 20).unwrap().0);
            }
            assert!(read == *data, "content {content} has other bytes");
            // Long before its time a sweep only tells whether there is a mark.
            let pressure = Pressure { plan: "p".to_owned(), used: 1, bytes: 0, value: 0 };
            let citation = Citation { reference, proof: None, pressure: Some(pressure) };
            let probe = BTreeMap::from([(reference, citation)]);
            let unmarked = store.sweep(&probe, 0, Trail::default()).unwrap().revived;
            let tags = store.tags(&reference).unwrap().into_iter().collect();
            seen.insert(
                content,
                Seen { marked: unmarked.is_empty(), names: BTreeSet::new(), tags },
            );
        }
        let refs: BTreeMap<Reference, usize> =
            (0..self.contents.len()).map(|content| (self.reference(content), content)).collect();
        self.store()
            .list(&Query::default(), |_, info| {
                let content = refs[&info.reference];
                let known = seen.get_mut(&content).unwrap();
                assert!(known.names.insert(info.name.unwrap()), "an entry came twice");
                Ok(true)
            })
            .unwrap();
        seen
    }

    fn end(&mut self) {
        self.store().flush().unwrap();
        self.model = self.after(self.waits.len());
        self.waits.clear();
        self.store = None;
        self.open();
        let found = self.look();
        assert_eq!(found, seen(&self.model));
        let report = self.store().verify(None, u64::MAX).unwrap();
        assert_eq!((report.bad.len(), report.broken), (0, None));
        // Nothing lies about that nobody knows.
        let there: Vec<usize> = self
            .model
            .iter()
            .filter(|(_, known)| known.there)
            .map(|(content, _)| *content)
            .collect();
        let small = there.iter().filter(|content| self.contents[**content].len() < 1 << 20).count();
        let (blobs, tmp) = common::files(&self.path);
        assert_eq!((blobs.len(), tmp.len()), (small, 0));
        if small == there.len() {
            assert!(common::chunk_files(&self.path).is_empty(), "chunks are left");
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    marked: bool,
    names: BTreeSet<String>,
    tags: BTreeSet<String>,
}

fn seen(model: &Model) -> BTreeMap<usize, Seen> {
    let there = model.iter().filter(|(_, known)| known.there);
    there
        .map(|(content, known)| {
            let Known { names, tags, marked, .. } = known.clone();
            (*content, Seen { marked: marked.is_some(), names, tags })
        })
        .collect()
}

#[test]
fn every_history_is_one_that_the_model_knows() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (first, count) = (number("SYMPHONY_SEED"), number("SYMPHONY_HISTORIES"));
    let usual = if first.is_some() { 1 } else { 24 };
    let seeds = (first.unwrap_or(0)..).take(count.unwrap_or(usual) as usize);
    let long = noise(1, 1_500_000);
    let changed = [&long[..700_000], b"!", &long[700_000..]].concat();
    let mut contents: Vec<Vec<u8>> = (0..6)
        .map(|seed| format!("text number {seed} of all ").repeat(1 + seed * 300).into_bytes())
        .collect();
    contents.extend([noise(2, 70_000), long, changed]);
    let (few, all) = (Arc::new(contents[..7].to_vec()), Arc::new(contents));
    let mut cuts = 0;
    for seed in seeds {
        // Few have contents in chunks: they take long to hash where nothing is optimized.
        let contents = Arc::clone(if seed % 4 == 0 { &all } else { &few });
        let result = std::panic::catch_unwind(|| {
            let mut history = History::new(seed, contents);
            for _ in 0..40 {
                history.step();
            }
            history.end();
            assert_eq!(history.seed, seed);
            history.cuts
        });
        match result {
            Ok(more) => cuts += more,
            Err(panic) => {
                eprintln!("repeat with SYMPHONY_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{cuts} power cuts");
}
