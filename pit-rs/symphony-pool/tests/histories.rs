//! Random histories of calls, time, deaths, failing disks and restarts of either side, each from one seed,
//! against a small model of what may be seen from outside.
//!
//! `SYMPHONY_HISTORIES=N` plays N of them, `SYMPHONY_SEED=S` the one that failed.
#![allow(clippy::unwrap_used)] // A test may panic.

mod harness;

use std::panic::{catch_unwind, AssertUnwindSafe};

use harness::world::World;

const HISTORIES: u64 = 100;
const ACTS: u64 = 120;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

#[test]
fn whatever_happens_leases_limits_and_promises_hold_and_nobody_waits_for_ever() {
    let seeds = match variable("SYMPHONY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("SYMPHONY_HISTORIES").unwrap_or(HISTORIES),
    };
    let mut grants = 0;
    for seed in seeds.clone() {
        let lived = catch_unwind(AssertUnwindSafe(|| {
            let mut world = World::new(seed);
            world.live(ACTS);
            world.grants
        }));
        match lived {
            Ok(count) => grants += count,
            Err(_) => panic!("replay with SYMPHONY_SEED={seed}"),
        }
    }
    // Histories in which nothing happens prove nothing.
    assert!(grants >= 10 * (seeds.end - seeds.start), "{grants} grants");
}
