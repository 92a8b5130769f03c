//! `pit.artifacts/1` as a caller sees it: msgpack in, msgpack out, each reply after its flush.
#![allow(clippy::unwrap_used)] // A test ends where its helpers fail.

mod common;

use std::fs;

use symphony_artifacts::store::Options;
use symphony_artifacts::{ArtifactService, Reference};
use symphony_wire::reactor::{Now, Reactor};
use symphony_wire::service::{Answer, Call};
use symphony_wire::{BusError, Code, Value};
use tempfile::TempDir;

struct Caller {
    folder: TempDir,
    service: ArtifactService,
}

fn map(pairs: &[(&str, Value)]) -> Value {
    Value::Map(pairs.iter().map(|(key, value)| ((*key).into(), value.clone())).collect())
}

fn list(items: &[Value]) -> Value {
    Value::Array(items.to_vec())
}

fn bin(data: &[u8]) -> Value {
    Value::Binary(data.to_vec())
}

fn text(reference: &Reference) -> Value {
    reference.to_string().into()
}

fn at<'v>(value: &'v Value, path: &str) -> &'v Value {
    path.split('.').fold(value, |value, part| match part.parse::<usize>() {
        Ok(number) => &value[number],
        Err(_) => &value[part],
    })
}

impl Caller {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let service = ArtifactService::with(&store, Options::default()).unwrap();
        Self { folder, service }
    }

    fn call(&mut self, method: &str, arguments: &[(&str, Value)]) -> Result<Value, BusError> {
        let body = rmp_serde::to_vec_named(&map(arguments)).unwrap();
        let call = Call { capability: "pit.artifacts/1", method, body: &body };
        let outcome = match self.service.handle(call, Now::default()) {
            Answer::Now(outcome) => {
                let changes = ["put", "put_many", "collect"].contains(&method);
                assert!(!changes || outcome.is_err(), "{method} was answered before the flush");
                outcome
            }
            Answer::AfterFlush(outcome) => self.service.flush().and(outcome),
        };
        outcome.map(|body| rmp_serde::from_slice(&body).unwrap())
    }

    fn refused(&mut self, method: &str, arguments: &[(&str, Value)]) -> (Code, String) {
        let error = self.call(method, arguments).unwrap_err();
        (error.code, error.where_.unwrap_or_default())
    }

    fn put(&mut self, data: &[u8], more: &[(&str, Value)]) -> Value {
        let mut arguments = vec![("data", bin(data)), ("ts", "2026-01-01T00:00:00.000Z".into())];
        arguments.extend_from_slice(more);
        self.call("put", &arguments).unwrap()
    }

    fn path(&self, name: &str) -> (std::path::PathBuf, Value) {
        let path = self.folder.path().join(name);
        fs::create_dir(&path).unwrap();
        let value = path.to_str().unwrap().into();
        (path, value)
    }
}

#[test]
fn put_is_idempotent_and_adds_one_entry_for_the_same_name_and_lineage() {
    let mut caller = Caller::new();
    let reference = Reference::of(b"content");
    let made = map(&[("run", "r".into()), ("attempt", 2.into()), ("inputs", list(&[]))]);
    let about = [("name", "n".into()), ("media", "text/plain".into()), ("made", made.clone())];
    let reply = caller.put(b"content", &about);
    let expected = [("ref", text(&reference)), ("bytes", 7.into()), ("new", true.into())];
    assert_eq!(reply, map(&expected));
    assert_eq!(at(&caller.put(b"content", &about), "new"), &false.into());
    assert_eq!(at(&caller.put(b"content", &[("name", "other".into())]), "new"), &false.into());
    caller.put(b"content", &[]);
    let listed = caller.call("list", &[]).unwrap();
    let artifacts = at(&listed, "artifacts").as_array().unwrap();
    assert_eq!(artifacts.len(), 2);
    assert_eq!(at(&listed, "artifacts.0.name"), &"other".into());
    let expected = map(&[
        ("ref", text(&reference)),
        ("kind", "file".into()),
        ("bytes", 7.into()),
        ("media", "text/plain".into()),
        ("name", "n".into()),
        ("created", "2026-01-01T00:00:00.000Z".into()),
        ("made", made),
    ]);
    assert_eq!(artifacts[1], expected);
}

#[test]
fn put_many_is_all_or_none() {
    let mut caller = Caller::new();
    let item = |data: &[u8], name: &str| map(&[("data", bin(data)), ("name", name.into())]);
    let wrong = [item(b"a", "a"), item(b"b", &"x".repeat(2000))];
    let refused = caller.refused("put_many", &[("items", list(&wrong)), ("ts", "1".into())]);
    assert_eq!(refused, (Code::BadRequest, "name".to_owned()));
    let refs = list(&[text(&Reference::of(b"a"))]);
    assert_eq!(caller.refused("stat", &[("refs", refs.clone())]).0, Code::NotFound);
    let right = [item(b"a", "a"), item(b"b", "b"), item(b"a", "c")];
    let reply = caller.call("put_many", &[("items", list(&right)), ("ts", "1".into())]).unwrap();
    let new: Vec<_> = (0..3).map(|n| at(&reply, &format!("items.{n}.new")).clone()).collect();
    assert_eq!(new, [true.into(), true.into(), false.into()]);
    let stat = caller.call("stat", &[("refs", refs)]).unwrap();
    assert_eq!(at(&stat, "artifacts.0.name"), &"c".into());
}

#[test]
fn nothing_is_visible_before_the_flush() {
    let mut caller = Caller::new();
    let body = rmp_serde::to_vec_named(&map(&[("data", bin(b"x")), ("ts", "1".into())])).unwrap();
    let call = Call { capability: "pit.artifacts/1", method: "put", body: &body };
    assert!(matches!(caller.service.handle(call, Now::default()), Answer::AfterFlush(Ok(_))));
    let reference = [("ref", text(&Reference::of(b"x")))];
    assert_eq!(caller.refused("get", &reference).0, Code::NotFound);
    caller.service.flush().unwrap();
    assert_eq!(at(&caller.call("get", &reference).unwrap(), "data"), &bin(b"x"));
}

#[test]
fn get_pages_through_an_artifact() {
    let mut caller = Caller::new();
    let content = common::noise(1, 600_000);
    caller.put(&content, &[]);
    let reference = text(&Reference::of(&content));
    let first = caller.call("get", &[("ref", reference.clone())]).unwrap();
    assert_eq!(at(&first, "data"), &bin(&content[..262_144]));
    assert_eq!(
        (at(&first, "bytes"), at(&first, "kind"), at(&first, "more")),
        (&600_000.into(), &"file".into(), &true.into())
    );
    let rest = [("ref", reference.clone()), ("offset", 262_144.into()), ("limit", 500_000.into())];
    let rest = caller.call("get", &rest).unwrap();
    assert_eq!((at(&rest, "data"), at(&rest, "more")), (&bin(&content[262_144..]), &false.into()));
    for (field, value) in [("limit", 0), ("offset", 600_001)] {
        let arguments = [("ref", reference.clone()), (field, value.into())];
        assert_eq!(caller.refused("get", &arguments), (Code::BadRequest, field.to_owned()));
    }
}

#[test]
fn list_filters_and_pages_newest_first() {
    let mut caller = Caller::new();
    for number in 0..10 {
        let made = map(&[
            ("run", format!("run-{}", number % 2).into()),
            ("step", "s".into()),
            ("player", format!("p{}", number % 3).into()),
        ]);
        caller.put(&[number], &[("name", format!("n{number}").into()), ("made", made)]);
    }
    let names = |reply: &Value| -> Vec<String> {
        let artifacts = at(reply, "artifacts").as_array().unwrap();
        artifacts.iter().map(|info| info["name"].as_str().unwrap().to_owned()).collect()
    };
    let run = |run: &str| [("run", run.into()), ("limit", 2.into())].to_vec();
    let first = caller.call("list", &run("run-1")).unwrap();
    assert_eq!(names(&first), ["n9", "n7"]);
    let mut more = run("run-1");
    more.push(("after", at(&first, "next").clone()));
    let second = caller.call("list", &more).unwrap();
    assert_eq!(names(&second), ["n5", "n3"]);
    more[2].1 = at(&second, "next").clone();
    let third = caller.call("list", &more).unwrap();
    assert_eq!((names(&third), at(&third, "next")), (vec!["n1".to_owned()], &Value::Nil));
    let both = [("player", "p0".into()), ("run", "run-0".into()), ("step", "s".into())];
    assert_eq!(names(&caller.call("list", &both).unwrap()), ["n6", "n0"]);
    assert_eq!(names(&caller.call("list", &[("name", "n4".into())]).unwrap()), ["n4"]);
    assert!(names(&caller.call("list", &[("run", "run".into())]).unwrap()).is_empty());
    assert_eq!(caller.refused("list", &[("after", "x".into())]).1, "after");
}

#[test]
fn a_folder_is_collected_listed_and_staged() {
    let mut caller = Caller::new();
    let (outbox, outbox_value) = caller.path("outbox");
    fs::create_dir_all(outbox.join("src/inner")).unwrap();
    fs::write(outbox.join("src/b.txt"), "bb").unwrap();
    fs::write(outbox.join("src/inner/a.txt"), "a").unwrap();
    fs::write(outbox.join("report"), "fine").unwrap();
    let item = |name: &str, path: &str| map(&[("name", name.into()), ("path", path.into())]);
    let arguments = [
        ("folder", outbox_value),
        ("items", list(&[item("sources", "src"), item("report", "report")])),
        ("made", map(&[("run", "r".into())])),
        ("ts", "1".into()),
    ];
    let reply = caller.call("collect", &arguments).unwrap();
    let again = caller.call("collect", &arguments).unwrap();
    for (field, expected) in [
        ("0.name", "sources".into()),
        ("0.kind", "folder".into()),
        ("0.bytes", Value::from(3)),
        ("0.files", 2.into()),
        ("0.new", true.into()),
        ("1.kind", "file".into()),
        ("1.files", 1.into()),
        ("1.ref", text(&Reference::of(b"fine"))),
    ] {
        assert_eq!(at(&reply, &format!("items.{field}")), &expected, "{field}");
    }
    assert_eq!(at(&again, "items.0.new"), &false.into());
    let folder = at(&reply, "items.0.ref").clone();
    let listing = caller.call("listing", &[("ref", folder.clone())]).unwrap();
    let file = |path: &str, data: &[u8]| {
        map(&[
            ("path", path.into()),
            ("mode", 0o644.into()),
            ("ref", text(&Reference::of(data))),
            ("bytes", data.len().into()),
        ])
    };
    let expected = list(&[file("b.txt", b"bb"), file("inner/a.txt", b"a")]);
    assert_eq!(at(&listing, "files"), &expected);
    let content = caller.call("get", &[("ref", folder.clone())]).unwrap();
    let bytes = at(&content, "data").as_slice().unwrap();
    assert!(bytes.starts_with(b"symphony-folder 1\x92\x94\xa5b.txt"));
    assert_eq!(text(&Reference::of(bytes)), folder);

    let (inbox, inbox_value) = caller.path("inbox");
    let item = |reference: Value, path: &str| map(&[("ref", reference), ("path", path.into())]);
    let items = list(&[
        item(folder, "deep/sources"),
        item(text(&Reference::of(b"fine")), "deep/report.txt"),
    ]);
    let arguments = [("folder", inbox_value), ("items", items)];
    let staged = caller.call("stage", &arguments).unwrap();
    assert_eq!(at(&staged, "items.0.bytes"), &3.into());
    assert_eq!(at(&staged, "items.1.kind"), &"file".into());
    assert_eq!(fs::read(inbox.join("deep/sources/inner/a.txt")).unwrap(), b"a");
    assert_eq!(caller.refused("stage", &arguments), (Code::Conflict, "deep/sources".to_owned()));
}

#[test]
fn a_file_that_looks_like_a_listing_stays_a_file() {
    let mut caller = Caller::new();
    let listing = b"symphony-folder 1\x90";
    caller.put(listing, &[]);
    let reference = [("ref", text(&Reference::of(listing)))];
    assert_eq!(at(&caller.call("get", &reference).unwrap(), "kind"), &"file".into());
    assert_eq!(caller.refused("listing", &reference).0, Code::BadRequest);
}

#[test]
fn wrong_arguments_are_refused_by_place() {
    let mut caller = Caller::new();
    let good = text(&Reference::of(b"never put"));
    let item = map(&[("ref", good.clone()), ("path", "../x".into())]);
    let stage =
        |folder: &str| [("folder", folder.into()), ("items", list(std::slice::from_ref(&item)))];
    for (method, arguments, code, place) in [
        ("get", vec![("ref", "blake3:12".into())], Code::BadRequest, "ref"),
        ("get", vec![("ref", good.clone())], Code::NotFound, good.as_str().unwrap()),
        ("put", vec![("data", bin(b"x"))], Code::BadRequest, "arguments"),
        ("put", vec![("data", 5.into()), ("ts", "1".into())], Code::BadRequest, "data"),
        ("stage", stage("/tmp").to_vec(), Code::BadRequest, "items[0].path"),
        ("purge", vec![], Code::BadRequest, "method"),
    ] {
        assert_eq!(caller.refused(method, &arguments), (code, place.to_owned()), "{method}");
    }
    let item = map(&[("ref", good), ("path", "x".into())]);
    for (folder, code) in [("tmp", Code::BadRequest), ("/no/such/folder", Code::NotFound)] {
        let arguments = [("folder", folder.into()), ("items", list(std::slice::from_ref(&item)))];
        assert_eq!(caller.refused("stage", &arguments).0, code);
    }
}

#[test]
fn verify_counts_everything() {
    let mut caller = Caller::new();
    caller.put(b"one", &[]);
    caller.put(b"three", &[]);
    let expected = map(&[("blobs", 2.into()), ("bytes", 8.into()), ("bad", list(&[]))]);
    assert_eq!(caller.call("verify", &[]).unwrap(), expected);
}
