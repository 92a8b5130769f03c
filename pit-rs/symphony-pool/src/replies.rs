//! The replies of the methods, and what is asked of the kernel.

use serde::{Deserialize, Serialize};
use symphony_wire::Value;

use crate::record::Spend;
use crate::table::State;

#[derive(Serialize)]
pub struct Empty {}

#[derive(Serialize)]
pub struct Configured {
    pub digest: String,
}

#[derive(Serialize)]
pub struct Acquired<'a> {
    pub lease: String,
    pub instance: &'a str,
    pub warm: bool,
    pub waited_ms: u64,
}

#[derive(Serialize)]
pub struct Released<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spend: Option<&'a Spend>,
}

#[derive(Serialize)]
pub struct Resynced {
    pub kill: Vec<String>,
    pub lost: Vec<String>,
}

#[derive(Serialize)]
pub struct Drained {
    pub instances: Vec<String>,
}

#[derive(Serialize)]
pub struct List<'a> {
    pub kinds: Vec<Kind<'a>>,
    pub memory: Memory,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub money: Option<Money>,
}

#[derive(Serialize)]
pub struct Kind<'a> {
    pub kind: &'a str,
    pub player: &'a str,
    pub state: State,
    pub instances: Vec<Instance<'a>>,
    pub waiting: usize,
    pub warm_hits: u64,
    pub cold_starts: u64,
}

#[derive(Serialize)]
pub struct Instance<'a> {
    pub instance: &'a str,
    pub state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<&'a str>,
    pub leases: Vec<String>,
    pub calls: u64,
    pub since_ms: u64,
}

#[derive(Serialize)]
pub struct Memory {
    pub used_mib: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_mib: Option<u64>,
}

/// What all instances together cost in an hour in which none rests.
#[derive(Serialize)]
pub struct Money {
    pub used_per_hour: u64,
    pub limit_per_hour: u64,
}

/// What was counted since the process began.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    pub acquires: u64,
    pub warm_hits: u64,
    pub cold_starts: u64,
    /// Of acquires answered with a lease, those without a spawn.
    pub hit_rate_ppm: u64,
    pub releases: u64,
    pub deadlines: u64,
    pub cancelled: u64,
    pub refused: u64,
    pub spawns: u64,
    pub spawn_failures: u64,
    pub unloads: u64,
    pub evictions: u64,
    pub deaths: u64,
    pub drained_unhealthy: u64,
    pub probes: u64,
    pub probe_failures: u64,
    /// Spawned ahead of any call that needs it.
    pub predicted: u64,
    /// Of those, used before they left.
    pub predicted_used: u64,
    pub waiting: u64,
    pub instances: u64,
    pub leases: u64,
    pub journal_bytes: u64,
}

#[derive(Serialize)]
pub struct Spawn<'a> {
    pub id: &'a str,
    pub kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<&'a str>,
}

#[derive(Deserialize)]
pub struct Spawned {
    pub instance: String,
}

#[derive(Serialize)]
pub struct Unload<'a> {
    pub instance: &'a str,
    pub reason: &'a str,
}

#[derive(Serialize)]
pub struct Probe<'a> {
    pub instance: &'a str,
    pub capability: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'a str>,
    pub args: &'a Value,
    pub within_ms: u64,
}

#[derive(Deserialize)]
pub struct Probed {
    pub took_ms: u64,
}
