//! A store as a caller sees it: msgpack in, msgpack out, each reply after its flush; JSON for msgpack, where bytes
//! are `{"$bin": HEX}`.

use std::path::{Path, PathBuf};

use serde_json::{json, Value as Json};
use symphony_artifacts::store::Options;
use symphony_artifacts::{ArtifactService, Reference};
use symphony_wire::reactor::{CallId, Effect, Effects, Now, Reactor};
use symphony_wire::service::{Answer, Call, Outcome};
use symphony_wire::{BusError, Code, Value};
use tempfile::TempDir;

/// Methods whose good answers wait for a flush.
pub const DURABLE: [&str; 14] = [
    "put",
    "put_many",
    "commit",
    "collect",
    "configure",
    "mark",
    "unmark",
    "pack",
    "rotate",
    "tag",
    "score",
    "use",
    "sweep",
    "begin",
];

pub struct Caller {
    pub folder: TempDir,
    pub service: ArtifactService,
    pub now: Now,
    calls: CallId,
}

/// Who is answered, and what.
fn answers(out: &mut Effects) -> Vec<(CallId, Outcome)> {
    let effects = out.take_now().into_iter();
    effects
        .map(|effect| match effect {
            Effect::Answer { call, outcome } => (call, outcome),
            other => panic!("{other:?}"),
        })
        .collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

pub fn bin(bytes: &[u8]) -> Json {
    json!({"$bin": hex(bytes)})
}

pub fn from_json(value: &Json) -> Value {
    match value {
        Json::Null => Value::Nil,
        Json::Bool(value) => (*value).into(),
        Json::Number(number) => match number.as_u64() {
            Some(number) => number.into(),
            None => number.as_i64().unwrap().into(),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => Value::Array(items.iter().map(from_json).collect()),
        Json::Object(map) => match map.get("$bin") {
            Some(Json::String(hex)) => Value::Binary(unhex(hex)),
            _ => {
                let pair = |(key, value): (&String, &Json)| (key.as_str().into(), from_json(value));
                Value::Map(map.iter().map(pair).collect())
            }
        },
    }
}

pub fn to_json(value: &Value) -> Json {
    match value {
        Value::Nil => Json::Null,
        Value::Boolean(value) => json!(value),
        Value::Integer(number) => match number.as_u64() {
            Some(number) => json!(number),
            None => json!(number.as_i64()),
        },
        Value::String(text) => json!(text.as_str()),
        Value::Binary(bytes) => bin(bytes),
        Value::Array(items) => Json::Array(items.iter().map(to_json).collect()),
        Value::Map(pairs) => Json::Object(
            pairs
                .iter()
                .map(|(key, value)| (key.as_str().unwrap().to_owned(), to_json(value)))
                .collect(),
        ),
        other => panic!("{other:?}"),
    }
}

/// `day` days and `ms` milliseconds after 2026 began.
pub fn ts(day: u64, ms: u64) -> String {
    symphony_member::instant::write((1_767_225_600_000 + day * 86_400_000 + ms) as i64)
}

pub fn open(path: &Path, options: Options) -> ArtifactService {
    ArtifactService::with(path, options).unwrap()
}

impl Caller {
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let service = open(&folder.path().join("store"), options);
        Self { folder, service, now: Now { mono_ms: 0, wall_ms: 1_767_225_600_000 }, calls: 0 }
    }

    pub fn reopen(self, options: Options) -> Self {
        let Self { folder, service, now, calls } = self;
        drop(service);
        let service = open(&folder.path().join("store"), options);
        Self { folder, service, now, calls }
    }

    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// A new empty folder beside the store.
    pub fn make(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    }

    /// Asks for a copy; tells what it is answered at once.
    pub fn begin_backup(&mut self, arguments: &Json) -> Option<Result<Json, BusError>> {
        let body = rmp_serde::to_vec_named(&from_json(arguments)).unwrap();
        let call = Call { capability: "pit.artifacts/1", method: "backup", body: &body };
        let mut out = Effects::default();
        self.service.call(self.calls, call, self.now, &mut out);
        self.calls += 1;
        let (_, answer) = answers(&mut out).pop()?;
        Some(answer.map(|body| to_json(&rmp_serde::from_slice(&body).unwrap())))
    }

    /// Lets time pass until the copy has ended; all who hear of it.
    pub fn end_backup(&mut self) -> Vec<(CallId, Result<Json, BusError>)> {
        loop {
            let at = self.service.wakeup().unwrap();
            self.now.mono_ms = self.now.mono_ms.max(at);
            let mut out = Effects::default();
            self.service.tick(self.now, &mut out);
            let answers = answers(&mut out);
            if !answers.is_empty() {
                let json = |body: Vec<u8>| to_json(&rmp_serde::from_slice(&body).unwrap());
                return answers.into_iter().map(|(id, answer)| (id, answer.map(json))).collect();
            }
            std::thread::yield_now();
        }
    }

    pub fn backup(&mut self, id: &str, to: &Path) -> Result<Json, BusError> {
        match self.begin_backup(&json!({"id": id, "to": to})) {
            Some(answer) => answer,
            None => self.end_backup().remove(0).1,
        }
    }

    pub fn raw(&mut self, method: &str, body: &[u8]) -> Outcome {
        if method == "backup" {
            let arguments = to_json(&rmp_serde::from_slice(body).unwrap());
            let answer = self.begin_backup(&arguments);
            let answer = answer.unwrap_or_else(|| self.end_backup().remove(0).1);
            return answer.map(|reply| rmp_serde::to_vec_named(&from_json(&reply)).unwrap());
        }
        let call = Call { capability: "pit.artifacts/1", method, body };
        match self.service.handle(call, self.now) {
            Answer::Now(outcome) => {
                let late = DURABLE.contains(&method) && !["sweep", "begin"].contains(&method);
                assert!(!late || outcome.is_err(), "{method} was answered before the flush");
                outcome
            }
            Answer::AfterFlush(outcome) => self.service.flush().and(outcome),
        }
    }

    pub fn call(&mut self, method: &str, arguments: &Json) -> Result<Json, BusError> {
        let body = rmp_serde::to_vec_named(&from_json(arguments)).unwrap();
        self.raw(method, &body).map(|body| to_json(&rmp_serde::from_slice(&body).unwrap()))
    }

    pub fn ok(&mut self, method: &str, arguments: Json) -> Json {
        match self.call(method, &arguments) {
            Ok(reply) => reply,
            Err(error) => panic!("{method} {arguments}: {error}"),
        }
    }

    pub fn refused(&mut self, method: &str, arguments: Json) -> (Code, String) {
        match self.call(method, &arguments) {
            Ok(reply) => panic!("{method} {arguments} gave {reply}"),
            Err(error) => (error.code, error.where_.unwrap_or_default()),
        }
    }

    pub fn put(&mut self, data: &[u8], name: &str, day: u64) -> String {
        let arguments = json!({"data": bin(data), "name": name, "ts": ts(day, 0)});
        let reference = self.ok("put", arguments)["ref"].as_str().unwrap().to_owned();
        assert_eq!(reference, Reference::of(data).to_string());
        reference
    }

    pub fn get(&mut self, reference: &str) -> Result<Vec<u8>, BusError> {
        let mut content = Vec::new();
        loop {
            let reply = self.call("get", &json!({"ref": reference, "offset": content.len()}))?;
            content.extend(unhex(reply["data"]["$bin"].as_str().unwrap()));
            if reply["more"] == false {
                return Ok(content);
            }
        }
    }

    /// What a sweep cites for a content.
    pub fn proof(reference: &str, bytes: usize) -> Json {
        json!({"ref": reference, "proof": {"number": 1, "ref": reference, "bytes": bytes,
            "place": "built-in", "archived": "x", "read_back": "x", "hash": reference, "runs": []}})
    }
}
