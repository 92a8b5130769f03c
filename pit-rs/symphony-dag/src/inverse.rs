//! Reverse reconstruction: what of the past can be made again from what came later.
//!
//! A step made outputs from inputs; a declared inverse of its kind makes inputs from outputs. So every step of that
//! kind is a way back: from values that it takes to values that it gives. The cheapest chain of ways to a value is
//! the shortest path of a directed hypergraph (D. E. Knuth, "A generalization of Dijkstra's algorithm", IPL 6(1),
//! 1977): a way costs its own time plus that of everything it takes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

/// One output of one step.
pub type Item<'a> = (u32, &'a str);

/// A way back.
#[derive(Clone, Debug)]
pub struct Way<'a, T> {
    /// What is known of it.
    pub tag: T,
    pub cost: u64,
    pub takes: Vec<Item<'a>>,
    pub gives: Vec<Item<'a>>,
}

/// How values come about that are not there.
pub struct Ways<'a, T> {
    ways: Vec<Way<'a, T>>,
    /// By value: the way that gives it most cheaply.
    best: HashMap<Item<'a>, usize>,
}

impl<'a, T> Ways<'a, T> {
    /// Finds the cheapest way to whatever can be had, beginning with what is there.
    pub fn new(ways: Vec<Way<'a, T>>, there: impl Fn(&Item<'a>) -> bool) -> Self {
        let mut best: HashMap<Item<'a>, usize> = HashMap::new();
        let mut users: HashMap<Item<'a>, Vec<usize>> = HashMap::new();
        let mut missing: Vec<usize> = Vec::with_capacity(ways.len());
        let mut total: Vec<u64> = Vec::with_capacity(ways.len());
        let mut queue = BinaryHeap::new();
        for (number, way) in ways.iter().enumerate() {
            let wanted: HashSet<Item<'a>> =
                way.takes.iter().filter(|item| !there(item)).copied().collect();
            missing.push(wanted.len());
            total.push(way.cost);
            if wanted.is_empty() {
                queue.push(Reverse((way.cost, number)));
            }
            for item in wanted {
                users.entry(item).or_default().push(number);
            }
        }
        while let Some(Reverse((cost, number))) = queue.pop() {
            for item in &ways[number].gives {
                if there(item) || best.contains_key(item) {
                    continue;
                }
                best.insert(*item, number);
                for user in users.get(item).into_iter().flatten() {
                    missing[*user] -= 1;
                    total[*user] = total[*user].saturating_add(cost);
                    if missing[*user] == 0 {
                        queue.push(Reverse((total[*user], *user)));
                    }
                }
            }
        }
        Self { ways, best }
    }

    /// The ways to a value, in an order in which they can be gone, or nothing if it cannot be had.
    pub fn to(&self, item: Item<'a>) -> Option<Vec<&Way<'a, T>>> {
        let mut order: Vec<usize> = Vec::new();
        let mut seen: HashSet<usize> = HashSet::new();
        // A way stands twice on the stack: to look at what it takes, and then to be gone.
        let mut stack = vec![(*self.best.get(&item)?, false)];
        while let Some((number, looked)) = stack.pop() {
            if looked {
                order.push(number);
            } else if seen.insert(number) {
                stack.push((number, true));
                let takes = self.ways[number].takes.iter();
                stack.extend(takes.filter_map(|item| self.best.get(item)).map(|way| (*way, false)));
            }
        }
        Some(order.into_iter().map(|number| &self.ways[number]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(
        tag: u32,
        cost: u64,
        takes: &[Item<'static>],
        gives: &[Item<'static>],
    ) -> Way<'static, u32> {
        Way { tag, cost, takes: takes.to_vec(), gives: gives.to_vec() }
    }

    fn tags(ways: &Ways<'static, u32>, item: Item<'static>) -> Option<Vec<u32>> {
        Some(ways.to(item)?.into_iter().map(|way| way.tag).collect())
    }

    #[test]
    fn the_cheapest_chain_wins_and_comes_in_the_order_in_which_it_is_gone() {
        let there = |item: &Item<'_>| item.0 == 9;
        let ways = Ways::new(
            vec![
                way(1, 100, &[(9, "z")], &[(0, "a")]),
                way(2, 10, &[(1, "b"), (2, "c")], &[(0, "a")]),
                way(3, 20, &[(9, "z")], &[(1, "b")]),
                way(4, 30, &[(1, "b")], &[(2, "c")]),
                way(5, 1, &[(7, "gone")], &[(0, "a")]),
            ],
            there,
        );
        assert_eq!(tags(&ways, (0, "a")), Some(vec![3, 4, 2]));
        assert_eq!(tags(&ways, (2, "c")), Some(vec![3, 4]));
        assert_eq!(tags(&ways, (7, "gone")), None);
    }

    #[test]
    fn two_values_that_are_made_from_each_other_make_neither() {
        let ways = Ways::new(
            vec![way(1, 1, &[(0, "a")], &[(1, "b")]), way(2, 1, &[(1, "b")], &[(0, "a")])],
            |_| false,
        );
        assert_eq!(tags(&ways, (0, "a")), None);
        assert_eq!(tags(&ways, (1, "b")), None);
    }
}
