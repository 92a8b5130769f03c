//! The tracker's ranks schedule as well as the references, on random workflows of many shapes. For real workflows see
//! the example `schedule`.
#![allow(clippy::unwrap_used)] // A test may panic.

#[path = "harness/schedule.rs"]
mod schedule;

use schedule::{Machines, Played, Workflow};

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

/// Layers of random width; runtimes in whole milliseconds.
fn workflow(seed: u64) -> Workflow {
    let mut dice = Dice(seed);
    let mut workflow = Workflow::default();
    let (width, spread) = (1 + dice.roll(20), 1 + dice.roll(4));
    let mut layer: Vec<usize> = Vec::new();
    for _ in 0..3 + dice.roll(5) {
        let count = 1 + dice.roll(width);
        let next: Vec<usize> = (0..count).map(|n| workflow.len() + n).collect();
        for _ in 0..count {
            let mut parents: Vec<(usize, f64)> = Vec::new();
            for _ in 0..if layer.is_empty() { 0 } else { 1 + dice.roll(spread) } {
                let parent = layer[dice.roll(layer.len())];
                if parents.iter().all(|(known, _)| *known != parent) {
                    parents.push((parent, dice.roll(50_000_000) as f64));
                }
            }
            workflow.runtime.push((1 + dice.roll(20_000)) as f64 / 1e3);
            workflow.parents.push(parents);
        }
        layer = next;
    }
    workflow
}

#[test]
fn the_makespan_is_that_of_upward_rank_list_scheduling() {
    for seed in 0..40 {
        let workflow = workflow(seed);
        for slots in [1, 3, 8] {
            let (ours, reference) = (Played::list(&workflow, slots), workflow.by_rank(slots));
            assert!((ours - reference).abs() < 1e-6, "{seed} {slots}: {ours} {reference}");
        }
    }
}

#[test]
fn ranks_with_transfers_place_as_heft_does() {
    let (mut online, mut heft) = (0.0, 0.0);
    for seed in 0..40 {
        let workflow = workflow(seed);
        let machines = Machines::mixed(6, 20e6);
        let (ours, reference) = (Played::planned(&workflow, &machines), workflow.heft(&machines));
        // Ranks in whole milliseconds may order equals the other way round.
        assert!(ours < 1.02 * reference, "{seed}: {ours} {reference}");
        online += Played::earliest(&workflow, &machines);
        heft += reference;
    }
    assert!(online < 1.1 * heft, "{online} {heft}");
}

#[test]
fn the_references_are_what_the_paper_says() {
    // The task graph of the paper's figure 1 has other times on every processor; this one is small enough for a hand:
    // a (2 s) feeds b (3 s) and c (1.2 s), which feed d (1 s), on one slot of speed 1 and one of speed 2.
    let edge = |parent: usize| (parent, 10e6);
    let workflow = Workflow {
        runtime: vec![2.0, 3.0, 1.2, 1.0],
        parents: vec![vec![], vec![edge(0)], vec![edge(0)], vec![edge(1), edge(2)]],
    };
    let machines = Machines { speeds: vec![1.0, 2.0], bandwidth: Some(10e6) };
    let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-9, "{found} {wanted}");
    // Means: 1.5, 2.25, 0.9, 0.75; each transfer takes 1 s.
    let ranks = workflow.ranks(&machines);
    ranks.into_iter().zip([6.5, 4.0, 2.65, 0.75]).for_each(|(found, wanted)| near(found, wanted));
    // All on the fast slot: 1 + 1.5 + 0.6 + 0.5; nothing ends earlier on the slow one.
    near(workflow.heft(&machines), 3.6);
    near(workflow.by_rank(2), 6.0);
    near(workflow.by_rank(1), 7.2);
}
