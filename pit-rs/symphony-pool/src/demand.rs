//! When a kind is used: what tells how many instances are worth keeping, and what one is worth.

use std::collections::{BTreeMap, BTreeSet};

use crate::histogram::Histogram;
use crate::requests::CERTAIN;

/// An expectation of this chance, in thousandths, is worth a spawn.
const LIKELY: u64 = 500;
/// Where nothing is known.
const EVEN: u64 = 500;

/// One expected use: when, by which run, which of its expectations.
type Use = (u64, String, usize);

/// The use of one kind, past and expected.
#[derive(Debug, Default)]
pub struct Demand {
    pub histogram: Histogram,
    /// Calls that have or want an instance.
    users: u64,
    /// Most of them at once since the kind was last unused.
    peak: u64,
    /// The peaks of the last two times.
    peaks: [u64; 2],
    /// Since when nobody has or wants one.
    unused_since: Option<u64>,
    expected: BTreeMap<Use, u64>,
    /// When each run expects something, and which of its expectations that is.
    runs: BTreeMap<String, BTreeSet<(u64, usize)>>,
}

/// What decides besides the demand itself.
#[derive(Clone, Copy)]
pub struct Terms {
    pub load_ms: u64,
    pub keep_ms: u64,
    /// Whether the histogram counts.
    pub predict: bool,
}

impl Demand {
    /// A call arrived. Returns whether something was learned.
    pub fn enter(&mut self, now: u64) -> bool {
        self.users += 1;
        self.peak = self.peak.max(self.users);
        match self.unused_since.take() {
            Some(since) => {
                self.histogram.record(now.saturating_sub(since));
                true
            }
            None => false,
        }
    }

    /// A call ended, or waits no more.
    pub fn leave(&mut self, now: u64) {
        self.users = self.users.saturating_sub(1);
        if self.users == 0 {
            self.peaks = [self.peaks[1], self.peak];
            self.peak = 0;
            self.unused_since = Some(now);
        }
    }

    /// So many calls have or want an instance: for when that is known anew.
    pub fn set_users(&mut self, users: u64, now: u64) {
        // Of a kind that was not used before nobody knows since when.
        let had = std::mem::replace(&mut self.users, users) > 0;
        self.peak = self.peak.max(users);
        if users > 0 {
            self.unused_since = None;
        } else if had {
            self.unused_since = Some(now);
        }
    }

    pub fn expect(&mut self, run: &str, number: usize, at: u64, chance: u64) {
        self.expected.insert((at, run.to_owned(), number), chance);
        self.runs.entry(run.to_owned()).or_default().insert((at, number));
    }

    pub fn forget(&mut self, run: &str) {
        for (at, number) in self.runs.remove(run).unwrap_or_default() {
            self.expected.remove(&(at, run.to_owned(), number));
        }
    }

    pub fn expects(&self, run: &str) -> bool {
        self.runs.contains_key(run)
    }

    /// The run's next expected use has come.
    pub fn fulfil(&mut self, run: &str) {
        let first = self.runs.get(run).and_then(|uses| uses.first().copied());
        if let Some((at, number)) = first {
            self.strike((at, run.to_owned(), number));
        }
    }

    fn strike(&mut self, entry: Use) {
        self.expected.remove(&entry);
        let (at, run, number) = entry;
        if let Some(uses) = self.runs.get_mut(&run) {
            uses.remove(&(at, number));
            if uses.is_empty() {
                self.runs.remove(&run);
            }
        }
    }

    /// Whether something that was expected did not come about.
    pub fn has_expired(&self, now: u64, terms: Terms) -> bool {
        let patience = terms.load_ms + terms.keep_ms;
        self.expected.keys().next().is_some_and(|first| first.0.saturating_add(patience) < now)
    }

    /// Forgets what did not come about; returns which runs expected it.
    pub fn expire(&mut self, now: u64, terms: Terms) -> Vec<String> {
        let mut runs = Vec::new();
        while self.has_expired(now, terms) {
            let Some(entry) = self.expected.keys().next().cloned() else { break };
            runs.push(entry.1.clone());
            self.strike(entry);
        }
        runs
    }

    fn expected_by(&self, horizon: u64) -> u64 {
        let due = self.expected.iter().take_while(|((at, _, _), _)| *at <= horizon);
        due.filter(|(_, chance)| **chance >= LIKELY).count() as u64
    }

    /// How many idle instances are wanted within `ahead_ms` besides the time that one takes to load.
    fn wanted(&self, now: u64, terms: Terms, ahead_ms: u64) -> u64 {
        let ahead = terms.load_ms + ahead_ms;
        let expected = self.expected_by(now.saturating_add(ahead));
        let Some(since) = self.unused_since.filter(|_| terms.predict) else { return expected };
        let idle = now.saturating_sub(since);
        let usual = match self.histogram.window() {
            Some(window) if idle.saturating_add(ahead) >= window.from && idle <= window.to => {
                self.peaks[0].min(self.peaks[1]).max(1)
            }
            _ => 0,
        };
        expected.max(usual)
    }

    /// How many idle instances there should be now.
    pub fn wanted_now(&self, now: u64, terms: Terms) -> u64 {
        self.wanted(now, terms, 0)
    }

    /// How many idle instances are worth keeping: to unload one that is wanted again before it would have
    /// left anyway gains nothing.
    pub fn worth_keeping(&self, now: u64, terms: Terms) -> u64 {
        self.wanted(now, terms, terms.keep_ms)
    }

    /// In thousandths: that an instance is needed before it could be loaded again.
    pub fn chance(&self, now: u64, terms: Terms) -> u64 {
        let horizon = now.saturating_add(terms.load_ms);
        let due = self.expected.iter().take_while(|((at, _, _), _)| *at <= horizon);
        let expected = due.map(|(_, chance)| *chance).max().unwrap_or(0);
        let Some(since) = self.unused_since else {
            return if self.users > 0 { CERTAIN } else { expected.max(EVEN) };
        };
        let idle = now.saturating_sub(since);
        let learned = terms.predict.then(|| self.histogram.chance(idle, terms.load_ms)).flatten();
        // Without a shape: the longer unused, the less likely.
        let keep = terms.keep_ms.max(1);
        expected.max(learned.unwrap_or_else(|| EVEN * keep / keep.saturating_add(idle)))
    }

    /// The times after `now` at which one of the answers above changes of its own accord.
    pub fn changes(&self, now: u64, terms: Terms) -> impl Iterator<Item = u64> {
        let next = |ahead: u64| {
            // Keys are by time: the first that is beyond the horizon.
            let beyond = (now.saturating_add(ahead) + 1, String::new(), 0);
            self.expected.range(beyond..).next().map(|((at, _, _), _)| at - ahead)
        };
        let first = self.expected.keys().next();
        let expiry = first.map(|(at, _, _)| at.saturating_add(terms.load_ms + terms.keep_ms) + 1);
        let window = self.unused_since.filter(|_| terms.predict);
        let window = window.and_then(|since| Some((since, self.histogram.window()?)));
        let window = window.map(|(since, window)| {
            let load = since.saturating_add(window.from).saturating_sub(terms.load_ms);
            let keep = load.saturating_sub(terms.keep_ms);
            [keep, load, since.saturating_add(window.to) + 1]
        });
        let expected = [next(terms.load_ms), next(terms.load_ms + terms.keep_ms), expiry];
        expected.into_iter().flatten().chain(window.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { load_ms: 2_000, keep_ms: 60_000, predict: true };

    /// Used once every ten minutes, `peak` times at once; last at the time that is returned.
    fn periodic(peak: u64) -> (Demand, u64) {
        let (mut demand, mut now) = (Demand::default(), 0);
        for _ in 0..25 {
            (0..peak).for_each(|_| _ = demand.enter(now));
            (0..peak).for_each(|_| demand.leave(now));
            now += 600_000;
        }
        (demand, now - 600_000)
    }

    #[test]
    fn a_periodic_kind_is_loaded_shortly_before_its_time_and_kept_shortly_after_it() {
        let (demand, last) = periodic(1);
        // The samples lie in the bin from 8 to 12 minutes.
        let (from, to) = (432_000, 792_000);
        assert_eq!(demand.wanted_now(last + 1_000, TERMS), 0);
        assert_eq!(demand.wanted_now(last + from - 2_001, TERMS), 0);
        assert_eq!(demand.wanted_now(last + from - 2_000, TERMS), 1);
        assert_eq!(demand.wanted_now(last + to, TERMS), 1);
        assert_eq!(demand.wanted_now(last + to + 1, TERMS), 0);
        let times: Vec<u64> = demand.changes(last, TERMS).collect();
        assert!(times.contains(&(last + from - 2_000)) && times.contains(&(last + to + 1)));
        let blind = Terms { predict: false, ..TERMS };
        assert_eq!(demand.wanted_now(last + from, blind), 0);
    }

    #[test]
    fn as_many_are_wanted_as_were_used_at_once_in_both_of_the_last_two_times() {
        let (mut demand, last) = periodic(3);
        assert_eq!(demand.wanted_now(last + 600_000, TERMS), 3);
        demand.enter(last + 600_000);
        demand.leave(last + 600_000);
        assert_eq!(demand.wanted_now(last + 1_200_000, TERMS), 1);
    }

    #[test]
    fn what_a_run_expects_is_wanted_from_a_load_before_it_until_it_comes_or_passes() {
        let mut demand = Demand::default();
        demand.expect("r", 0, 10_000, 500);
        demand.expect("s", 0, 10_500, 900);
        demand.expect("s", 1, 10_500, 499);
        assert_eq!(demand.wanted_now(7_999, TERMS), 0);
        assert_eq!(demand.wanted_now(8_000, TERMS), 1);
        assert_eq!(demand.wanted_now(8_500, TERMS), 2);
        demand.fulfil("r");
        assert_eq!(demand.wanted_now(8_500, TERMS), 1);
        assert_eq!(demand.expire(10_500 + 62_000, TERMS), [""; 0]);
        assert_eq!(demand.expire(10_501 + 62_000, TERMS), ["s", "s"]);
        assert_eq!(demand.wanted_now(8_500, TERMS), 0);
    }

    #[test]
    fn the_chance_of_need_comes_from_what_is_learned_or_expected_and_fades_without() {
        let (mut demand, last) = periodic(1);
        assert_eq!(demand.chance(last + 1_000, TERMS), 0);
        assert_eq!(demand.chance(last + 600_000, TERMS), 1_000);
        demand.expect("r", 0, last + 2_500, 300);
        assert_eq!(demand.chance(last + 1_000, TERMS), 300);
        let mut fresh = Demand::default();
        fresh.set_users(1, 0);
        fresh.set_users(0, 0);
        assert!(fresh.chance(1_000, TERMS) > fresh.chance(100_000, TERMS));
    }
}
