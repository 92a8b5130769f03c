//! Every method and every error of `pit.arbitration/1`, through calls alone.
#![allow(clippy::unwrap_used)] // A test may panic.

mod harness;

use harness::*;
use serde_json::{json, Value};
use symphony_journal::memory::MemoryStorage;
use symphony_wire::Code;

fn cpu(capacity: u64) -> Value {
    json!({"resources": {"cpu": {"capacity": capacity}}, "tenants": {"a": {"weight": 1}, "b": {"weight": 1}}})
}

fn one(amount: u64) -> Value {
    json!({"cpu": amount})
}

#[test]
fn a_configuration_has_a_digest_and_every_fault_is_told_at_once() {
    let mut world = in_memory(&MemoryStorage::new());
    let digest = world.ok("configure", cpu(4))["digest"].clone();
    assert_eq!(digest.as_str().unwrap().len(), 64);
    assert_eq!(world.ok("configure", cpu(4))["digest"], digest);
    assert_ne!(world.ok("configure", cpu(5))["digest"], digest);
    let error = world.refused("configure", json!({
        "resources": {"cpu": {"capacity": 4}, "gpu": {"capacity": -1}},
        "tenants": {
            "a": {"weight": 1, "reserve": {"cpu": 3}},
            "b": {"weight": 1_000_001, "reserve": {"cpu": 2, "disk": 1}},
            "c": {"weight": 0, "reserve": {"cpu": -1}},
        },
        "budgets": [
            {"name": "x", "per": "run", "resource": "tokens", "limit": 1},
            {"name": "x", "per": "all", "resource": "cpu", "limit": -5, "warn": 101, "tenant": "z"},
        ],
        "ageing_ms": 0,
    }));
    assert_eq!(error.code, Code::BadRequest);
    let place = error.where_.unwrap();
    for fault in [
        "resources.gpu.capacity",
        "resources.cpu.capacity",
        "tenants.b.weight",
        "tenants.b.reserve.disk",
        "tenants.c.reserve.cpu",
        "budgets[1].name",
        "budgets[1].resource",
        "budgets[1].limit",
        "budgets[1].warn",
        "budgets[1].tenant",
        "ageing_ms",
    ] {
        assert!(place.contains(fault), "{fault}: {place}");
    }
    assert_eq!(world.code("configure", json!({"resources": 3})), Code::BadRequest);
}

#[test]
fn a_request_is_granted_waits_or_is_sent_away() {
    let mut world = configured(cpu(4));
    let reply = world.ok("request", request("1", "a", one(3), json!({"step": "s"})));
    assert_eq!((&reply["grant"], &reply["needs"]), (&json!("g1"), &one(3)));
    assert_eq!((&reply["strategy"], &reply["waited_ms"]), (&json!("round-robin"), &json!(0)));
    assert!(reply["reason"].as_str().unwrap().contains("tenant a"));
    let waits = world.ask("request", request("2", "b", one(2), json!({})));
    assert!(world.answered(waits).is_none());
    let error = world.refused("request", request("3", "b", one(2), json!({"wait": false})));
    assert_eq!((error.code, error.where_.as_deref()), (Code::Overloaded, Some("place 2")));
    assert!(error.retry_after_ms.unwrap() >= 50);
    world.pass(70);
    world.release("g1");
    let reply = world.granted(waits);
    assert_eq!((&reply["grant"], &reply["waited_ms"]), (&json!("g2"), &json!(70)));
    assert_eq!(world.waiting(), Vec::<String>::new());
}

#[test]
fn what_could_never_be_granted_is_refused_at_once_with_every_fault() {
    let mut world = configured(json!({"resources": {"cpu": {"capacity": 4}}, "tenants": {
        "none": {"weight": 0}, "own": {"weight": 1, "reserve": {"cpu": 3}}, "shy": {"weight": 1, "borrow": false}}}));
    let error = world.refused("request", request("1", "a", json!({"cpu": 5, "gpu": 1}), json!({})));
    assert_eq!(
        (error.code, error.where_.as_deref()),
        (Code::BadRequest, Some("needs.cpu, needs.gpu"))
    );
    let error = world.refused("request", request("1", "none", one(1), json!({})));
    assert_eq!((error.code, error.where_.as_deref()), (Code::Refused, Some("tenant")));
    assert_eq!(world.code("request", request("1", "none", json!({}), json!({}))), Code::Refused);
    // Three are another's, and this tenant does not borrow.
    assert_eq!(world.code("request", request("1", "shy", one(2), json!({}))), Code::BadRequest);
    world.grant(request("1", "shy", one(1), json!({})));
    let bad = json!({"id": "", "run": "r", "needs": {"cpu": -1}, "priority": 101, "ts": "now", "share": "k",
        "deadline_ms": -1, "gang": {"id": "g", "size": 0}, "players": [{"player": "p", "fit": 1001, "cost": -1, "latency_ms": 0}]});
    let place = world.refused("request", bad).where_.unwrap();
    for fault in [
        "id",
        "needs.cpu",
        "priority",
        "ts",
        "share",
        "deadline_ms",
        "gang.size",
        "players[0].fit",
        "players[0].cost",
    ] {
        assert!(place.contains(fault), "{fault}: {place}");
    }
    assert_eq!(world.code("request", json!({"id": "1"})), Code::BadRequest);
    assert_eq!(world.code("request", json!({"id": "x", "run": "r", "ts": TS})), Code::BadRequest);
    assert_eq!(world.code("nonsense", json!({})), Code::BadRequest);
}

#[test]
fn default_needs_and_the_default_tenant_are_configured() {
    let mut config = cpu(4);
    config["defaults"] = json!({"needs": {"cpu": 2}});
    let mut world = configured(config);
    let reply = world.ok("request", json!({"id": "1", "run": "r", "ts": TS}));
    assert_eq!(reply["needs"], one(2));
    let explained = world.ok("explain", json!({"id": "1"}));
    assert_eq!(explained["tenant"], "default");
    world.grant(request("2", "nobody", one(2), json!({})));
    assert_eq!(world.ok("explain", json!({"id": "2"}))["tenant"], "default");
}

#[test]
fn the_same_id_has_one_effect_and_another_request_of_that_id_is_a_conflict() {
    let mut config = cpu(4);
    config["budgets"] = json!([{"name": "m", "per": "all", "resource": "money", "limit": 100}]);
    let mut world = configured(config);
    let first = world.ok("request", request("1", "a", one(4), json!({})));
    let mut again = request("1", "a", one(4), json!({"wait": false}));
    again["ts"] = json!("2026-02-01T00:00:00.000Z");
    assert_eq!(world.ok("request", again), first);
    assert_eq!(world.code("request", request("1", "a", one(3), json!({}))), Code::Conflict);
    assert_eq!(world.code("release", release("1", "g1")), Code::Conflict);
    let charged = world.ok("charge", charge("c", "r", json!({"money": 7}), json!({})));
    assert_eq!(world.ok("charge", charge("c", "r", json!({"money": 7}), json!({}))), charged);
    assert_eq!(world.ok("budgets", json!({}))["budgets"][0]["spent"], 7);
    assert_eq!(
        world.code("charge", charge("c", "r", json!({"money": 8}), json!({}))),
        Code::Conflict
    );
    // A call repeated while the first waits is answered with it.
    let calls = [0, 1].map(|_| world.ask("request", request("2", "a", one(1), json!({}))));
    assert_eq!(world.code("request", request("2", "b", one(1), json!({}))), Code::Conflict);
    assert_eq!(world.waiting(), ["2"]);
    assert_eq!(world.ok("release", release("x", "g1")), json!({}));
    assert_eq!(world.ok("release", release("x", "g1")), json!({}));
    assert_eq!(world.code("release", release("y", "g1")), Code::Conflict);
    assert_eq!(world.code("release", release("y", "g99")), Code::NotFound);
    assert_eq!(world.code("release", release("y", "1")), Code::NotFound);
    let replies = calls.map(|call| world.granted(call));
    assert_eq!(replies[0], replies[1]);
    // A released grant's request still has its reply.
    assert_eq!(world.ok("request", request("1", "a", one(4), json!({}))), first);
    assert_eq!(world.held(), ["g2"]);
}

#[test]
fn to_cancel_is_to_leave_the_queue() {
    let mut world = configured(cpu(1));
    world.grant(request("0", "a", one(1), json!({})));
    let [first, again, second] =
        ["1", "1", "2"].map(|id| world.ask("request", request(id, "a", one(1), json!({}))));
    world.cancel(first);
    assert_eq!(world.answered(first).unwrap().unwrap_err().code, Code::Cancelled);
    assert_eq!(world.waiting(), ["1", "2"]);
    world.cancel(again);
    assert_eq!(world.waiting(), ["2"]);
    world.release("g1");
    assert_eq!(world.granted(second)["grant"], "g2");
    // Too late: it was answered.
    world.cancel(second);
    assert!(world.answered(second).is_none());
}

#[test]
fn the_tenant_with_the_least_dominant_share_for_its_weight_is_first() {
    let mut world =
        configured(json!({"resources": {"cpu": {"capacity": 9}, "mem": {"capacity": 18}},
        "tenants": {"a": {"weight": 1}, "b": {"weight": 1}}}));
    // The example of the paper: A's tasks need 1 of 9 and 4 of 18, B's 3 of 9 and 1 of 18.
    world.grant(request("all", "default", json!({"cpu": 9, "mem": 18}), json!({})));
    let mut calls = vec![];
    for n in 0..6 {
        let [a, b] = [("a", json!({"cpu": 1, "mem": 4})), ("b", json!({"cpu": 3, "mem": 1}))];
        calls.push((a.0, world.ask("request", request(&format!("a{n}"), "a", a.1, json!({})))));
        calls.push((b.0, world.ask("request", request(&format!("b{n}"), "b", b.1, json!({})))));
    }
    world.release("g1");
    let mut granted = std::collections::BTreeMap::new();
    for (tenant, call) in calls {
        *granted.entry(tenant).or_insert(0) += u32::from(world.answered(call).is_some());
    }
    assert_eq!((granted["a"], granted["b"]), (3, 2));
}

#[test]
fn within_a_tenant_class_then_deadline_then_turns_of_runs_then_arrival() {
    let mut world = configured(cpu(100));
    world.grant(request("0", "a", one(100), json!({})));
    let mut add = |id: &str, more: Value| world.ask("request", request(id, "a", one(1), more));
    add("low", json!({"priority": 10}));
    add("x1", json!({"run": "x"}));
    add("x2", json!({"run": "x"}));
    add("x3", json!({"run": "x"}));
    add("y1", json!({"run": "y"}));
    add("late", json!({"deadline_ms": 9_000}));
    add("soon", json!({"deadline_ms": 1_000}));
    add("high", json!({"priority": 60}));
    assert_eq!(world.waiting(), ["high", "soon", "late", "x1", "y1", "x2", "x3", "low"]);
    // After 50 classes of 6 s, what came with priority 10 is before what comes with 60 now.
    world.pass(301_000);
    world.ask("request", request("new", "a", one(1), json!({"priority": 59})));
    assert_eq!(world.waiting()[7..], ["low", "new"]);
}

#[test]
fn what_is_reserved_is_lent_while_its_owner_does_not_wait() {
    let mut world = configured(json!({"resources": {"cpu": {"capacity": 10}}, "tenants": {
        "own": {"weight": 1, "reserve": {"cpu": 6}}, "b": {"weight": 1}, "shy": {"weight": 1, "borrow": false}}}));
    assert_eq!(world.grant(request("1", "shy", one(4), json!({}))), "g1");
    let shy = world.ask("request", request("2", "shy", one(1), json!({})));
    let lent = world.grant(request("3", "b", one(5), json!({})));
    let owner = world.ask("request", request("4", "own", one(3), json!({})));
    let borrower = world.ask("request", request("5", "b", one(1), json!({})));
    // One is free, but the owner waits now.
    assert!(world.answered(shy).is_none() && world.answered(borrower).is_none());
    world.release(&lent);
    assert_eq!(world.granted(owner)["needs"], one(3));
    assert_eq!(world.granted(borrower)["needs"], one(1));
    assert!(world.answered(shy).is_none());
    world.release("g1");
    world.granted(shy);
}

#[test]
fn what_becomes_free_is_kept_for_the_first_once_it_has_waited() {
    let mut world = configured(cpu(4));
    let grants = ["1", "2", "3", "4"].map(|id| world.grant(request(id, "b", one(1), json!({}))));
    let large = world.ask("request", request("large", "a", one(4), json!({})));
    world.release(&grants[0]);
    let passing = world.grant(request("small", "b", one(1), json!({})));
    world.pass(60_000);
    let waits = world.ask("request", request("small 2", "b", one(1), json!({})));
    for grant in [&grants[1], &grants[2], &grants[3]] {
        world.release(grant);
        assert!(world.answered(waits).is_none());
    }
    let why = world.ok("queue", json!({}))["waiting"][0]["why"].clone();
    assert_eq!(why, "first: kept for it");
    world.release(&passing);
    let reply = world.granted(large);
    assert_eq!(world.ok("queue", json!({}))["free"], one(0));
    let explained = world.ok("explain", json!({"grant": reply["grant"]}));
    assert_eq!(explained["scores"][0]["request"], "large");
    world.release(reply["grant"].as_str().unwrap());
    world.granted(waits);
}

#[test]
fn a_gang_is_granted_whole_or_not_at_all() {
    let mut world = configured(cpu(4));
    let member = |id: &str, amount: u64| {
        request(id, "a", one(amount), json!({"gang": {"id": "g", "size": 3}}))
    };
    let busy = world.grant(request("0", "b", one(1), json!({})));
    let calls = [("1", 1), ("2", 1)].map(|(id, amount)| world.ask("request", member(id, amount)));
    assert!(calls.iter().all(|call| !world.answers.contains_key(call)));
    let mut other = member("3", 1);
    other["gang"]["size"] = json!(2);
    assert_eq!(world.code("request", other), Code::BadRequest);
    let last = world.ask("request", member("3", 2));
    assert_eq!(world.code("request", member("4", 1)), Code::Conflict);
    assert_eq!(world.held(), std::slice::from_ref(&busy));
    world.release(&busy);
    let grants: Vec<Value> =
        [calls[0], calls[1], last].map(|call| world.granted(call)["grant"].clone()).into();
    assert_eq!(grants, ["g2", "g3", "g4"]);
    // Larger than any capacity: all of its members are sent away.
    let first =
        world.ask("request", request("5", "a", one(4), json!({"gang": {"id": "h", "size": 2}})));
    let second =
        world.ask("request", request("6", "a", one(1), json!({"gang": {"id": "h", "size": 2}})));
    for call in [first, second] {
        assert_eq!(world.answered(call).unwrap().unwrap_err().code, Code::BadRequest);
    }
    // Who leaves makes the others gather again.
    let calls = ["7", "8", "9"].map(|id| world.ask("request", member(id, 1)));
    world.cancel(calls[2]);
    assert_eq!(world.ok("queue", json!({}))["waiting"][0]["why"], "its gang is not complete");
    world.release("g2");
    world.release("g3");
    world.release("g4");
    assert!(world.held().is_empty());
    world.ask("request", member("10", 1));
    assert_eq!(world.held().len(), 3);
}

#[test]
fn requests_of_one_key_use_one_grant_until_the_last_is_released() {
    let mut world = configured(cpu(2));
    let sharing = |id: &str, tenant: &str| request(id, tenant, one(2), json!({"share": "model"}));
    let players = json!([{"player": "p", "fit": 900, "cost": 1, "latency_ms": 1}]);
    let mut first = sharing("1", "a");
    first["players"] = players;
    let first = world.ok("request", first);
    assert_eq!((&first["player"], &first["strategy"]), (&json!("p"), &json!("specialise")));
    let second = world.ok("request", sharing("2", "a"));
    assert_eq!((&second["with"], &second["needs"]), (&first["grant"], &json!({})));
    assert_eq!((&second["player"], &second["strategy"]), (&json!("p"), &json!("collaborate")));
    // Another tenant's key is another key.
    let other = world.ask("request", sharing("3", "b"));
    let third = world.ask("request", sharing("4", "b"));
    world.release("g1");
    assert_eq!(world.ok("queue", json!({}))["free"], one(0));
    // Somebody else waits: after ageing_ms nobody joins any more.
    world.grant(sharing("5", "a"));
    world.pass(60_000);
    let late = world.ask("request", sharing("6", "a"));
    world.release("g2");
    assert!(world.answered(other).is_none());
    world.release("g3");
    let leader = world.granted(other);
    assert_eq!(world.granted(third)["with"], leader["grant"]);
    assert!(world.answered(late).is_none());
}

#[test]
fn budgets_are_told_before_anything_is_spent_of_them() {
    let mut config = cpu(4);
    let budget =
        |name: &str, per: &str| json!({"name": name, "per": per, "resource": "money", "limit": 10});
    config["budgets"] = json!([budget("run", "run"), budget("day", "day"), budget("all", "all")]);
    let mut world = configured(config);
    let told = world.ok("budgets", json!({}));
    let row = |name: &str| json!({"name": name, "resource": "money", "spent": 0, "limit": 10, "state": "ok"});
    assert_eq!(told["budgets"], json!([row("run"), row("day"), row("all")]));
    assert_eq!(world.ok("budgets", json!({"run": "r"}))["budgets"][0]["who"], "r");
}

#[test]
fn budgets_warn_and_then_stop_hard() {
    let budget = |name: &str, per: &str, limit: u64| json!({"name": name, "per": per, "resource": "money", "limit": limit});
    let mut config = cpu(4);
    config["budgets"] = json!([budget("run", "run", 100), budget("tenant", "tenant", 150), budget("day", "day", 180),
        {"name": "all", "per": "all", "resource": "money", "limit": 1000, "warn": 10, "tenant": "b"}]);
    let mut world = configured(config);
    let spend = |id: &str, run: &str, tenant: &str, money: u64| {
        charge(id, run, json!({"money": money}), json!({"tenant": tenant}))
    };
    let reply = world.ok("charge", spend("1", "r", "a", 79));
    assert_eq!(
        reply["budgets"][0],
        json!({"name": "run", "who": "r", "resource": "money", "spent": 79, "limit": 100, "state": "ok"})
    );
    assert_eq!(reply["budgets"].as_array().unwrap().len(), 3);
    assert_eq!(world.ok("charge", spend("2", "r", "a", 1))["budgets"][0]["state"], "warning");
    // What is estimated counts, also of what is out.
    let estimated =
        |id: &str, money: u64| request(id, "a", one(1), json!({"estimate": {"money": money}}));
    world.grant(estimated("3", 15));
    let error = world.refused("request", estimated("4", 6));
    assert_eq!((error.code, error.where_.as_deref()), (Code::Refused, Some("run")));
    world.grant(estimated("4", 5));
    world.ok("charge", charge("5", "r", json!({"money": 15}), json!({"grant": "g1"})));
    // What was spent is spent, whatever the limit.
    let over = world.ok("charge", spend("6", "r", "a", 30));
    assert_eq!(
        (&over["budgets"][0]["state"], &over["budgets"][0]["spent"]),
        (&json!("spent"), &json!(125))
    );
    let error = world.refused("request", request("7", "a", one(1), json!({})));
    assert_eq!((error.code, error.where_.as_deref()), (Code::Refused, Some("run")));
    world.grant(request("7", "a", one(1), json!({"run": "other"})));
    world.ok("charge", spend("8", "other", "a", 25));
    assert_eq!(
        world
            .refused("request", request("9", "a", one(1), json!({"run": "third"})))
            .where_
            .unwrap(),
        "tenant"
    );
    // Tenant b has budgets of its own, but the day is everybody's.
    assert_eq!(world.ok("charge", spend("10", "x", "b", 99))["budgets"][3]["state"], "ok");
    assert_eq!(world.ok("charge", spend("11", "y", "b", 1))["budgets"][3]["state"], "warning");
    assert_eq!(
        world.refused("request", request("12", "b", one(1), json!({"run": "z"}))).where_.unwrap(),
        "day"
    );
    let mut tomorrow = request("12", "b", one(1), json!({"run": "z"}));
    tomorrow["ts"] = json!("2026-02-01T00:00:00.000Z");
    world.grant(tomorrow);
    let told = world.ok("budgets", json!({"run": "r", "tenant": "a"}));
    let spent: Vec<&Value> =
        told["budgets"].as_array().unwrap().iter().map(|it| &it["spent"]).collect();
    assert_eq!(spent, [&json!(125), &json!(150), &json!(250)]);
}

#[test]
fn a_budget_spent_while_a_request_waits_refuses_it() {
    let mut config = cpu(1);
    config["budgets"] = json!([{"name": "m", "per": "run", "resource": "money", "limit": 10}]);
    let mut world = configured(config);
    world.grant(request("1", "a", one(1), json!({})));
    let waits = world.ask("request", request("2", "a", one(1), json!({})));
    let other = world.ask("request", request("3", "a", one(1), json!({"run": "other"})));
    world.ok("charge", charge("c", "r", json!({"money": 10}), json!({})));
    world.release("g1");
    assert_eq!(world.answered(waits).unwrap().unwrap_err().code, Code::Refused);
    world.granted(other);
}

#[test]
fn resync_releases_what_the_caller_does_not_hold() {
    let mut world = configured(cpu(4));
    for id in ["1", "2", "3", "4"] {
        world.grant(request(id, "a", one(1), json!({})));
    }
    world.release("g4");
    let waits = world.ask("request", request("5", "a", one(2), json!({})));
    let reply = world.ok("resync", json!({"held": ["g2", "g4", "g77", "?"], "ts": TS}));
    assert_eq!(reply, json!({"released": ["g1", "g3"], "unknown": ["g4", "g77", "?"]}));
    assert_eq!(world.answered(waits).unwrap().unwrap_err().code, Code::Cancelled);
    assert_eq!(world.held(), ["g2"]);
    assert_eq!(world.ok("queue", json!({}))["free"], one(3));
    assert_eq!(world.code("resync", json!({"held": [], "ts": "x"})), Code::BadRequest);
}

/// Three grants of one run, each of which may spend 10; of the first 4 is spent.
fn three_that_spend() -> World<MemoryStorage> {
    let budget =
        |name: &str, per: &str| json!({"name": name, "per": per, "resource": "money", "limit": 40});
    let mut config = cpu(4);
    config["budgets"] = json!([budget("run", "run"), budget("day", "day")]);
    let mut world = configured(config);
    for id in ["mine/1", "theirs/2", "theirs/3"] {
        world.grant(request(id, "a", one(1), json!({"estimate": {"money": 10}})));
    }
    world.ok("charge", charge("c1", "r", json!({"money": 4}), json!({"grant": "g2"})));
    world
}

fn spent(world: &mut World<MemoryStorage>) -> [Value; 2] {
    let told = world.ok("budgets", json!({"run": "r"}));
    [0, 1].map(|place| told["budgets"][place]["spent"].clone())
}

#[test]
fn what_nobody_knows_of_is_taken_as_spent() {
    let mut world = three_that_spend();
    world.ok("resync", json!({"held": ["g3"], "ts": TS}));
    // All of the first's estimate, and what was left of the second's.
    assert_eq!(spent(&mut world), [json!(20), json!(20)]);
    world.ok("resync", json!({"held": ["g3"], "ts": TS}));
    assert_eq!(spent(&mut world), [json!(20), json!(20)]);
    let more =
        |id: &str, money: u64| request(id, "a", one(1), json!({"estimate": {"money": money}}));
    assert_eq!(world.refused("request", more("4", 11)).where_.unwrap(), "run");
    world.grant(more("4", 10));
}

#[test]
fn what_is_told_later_takes_the_place_of_what_was_assumed() {
    let mut world = three_that_spend();
    world.ok("resync", json!({"held": [], "ts": TS}));
    assert_eq!(spent(&mut world), [json!(30), json!(30)]);
    let told = charge("c2", "r", json!({"money": 3}), json!({"grant": "g2"}));
    let row = &world.ok("charge", told.clone())["budgets"][0];
    assert_eq!(row["spent"], 27, "4 and 3 in the place of 4 and 6");
    world.ok("charge", told);
    assert_eq!(spent(&mut world), [json!(27), json!(27)]);
    world.ok("charge", charge("c3", "r", json!({"money": 2}), json!({"grant": "g2"})));
    assert_eq!(spent(&mut world), [json!(29), json!(29)]);
    // It was assumed for the run and the day of the request, whoever is charged now.
    let mut tomorrow = charge("c4", "other", json!({"money": 1}), json!({"grant": "g3"}));
    tomorrow["ts"] = json!("2026-02-01T00:00:00.000Z");
    world.ok("charge", tomorrow);
    let told = world.ok("budgets", json!({"run": "r"}));
    let spent: Vec<&Value> =
        told["budgets"].as_array().unwrap().iter().map(|row| &row["spent"]).collect();
    assert_eq!(spent, [&json!(19), &json!(1), &json!(19)]);
}

#[test]
fn of_its_own_requests_the_caller_knows_what_they_spent() {
    let mut world = three_that_spend();
    let reply = world.ok("resync", json!({"held": [], "own": ["other/", "mine/"], "ts": TS}));
    assert_eq!(reply["released"], json!(["g1", "g2", "g3"]));
    assert_eq!(spent(&mut world), [json!(20), json!(20)]);
    for own in [vec![""], vec!["x"; 65]] {
        let own = json!({"held": [], "own": own, "ts": TS});
        assert_eq!(world.refused("resync", own).where_.unwrap(), "own");
    }
}

#[test]
fn a_budget_that_began_anew_gives_nothing_back() {
    let mut world = three_that_spend();
    world.ok("resync", json!({"held": [], "ts": TS}));
    let mut config = cpu(4);
    config["budgets"] = json!([{"name": "run", "per": "run", "resource": "money", "limit": 40},
        {"name": "day", "per": "day", "resource": "money", "limit": 40, "tenant": "a"}]);
    world.ok("configure", config);
    world.ok("charge", charge("c2", "r", json!({"money": 30}), json!({"tenant": "a"})));
    let late = json!({"grant": "g1", "tenant": "a"});
    world.ok("charge", charge("c3", "r", json!({"money": 1}), late));
    assert_eq!(spent(&mut world), [json!(30 + 30 + 1 - 10), json!(30 + 1)]);
}

#[test]
fn a_grant_is_explained_by_what_its_decision_saw() {
    let mut world = configured(cpu(4));
    world.grant(request("0", "a", one(4), json!({})));
    let first = world.ask("request", request("big", "b", one(3), json!({"deadline_ms": 500})));
    let second = world.ask("request", request("small", "a", one(1), json!({"step": "s"})));
    world.pass(10);
    world.ok("configure", json!({"resources": {"cpu": {"capacity": 6}}, "tenants": {"a": {"weight": 1}, "b": {"weight": 1}}}));
    assert!(world.answered(first).is_none());
    let grant = world.granted(second)["grant"].clone();
    let told = world.ok("explain", json!({"grant": grant}));
    assert_eq!(told, world.ok("explain", json!({"id": "small"})));
    assert_eq!(
        told["scores"],
        json!([
        {"request": "big", "tenant": "b", "share_ppm": 0, "class": 50, "deadline_ms": 500, "blocked": "cpu"},
        {"request": "small", "tenant": "a", "share_ppm": 666_666, "class": 50}])
    );
    assert_eq!(
        told["passed_over"],
        json!([{"request": "big", "why": "needs 3 of cpu, 2 to be had"}])
    );
    assert_eq!(
        (&told["step"], &told["waited_ms"], &told["strategy"]),
        (&json!("s"), &json!(10), &json!("prioritise"))
    );
    assert_eq!(told["at"], 1_800_000_000_010_i64);
    for bad in [json!({"grant": "g9"}), json!({"id": "big"})] {
        assert_eq!(world.code("explain", bad), Code::NotFound);
    }
    assert_eq!(world.code("explain", json!({})), Code::BadRequest);
}

#[test]
fn a_configuration_changes_what_is_out_and_who_waits_only_where_it_must() {
    let mut world = configured(cpu(4));
    world.grant(request("0", "a", one(4), json!({})));
    let [large, small, gone] =
        [("1", "a", 3), ("2", "b", 1), ("3", "b", 1)].map(|(id, tenant, amount)| {
            world.ask("request", request(id, tenant, one(amount), json!({})))
        });
    world.ok("configure", json!({"resources": {"cpu": {"capacity": 2}}, "tenants": {"a": {"weight": 1}, "b": {"weight": 1}}}));
    assert_eq!(world.answered(large).unwrap().unwrap_err().code, Code::BadRequest);
    assert_eq!(
        (world.held(), world.waiting()),
        (vec!["g1".to_owned()], vec!["2".to_owned(), "3".to_owned()])
    );
    world.cancel(gone);
    world.ok("configure", json!({"resources": {"cpu": {"capacity": 2}}, "tenants": {"a": {"weight": 1}, "b": {"weight": 0}}}));
    assert_eq!(world.answered(small).unwrap().unwrap_err().code, Code::Refused);
}

#[test]
fn fairness_and_stats_are_told() {
    let mut world = configured(cpu(10));
    world.grant(request("1", "a", one(9), json!({})));
    world.grant(request("2", "b", one(1), json!({})));
    world.ask("request", request("3", "a", one(9), json!({})));
    world.ask("request", request("4", "b", one(9), json!({})));
    world.pass(60_000);
    let told = world.ok("fairness", json!({}));
    assert_eq!(
        told["tenants"]["a"],
        json!({"weight": 1, "share_ppm": 900_000, "wanted_ppm": 500_000, "correction_ppm": 555_555})
    );
    assert_eq!(told["tenants"]["b"]["correction_ppm"], 2_000_000);
    // 1.8 and 0.2 of what was wanted.
    assert_eq!((&told["jain_ppm"], &told["gini_ppm"]), (&json!(609_756), &json!(400_000)));
    let stats = world.ok("stats", json!({}));
    assert_eq!(
        (&stats["grants"], &stats["waiting"], &stats["held"]),
        (&json!(2), &json!(2), &json!(2))
    );
}
