//! Marks, grace and sweeps: what is used in between stays, what goes cites why, and comes back as it was.
#![allow(clippy::unwrap_used)] // A test ends where its helpers fail.

mod common;

use std::fs;

use common::caller::{bin, hex, ts, Caller};
use common::noise;
use serde_json::{json, Value as Json};
use symphony_artifacts::store::Options;
use symphony_artifacts::Reference;
use symphony_wire::Code;

fn mark(caller: &mut Caller, refs: &[&str], day: u64) -> Json {
    caller.ok("mark", json!({"refs": refs, "why": "old", "ts": ts(day, 0)}))["marked"].clone()
}

fn sweep(caller: &mut Caller, reference: &str, bytes: usize, day: u64) -> Json {
    let proofs = [Caller::proof(reference, bytes)];
    caller.ok("sweep", json!({"refs": [reference], "proofs": proofs, "ts": ts(day, 0)}))
}

fn nothing() -> Json {
    json!({"freed": [], "revived": []})
}

fn freed(reference: &str, bytes: usize) -> Json {
    json!({"freed": [{"ref": reference, "bytes": bytes}], "revived": []})
}

fn revived(reference: &str) -> Json {
    json!({"freed": [], "revived": [reference]})
}

fn listed(caller: &mut Caller) -> usize {
    caller.ok("list", json!({}))["artifacts"].as_array().unwrap().len()
}

#[test]
fn what_is_marked_goes_only_after_its_grace_and_is_then_not_listed() {
    let mut caller = Caller::new();
    let kept = caller.put(b"kept", "n", 0);
    let old = caller.put(b"old", "n", 0);
    assert_eq!(mark(&mut caller, &[&old], 0), json!(0), "it was put within the grace");
    assert_eq!(
        mark(
            &mut caller,
            &[&old, &"blake3:".to_owned().replace(':', &format!(":{}", "0".repeat(64)))],
            1
        ),
        json!(1)
    );
    assert_eq!(mark(&mut caller, &[&old], 1), json!(1));
    let early = json!({"refs": [old], "proofs": [Caller::proof(&old, 3)],
        "ts": ts(1, 86_399_999)});
    assert_eq!(caller.ok("sweep", early), nothing());
    // Marked again it keeps its first time, after a restart too.
    let mut caller = caller.reopen(Options::default());
    assert_eq!(mark(&mut caller, &[&old], 2), json!(1));
    assert_eq!(sweep(&mut caller, &old, 3, 2), freed(&old, 3));
    assert_eq!(sweep(&mut caller, &old, 3, 2), freed(&old, 0));
    assert_eq!(caller.refused("get", json!({"ref": old})).0, Code::NotFound);
    assert_eq!(caller.refused("stat", json!({"refs": [old]})).0, Code::NotFound);
    assert_eq!(listed(&mut caller), 1);
    assert_eq!(caller.ok("verify", json!({})), json!({"blobs": 1, "bytes": 4, "bad": []}));
    let (blobs, _) = common::files(&caller.store());
    assert_eq!(blobs.len(), 1);
    assert_eq!(caller.get(&kept).unwrap(), b"kept");
}

#[test]
fn whatever_uses_a_marked_content_takes_its_mark() {
    let mut caller = Caller::new();
    let outbox = caller.make("outbox");
    fs::write(outbox.join("f"), "content").unwrap();
    let reference = caller.put(b"content", "n", 0);
    let data = bin(b"content");
    let staged =
        json!({"folder": caller.make("inbox"), "items": [{"ref": reference, "path": "p"}]});
    let upload = json!({"ref": reference, "bytes": 7, "ts": ts(0, 0)});
    for (number, (method, arguments)) in [
        ("put", json!({"data": data, "ts": ts(0, 0)})),
        ("put_many", json!({"items": [{"data": data}], "ts": ts(0, 0)})),
        (
            "collect",
            json!({"folder": outbox, "items": [{"name": "f", "path": "f"}], "ts": ts(0, 0)}),
        ),
        ("stage", staged),
        ("unmark", json!({"refs": [reference], "ts": ts(0, 0)})),
        ("commit", upload),
    ]
    .into_iter()
    .enumerate()
    {
        let day = 10 * number as u64 + 10;
        assert_eq!(mark(&mut caller, &[&reference], day), json!(1));
        if method == "commit" {
            let upload = caller.ok("begin", arguments)["upload"].clone();
            caller.ok("part", json!({"upload": upload, "offset": 0, "data": data}));
            caller.ok("commit", json!({"upload": upload}));
        } else {
            caller.ok(method, arguments);
        }
        assert_eq!(sweep(&mut caller, &reference, 7, day + 5), revived(&reference), "{method}");
    }
    assert_eq!(mark(&mut caller, &[&reference], 100), json!(1));
    caller.get(&reference).unwrap();
    caller.ok("stat", json!({"refs": [reference]}));
    caller.ok("list", json!({}));
    assert_eq!(
        sweep(&mut caller, &reference, 7, 101),
        freed(&reference, 7),
        "reading keeps nothing"
    );
}

#[test]
fn a_put_that_waits_for_its_flush_revives_what_is_swept_meanwhile() {
    use symphony_wire::reactor::Reactor;
    use symphony_wire::service::{Answer, Call};
    let mut caller = Caller::new();
    let large = noise(7, 1_500_000);
    let outbox = caller.make("outbox");
    fs::write(outbox.join("f"), &large).unwrap();
    let collect = json!({"folder": outbox, "items": [{"name": "f", "path": "f"}], "ts": ts(0, 0)});
    let small = caller.put(b"raced for", "n", 0);
    caller.ok("collect", collect.clone());
    let whole = Reference::of(&large).to_string();
    assert_eq!(mark(&mut caller, &[&small, &whole], 1), json!(2));
    // Both calls wait on the socket: the sweep comes before the flush that the puts wait for.
    for (method, arguments) in
        [("put", json!({"data": bin(b"raced for"), "ts": ts(5, 0)})), ("collect", collect)]
    {
        let body = rmp_serde::to_vec_named(&common::caller::from_json(&arguments)).unwrap();
        let call = Call { capability: "pit.artifacts/1", method, body: &body };
        assert!(matches!(caller.service.handle(call, caller.now), Answer::AfterFlush(Ok(_))));
    }
    assert_eq!(sweep(&mut caller, &small, 9, 5), revived(&small));
    assert_eq!(sweep(&mut caller, &whole, large.len(), 5), revived(&whole));
    caller.service.flush().unwrap();
    let mut caller = caller.reopen(Options::default());
    assert_eq!(caller.get(&small).unwrap(), b"raced for");
    assert_eq!(caller.get(&whole).unwrap(), large);
}

#[test]
fn a_folder_that_is_used_keeps_its_files() {
    let mut caller = Caller::new();
    let outbox = caller.make("outbox");
    fs::create_dir(outbox.join("d")).unwrap();
    fs::write(outbox.join("d/f"), "file").unwrap();
    let collect = json!({"folder": outbox, "items": [{"name": "d", "path": "d"}], "ts": ts(0, 0)});
    let folder = caller.ok("collect", collect)["items"][0]["ref"].as_str().unwrap().to_owned();
    let file = Reference::of(b"file").to_string();
    let listing = caller.get(&folder).unwrap();
    for (day, put) in [(10, false), (20, true)] {
        assert_eq!(mark(&mut caller, &[&folder, &file], day), json!(2));
        if put {
            caller.ok("put", json!({"data": bin(&listing), "ts": ts(0, 0)}));
        } else {
            let inbox = caller.make("inbox");
            caller.ok("stage", json!({"folder": inbox, "items": [{"ref": folder, "path": "d"}]}));
        }
        assert_eq!(sweep(&mut caller, &folder, listing.len(), day + 5), revived(&folder));
        assert_eq!(sweep(&mut caller, &file, 4, day + 5), revived(&file));
    }
    // Swept and put again by its listing it is a folder as before.
    mark(&mut caller, &[&folder], 30);
    assert_eq!(sweep(&mut caller, &folder, listing.len(), 31), freed(&folder, listing.len()));
    caller.ok("put", json!({"data": bin(&listing), "ts": ts(31, 0)}));
    let info = caller.ok("stat", json!({"refs": [folder]}))["artifacts"][0].clone();
    assert_eq!(
        (&info["kind"], &info["name"], &info["files"]),
        (&json!("folder"), &json!("d"), &json!(1))
    );
}

#[test]
fn what_was_swept_and_put_again_is_what_it_was() {
    let mut caller = Caller::new();
    let made = json!({"run": "r", "step": "s", "player": "p"});
    let put = |ts: String| {
        json!({"data": bin(b"some words"), "name": "n", "media": "text/plain",
        "made": made, "ts": ts})
    };
    caller.ok("put", put(ts(0, 0)));
    let reference = Reference::of(b"some words").to_string();
    caller.ok("tag", json!({"ref": reference, "add": ["good"], "ts": ts(0, 0)}));
    caller.ok("score", json!({"ref": reference, "semantics": 900, "ts": ts(0, 0)}));
    let before = caller.ok("list", json!({"run": "r"}));
    let found = caller.ok("search", json!({"text": "words"}));
    assert_eq!(found["artifacts"].as_array().unwrap().len(), 1);
    mark(&mut caller, &[&reference], 1);
    assert_eq!(sweep(&mut caller, &reference, 10, 2), freed(&reference, 10));
    for (method, arguments) in [
        ("list", json!({"run": "r"})),
        ("search", json!({"text": "words"})),
        ("search", json!({"tag": "good"})),
    ] {
        assert_eq!(caller.ok(method, arguments)["artifacts"], json!([]), "{method}");
    }
    let versions = caller.ok("versions", json!({"name": "n"}))["versions"].clone();
    assert_eq!((&versions[0]["version"], &versions[0]["there"]), (&json!(1), &json!(false)));
    let mut caller = caller.reopen(Options::default());
    let again = caller.ok("put", json!({"data": bin(b"some words"), "ts": ts(9, 0)}));
    assert_eq!(again["new"], true);
    assert_eq!(caller.ok("list", json!({"run": "r"})), before);
    assert_eq!(caller.ok("search", json!({"text": "words"})), found);
    assert_eq!(mark(&mut caller, &[&reference], 9), json!(0), "it was put within the grace");
}

#[test]
fn a_sweep_without_a_good_reason_frees_nothing() {
    let mut caller = Caller::new();
    let one = caller.put(b"one", "n", 0);
    let two = caller.put(b"twoo", "n", 0);
    mark(&mut caller, &[&one, &two], 1);
    let good = Caller::proof(&one, 3);
    let mut other_hash = Caller::proof(&two, 4);
    other_hash["proof"]["hash"] = json!(one);
    let pressure = |plan: &str, used: u64| {
        json!({"ref": two,
        "pressure": {"plan": plan, "used": used, "bytes": 1, "value": 0}})
    };
    let mut both = Caller::proof(&two, 4);
    both["pressure"] = pressure("p", 1)["pressure"].clone();
    for bad in [
        Caller::proof(&two, 5),
        other_hash,
        json!({"ref": two}),
        both,
        pressure("", 9),
        pressure("p", 0),
        Caller::proof(&one, 3),
    ] {
        let proofs = [good.clone(), bad.clone()];
        let refused =
            caller.refused("sweep", json!({"refs": [one, two], "proofs": proofs, "ts": ts(9, 0)}));
        assert_eq!(refused, (Code::BadRequest, two.clone()), "{bad}");
    }
    assert_eq!(listed(&mut caller), 2);
    let proofs = [good, pressure("p-1", 9)];
    let swept = caller.ok("sweep", json!({"refs": [one, two], "proofs": proofs, "ts": ts(9, 0)}));
    assert_eq!(swept["freed"].as_array().unwrap().len(), 2);
}

#[test]
fn a_clock_that_is_none_or_goes_back_deletes_nothing() {
    let mut caller = Caller::new();
    let timeless = json!({"data": bin(b"timeless"), "name": "n", "ts": "yesterday"});
    let reference = caller.ok("put", timeless)["ref"].as_str().unwrap().to_owned();
    assert_eq!(mark(&mut caller, &[&reference], 1_000), json!(0));
    let other = caller.put(b"other", "n", 100);
    assert_eq!(mark(&mut caller, &[&other], 50), json!(0));
    assert_eq!(mark(&mut caller, &[&other], 200), json!(1));
    assert_eq!(sweep(&mut caller, &other, 5, 100), nothing());
    let arguments = json!({"refs": [other], "why": "w", "ts": "now"});
    assert_eq!(caller.refused("mark", arguments), (Code::BadRequest, "ts".to_owned()));
}

#[test]
fn the_grace_is_configured_and_kept() {
    let mut caller = Caller::new();
    let digest = caller.ok("configure", json!({"grace_s": 3600}))["digest"].clone();
    assert_eq!(caller.ok("configure", json!({"grace_s": 3600}))["digest"], digest);
    let mut caller = caller.reopen(Options::default());
    let reference = caller.put(b"x", "n", 0);
    let at = |ms| ts(0, ms);
    let marked = |ms| json!({"refs": [reference], "why": "w", "ts": at(ms)});
    assert_eq!(caller.ok("mark", marked(3_599_999))["marked"], 0);
    assert_eq!(caller.ok("mark", marked(3_600_000))["marked"], 1);
    let swept =
        |ms| json!({"refs": [reference], "proofs": [Caller::proof(&reference, 1)], "ts": at(ms)});
    assert_eq!(caller.ok("sweep", swept(7_199_999)), nothing());
    assert_eq!(caller.ok("sweep", swept(7_200_000)), freed(&reference, 1));
    for bad in [0, 31_536_001] {
        let refused = caller.refused("configure", json!({"grace_s": bad}));
        assert_eq!(refused, (Code::BadRequest, "grace_s".to_owned()));
    }
}

#[test]
fn an_upload_is_nothing_until_it_is_whole_and_right() {
    for length in [0usize, 5, 1 << 20, 2_300_000] {
        let mut caller = Caller::new();
        let content = noise(3, length);
        let reference = Reference::of(&content).to_string();
        let begin = json!({"ref": reference, "bytes": length, "name": "up"});
        let upload = caller.ok("begin", begin.clone())["upload"].clone();
        let part = |offset: usize, data: &[u8]| json!({"upload": upload, "offset": offset, "data": bin(data)});
        for (number, data) in content.chunks(1 << 20).enumerate() {
            let offset = number << 20;
            caller.ok("part", part(offset, data));
            caller.ok("part", part(offset, data));
            if data.len() > 1 {
                let refused = caller.refused("part", part(offset, &data[1..]));
                assert_eq!(refused, (Code::Conflict, "offset".to_owned()));
            }
            if offset + data.len() < length {
                let refused = caller.refused("commit", json!({"upload": upload}));
                assert_eq!(refused, (Code::BadRequest, "upload".to_owned()));
            }
            assert_eq!(caller.refused("get", json!({"ref": reference})).0, Code::NotFound);
        }
        let refused = caller.refused("part", part(length, b"x"));
        assert_eq!(refused, (Code::BadRequest, "data".to_owned()));
        for _ in 0..2 {
            let reply = caller.ok("commit", json!({"upload": upload}));
            assert_eq!(reply, json!({"ref": reference, "bytes": length}));
        }
        assert_eq!(caller.get(&reference).unwrap(), content);
        assert_eq!(caller.ok("stat", json!({"refs": [reference]}))["artifacts"][0]["name"], "up");
        if length > 0 {
            // Other bytes than the reference says.
            let mut wrong = content.clone();
            wrong[length - 1] ^= 1;
            let begin = json!({"ref": Reference::of(b"?").to_string(), "bytes": length});
            let upload = caller.ok("begin", begin)["upload"].clone();
            for (number, data) in wrong.chunks(1 << 20).enumerate() {
                caller.ok(
                    "part",
                    json!({"upload": upload, "offset": number << 20, "data": bin(data)}),
                );
            }
            assert_eq!(caller.refused("commit", json!({"upload": upload})).0, Code::BadRequest);
            assert_eq!(caller.refused("commit", json!({"upload": upload})).0, Code::NotFound);
        }
        let (_, tmp) = common::files(&caller.store());
        assert!(tmp.is_empty(), "{tmp:?}");
    }
}

#[test]
fn more_uploads_than_eight_drop_the_first() {
    let mut caller = Caller::new();
    let reference = Reference::of(b"x").to_string();
    let begin = json!({"ref": reference, "bytes": 1});
    let uploads: Vec<Json> =
        (0..9).map(|_| caller.ok("begin", begin.clone())["upload"].clone()).collect();
    let part = |upload: &Json| json!({"upload": upload, "offset": 0, "data": {"$bin": hex(b"x")}});
    assert_eq!(caller.refused("part", part(&uploads[0])).0, Code::NotFound);
    caller.ok("part", part(&uploads[1]));
    caller.ok("commit", json!({"upload": uploads[1]}));
    assert_eq!(caller.refused("part", part(&json!("upload-x"))).0, Code::BadRequest);
}

#[test]
fn packing_makes_smaller_and_loses_nothing() {
    let mut caller = Caller::new();
    let line =
        |number: u64| format!("line {number} of a log, {} and {}\n", number * number, number * 31);
    let text: String = (0..1_000).map(line).collect();
    let long: String = (0..26_000).map(line).collect();
    let small = caller.put(text.as_bytes(), "small", 0);
    let large = caller.put(long.as_bytes(), "large", 0);
    let noise = noise(1, 50_000);
    let dense = caller.put(&noise, "dense", 0);
    let stored = |caller: &Caller| -> u64 {
        let (blobs, _) = common::files(&caller.store());
        blobs
            .iter()
            .chain(&common::chunk_files(&caller.store()))
            .map(|it| fs::metadata(it).unwrap().len())
            .sum()
    };
    let before = stored(&caller);
    let packed = caller.ok("pack", json!({"refs": [small, large, dense], "ts": ts(0, 0)}));
    let after = stored(&caller);
    assert!(after < before, "{before} → {after}");
    let told: u64 =
        packed["packed"].as_array().unwrap().iter().map(|it| it["bytes"].as_u64().unwrap()).sum();
    assert_eq!(told, after);
    let mut caller = caller.reopen(Options::default());
    assert_eq!(caller.get(&small).unwrap(), text.as_bytes());
    assert_eq!(caller.get(&large).unwrap(), long.as_bytes());
    assert_eq!(caller.get(&dense).unwrap(), noise);
    assert_eq!(caller.put(text.as_bytes(), "again", 0), small);
    assert_eq!(stored(&caller), after, "what is packed is met again");
}
