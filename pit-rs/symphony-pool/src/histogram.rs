//! How long a kind stays unused between two uses, and what that says about its next use.
//!
//! The policy is that of M. Shahrad et al., "Serverless in the Wild: Characterizing and Optimizing the
//! Serverless Workload at a Large Cloud Provider" (USENIX ATC 2020), section 4.2: a histogram with a
//! limited range; its head says when to load again, its tail when to unload; where it is not
//! representative (too few samples, or spread: a small coefficient of variation of the bin counts) a
//! fixed time holds. Bins are fine where a load could just be avoided and coarse above, so a kind costs
//! half a kilobyte.

use serde::{Deserialize, Serialize};

const FINE_MS: u64 = 1_000;
/// Bins of a second, up to a minute.
const FINE: usize = 60;
const COARSE_MS: u64 = 240_000;
/// Bins of four minutes, up to four hours. The first begins where the fine ones end.
const COARSE: usize = 60;
pub const BINS: usize = FINE + COARSE;

/// Fewer say nothing.
const LEAST_SAMPLES: u64 = 20;
/// At so many samples all counts are halved, so that what is long ago counts less.
const MOST_SAMPLES: u64 = 1_000;
/// Square of the coefficient of variation from which a histogram has a shape.
const LEAST_CV_SQUARED: u64 = 4;

/// Counts of idle times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    bins: Vec<u32>,
    /// Longer than the range.
    beyond: u32,
}

/// When a kind is worth keeping, in milliseconds since its last use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// It will hardly be used before this.
    pub from: u64,
    /// It will hardly be used after this.
    pub to: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { bins: vec![0; BINS], beyond: 0 }
    }
}

fn bin_of(idle_ms: u64) -> Option<usize> {
    let fine = idle_ms / FINE_MS;
    if fine < FINE as u64 {
        return usize::try_from(fine).ok();
    }
    let coarse = usize::try_from(idle_ms / COARSE_MS).ok()?;
    (coarse < COARSE).then_some(FINE + coarse)
}

/// The first millisecond of a bin; of the one after the last, the end of the range.
fn start_of(bin: usize) -> u64 {
    let fine_end = FINE as u64 * FINE_MS;
    match bin.checked_sub(FINE) {
        None => bin as u64 * FINE_MS,
        Some(coarse) => (coarse as u64 * COARSE_MS).max(fine_end),
    }
}

impl Histogram {
    /// Whether its form is that of a histogram of this version.
    pub fn is_whole(&self) -> bool {
        self.bins.len() == BINS
    }

    pub fn record(&mut self, idle_ms: u64) {
        let count = match bin_of(idle_ms).and_then(|bin| self.bins.get_mut(bin)) {
            Some(count) => count,
            None => &mut self.beyond,
        };
        *count = count.saturating_add(1);
        if self.samples() >= MOST_SAMPLES {
            self.bins.iter_mut().for_each(|count| *count /= 2);
            self.beyond /= 2;
        }
    }

    pub fn samples(&self) -> u64 {
        self.bins.iter().map(|count| u64::from(*count)).sum::<u64>() + u64::from(self.beyond)
    }

    /// Enough samples, most of them in range, and not spread over the range: variance ÷ mean² of the
    /// counts = bins × Σ count² ÷ (Σ count)² − 1.
    pub fn is_representative(&self) -> bool {
        let within = self.bins.iter().map(|count| u64::from(*count)).sum::<u64>();
        let squares: u64 = self.bins.iter().map(|count| u64::from(*count).pow(2)).sum();
        within + u64::from(self.beyond) >= LEAST_SAMPLES
            && within > u64::from(self.beyond)
            && BINS as u64 * squares >= (LEAST_CV_SQUARED + 1) * within * within
    }

    /// From a tenth before the 5th percentile to a tenth after the 99th.
    pub fn window(&self) -> Option<Window> {
        if !self.is_representative() {
            return None;
        }
        let from = start_of(self.percentile(5));
        let to = start_of(self.percentile(99) + 1);
        Some(Window { from: from - from / 10, to: to + to / 10 })
    }

    /// The bin that holds the sample with this percentage of all below or at it.
    fn percentile(&self, percent: u64) -> usize {
        let rank = (self.samples() * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let found = self.bins.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        });
        found.unwrap_or(BINS - 1)
    }

    /// Of a thousand times that the kind was unused for `idle_ms`, how often it was used within the next
    /// `within_ms`.
    pub fn chance(&self, idle_ms: u64, within_ms: u64) -> Option<u64> {
        if !self.is_representative() {
            return None;
        }
        let now = bin_of(idle_ms).unwrap_or(BINS);
        let end = bin_of(idle_ms.saturating_add(within_ms)).unwrap_or(BINS);
        let sum = |bins: &[u32]| bins.iter().map(|count| u64::from(*count)).sum::<u64>();
        let left = sum(self.bins.get(now..).unwrap_or_default()) + u64::from(self.beyond);
        let soon = sum(self.bins.get(now..(end + 1).min(BINS)).unwrap_or_default());
        Some((soon * 1_000).checked_div(left).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(samples: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        samples.into_iter().for_each(|idle| histogram.record(idle));
        histogram
    }

    #[test]
    fn bins_cover_the_range_without_gaps() {
        for bin in 0..BINS {
            assert!(start_of(bin) < start_of(bin + 1), "{bin}");
            assert_eq!(bin_of(start_of(bin)), Some(bin));
            assert_eq!(bin_of(start_of(bin + 1) - 1), Some(bin));
        }
        assert_eq!(start_of(BINS), 4 * 3_600_000);
        assert_eq!(bin_of(start_of(BINS)), None);
    }

    #[test]
    fn few_samples_and_spread_ones_have_no_window() {
        assert_eq!(of([600_000; 19]).window(), None);
        assert!(of([600_000; 20]).window().is_some());
        // Even over 24 of 120 bins: the coefficient of variation is exactly 2; over 25 it is less.
        let spread = |bins: u64| of((0..bins * 20).map(|n| (n % bins) * 1_000));
        assert!(spread(24).is_representative());
        assert!(!spread(25).is_representative());
        assert_eq!(of([5 * 3_600_000; 30]).window(), None);
    }

    #[test]
    fn the_window_is_the_5th_to_the_99th_percentile_with_a_tenth_on_both_sides() {
        // 4 % at 5 s, 95 % at 10 s, 1 % at 50 s.
        let samples = (0..100).map(|n| match n {
            0..4 => 5_000,
            4..99 => 10_000,
            _ => 50_000,
        });
        assert_eq!(of(samples).window(), Some(Window { from: 9_000, to: 12_100 }));
    }

    #[test]
    fn the_chance_of_a_use_rises_to_certainty_and_ends_with_the_samples() {
        let histogram = of((0..40).map(|n| if n % 4 == 0 { 10_000 } else { 30_000 }));
        assert_eq!(histogram.chance(0, 5_000), Some(0));
        assert_eq!(histogram.chance(5_000, 6_000), Some(250));
        assert_eq!(histogram.chance(15_000, 20_000), Some(1_000));
        assert_eq!(histogram.chance(40_000, 20_000), Some(0));
        assert_eq!(Histogram::default().chance(0, 1), None);
    }

    #[test]
    fn old_samples_fade() {
        let mut histogram = of([10_000; 900]);
        (0..4_000).for_each(|_| histogram.record(30_000));
        assert!(histogram.samples() < MOST_SAMPLES);
        assert_eq!(histogram.window().map(|window| window.from), Some(27_000));
    }
}
