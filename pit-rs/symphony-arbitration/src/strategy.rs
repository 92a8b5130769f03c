//! How a grant comes about, by load and from a table, and which player gets it.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Several use one warm model.
    Collaborate,
    /// The player that fits best.
    Specialise,
    /// Several want the same.
    Prioritise,
    RoundRobin,
}

/// What the table looks at.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// A grant with the same key is out.
    pub shares: bool,
    pub players: bool,
    /// Somebody else waits.
    pub waiting: bool,
}

type Row = (fn(&Load) -> bool, Strategy);

/// The first row that applies.
const TABLE: &[Row] = &[
    (|load| load.shares, Strategy::Collaborate),
    (|load| load.players, Strategy::Specialise),
    (|load| load.waiting, Strategy::Prioritise),
];

impl Strategy {
    pub fn by(load: &Load) -> Self {
        TABLE.iter().find(|(applies, _)| applies(load)).map_or(Self::RoundRobin, |row| row.1)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Collaborate => "collaborate",
            Self::Specialise => "specialise",
            Self::Prioritise => "prioritise",
            Self::RoundRobin => "round-robin",
        }
    }
}

/// Who could do it. `fit` from 0 to 1,000.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Player {
    pub player: String,
    pub fit: u64,
    pub cost: u64,
    pub latency_ms: u64,
    /// How much it has to do; if nobody says it, its grants that are out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub busy: Option<u64>,
}

/// Fits this close to the best count as equally good.
const CLOSE: u64 = 50;

/// Of those that fit about as well as the best, the one with the least cost × (1 + busy), then latency, then
/// the first by name.
pub fn pick(players: &[Player], out: impl Fn(&str) -> u64) -> Option<&Player> {
    let best = players.iter().map(|player| player.fit).max()?;
    let close = players.iter().filter(|player| player.fit + CLOSE >= best);
    close.min_by_key(|player| {
        let busy = player.busy.unwrap_or_else(|| out(&player.player));
        (u128::from(player.cost) * (1 + u128::from(busy)), player.latency_ms, &player.player)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn player(name: &str, fit: u64, cost: u64, latency_ms: u64, busy: Option<u64>) -> Player {
        Player { player: name.to_owned(), fit, cost, latency_ms, busy }
    }

    #[test]
    fn among_close_fits_the_cheapest_for_its_load_then_the_fastest_then_the_first() {
        let name = |players: &[Player]| pick(players, |_| 0).map(|it| it.player.clone()).unwrap();
        let good = player("good", 900, 100, 5, None);
        assert_eq!(name(&[good.clone(), player("cheap", 849, 1, 1, None)]), "good");
        assert_eq!(name(&[good.clone(), player("cheap", 850, 1, 1, None)]), "cheap");
        assert_eq!(name(&[good.clone(), player("busy", 900, 60, 1, Some(1))]), "good");
        assert_eq!(name(&[good.clone(), player("fast", 900, 100, 4, None)]), "fast");
        assert_eq!(name(&[good.clone(), player("first", 900, 100, 5, None)]), "first");
        let loaded = [good, player("other", 900, 150, 1, None)];
        assert_eq!(pick(&loaded, |name| u64::from(name == "good")).unwrap().player, "other");
        assert!(pick(&[], |_| 0).is_none());
    }

    #[test]
    fn the_table_goes_from_sharing_to_turns() {
        let by = |shares, players, waiting| Strategy::by(&Load { shares, players, waiting });
        assert_eq!(by(true, true, true), Strategy::Collaborate);
        assert_eq!(by(false, true, true), Strategy::Specialise);
        assert_eq!(by(false, false, true), Strategy::Prioritise);
        assert_eq!(by(false, false, false), Strategy::RoundRobin);
    }
}
