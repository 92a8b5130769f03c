//! The last answers of a provider, for callers that ask again because the hub has lost them (PROTOCOL section 11).

use std::collections::VecDeque;

use foldhash::HashMap;
use symphony_wire::constants::{MAX_ANSWERED, MAX_ANSWERS, MAX_ANSWER_BYTES};
use symphony_wire::{BusError, Code, Fault, Kind};

use crate::serving::Key;
use crate::Body;

/// Rises with each answer.
type Order = u64;

struct Kept {
    order: Order,
    kind: Kind,
    body: Body,
}

#[derive(Default)]
pub struct Answers {
    given: Order,
    /// The oldest first.
    kept: VecDeque<Kept>,
    bytes: usize,
    /// What was answered, for longer than the answers are kept: it must not be done twice.
    answered: HashMap<Key, Order>,
    /// The oldest first, those included whose number was forgotten or answered anew.
    answered_order: VecDeque<(Key, Order)>,
}

impl Answers {
    /// Remembers an answer, and forgets the oldest ones that there is no room for.
    pub fn keep(&mut self, key: Key, kind: Kind, body: Body) {
        self.given += 1;
        let order = self.given;
        if let Some(former) = self.answered.insert(key, order) {
            self.drop_kept(former);
        }
        self.answered_order.push_back((key, order));
        if self.answered_order.len() > MAX_ANSWERED {
            self.forget_oldest();
        }
        self.bytes += body.len();
        self.kept.push_back(Kept { order, kind, body });
        while self.kept.len() > MAX_ANSWERS || self.bytes > MAX_ANSWER_BYTES {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.bytes -= oldest.body.len();
        }
    }

    /// The answer that this call got, or the error that it is no longer known; `None` if it got none.
    pub fn recall(&mut self, key: Key) -> Option<(Kind, Body)> {
        let order = *self.answered.get(&key)?;
        if let Some(kept) = self.place(order).and_then(|at| self.kept.get_mut(at)) {
            return Some((kept.kind, kept.body.share()));
        }
        let text = "the bus started anew, and the answer of long ago is no longer remembered";
        let error = BusError::new(Code::Crashed, text).fault(Fault::Kernel);
        Some((Kind::Error, error.to_body().into()))
    }

    /// The number stands for another call now.
    pub fn forget(&mut self, key: Key) {
        if let Some(order) = self.answered.remove(&key) {
            self.drop_kept(order);
        }
    }

    fn forget_oldest(&mut self) {
        let Some((key, order)) = self.answered_order.pop_front() else { return };
        if self.answered.get(&key) == Some(&order) {
            self.answered.remove(&key);
        }
    }

    fn drop_kept(&mut self, order: Order) {
        let dropped = self.place(order).and_then(|at| self.kept.remove(at));
        self.bytes -= dropped.map_or(0, |dropped| dropped.body.len());
    }

    fn place(&self, order: Order) -> Option<usize> {
        self.kept.binary_search_by_key(&order, |kept| kept.order).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Against a plain list that is cut from the front.
        #[test]
        fn the_last_answers_within_the_bounds_are_remembered(
            steps in proptest::collection::vec((0..400u64, 0..200_000usize, any::<bool>()), 1..600)
        ) {
            let mut answers = Answers::default();
            let mut model: Vec<(u64, usize)> = Vec::new();
            for (request, size, forget) in steps {
                model.retain(|(kept, _)| *kept != request);
                if forget {
                    answers.forget((1, request));
                } else {
                    answers.keep((1, request), Kind::Result, vec![0; size].into());
                    model.push((request, size));
                }
                while model.len() > MAX_ANSWERS
                    || model.iter().map(|(_, size)| size).sum::<usize>() > MAX_ANSWER_BYTES
                {
                    model.remove(0);
                }
            }
            for request in 0..400 {
                let found = answers
                    .recall((1, request))
                    .filter(|(kind, _)| *kind == Kind::Result)
                    .map(|(_, body)| body.len());
                let known = model.iter().find(|(kept, _)| *kept == request).map(|(_, size)| *size);
                prop_assert_eq!(found, known);
            }
        }
    }
}
