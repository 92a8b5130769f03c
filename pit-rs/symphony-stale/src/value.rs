//! What an artifact is worth for learning: five signals, their weighted mean, and the reason in words.

use serde::{Deserialize, Serialize};

/// What a signal counts that is not known.
const UNKNOWN: u64 = 500;
const MOST: u64 = 1_000;
const MAX_WEIGHT: u64 = 100;

/// The weight of each signal, hundredths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Worth {
    pub outcome: u64,
    pub rarity: u64,
    pub quality: u64,
    pub feedback: u64,
    pub reuse: u64,
}

impl Default for Worth {
    fn default() -> Self {
        Self { outcome: 30, rarity: 25, quality: 25, feedback: 10, reuse: 10 }
    }
}

impl Worth {
    fn weights(&self) -> [u64; 5] {
        [self.outcome, self.rarity, self.quality, self.feedback, self.reuse]
    }

    pub fn is_fit(&self) -> bool {
        self.weights().iter().all(|weight| *weight <= MAX_WEIGHT)
            && self.weights().iter().any(|weight| *weight > 0)
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    Aborted,
    Failed,
    Succeeded,
}

impl Ended {
    /// Failures teach too.
    fn worth(self) -> u64 {
        match self {
            Self::Succeeded => 1_000,
            Self::Failed => 600,
            Self::Aborted => 200,
        }
    }
}

/// Each 0 to 1000, if known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Signals {
    pub outcome: Option<u64>,
    pub rarity: Option<u64>,
    pub quality: Option<u64>,
    pub feedback: Option<u64>,
    pub reuse: Option<u64>,
}

impl Signals {
    /// `alike`: how many of the same player, step and media type there are, this one among them.
    pub fn new(
        ended: Option<Ended>,
        alike: u64,
        quality: Option<u64>,
        feedback: Option<u64>,
        uses: u64,
    ) -> Self {
        Self {
            outcome: ended.map(Ended::worth),
            // 1000 ÷ √n, rounded down.
            rarity: Some((MOST * MOST / alike.max(1)).isqrt()),
            quality: quality.map(|quality| quality.min(MOST)),
            feedback,
            // 1000 × (1 − 1/(1 + uses)), rounded down.
            reuse: Some(MOST - MOST.div_ceil(uses.saturating_add(1))),
        }
    }

    fn all(&self) -> [(&'static str, Option<u64>); 5] {
        [
            ("outcome", self.outcome),
            ("rarity", self.rarity),
            ("quality", self.quality),
            ("feedback", self.feedback),
            ("reuse", self.reuse),
        ]
    }

    /// 0 to 1000, rounded down.
    pub fn value(&self, worth: &Worth) -> u64 {
        let weights = worth.weights();
        let total: u64 = weights.iter().sum();
        let signals = self.all().map(|(_, signal)| signal.unwrap_or(UNKNOWN));
        let sum: u64 = signals.iter().zip(weights).map(|(signal, weight)| signal * weight).sum();
        sum / total.max(1)
    }

    pub fn reason(&self) -> String {
        let said = self.all().map(|(name, signal)| match signal {
            Some(signal) => format!("{name} {signal}"),
            None => format!("{name} not known"),
        });
        said.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_those_of_the_contract() {
        let signals = Signals::new(Some(Ended::Failed), 4, Some(2_000), None, 3);
        assert_eq!(
            signals.reason(),
            "outcome 600, rarity 500, quality 1000, feedback not known, reuse 750"
        );
        assert_eq!(
            signals.value(&Worth::default()),
            (600 * 30 + 500 * 25 + 1_000 * 25 + 500 * 10 + 750 * 10) / 100
        );
        assert_eq!(Signals::new(None, 3, None, None, 0).rarity, Some(577));
        assert_eq!(Signals::new(None, 1, None, None, 0).reuse, Some(0));
    }
}
