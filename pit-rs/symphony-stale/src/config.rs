//! What the curator is told once, read and checked whole.

use serde::{Deserialize, Serialize};

use crate::value::Worth;
use symphony_member::{Faults, Request};

const MAX_DAYS: u64 = 36_500;
/// A million: all of it.
pub const WHOLE_PPM: u64 = 1_000_000;
/// Products with a million stay far from overflow.
const MAX_BYTES: u64 = 1 << 60;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    #[serde(default = "a_month")]
    pub local_days: u64,
    #[serde(default = "a_week")]
    pub pack_days: u64,
    #[serde(default)]
    pub pressure: Pressure,
    #[serde(default)]
    pub worth: Worth,
    #[serde(default = "valuable")]
    pub valuable: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    #[serde(default = "yes")]
    pub notify: bool,
}

/// From how much of `bytes` on something is deleted, and down to how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pressure {
    #[serde(default = "high")]
    pub high_ppm: u64,
    #[serde(default = "low")]
    pub low_ppm: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

fn a_month() -> u64 {
    30
}
fn a_week() -> u64 {
    7
}
fn valuable() -> u64 {
    400
}
fn yes() -> bool {
    true
}
fn high() -> u64 {
    900_000
}
fn low() -> u64 {
    800_000
}

impl Default for Pressure {
    fn default() -> Self {
        Self { high_ppm: high(), low_ppm: low(), bytes: None }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            local_days: a_month(),
            pack_days: a_week(),
            pressure: Pressure::default(),
            worth: Worth::default(),
            valuable: valuable(),
            archive: None,
            notify: true,
        }
    }
}

impl Pressure {
    /// How many bytes must go, if so many are used.
    pub fn excess(&self, used: u64) -> u64 {
        let Some(bytes) = self.bytes else { return 0 };
        let share = |ppm: u64| u128::from(bytes) * u128::from(ppm);
        if u128::from(used) * u128::from(WHOLE_PPM) <= share(self.high_ppm) {
            return 0;
        }
        let low = share(self.low_ppm) / u128::from(WHOLE_PPM);
        used.saturating_sub(u64::try_from(low).unwrap_or(u64::MAX))
    }
}

impl Request for Config {
    fn check(&self, faults: &mut Faults) {
        faults.unless(self.local_days <= MAX_DAYS, "local_days", "at most 36500");
        faults.unless(self.pack_days <= MAX_DAYS, "pack_days", "at most 36500");
        let Pressure { high_ppm, low_ppm, bytes } = self.pressure;
        faults.unless(high_ppm <= WHOLE_PPM, "pressure.high_ppm", "at most 1000000");
        faults.unless(low_ppm <= high_ppm, "pressure.low_ppm", "at most high_ppm");
        faults.unless(
            bytes.is_none_or(|bytes| (1..=MAX_BYTES).contains(&bytes)),
            "pressure.bytes",
            "1 to 2^60",
        );
        faults.unless(self.worth.is_fit(), "worth", "each at most 100, together at least 1");
        faults.unless(self.valuable <= 1_000, "valuable", "at most 1000");
        self.archive.iter().for_each(|archive| faults.name(archive, "archive"));
    }
}

impl Config {
    /// The archive that is to be used.
    pub fn place(&self) -> &str {
        self.archive.as_deref().unwrap_or(crate::BUILT_IN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_begins_above_high_and_ends_at_low() {
        let pressure = Pressure { bytes: Some(1_000), ..Pressure::default() };
        assert_eq!([900, 901, 2_000].map(|used| pressure.excess(used)), [0, 101, 1_200]);
        assert_eq!(Pressure::default().excess(u64::MAX), 0);
    }
}
