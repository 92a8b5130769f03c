//! A folder as an archive, `pit.archive/1`: one file for each artifact, visible only once it is whole and on disk.
//!
//! An upload is written as `upload-N`, synced, renamed to the 64 digits of its reference, the folder synced.
//! A file is deleted by giving its place to another name and emptying that: the storage seam has no other way,
//! and a crash in between leaves either the file or nothing of it.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use symphony_journal::{Medium, Storage};
use symphony_member::{no_method, short, Faults, Reference};
use symphony_wire::service::{parse, reply, Answer, Call, Outcome, Service};
use symphony_wire::{BusError, Code};

pub const MAX_PART: usize = 1 << 20;
/// Uploads at once; one more drops the one that was begun first.
const MAX_UPLOADS: usize = 16;
/// Uploads whose `commit` may be repeated.
const MAX_COMMITTED: usize = 64;
/// Artifacts: the archive knows their names and lengths by heart.
pub const MAX_ARTIFACTS: usize = 1_000_000;
const MAX_LISTED: usize = 1_000;
/// The name under which files are deleted.
const GONE: &str = "gone";
const UPLOAD: &str = "upload-";

struct Upload<F> {
    number: u64,
    file: F,
    reference: Reference,
    bytes: u64,
    written: u64,
}

pub struct Archive<S: Storage> {
    storage: S,
    kept: BTreeMap<Reference, u64>,
    uploads: VecDeque<Upload<S::File>>,
    committed: VecDeque<(u64, Reference)>,
    begun: u64,
}

#[derive(Deserialize, Serialize)]
pub struct Begin {
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub bytes: u64,
}

#[derive(Deserialize, Serialize)]
pub struct Begun {
    pub upload: String,
}

#[derive(Deserialize, Serialize)]
pub struct Part {
    pub upload: String,
    pub offset: u64,
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
}

#[derive(Deserialize, Serialize)]
pub struct Commit {
    pub upload: String,
}

#[derive(Deserialize, Serialize)]
pub struct Kept {
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub bytes: u64,
}

#[derive(Deserialize, Serialize)]
pub struct Get {
    #[serde(rename = "ref")]
    pub reference: Reference,
    #[serde(default)]
    pub offset: u64,
    #[serde(default = "part")]
    pub limit: usize,
}

fn part() -> usize {
    MAX_PART
}

/// What `get` of an archive gives; the store's has the same fields and more.
#[derive(Deserialize, Serialize)]
pub struct Got {
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
    pub bytes: u64,
    pub more: bool,
}

#[derive(Deserialize, Serialize)]
pub struct Stat {
    #[serde(rename = "ref")]
    pub reference: Reference,
}

#[derive(Deserialize, Serialize)]
pub struct Found {
    pub bytes: u64,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    after: Option<Reference>,
    #[serde(default = "thousand")]
    limit: usize,
}

fn thousand() -> usize {
    MAX_LISTED
}

#[derive(Serialize)]
struct Listed {
    items: Vec<Kept>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Reference>,
}

#[derive(Deserialize, Serialize)]
pub struct Delete {
    #[serde(rename = "ref")]
    pub reference: Reference,
    pub why: String,
}

#[derive(Deserialize, Serialize)]
pub struct Deleted {
    pub deleted: bool,
}

impl<S: Storage> Archive<S> {
    /// Takes stock of the folder and drops the uploads of a former process.
    pub fn open(storage: S) -> Result<Self, BusError> {
        let mut archive = Self {
            storage,
            kept: BTreeMap::new(),
            uploads: VecDeque::new(),
            committed: VecDeque::new(),
            begun: 0,
        };
        archive.take_stock().map_err(|error| failed("open the archive", &error))?;
        Ok(archive)
    }

    fn take_stock(&mut self) -> std::io::Result<()> {
        for name in self.storage.names()? {
            if name.starts_with(UPLOAD) {
                self.discard(&name)?;
            } else if let Ok(reference) = format!("blake3:{name}").parse() {
                if let Some(file) = self.storage.open(&name)? {
                    self.kept.insert(reference, file.len()?);
                }
            }
        }
        self.storage.sync()
    }

    fn discard(&self, name: &str) -> std::io::Result<()> {
        self.storage.rename(name, GONE)?;
        self.storage.sync()?;
        if let Some(file) = self.storage.open(GONE)? {
            file.truncate(0)?;
        }
        Ok(())
    }

    pub fn answer(&mut self, call: Call<'_>) -> Outcome {
        match call.method {
            "begin" => self.begin(parse(call.body)?),
            "part" => self.part(&parse(call.body)?),
            "commit" => self.commit(&parse(call.body)?),
            "get" => self.get(&parse(call.body)?),
            "stat" => {
                let Stat { reference } = parse(call.body)?;
                let bytes = *self.kept.get(&reference).ok_or_else(|| not_found(&reference))?;
                reply(&Found { bytes })
            }
            "list" => self.list(&parse(call.body)?),
            "delete" => self.delete(&parse(call.body)?),
            other => Err(no_method("pit.archive/1", other)),
        }
    }

    fn begin(&mut self, Begin { reference, bytes }: Begin) -> Outcome {
        self.unless_other(&reference, bytes)?;
        if self.kept.len() >= MAX_ARTIFACTS {
            return Err(BusError::new(Code::Overloaded, "the archive holds a million artifacts"));
        }
        let io = |error| failed("begin an upload", &error);
        if self.uploads.len() >= MAX_UPLOADS {
            if let Some(oldest) = self.uploads.pop_front() {
                self.discard(&upload_name(oldest.number)).map_err(io)?;
            }
        }
        let number = self.begun + 1;
        let file = self.storage.create(&upload_name(number)).map_err(io)?;
        self.begun = number;
        file.truncate(0).map_err(io)?;
        self.uploads.push_back(Upload { number, file, reference, bytes, written: 0 });
        reply(&Begun { upload: upload_name(number) })
    }

    /// There is nothing else under this reference.
    fn unless_other(&self, reference: &Reference, bytes: u64) -> Result<(), BusError> {
        match self.kept.get(reference) {
            Some(kept) if *kept != bytes => {
                let message = format!("{reference} is there with {kept} bytes, not {bytes}");
                Err(BusError::new(Code::Conflict, message).at("bytes"))
            }
            _ => Ok(()),
        }
    }

    fn part(&mut self, part: &Part) -> Outcome {
        let mut faults = Faults::default();
        faults.unless((1..=MAX_PART).contains(&part.data.len()), "data", "1 byte to 1 MiB");
        faults.finish()?;
        let upload = self
            .uploads
            .iter_mut()
            .find(|upload| upload_name(upload.number) == part.upload)
            .ok_or_else(|| no_upload(&part.upload))?;
        let io = |error| failed("write a part", &error);
        let length = part.data.len() as u64;
        if part.offset == upload.written {
            if upload.bytes - upload.written < length {
                let message = format!("more than the {} bytes it began with", upload.bytes);
                return Err(BusError::new(Code::BadRequest, message).at("data"));
            }
            upload.file.write_at(part.offset, &part.data).map_err(io)?;
            upload.written += length;
            return reply(&Nothing {});
        }
        let again = part.offset.checked_add(length).is_some_and(|end| end <= upload.written) && {
            let mut written = vec![0; part.data.len()];
            upload.file.read_at(part.offset, &mut written).map_err(io)?;
            written == part.data
        };
        if again {
            return reply(&Nothing {});
        }
        let message = format!("the next part begins at {}", upload.written);
        Err(BusError::new(Code::Conflict, message).at("offset"))
    }

    fn commit(&mut self, Commit { upload }: &Commit) -> Outcome {
        let done = self.committed.iter().find(|(number, _)| upload_name(*number) == *upload);
        if let Some((_, reference)) = done {
            let bytes = *self.kept.get(reference).ok_or_else(|| not_found(reference))?;
            return reply(&Kept { reference: *reference, bytes });
        }
        let place = self.uploads.iter().position(|it| upload_name(it.number) == *upload);
        let place = place.ok_or_else(|| no_upload(upload))?;
        let Upload { number, reference, bytes, written, .. } = self.uploads[place];
        if written != bytes {
            let message = format!("{written} of {bytes} bytes are there");
            return Err(BusError::new(Code::BadRequest, message).at("upload"));
        }
        self.unless_other(&reference, bytes)?;
        let io = |error| failed("keep an upload", &error);
        self.uploads[place].file.sync().map_err(io)?;
        self.storage.rename(&upload_name(number), &reference.hex()).map_err(io)?;
        // The bytes have their name, but after a power cut they might not.
        self.uploads.remove(place);
        self.kept.insert(reference, bytes);
        self.storage.sync().map_err(io)?;
        if self.committed.len() >= MAX_COMMITTED {
            self.committed.pop_front();
        }
        self.committed.push_back((number, reference));
        reply(&Kept { reference, bytes })
    }

    fn get(&self, Get { reference, offset, limit }: &Get) -> Outcome {
        let io = |error| failed("read", &error);
        let file = self.storage.open(&reference.hex()).map_err(io)?;
        let file = file.ok_or_else(|| not_found(reference))?;
        let bytes = file.len().map_err(io)?;
        let left = bytes.checked_sub(*offset).ok_or_else(|| {
            BusError::new(Code::BadRequest, format!("there are {bytes} bytes")).at("offset")
        })?;
        let length = left.min((*limit).clamp(1, MAX_PART) as u64);
        let mut data = vec![0; usize::try_from(length).unwrap_or(MAX_PART)];
        file.read_at(*offset, &mut data).map_err(io)?;
        reply(&Got { data, bytes, more: length < left })
    }

    fn list(&self, List { after, limit }: &List) -> Outcome {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let mut left = self.kept.range((from, Unbounded));
        let items = left.by_ref().take((*limit).clamp(1, MAX_LISTED));
        let items = items.map(|(reference, bytes)| Kept { reference: *reference, bytes: *bytes });
        let items: Vec<Kept> = items.collect();
        let next = left.next().and(items.last()).map(|last| last.reference);
        reply(&Listed { items, next })
    }

    fn delete(&mut self, Delete { reference, why }: &Delete) -> Outcome {
        let mut faults = Faults::default();
        faults.text(why, "why");
        faults.unless(!why.is_empty(), "why", "a reason");
        faults.finish()?;
        let deleted = self.kept.contains_key(reference);
        if deleted {
            self.discard(&reference.hex()).map_err(|error| failed("delete", &error))?;
            self.kept.remove(reference);
        }
        reply(&Deleted { deleted })
    }
}

#[derive(Serialize)]
struct Nothing {}

fn upload_name(number: u64) -> String {
    format!("{UPLOAD}{number}")
}

fn not_found(reference: &Reference) -> BusError {
    BusError::new(Code::NotFound, format!("the archive does not have {reference}")).at("ref")
}

fn no_upload(name: &str) -> BusError {
    BusError::new(Code::NotFound, format!("there is no upload {:?}", short(name)))
        .at("upload")
        .help("begin again")
}

fn failed(what: &str, error: &std::io::Error) -> BusError {
    BusError::new(Code::Io, format!("failed to {what}: {error}"))
        .help("make the archive's folder readable and writable, with room")
}

/// Every answer rests on what is on disk already.
impl<S: Storage> Service for Archive<S> {
    fn call(&mut self, call: Call<'_>) -> Answer {
        Answer::Now(self.answer(call))
    }

    fn flush(&mut self) -> Result<(), BusError> {
        Ok(())
    }
}
