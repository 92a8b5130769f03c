//! Whether an instance does useful work: failures and slowness in a row, judged against its own kind.

use std::collections::VecDeque;

/// So many of a kind's last calls say what is usual.
const REMEMBERED: usize = 64;
/// Before so many nothing is unusual.
const LEAST: usize = 8;
/// A call this many times as long as the median is slow.
const SLOW: u64 = 3;
/// Where a kind says nothing else.
pub const STRIKES: u32 = 3;

/// How long a kind's calls take.
#[derive(Clone, Debug, Default)]
pub struct Pace(VecDeque<u64>);

impl Pace {
    /// Whether a call of this length is slow, as judged by those before it; then it counts among them.
    pub fn judge(&mut self, took_ms: u64) -> bool {
        let slow = self.median().is_some_and(|median| took_ms > SLOW * median.max(1));
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(took_ms);
        slow
    }

    fn median(&self) -> Option<u64> {
        let mut sorted: Vec<u64> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        (sorted.len() >= LEAST).then(|| sorted[sorted.len() / 2])
    }
}

/// What stands against one instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strikes {
    failed: u32,
    slow: u32,
}

impl Strikes {
    /// It did what it was asked, in a usual time or not.
    pub fn worked(&mut self, slow: bool) {
        self.failed = 0;
        self.slow = if slow { self.slow.saturating_add(1) } else { 0 };
    }

    pub fn failed(&mut self) {
        self.failed = self.failed.saturating_add(1);
    }

    /// Somebody else noticed that it is slow.
    pub fn slow(&mut self) {
        self.slow = self.slow.saturating_add(1);
    }

    pub fn is_out(self, strikes: u32) -> bool {
        self.failed >= strikes || self.slow >= strikes
    }

    /// Others are to be preferred.
    pub fn is_suspect(self) -> bool {
        self != Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_slow_above_three_times_the_median_of_enough_calls() {
        let mut pace = Pace::default();
        assert!((0..LEAST).all(|n| !pace.judge(if n == 0 { 9_999 } else { 100 })));
        assert!(!pace.judge(300));
        assert!(pace.judge(301));
        // What has become usual is not slow.
        assert!((0..REMEMBERED).any(|_| !pace.judge(400)));
        assert!(pace.0.len() <= REMEMBERED);
    }

    #[test]
    fn strikes_count_in_a_row() {
        let mut strikes = Strikes::default();
        strikes.failed();
        strikes.failed();
        assert!(strikes.is_suspect() && !strikes.is_out(3));
        strikes.worked(false);
        assert!(!strikes.is_suspect());
        strikes.worked(true);
        strikes.slow();
        assert!(!strikes.is_out(3));
        strikes.worked(true);
        assert!(strikes.is_out(3));
    }
}
