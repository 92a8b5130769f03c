//! The last answers of a provider, for callers that ask again because the hub has lost them (PROTOCOL section 11).

use std::collections::{HashMap, HashSet, VecDeque};

use symphony_wire::constants::{MAX_ANSWERED, MAX_ANSWERS, MAX_ANSWER_BYTES};
use symphony_wire::{BusError, Code, Fault, Kind};

use crate::serving::Key;
use crate::Body;

#[derive(Default)]
pub struct Answers {
    kept: HashMap<Key, (Kind, Body)>,
    /// The oldest first.
    order: VecDeque<Key>,
    bytes: usize,
    /// What was answered, for longer than the answers are kept: it must not be done twice.
    answered: HashSet<Key>,
    answered_order: VecDeque<Key>,
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
        if self.answered.insert(key) {
            self.answered_order.push_back(key);
        }
        while self.answered_order.len() > MAX_ANSWERED {
            let Some(oldest) = self.answered_order.pop_front() else { break };
            self.answered.remove(&oldest);
        }
    }

    /// The answer that this call got, or the error that it is no longer known; `None` if it got none.
    pub fn recall(&mut self, key: Key) -> Option<(Kind, Body)> {
        match self.kept.get_mut(&key) {
            Some((kind, body)) => Some((*kind, body.share())),
            None => self.answered.contains(&key).then(|| {
                let text =
                    "the bus started anew, and the answer of long ago is no longer remembered";
                let error = BusError::new(Code::Crashed, text).fault(Fault::Kernel);
                (Kind::Error, error.to_body().into())
            }),
        }
    }

    /// The number stands for another call now.
    pub fn forget(&mut self, key: Key) {
        if self.drop_bytes(key) {
            self.order.retain(|kept| *kept != key);
        }
        if self.answered.remove(&key) {
            self.answered_order.retain(|kept| *kept != key);
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
