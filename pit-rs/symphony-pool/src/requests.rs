//! The arguments of the methods, as they arrive. Unknown keys are ignored.

use serde::{Deserialize, Serialize};
use symphony_member::requests;

use crate::config::MAX_INSTANCES;

/// A thousand: certain.
pub const CERTAIN: u64 = 1_000;
/// Entries of one `expect`.
pub const MAX_EXPECTED: usize = 64;
const MAX_IN_MS: u64 = 86_400_000;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Acquire {
    pub id: String,
    pub kind: String,
    pub run: String,
    pub tenant: String,
    #[serde(default)]
    pub grant: Option<String>,
    #[serde(default)]
    pub key: Option<String>,
    /// From its arrival on.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
    #[serde(default = "yes")]
    pub wait: bool,
    /// Written down and otherwise unused: it may differ between repetitions.
    #[serde(skip_serializing)]
    pub ts: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Ok,
    Failed,
    Lost,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Release {
    pub id: String,
    pub lease: String,
    pub outcome: Outcome,
    #[serde(default)]
    pub busy_ms: Option<u64>,
    #[serde(default)]
    pub tokens: Option<u64>,
    #[serde(skip_serializing)]
    pub ts: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Happening {
    Ready,
    Died,
    Slow,
}

#[derive(Deserialize)]
pub struct Event {
    pub instance: String,
    pub kind: Happening,
    #[serde(default)]
    pub reason: Option<String>,
}

#[derive(Deserialize)]
pub struct Expect {
    pub run: String,
    pub next: Vec<Expected>,
}

#[derive(Deserialize)]
pub struct Expected {
    pub kind: String,
    pub in_ms: u64,
    /// In thousandths.
    pub chance: u64,
}

/// How the kernel sees an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seen {
    Loading,
    Warm,
    Active,
    /// It is being unloaded.
    Leaving,
}

#[derive(Deserialize)]
pub struct Listed {
    pub instance: String,
    pub kind: String,
    #[serde(default)]
    pub tenant: Option<String>,
    pub state: Seen,
    /// Of the spawn that it comes from.
    #[serde(default)]
    pub id: Option<String>,
}

#[derive(Deserialize)]
pub struct Resync {
    pub instances: Vec<Listed>,
    pub leases: Vec<String>,
    pub ts: String,
}

#[derive(Deserialize)]
pub struct Pin {
    pub kind: String,
    pub pinned: bool,
}

#[derive(Deserialize)]
pub struct Drain {
    #[serde(default)]
    pub kind: Option<String>,
    #[serde(default)]
    pub instance: Option<String>,
}

#[derive(Deserialize)]
pub struct Nothing {}

fn yes() -> bool {
    true
}

requests! {
    Acquire |it, faults| {
        faults.name(&it.id, "id");
        faults.name(&it.kind, "kind");
        faults.name(&it.run, "run");
        faults.name(&it.tenant, "tenant");
        faults.maybe_name(it.grant.as_ref(), "grant");
        faults.maybe_name(it.key.as_ref(), "key");
        faults.ts(&it.ts);
    };
    Release |it, faults| {
        faults.name(&it.id, "id");
        faults.name(&it.lease, "lease");
        faults.ts(&it.ts);
    };
    Event |it, faults| faults.name(&it.instance, "instance");
    Expect |it, faults| {
        faults.name(&it.run, "run");
        faults.unless(it.next.len() <= MAX_EXPECTED, "next", "at most 64");
        for (number, next) in it.next.iter().enumerate().take(MAX_EXPECTED) {
            faults.name(&next.kind, &format!("next[{number}].kind"));
            faults.unless(next.chance <= CERTAIN, &format!("next[{number}].chance"), "0 to 1000");
            faults.unless(next.in_ms <= MAX_IN_MS, &format!("next[{number}].in_ms"), "at most a day");
        }
    };
    Resync |it, faults| {
        faults.unless(it.instances.len() as u64 <= MAX_INSTANCES, "instances", "at most 4096");
        for (number, listed) in it.instances.iter().enumerate() {
            faults.name(&listed.instance, &format!("instances[{number}].instance"));
            faults.name(&listed.kind, &format!("instances[{number}].kind"));
            faults.maybe_name(listed.tenant.as_ref(), &format!("instances[{number}].tenant"));
        }
        faults.ts(&it.ts);
    };
    Pin |it, faults| faults.name(&it.kind, "kind");
    Drain |it, faults| {
        faults.unless(it.kind.is_some() != it.instance.is_some(), "kind", "this or instance");
    };
    Nothing |_, _| {};
}
