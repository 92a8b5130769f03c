//! The cheapest set of idle instances that makes room.
//!
//! Choosing it is a covering knapsack in three dimensions (memory, money and number). Up to [`EXACT`] candidates
//! it is solved by branch and bound; above, greedily by cost per part of the need that is met, with what turns
//! out to be superfluous left out again.

/// Up to so many candidates the answer is the best one.
pub const EXACT: usize = 20;

/// What an instance takes as long as it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    pub memory_mib: u64,
    /// For a second of work, in the smallest unit.
    pub money: u64,
}

impl Size {
    pub fn plus(self, other: Self) -> Self {
        Self {
            memory_mib: self.memory_mib.saturating_add(other.memory_mib),
            money: self.money.saturating_add(other.money),
        }
    }

    pub fn minus(self, other: Self) -> Self {
        Self {
            memory_mib: self.memory_mib.saturating_sub(other.memory_mib),
            money: self.money.saturating_sub(other.money),
        }
    }

    pub fn times(self, times: u64) -> Self {
        Self {
            memory_mib: self.memory_mib.saturating_mul(times),
            money: self.money.saturating_mul(times),
        }
    }

    fn covers(self, other: Self) -> bool {
        self.memory_mib >= other.memory_mib && self.money >= other.money
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub slot: u64,
    pub size: Size,
    /// Load time times the chance of being needed meanwhile.
    pub cost: u64,
}

/// What is to become free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    pub size: Size,
    pub instances: u64,
}

impl Need {
    pub fn is_met(self) -> bool {
        self == Self::default()
    }

    fn after(self, candidate: &Candidate) -> Self {
        Self { size: self.size.minus(candidate.size), instances: self.instances.saturating_sub(1) }
    }

    /// How much of it this candidate meets, in millionths of each dimension.
    fn met_by(self, candidate: &Candidate) -> u64 {
        let part = |given: u64, need: u64| match need {
            0 => 0,
            _ => (u128::from(given.min(need)) * 1_000_000).div_ceil(u128::from(need)) as u64,
        };
        part(candidate.size.memory_mib, self.size.memory_mib)
            + part(candidate.size.money, self.size.money)
            + part(1, self.instances)
    }
}

/// The slots to evict; `None` if all of them together would not do.
pub fn choose(candidates: &[Candidate], need: Need) -> Option<Vec<u64>> {
    let all = candidates.iter().fold(need, |need, candidate| need.after(candidate));
    if !all.is_met() {
        return None;
    }
    let mut order = candidates.to_vec();
    // Ties go to the earlier slot, whatever the order of the candidates.
    order.sort_by_key(|candidate| (candidate.cost, candidate.slot));
    let chosen = if order.len() <= EXACT { exact(&order, need) } else { greedy(order, need) };
    Some(chosen.iter().map(|candidate| candidate.slot).collect())
}

struct Search<'a> {
    order: &'a [Candidate],
    /// What all candidates from a place on free together.
    rest: Vec<Need>,
    /// The most of each that one of the candidates frees.
    largest: Size,
    best: Option<(u64, Vec<usize>)>,
    taken: Vec<usize>,
}

fn exact(order: &[Candidate], need: Need) -> Vec<Candidate> {
    let mut rest = vec![Need::default()];
    for candidate in order.iter().rev() {
        let next = rest[rest.len() - 1];
        rest.push(Need { size: next.size.plus(candidate.size), instances: next.instances + 1 });
    }
    rest.reverse();
    let largest = order.iter().fold(Size::default(), |largest, candidate| Size {
        memory_mib: largest.memory_mib.max(candidate.size.memory_mib),
        money: largest.money.max(candidate.size.money),
    });
    let mut search = Search { order, rest, largest, best: None, taken: Vec::new() };
    search.visit(0, 0, need);
    let (_, chosen) = search.best.unwrap_or_default();
    chosen.into_iter().map(|place| order[place]).collect()
}

impl Search<'_> {
    fn visit(&mut self, place: usize, cost: u64, need: Need) {
        let is_worse =
            |best: &(u64, Vec<usize>)| (cost, self.taken.len()) >= (best.0, best.1.len());
        if self.best.as_ref().is_some_and(is_worse) {
            return;
        }
        if need.is_met() {
            self.best = Some((cost, self.taken.clone()));
            return;
        }
        let rest = self.rest[place];
        if !rest.size.covers(need.size) || rest.instances < need.instances {
            return;
        }
        let candidate = self.order[place];
        // So many more must be taken, and none of those left is cheaper than this one.
        let memory = need.size.memory_mib.div_ceil(self.largest.memory_mib.max(1));
        let money = need.size.money.div_ceil(self.largest.money.max(1));
        let more = memory.max(money).max(need.instances).saturating_mul(candidate.cost);
        if self.best.as_ref().is_some_and(|best| cost.saturating_add(more) > best.0) {
            return;
        }
        self.taken.push(place);
        self.visit(place + 1, cost.saturating_add(candidate.cost), need.after(&candidate));
        self.taken.pop();
        self.visit(place + 1, cost, need);
    }
}

fn greedy(mut order: Vec<Candidate>, need: Need) -> Vec<Candidate> {
    order.sort_by(|one, other| {
        let left = u128::from(one.cost) * u128::from(need.met_by(other));
        let right = u128::from(other.cost) * u128::from(need.met_by(one));
        left.cmp(&right).then(one.slot.cmp(&other.slot))
    });
    let mut left = need;
    let mut chosen: Vec<Candidate> = Vec::new();
    for candidate in order {
        if left.is_met() {
            break;
        }
        left = left.after(&candidate);
        chosen.push(candidate);
    }
    // The dearest first: is it still needed beside the others?
    let mut dearest: Vec<usize> = (0..chosen.len()).collect();
    dearest.sort_by_key(|place| std::cmp::Reverse(chosen[*place].cost));
    let mut kept = vec![true; chosen.len()];
    for place in dearest {
        kept[place] = false;
        let others = chosen.iter().zip(&kept).filter(|(_, kept)| **kept);
        if !others.fold(need, |need, (candidate, _)| need.after(candidate)).is_met() {
            kept[place] = true;
        }
    }
    chosen.into_iter().zip(kept).filter_map(|(candidate, kept)| kept.then_some(candidate)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidates(most: usize) -> impl Strategy<Value = Vec<Candidate>> {
        prop::collection::vec((1_u64..40, 0_u64..9, 0_u64..50), 0..most).prop_map(|rows| {
            let candidate = |(slot, (memory_mib, money, cost))| Candidate {
                slot,
                size: Size { memory_mib, money },
                cost,
            };
            (0..).zip(rows).map(candidate).collect()
        })
    }

    fn meets(candidates: &[Candidate], chosen: &[u64], need: Need) -> bool {
        let taken = candidates.iter().filter(|candidate| chosen.contains(&candidate.slot));
        taken.fold(need, |need, candidate| need.after(candidate)).is_met()
    }

    fn cost(candidates: &[Candidate], chosen: &[u64]) -> u64 {
        let taken = candidates.iter().filter(|candidate| chosen.contains(&candidate.slot));
        taken.map(|candidate| candidate.cost).sum()
    }

    proptest! {
        #[test]
        fn the_exact_choice_is_as_cheap_as_the_best_of_all_sets(
            candidates in candidates(11),
            memory_mib in 0_u64..150,
            money in 0_u64..30,
            instances in 0_u64..6,
        ) {
            let need = Need { size: Size { memory_mib, money }, instances };
            let slots = |set: u32| -> Vec<u64> {
                (0..candidates.len() as u64).filter(|slot| set >> slot & 1 == 1).collect()
            };
            let sets = (0..1_u32 << candidates.len()).map(slots);
            let best = sets.filter(|set| meets(&candidates, set, need))
                .map(|set| cost(&candidates, &set)).min();
            let chosen = choose(&candidates, need);
            prop_assert_eq!(chosen.as_ref().map(|set| cost(&candidates, set)), best);
            prop_assert!(chosen.is_none_or(|set| meets(&candidates, &set, need)));
        }

        #[test]
        fn a_large_choice_is_enough_and_none_of_it_is_superfluous(
            candidates in candidates(60),
            memory_mib in 0_u64..600,
            money in 0_u64..90,
            instances in 0_u64..30,
        ) {
            let need = Need { size: Size { memory_mib, money }, instances };
            let all: Vec<u64> = candidates.iter().map(|candidate| candidate.slot).collect();
            match choose(&candidates, need) {
                None => prop_assert!(!meets(&candidates, &all, need)),
                Some(chosen) => {
                    prop_assert!(meets(&candidates, &chosen, need));
                    for left_out in &chosen {
                        let fewer: Vec<u64> =
                            chosen.iter().copied().filter(|slot| slot != left_out).collect();
                        let paid = candidates.iter().any(|c| c.slot == *left_out && c.cost > 0);
                        prop_assert!(!paid || !meets(&candidates, &fewer, need));
                    }
                }
            }
        }
    }
}
