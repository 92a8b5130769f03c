//! How long players take for each kind of step, and how often they fail.
//!
//! Averages forget: each attempt moves them by a part that never falls below 1/[`MEMORY`], so that a player that
//! became slow is known as slow soon. Whole numbers throughout: the same attempts in the same order give the same
//! table, whatever machine counts them.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::state::Sample;

/// Pairs of player and kind that are remembered; the one that was heard of least recently goes first. A few hundred
/// bytes each: about one MiB in all.
pub const MAX_PAIRS: usize = 4_096;
/// The last attempt counts at least for one part in so many.
const MEMORY: u64 = 32;
const MILLION: i64 = 1_000_000;

/// What is known of one player at one kind of step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    pub succeeded: u64,
    pub failed: u64,
    /// Mean of what succeeded took, microseconds.
    pub mean_us: u64,
    /// Mean distance from that mean, microseconds.
    pub spread_us: u64,
    /// Part of the attempts that fail, in millionths.
    pub failure_ppm: u32,
    /// When it was heard of last, in attempts of all pairs.
    pub heard: u64,
}

/// One line of the table as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub player: String,
    pub kind: String,
    pub pair: Pair,
}

#[derive(Debug, Default)]
pub struct Table {
    /// By kind, then by player.
    kinds: HashMap<Arc<str>, HashMap<Arc<str>, Pair>>,
    count: usize,
    heard: u64,
}

/// The mean after one more value, the `count`th.
fn moved(mean: u64, value: u64, count: u64) -> u64 {
    let part = count.clamp(1, MEMORY);
    if value >= mean {
        mean + (value - mean) / part
    } else {
        mean - (mean - value) / part
    }
}

impl Pair {
    fn feed(&mut self, ms: u64, succeeded: bool) {
        if succeeded {
            self.succeeded += 1;
            let took = ms.saturating_mul(1_000);
            let away = took.abs_diff(self.mean_us);
            self.mean_us = moved(self.mean_us, took, self.succeeded);
            if self.succeeded > 1 {
                self.spread_us = moved(self.spread_us, away, self.succeeded - 1);
            }
        } else {
            self.failed += 1;
        }
        let part = (self.succeeded + self.failed).clamp(1, MEMORY) as i64;
        let now = if succeeded { 0 } else { MILLION };
        let before = i64::from(self.failure_ppm);
        self.failure_ppm = (before + (now - before) / part).clamp(0, MILLION) as u32;
    }
}

impl Table {
    pub fn feed(&mut self, sample: &Sample) {
        self.heard += 1;
        let heard = self.heard;
        let pair = self.pair(&sample.player, &sample.kind);
        pair.heard = heard;
        pair.feed(sample.ms, sample.succeeded);
        self.make_room();
    }

    fn pair(&mut self, player: &str, kind: &str) -> &mut Pair {
        let kind: Arc<str> = match self.kinds.get_key_value(kind) {
            Some((known, _)) => known.clone(),
            None => kind.into(),
        };
        let players = self.kinds.entry(kind).or_default();
        if !players.contains_key(player) {
            self.count += 1;
        }
        players.entry(player.into()).or_default()
    }

    fn make_room(&mut self) {
        while self.count > MAX_PAIRS {
            let oldest = self.lines().min_by_key(|(_, _, pair)| pair.heard);
            let Some((player, kind, _)) = oldest.map(|(p, k, pair)| (p.clone(), k.clone(), pair))
            else {
                return;
            };
            if let Some(players) = self.kinds.get_mut(&kind) {
                players.remove(&player);
                self.count -= 1;
                if players.is_empty() {
                    self.kinds.remove(&kind);
                }
            }
        }
    }

    fn lines(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, &Pair)> {
        self.kinds.iter().flat_map(|(kind, players)| {
            players.iter().map(move |(player, pair)| (player, kind, pair))
        })
    }

    /// The whole table, by kind and player.
    pub fn snapshot(&self) -> Vec<Line> {
        let line = |(player, kind, pair): (&Arc<str>, &Arc<str>, &Pair)| Line {
            player: player.to_string(),
            kind: kind.to_string(),
            pair: *pair,
        };
        let mut lines: Vec<Line> = self.lines().map(line).collect();
        lines.sort_unstable_by(|a, b| (&a.kind, &a.player).cmp(&(&b.kind, &b.player)));
        lines
    }

    /// Takes a line of a snapshot.
    pub fn restore(&mut self, line: Line) {
        self.heard = self.heard.max(line.pair.heard);
        *self.pair(&line.player, &line.kind) = line.pair;
    }

    pub fn get(&self, player: &str, kind: &str) -> Option<&Pair> {
        self.kinds.get(kind)?.get(player)
    }

    /// What a step of this kind is expected to take, milliseconds: with this player or, where that is not known, with
    /// the one that did most of them.
    pub fn expected(&self, player: Option<&str>, kind: &str) -> Option<u64> {
        let players = self.kinds.get(kind)?;
        let named = player.and_then(|player| players.get(player));
        let known = named.filter(|pair| pair.succeeded > 0);
        let busiest = || players.iter().max_by_key(|(player, pair)| (pair.succeeded, *player));
        let pair = known.or_else(|| busiest().map(|(_, pair)| pair))?;
        (pair.succeeded > 0).then(|| pair.mean_us.div_ceil(1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(player: &str, kind: &str, ms: u64, succeeded: bool) -> Sample {
        Sample { player: player.into(), kind: kind.to_owned(), ms, succeeded }
    }

    #[test]
    fn the_first_attempts_make_a_mean_and_later_ones_are_not_drowned_by_it() {
        let mut table = Table::default();
        for ms in [10, 20, 30] {
            table.feed(&sample("p", "k", ms, true));
        }
        let pair = *table.get("p", "k").unwrap();
        assert_eq!((pair.succeeded, pair.mean_us, pair.spread_us), (3, 20_000, 12_500));
        for _ in 0..1_000 {
            table.feed(&sample("p", "k", 10, true));
        }
        for _ in 0..100 {
            table.feed(&sample("p", "k", 500, true));
        }
        assert!(table.get("p", "k").unwrap().mean_us > 450_000);
    }

    #[test]
    fn the_failure_rate_is_that_of_the_last_attempts() {
        let mut table = Table::default();
        table.feed(&sample("p", "k", 1, false));
        assert_eq!(table.get("p", "k").unwrap().failure_ppm, 1_000_000);
        table.feed(&sample("p", "k", 1, true));
        assert_eq!(table.get("p", "k").unwrap().failure_ppm, 500_000);
        for _ in 0..200 {
            table.feed(&sample("p", "k", 1, true));
        }
        assert!(table.get("p", "k").unwrap().failure_ppm < 5_000);
        assert_eq!(table.get("p", "k").unwrap().failed, 1);
    }

    #[test]
    fn the_estimate_is_the_players_own_or_that_of_whoever_did_most() {
        let mut table = Table::default();
        assert_eq!(table.expected(None, "k"), None);
        table.feed(&sample("failing", "k", 1, false));
        assert_eq!(table.expected(Some("failing"), "k"), None);
        table.feed(&sample("rare", "k", 7, true));
        table.feed(&sample("busy", "k", 90, true));
        table.feed(&sample("busy", "k", 90, true));
        assert_eq!(table.expected(Some("rare"), "k"), Some(7));
        assert_eq!(table.expected(Some("failing"), "k"), Some(90));
        assert_eq!(table.expected(None, "k"), Some(90));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_what_was_heard_of_least_recently() {
        let mut table = Table::default();
        for n in 0..MAX_PAIRS as u64 + 10 {
            table.feed(&sample(&format!("p{n}"), "k", 1, true));
            table.feed(&sample("always", "k", 1, true));
        }
        let lines = table.snapshot();
        assert_eq!(lines.len(), MAX_PAIRS);
        assert!(table.get("always", "k").is_some() && table.get("p0", "k").is_none());
        let mut again = Table::default();
        lines.into_iter().for_each(|line| again.restore(line));
        assert_eq!(again.snapshot(), table.snapshot());
        for table in [&mut again, &mut table] {
            table.feed(&sample("new", "other", 1, true));
        }
        assert_eq!(again.snapshot(), table.snapshot());
    }
}
