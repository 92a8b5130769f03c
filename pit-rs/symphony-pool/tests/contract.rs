//! The contract of `pit.pool/1`, sentence by sentence.
#![allow(clippy::unwrap_used)] // A test may panic.

mod harness;

use harness::*;
use serde_json::{json, Value};
use symphony_journal::memory::MemoryStorage;
use symphony_wire::{BusError, Code};

fn one() -> Rig {
    Rig::with(json!({}), json!([kind("k", 100)]))
}

fn with(mut value: Value, more: Value) -> Value {
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    value
}

fn failure(message: &str) -> Reply {
    Err(BusError::new(Code::Failed, message))
}

#[test]
fn the_first_call_spawns_and_the_next_one_finds_it_warm() {
    let mut rig = one();
    let call = rig.start("acquire", acquire("a", "k"));
    assert_eq!(rig.asked[0].body, json!({"id": "1.1", "kind": "k", "tenant": "t"}));
    rig.now += 1_500;
    rig.spawn_all(&["i-1"]);
    let lease = rig.answer(call).unwrap().unwrap();
    assert_eq!(lease, json!({"lease": "l-1", "instance": "i-1", "warm": false, "waited_ms": 1500}));
    assert_eq!(rig.states()["i-1"], "active");
    assert_eq!(rig.release("r", &lease, "ok"), json!({}));
    assert_eq!(rig.states()["i-1"], "cooldown");
    rig.pass(1_000);
    assert_eq!(rig.states()["i-1"], "warm");
    let lease = rig.ok("acquire", acquire("b", "k"));
    assert_eq!(lease, json!({"lease": "l-2", "instance": "i-1", "warm": true, "waited_ms": 0}));
    let stats = rig.ok("stats", json!({}));
    assert_eq!((&stats["hit_rate_ppm"], &stats["spawns"]), (&json!(500_000), &json!(1)));
    let list = rig.ok("list", json!({}));
    assert_eq!(list["memory"], json!({"used_mib": 100}));
    assert_eq!(
        list["kinds"][0],
        json!({"kind": "k", "player": "k", "state": "active", "waiting": 0, "warm_hits": 1,
        "cold_starts": 1, "instances": [{"instance": "i-1", "state": "active", "tenant": "t",
        "leases": ["l-2"], "calls": 2, "since_ms": 0}]})
    );
}

#[test]
fn the_same_request_gives_the_same_reply_and_another_with_its_id_is_a_conflict() {
    let mut rig = one();
    let first = rig.lease("a", "k", "i");
    let mut again = acquire("a", "k");
    again["ts"] = json!("2026-01-31T12:00:09.000Z");
    assert_eq!(rig.ok("acquire", again.clone()), first);
    again["run"] = json!("other");
    assert_eq!(rig.code("acquire", again), Code::Conflict);
    assert_eq!(rig.code("release", release("a", &first, "ok")), Code::Conflict);
    rig.release("r", &first, "ok");
    rig.release("r", &first, "ok");
    assert_eq!(rig.code("release", release("r", &first, "failed")), Code::Conflict);
    assert_eq!(rig.code("release", release("s", &first, "ok")), Code::Conflict);
    assert_eq!(rig.code("acquire", acquire("r", "k")), Code::Conflict);
    assert_eq!(rig.ok("acquire", acquire("a", "k")), first);
    assert_eq!(rig.ok("stats", json!({}))["acquires"], 1);
    let nobody = json!({"lease": "l-9"});
    assert_eq!(rig.code("release", release("t", &nobody, "ok")), Code::NotFound);
}

#[test]
fn a_request_repeated_while_it_waits_waits_with_the_first() {
    let mut rig = one();
    let first = rig.start("acquire", acquire("a", "k"));
    let again = rig.start("acquire", acquire("a", "k"));
    let mut other = acquire("a", "k");
    other["run"] = json!("other");
    assert_eq!(rig.code("acquire", other), Code::Conflict);
    rig.cancel(first);
    assert_eq!(rig.answer(first).unwrap().unwrap_err().code, Code::Cancelled);
    rig.spawn_all(&["i"]);
    assert_eq!(rig.answer(again).unwrap().unwrap()["lease"], "l-1");
}

#[test]
fn every_fault_of_a_configuration_is_told_at_once_and_nothing_changes() {
    let mut rig = one();
    let kinds = json!([
        with(kind("a", 10), json!({"share": 0, "least": 3, "most": 2})),
        kind("a", 10),
        kind("", 10),
        kind("big", 101),
        with(kind("p", 1), json!({"probe": {"capability": "c", "every_ms": 1, "within_ms": 0}})),
    ]);
    let limits = json!({"memory_mib": 100, "spawning": 0});
    let error = rig.refused("configure", json!({"limits": limits, "kinds": kinds}));
    assert_eq!(error.code, Code::BadRequest);
    let places = error.where_.unwrap();
    for (place, what) in [
        ("limits.spawning", "at least 1"),
        ("kinds[0].share", "1 to 64"),
        ("kinds[0].least", "at most `most`"),
        ("kinds[1].kind", "a again"),
        ("kinds[2].kind", "\"\" is no name"),
        ("kinds[3]", "with what `least` keeps it needs 131 MiB"),
        ("kinds[4].probe.every_ms", "100 to a day"),
        ("kinds[4].probe.within_ms", "1 to 600000"),
    ] {
        assert!(places.contains(place), "{place} is not in {places}");
        let fault = format!("{place}: {what}");
        assert!(error.message.contains(&fault), "{fault} is not in {}", error.message);
    }
    assert_eq!(rig.ok("list", json!({}))["kinds"].as_array().unwrap().len(), 1);
}

#[test]
fn arguments_that_do_not_fit_are_refused_with_every_place() {
    let mut rig = one();
    let error = rig.refused(
        "acquire",
        json!({"id": "", "kind": "k", "run": "", "tenant": "x".repeat(129), "ts": TS}),
    );
    let place = error.where_.unwrap();
    assert!(["id", "run", "tenant"].iter().all(|field| place.contains(field)), "{place}");
    assert_eq!(rig.code("acquire", json!({"id": "a"})), Code::BadRequest);
    assert_eq!(rig.code("acquire", acquire("a", "no")), Code::NotFound);
    assert_eq!(rig.code("drain", json!({})), Code::BadRequest);
    assert_eq!(rig.code("drain", json!({"kind": "k", "instance": "i"})), Code::BadRequest);
    assert_eq!(rig.code("drain", json!({"instance": "i"})), Code::NotFound);
    assert_eq!(rig.code("pin", json!({"kind": "no", "pinned": true})), Code::NotFound);
    assert_eq!(rig.code("event", json!({"instance": "i", "kind": "ready"})), Code::NotFound);
    assert_eq!(rig.code("event", json!({"instance": "i", "kind": "what"})), Code::BadRequest);
    let next = json!([{"kind": "no", "in_ms": 1, "chance": 1}]);
    assert_eq!(rig.code("expect", json!({"run": "r", "next": next})), Code::NotFound);
    let next = json!([{"kind": "k", "in_ms": 1, "chance": 1001}]);
    assert_eq!(rig.code("expect", json!({"run": "r", "next": next})), Code::BadRequest);
    assert_eq!(rig.code("nonsense", json!({})), Code::BadRequest);
}

#[test]
fn nothing_is_given_before_kernel_and_pool_agree_on_what_there_is() {
    let mut rig = Rig::new(&MemoryStorage::new());
    rig.ok("configure", json!({"limits": {}, "kinds": [kind("k", 1)]}));
    let call = rig.start("acquire", acquire("a", "k"));
    assert!(rig.answer(call).is_none() && rig.asked.is_empty());
    let warm = json!([{"instance": "i", "kind": "k", "state": "warm"}]);
    assert_eq!(rig.resync(warm, json!([])), json!({"kill": [], "lost": []}));
    assert_eq!(rig.answer(call).unwrap().unwrap()["warm"], true);
}

#[test]
fn an_event_that_the_table_does_not_have_is_a_conflict_and_changes_nothing() {
    let mut rig = one();
    rig.lease("a", "k", "i");
    let before = rig.ok("list", json!({}));
    let error = rig.refused("event", json!({"instance": "i", "kind": "ready"}));
    assert_eq!((error.code, error.where_.as_deref()), (Code::Conflict, Some("active")));
    assert_eq!(rig.ok("list", json!({})), before);
}

#[test]
fn a_failed_call_ends_the_instance_and_the_next_one_gets_another() {
    for outcome in ["failed", "lost"] {
        let mut rig = one();
        let lease = rig.lease("a", "k", "i-1");
        rig.release("r", &lease, outcome);
        assert_eq!(rig.states()["i-1"], "draining");
        assert_eq!(rig.lease("b", "k", "i-2")["instance"], "i-2");
        assert_eq!(rig.unload_all(), [("i-1".to_owned(), "a call failed".to_owned())]);
        assert_eq!(rig.states().keys().collect::<Vec<_>>(), ["i-2"]);
    }
}

#[test]
fn one_that_failed_is_not_used_again_even_if_the_pool_dies_before_it_left() {
    let mut rig = one();
    let lease = rig.lease("a", "k", "i");
    rig.release("r", &lease, "failed");
    let mut rig = Rig::new(&rig.storage);
    let warm = json!([{"instance": "i", "kind": "k", "tenant": "t", "state": "warm"}]);
    assert_eq!(rig.resync(warm, json!([]))["kill"], json!(["i"]));
    assert_eq!(rig.unload_all().len(), 1);
}

#[test]
fn a_dead_instance_frees_its_lease_at_once_and_the_next_in_line_is_served() {
    let mut rig = Rig::with(json!({"instances": 1}), json!([kind("k", 1)]));
    let lease = rig.lease("a", "k", "i-1");
    let call = rig.start("acquire", acquire("b", "k"));
    assert!(rig.asked.is_empty());
    rig.ok("event", json!({"instance": "i-1", "kind": "died", "reason": "killed"}));
    assert_eq!(rig.ok("stats", json!({}))["leases"], 0);
    rig.spawn_all(&["i-2"]);
    assert_eq!(rig.answer(call).unwrap().unwrap()["instance"], "i-2");
    // What the call cost is charged all the same, once.
    rig.release("r", &lease, "lost");
    assert_eq!(rig.code("release", release("s", &lease, "lost")), Code::Conflict);
    assert_eq!(rig.ok("event", json!({"instance": "i-1", "kind": "died"})), json!({}));
}

#[test]
fn a_death_that_overtakes_the_answer_to_the_spawn_counts() {
    let mut rig = one();
    let call = rig.start("acquire", acquire("a", "k"));
    rig.ok("event", json!({"instance": "i", "kind": "died"}));
    rig.spawn_all(&["i"]);
    assert_eq!(rig.answer(call).unwrap().unwrap_err().code, Code::Unavailable);
    assert!(rig.states().is_empty());
}

#[test]
fn an_instance_has_one_tenant_for_life() {
    let mut rig = Rig::with(json!({"instances": 1}), json!([kind("k", 1)]));
    let lease = rig.lease("a", "k", "i-1");
    rig.release("r", &lease, "ok");
    let other = with(acquire("b", "k"), json!({"tenant": "u"}));
    let call = rig.start("acquire", other);
    // The idle one is another tenant's: it makes room.
    assert_eq!(rig.unload_all(), [("i-1".to_owned(), "evicted".to_owned())]);
    rig.spawn_all(&["i-2"]);
    assert_eq!(rig.answer(call).unwrap().unwrap()["instance"], "i-2");
}

#[test]
fn most_holds_and_an_idle_one_of_another_tenant_makes_its_place_free() {
    let mut rig = Rig::with(json!({}), json!([with(kind("k", 1), json!({"most": 1}))]));
    let lease = rig.lease("a", "k", "i-1");
    let call = rig.start("acquire", with(acquire("b", "k"), json!({"tenant": "u"})));
    assert!(rig.asked.is_empty());
    rig.release("r", &lease, "ok");
    assert!(rig.take("spawn").is_empty());
    rig.unload_all();
    rig.spawn_all(&["i-2"]);
    assert!(rig.answer(call).unwrap().is_ok());
}

#[test]
fn a_key_leads_to_the_instance_that_had_it_and_waits_for_it() {
    let sticky = || json!([with(kind("k", 1), json!({"sticky": true}))]);
    let mut rig = Rig::with(json!({}), sticky());
    let keyed = |id: &str, key: &str| with(acquire(id, "k"), json!({"key": key}));
    let first = rig.start("acquire", keyed("a", "x"));
    rig.spawn_all(&["i-1"]);
    let first = rig.answer(first).unwrap().unwrap();
    let second = rig.start("acquire", keyed("b", "y"));
    rig.spawn_all(&["i-2"]);
    let second = rig.answer(second).unwrap().unwrap();
    rig.release("r", &second, "ok");
    let waits = rig.start("acquire", keyed("c", "x"));
    assert!(rig.answer(waits).is_none() && rig.asked.is_empty());
    assert_eq!(rig.ok("acquire", keyed("d", "y"))["instance"], "i-2");
    rig.release("s", &first, "ok");
    assert_eq!(rig.answer(waits).unwrap().unwrap()["instance"], "i-1");
    // The keys outlive the pool.
    let mut rig = Rig::new(&rig.storage);
    let seen = |name: &str, state: &str| json!({"instance": name, "kind": "k", "state": state});
    let all = json!([seen("i-1", "active"), seen("i-2", "warm")]);
    let synced = rig.resync(all, json!(["l-4"]));
    assert_eq!(synced, json!({"kill": ["i-2"], "lost": ["l-3"]}));
}

#[test]
fn a_shared_instance_has_as_many_leases_as_its_kind_allows_and_the_least_loaded_is_chosen() {
    let mut rig = Rig::with(json!({}), json!([with(kind("k", 1), json!({"share": 2}))]));
    let calls = ["a", "b", "c"].map(|id| rig.start("acquire", acquire(id, "k")));
    rig.spawn_all(&["i-1", "i-2"]);
    let leases = calls.map(|call| rig.answer(call).unwrap().unwrap());
    assert_eq!(leases.clone().map(|it| it["instance"].clone()), ["i-1", "i-1", "i-2"]);
    assert_eq!(rig.ok("acquire", acquire("d", "k"))["instance"], "i-2");
    rig.release("r", &leases[0], "ok");
    assert_eq!(rig.states()["i-1"], "active");
    rig.release("s", &leases[1], "ok");
    assert_eq!(rig.states()["i-1"], "cooldown");
    assert_eq!(rig.ok("acquire", acquire("e", "k"))["instance"], "i-1");
}

#[test]
fn without_waiting_only_a_free_instance_will_do() {
    let mut rig = one();
    let error = rig.refused("acquire", with(acquire("a", "k"), json!({"wait": false})));
    assert_eq!((error.code, error.retry_after_ms), (Code::Overloaded, Some(2_000)));
    assert!(rig.asked.is_empty());
}

#[test]
fn a_deadline_ends_the_waiting() {
    let mut rig = one();
    let call = rig.start("acquire", with(acquire("a", "k"), json!({"deadline_ms": 500})));
    rig.pass(499);
    assert!(rig.answer(call).is_none());
    rig.pass(1);
    assert_eq!(rig.answer(call).unwrap().unwrap_err().code, Code::Deadline);
    rig.spawn_all(&["i"]);
    assert_eq!(rig.states()["i"], "warm");
}

#[test]
fn a_kind_that_cannot_be_spawned_is_left_alone_for_twice_as_long_each_time() {
    let mut rig = one();
    let mut pauses = vec![];
    for n in 0..8 {
        let call = rig.start("acquire", acquire(&format!("a{n}"), "k"));
        let spawn = rig.take("spawn").remove(0);
        rig.hear(spawn.token, failure("no such image"));
        let error = rig.answer(call).unwrap().unwrap_err();
        assert_eq!(error.code, Code::Unavailable);
        assert!(error.message.contains("no such image"));
        let pause = error.retry_after_ms.unwrap();
        pauses.push(pause);
        rig.pass(u64::from(pause) - 1);
        let early = rig.refused("acquire", acquire(&format!("b{n}"), "k"));
        assert_eq!((early.code, early.retry_after_ms), (Code::Unavailable, Some(1)));
        assert!(rig.asked.is_empty());
        rig.pass(1);
    }
    assert_eq!(pauses, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    rig.lease("c", "k", "i");
    rig.ok("event", json!({"instance": "i", "kind": "died"}));
    let lease = rig.lease("d", "k", "j");
    assert_eq!(lease["instance"], "j");
}

#[test]
fn one_that_dies_before_its_first_call_counts_as_one_that_could_not_be_spawned() {
    let mut rig = Rig::with(json!({}), json!([with(kind("k", 1), json!({"least": 1}))]));
    rig.spawn_all(&["i-1"]);
    rig.ok("event", json!({"instance": "i-1", "kind": "died"}));
    assert!(rig.asked.is_empty());
    rig.pass(1_000);
    rig.spawn_all(&["i-2"]);
}

#[test]
fn while_an_instance_of_the_kind_works_a_call_waits_for_it_through_the_pause() {
    let mut rig = one();
    let lease = rig.lease("a", "k", "i");
    let call = rig.start("acquire", acquire("b", "k"));
    let spawn = rig.take("spawn").remove(0);
    rig.hear(spawn.token, failure("no"));
    assert!(rig.answer(call).is_none());
    rig.release("r", &lease, "ok");
    assert_eq!(rig.answer(call).unwrap().unwrap()["instance"], "i");
}

#[test]
fn the_cheapest_idle_instances_make_room_and_pinned_and_leased_ones_stay() {
    let kinds = json!([
        with(kind("dear", 40), json!({"load_ms": 60_000})),
        with(kind("cheap", 40), json!({"load_ms": 100})),
        with(kind("pinned", 10), json!({"load_ms": 1})),
        with(kind("leased", 10), json!({"load_ms": 1})),
        kind("new", 40),
    ]);
    let mut rig = Rig::with(json!({"memory_mib": 100}), kinds);
    rig.ok("pin", json!({"kind": "pinned", "pinned": true}));
    for name in ["dear", "cheap", "pinned"] {
        let lease = rig.lease(name, name, name);
        rig.release(&format!("r-{name}"), &lease, "ok");
    }
    rig.lease("l", "leased", "leased");
    rig.pass(1_000);
    let call = rig.start("acquire", acquire("n", "new"));
    assert_eq!(rig.unload_all(), [("cheap".to_owned(), "evicted".to_owned())]);
    rig.spawn_all(&["new"]);
    assert!(rig.answer(call).unwrap().is_ok());
}

#[test]
fn what_is_leased_stays_as_it_is_until_somebody_has_waited_long_and_is_never_taken_away() {
    let mut rig = Rig::with(json!({"instances": 1}), json!([kind("k", 1), kind("n", 1)]));
    let lease = rig.lease("a", "k", "i");
    let call = rig.start("acquire", acquire("b", "n"));
    rig.pass(9_999);
    assert_eq!(rig.states()["i"], "active");
    rig.pass(1);
    assert_eq!(rig.states()["i"], "draining");
    rig.pass(1_000_000);
    assert!(rig.asked.is_empty() && rig.answer(call).is_none());
    rig.release("r", &lease, "ok");
    rig.unload_all();
    rig.spawn_all(&["n"]);
    assert!(rig.answer(call).unwrap().is_ok());
}

#[test]
fn whoever_waits_long_at_the_head_is_not_overtaken_for_ever() {
    let kinds = json!([kind("small", 50), kind("big", 100)]);
    let mut rig = Rig::with(json!({"memory_mib": 100}), kinds);
    let mut leases = vec![rig.lease("s0", "small", "i-0"), rig.lease("s1", "small", "i-1")];
    let big = rig.start("acquire", acquire("big", "big"));
    for n in 2..10 {
        // Always one of the two is in use, and somebody waits for it.
        let next = rig.start("acquire", acquire(&format!("s{n}"), "small"));
        rig.pass(2_000);
        rig.release(&format!("r{n}"), &leases.remove(0), "ok");
        rig.unload_all();
        if let Some(Ok(lease)) = rig.answer(next) {
            leases.push(lease);
        }
        if leases.is_empty() {
            break;
        }
    }
    rig.spawn_all(&["big"]);
    assert!(rig.answer(big).unwrap().is_ok());
}

#[test]
fn spawns_at_once_are_limited() {
    let mut rig = Rig::with(json!({"spawning": 2}), json!([kind("k", 1)]));
    let calls = ["a", "b", "c", "d"].map(|id| rig.start("acquire", acquire(id, "k")));
    rig.spawn_all(&["i-1", "i-2"]);
    rig.spawn_all(&["i-3", "i-4"]);
    assert!(calls.iter().all(|call| rig.answer(*call).unwrap().is_ok()));
}

#[test]
fn least_are_kept_and_the_rest_leaves_when_it_was_idle_for_long() {
    let kinds = json!([with(kind("k", 1), json!({"least": 1, "keep_ms": 5_000}))]);
    let mut rig = Rig::with(json!({}), kinds);
    rig.spawn_all(&["i-1"]);
    let leases = [rig.lease("a", "k", "-"), rig.lease("b", "k", "i-2")];
    assert_eq!(leases[0]["warm"], true);
    rig.release("r", &leases[0], "ok");
    rig.pass(10);
    rig.release("s", &leases[1], "ok");
    rig.pass(5_100);
    assert_eq!(rig.unload_all(), [("i-1".to_owned(), "unused".to_owned())]);
    rig.pass(100_000);
    assert!(rig.asked.is_empty());
    assert_eq!(rig.states()["i-2"], "warm");
}

#[test]
fn pinned_ones_stay_for_ever_and_pins_outlive_the_pool() {
    let mut rig = one();
    let lease = rig.lease("a", "k", "i");
    rig.release("r", &lease, "ok");
    rig.ok("pin", json!({"kind": "k", "pinned": true}));
    let mut rig = Rig::new(&rig.storage);
    rig.resync(json!([{"instance": "i", "kind": "k", "state": "warm"}]), json!([]));
    rig.pass(10_000_000);
    assert!(rig.asked.is_empty());
    rig.ok("pin", json!({"kind": "k", "pinned": false}));
    assert_eq!(rig.unload_all().len(), 1);
}

#[test]
fn what_drains_takes_no_new_lease_and_leaves_when_it_is_free() {
    let mut rig = one();
    let lease = rig.lease("a", "k", "i-1");
    assert_eq!(rig.ok("drain", json!({"kind": "k"})), json!({"instances": ["i-1"]}));
    assert_eq!(rig.ok("drain", json!({"instance": "i-1"})), json!({"instances": ["i-1"]}));
    assert!(rig.asked.is_empty());
    assert_eq!(rig.lease("b", "k", "i-2")["instance"], "i-2");
    rig.release("r", &lease, "ok");
    assert_eq!(rig.unload_all(), [("i-1".to_owned(), "asked to".to_owned())]);
}

#[test]
fn an_unload_that_fails_is_tried_again_and_the_memory_counts_until_it_is_done() {
    let mut rig = Rig::with(json!({"memory_mib": 100}), json!([kind("k", 100), kind("n", 100)]));
    let lease = rig.lease("a", "k", "i");
    rig.release("r", &lease, "ok");
    let call = rig.start("acquire", acquire("b", "n"));
    let unload = rig.take("unload").remove(0);
    rig.hear(unload.token, failure("busy"));
    assert!(rig.asked.is_empty());
    rig.pass(1_000);
    assert_eq!(rig.unload_all().len(), 1);
    rig.spawn_all(&["n"]);
    assert!(rig.answer(call).unwrap().is_ok());
}

#[test]
fn kinds_that_are_no_longer_named_drain_and_who_waits_for_them_hears_it() {
    let mut rig = one();
    let lease = rig.lease("a", "k", "i");
    let call = rig.start("acquire", acquire("b", "k"));
    let digest = rig.ok("configure", json!({"limits": {}, "kinds": [kind("n", 1)]}));
    assert_eq!(rig.ok("configure", json!({"limits": {}, "kinds": [kind("n", 1)]})), digest);
    assert_eq!(rig.answer(call).unwrap().unwrap_err().code, Code::NotFound);
    assert_eq!(rig.code("acquire", acquire("c", "k")), Code::NotFound);
    rig.spawn_all(&["j"]);
    assert_eq!(rig.unload_all(), [("j".to_owned(), "not configured any more".to_owned())]);
    rig.release("r", &lease, "ok");
    assert_eq!(rig.unload_all().len(), 1);
    assert_eq!(rig.ok("list", json!({}))["kinds"].as_array().unwrap().len(), 1);
}

#[test]
fn smaller_limits_let_idle_instances_leave() {
    let mut rig = one();
    for (id, name) in [("a", "i-1"), ("b", "i-2")] {
        rig.lease(id, "k", name);
    }
    rig.ok("configure", json!({"limits": {"memory_mib": 100}, "kinds": [kind("k", 100)]}));
    assert!(rig.asked.is_empty());
    rig.release("r", &json!({"lease": "l-1"}), "ok");
    assert_eq!(rig.unload_all(), [("i-1".to_owned(), "evicted".to_owned())]);
    rig.release("s", &json!({"lease": "l-2"}), "ok");
    assert!(rig.asked.is_empty());
}

#[test]
fn a_release_says_what_the_call_cost() {
    let cost = json!({"cost": {"call": 10, "second": 1_000, "million_tokens": 3_000_000}});
    let mut rig = Rig::with(json!({}), json!([with(kind("k", 1), cost)]));
    let lease = rig.lease("a", "k", "i");
    let request = with(release("r", &lease, "ok"), json!({"busy_ms": 1500, "tokens": 7}));
    let spend = json!({"spend": {"money": 10 + 1_500 + 21, "tokens": 7}});
    assert_eq!(rig.ok("release", request.clone()), spend);
    assert_eq!(Rig::new(&rig.storage).ok("release", request), spend);
    // Without the caller's word the lease's whole time counts.
    let lease = rig.lease("b", "k", "i");
    rig.now += 2_000;
    let request = json!({"id": "s", "lease": lease["lease"], "outcome": "ok", "ts": TS});
    assert_eq!(rig.ok("release", request), json!({"spend": {"money": 2_010}}));
}

#[test]
fn an_idle_instance_is_probed_and_drains_after_so_many_failures_in_a_row() {
    let probe = json!({"capability": "c", "args": {"x": 1}, "every_ms": 1_000, "within_ms": 50});
    let mut rig = Rig::with(json!({}), json!([with(kind("k", 1), json!({"probe": probe}))]));
    let lease = rig.lease("a", "k", "i-1");
    rig.pass(5_000);
    assert!(rig.asked.is_empty(), "whoever works is not probed");
    rig.release("r", &lease, "ok");
    let answer = |rig: &mut Rig, reply: Reply| {
        rig.pass(1_000);
        let probes = rig.take("probe");
        assert_eq!(probes.len(), 1);
        assert_eq!(
            probes[0].body,
            json!({"instance": "i-1", "capability": "c", "args": {"x": 1}, "within_ms": 50})
        );
        rig.hear(probes[0].token, reply);
    };
    answer(&mut rig, failure("stuck"));
    answer(&mut rig, Ok(json!({"took_ms": 51})));
    answer(&mut rig, Ok(json!({"took_ms": 50})));
    answer(&mut rig, failure("stuck"));
    answer(&mut rig, failure("stuck"));
    assert_eq!(rig.states()["i-1"], "warm");
    answer(&mut rig, failure("stuck"));
    assert_eq!(rig.unload_all(), [("i-1".to_owned(), "it failed its probes".to_owned())]);
    let stats = rig.ok("stats", json!({}));
    assert_eq!((&stats["probes"], &stats["probe_failures"]), (&json!(6), &json!(5)));
}

#[test]
fn a_probe_that_a_call_overtook_says_nothing() {
    let probe = json!({"capability": "c", "every_ms": 1_000, "within_ms": 50, "strikes": 1});
    let mut rig = Rig::with(json!({}), json!([with(kind("k", 1), json!({"probe": probe}))]));
    let lease = rig.lease("a", "k", "i");
    rig.release("r", &lease, "ok");
    rig.pass(1_000);
    let probe = rig.take("probe").remove(0);
    rig.ok("acquire", acquire("b", "k"));
    rig.hear(probe.token, failure("busy"));
    assert_eq!(rig.states()["i"], "active");
}

#[test]
fn an_instance_that_has_become_slow_drains_and_callers_prefer_another_meanwhile() {
    let mut rig = one();
    let one = rig.lease("a", "k", "i-1");
    let two = rig.lease("b", "k", "i-2");
    rig.release("r1", &two, "ok");
    rig.release("r2", &one, "ok");
    let took = |rig: &mut Rig, n: usize, ms: u64| {
        let lease = rig.ok("acquire", acquire(&format!("c{n}"), "k"));
        let done = with(release(&format!("d{n}"), &lease, "ok"), json!({"busy_ms": ms}));
        rig.ok("release", done);
        lease["instance"].as_str().unwrap().to_owned()
    };
    (0..8).for_each(|n| assert_eq!(took(&mut rig, n, 100), "i-1"));
    assert_eq!(took(&mut rig, 10, 301), "i-1");
    assert_eq!(took(&mut rig, 11, 100), "i-2");
    rig.ok("event", json!({"instance": "i-1", "kind": "slow"}));
    assert_eq!(rig.states()["i-1"], "cooldown");
    rig.ok("event", json!({"instance": "i-1", "kind": "slow"}));
    assert_eq!(rig.unload_all(), [("i-1".to_owned(), "slow".to_owned())]);
}

#[test]
fn what_a_run_expects_is_loaded_in_time() {
    let mut rig = one();
    let next = json!([{"kind": "k", "in_ms": 10_000, "chance": 500},
        {"kind": "k", "in_ms": 10_000, "chance": 499}]);
    rig.ok("expect", json!({"run": "run", "next": next}));
    rig.pass(7_999);
    assert!(rig.asked.is_empty());
    rig.pass(1);
    assert_eq!(rig.asked[0].body["tenant"], Value::Null);
    rig.spawn_all(&["i"]);
    assert_eq!(rig.ok("acquire", acquire("a", "k"))["warm"], true);
    let stats = rig.ok("stats", json!({}));
    assert_eq!((&stats["predicted"], &stats["predicted_used"]), (&json!(1), &json!(1)));
}

#[test]
fn what_a_run_expected_is_forgotten_when_it_says_something_else_or_ends() {
    let mut rig = one();
    let expect = |next: Value| json!({"run": "run", "next": next});
    rig.ok("expect", expect(json!([{"kind": "k", "in_ms": 5_000, "chance": 1000}])));
    rig.ok("expect", expect(json!([{"kind": "k", "in_ms": 50_000, "chance": 1000}])));
    rig.pass(20_000);
    assert!(rig.asked.is_empty());
    rig.ok("expect", expect(json!([])));
    rig.pass(100_000);
    assert!(rig.asked.is_empty());
}

#[test]
fn what_instances_cost_together_has_a_limit_for_which_the_cheapest_set_is_evicted() {
    let dear = |name: &str, second: u64, load_ms: u64| {
        let mut row = kind(name, 1);
        (row["cost"], row["load_ms"]) = (json!({"second": second}), json!(load_ms));
        row
    };
    let kinds = json!([dear("a", 3, 9_000), dear("b", 4, 1_000), dear("c", 5, 500), kind("d", 1)]);
    let mut rig = Rig::with(json!({"money_per_hour": 10 * 3_600}), kinds.clone());
    let (a, b) = (rig.lease("1", "a", "i-a"), rig.lease("2", "b", "i-b"));
    rig.lease("3", "d", "i-d");
    let money = |rig: &mut Rig| rig.ok("list", json!({}))["money"].clone();
    assert_eq!(money(&mut rig), json!({"used_per_hour": 25_200, "limit_per_hour": 36_000}));
    // Both are in use, so there is no room for what costs 5 beside what costs 7.
    let waits = rig.start("acquire", acquire("4", "c"));
    assert!(rig.answer(waits).is_none() && rig.asked.is_empty());
    rig.cancel(waits);
    rig.release("5", &a, "ok");
    rig.release("6", &b, "ok");
    rig.pass(1_000);
    let call = rig.start("acquire", acquire("7", "c"));
    assert_eq!(rig.unload_all(), [("i-b".to_owned(), "evicted".to_owned())]);
    rig.spawn_all(&["i-c"]);
    assert_eq!(rig.answer(call).unwrap().unwrap()["instance"], "i-c");
    assert_eq!(money(&mut rig)["used_per_hour"], 28_800);
    // What could never be is refused at once.
    let error =
        rig.refused("configure", json!({"limits": {"money_per_hour": 4 * 3_600}, "kinds": kinds}));
    assert_eq!((error.code, error.where_.as_deref()), (Code::BadRequest, Some("kinds[2]")));
}
