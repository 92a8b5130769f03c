//! The contract of `pit.dag/1`: what was learned, and what `plan` offers.
#![allow(clippy::unwrap_used)] // A test may panic.

mod harness;

use harness::*;
use serde_json::{json, Value};
use symphony_dag::Tracker;
use symphony_journal::memory::MemoryStorage;
use symphony_wire::Code;

type Memory = Dag<Tracker<MemoryStorage>>;

fn at(ms: u64) -> Value {
    json!(format!("2026-01-31T12:{:02}:{:02}.{:03}Z", ms / 60_000, ms / 1_000 % 60, ms % 1_000))
}

/// One attempt of a step: when it began, how long it took, and whether it succeeded.
fn attempt(dag: &mut Memory, run: &str, step: &str, player: &str, took: u64, succeeded: bool) {
    let started =
        json!({"kind": "started", "step": step, "ts": at(1_000), "data": {"player": player}});
    dag.ok("append", json!({"run": run, "records": [started]}));
    if succeeded {
        let state = dag.state(run);
        let found = state["steps"].as_array().unwrap().iter().find(|it| it["id"] == step).cloned();
        let mut done = completion(run, step, found.unwrap()["attempt"].as_u64().unwrap() as u32);
        done["ts"] = at(1_000 + took);
        done["outputs"] = json!({"out": {"type": "file", "ref": format!("blake3:{step}")}});
        dag.ok("complete", done);
    } else {
        let failed =
            json!({"kind": "failed", "step": step, "ts": at(1_000 + took), "data": {"error": {}}});
        dag.ok("append", json!({"run": run, "records": [failed]}));
    }
}

fn kinds(count: usize, kind: &str) -> Value {
    (0..count).map(|n| json!({"id": format!("s{n}"), "kind": kind})).collect()
}

#[test]
fn durations_and_failures_are_learned_by_player_and_kind() {
    let storage = MemoryStorage::new();
    let mut dag = in_memory(&storage);
    dag.open("r", kinds(4, "text.count/1"));
    attempt(&mut dag, "r", "s0", "ann", 100, true);
    attempt(&mut dag, "r", "s1", "ann", 200, true);
    attempt(&mut dag, "r", "s2", "bob", 50, false);
    attempt(&mut dag, "r", "s2", "bob", 70, true);
    // Another process has learned it too.
    for mut dag in [dag, in_memory(&storage)] {
        let learned = dag.ok("learned", json!({}));
        assert_eq!(
            learned,
            json!({"more": false, "pairs": [
                {"player": "ann", "kind": "text.count/1", "succeeded": 2, "failed": 0,
                    "mean_ms": 150.0, "spread_ms": 100.0, "failure_ppm": 0},
                {"player": "bob", "kind": "text.count/1", "succeeded": 1, "failed": 1,
                    "mean_ms": 70.0, "spread_ms": 0.0, "failure_ppm": 500_000}]})
        );
        assert_eq!(dag.ok("learned", json!({"player": "bob"}))["pairs"][0]["failed"], 1);
        assert_eq!(dag.ok("learned", json!({"kind": "other"}))["pairs"], json!([]));
        let page = dag.ok("learned", json!({"limit": 1}));
        assert_eq!((&page["more"], &page["pairs"][0]["player"]), (&json!(true), &json!("ann")));
        let page = dag.ok("learned", json!({"limit": 1, "after": ["text.count/1", "ann"]}));
        assert_eq!((&page["more"], &page["pairs"][0]["player"]), (&json!(false), &json!("bob")));
        assert_eq!(dag.code("learned", json!({"limit": "x"})), Code::BadRequest);
    }
}

#[test]
fn what_was_learned_makes_the_ranks_of_later_runs_and_is_journaled_with_them() {
    let storage = MemoryStorage::new();
    let mut dag = in_memory(&storage);
    dag.open("r", kinds(1, "k"));
    attempt(&mut dag, "r", "s0", "ann", 400, true);
    let steps = json!([{"id": "a", "kind": "k"}, {"id": "b", "kind": "k", "estimate_ms": 7},
        {"id": "c", "kind": "other", "after": [["a", "hard"]]}, {"id": "d"}]);
    let opened = dag.open("q", steps.clone());
    assert_eq!(opened["ready"], json!([["a", 1_400], ["d", 1_000], ["b", 7]]));
    let journaled = dag.ok("journal", json!({"run": "q"}));
    assert_eq!(journaled["records"][0]["data"]["learned"], json!([[null, "k", 400]]));
    dag.open("r2", kinds(1, "k"));
    attempt(&mut dag, "r2", "s0", "ann", 900, true);
    // The run keeps what it began with, in another process too.
    for mut dag in [dag, in_memory(&storage)] {
        assert_eq!(dag.open("q", steps.clone()), opened);
    }
}

#[test]
fn the_kind_of_a_step_is_its_capability_where_the_kernel_wrote_the_document() {
    let mut dag = in_memory(&MemoryStorage::new());
    let mut arguments = opening("r", json!([{"id": "a"}, {"id": "b"}]));
    arguments["document"] = melody();
    dag.ok("open", arguments.clone());
    attempt(&mut dag, "r", "a", "ann", 30, true);
    assert_eq!(dag.ok("learned", json!({}))["pairs"][0]["kind"], "image.enhance/1");
    arguments["run"] = json!("q");
    assert_eq!(dag.ok("open", arguments)["ready"], json!([["b", 1_000], ["a", 30]]));
}

#[test]
fn measured_durations_change_the_ranks_of_what_is_left_of_a_run() {
    let storage = MemoryStorage::new();
    let mut dag = in_memory(&storage);
    dag.open("r", kinds(10, "k"));
    attempt(&mut dag, "r", "s0", "ann", 5_000, true);
    assert_eq!(dag.state("r")["steps"][9]["rank"], 5_000);
    attempt(&mut dag, "r", "s1", "ann", 1_000, true);
    assert_eq!(dag.state("r")["steps"][9]["rank"], 3_000);
    let state = dag.state("r");
    assert_eq!(in_memory(&storage).state("r"), state);
}

#[test]
fn what_was_learned_is_a_statistic_and_no_call_fails_by_it() {
    let storage = MemoryStorage::new();
    let mut dag = in_memory(&storage);
    dag.open("r", kinds(3, "k"));
    attempt(&mut dag, "r", "s0", "ann", 400, true);
    storage.put("learned", vec![1, 2, 3]);
    let mut dag = in_memory(&storage);
    dag.open("q", kinds(1, "k"));
    assert_eq!(dag.ok("learned", json!({}))["pairs"], json!([]));
    attempt(&mut dag, "r", "s1", "ann", 300, true);
    let learned = in_memory(&storage).ok("learned", json!({}));
    assert_eq!(learned["pairs"][0]["mean_ms"], 300.0);
    // What a failed flush takes back was not learned either.
    let started = json!({"kind": "started", "step": "s2", "ts": at(0), "data": {"player": "ann"}});
    dag.ok("append", json!({"run": "r", "records": [started]}));
    storage.set_syncs_fail(true);
    assert_eq!(dag.code("complete", completion("r", "s2", 1)), Code::Io);
    storage.set_syncs_fail(false);
    assert_eq!(dag.ok("learned", json!({})), learned);
}

#[test]
fn what_was_learned_is_rewritten_before_it_grows_large() {
    let storage = MemoryStorage::new();
    let mut dag = in_memory(&storage);
    let mut largest = 0;
    for n in 0..12 {
        let run = format!("r{n}");
        let player = "p".repeat(5_000);
        dag.open(&run, kinds(8, "k"));
        for step in 0..8 {
            attempt(&mut dag, &run, &format!("s{step}"), &player, 10 + n, true);
        }
        largest = largest.max(storage.bytes("learned").len());
    }
    assert!(largest > 200_000 && storage.bytes("learned").len() < 250_000);
    let learned = dag.ok("learned", json!({}));
    assert_eq!(learned["pairs"][0]["succeeded"], 96);
    assert_eq!(in_memory(&storage).ok("learned", json!({})), learned);
}

fn melody() -> Value {
    json!({"melody": {"format": 1, "file": {"melody": {"name": "m"}, "steps": [
        {"id": "a", "capability": "image.enhance/1", "player": "ann", "fallbacks": ["bob", "cy"]},
        {"id": "b", "capability": "image.sign/1", "importance": "optional",
            "inputs": {"image": "$steps.a.out", "seed": "$inputs.seed"}},
        {"id": "c", "capability": "image.pack/1",
            "inputs": {"signed": "$steps.b.out", "prompt": "$inputs.prompt"}}]}}})
}

/// a → b → c, all done by ann, and e beside them.
fn played() -> (MemoryStorage, Memory) {
    let storage = MemoryStorage::new();
    let mut dag = in_memory(&storage);
    let mut arguments = opening(
        "r",
        json!([{"id": "a"}, {"id": "b", "after": [["a", "hard"]]}, {"id": "c", "after": [["b", "hard"]]}, {"id": "e"}]),
    );
    arguments["document"] = melody();
    dag.ok("open", arguments);
    for (step, took) in [("a", 300), ("e", 5), ("b", 70), ("c", 10)] {
        attempt(&mut dag, "r", step, "ann", took, true);
    }
    (storage, dag)
}

#[test]
fn a_broken_step_is_run_again_with_what_was_made_from_it_and_nothing_else() {
    let (_, mut dag) = played();
    let plan = dag.ok("plan", json!({"run": "r", "broken": ["b"]}));
    assert_eq!(plan["again"], json!({"steps": ["b", "c"], "work_ms": 80, "path_ms": 80}));
    assert_eq!(
        plan["broken"],
        json!([{"step": "b", "state": "succeeded", "player": "ann", "importance": "optional", "players": []}])
    );
    // a and e were done before b began: nothing sound is lost by going back to there.
    assert_eq!(plan["rollback"], json!({"to": 5, "abandons": 0}));
    let plan = dag.ok("plan", json!({"run": "r", "broken": ["blake3:a"]}));
    assert_eq!(plan["again"]["steps"], json!(["a", "b", "c"]));
    assert_eq!(plan["rollback"], json!({"to": 1, "abandons": 1}));
    // What the plan names is what `redo` does.
    dag.ok("redo", json!({"run": "r", "steps": ["b"], "id": "x", "ts": TS}));
    assert_eq!(dag.states("r"), ["succeeded", "ready", "pending", "succeeded"]);
}

#[test]
fn other_players_come_from_the_melody_or_the_caller_with_what_is_known_of_them() {
    let (_, mut dag) = played();
    dag.open("other", kinds(1, "image.enhance/1"));
    attempt(&mut dag, "other", "s0", "bob", 40, false);
    attempt(&mut dag, "other", "s0", "bob", 60, true);
    let plan = dag.ok("plan", json!({"run": "r", "broken": ["a"]}));
    assert_eq!(
        plan["broken"][0]["players"],
        json!([{"player": "bob", "mean_ms": 60.0, "failure_ppm": 500_000}, {"player": "cy"}])
    );
    let told = json!({"run": "r", "broken": ["a"], "players": {"a": ["dee", "ann"]}});
    assert_eq!(dag.ok("plan", told)["broken"][0]["players"], json!([{"player": "dee"}]));
}

#[test]
fn what_is_lost_without_a_step_is_what_cannot_do_without_it() {
    let mut dag = in_memory(&MemoryStorage::new());
    dag.open(
        "r",
        json!([{"id": "a"}, {"id": "b"}, {"id": "gone"},
            {"id": "c", "after": [["a", "hard"]]},
            {"id": "d", "after": [["c", "hard"], ["b", "hard"]], "join": "any"},
            {"id": "e", "after": [["a", "soft"]]},
            {"id": "f", "after": [["a", "hard"], ["gone", "hard"]]}]),
    );
    dag.ok("skip", json!({"run": "r", "step": "gone", "reason": "x", "ts": TS}));
    let loses = |dag: &mut Memory, broken: Value| {
        dag.ok("plan", json!({"run": "r", "broken": broken}))["skip"]["loses"].clone()
    };
    // f is lost anyway, d has another way.
    assert_eq!(loses(&mut dag, json!(["a"])), json!(["c"]));
    assert_eq!(loses(&mut dag, json!(["b"])), json!([]));
    assert_eq!(loses(&mut dag, json!(["a", "b"])), json!(["c", "d"]));
    // The same after the failure swept them away.
    dag.start("r", "a");
    dag.ok("fail", failure("r", "a"));
    assert_eq!(loses(&mut dag, json!(["a"])), json!(["c"]));
}

#[test]
fn a_lost_value_is_made_again_from_what_came_later_by_declared_inverses() {
    let (_, mut dag) = played();
    let unpack = json!({"of": "image.pack/1", "player": "unpacker", "gives": ["signed"]});
    let strip = json!({"of": "image.sign/1", "player": "stripper", "capability": "image.strip/1",
        "takes": ["out", "inputs.seed"], "gives": ["image"]});
    let plan = |dag: &mut Memory, broken: Value, inverses: Value| {
        dag.ok("plan", json!({"run": "r", "broken": broken, "inverses": inverses}))
    };
    let found = plan(&mut dag, json!(["a"]), json!([unpack, strip]));
    let strip_b = json!({"step": "b", "player": "stripper", "capability": "image.strip/1",
        "takes": [["b", "out"]], "gives": [["a", "out"]]});
    assert_eq!(
        found["rebuild"],
        json!([{"step": "a", "output": "out", "cost_ms": 70, "by": [strip_b]}])
    );
    // Where b's output is gone too, it is made from c's first.
    let found = plan(&mut dag, json!(["a", "b"]), json!([unpack, strip]));
    let unpack_c = json!({"step": "c", "player": "unpacker", "capability": "image.pack/1",
        "takes": [["c", "out"]], "gives": [["b", "out"]]});
    assert_eq!(
        found["rebuild"],
        json!([{"step": "a", "output": "out", "cost_ms": 80, "by": [unpack_c, strip_b]},
            {"step": "b", "output": "out", "cost_ms": 10, "by": [unpack_c]}])
    );
    assert_eq!(found["lost"], json!([]));
    let found = plan(&mut dag, json!(["a", "b"]), json!([strip]));
    assert_eq!(
        (&found["rebuild"], &found["lost"]),
        (&json!([]), &json!([["a", "out"], ["b", "out"]]))
    );
    // Nothing later than the last step.
    let found = plan(&mut dag, json!(["c"]), json!([unpack, strip]));
    assert_eq!(found["lost"], json!([["c", "out"]]));
    // Lineage that the Melody does not tell may be told.
    let told = json!({"run": "r", "broken": ["e"], "lineage": [["c", "side", "e", "out"]],
        "inverses": [{"of": "image.pack/1", "player": "unpacker", "takes": ["out"], "gives": ["side"]}]});
    assert_eq!(dag.ok("plan", told)["rebuild"][0]["by"][0]["step"], "c");
}

#[test]
fn a_plan_that_cannot_be_made_says_why_and_no_plan_changes_anything() {
    let (_, mut dag) = played();
    let before = dag.state("r");
    let error = dag.refused("plan", json!({"run": "r", "broken": ["b", "blake3:x", "nobody"]}));
    assert_eq!((error.code, error.where_.as_deref()), (Code::NotFound, Some("blake3:x; nobody")));
    for arguments in [
        json!({"run": "r", "broken": []}),
        json!({"run": "r"}),
        json!({"run": "r", "broken": ["a"], "inverses": [{"player": "p", "gives": []}]}),
        json!({"run": "r", "broken": vec!["a"; 10_001]}),
    ] {
        assert_eq!(dag.code("plan", arguments), Code::BadRequest);
    }
    assert_eq!(dag.code("plan", json!({"run": "q", "broken": ["a"]})), Code::NotFound);
    assert_eq!(dag.state("r"), before);
}

#[test]
fn a_plan_that_is_too_long_for_a_reply_says_so() {
    let mut dag = in_memory(&MemoryStorage::new());
    let id = |n: usize| format!("{n:05}-{}", "x".repeat(120));
    let ids: Vec<String> = (0..10_000).map(id).collect();
    let steps: Value = ids.iter().map(|id| json!({"id": id})).collect();
    dag.open("r", steps);
    let plan = dag.ok("plan", json!({"run": "r", "broken": ids}));
    assert_eq!(plan["more"], true);
    assert!(rmp_serde::to_vec_named(&plan).unwrap().len() <= 2 << 20);
}
