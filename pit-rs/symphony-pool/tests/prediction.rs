//! How many cold starts prediction avoids, on the trace in `harness/trace.rs`. `--nocapture` prints the figures;
//! with `SYMPHONY_HISTORIES` set, of ten seeds.
#![allow(clippy::unwrap_used)] // A test may panic.

mod harness;

use harness::trace::{play, Outcome, KINDS, PERIODIC};

#[test]
fn prediction_avoids_at_least_half_of_the_cold_starts_of_what_is_periodic() {
    let seeds = if std::env::var_os("SYMPHONY_HISTORIES").is_some() { 1..11 } else { 1..2 };
    for seed in seeds {
        let (off, on) = (play(seed, false), play(seed, true));
        for kind in KINDS {
            let (calls, off, on) = (off.calls[kind], off.cold[kind], on.cold[kind]);
            println!("seed {seed} {kind:6}: {calls:5} calls, cold {off:4} without, {on:4} with");
        }
        let hours = |outcome: &Outcome| outcome.memory_time / 1024 / 3_600_000;
        println!(
            "seed {seed} all: cold {} without, {} with; {} and {} GiB hours; predicted {}, used {}",
            off.cold(&KINDS),
            on.cold(&KINDS),
            hours(&off),
            hours(&on),
            on.stats["predicted"],
            on.stats["predicted_used"]
        );
        assert!(off.cold(&PERIODIC) > 100);
        assert!(2 * on.cold(&PERIODIC) <= off.cold(&PERIODIC), "seed {seed}");
        assert!(2 * on.cold["burst"] <= off.cold["burst"], "seed {seed}: bursts");
        assert!(2 * on.cold(&KINDS) <= off.cold(&KINDS), "seed {seed}: all");
        // What has no pattern is not made worse.
        assert!(on.cold["rare"] <= off.cold["rare"] && on.cold["steady"] <= off.cold["steady"]);
    }
}
