//! Whose turn it is among those that wait: lane by lane, and in each the one that came first.

use std::collections::VecDeque;

use foldhash::HashMap;

pub struct Turns<T> {
    /// None is empty.
    lanes: HashMap<u32, VecDeque<T>>,
    /// Each of them once.
    order: VecDeque<u32>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { lanes: HashMap::default(), order: VecDeque::new() }
    }
}

impl<T> Turns<T> {
    pub fn put(&mut self, lane: u32, item: T) {
        let waiting = self.lanes.entry(lane).or_default();
        if waiting.is_empty() {
            self.order.push_back(lane);
        }
        waiting.push_back(item);
    }

    pub fn take(&mut self) -> Option<T> {
        let lane = self.order.pop_front()?;
        let waiting = self.lanes.get_mut(&lane)?;
        let item = waiting.pop_front();
        if waiting.is_empty() {
            self.lanes.remove(&lane);
        } else {
            self.order.push_back(lane);
        }
        item
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_that_comes_late_waits_for_one_of_each_lane() {
        let mut turns = Turns::default();
        for number in 0..1_000 {
            turns.put(1, (1, number));
        }
        turns.put(2, (2, 0));
        assert_eq!([turns.take(), turns.take()], [Some((1, 0)), Some((2, 0))]);
        turns.put(2, (2, 1));
        assert_eq!([turns.take(), turns.take()], [Some((1, 1)), Some((2, 1))]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_each_lane_keeps_its_order(
            steps in proptest::collection::vec(proptest::option::of(1..4u32), 0..200)
        ) {
            let mut turns = Turns::default();
            let mut model: HashMap<u32, VecDeque<usize>> = HashMap::default();
            let rest = std::iter::repeat_n(None, steps.len());
            for (number, step) in steps.iter().copied().chain(rest).enumerate() {
                if let Some(lane) = step {
                    turns.put(lane, (lane, number));
                    model.entry(lane).or_default().push_back(number);
                } else if let Some((lane, number)) = turns.take() {
                    prop_assert_eq!(model.get_mut(&lane).and_then(VecDeque::pop_front), Some(number));
                } else {
                    prop_assert!(model.values().all(VecDeque::is_empty));
                }
                prop_assert_eq!(turns.is_empty(), model.values().all(VecDeque::is_empty));
            }
            prop_assert!(turns.is_empty());
        }
    }
}
