//! The solvers against each other and against the plainest way to work the same out.
#![allow(clippy::unwrap_used)] // A test may panic.

use proptest::prelude::*;
use symphony_quest::{greedy, solve, Function, HAdd, Level, LevelError, Space};

/// Facts stand 17 apart, so that states are longer than one word.
const APART: u32 = 17;
const FACTS: u32 = 6;

fn facts(most: usize) -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec((0..FACTS).prop_map(|fact| fact * APART), 0..=most)
}

fn function() -> impl Strategy<Value = Function> {
    (facts(2), facts(2), facts(2), prop::sample::select(vec![0.0, 1.0, 2.0, 5.0]))
        .prop_map(|(pre, add, delete, cost)| Function { pre, add, delete, cost })
}

fn level() -> impl Strategy<Value = Level> {
    (facts(3), prop::collection::vec(function(), 0..8)).prop_map(|(init, functions)| {
        Level::new((FACTS * APART) as usize, &init, functions).unwrap()
    })
}

/// Costs to go by repetition until nothing changes (Bellman and Ford).
fn repeated(space: &Space, level: &Level, goal: &[u64], costs: &[f64]) -> Vec<f64> {
    let wins = |at: u32| space.state(at).iter().zip(goal).all(|(state, goal)| goal & !state == 0);
    let mut best: Vec<f64> =
        (0..space.size() as u32).map(|at| if wins(at) { 0.0 } else { f64::INFINITY }).collect();
    for _ in 0..=space.size() {
        for at in 0..space.size() as u32 {
            for (call, after) in space.edges(at) {
                assert!(level.legal(call as usize, space.state(at)));
                let total = costs[call as usize] + best[after as usize];
                best[at as usize] = best[at as usize].min(total);
            }
        }
    }
    best
}

proptest! {
    #[test]
    fn costs_to_go_are_those_of_repetition(level in level(), goal in facts(3)) {
        let space = Space::reach(&level, 1_000).unwrap();
        let wanted = level.state(&goal).unwrap();
        for costs in [level.costs(), vec![1.0; level.size()]] {
            let expected = repeated(&space, &level, &wanted, &costs);
            prop_assert_eq!(space.to_go(&wanted, &costs), expected);
        }
    }

    #[test]
    fn exact_plans_cost_what_is_left_at_the_start(level in level(), goal in facts(3)) {
        let space = Space::reach(&level, 1_000).unwrap();
        let costs = level.costs();
        let found = solve(&level, &goal, &costs, 1_000);
        prop_assert!(found.complete);
        prop_assert_eq!(found.cost, space.to_go(&level.state(&goal).unwrap(), &costs)[0]);
        if let Some(calls) = found.calls {
            prop_assert_eq!(calls.iter().map(|call| costs[*call as usize]).sum::<f64>(), found.cost);
            prop_assert!(wins(&level, &goal, &calls));
        }
    }

    #[test]
    fn h_add_is_infinite_only_where_the_goal_is_out_of_reach(level in level(), goal in facts(3)) {
        let space = Space::reach(&level, 1_000).unwrap();
        let left = space.to_go(&level.state(&goal).unwrap(), &level.costs());
        let mut hadd = HAdd::new(&level, &goal);
        for at in 0..space.size() as u32 {
            let estimate = hadd.of(space.state(at));
            prop_assert!(estimate.is_finite() || left[at as usize].is_infinite());
        }
    }

    #[test]
    fn greedy_play_wins_where_it_says_so(level in level(), goal in facts(3)) {
        if let Some(calls) = greedy(&level, &goal, 20) {
            prop_assert!(calls.len() <= 20);
            prop_assert!(wins(&level, &goal, &calls));
        }
    }
}

fn wins(level: &Level, goal: &[u32], calls: &[u32]) -> bool {
    let mut state = level.start().to_vec();
    for call in calls {
        assert!(level.legal(*call as usize, &state));
        let mut after = state.clone();
        level.step(*call as usize, &state, &mut after);
        state = after;
    }
    level.state(goal).unwrap().iter().zip(&state).all(|(goal, state)| goal & !state == 0)
}

#[test]
fn the_cap_on_states_is_exact() {
    let set = |fact| Function { add: vec![fact], cost: 1.0, ..Function::default() };
    let level = Level::new(5, &[], (0..5).map(set).collect()).unwrap();
    assert_eq!(Space::reach(&level, 32).map(|space| space.size()), Some(32));
    assert!(Space::reach(&level, 31).is_none());
    assert!(!solve(&level, &[0, 1, 2], &level.costs(), 2).complete);
}

#[test]
fn what_is_no_level_is_refused() {
    let out = Function { add: vec![3], ..Function::default() };
    assert_eq!(
        Level::new(3, &[], vec![out]).unwrap_err(),
        LevelError::FactOutOfRange { fact: 3, facts: 3 }
    );
    for cost in [-1.0, f64::NAN, f64::INFINITY] {
        let bad = Function { cost, ..Function::default() };
        assert_eq!(Level::new(3, &[], vec![bad]).unwrap_err(), LevelError::BadCost { function: 0 });
    }
    let empty = Level::new(0, &[], vec![]).unwrap();
    assert_eq!(empty.check(&[1.0]), Err(LevelError::CostsDoNotMatch { costs: 1, functions: 0 }));
}
