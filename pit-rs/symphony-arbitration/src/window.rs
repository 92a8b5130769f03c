//! Fairness over the recent past: what each tenant wanted, what it had, and the correction that follows.
//!
//! A tenant counts while it waits: then it wanted the part that its weight has among all who waited at that
//! moment, and had its dominant share. Whoever waits for nothing has what it wants and is not measured. Both are
//! summed in parts of a window; what is older than the window is forgotten.

use std::collections::VecDeque;

use crate::shares::MILLION;

/// Parts of a window: it moves on by one of them at a time.
pub const PARTS: u64 = 60;
pub const LEAST_CORRECTION: u64 = 500_000;
pub const MOST_CORRECTION: u64 = 2_000_000;
/// Parts of one in what is wanted.
const SCALE: u128 = 1 << 32;

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    wanted: u128,
    had: u128,
}

#[derive(Clone, Debug)]
struct Track {
    weight: u64,
    waits: bool,
    share_ppm: u64,
    /// When it was last summed up, and what `per_weight` was then.
    since_ms: u64,
    since: u128,
    parts: VecDeque<Sums>,
    correction: u64,
}

#[derive(Clone, Debug)]
pub struct Window {
    part_ms: u64,
    /// Number of the present part on the monotonic clock.
    part: u64,
    now_ms: u64,
    /// Weight of all who wait.
    waiting: u64,
    /// What one unit of weight has been due since the beginning.
    per_weight: u128,
    tracks: Vec<Track>,
}

/// A tenant over some time, in millionths of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    pub share_ppm: u64,
    pub wanted_ppm: u64,
}

impl Window {
    pub fn new(window_ms: u64, weights: impl Iterator<Item = u64>, now_ms: u64) -> Self {
        let part_ms = (window_ms / PARTS).max(1);
        let track = |weight| Track {
            weight,
            waits: false,
            share_ppm: 0,
            since_ms: now_ms,
            since: 0,
            parts: VecDeque::from([Sums::default()]),
            correction: MILLION,
        };
        Self {
            part_ms,
            part: now_ms / part_ms,
            now_ms,
            waiting: 0,
            per_weight: 0,
            tracks: weights.map(track).collect(),
        }
    }

    /// The tenant now has this share, and waits or does not.
    pub fn set(&mut self, tenant: usize, share_ppm: u64, waits: bool) {
        self.settle(tenant);
        let track = &mut self.tracks[tenant];
        track.share_ppm = share_ppm;
        if track.waits != waits {
            track.waits = waits;
            let weight = track.weight;
            self.waiting = if waits { self.waiting + weight } else { self.waiting - weight };
        }
    }

    /// Goes on to this time. True if a part of the window ended, so that the corrections are new.
    pub fn advance(&mut self, now_ms: u64) -> bool {
        let part = now_ms / self.part_ms;
        let ended = part.saturating_sub(self.part);
        // After a pause longer than the window nothing of the past is left.
        for left in (0..ended.min(PARTS + 1)).rev() {
            self.pass(((part - left) * self.part_ms).max(self.now_ms));
            for tenant in 0..self.tracks.len() {
                self.settle(tenant);
                let parts = &mut self.tracks[tenant].parts;
                parts.push_back(Sums::default());
                if parts.len() as u64 > PARTS {
                    parts.pop_front();
                }
            }
        }
        self.part = self.part.max(part);
        self.pass(now_ms);
        if ended > 0 {
            self.correct();
        }
        ended > 0
    }

    fn pass(&mut self, now_ms: u64) {
        let passed = u128::from(now_ms.saturating_sub(self.now_ms));
        if self.waiting > 0 {
            self.per_weight += passed * SCALE / u128::from(self.waiting);
        }
        self.now_ms = self.now_ms.max(now_ms);
    }

    /// Sums up what a tenant wanted and had since the last time.
    fn settle(&mut self, tenant: usize) {
        let (now_ms, per_weight) = (self.now_ms, self.per_weight);
        let track = &mut self.tracks[tenant];
        if let Some(sums) = track.parts.back_mut().filter(|_| track.waits) {
            sums.wanted += (per_weight - track.since) * u128::from(track.weight);
            sums.had += u128::from(now_ms - track.since_ms) * u128::from(track.share_ppm);
        }
        (track.since_ms, track.since) = (now_ms, per_weight);
    }

    pub fn correction(&self, tenant: usize) -> u64 {
        self.tracks[tenant].correction
    }

    fn correct(&mut self) {
        let balances = self.balances(PARTS as usize);
        // Where nobody had anything there is nothing to correct.
        let any = balances.iter().any(|balance| balance.share_ppm > 0);
        for (track, balance) in self.tracks.iter_mut().zip(balances) {
            track.correction = match balance {
                Balance { wanted_ppm: 0, .. } => MILLION,
                _ if !any => MILLION,
                Balance { share_ppm: 0, .. } => MOST_CORRECTION,
                Balance { share_ppm, wanted_ppm } => {
                    (wanted_ppm * MILLION / share_ppm).clamp(LEAST_CORRECTION, MOST_CORRECTION)
                }
            };
        }
    }

    /// What a time of so many milliseconds is in parts: the present one, which is not over, and those before it.
    pub fn parts_of(&self, window_ms: u64) -> usize {
        usize::try_from(window_ms.div_ceil(self.part_ms)).unwrap_or(usize::MAX).saturating_add(1)
    }

    /// Each tenant over the last `parts` parts.
    pub fn balances(&self, parts: usize) -> Vec<Balance> {
        let sum = |track: &Track| {
            let latest = track.parts.iter().rev().take(parts);
            let mut sums = latest.fold(Sums::default(), |sum, part| Sums {
                wanted: sum.wanted + part.wanted,
                had: sum.had + part.had,
            });
            if track.waits {
                sums.wanted += (self.per_weight - track.since) * u128::from(track.weight);
                sums.had += u128::from(self.now_ms - track.since_ms) * u128::from(track.share_ppm);
            }
            sums
        };
        let sums: Vec<Sums> = self.tracks.iter().map(sum).collect();
        let wanted: u128 = sums.iter().map(|sums| sums.wanted).sum();
        let had: u128 = sums.iter().map(|sums| sums.had).sum();
        let part = |one: u128, all: u128| -> u64 {
            (one * u128::from(MILLION)).checked_div(all).unwrap_or(0).try_into().unwrap_or(u64::MAX)
        };
        let balance = |sums: &Sums| Balance {
            share_ppm: part(sums.had, had),
            wanted_ppm: part(sums.wanted, wanted),
        };
        sums.iter().map(balance).collect()
    }
}

/// Jain's index (Jain, Chiu, Hawe, 1984) in millionths over what each had ÷ what it wanted: 1,000,000 is even,
/// one n-th that one of n had all. Those who wanted nothing do not count.
pub fn jain_ppm(balances: &[Balance]) -> u64 {
    let ratios = ratios(balances);
    let sum: u128 = ratios.iter().sum();
    let squares: u128 = ratios.iter().map(|ratio| ratio * ratio).sum();
    let even = u128::from(MILLION);
    (sum * sum * even)
        .checked_div(squares * ratios.len() as u128)
        .unwrap_or(even)
        .try_into()
        .unwrap_or(MILLION)
}

/// Gini's coefficient in millionths over the same ratios: 0 is even, near 1,000,000 that one had all.
pub fn gini_ppm(balances: &[Balance]) -> u64 {
    let mut ratios = ratios(balances);
    ratios.sort_unstable();
    let count = ratios.len() as u128;
    let sum: u128 = ratios.iter().sum();
    let ranked: u128 = (1..).zip(&ratios).map(|(rank, ratio): (u128, _)| rank * ratio).sum();
    // G = 2 Σ rank·x / (n Σ x) − (n + 1) / n
    let part = (2 * ranked).saturating_sub((count + 1) * sum) * u128::from(MILLION);
    part.checked_div(count * sum).unwrap_or(0).try_into().unwrap_or(MILLION)
}

fn ratios(balances: &[Balance]) -> Vec<u128> {
    let wanting = balances.iter().filter(|balance| balance.wanted_ppm > 0);
    wanting
        .map(|it| u128::from(it.share_ppm) * u128::from(MILLION) / u128::from(it.wanted_ppm))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balance(share_ppm: u64, wanted_ppm: u64) -> Balance {
        Balance { share_ppm, wanted_ppm }
    }

    #[test]
    fn jain_and_gini_of_known_distributions() {
        let even = [balance(250_000, 250_000); 4];
        assert_eq!((jain_ppm(&even), gini_ppm(&even)), (MILLION, 0));
        let one = [
            balance(MILLION, 250_000),
            balance(0, 250_000),
            balance(0, 250_000),
            balance(0, 250_000),
        ];
        assert_eq!((jain_ppm(&one), gini_ppm(&one)), (250_000, 750_000));
        let weighted = [balance(750_000, 750_000), balance(250_000, 250_000)];
        assert_eq!((jain_ppm(&weighted), gini_ppm(&weighted)), (MILLION, 0));
        // 1, 2, 3: Jain 36 / (3 · 14), Gini 2 / 9.
        let steps =
            [balance(100_000, 100_000), balance(200_000, 100_000), balance(300_000, 100_000)];
        assert_eq!((jain_ppm(&steps), gini_ppm(&steps)), (857_142, 222_222));
        assert_eq!((jain_ppm(&[]), gini_ppm(&[])), (MILLION, 0));
    }

    #[test]
    fn who_had_less_than_its_part_is_raised_and_who_had_more_is_lowered() {
        let mut window = Window::new(6_000, [1, 1, 1].into_iter(), 0);
        window.set(0, 300_000, true);
        window.set(1, 700_000, true);
        // Holds much, but wants nothing more: not measured.
        window.set(2, 900_000, false);
        assert!(!window.advance(99));
        assert!(window.advance(100));
        assert_eq!(window.correction(0), 1_666_666);
        assert_eq!(window.correction(1), 714_285);
        assert_eq!(window.correction(2), MILLION);
        window.set(0, 0, true);
        window.set(1, 0, false);
        window.advance(20_000);
        // The window has moved past all of it, and nobody has anything.
        assert_eq!(window.correction(0), MILLION);
    }

    #[test]
    fn the_correction_has_bounds_and_the_window_forgets() {
        let mut window = Window::new(6_000, [1, 9].into_iter(), 1_000_000);
        window.set(0, 999_000, true);
        window.set(1, 1_000, true);
        window.advance(1_000_100);
        assert_eq!(
            (window.correction(0), window.correction(1)),
            (LEAST_CORRECTION, MOST_CORRECTION)
        );
        window.set(0, 100_000, true);
        window.set(1, 900_000, true);
        window.advance(1_006_200);
        assert_eq!((window.correction(0), window.correction(1)), (MILLION, MILLION));
        let recent = window.balances(window.parts_of(100));
        assert_eq!(recent, [balance(100_000, 100_000), balance(900_000, 900_000)]);
    }
}
