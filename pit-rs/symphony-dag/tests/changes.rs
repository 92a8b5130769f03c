//! The contract of `pit.dag/1`: joins, growth, reroutes, redoing and rollback.
#![allow(clippy::unwrap_used)] // A test may panic.

mod harness;

use harness::*;
use serde_json::{json, Value};
use symphony_dag::Tracker;
use symphony_journal::memory::MemoryStorage;
use symphony_wire::Code;

type Memory = Dag<Tracker<MemoryStorage>>;

fn grow(id: &str, steps: Value) -> Value {
    json!({"run": "r", "steps": steps, "id": id, "ts": TS})
}

fn with(mut value: Value, key: &str, other: Value) -> Value {
    value[key] = other;
    value
}

fn play(dag: &mut Memory, step: &str) -> Value {
    dag.start("r", step);
    let state = dag.state("r");
    let found = state["steps"].as_array().unwrap().iter().find(|it| it["id"] == step).cloned();
    dag.ok("complete", completion("r", step, found.unwrap()["attempt"].as_u64().unwrap() as u32))
}

fn fan(join: Value) -> Value {
    let hard = |id: &str| json!([id, "hard"]);
    json!([{"id": "a"}, {"id": "b"}, {"id": "c"},
        {"id": "d", "after": [hard("a"), hard("b"), hard("c")], "join": join}])
}

#[test]
fn a_join_of_any_waits_for_one_success_and_is_lost_with_the_last() {
    let storage = MemoryStorage::new();
    let mut dag = in_memory(&storage);
    dag.open("r", fan(json!("any")));
    dag.start("r", "a");
    assert_eq!(dag.ok("fail", failure("r", "a"))["cascade"], json!([]));
    assert_eq!(play(&mut dag, "b")["ready"], json!([["d", 1000]]));
    // Nothing that comes later changes it.
    dag.start("r", "c");
    assert_eq!(dag.ok("fail", failure("r", "c"))["cascade"], json!([]));
    assert_eq!(in_memory(&storage).states("r"), ["failed", "succeeded", "failed", "ready"]);

    let mut dag = in_memory(&MemoryStorage::new());
    dag.open("r", fan(json!("any")));
    for (step, cascade) in [("a", 0), ("b", 0), ("c", 1)] {
        dag.start("r", step);
        let reply = dag.ok("fail", failure("r", step));
        assert_eq!(reply["cascade"].as_array().unwrap().len(), cascade, "{step}");
    }
    assert_eq!(dag.states("r")[3], "skipped");
}

#[test]
fn a_join_of_two_of_three_waits_for_two_and_is_lost_with_the_second_failure() {
    let mut dag = in_memory(&MemoryStorage::new());
    dag.open("r", fan(json!(2)));
    assert_eq!(play(&mut dag, "a")["ready"], json!([]));
    assert_eq!(play(&mut dag, "c")["ready"], json!([["d", 1000]]));

    let mut dag = in_memory(&MemoryStorage::new());
    dag.open("r", fan(json!(2)));
    dag.start("r", "a");
    assert_eq!(dag.ok("fail", failure("r", "a"))["cascade"], json!([]));
    let skip = json!({"run": "r", "step": "b", "reason": "x", "ts": TS});
    let reply = dag.ok("skip", skip);
    assert_eq!(reply["cascade"][0]["reason"], "it needs b, which was skipped");

    for join in [json!(0), json!(4), json!("some"), json!(-1)] {
        let mut dag = in_memory(&MemoryStorage::new());
        assert_eq!(dag.code("open", opening("r", fan(join))), Code::BadRequest);
    }
}

#[test]
fn a_soft_dependency_satisfies_a_join_however_it_ends() {
    let mut dag = in_memory(&MemoryStorage::new());
    let steps = json!([{"id": "a"}, {"id": "b"},
        {"id": "c", "after": [["a", "hard"], ["b", "soft"]], "join": "any"}]);
    dag.open("r", steps);
    let skip = json!({"run": "r", "step": "b", "reason": "x", "ts": TS});
    assert_eq!(dag.ok("skip", skip)["ready"], json!([["c", 1000]]));
}

#[test]
fn a_run_grows_and_the_same_growth_again_gives_the_same_reply() {
    let storage = MemoryStorage::new();
    let mut dag = in_memory(&storage);
    dag.open("r", diamond());
    dag.start("r", "a");
    let steps = json!([{"id": "n", "after": [["a", "hard"]], "estimate_ms": 70},
        {"id": "o", "estimate_ms": 30}, {"id": "p", "after": [["n", "hard"]], "estimate_ms": 5_000}]);
    let first = dag.ok("grow", grow("g", steps.clone()));
    assert_eq!(first, json!({"index": 3, "ready": [["o", 30]], "left": 7}));
    // The critical path is another one now.
    assert_eq!(dag.state("r")["steps"][0]["rank"], 6_070);
    let done = play_running(&mut dag, "a");
    assert_eq!(done["ready"], json!([["n", 5_070], ["b", 2_000], ["c", 2_000]]));
    for mut dag in [dag, in_memory(&storage)] {
        assert_eq!(dag.ok("grow", grow("g", steps.clone())), first);
        assert_eq!(dag.code("grow", grow("g", json!([{"id": "z"}]))), Code::Conflict);
        assert_eq!(dag.code("reroute", grow("g", steps.clone())), Code::Conflict);
        assert_eq!(dag.states("r").len(), 7);
        assert_eq!(dag.kinds("r")[2], "grown");
        assert_eq!(
            dag.open("r", diamond()),
            json!({"index": 1, "ready": [["a", 6_070]], "steps": 4})
        );
    }
}

fn play_running(dag: &mut Memory, step: &str) -> Value {
    dag.ok("complete", completion("r", step, 1))
}

#[test]
fn a_step_that_waits_can_be_told_to_wait_for_more() {
    let mut dag = in_memory(&MemoryStorage::new());
    dag.open("r", json!([{"id": "a"}, {"id": "z", "after": [["a", "hard"]]}]));
    dag.start("r", "a");
    let grown = with(grow("g", json!([{"id": "n"}])), "after", json!({"z": [["n", "hard"]]}));
    assert_eq!(dag.ok("grow", grown)["ready"], json!([["n", 2_000]]));
    assert_eq!(play_running(&mut dag, "a")["ready"], json!([]));
    assert_eq!(play(&mut dag, "n")["ready"], json!([["z", 1_000]]));
}

#[test]
fn a_bounded_loop_grows_round_by_round_up_to_its_bound() {
    let storage = MemoryStorage::new();
    let mut dag = in_memory(&storage);
    dag.open("r", json!([{"id": "check"}]));
    let round = |n: u32, most: u32| {
        let steps = json!([{"id": format!("check-{n}")}]);
        with(grow(&format!("g{n}"), steps), "loop", json!({"name": "retry", "most": most}))
    };
    assert_eq!(dag.ok("grow", round(1, 2))["round"], 1);
    assert_eq!(dag.refused("grow", round(2, 3)).where_.as_deref(), Some("loop.most"));
    assert_eq!(dag.ok("grow", round(2, 2))["round"], 2);
    let mut dag = in_memory(&storage);
    assert_eq!(dag.code("grow", round(3, 2)), Code::Refused);
    assert_eq!(dag.ok("grow", round(1, 2))["round"], 1);
    // What is rolled back has not happened.
    dag.ok("rollback", json!({"run": "r", "to": 2, "id": "b", "ts": TS}));
    assert_eq!(dag.ok("grow", round(3, 2))["round"], 2);
}

#[test]
fn growth_that_does_not_fit_says_everything_at_once_and_leaves_nothing() {
    let mut dag = in_memory(&MemoryStorage::new());
    dag.open("r", diamond());
    dag.start("r", "a");
    dag.ok("fail", failure("r", "a"));
    dag.ok("grow", grow("more", json!([{"id": "e"}, {"id": "f", "after": [["e", "hard"]]}])));
    let before = dag.state("r");
    let steps = json!([{"id": "a"}, {"id": "n", "after": [["x", "hard"], ["o", "hard"]]},
        {"id": "o", "after": [["n", "soft"]]}, {"id": "p", "after": [["b", "hard"]]}]);
    let after = json!({"f": [["e", "soft"]], "y": [["e", "hard"]], "d": [["e", "hard"]]});
    let error = dag.refused("grow", with(grow("g", steps), "after", after));
    assert_eq!(error.code, Code::BadRequest);
    let place = error.where_.unwrap();
    for fault in [
        "duplicate id a",
        "step n waits for unknown step x",
        "cycle n → o → n",
        "step f waits for e already",
        "after: unknown step y",
        "after: step d is skipped",
        "step p could never run: it needs b",
    ] {
        assert!(place.contains(fault), "{fault} not in {place}");
    }
    // What alone does not fit the state of the run is a conflict.
    let late = grow("g", json!([{"id": "p", "after": [["b", "hard"]]}]));
    assert_eq!(dag.code("grow", late), Code::Conflict);
    let cycle = with(
        grow("g", json!([{"id": "n", "after": [["f", "hard"]]}])),
        "after",
        json!({"f": [["n", "hard"]]}),
    );
    assert_eq!(dag.refused("grow", cycle).where_.as_deref(), Some("cycle f → n → f"));
    for (arguments, place) in [
        (grow("g", json!([])), "steps"),
        (grow("", json!([{"id": "n"}])), "id"),
        (with(grow("g", json!([{"id": "n"}])), "ts", json!("now")), "ts"),
        (
            with(grow("g", json!([{"id": "n"}])), "loop", json!({"name": "", "most": 1})),
            "loop.name",
        ),
    ] {
        let error = dag.refused("grow", arguments);
        assert_eq!((error.code, error.where_.as_deref()), (Code::BadRequest, Some(place)));
    }
    assert_eq!(dag.state("r"), before);
    dag.ok("finish", json!({"run": "r", "outcome": "failed", "ts": TS}));
    assert_eq!(dag.code("grow", grow("g", json!([{"id": "n"}]))), Code::Conflict);
}

#[test]
fn a_run_can_hold_no_more_than_a_reply_can_tell() {
    let mut dag = in_memory(&MemoryStorage::new());
    dag.open("r", json!([{"id": "a"}]));
    let id = |n: usize| format!("{n:05}-{}", "x".repeat(120));
    let steps =
        |from: usize| -> Value { (from..from + 6_000).map(|n| json!({"id": id(n)})).collect() };
    dag.ok("grow", grow("g1", steps(0)));
    dag.ok("grow", grow("g2", steps(6_000)));
    let error = dag.refused("grow", grow("g3", steps(12_000)));
    assert_eq!((error.code, error.where_.as_deref()), (Code::BadRequest, Some("size")));
    let state = dag.state("r");
    assert_eq!(state["ready"].as_array().unwrap().len(), 12_001);
    assert!(rmp_serde::to_vec_named(&state).unwrap().len() <= 2 << 20);
    let many: Value = (0..65_536).map(|n| json!({"id": n.to_string()})).collect();
    assert_eq!(dag.refused("grow", grow("g3", many)).where_.as_deref(), Some("steps"));
}

#[test]
fn a_reroute_replaces_what_has_not_started() {
    let storage = MemoryStorage::new();
    let mut dag = in_memory(&storage);
    dag.open("r", diamond());
    play(&mut dag, "a");
    dag.start("r", "b");
    let steps = json!([{"id": "e", "after": [["b", "hard"]]}, {"id": "f"}]);
    let first = dag.ok("reroute", grow("g", steps.clone()));
    assert_eq!(first, json!({"index": 5, "ready": [["f", 1000]], "left": 3}));
    assert_eq!(dag.states("r"), ["succeeded", "running", "skipped", "skipped", "pending", "ready"]);
    // What the end of a brought about is still told as it was.
    assert_eq!(play_running(&mut dag, "a")["left"], 3);
    assert_eq!(play_running(&mut dag, "b")["ready"], json!([["e", 1000]]));
    for mut dag in [dag, in_memory(&storage)] {
        assert_eq!(dag.ok("reroute", grow("g", steps.clone())), first);
        assert_eq!(dag.kinds("r")[4], "rerouted");
        let note = json!({"run": "r", "records": [{"kind": "started", "step": "c", "ts": TS}]});
        assert_eq!(dag.code("append", note), Code::Conflict);
    }
}

#[test]
fn a_reroute_of_named_steps_must_say_what_their_followers_wait_for_instead() {
    let storage = MemoryStorage::new();
    let mut dag = in_memory(&storage);
    dag.open("r", diamond());
    play(&mut dag, "a");
    let steps = json!([{"id": "n", "after": [["a", "hard"]]}]);
    let drop = |after: Value, names: Value| {
        with(with(grow("g", steps.clone()), "drop", names), "after", after)
    };
    let error = dag.refused("reroute", drop(json!({}), json!(["b"])));
    assert!(error.where_.unwrap().starts_with("step d waits for b, which is dropped"));
    let error = dag.refused("reroute", drop(json!({}), json!(["a", "x"])));
    assert_eq!(error.where_.as_deref(), Some("drop: unknown step x; drop: step a is succeeded"));
    assert_eq!(dag.code("reroute", drop(json!({}), json!(["a"]))), Code::Conflict);
    let error = dag.refused("reroute", drop(json!({"d": [["b", "hard"]]}), json!(["b"])));
    assert_eq!(error.where_.as_deref(), Some("step d waits for b, which is dropped"));
    let reply = dag.ok("reroute", drop(json!({"d": [["n", "hard"]]}), json!(["b"])));
    assert_eq!(reply["ready"], json!([["n", 2000]]));
    play(&mut dag, "c");
    assert_eq!(play(&mut dag, "n")["ready"], json!([["d", 1000]]));
    let state = dag.state("r");
    assert_eq!(in_memory(&storage).state("r"), state);
}

#[test]
fn a_reroute_to_nothing_ends_the_rest() {
    let mut dag = in_memory(&MemoryStorage::new());
    dag.open("r", diamond());
    play(&mut dag, "a");
    let reply = dag.ok("reroute", json!({"run": "r", "id": "g", "ts": TS}));
    assert_eq!(reply, json!({"index": 4, "ready": [], "left": 0}));
}

#[test]
fn redoing_a_step_puts_back_what_used_what_it_made() {
    let storage = MemoryStorage::new();
    let mut dag = in_memory(&storage);
    dag.open(
        "r",
        json!([{"id": "a"}, {"id": "b", "after": [["a", "hard"]]}, {"id": "c", "after": [["a", "soft"]]},
            {"id": "d", "after": [["b", "optional"]]}, {"id": "e"}, {"id": "f", "after": [["e", "hard"], ["d", "hard"]]}]),
    );
    for step in ["a", "b", "c", "d", "e"] {
        play(&mut dag, step);
    }
    let redo = |steps: Value| json!({"run": "r", "steps": steps, "id": "x", "ts": TS});
    let first = dag.ok("redo", redo(json!(["a"])));
    assert_eq!(first, json!({"index": 12, "ready": [["a", 4000]], "left": 4}));
    assert_eq!(
        dag.states("r"),
        ["ready", "pending", "succeeded", "pending", "succeeded", "pending"]
    );
    // A result of the attempt before is late.
    assert_eq!(dag.code("complete", completion("r", "a", 1)), Code::Conflict);
    dag.start("r", "a");
    assert_eq!(dag.code("complete", completion("r", "a", 1)), Code::Conflict);
    assert_eq!(dag.ok("complete", completion("r", "a", 2))["ready"], json!([["b", 3000]]));
    play(&mut dag, "b");
    assert_eq!(play(&mut dag, "d")["ready"], json!([["f", 1000]]));
    for mut dag in [dag, in_memory(&storage)] {
        assert_eq!(dag.ok("redo", redo(json!(["a"]))), first);
        assert_eq!(dag.kinds("r")[11], "redone");
    }
}

#[test]
fn a_failure_can_be_redone_and_what_it_swept_away_comes_back() {
    let mut dag = in_memory(&MemoryStorage::new());
    dag.open("r", diamond());
    play(&mut dag, "a");
    for step in ["b", "c"] {
        dag.start("r", step);
        dag.ok("fail", failure("r", step));
    }
    let redo = |steps: Value| json!({"run": "r", "steps": steps, "id": "x", "ts": TS});
    let error = dag.refused("redo", redo(json!(["b"])));
    assert_eq!(error.code, Code::Conflict);
    assert_eq!(error.where_.as_deref(), Some("step d needs one that failed or was skipped"));
    assert_eq!(dag.code("redo", redo(json!([]))), Code::BadRequest);
    assert_eq!(dag.code("redo", redo(json!(["nobody"]))), Code::NotFound);
    let reply = dag.ok("redo", redo(json!(["b", "c"])));
    assert_eq!((&reply["ready"], &reply["left"]), (&json!([["b", 2000], ["c", 2000]]), &json!(3)));
    assert_eq!(dag.states("r"), ["succeeded", "ready", "ready", "pending"]);
    let error = dag.refused("redo", with(redo(json!(["b"])), "id", json!("y")));
    assert_eq!(error.where_.as_deref(), Some("step b is ready"));
}

#[test]
fn a_run_returns_to_a_checkpoint_and_goes_on_from_there() {
    let storage = MemoryStorage::new();
    let mut dag = in_memory(&storage);
    dag.open("r", diamond());
    play(&mut dag, "a");
    let checkpoint = dag.state("r");
    play(&mut dag, "b");
    dag.start("r", "c");
    dag.ok("grow", grow("g", json!([{"id": "n"}])));
    dag.ok("finish", json!({"run": "r", "outcome": "failed", "ts": TS}));
    assert_eq!(dag.ok("runs", json!({}))["runs"][0]["state"], "failed");
    let back = json!({"run": "r", "to": 3, "id": "b", "ts": TS});
    let reply = dag.ok("rollback", back.clone());
    assert_eq!((&reply["index"], &reply["to"]), (&json!(9), &json!(3)));
    assert_eq!(reply["run"], dag.state("r"));
    for mut dag in [in_memory(&storage), dag] {
        let state = dag.state("r");
        assert_eq!(state["ready"], checkpoint["ready"]);
        assert_eq!(dag.states("r"), ["succeeded", "ready", "ready", "pending"]);
        // An attempt of the abandoned branch is never taken for one of this.
        assert_eq!(
            (&state["steps"][1]["attempt"], &state["steps"][2]["attempt"]),
            (&json!(1), &json!(1))
        );
        let listed = dag.ok("runs", json!({}));
        assert_eq!(
            (&listed["runs"][0]["state"], &listed["runs"][0]["ended"]),
            (&json!("open"), &json!(1))
        );
        // The abandoned branch is still there to be read.
        assert_eq!(
            dag.kinds("r")[3..],
            ["started", "completed", "started", "grown", "finished", "rolledback"]
        );
        assert_eq!(dag.ok("rollback", back.clone())["index"], 9);
        let error = dag.refused("grow", grow("g", json!([{"id": "n"}])));
        assert_eq!(error.message, "a rollback took this change back");
        assert_eq!(dag.code("complete", completion("r", "c", 1)), Code::Conflict);
    }
    let mut dag = in_memory(&storage);
    dag.ok("resume", json!({"run": "r", "ts": TS}));
    dag.start("r", "b");
    assert_eq!(dag.ok("complete", completion("r", "b", 2))["index"], 12);
    // And back into the branch that was left.
    let reply = dag.ok("rollback", json!({"run": "r", "to": 7, "id": "c", "ts": TS}));
    let states: Vec<&Value> =
        reply["run"]["steps"].as_array().unwrap().iter().map(|it| &it["state"]).collect();
    assert_eq!(states, ["succeeded", "succeeded", "ready", "pending", "ready"]);
    assert_eq!(reply["run"]["steps"][1]["attempt"], 2);
    assert_eq!(dag.ok("grow", grow("g", json!([{"id": "n"}])))["index"], 7);
    let state = dag.state("r");
    assert_eq!(in_memory(&storage).state("r"), state);
}

#[test]
fn a_rollback_into_a_cascade_completes_it() {
    let storage = MemoryStorage::new();
    let mut dag = in_memory(&storage);
    dag.open("r", diamond());
    dag.start("r", "a");
    dag.ok("fail", failure("r", "a"));
    assert_eq!(dag.states("r"), ["failed", "skipped", "ready", "skipped"]);
    let reply = dag.ok("rollback", json!({"run": "r", "to": 3, "id": "b", "ts": TS}));
    assert_eq!(reply["run"], dag.state("r"));
    assert_eq!(dag.states("r"), ["failed", "skipped", "ready", "skipped"]);
    assert_eq!(dag.kinds("r")[5..], ["rolledback", "skipped", "skipped"]);
    assert_eq!(in_memory(&storage).states("r"), dag.states("r"));
}

#[test]
fn a_rollback_to_where_there_is_nothing_is_refused() {
    let mut dag = in_memory(&MemoryStorage::new());
    dag.open("r", diamond());
    dag.ok("finish", json!({"run": "r", "outcome": "failed", "ts": TS}));
    let back = |to: i64| json!({"run": "r", "to": to, "id": "b", "ts": TS});
    assert_eq!(dag.code("rollback", back(0)), Code::BadRequest);
    assert_eq!(dag.code("rollback", back(-1)), Code::BadRequest);
    assert_eq!(dag.code("rollback", back(3)), Code::BadRequest);
    let error = dag.refused("rollback", back(2));
    assert_eq!((error.code, error.where_.as_deref()), (Code::Conflict, Some("record 2")));
    assert_eq!(dag.state("r")["last"], 2);
    dag.ok("rollback", back(1));
    assert_eq!(dag.code("rollback", back(2)), Code::Conflict);
}

#[test]
fn changes_are_durable_and_a_failed_flush_takes_them_back() {
    let storage = MemoryStorage::new();
    let mut dag = in_memory(&storage);
    dag.open("r", diamond());
    play(&mut dag, "a");
    let before = dag.state("r");
    for (method, arguments) in [
        ("grow", grow("g", json!([{"id": "n"}]))),
        ("reroute", grow("g", json!([{"id": "n"}]))),
        ("redo", json!({"run": "r", "steps": ["a"], "id": "g", "ts": TS})),
        ("rollback", json!({"run": "r", "to": 1, "id": "g", "ts": TS})),
    ] {
        storage.set_syncs_fail(true);
        assert_eq!(dag.code(method, arguments), Code::Io);
        storage.set_syncs_fail(false);
        assert_eq!(dag.state("r"), before, "{method}");
    }
    dag.ok("rollback", json!({"run": "r", "to": 1, "id": "g", "ts": TS}));
    let state = dag.state("r");
    storage.cut_power();
    assert_eq!(in_memory(&storage).state("r"), state);
}
