//! The contract `pit.artifacts/1` on the wire: arguments in, replies out.

use std::path::Path;

use serde::Serialize;
use symphony_wire::constants::MAX_BODY;
use symphony_wire::service::{parse, reply, Answer, Call, Outcome, Service};
use symphony_wire::{BusError, Code};

use crate::collect::Limits;
use crate::error::StoreError;
use crate::faults::Faults;
use crate::info::About;
use crate::messages::{
    Artifacts, CollectArguments, CollectReply, Files, GetArguments, GetReply, Items, ListArguments,
    ListingArguments, PutArguments, PutItem, PutManyArguments, PutReply, StageArguments, StageMode,
    Staged, StatArguments, VerifyReply,
};
use crate::relative::{absolute, RelativePath};
use crate::store::{Query, Store, Wanted};

/// Most bytes of one `get`; a larger `limit` is taken for this.
const MAX_PIECE: usize = 1024 * 1024;
/// Most files that a caller may allow one `collect`.
const MAX_FILES: u64 = 100_000;
const MAX_LIST: usize = 1_000;
/// A `list` ends before its reply gets larger than this, bytes.
const MAX_LISTED: usize = MAX_BODY / 2;

/// The Artifact Store as a provider.
pub struct ArtifactService {
    store: Store,
}

impl ArtifactService {
    /// Opens the store at `store`, making it if there is none.
    pub fn open(store: &Path) -> Result<Self, StoreError> {
        Self::with_faults(store, Faults::default())
    }

    /// The same with a disk that fails as `faults` says.
    pub fn with_faults(store: &Path, faults: Faults) -> Result<Self, StoreError> {
        Ok(Self { store: Store::open(store, faults)? })
    }

    fn put(&mut self, body: &[u8]) -> Outcome {
        let PutArguments { data, name, media, made, ts } = parse(body)?;
        let puts = self.store.put(&[(&data, About { name, media, made, ts })])?;
        bounded(&PutReply::from(puts[0]))
    }

    fn put_many(&mut self, body: &[u8]) -> Outcome {
        let PutManyArguments { items, ts } = parse(body)?;
        let contents: Vec<_> = items
            .iter()
            .map(|PutItem { data, name, media, made }| {
                let (name, media, made) = (name.clone(), media.clone(), made.clone());
                (data.as_slice(), About { name, media, made, ts: ts.clone() })
            })
            .collect();
        let puts = self.store.put(&contents)?;
        bounded(&Items { items: puts.into_iter().map(PutReply::from).collect() })
    }

    fn get(&mut self, body: &[u8]) -> Outcome {
        let GetArguments { reference, offset, limit } = parse(body)?;
        if limit == 0 {
            return Err(bad("limit", "the limit is 0"));
        }
        let (data, blob) = self.store.get(&reference, offset, limit.min(MAX_PIECE))?;
        if offset > blob.bytes {
            return Err(bad("offset", &format!("the artifact has only {} bytes", blob.bytes)));
        }
        let more = offset + (data.len() as u64) < blob.bytes;
        bounded(&GetReply { data, bytes: blob.bytes, kind: blob.kind(), more })
    }

    fn stat(&mut self, body: &[u8]) -> Outcome {
        let StatArguments { refs } = parse(body)?;
        let infos: Result<Vec<_>, _> = refs.iter().map(|each| self.store.stat(each)).collect();
        bounded(&Artifacts { artifacts: infos?, next: None })
    }

    fn list(&mut self, body: &[u8]) -> Outcome {
        let ListArguments { name, run, step, player, limit, after } = parse(body)?;
        if !(1..=MAX_LIST).contains(&limit) {
            return Err(bad("limit", "the limit is not within 1 to 1000"));
        }
        let before = match after {
            None => None,
            Some(cursor) => Some(cursor.parse().map_err(|_| bad("after", "this is no cursor"))?),
        };
        let (mut artifacts, mut size, mut last, mut next) = (Vec::new(), 0, 0, None);
        self.store.list(&Query { name, run, step, player, before }, |number, info| {
            size += reply(&info).map_or(MAX_LISTED, |info| info.len());
            if artifacts.len() == limit || (size > MAX_LISTED && !artifacts.is_empty()) {
                next = Some(format!("{last}"));
                return Ok(false);
            }
            artifacts.push(info);
            last = number;
            Ok(true)
        })?;
        bounded(&Artifacts { artifacts, next })
    }

    fn listing(&mut self, body: &[u8]) -> Outcome {
        let ListingArguments { reference } = parse(body)?;
        bounded(&Files { files: self.store.listing(&reference)? })
    }

    fn stage(&mut self, body: &[u8]) -> Outcome {
        let StageArguments { folder, items, mode } = parse(body)?;
        let mut wanted = Vec::with_capacity(items.len());
        for (number, item) in items.into_iter().enumerate() {
            let path = RelativePath::parse(item.path, &format!("items[{number}].path"))?;
            wanted.push((item.reference, path));
        }
        let folder = absolute(&folder)?;
        let staged = self.store.stage(&folder, &wanted, mode == StageMode::Writable)?;
        let items = wanted.into_iter().zip(staged);
        let items = items.map(|((_, path), (bytes, kind))| Staged { path, bytes, kind });
        bounded(&Items { items: items.collect() })
    }

    fn collect(&mut self, body: &[u8]) -> Outcome {
        let CollectArguments { folder, items, made, limits, ts } = parse(body)?;
        let usual = Limits::default();
        let bytes = limits.bytes.unwrap_or(usual.bytes);
        let files = limits.files.unwrap_or(usual.files);
        if files > MAX_FILES {
            return Err(bad("limits.files", "the limit is over 100000"));
        }
        let mut wanted = Vec::with_capacity(items.len());
        for (number, item) in items.into_iter().enumerate() {
            let path = RelativePath::parse(item.path, &format!("items[{number}].path"))?;
            let (name, media) = (Some(item.name), item.media);
            let about = About { name, media, made: made.clone(), ts: ts.clone() };
            wanted.push(Wanted { path, about });
        }
        let collected =
            self.store.collect(&absolute(&folder)?, &wanted, Limits { bytes, files })?;
        let items = wanted.into_iter().zip(collected).map(|(wanted, collected)| CollectReply {
            name: wanted.about.name.unwrap_or_default(),
            reference: collected.put.reference,
            kind: collected.kind,
            bytes: collected.bytes,
            files: collected.files,
            new: collected.put.new,
        });
        bounded(&Items { items: items.collect() })
    }

    fn verify(&mut self) -> Outcome {
        let report = self.store.verify()?;
        bounded(&VerifyReply { blobs: report.blobs, bytes: report.bytes, bad: report.bad })
    }
}

impl Service for ArtifactService {
    fn call(&mut self, call: Call<'_>) -> Answer {
        match call.method {
            "put" => after_flush(self.put(call.body)),
            "put_many" => after_flush(self.put_many(call.body)),
            "collect" => after_flush(self.collect(call.body)),
            "get" => Answer::Now(self.get(call.body)),
            "stat" => Answer::Now(self.stat(call.body)),
            "list" => Answer::Now(self.list(call.body)),
            "listing" => Answer::Now(self.listing(call.body)),
            "stage" => Answer::Now(self.stage(call.body)),
            "verify" => Answer::Now(self.verify()),
            other => Answer::Now(Err(bad("method", &format!("there is no method {other}")))),
        }
    }

    fn flush(&mut self) -> Result<(), BusError> {
        Ok(self.store.flush()?)
    }
}

/// A refusal changed nothing: it need not wait for the disk.
fn after_flush(outcome: Outcome) -> Answer {
    if outcome.is_ok() {
        Answer::AfterFlush(outcome)
    } else {
        Answer::Now(outcome)
    }
}

/// A reply, unless it would not fit into a message.
fn bounded<T: Serialize>(value: &T) -> Outcome {
    let body = reply(value)?;
    if body.len() > MAX_BODY {
        let error = BusError::new(Code::Overloaded, "the reply is larger than a message may be");
        return Err(error.at("2 MiB").help("ask for less at once; `get` pages through a listing"));
    }
    Ok(body)
}

fn bad(place: &str, message: &str) -> BusError {
    BusError::new(Code::BadRequest, message).at(place)
}
