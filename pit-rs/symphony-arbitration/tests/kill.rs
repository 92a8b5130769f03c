//! An arbiter in a process of its own, killed at any moment: no grant that was told is lost, none is given twice.
#![allow(clippy::unwrap_used)] // A test may panic.

mod harness;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use harness::*;
use serde_json::json;

const STORE: &str = "SYMPHONY_ARBITRATION_TEST_STORE";

/// Not a test: what the child process does, until it is killed.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn child() {
    let store = std::env::var(STORE).unwrap();
    let mut world = World::new(symphony_arbitration::open(store.as_ref()).unwrap());
    world.ok(
        "configure",
        json!({"resources": {"cpu": {"capacity": 3}}, "tenants": {"a": {"weight": 1}},
        "budgets": [{"name": "m", "per": "all", "resource": "money", "limit": 1_000_000}]}),
    );
    let first = world.arbiter.state().grants;
    for n in first.. {
        let grant = world.grant(request(&format!("r{n}"), "a", json!({"cpu": 1}), json!({})));
        println!("\ngranted {grant}");
        world.ok(
            "charge",
            charge(&format!("c{n}"), "r", json!({"money": 1}), json!({"grant": grant})),
        );
        println!("\ncharged {n}");
        if let Some(before) = n.checked_sub(2).filter(|_| world.held().len() > 2) {
            let before = format!("g{}", before + 1);
            world.ok("release", release(&format!("back-{before}"), &before));
            println!("\nreleased {before}");
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_told() {
    let folder = tempfile::tempdir().unwrap();
    let (mut granted, mut released) = (BTreeSet::new(), BTreeSet::new());
    let mut charged = BTreeSet::new();
    for kill_after in [1, 2, 3, 40, 11, 65, 5, 120, 7, 31] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(STORE, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut seen = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap) {
            let Some((word, name)) = line.split_once(' ') else { continue };
            let fresh = match word {
                "granted" => granted.insert(name.to_owned()),
                "charged" => charged.insert(name.to_owned()),
                "released" => released.insert(name.to_owned()),
                _ => continue,
            };
            assert!(fresh, "{line} a second time");
            seen += 1;
            if seen == kill_after {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();

        let mut world = World::new(symphony_arbitration::open(folder.path()).unwrap());
        let held: BTreeSet<String> = world.held().into_iter().collect();
        let out: BTreeSet<String> = granted.difference(&released).cloned().collect();
        // One more of each may have reached the disk than could be told.
        assert!(out.difference(&held).count() <= 1, "{out:?} {held:?}");
        assert!(held.difference(&out).count() <= 1, "{out:?} {held:?}");
        let spent = world.ok("budgets", json!({}))["budgets"][0]["spent"].as_u64().unwrap();
        assert!((charged.len() as u64..=charged.len() as u64 + 1).contains(&spent));
        // The caller takes in what it could not be told, by asking again.
        for grant in held.difference(&out.clone()) {
            granted.insert(grant.clone());
        }
        for grant in out.difference(&held) {
            let told = world.ok("release", release(&format!("back-{grant}"), grant));
            assert_eq!(told, json!({}));
            released.insert(grant.clone());
        }
        let number = world.arbiter.state().grants;
        for n in number.saturating_sub(1)..number {
            world.ok(
                "charge",
                charge(
                    &format!("c{n}"),
                    "r",
                    json!({"money": 1}),
                    json!({"grant": format!("g{}", n + 1)}),
                ),
            );
            charged.insert(n.to_string());
        }
        let spent = world.ok("budgets", json!({}))["budgets"][0]["spent"].as_u64().unwrap();
        assert_eq!(spent, charged.len() as u64);
        // Room for the next process to go on.
        for grant in world.held() {
            world.release(&grant);
            released.insert(grant);
        }
    }
}
