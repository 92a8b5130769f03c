//! Store, tracker and archive as their contracts have them, with the faults of real ones. Whatever is swept is
//! checked then and there against what must never be lost.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{json, Value};
use symphony_journal::memory::MemoryStorage;
use symphony_member::Reference;
use symphony_stale::Archive;
use symphony_wire::reactor::Ask;
use symphony_wire::service::{Call, Outcome};
use symphony_wire::{BusError, Code};

pub const DAY: i64 = 86_400_000;
pub const COLD: &str = "archive.cold/1";
/// Days that a mark must be old.
pub const GRACE: i64 = 1;

#[derive(Clone, Debug)]
pub struct Blob {
    pub bytes: Vec<u8>,
    pub folder: bool,
    pub put: i64,
    pub marked: Option<i64>,
    pub entries: Vec<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No answer in time; nothing happened.
    Away,
    /// No answer in time, but it was done.
    Late,
    /// An answer that is none.
    Garbled,
    /// One byte of what is given is another.
    Flipped,
    /// Less is given than there is.
    Short,
    Busy,
    Refused,
}

pub const FAULTS: [Fault; 7] = [
    Fault::Away,
    Fault::Late,
    Fault::Garbled,
    Fault::Flipped,
    Fault::Short,
    Fault::Busy,
    Fault::Refused,
];

#[derive(Default)]
pub struct World {
    pub day: i64,
    pub blobs: BTreeMap<Reference, Blob>,
    /// What was swept, with its bytes and its entries.
    pub swept: BTreeMap<Reference, Blob>,
    /// Deleted for want of room.
    pub deleted: BTreeSet<Reference>,
    pub runs: BTreeMap<String, (String, Vec<Reference>)>,
    pub cold: Option<Archive<MemoryStorage>>,
    pub cold_disk: Option<MemoryStorage>,
    pub built_in: Option<MemoryStorage>,
    /// Pins and holds that were acknowledged.
    pub safe: BTreeSet<Reference>,
    pub asked: Vec<String>,
    /// The fault of the question with this number.
    pub faults: BTreeMap<usize, Fault>,
    pub sweeps: usize,
}

#[derive(Deserialize)]
struct Get {
    #[serde(rename = "ref")]
    reference: Reference,
    offset: u64,
    limit: usize,
}

#[derive(Deserialize)]
struct Put {
    #[serde(with = "serde_bytes")]
    data: Vec<u8>,
}

fn reply(value: &Value) -> Outcome {
    Ok(super::body(value))
}

fn refs(value: &Value) -> Vec<Reference> {
    value.as_array().unwrap().iter().map(|it| it.as_str().unwrap().parse().unwrap()).collect()
}

impl World {
    pub fn put(&mut self, bytes: &[u8], made: Value) -> Reference {
        let reference = Reference::of(bytes);
        self.store(reference, bytes.to_vec(), Some((made, super::ts(self.day))));
        reference
    }

    fn store(&mut self, reference: Reference, bytes: Vec<u8>, entry: Option<(Value, String)>) {
        let mut blob =
            self.blobs.remove(&reference).or_else(|| self.swept.get(&reference).cloned());
        let blob = blob.get_or_insert_with(|| Blob {
            folder: bytes.starts_with(b"symphony-folder 1"),
            bytes,
            put: 0,
            marked: None,
            entries: vec![],
        });
        (blob.put, blob.marked) = (self.day, None);
        if let Some((made, created)) = entry {
            let kind = if blob.folder { "folder" } else { "file" };
            let bytes = blob.bytes.len();
            blob.entries.push(json!({"ref": reference.to_string(), "kind": kind, "bytes": bytes,
                "created": created, "made": made, "media": "text/plain"}));
        }
        let blob = blob.clone();
        self.deleted.remove(&reference);
        self.blobs.insert(reference, blob);
    }

    /// A folder of these files, which have no entries of their own.
    pub fn put_folder(&mut self, files: &[(&str, &[u8])], made: Value) -> Reference {
        let mut members: Vec<(String, u32, Reference, u64)> = vec![];
        for (path, bytes) in files {
            let reference = Reference::of(bytes);
            self.store(reference, bytes.to_vec(), None);
            members.push(((*path).to_owned(), 0o644, reference, bytes.len() as u64));
        }
        members.sort();
        let mut listing = b"symphony-folder 1".to_vec();
        listing.extend(rmp_serde::to_vec(&members).unwrap());
        self.put(&listing, made)
    }

    /// A run is opened on an artifact, if it is there: whoever does that takes its mark back. One that has ended
    /// is never opened again; one that is open needs these, too.
    pub fn open_run(&mut self, run: &str, inputs: Vec<Reference>) {
        let known = self.runs.get(run).cloned();
        if known.as_ref().is_some_and(|known| known.0 != "open") {
            return;
        }
        let inputs = inputs.into_iter().chain(known.into_iter().flat_map(|known| known.1));
        let there = inputs.filter(|it| self.blobs.contains_key(it)).collect::<Vec<_>>();
        for input in &there {
            self.revive(input);
        }
        self.runs.insert(run.to_owned(), ("open".to_owned(), there));
    }

    /// A folder is used with its files.
    pub fn revive(&mut self, reference: &Reference) {
        let Some(blob) = self.blobs.get_mut(reference) else { return };
        blob.marked = None;
        let (folder, bytes) = (blob.folder, blob.bytes.clone());
        if folder {
            let parts: Vec<Reference> = Reference::all_in(&bytes).collect();
            parts.iter().for_each(|part| self.revive(part));
        }
    }

    pub fn answer(&mut self, ask: &Ask) -> Outcome {
        let fault = self.faults.remove(&self.asked.len());
        self.asked.push(format!("{} {}", ask.capability, ask.method));
        let late = || Err(BusError::new(Code::Deadline, "no answer in time"));
        match fault {
            Some(Fault::Away) => return late(),
            Some(Fault::Busy) => {
                return Err(BusError::new(Code::Overloaded, "slow down").retry_after_ms(5));
            }
            Some(Fault::Refused) => return Err(BusError::new(Code::Io, "no room")),
            _ => {}
        }
        let outcome = match ask.capability.as_str() {
            "pit.artifacts/1" => self.artifacts(&ask.method, &ask.body),
            "pit.dag/1" => self.dag(&ask.method, &ask.body),
            COLD => {
                let mut body = ask.body.clone();
                if let (Some(Fault::Flipped), "part", Some(last)) =
                    (fault, ask.method.as_str(), body.last_mut())
                {
                    // The data is the last field: the archive keeps other bytes than it was given.
                    *last ^= 1;
                }
                let call = Call { capability: COLD, method: &ask.method, body: &body };
                self.cold.as_mut().unwrap().answer(call)
            }
            other => panic!("{other} was asked"),
        };
        match fault {
            Some(Fault::Late) => late(),
            Some(Fault::Garbled) => Ok(b"\x81\xa4what\xc0".to_vec()),
            Some(Fault::Flipped) if ask.method == "get" => outcome.map(|mut body| {
                // The data is the first field.
                let at = body.len().min(12) - 1;
                body[at] ^= 1;
                body
            }),
            Some(Fault::Short) => outcome.map(|body| body[..body.len() / 2].to_vec()),
            _ => outcome,
        }
    }

    fn artifacts(&mut self, method: &str, body: &[u8]) -> Outcome {
        match method {
            "get" => {
                let Get { reference, offset, limit } = rmp_serde::from_slice(body).unwrap();
                let blob = self.blobs.get(&reference);
                let blob = blob.ok_or_else(|| BusError::new(Code::NotFound, "no such artifact"))?;
                let end = blob.bytes.len().min(offset as usize + limit);
                let data = blob.bytes[offset as usize..end].to_vec();
                let (bytes, more) = (blob.bytes.len() as u64, end < blob.bytes.len());
                Ok(symphony_wire::body::write(&symphony_stale::archive::Got { data, bytes, more }))
            }
            "put" => {
                let Put { data } = rmp_serde::from_slice(body).unwrap();
                let (reference, bytes) = (Reference::of(&data), data.len());
                self.store(reference, data, None);
                reply(&json!({"ref": reference.to_string(), "bytes": bytes, "new": true}))
            }
            _ => {
                let body: Value = rmp_serde::from_slice(body).unwrap();
                self.curated(method, &body)
            }
        }
    }

    fn curated(&mut self, method: &str, body: &Value) -> Outcome {
        let day = self.day;
        match method {
            "stat" => {
                let known = refs(&body["refs"]);
                if known.iter().any(|it| !self.blobs.contains_key(it)) {
                    return Err(BusError::new(Code::NotFound, "there is no such artifact"));
                }
                reply(&json!({"artifacts": known.iter().map(|it| json!({"ref": it.to_string()}))
                    .collect::<Vec<Value>>()}))
            }
            "list" => {
                let from: usize = body["after"].as_str().map_or(0, |it| it.parse().unwrap());
                let entries: Vec<&Value> =
                    self.blobs.values().flat_map(|blob| blob.entries.iter()).collect();
                // Small pages, so that there are several.
                let page: Vec<&Value> = entries.iter().skip(from).take(7).copied().collect();
                let mut listed = json!({"artifacts": page});
                if from + 7 < entries.len() {
                    listed["next"] = json!((from + 7).to_string());
                }
                reply(&listed)
            }
            "mark" => {
                let mut marked = 0;
                for reference in refs(&body["refs"]) {
                    if let Some(blob) = self.blobs.get_mut(&reference) {
                        if day - blob.put >= GRACE {
                            blob.marked.get_or_insert(day);
                            marked += 1;
                        }
                    }
                }
                reply(&json!({"marked": marked}))
            }
            "unmark" => {
                for reference in refs(&body["refs"]) {
                    if let Some(blob) = self.blobs.get_mut(&reference) {
                        blob.marked = None;
                    }
                }
                reply(&json!({}))
            }
            "sweep" => self.sweep(body),
            "pack" => reply(&json!({"packed": refs(&body["refs"]).iter().map(|it|
                json!({"ref": it.to_string(), "bytes": 1})).collect::<Vec<_>>()})),
            other => panic!("the store was asked {other}"),
        }
    }

    fn sweep(&mut self, body: &Value) -> Outcome {
        let (mut freed, mut revived) = (vec![], vec![]);
        let proofs = body["proofs"].as_array().unwrap().clone();
        for reference in refs(&body["refs"]) {
            let name = reference.to_string();
            let cited = proofs.iter().find(|it| it["ref"] == *name);
            let cited = cited.unwrap_or_else(|| panic!("{name} is swept without a reason"));
            let Some(blob) = self.blobs.get(&reference) else {
                freed.push(json!({"ref": name, "bytes": 0}));
                continue;
            };
            let Some(marked) = blob.marked else {
                revived.push(json!(name));
                continue;
            };
            if self.day - marked < GRACE {
                continue;
            }
            let blob = blob.clone();
            self.must_be_free(&reference, &blob, cited);
            freed.push(json!({"ref": name, "bytes": blob.bytes.len()}));
            if cited.get("proof").is_none() {
                self.deleted.insert(reference);
            }
            self.blobs.remove(&reference);
            self.swept.insert(reference, blob);
            self.sweeps += 1;
        }
        reply(&json!({"freed": freed, "revived": revived}))
    }

    /// Every rule that a deletion must keep, independent of how the curator sees it.
    fn must_be_free(&self, reference: &Reference, blob: &Blob, cited: &Value) {
        assert!(!self.safe.contains(reference), "{reference} is pinned or held");
        assert!(self.day - blob.put >= 1, "{reference} is too young");
        for (run, (state, inputs)) in &self.runs {
            if state != "open" {
                continue;
            }
            assert!(!inputs.contains(reference), "{reference} is needed by {run}");
            let made = blob.entries.iter().any(|entry| entry["made"]["run"] == **run);
            assert!(!made, "{reference} was made by {run}, which is open");
        }
        for (folder, holder) in self.blobs.iter().filter(|(_, it)| it.folder) {
            let inside = Reference::all_in(&holder.bytes).any(|part| part == *reference);
            assert!(!inside, "{reference} is in {folder}, which is there");
        }
        match cited.get("proof") {
            Some(proof) => {
                assert_eq!(proof["hash"], reference.to_string());
                assert_eq!(
                    self.archived(reference).as_ref(),
                    Some(&blob.bytes),
                    "{reference} is lost"
                );
            }
            None => {
                let pressure = &cited["pressure"];
                let number = |field: &str| pressure[field].as_u64().unwrap();
                assert!(number("used") * 10 > number("bytes") * 9, "{cited}");
                assert!(pressure["plan"].is_string());
            }
        }
    }

    /// What the archives have on their disks.
    pub fn archived(&self, reference: &Reference) -> Option<Vec<u8>> {
        let disks = [&self.built_in, &self.cold_disk];
        let bytes = disks.into_iter().flatten().map(|disk| disk.bytes(&reference.hex()));
        bytes.into_iter().find(|bytes| !bytes.is_empty())
    }

    fn dag(&mut self, method: &str, body: &[u8]) -> Outcome {
        let body: Value = rmp_serde::from_slice(body).unwrap();
        match method {
            "runs" => {
                let before = body["before"].as_str();
                let runs = self.runs.iter().rev();
                let left =
                    runs.skip_while(|(run, _)| before.is_some_and(|before| run.as_str() >= before));
                let page: Vec<Value> = left
                    .take(3)
                    .map(|(run, (state, _))| json!({"run": run, "state": state}))
                    .collect();
                reply(&json!({"runs": page}))
            }
            "state" => {
                let run = body["run"].as_str().unwrap();
                let (state, inputs) = &self.runs[run];
                let inputs: Vec<String> = inputs.iter().map(ToString::to_string).collect();
                let outputs = json!([{"id": "s", "outputs": {"x": {"deep": inputs}}}]);
                reply(&json!({"run": run, "state": state, "steps": outputs}))
            }
            other => panic!("the tracker was asked {other}"),
        }
    }

    /// Nothing is gone that was not deleted for want of room.
    pub fn nothing_is_lost(&self) {
        for (reference, blob) in &self.swept {
            let there = self.blobs.contains_key(reference) || self.deleted.contains(reference);
            assert!(
                there || self.archived(reference).as_ref() == Some(&blob.bytes),
                "{reference} is lost"
            );
        }
    }
}
