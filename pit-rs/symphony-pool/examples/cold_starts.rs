//! Cold starts of a pool with and without prediction, on the trace of the tests: `SEED`, default 1. Each line: name
//! and value, `without` and `with`, of all kinds and of those that are used periodically.
#![allow(clippy::unwrap_used)] // The harness is that of the tests.

#[path = "../tests/harness/mod.rs"]
mod harness;

use harness::trace::{play, KINDS, PERIODIC};

fn main() {
    let seed = std::env::args().nth(1).and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let (without, with) = (play(seed, false), play(seed, true));
    println!("without {}", without.cold(&KINDS));
    println!("with {}", with.cold(&KINDS));
    println!("without/periodic {}", without.cold(&PERIODIC));
    println!("with/periodic {}", with.cold(&PERIODIC));
}
