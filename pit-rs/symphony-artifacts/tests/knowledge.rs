//! What the store knows beside bytes: versions, differences, lineage, tags, quality, words, and who asked.
#![allow(clippy::unwrap_used)] // A test ends where its helpers fail.

mod common;

use common::caller::{bin, ts, Caller};
use serde_json::{json, Value as Json};
use symphony_artifacts::store::Options;
use symphony_artifacts::Reference;
use symphony_wire::reactor::{Effects, Now, Reactor};
use symphony_wire::Code;

fn names(reply: &Json) -> Vec<String> {
    let artifacts = reply["artifacts"].as_array().unwrap();
    artifacts.iter().map(|info| info["name"].as_str().unwrap_or("-").to_owned()).collect()
}

fn made(caller: &mut Caller, data: &str, name: &str, step: &str, inputs: &[&str]) -> String {
    let made = json!({"run": "r-1", "step": step, "attempt": 1, "player": format!("p-{step}"),
        "version": "1.0", "inputs": inputs});
    let put = json!({"data": bin(data.as_bytes()), "name": name, "made": made, "ts": ts(0, 0)});
    caller.ok("put", put)["ref"].as_str().unwrap().to_owned()
}

#[test]
fn other_bytes_under_a_name_are_its_next_version() {
    let mut caller = Caller::new();
    for (number, data) in ["a", "a", "b", "a", "a"].iter().enumerate() {
        made(&mut caller, data, "n", &format!("s{number}"), &[]);
    }
    caller.put(b"z", "other", 0);
    let mut caller = caller.reopen(Options::default());
    let versions = |caller: &mut Caller, arguments: Json| {
        let reply = caller.ok("versions", arguments);
        let versions: Vec<(u64, String)> = reply["versions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| (it["version"].as_u64().unwrap(), it["ref"].as_str().unwrap().to_owned()))
            .collect();
        (versions, reply.get("next").cloned())
    };
    let (a, b) = (Reference::of(b"a").to_string(), Reference::of(b"b").to_string());
    let (all, next) = versions(&mut caller, json!({"name": "n"}));
    assert_eq!(all, [(3, a.clone()), (2, b.clone()), (1, a.clone())]);
    assert_eq!(next, None);
    let (page, next) = versions(&mut caller, json!({"name": "n", "limit": 2}));
    assert_eq!((page.len(), &next), (2, &Some(json!(2))));
    let (page, next) = versions(&mut caller, json!({"name": "n", "before": next}));
    assert_eq!((page, next), (vec![(1, a)], None));
    assert!(versions(&mut caller, json!({"name": "unknown"})).0.is_empty());
    // All that wait for one flush are counted, too.
    let item = |data: &str| json!({"data": bin(data.as_bytes()), "name": "m"});
    caller.ok("put_many", json!({"items": [item("1"), item("2"), item("2")], "ts": ts(0, 0)}));
    let numbers: Vec<u64> =
        versions(&mut caller, json!({"name": "m"})).0.iter().map(|it| it.0).collect();
    assert_eq!(numbers, [2, 1]);
    // The same put again begins one if another came between, in one flush or in several.
    caller.ok("put_many", json!({"items": [item("1"), item("2"), item("1")], "ts": ts(0, 0)}));
    let numbers = |caller: &mut Caller| versions(caller, json!({"name": "m"})).0.len();
    assert_eq!(numbers(&mut caller), 5);
    for (day, data) in [(1, "1"), (2, "2"), (3, "1"), (4, "1")] {
        caller.put(data.as_bytes(), "m", day);
    }
    let newest = caller.ok("versions", json!({"name": "m", "limit": 1}))["versions"][0].clone();
    let expected = json!([7, Reference::of(b"1").to_string(), ts(3, 0)]);
    assert_eq!(json!([newest["version"], newest["ref"], newest["created"]]), expected);
    assert_eq!(caller.ok("list", json!({"name": "m"}))["artifacts"].as_array().unwrap().len(), 2);
}

#[test]
fn the_difference_of_two_texts_is_told_line_by_line() {
    let mut caller = Caller::new();
    let one = caller.put(b"same\nold\nend\n", "a", 0);
    let two = caller.put(b"same\nnew\nend\nmore\n", "b", 0);
    let diff = caller.ok("diff", json!({"a": one, "b": two}));
    let text = format!("--- {one}\n+++ {two}\n@@ -1,3 +1,4 @@\n same\n-old\n+new\n end\n+more\n");
    assert_eq!(diff, json!({"same": false, "diff": text, "added": 2, "removed": 1, "more": false}));
    let diff = caller.ok("diff", json!({"a": one, "b": one}));
    assert_eq!((&diff["same"], &diff["diff"]), (&json!(true), &json!("")));
    let binary = caller.put(b"\0\xff", "c", 0);
    let long = caller.put(&b"x\n".repeat(600_000), "d", 0);
    for (a, b, code, place) in
        [(&one, &binary, Code::BadRequest, "b"), (&long, &one, Code::Overloaded, "a")]
    {
        assert_eq!(caller.refused("diff", json!({"a": a, "b": b})), (code, place.to_owned()));
    }
    // Lines that have nothing in common end in time and are cut where a message ends.
    let line = |from: usize| {
        (from..from + 20_000).map(|n| format!("{n} {:040}\n", n * 7)).collect::<String>()
    };
    let one = caller.put(line(0).as_bytes(), "e", 0);
    let two = caller.put(line(50_000).as_bytes(), "f", 0);
    let diff = caller.ok("diff", json!({"a": one, "b": two}));
    assert_eq!(
        (&diff["added"], &diff["removed"], &diff["more"]),
        (&json!(20_000), &json!(20_000), &json!(true))
    );
    let text = diff["diff"].as_str().unwrap();
    assert!(text.ends_with('\n') && (1_000_000..=1 << 20).contains(&text.len()));
}

#[test]
fn lineage_goes_both_ways() {
    let mut caller = Caller::new();
    let data = made(&mut caller, "data", "data", "load", &[]);
    let model = made(&mut caller, "model", "model", "train", &[&data]);
    let sibling = made(&mut caller, "other", "other", "train-2", &[&data]);
    let report = made(&mut caller, "report", "report", "report", &[&model, &data]);
    let page = made(&mut caller, "page", "page", "page", &[&report]);
    let mut caller = caller.reopen(Options::default());
    let lineage = |caller: &mut Caller, more: Json| {
        let mut arguments = json!({"ref": model});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reply = caller.ok("lineage", arguments);
        let nodes: Vec<(String, u64)> = reply["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| {
                (node["name"].as_str().unwrap().to_owned(), node["depth"].as_u64().unwrap())
            })
            .collect();
        (nodes, reply["edges"].as_array().unwrap().clone())
    };
    let name = |name: &str, depth| (name.to_owned(), depth);
    let (nodes, edges) = lineage(&mut caller, json!({}));
    let expected = [name("model", 0), name("data", 1), name("report", 1), name("page", 2)];
    assert_eq!(nodes, expected, "what else was made from the data is no part of it");
    assert_eq!(edges.len(), 3);
    let first = &edges[0];
    assert_eq!((&first["from"], &first["to"]), (&json!(data), &json!(model)));
    assert_eq!(first["made"]["step"], "train");
    let (nodes, _) = lineage(&mut caller, json!({"way": "inputs"}));
    assert_eq!(nodes, [name("model", 0), name("data", 1)]);
    let (nodes, _) = lineage(&mut caller, json!({"way": "outputs", "depth": 1}));
    assert_eq!(nodes, [name("model", 0), name("report", 1)]);
    assert_eq!(lineage(&mut caller, json!({"depth": 0})).0, [name("model", 0)]);
    // What was swept keeps its place.
    caller.ok("mark", json!({"refs": [report], "why": "w", "ts": ts(2, 0)}));
    let proofs = [Caller::proof(&report, 6)];
    caller.ok("sweep", json!({"refs": [report], "proofs": proofs, "ts": ts(4, 0)}));
    let reply = caller.ok("lineage", json!({"ref": page, "way": "inputs"}));
    let there: Vec<bool> = reply["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["there"].as_bool().unwrap())
        .collect();
    assert_eq!(there, [true, false, true, true]);
    assert_eq!(reply["nodes"][1]["bytes"], 6);
    caller.ok("lineage", json!({"ref": report}));
    assert_eq!(
        caller.refused("lineage", json!({"ref": Reference::of(b"?").to_string()})).0,
        Code::NotFound
    );

    let events =
        caller.ok("lineage", json!({"ref": page, "way": "inputs", "format": "openlineage"}));
    let events = events["events"].as_array().unwrap();
    assert_eq!(events.len(), 4);
    let report_event =
        events.iter().find(|event| event["job"]["name"] == "report.p-report").unwrap();
    assert_eq!(report_event["eventType"], "COMPLETE");
    assert_eq!(report_event["eventTime"], ts(0, 0));
    assert_eq!(report_event["outputs"], json!([{"namespace": "symphony", "name": report}]));
    assert_eq!(report_event["inputs"].as_array().unwrap().len(), 2);
    assert_eq!(report_event["run"]["facets"]["parent"]["job"]["name"], "r-1");
    assert!(report_event["schemaURL"].as_str().unwrap().contains("openlineage.io"));
    assert!(events.iter().all(|event| !event.to_string().contains(&sibling)));
}

#[test]
fn a_wide_or_circular_lineage_ends() {
    let mut caller = Caller::new();
    let root = caller.put(b"root", "root", 0);
    for number in 0..150 {
        made(&mut caller, &format!("leaf {number}"), "leaf", "s", &[&root]);
    }
    let reply = caller.ok("lineage", json!({"ref": root}));
    assert_eq!((reply["nodes"].as_array().unwrap().len(), &reply["more"]), (101, &json!(true)));
    // Two that say they were made from each other, and one from itself.
    let (one, two) = (Reference::of(b"1").to_string(), Reference::of(b"2").to_string());
    made(&mut caller, "1", "one", "s", &[&two, &one]);
    made(&mut caller, "2", "two", "s", &[&one]);
    let reply = caller.ok("lineage", json!({"ref": one, "depth": 100}));
    assert_eq!((reply["nodes"].as_array().unwrap().len(), &reply["more"]), (2, &json!(false)));
    assert_eq!(caller.refused("lineage", json!({"ref": one, "depth": 101})).1, "depth");
}

#[test]
fn tags_are_added_removed_and_counted() {
    let mut caller = Caller::new();
    let one = caller.put(b"one", "one", 0);
    let two = caller.put(b"two", "two", 0);
    let tag = |reference: &str, add: Json, remove: Json| json!({"ref": reference, "add": add, "remove": remove, "ts": ts(0, 0)});
    let reply = caller.ok("tag", tag(&one, json!(["b", "a"]), json!([])));
    assert_eq!(reply["tags"], json!(["a", "b"]));
    caller.ok("tag", tag(&two, json!(["a"]), json!([])));
    let reply = caller.ok("tag", tag(&one, json!(["c"]), json!(["b", "never"])));
    assert_eq!(reply["tags"], json!(["a", "c"]));
    let mut caller = caller.reopen(Options::default());
    assert_eq!(caller.ok("tags", json!({"ref": one}))["tags"], json!(["a", "c"]));
    let count = |tag: &str, artifacts: u64| json!({"tag": tag, "artifacts": artifacts});
    let all = caller.ok("tags", json!({"limit": 1}));
    assert_eq!(all, json!({"tags": [count("a", 2)], "next": "a"}));
    assert_eq!(caller.ok("tags", json!({"after": "a"})), json!({"tags": [count("c", 1)]}));
    // What is swept is not counted, until it is put again.
    let proofs = [Caller::proof(&one, 3)];
    caller.ok("mark", json!({"refs": [one], "why": "old", "ts": ts(2, 0)}));
    caller.ok("sweep", json!({"refs": [one], "proofs": proofs, "ts": ts(4, 0)}));
    assert_eq!(caller.ok("tags", json!({})), json!({"tags": [count("a", 1)]}));
    caller.put(b"one", "one", 4);
    assert_eq!(caller.ok("tags", json!({})), json!({"tags": [count("a", 2), count("c", 1)]}));
    let infos = caller.ok("stat", json!({"refs": [one]}));
    assert_eq!(infos["artifacts"][0]["tags"], json!(["a", "c"]));
    let mut found = names(&caller.ok("search", json!({"tag": "a"})));
    found.sort();
    assert_eq!(found, ["one", "two"]);
    assert_eq!(names(&caller.ok("search", json!({"tag": "a", "name": "two"}))), ["two"]);
    let first = caller.ok("search", json!({"tag": "a", "limit": 1}));
    let rest = caller.ok("search", json!({"tag": "a", "after": first["next"]}));
    assert_ne!(names(&first), names(&rest));
    let many: Vec<String> = (0..63).map(|number| format!("t{number}")).collect();
    assert_eq!(caller.refused("tag", tag(&one, json!(many), json!([]))).0, Code::Overloaded);
    assert_eq!(caller.refused("tag", tag(&one, json!([""]), json!([]))).0, Code::BadRequest);
    let unknown = Reference::of(b"?").to_string();
    assert_eq!(caller.refused("tag", tag(&unknown, json!(["x"]), json!([]))).0, Code::NotFound);
}

#[test]
fn quality_is_what_is_known_of_it() {
    let mut caller = Caller::new();
    let one = caller.put(b"one", "one", 0);
    caller.put(b"two", "two", 0);
    let reply = caller.ok("score", json!({"ref": one, "structure": 1000, "ts": ts(0, 0)}));
    assert_eq!(reply, json!({"quality": 1000, "structure": 1000, "uses": 0}));
    let reply = caller.ok("score", json!({"ref": one, "semantics": 500, "ts": ts(0, 0)}));
    assert_eq!((&reply["quality"], &reply["structure"]), (&json!(687), &json!(1000)));
    for (by, uses) in [("run r-1", 1), ("run r-1", 1), ("run r-2", 2)] {
        let reply = caller.ok("use", json!({"ref": one, "by": by, "ts": ts(0, 0)}));
        assert_eq!(reply["uses"], uses);
    }
    let mut caller = caller.reopen(Options::default());
    let info = caller.ok("stat", json!({"refs": [one]}))["artifacts"][0].clone();
    assert_eq!(info["quality"], (30 * 1000 + 50 * 500 + 20 * 666) / 100);
    assert_eq!(names(&caller.ok("search", json!({"quality": 600}))), ["one"]);
    assert!(names(&caller.ok("search", json!({"quality": 700}))).is_empty());
    let refused = caller.refused("score", json!({"ref": one, "utility": 1001, "ts": ts(0, 0)}));
    assert_eq!(refused, (Code::BadRequest, "utility".to_owned()));
    assert_eq!(
        caller.refused("use", json!({"ref": one, "by": "", "ts": ts(0, 0)})).0,
        Code::BadRequest
    );
}

#[test]
fn words_find_texts_and_the_best_comes_first() {
    let mut caller = Caller::new();
    caller.put(b"the quick brown fox", "fox", 0);
    caller.put(b"the lazy dog, a Dog, a DOG", "dog", 0);
    caller.put(b"the dog and the fox", "both", 0);
    caller.put(&[0, 1, 2], "binary", 0);
    caller.ok("put", json!({"data": bin(b"unnamed fox"), "ts": ts(0, 0)}));
    let find = |caller: &mut Caller, text: &str| names(&caller.ok("search", json!({"text": text})));
    assert_eq!(find(&mut caller, "dog"), ["dog", "both"]);
    assert_eq!(find(&mut caller, "FOX the"), ["both", "fox"]);
    assert_eq!(find(&mut caller, "fox lazy"), Vec::<String>::new());
    assert_eq!(find(&mut caller, "do"), Vec::<String>::new());
    let both = json!({"text": "the", "name": "fox"});
    assert_eq!(names(&caller.ok("search", both)), ["fox"]);
    let mut caller = caller.reopen(Options::default());
    assert_eq!(find(&mut caller, "quick"), ["fox"]);
    let page = caller.ok("search", json!({"text": "the", "limit": 2}));
    let rest = caller.ok("search", json!({"text": "the", "limit": 2, "after": page["next"]}));
    assert_eq!((names(&page).len(), names(&rest).len(), rest.get("next")), (2, 1, None));
    // What gets a name later is found from then on.
    assert!(find(&mut caller, "unnamed").is_empty());
    caller.put(b"unnamed fox", "late", 0);
    assert_eq!(find(&mut caller, "unnamed"), ["late"]);
    for text in ["", "...", &(0..17).map(|n| format!("w{n} ")).collect::<String>()] {
        let refused = caller.refused("search", json!({"text": text}));
        assert_eq!(refused, (Code::BadRequest, "text".to_owned()));
    }
}

#[test]
fn a_search_without_words_goes_through_everything_in_pages() {
    let mut caller = Caller::new();
    for number in 0..10 {
        let player = format!("p-s{}", number % 2);
        assert!(player.len() > 3);
        made(
            &mut caller,
            &format!("{number}"),
            &format!("n{number}"),
            &format!("s{}", number % 2),
            &[],
        );
    }
    let first = caller.ok("search", json!({"player": "p-s1", "limit": 3}));
    assert_eq!(names(&first), ["n9", "n7", "n5"]);
    let rest = caller.ok("search", json!({"player": "p-s1", "limit": 3, "after": first["next"]}));
    assert_eq!((names(&rest), rest.get("next")), (vec!["n3".to_owned(), "n1".to_owned()], None));
    assert_eq!(caller.refused("search", json!({"after": "x"})).1, "after");
    assert_eq!(caller.refused("search", json!({"limit": 101})).1, "limit");
}

#[test]
fn the_audit_trail_tells_who_did_what_and_when() {
    let mut caller = Caller::new();
    let large = vec![7; 700_000];
    let made = json!({"run": "r-1", "step": "s-1"});
    let put = json!({"data": bin(&large), "made": made, "ts": ts(1, 5), "by": "kernel"});
    let reference = caller.ok("put", put)["ref"].as_str().unwrap().to_owned();
    caller.now = Now { mono_ms: 50, wall_ms: 1_767_225_600_000 + 86_400_000 * 3 };
    caller.get(&reference).unwrap();
    caller.ok("get", json!({"ref": reference, "by": "ann"}));
    caller.ok("get", json!({"ref": reference, "offset": 262_144, "by": "ann"}));
    caller.ok("stat", json!({"refs": [reference]}));
    caller.ok("mark", json!({"refs": [reference], "why": "w", "ts": ts(9, 0), "by": "curator"}));
    let trail = caller.ok("audit", json!({}))["records"].clone();
    let short = |record: &Json| {
        let text = |field: &str| record[field].as_str().unwrap_or("-").to_owned();
        (text("method"), text("by"), text("at"), text("run"), text("step"))
    };
    let line = |method: &str, by: &str, at: String, run: &str, step: &str| {
        (method.to_owned(), by.to_owned(), at, run.to_owned(), step.to_owned())
    };
    let found: Vec<_> = trail.as_array().unwrap().iter().map(short).collect();
    assert_eq!(
        found,
        [
            line("put", "kernel", ts(1, 5), "r-1", "s-1"),
            line("get", "-", ts(3, 0), "-", "-"),
            line("get", "ann", ts(3, 0), "-", "-"),
            line("mark", "curator", ts(9, 0), "-", "-"),
        ]
    );
    assert!(trail.as_array().unwrap().iter().all(|record| record["refs"] == json!([reference])));
    assert_eq!(caller.ok("verify", json!({})).get("broken"), None);
    let page = caller.ok("audit", json!({"after": 1, "limit": 2}));
    assert_eq!((&page["records"][0]["number"], &page["next"]), (&json!(2), &json!(3)));
    let mut caller = caller.reopen(Options::default());
    assert_eq!(caller.ok("audit", json!({}))["records"], trail);
}

#[test]
fn reads_are_written_down_within_a_second() {
    let mut caller = Caller::new();
    let reference = caller.put(b"x", "n", 0);
    assert_eq!(caller.service.wakeup(), None);
    caller.now.mono_ms = 10_000;
    caller.get(&reference).unwrap();
    assert_eq!(caller.service.wakeup(), Some(11_000));
    let mut out = Effects::default();
    caller.service.tick(Now { mono_ms: 11_000, wall_ms: 0 }, &mut out);
    assert_eq!(caller.service.wakeup(), None);
    // As after a kill: nothing is said to the store any more.
    let copy = caller.folder.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for name in ["format", "index.redb"] {
        std::fs::copy(caller.store().join(name), copy.join(name)).unwrap();
    }
    drop(caller.service);
    caller.service = common::caller::open(&copy, Options::default());
    let trail = caller.ok("audit", json!({}))["records"].clone();
    assert_eq!(trail[1]["method"], "get");
}
