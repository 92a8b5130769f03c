//! The last answers of a provider, for callers that ask again because the hub has lost them (PROTOCOL section 11).

use std::collections::{HashMap, VecDeque};

use symphony_wire::constants::{MAX_ANSWERS, MAX_ANSWER_BYTES};
use symphony_wire::Kind;

use crate::serving::Key;
use crate::Body;

#[derive(Default)]
pub struct Answers {
    kept: HashMap<Key, (Kind, Body)>,
    /// The oldest first.
    order: VecDeque<Key>,
    bytes: usize,
}

impl Answers {
    /// Remembers an answer, and forgets the oldest ones that there is no room for.
    pub fn keep(&mut self, key: Key, kind: Kind, body: Body) {
        self.forget(key);
        self.bytes += body.len();
        self.kept.insert(key, (kind, body));
        self.order.push_back(key);
        while self.order.len() > MAX_ANSWERS || self.bytes > MAX_ANSWER_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.drop_bytes(oldest);
        }
    }

    pub fn recall(&mut self, key: Key) -> Option<(Kind, Body)> {
        self.kept.get_mut(&key).map(|(kind, body)| (*kind, body.share()))
    }

    /// The number stands for another call now.
    pub fn forget(&mut self, key: Key) {
        if self.drop_bytes(key) {
            self.order.retain(|kept| *kept != key);
        }
    }

    fn drop_bytes(&mut self, key: Key) -> bool {
        let dropped = self.kept.remove(&key);
        self.bytes -= dropped.as_ref().map_or(0, |(_, body)| body.len());
        dropped.is_some()
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
                let found = answers.recall((1, request)).map(|(_, body)| body.len());
                let known = model.iter().find(|(kept, _)| *kept == request).map(|(_, size)| *size);
                prop_assert_eq!(found, known);
            }
        }
    }
}
