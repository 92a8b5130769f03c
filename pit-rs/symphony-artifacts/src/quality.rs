//! How good an artifact is: structure, semantics and utility, each 0 to 1000, and what they come to.

use serde::{Deserialize, Serialize};

const STRUCTURE: u64 = 30;
const SEMANTICS: u64 = 50;
const UTILITY: u64 = 20;
pub const MOST: u64 = 1000;

/// What is known of a content's quality. What is not set is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// Whether it parses and fits its schema.
    pub structure: Option<u64>,
    /// What the step's gate gave it.
    pub semantics: Option<u64>,
    /// Whether it was any good to anybody, as told.
    pub utility: Option<u64>,
    /// By how many it was used.
    pub uses: u64,
}

impl Score {
    /// Takes over what the other one has set.
    pub fn set(&mut self, other: &Self) {
        self.structure = other.structure.or(self.structure);
        self.semantics = other.semantics.or(self.semantics);
        self.utility = other.utility.or(self.utility);
    }

    /// As told, else by its uses: 1000 × (1 − 1/(1 + uses)), rounded down; unknown where nobody used it.
    pub fn utility(&self) -> Option<u64> {
        let used = (self.uses > 0).then(|| MOST - MOST.div_ceil(self.uses.saturating_add(1)));
        self.utility.or(used)
    }

    /// The mean of what is known, weighted 30 : 50 : 20, rounded down; `None` where nothing is.
    pub fn quality(&self) -> Option<u64> {
        let parts =
            [(self.structure, STRUCTURE), (self.semantics, SEMANTICS), (self.utility(), UTILITY)];
        let known = parts.iter().filter_map(|(part, weight)| part.map(|part| (part, weight)));
        let (sum, weights) =
            known.fold((0, 0), |(sum, all), (part, weight)| (sum + part * weight, all + weight));
        (weights > 0).then(|| sum / weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_counts() {
        let score =
            |structure, semantics, utility, uses| Score { structure, semantics, utility, uses };
        for (score, quality) in [
            (Score::default(), None),
            (score(Some(900), None, None, 0), Some(900)),
            (score(Some(1000), Some(500), None, 0), Some(687)),
            (score(Some(1000), Some(1000), Some(0), 9), Some(800)),
            (score(None, None, None, 1), Some(500)),
            (score(None, None, None, 2), Some(666)),
            (score(None, None, None, u64::MAX), Some(999)),
        ] {
            assert_eq!(score.quality(), quality, "{score:?}");
        }
        let mut known = score(Some(1), Some(2), None, 3);
        known.set(&score(None, Some(5), Some(6), 0));
        assert_eq!(known, score(Some(1), Some(5), Some(6), 3));
    }
}
