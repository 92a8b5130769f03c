//! What the pool is told once: its limits and the kinds of instances, read and checked whole.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use symphony_member::{short, Faults, Request};
use symphony_wire::Value;

use crate::evict::Size;
use crate::health::STRIKES;

/// Each has its histogram and is looked at in every pass.
pub const MAX_KINDS: usize = 1_024;
/// Of all kinds together: what one reply can list.
pub const MAX_INSTANCES: u64 = 4_096;
const MAX_SHARE: u32 = 64;
/// A day: times stay far from overflow.
const MAX_MS: u64 = 86_400_000;
/// A PiB: sums over all instances stay far from overflow.
const MAX_MIB: u64 = 1 << 30;
/// Of an hour.
pub const SECONDS: u64 = 3_600;
/// Texts that are repeated in replies, bytes.
const MAX_TEXT: usize = 256;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    pub limits: Limits,
    pub kinds: Vec<Spec>,
    /// Whether to learn when kinds are used and load them before.
    #[serde(default = "yes")]
    pub predict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<u64>,
    /// What all instances together may cost in an hour in which none of them rests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub money_per_hour: Option<u64>,
    /// How many may load at once.
    #[serde(default = "four")]
    pub spawning: u64,
}

/// One kind: a player in one version with one set of grants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    pub kind: String,
    pub player: String,
    pub memory_mib: u64,
    pub load_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    #[serde(default)]
    pub sticky: bool,
    /// Leases that one instance may have at once.
    #[serde(default = "one")]
    pub share: u32,
    #[serde(default)]
    pub least: u64,
    #[serde(default = "sixty_four")]
    pub most: u64,
    #[serde(default = "a_minute")]
    pub keep_ms: u64,
    #[serde(default)]
    pub pinned: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

/// In the smallest unit of money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    #[serde(default)]
    pub call: u64,
    #[serde(default)]
    pub second: u64,
    /// Of a million tokens: one alone may cost less than the smallest unit.
    #[serde(default)]
    pub million_tokens: u64,
}

/// A real call that shows whether an instance works.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    pub capability: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    #[serde(default = "no_arguments")]
    pub args: Value,
    pub every_ms: u64,
    pub within_ms: u64,
    #[serde(default = "strikes")]
    pub strikes: u32,
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

fn four() -> u64 {
    4
}

fn sixty_four() -> u64 {
    64
}

fn a_minute() -> u64 {
    60_000
}

fn strikes() -> u32 {
    STRIKES
}

fn no_arguments() -> Value {
    Value::Map(Vec::new())
}

impl Cost {
    /// What one call cost; begun seconds and millions of tokens count in proportion, each rounded up.
    pub fn of(self, busy_ms: u64, tokens: u64) -> u64 {
        let time = (u128::from(self.second) * u128::from(busy_ms)).div_ceil(1_000);
        let told = (u128::from(self.million_tokens) * u128::from(tokens)).div_ceil(1_000_000);
        (u128::from(self.call) + time)
            .checked_add(told)
            .and_then(|spent| u64::try_from(spent).ok())
            .unwrap_or(u64::MAX)
    }
}

impl Limits {
    pub fn memory(&self) -> u64 {
        self.memory_mib.unwrap_or(u64::MAX)
    }

    pub fn instances(&self) -> u64 {
        self.instances.unwrap_or(MAX_INSTANCES)
    }

    /// What all instances together may take.
    pub fn size(&self) -> Size {
        let money = self.money_per_hour.map_or(u64::MAX, |money| money / SECONDS);
        Size { memory_mib: self.memory(), money }
    }
}

impl Request for Config {
    fn check(&self, faults: &mut Faults) {
        let limits = &self.limits;
        faults.unless(limits.instances() <= MAX_INSTANCES, "limits.instances", "at most 4096");
        faults.unless(limits.memory_mib <= Some(MAX_MIB), "limits.memory_mib", "at most 2^30");
        faults.unless(limits.spawning > 0, "limits.spawning", "at least 1");
        faults.unless(self.kinds.len() <= MAX_KINDS, "kinds", "at most 1024");
        let mut names = BTreeSet::new();
        for (number, spec) in self.kinds.iter().enumerate() {
            let place = format!("kinds[{number}]");
            faults.name(&spec.kind, &format!("{place}.kind"));
            if !names.insert(&spec.kind) {
                faults.add(&format!("{place}.kind"), format!("{} again", short(&spec.kind)));
            }
            for (field, what) in spec.faults() {
                faults.add(&format!("{place}.{field}"), what);
            }
            if let Some(what) = self.crowded(spec) {
                faults.add(&place, what);
            }
        }
    }
}

impl Config {
    /// Why not even one instance of the kind could ever be spawned, if so.
    fn crowded(&self, spec: &Spec) -> Option<String> {
        let others = self.kinds.iter().filter(|other| other.kind != spec.kind);
        let kept = others.map(|other| (other.size(), other.least));
        let all = kept.chain([(spec.size(), spec.least.max(1))]);
        let (size, count) = all.fold((Size::default(), 0_u64), |(size, count), (one, times)| {
            (size.plus(one.times(times)), count.saturating_add(times))
        });
        let Size { memory_mib: memory, money } = size;
        if memory > self.limits.memory() {
            Some(format!("with what `least` keeps it needs {memory} MiB, over limits.memory_mib"))
        } else if money > self.limits.size().money {
            let money = money.saturating_mul(SECONDS);
            Some(format!(
                "with what `least` keeps it costs {money} an hour, over limits.money_per_hour"
            ))
        } else if count > self.limits.instances() {
            Some(format!("with what `least` keeps it makes {count}, over limits.instances"))
        } else {
            None
        }
    }
}

impl Spec {
    pub fn size(&self) -> Size {
        Size { memory_mib: self.memory_mib, money: self.cost.map_or(0, |cost| cost.second) }
    }

    fn faults(&self) -> Vec<(&'static str, &'static str)> {
        let probe = self.probe.as_ref();
        let text = |text: &str| !text.is_empty() && text.len() <= MAX_TEXT;
        let checks = [
            (text(&self.player), ("player", "1 to 256 bytes")),
            (self.memory_mib <= MAX_MIB, ("memory_mib", "at most 2^30")),
            (self.load_ms <= MAX_MS, ("load_ms", "at most a day")),
            (self.keep_ms <= MAX_MS, ("keep_ms", "at most a day")),
            ((1..=MAX_SHARE).contains(&self.share), ("share", "1 to 64")),
            ((1..=MAX_INSTANCES).contains(&self.most), ("most", "1 to 4096")),
            (self.least <= self.most, ("least", "at most `most`")),
            (probe.is_none_or(|it| text(&it.capability)), ("probe.capability", "1 to 256 bytes")),
            (
                probe.and_then(|it| it.method.as_deref()).is_none_or(text),
                ("probe.method", "1 to 256 bytes"),
            ),
            (probe.is_none_or(|it| it.args.is_map()), ("probe.args", "not a map")),
            (
                probe.is_none_or(|it| (100..=MAX_MS).contains(&it.every_ms)),
                ("probe.every_ms", "100 to a day"),
            ),
            (
                probe.is_none_or(|it| (1..=600_000).contains(&it.within_ms)),
                ("probe.within_ms", "1 to 600000"),
            ),
            (probe.is_none_or(|it| it.strikes > 0), ("probe.strikes", "at least 1")),
        ];
        checks.into_iter().filter_map(|(right, what)| (!right).then_some(what)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_costs_by_call_time_and_token_without_overflow() {
        let cost = Cost { call: 5, second: 1_000, million_tokens: 2_000_000 };
        assert_eq!(cost.of(1_500, 10), 5 + 1_500 + 20);
        assert_eq!(Cost { million_tokens: 150_000, ..Cost::default() }.of(0, 1_000), 150);
        assert_eq!(Cost { million_tokens: 150_000, ..Cost::default() }.of(0, 1), 1);
        assert_eq!(Cost { second: 1, ..Cost::default() }.of(1, 0), 1);
        assert_eq!(
            Cost { call: 1, second: u64::MAX, million_tokens: u64::MAX }.of(u64::MAX, 9),
            u64::MAX
        );
    }
}
