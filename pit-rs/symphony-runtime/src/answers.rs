//! The last answers of a provider, for callers that ask again because the hub has lost them (PROTOCOL section 11).
//!
//! Every call adds to them and next to none asks, so they are lists that are searched, newest first: of a number that was
//! used again the later call counts.

use std::collections::VecDeque;

use symphony_wire::constants::{MAX_ANSWERED, MAX_ANSWERS, MAX_ANSWER_BYTES};
use symphony_wire::{BusError, Code, Fault, Kind};

use crate::serving::Key;
use crate::Body;

#[derive(Default)]
pub struct Answers {
    kept: VecDeque<(Key, Kind, Body)>,
    bytes: usize,
    /// What was answered, for longer than the answers are kept: it must not be done twice.
    answered: VecDeque<Key>,
}

impl Answers {
    /// Remembers an answer, and forgets the oldest ones that there is no room for.
    pub fn keep(&mut self, key: Key, kind: Kind, body: Body) {
        self.bytes += body.len();
        self.kept.push_back((key, kind, body));
        while self.kept.len() > MAX_ANSWERS || self.bytes > MAX_ANSWER_BYTES {
            let Some((_, _, oldest)) = self.kept.pop_front() else { break };
            self.bytes -= oldest.len();
        }
        self.answered.push_back(key);
        if self.answered.len() > MAX_ANSWERED {
            self.answered.pop_front();
        }
    }

    /// The answer that this call got, or the error that it is no longer known; `None` if it got none.
    pub fn recall(&mut self, key: Key) -> Option<(Kind, Body)> {
        if let Some((_, kind, body)) = self.kept.iter_mut().rev().find(|(kept, ..)| *kept == key) {
            return Some((*kind, body.share()));
        }
        self.answered.contains(&key).then(|| {
            let text = "the bus started anew, and the answer of long ago is no longer remembered";
            let error = BusError::new(Code::Crashed, text).fault(Fault::Kernel);
            (Kind::Error, error.to_body().into())
        })
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
            steps in proptest::collection::vec((0..400u64, 0..200_000usize), 1..600)
        ) {
            let mut answers = Answers::default();
            let mut model: Vec<(u64, usize)> = Vec::new();
            for (request, size) in steps {
                answers.keep((1, request), Kind::Result, vec![0; size].into());
                model.push((request, size));
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
                let known = model.iter().rev().find(|(kept, _)| *kept == request).map(|(_, size)| *size);
                prop_assert_eq!(found, known);
            }
        }
    }
}
