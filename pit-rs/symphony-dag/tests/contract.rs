//! The contract of `pit.dag/1`, sentence by sentence.
#![allow(clippy::unwrap_used)] // A test may panic.

mod harness;

use harness::*;
use serde_json::{json, Value};
use symphony_dag::DagService;
use symphony_journal::memory::MemoryStorage;
use symphony_wire::service::{Answer, Call, Service};
use symphony_wire::Code;

#[test]
fn open_gives_the_ready_steps_by_rank_and_the_same_open_gives_the_same() {
    let mut dag = in_memory(&MemoryStorage::new());
    let steps = json!([{"id": "z", "estimate_ms": 5}, {"id": "y", "estimate_ms": 7},
        {"id": "x", "after": [["z", "hard"]]}, {"id": "w", "estimate_ms": 5}]);
    let first = dag.open("r", steps.clone());
    assert_eq!(first, json!({"index": 1, "ready": [["z", 1005], ["y", 7], ["w", 5]], "steps": 4}));
    dag.start("r", "z");
    dag.complete("r", "z");
    assert_eq!(dag.open("r", steps.clone()), first);
    let mut other = opening("r", steps);
    other["inputs"] = json!({"b": 2, "a": 1});
    assert_eq!(dag.ok("open", other.clone()), first);
    other["inputs"] = json!({"a": 2});
    assert_eq!(dag.code("open", other.clone()), Code::Conflict);
    other["digest"] = json!("e");
    assert_eq!(dag.refused("open", other).where_.as_deref(), Some("digest"));
}

#[test]
fn open_reports_every_fault_of_the_plan_at_once_and_leaves_nothing() {
    let mut dag = in_memory(&MemoryStorage::new());
    let steps = json!([{"id": "a", "after": [["b", "hard"]]}, {"id": "b", "after": [["a", "soft"]]},
        {"id": "c", "after": [["x", "hard"]]}, {"id": "c"}]);
    let error = dag.refused("open", opening("r", steps));
    assert_eq!(error.code, Code::BadRequest);
    let place = error.where_.unwrap();
    for fault in ["cycle a → b → a", "step c waits for unknown step x", "duplicate id c"] {
        assert!(place.contains(fault), "{place}");
    }
    assert_eq!(dag.code("state", json!({"run": "r"})), Code::NotFound);
    assert_eq!(dag.ok("runs", json!({})), json!({"runs": []}));
}

#[test]
fn a_run_goes_from_open_to_finished() {
    let mut dag = in_memory(&MemoryStorage::new());
    dag.open("r", diamond());
    assert_eq!(dag.start("r", "a"), json!({"first": 2, "last": 2}));
    let done = dag.complete("r", "a");
    assert_eq!(done, json!({"index": 3, "ready": [["b", 2000], ["c", 2000]], "left": 3}));
    dag.start("r", "c");
    assert_eq!(dag.complete("r", "c"), json!({"index": 5, "ready": [], "left": 2}));
    dag.start("r", "b");
    assert_eq!(dag.complete("r", "b")["ready"], json!([["d", 1000]]));
    dag.start("r", "d");
    assert_eq!(dag.complete("r", "d")["left"], 0);
    let finish = json!({"run": "r", "outcome": "succeeded", "data": {"m": 1}, "ts": TS});
    assert_eq!(dag.ok("finish", finish.clone()), json!({"index": 10}));
    assert_eq!(dag.ok("finish", finish), json!({"index": 10}));
    let other = json!({"run": "r", "outcome": "failed", "ts": TS});
    assert_eq!(dag.code("finish", other), Code::Conflict);
    let note = json!({"run": "r", "records": [{"kind": "noted", "ts": TS}]});
    assert_eq!(dag.code("append", note), Code::Conflict);
    assert_eq!(dag.code("resume", json!({"run": "r", "ts": TS})), Code::Conflict);
    let state = dag.state("r");
    assert_eq!((&state["state"], &state["finished"]), (&json!("succeeded"), &json!(TS)));
    assert_eq!(state["document"], json!({"x": [1, null]}));
    assert_eq!(
        state["steps"][0],
        json!({"id": "a", "state": "succeeded", "attempt": 1, "outputs": {"of": "a", "n": 1},
            "quality": 0.5, "rank": 3000})
    );
    assert_eq!(
        dag.kinds("r"),
        [
            "opened",
            "started",
            "completed",
            "started",
            "completed",
            "started",
            "completed",
            "started",
            "completed",
            "finished"
        ]
    );
}

#[test]
fn completing_again_gives_the_first_reply_again_unless_the_outputs_differ() {
    let storage = MemoryStorage::new();
    let mut dag = in_memory(&storage);
    dag.open("r", diamond());
    dag.start("r", "a");
    let first = dag.complete("r", "a");
    dag.start("r", "b");
    dag.complete("r", "b");
    for mut dag in [dag, in_memory(&storage)] {
        assert_eq!(dag.complete("r", "a"), first);
        let mut other = completion("r", "a", 1);
        other["outputs"] = json!({"n": 1, "of": "a"});
        assert_eq!(dag.ok("complete", other.clone()), first);
        other["outputs"] = json!({"n": 2, "of": "a"});
        assert_eq!(dag.code("complete", other), Code::Conflict);
        assert_eq!(dag.state("r")["last"], 5);
    }
}

#[test]
fn a_failure_skips_what_needs_the_step_and_frees_what_only_follows_it() {
    let storage = MemoryStorage::new();
    let mut dag = in_memory(&storage);
    dag.open(
        "r",
        json!([
        {"id": "a"},
        {"id": "b", "after": [["a", "hard"]]},
        {"id": "c", "after": [["b", "hard"]]},
        {"id": "d", "after": [["c", "optional"]]},
        {"id": "e", "after": [["a", "soft"], ["f", "soft"]]},
        {"id": "f"}]),
    );
    dag.start("r", "a");
    let first = dag.ok("fail", failure("r", "a"));
    assert_eq!(
        first,
        json!({"index": 3, "ready": [["d", 1000]], "left": 3, "cascade": [
        {"index": 4, "step": "b", "reason": "it needs a, which failed"},
        {"index": 5, "step": "c", "reason": "it needs b, which was skipped"}]})
    );
    dag.start("r", "f");
    assert_eq!(dag.complete("r", "f")["ready"], json!([["e", 1000]]));
    for mut dag in [dag, in_memory(&storage)] {
        assert_eq!(dag.ok("fail", failure("r", "a")), first);
        assert_eq!(
            dag.states("r"),
            ["failed", "skipped", "skipped", "ready", "ready", "succeeded"]
        );
        let mut other = failure("r", "a");
        other["error"] = json!({"class": "F"});
        assert_eq!(dag.code("fail", other), Code::Conflict);
    }
}

#[test]
fn a_step_may_be_skipped_before_its_turn_and_the_reply_is_like_that_of_fail() {
    let mut dag = in_memory(&MemoryStorage::new());
    dag.open("r", diamond());
    let skip = |reason: &str| json!({"run": "r", "step": "c", "reason": reason, "ts": TS});
    let first = dag.ok("skip", skip("condition"));
    assert_eq!(first["cascade"][0]["step"], "d");
    assert_eq!((&first["left"], &first["ready"]), (&json!(2), &json!([])));
    assert_eq!(dag.ok("skip", skip("condition")), first);
    assert_eq!(dag.code("skip", skip("whim")), Code::Conflict);
}

#[test]
fn a_failed_attempt_makes_the_step_ready_again_and_a_late_result_is_refused() {
    let mut dag = in_memory(&MemoryStorage::new());
    dag.open("r", diamond());
    dag.start("r", "a");
    let again = json!({"run": "r", "durable": true, "records": [
        {"kind": "failed", "step": "a", "attempt": 1, "ts": TS, "data": {"error": {}}},
        {"kind": "decision", "step": "a", "ts": TS, "data": {"final": true}},
        {"kind": "started", "step": "a", "ts": TS}]});
    assert_eq!(dag.ok("append", again), json!({"first": 3, "last": 5}));
    let error = dag.refused("complete", completion("r", "a", 1));
    assert_eq!(error.code, Code::Conflict);
    assert_eq!(error.where_.as_deref(), Some("step a: running, attempt 2"));
    assert_eq!(dag.ok("complete", completion("r", "a", 2))["left"], 3);
}

#[test]
fn a_batch_with_a_record_that_does_not_fit_is_refused_whole() {
    let mut dag = in_memory(&MemoryStorage::new());
    dag.open("r", diamond());
    let started = |step: &str| json!({"kind": "started", "step": step, "ts": TS});
    for (records, code, place) in [
        (json!([started("a"), started("a")]), Code::Conflict, "records[1]: step a: running"),
        (json!([started("a"), started("b")]), Code::Conflict, "records[1]: step b: pending"),
        (json!([started("a"), started("x")]), Code::NotFound, "records[1]"),
        (json!([{"kind": "started", "ts": TS}]), Code::BadRequest, "records[0]"),
        (json!([{"kind": "noted", "step": "x", "ts": TS}]), Code::NotFound, "records[0]"),
        (
            json!([{"kind": "completed", "step": "a", "ts": TS}]),
            Code::BadRequest,
            "records[0].kind",
        ),
        (json!([{"kind": "noted", "ts": "today"}]), Code::BadRequest, "records[0].ts"),
        (json!([{"kind": "odd", "ts": TS}]), Code::BadRequest, "records[0].kind"),
        (json!([]), Code::BadRequest, "records"),
    ] {
        let error = dag.refused("append", json!({"run": "r", "records": records}));
        assert_eq!(error.code, code, "{records}");
        assert!(error.where_.clone().unwrap().starts_with(place), "{records}: {error}");
    }
    assert_eq!(dag.state("r")["last"], 1);
}

#[test]
fn resuming_makes_running_steps_ready_again() {
    let storage = MemoryStorage::new();
    let mut dag = in_memory(&storage);
    dag.open("r", diamond());
    dag.start("r", "a");
    let mut dag = in_memory(&storage);
    let resumed = dag.ok("resume", json!({"run": "r", "ts": TS}));
    assert_eq!((&resumed["index"], &resumed["from"]), (&json!(3), &json!(2)));
    assert_eq!(resumed["run"]["ready"], json!([["a", 3000]]));
    assert_eq!(resumed["run"], dag.state("r"));
    assert_eq!(dag.code("complete", completion("r", "a", 1)), Code::Conflict);
    dag.start("r", "a");
    dag.ok("complete", completion("r", "a", 2));
}

#[test]
fn only_what_is_durable_waits_for_the_flush_and_whatever_was_said_after_it() {
    let mut dag = in_memory(&MemoryStorage::new());
    let note = json!({"run": "r", "records": [{"kind": "noted", "ts": TS}]});
    let waits = |dag: &mut Dag<_>, method: &str, arguments: Value| {
        let (reply, waits) = dag.ask(method, arguments);
        reply.unwrap();
        waits
    };
    assert!(waits(&mut dag, "open", opening("r", diamond())));
    assert!(waits(&mut dag, "append", note.clone()));
    assert!(waits(&mut dag, "state", json!({"run": "r"})));
    assert!(waits(&mut dag, "runs", json!({})));
    dag.0.flush().unwrap();
    assert!(!waits(&mut dag, "append", note.clone()));
    assert!(!waits(&mut dag, "state", json!({"run": "r"})));
    assert!(!waits(&mut dag, "open", opening("r", diamond())));
    dag.start("r", "a");
    assert!(waits(&mut dag, "complete", completion("r", "a", 1)));
    assert!(waits(&mut dag, "complete", completion("r", "a", 1)));
    dag.0.flush().unwrap();
    assert!(!waits(&mut dag, "complete", completion("r", "a", 1)));
}

#[test]
fn the_journal_is_read_in_pages() {
    let mut dag = in_memory(&MemoryStorage::new());
    dag.open("r", json!([{"id": "a"}]));
    let records: Vec<Value> =
        (0..25).map(|n| json!({"kind": "noted", "ts": TS, "data": n})).collect();
    dag.ok("append", json!({"run": "r", "records": records}));
    let (mut after, mut found) = (1, Vec::new());
    loop {
        let page = dag.ok("journal", json!({"run": "r", "after": after, "limit": 10}));
        let records = page["records"].as_array().unwrap();
        found.extend(records.iter().map(|record| record["data"].as_u64().unwrap()));
        after = records.last().unwrap()["index"].as_u64().unwrap();
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(found, (0..25).collect::<Vec<u64>>());
    let beyond = dag.ok("journal", json!({"run": "r", "after": 99}));
    assert_eq!(beyond, json!({"records": [], "more": false}));
}

#[test]
fn runs_are_listed_newest_first_whether_in_memory_or_not() {
    let storage = MemoryStorage::new();
    let mut dag = in_memory(&storage);
    for (run, hour) in [("b", 1), ("c", 3), ("a", 2), ("d", 3)] {
        let mut arguments = opening(run, diamond());
        arguments["ts"] = json!(format!("2026-01-31T0{hour}:00:00.000Z"));
        dag.ok("open", arguments);
    }
    dag.start("a", "a");
    dag.ok("fail", failure("a", "a"));
    dag.ok("finish", json!({"run": "a", "outcome": "failed", "ts": TS}));
    for mut dag in [dag, in_memory(&storage)] {
        let listed = dag.ok("runs", json!({}));
        let names: Vec<&str> =
            listed["runs"].as_array().unwrap().iter().map(|r| r["run"].as_str().unwrap()).collect();
        assert_eq!(names, ["d", "c", "a", "b"]);
        assert_eq!(
            listed["runs"][2],
            json!({"run": "a", "melody": "m", "version": "1.0.0", "state": "failed", "steps": 4,
                "opened": "2026-01-31T02:00:00.000Z", "finished": TS, "ended": 3})
        );
        let page = dag.ok("runs", json!({"limit": 2, "before": "d"}));
        assert_eq!(page["runs"].as_array().unwrap().len(), 2);
        assert_eq!(page["runs"][0]["run"], "c");
        assert_eq!(dag.code("runs", json!({"before": "nobody"})), Code::NotFound);
    }
    let mut dag = in_memory(&storage);
    dag.ok("runs", json!({}));
    dag.open("e", diamond());
    dag.start("b", "a");
    dag.complete("b", "a");
    let listed = dag.ok("runs", json!({}));
    assert_eq!((&listed["runs"][0]["run"], &listed["runs"][4]["ended"]), (&json!("e"), &json!(1)));
}

#[test]
fn every_bad_request_says_what_and_where() {
    let mut dag = in_memory(&MemoryStorage::new());
    dag.open("r", diamond());
    let with = |mut value: Value, key: &str, other: Value| {
        value[key] = other;
        value
    };
    for (method, arguments, code) in [
        ("state", json!({"run": "../x"}), Code::BadRequest),
        ("state", json!({}), Code::BadRequest),
        ("state", json!([]), Code::BadRequest),
        ("state", json!({"run": "nobody"}), Code::NotFound),
        ("state", json!({"run": "r", "after": "x"}), Code::BadRequest),
        ("open", with(opening("q", json!([])), "ts", json!("now")), Code::BadRequest),
        ("open", with(opening("q", json!([])), "run", json!("Q")), Code::BadRequest),
        ("open", with(opening("q", json!([])), "melody", json!("m".repeat(300))), Code::BadRequest),
        ("open", opening("q", json!([{"id": "a", "after": [["a", "odd"]]}])), Code::BadRequest),
        (
            "open",
            with(opening("q", json!([])), "document", json!("x".repeat(2_095_000))),
            Code::BadRequest,
        ),
        ("complete", with(completion("r", "a", 1), "outputs", json!([])), Code::BadRequest),
        ("complete", completion("r", "x", 1), Code::NotFound),
        ("complete", completion("r", "a", 1), Code::Conflict),
        ("fail", with(failure("r", "a"), "error", json!("x")), Code::BadRequest),
        ("fail", failure("r", "b"), Code::Conflict),
        ("finish", json!({"run": "r", "outcome": "odd", "ts": TS}), Code::BadRequest),
        ("dance", json!({"run": "r"}), Code::BadRequest),
    ] {
        let error = dag.refused(method, arguments);
        assert_eq!(error.code, code, "{method}: {error}");
        assert!(error.where_.is_some(), "{method}: {error}");
    }
    assert_eq!(dag.state("r")["last"], 1);
}

#[test]
fn replies_about_large_runs_come_in_parts_that_fit_the_bus() {
    let mut dag = in_memory(&MemoryStorage::new());
    let steps: Vec<Value> = (0..4)
        .map(|n| json!({"id": format!("s{n}"), "after": if n == 0 { json!([]) } else { json!([["s0", "hard"]]) }}))
        .collect();
    let mut arguments = opening("r", json!(steps));
    arguments["document"] = json!("x".repeat(2_080_000));
    dag.ok("open", arguments);
    for n in 0..4 {
        dag.start("r", &format!("s{n}"));
        let mut arguments = completion("r", &format!("s{n}"), 1);
        arguments["outputs"] = json!({"o": "y".repeat(2_080_000)});
        dag.ok("complete", arguments);
    }
    let mut state = dag.state("r");
    assert_eq!(state["document"].as_str().unwrap().len(), 2_080_000);
    let mut ids = Vec::new();
    loop {
        assert!(rmp_serde::to_vec_named(&state).unwrap().len() <= 2 << 20);
        for step in state["steps"].as_array().unwrap() {
            assert_eq!(step["outputs"]["o"].as_str().unwrap().len(), 2_080_000);
            ids.push(step["id"].as_str().unwrap().to_owned());
        }
        if state.get("more").is_none() {
            break;
        }
        state = dag.ok("state", json!({"run": "r", "after": ids.len()}));
    }
    assert_eq!(ids, ["s0", "s1", "s2", "s3"]);
    let mut after = 0;
    while after < 9 {
        let page = dag.ok("journal", json!({"run": "r", "after": after}));
        assert!(rmp_serde::to_vec_named(&page).unwrap().len() <= 2 << 20);
        after = page["records"].as_array().unwrap().last().unwrap()["index"].as_u64().unwrap();
    }
}

#[test]
fn a_cascade_too_long_for_a_reply_goes_on_in_the_journal() {
    let mut dag = in_memory(&MemoryStorage::new());
    let id = |n: usize| format!("{n:05}-{}", "x".repeat(80));
    let steps: Vec<Value> = (0..9_000)
        .map(|n| json!({"id": id(n), "after": if n == 0 { json!([]) } else { json!([[id(0), "hard"]]) }}))
        .collect();
    dag.open("r", json!(steps));
    dag.start("r", &id(0));
    let reply = dag.ok("fail", failure("r", &id(0)));
    let listed = reply["cascade"].as_array().unwrap().len();
    assert_eq!((&reply["more"], &reply["left"]), (&json!(true), &json!(0)));
    assert!(rmp_serde::to_vec_named(&reply).unwrap().len() <= 2 << 20);
    let rest = dag.ok("journal", json!({"run": "r", "after": 3 + listed, "limit": 1}));
    assert_eq!(rest["records"][0]["step"], json!(id(1 + listed)));
}

#[test]
fn a_document_comes_back_untouched_whatever_msgpack_it_holds() {
    use rmpv::Value as M;
    let mut dag = in_memory(&MemoryStorage::new());
    let document = M::Map(vec![
        (M::from(7), M::Ext(-1, vec![1, 2, 3, 4])),
        (M::Binary(vec![0, 255]), M::F32(0.1)),
        (M::Nil, M::Array(vec![M::from(u64::MAX), M::from(i64::MIN), M::from(true)])),
    ]);
    let text = |key: &str, value: &str| (M::from(key), M::from(value));
    let arguments = M::Map(vec![
        text("run", "r"),
        text("melody", "m"),
        text("version", "1"),
        text("digest", "d"),
        text("ts", TS),
        (M::from("document"), document.clone()),
        (M::from("inputs"), M::Nil),
        (M::from("steps"), M::Array(vec![])),
    ]);
    let mut call = |method: &str, arguments: &M| {
        let body = rmp_serde::to_vec(arguments).unwrap();
        match dag.0.call(Call { capability: "pit.dag/1", method, body: &body }) {
            Answer::Now(outcome) | Answer::AfterFlush(outcome) => {
                let body = outcome.unwrap();
                rmpv::decode::read_value(&mut body.as_slice()).unwrap()
            }
        }
    };
    call("open", &arguments);
    let state = call("state", &M::Map(vec![text("run", "r")]));
    let found = state.as_map().unwrap().iter().find(|(key, _)| key.as_str() == Some("document"));
    assert_eq!(found.unwrap().1, document);
}

#[test]
fn the_folder_holds_a_format_and_one_journal_a_run_and_a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("dag");
    let mut dag = Dag(DagService::open(&store).unwrap());
    dag.open("r", diamond());
    dag.start("r", "a");
    dag.complete("r", "a");
    let state = dag.state("r");
    assert_eq!(std::fs::read_to_string(store.join("format")).unwrap().trim(), "symphony-dag 2");
    assert!(store.join("runs/r.journal").exists());
    drop(dag);
    let mut dag = Dag(DagService::open(&store).unwrap());
    assert_eq!(dag.state("r"), state);
    drop(dag);
    std::fs::write(store.join("format"), "symphony-dag 3\n").unwrap();
    let error = DagService::open(&store).err().unwrap();
    assert_eq!(error.code, Code::Io);
    assert!(error.message.contains("newer format 3"), "{error}");
    std::fs::remove_file(store.join("format")).unwrap();
    let error = DagService::open(&store).err().unwrap();
    assert_eq!(error.code, Code::Corrupt);
    assert!(error.message.contains("format file is missing"), "{error}");
    assert!(error.help.unwrap().contains("symphony-dag 2"));
    assert!(!store.join("format").exists());
}

#[test]
fn a_store_of_format_1_is_opened_and_from_then_on_one_of_format_2() {
    let folder = tempfile::tempdir().unwrap();
    let format = folder.path().join("format");
    let mut dag = Dag(DagService::open(folder.path()).unwrap());
    dag.open("r", diamond());
    dag.start("r", "a");
    let state = dag.state("r");
    drop(dag);
    std::fs::write(&format, "symphony-dag 1\n").unwrap();
    let mut dag = Dag(DagService::open(folder.path()).unwrap());
    assert_eq!(dag.state("r"), state);
    assert_eq!(std::fs::read_to_string(&format).unwrap(), "symphony-dag 2\n");
    dag.ok("grow", json!({"run": "r", "steps": [{"id": "n"}], "id": "g", "ts": TS}));
    drop(dag);
    assert_eq!(Dag(DagService::open(folder.path()).unwrap()).states("r").len(), 5);
}

#[test]
fn more_runs_than_stay_in_memory_are_all_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut dag = Dag(DagService::open(folder.path()).unwrap());
    for n in 0..150 {
        dag.open(&format!("r{n}"), diamond());
    }
    dag.ok("runs", json!({"limit": 1000}));
    for n in 0..150 {
        let run = format!("r{n}");
        dag.start(&run, "a");
        dag.complete(&run, "a");
        assert_eq!(dag.states(&run), ["succeeded", "ready", "ready", "pending"]);
    }
    let listed = dag.ok("runs", json!({"limit": 1000}));
    let listed = listed["runs"].as_array().unwrap();
    assert_eq!(listed.iter().filter(|run| run["ended"] == 1).count(), 150);
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count();
    // Two for each run in memory: its journal and what says how much of it was acknowledged.
    assert!(open < 236, "{open} descriptors");
}
