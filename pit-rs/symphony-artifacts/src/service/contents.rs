//! Bytes in and out: `put`, uploads, `collect`, `stage`, `get`.

use symphony_wire::service::parse;

use super::{after_flush, bad, now, ArtifactService, Handled, Reply, Who};
use crate::collect::Limits;
use crate::info::About;
use crate::instant;
use crate::messages::{
    BeginArguments, Begun, CollectArguments, CollectReply, CommitArguments, Committed, Files,
    GetArguments, GetReply, Items, ListingArguments, Nothing, PartArguments, PutArguments, PutItem,
    PutManyArguments, PutReply, StageArguments, StageMode, Staged,
};
use crate::relative::{absolute, RelativePath};
use crate::store::{Begin, Wanted};

/// Most bytes of one `get`; a larger `limit` is taken for this.
const MAX_PIECE: usize = 1024 * 1024;
/// Most files that a caller may allow one `collect`.
const MAX_FILES: u64 = 100_000;
const UPLOAD: &str = "upload-";

impl ArtifactService {
    pub(super) fn put(&mut self, body: &[u8]) -> Handled {
        let PutArguments { data, name, media, made, ts, by } = parse(body)?;
        let who = Who::new(by, made.as_ref(), Some(&ts))?;
        let puts = self.store.put(&[(&data, About { name, media, made, ts })])?;
        self.note_write("put", &who, &[puts[0].reference]);
        after_flush(&PutReply::from(puts[0]))
    }

    pub(super) fn put_many(&mut self, body: &[u8]) -> Handled {
        let PutManyArguments { items, ts, by } = parse(body)?;
        let made = items.first().and_then(|item| item.made.as_ref());
        let who = Who::new(by, made, Some(&ts))?;
        let contents: Vec<_> = items
            .iter()
            .map(|PutItem { data, name, media, made }| {
                let (name, media, made) = (name.clone(), media.clone(), made.clone());
                (data.as_slice(), About { name, media, made, ts: ts.clone() })
            })
            .collect();
        let puts = self.store.put(&contents)?;
        let refs: Vec<_> = puts.iter().map(|put| put.reference).collect();
        self.note_write("put_many", &who, &refs);
        after_flush(&Items { items: puts.into_iter().map(PutReply::from).collect() })
    }

    pub(super) fn begin(&mut self, body: &[u8]) -> Handled {
        let BeginArguments { reference, bytes, name, media, made, ts, by } = parse(body)?;
        Who::new(by, None, None)?;
        let ts = ts.unwrap_or_else(|| instant::write(self.now.wall_ms));
        let about = About { name, media, made, ts };
        let number = self.store.begin(Begin { reference, bytes, about })?;
        now(&Begun { upload: format!("{UPLOAD}{number}") })
    }

    pub(super) fn part(&mut self, body: &[u8]) -> Handled {
        let PartArguments { upload, offset, data } = parse(body)?;
        self.store.part(number_of(&upload)?, offset, &data)?;
        now(&Nothing {})
    }

    pub(super) fn commit(&mut self, body: &[u8]) -> Handled {
        let CommitArguments { upload, by } = parse(body)?;
        let who = Who::new(by, None, None)?;
        let put = self.store.commit_upload(number_of(&upload)?)?;
        self.note_write("commit", &who, &[put.reference]);
        after_flush(&Committed { reference: put.reference, bytes: put.bytes })
    }

    pub(super) fn collect(&mut self, body: &[u8]) -> Handled {
        let CollectArguments { folder, items, made, limits, ts, by } = parse(body)?;
        let who = Who::new(by, made.as_ref(), Some(&ts))?;
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
        let refs: Vec<_> = collected.iter().map(|collected| collected.put.reference).collect();
        self.note_write("collect", &who, &refs);
        let items = wanted.into_iter().zip(collected).map(|(wanted, collected)| CollectReply {
            name: wanted.about.name.unwrap_or_default(),
            reference: collected.put.reference,
            kind: collected.kind,
            bytes: collected.bytes,
            files: collected.files,
            new: collected.put.new,
        });
        after_flush(&Items { items: items.collect() })
    }

    pub(super) fn stage(&mut self, body: &[u8]) -> Handled {
        let StageArguments { folder, items, mode, by } = parse(body)?;
        let who = Who::new(by, None, None)?;
        let mut wanted = Vec::with_capacity(items.len());
        for (number, item) in items.into_iter().enumerate() {
            let path = RelativePath::parse(item.path, &format!("items[{number}].path"))?;
            wanted.push((item.reference, path));
        }
        let folder = absolute(&folder)?;
        let staged = self.store.stage(&folder, &wanted, mode == StageMode::Writable)?;
        let refs: Vec<_> = wanted.iter().map(|(reference, _)| *reference).collect();
        self.note_read("stage", &who, &refs);
        let items = wanted.into_iter().zip(staged);
        let items = items.map(|((_, path), (bytes, kind))| Staged { path, bytes, kind });
        now(&Items { items: items.collect() })
    }

    pub(super) fn get(&mut self, body: &[u8]) -> Handled {
        let GetArguments { reference, offset, limit, by } = parse(body)?;
        let who = Who::new(by, None, None)?;
        if limit == 0 {
            return Err(bad("limit", "the limit is 0"));
        }
        let (data, blob) = self.store.get(&reference, offset, limit.min(MAX_PIECE))?;
        if offset > blob.bytes {
            return Err(bad("offset", &format!("the artifact has only {} bytes", blob.bytes)));
        }
        let end = offset + data.len() as u64;
        let on = self.last_read.as_ref().is_some_and(|(by, read, at)| {
            (by, *read, *at) == (&who.by, reference, offset) && offset > 0
        });
        if !on {
            self.note_read("get", &who, &[reference]);
        }
        self.last_read = Some((who.by, reference, end));
        let reply = GetReply { data, bytes: blob.bytes, kind: blob.kind(), more: end < blob.bytes };
        now(&reply)
    }

    pub(super) fn listing(&mut self, body: &[u8]) -> Handled {
        let ListingArguments { reference, by } = parse(body)?;
        let who = Who::new(by, None, None)?;
        let reply: Reply = now(&Files { files: self.store.listing(&reference)? })?;
        self.note_read("listing", &who, &[reference]);
        Ok(reply)
    }
}

fn number_of(upload: &str) -> Result<u64, symphony_wire::BusError> {
    let number = upload.strip_prefix(UPLOAD).and_then(|number| number.parse().ok());
    number.ok_or_else(|| bad("upload", "this is the name of no upload"))
}
