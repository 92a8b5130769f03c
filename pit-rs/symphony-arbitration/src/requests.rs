//! The arguments of the methods, as they arrive, and what they are once checked. Unknown keys are ignored.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use symphony_member::{print, Faults, Print};
use symphony_wire::BusError;

use crate::amounts::{self, day_of, Amounts, RawAmounts};
use crate::config::MAX_MS;
use crate::record::Outcome;
use crate::strategy::Player;

/// Players of one request.
const MAX_PLAYERS: usize = 64;
/// Requests of one gang: its grants are one record.
pub const MAX_GANG: i64 = 256;

#[derive(Deserialize, Serialize)]
pub struct RawRequest {
    id: Arc<str>,
    run: Arc<str>,
    step: Option<String>,
    tenant: Option<String>,
    needs: Option<RawAmounts>,
    #[serde(default = "default_priority")]
    priority: i64,
    deadline_ms: Option<i64>,
    #[serde(default)]
    estimate: RawAmounts,
    #[serde(default)]
    players: Vec<RawPlayer>,
    gang: Option<Gang>,
    share: Option<String>,
    #[serde(default = "default_wait", skip_serializing)]
    wait: bool,
    #[serde(skip_serializing)]
    ts: String,
}

#[derive(Deserialize, Serialize)]
struct RawPlayer {
    player: String,
    fit: i64,
    cost: i64,
    latency_ms: i64,
    busy: Option<i64>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Gang {
    pub id: String,
    pub size: i64,
}

fn default_priority() -> i64 {
    50
}

fn default_wait() -> bool {
    true
}

/// A request that is well-formed.
#[derive(Clone, Debug)]
pub struct Request {
    pub id: Arc<str>,
    pub print: Print,
    pub run: Arc<str>,
    pub step: Option<String>,
    pub tenant: Option<String>,
    /// None: what the configuration says.
    pub needs: Option<Arc<Amounts>>,
    pub priority: u8,
    pub deadline_ms: Option<u64>,
    pub estimate: Amounts,
    pub players: Vec<Player>,
    pub gang: Option<Gang>,
    pub share: Option<String>,
    pub wait: bool,
    pub day: String,
}

impl RawRequest {
    pub fn check(self) -> Result<Request, BusError> {
        let mut faults = Faults::default();
        faults.name(&self.id, "id");
        faults.name(&self.run, "run");
        let optional = [("step", &self.step), ("tenant", &self.tenant), ("share", &self.share)];
        for (place, name) in optional {
            name.iter().for_each(|name| faults.name(name, place));
        }
        faults.ts(&self.ts);
        if let Some(gang) = &self.gang {
            faults.name(&gang.id, "gang.id");
            number(gang.size, 1..=MAX_GANG, "gang.size", &mut faults);
            if self.share.is_some() {
                faults.add("share", "a member of a gang cannot share".to_owned());
            }
        }
        if self.players.len() > MAX_PLAYERS {
            faults.add("players", format!("over {MAX_PLAYERS}"));
        }
        let print = print("request", &self)?;
        let most = amounts::MAX_AMOUNT as i64;
        let players = self.players.into_iter().enumerate().map(|(position, raw)| {
            let place = |field: &str| format!("players[{position}].{field}");
            faults.name(&raw.player, &place("player"));
            Player {
                fit: number(raw.fit, 0..=1_000, &place("fit"), &mut faults),
                cost: number(raw.cost, 0..=most, &place("cost"), &mut faults),
                latency_ms: number(raw.latency_ms, 0..=most, &place("latency_ms"), &mut faults),
                busy: raw.busy.map(|busy| number(busy, 0..=most, &place("busy"), &mut faults)),
                player: raw.player,
            }
        });
        let players = players.collect();
        let longest = 1_000 * MAX_MS as i64;
        let request = Request {
            print,
            players,
            needs: self.needs.map(|needs| Arc::new(amounts::check(needs, "needs", &mut faults))),
            priority: number(self.priority, 0..=100, "priority", &mut faults) as u8,
            deadline_ms: self
                .deadline_ms
                .map(|ms| number(ms, 0..=longest, "deadline_ms", &mut faults)),
            estimate: amounts::check(self.estimate, "estimate", &mut faults),
            id: self.id,
            run: self.run,
            step: self.step,
            tenant: self.tenant,
            gang: self.gang,
            share: self.share,
            wait: self.wait,
            day: day_of(&self.ts),
        };
        faults.finish().map(|()| request)
    }
}

fn number(raw: i64, range: std::ops::RangeInclusive<i64>, place: &str, faults: &mut Faults) -> u64 {
    if !range.contains(&raw) {
        faults.add(place, format!("{raw} is not from {} to {}", range.start(), range.end()));
    }
    u64::try_from(raw).unwrap_or(0)
}

#[derive(Deserialize, Serialize)]
pub struct RawRelease {
    pub id: Arc<str>,
    pub grant: String,
    pub outcome: Outcome,
    #[serde(default)]
    used: RawAmounts,
    #[serde(skip_serializing)]
    ts: String,
}

impl RawRelease {
    /// What was used, and the print.
    pub fn check(&mut self) -> Result<(Amounts, Print), BusError> {
        let mut faults = Faults::default();
        faults.name(&self.id, "id");
        faults.ts(&self.ts);
        let print = print("release", self)?;
        let used = amounts::check(std::mem::take(&mut self.used), "used", &mut faults);
        faults.finish()?;
        Ok((used, print))
    }
}

#[derive(Deserialize, Serialize)]
pub struct RawCharge {
    pub id: Arc<str>,
    pub run: String,
    pub tenant: Option<String>,
    pub grant: Option<String>,
    amounts: RawAmounts,
    #[serde(skip_serializing)]
    ts: String,
}

impl RawCharge {
    /// What was spent, on which day, and the print.
    pub fn check(&self) -> Result<(Amounts, String, Print), BusError> {
        let mut faults = Faults::default();
        faults.name(&self.id, "id");
        faults.name(&self.run, "run");
        self.tenant.iter().for_each(|name| faults.name(name, "tenant"));
        faults.ts(&self.ts);
        let amounts = amounts::check(self.amounts.clone(), "amounts", &mut faults);
        faults.finish()?;
        Ok((amounts, day_of(&self.ts), print("charge", self)?))
    }
}

/// Prefixes of `own`.
const MAX_OWN: usize = 64;

#[derive(Deserialize)]
pub struct Resync {
    pub held: Vec<String>,
    /// How the ids of those requests begin of which the caller knows what they spent.
    #[serde(default)]
    own: Vec<String>,
    ts: String,
}

impl Resync {
    pub fn check(&self) -> Result<(), BusError> {
        let mut faults = Faults::default();
        if self.own.len() > MAX_OWN {
            faults.add("own", format!("over {MAX_OWN}"));
        }
        self.own.iter().for_each(|own| faults.name(own, "own"));
        faults.ts(&self.ts);
        faults.finish()
    }

    /// Whether the caller knows what the grant of this request spent.
    pub fn knows(&self, id: &str) -> bool {
        self.own.iter().any(|own| id.starts_with(own.as_str()))
    }
}

#[derive(Deserialize)]
pub struct Explain {
    pub grant: Option<String>,
    pub id: Option<String>,
}

#[derive(Deserialize)]
pub struct Budgets {
    pub run: Option<String>,
    pub tenant: Option<String>,
}

#[derive(Deserialize)]
pub struct Fairness {
    pub window_ms: Option<u64>,
}

/// Arguments of a method that has none.
#[derive(Deserialize)]
pub struct Nothing {}

/// How a grant is named outside: `g` and its number.
pub fn grant_name(number: u64) -> String {
    format!("g{number}")
}

pub fn grant_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix('g')?;
    let plain = !digits.starts_with(['0', '+']) && digits.len() <= 20;
    digits.parse().ok().filter(|_| plain)
}
