//! The configuration: read whole, every fault at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use symphony_member::Faults;
use symphony_wire::BusError;

use crate::amounts::{self, Amounts, RawAmounts, MAX_RESOURCES};

/// The tenant of whoever is not configured.
pub const DEFAULT: &str = "default";
/// A decision may look at each tenant that waits.
pub const MAX_TENANTS: usize = 1_000;
/// A request is checked against each budget.
pub const MAX_BUDGETS: usize = 1_000;
/// The reply to a charge, which is remembered, names each budget that it touched.
pub const MAX_BUDGETS_OF_TENANT: usize = 32;
pub const MAX_WEIGHT: u64 = 1_000_000;
/// A day: also the longest wait before age decides and the longest window.
pub const MAX_MS: u64 = 86_400_000;
/// Shorter, a class would be less than a millisecond.
pub const MIN_AGEING_MS: u64 = 10;
/// A window has sixty parts of at least 10 ms.
pub const MIN_WINDOW_MS: u64 = 600;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    pub resources: BTreeMap<String, Resource>,
    pub tenants: BTreeMap<String, Tenant>,
    pub budgets: Vec<Budget>,
    pub ageing_ms: u64,
    pub window_ms: u64,
    /// The needs of a request that names none.
    pub needs: Option<Arc<Amounts>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    pub capacity: u64,
    pub unit: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tenant {
    pub weight: u64,
    pub reserve: Amounts,
    pub borrow: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    pub name: String,
    pub per: Per,
    pub resource: String,
    pub limit: u64,
    /// Percent of the limit.
    pub warn: u64,
    /// Whose spending alone counts.
    pub tenant: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    Run,
    Tenant,
    Day,
    All,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            resources: BTreeMap::new(),
            tenants: BTreeMap::from([(DEFAULT.to_owned(), Tenant::usual())]),
            budgets: Vec::new(),
            ageing_ms: 60_000,
            window_ms: 3_600_000,
            needs: None,
        }
    }
}

impl Tenant {
    fn usual() -> Self {
        Self { weight: 1, reserve: Amounts::new(), borrow: true }
    }
}

impl Config {
    /// Whose the requests of a tenant of this name are.
    pub fn tenant_of<'a>(&self, name: Option<&'a str>) -> &'a str {
        name.filter(|name| self.tenants.contains_key(*name)).unwrap_or(DEFAULT)
    }

    /// The most of a resource that the tenant can ever have at once.
    pub fn reach(&self, tenant: &str, resource: &str) -> Option<u64> {
        let capacity = self.resources.get(resource)?.capacity;
        let borrows = self.tenants.get(tenant).is_some_and(|tenant| tenant.borrow);
        if borrows {
            return Some(capacity);
        }
        let others = self.tenants.iter().filter(|(name, _)| *name != tenant);
        let reserved: u64 = others.filter_map(|(_, other)| other.reserve.get(resource)).sum();
        Some(capacity.saturating_sub(reserved))
    }

    /// Notes every need that the tenant could never have met.
    pub fn check_needs(&self, tenant: &str, needs: &Amounts, place: &str, faults: &mut Faults) {
        for (name, need) in needs {
            let what = match self.reach(tenant, name) {
                None => "no such resource".to_owned(),
                Some(most) if *need > most => {
                    format!("{need} is more than the {most} that can be had")
                }
                Some(_) => continue,
            };
            faults.add(&format!("{place}.{name}"), what);
        }
    }
}

/// The arguments of `configure`.
#[derive(Deserialize)]
pub struct Configure {
    resources: BTreeMap<String, RawResource>,
    #[serde(default)]
    tenants: BTreeMap<String, RawTenant>,
    #[serde(default)]
    budgets: Vec<RawBudget>,
    ageing_ms: Option<i64>,
    window_ms: Option<i64>,
    defaults: Option<RawDefaults>,
}

#[derive(Deserialize)]
struct RawResource {
    capacity: i64,
    unit: Option<String>,
}

#[derive(Deserialize)]
struct RawTenant {
    weight: i64,
    #[serde(default)]
    reserve: RawAmounts,
    borrow: Option<bool>,
}

#[derive(Deserialize)]
struct RawBudget {
    name: String,
    per: Per,
    resource: String,
    limit: i64,
    warn: Option<i64>,
    tenant: Option<String>,
}

#[derive(Deserialize)]
struct RawDefaults {
    needs: RawAmounts,
}

impl Configure {
    pub fn check(self) -> Result<Config, BusError> {
        let mut faults = Faults::default();
        let usual = Config::default();
        let resources = self.resources(&mut faults);
        let tenants = self.tenants(&resources, &mut faults);
        let ageing = MIN_AGEING_MS..=MAX_MS;
        let window = MIN_WINDOW_MS..=MAX_MS;
        let config = Config {
            budgets: self.budgets(&resources, &tenants, &mut faults),
            ageing_ms: within(self.ageing_ms, usual.ageing_ms, ageing, "ageing_ms", &mut faults),
            window_ms: within(self.window_ms, usual.window_ms, window, "window_ms", &mut faults),
            needs: self
                .defaults
                .as_ref()
                .map(|defaults| {
                    amounts::check(defaults.needs.clone(), "defaults.needs", &mut faults)
                })
                .map(Arc::new),
            resources,
            tenants,
        };
        if let Some(needs) = &config.needs {
            config.check_needs(DEFAULT, needs, "defaults.needs", &mut faults);
        }
        faults.finish().map(|()| config)
    }

    fn resources(&self, faults: &mut Faults) -> BTreeMap<String, Resource> {
        if self.resources.len() > MAX_RESOURCES {
            faults.add("resources", format!("over {MAX_RESOURCES}"));
        }
        let mut resources = BTreeMap::new();
        for (name, raw) in &self.resources {
            faults.name(name, "resources");
            if let Some(unit) = &raw.unit {
                faults.name(unit, &format!("resources.{name}.unit"));
            }
            let capacity = amounts::check_amount(raw.capacity).unwrap_or_else(|| {
                let place = format!("resources.{name}.capacity");
                faults.add(&place, amounts::amount_fault(raw.capacity));
                0
            });
            resources.insert(name.clone(), Resource { capacity, unit: raw.unit.clone() });
        }
        resources
    }

    fn tenants(
        &self,
        resources: &BTreeMap<String, Resource>,
        faults: &mut Faults,
    ) -> BTreeMap<String, Tenant> {
        if self.tenants.len() > MAX_TENANTS {
            faults.add("tenants", format!("over {MAX_TENANTS}"));
        }
        let mut tenants = BTreeMap::from([(DEFAULT.to_owned(), Tenant::usual())]);
        let mut reserved = Amounts::new();
        for (name, raw) in &self.tenants {
            faults.name(name, "tenants");
            let place = format!("tenants.{name}.reserve");
            let reserve = amounts::check(raw.reserve.clone(), &place, faults);
            for unknown in reserve.keys().filter(|name| !resources.contains_key(*name)) {
                faults.add(&format!("{place}.{unknown}"), "no such resource".to_owned());
            }
            amounts::add(&mut reserved, &reserve);
            let weight = u64::try_from(raw.weight).ok().filter(|weight| *weight <= MAX_WEIGHT);
            if weight.is_none() {
                let what = format!("{} is not from 0 to {MAX_WEIGHT}", raw.weight);
                faults.add(&format!("tenants.{name}.weight"), what);
            }
            if weight == Some(0) && reserve.values().any(|amount| *amount > 0) {
                faults.add(&place, "a tenant of weight 0 gets nothing".to_owned());
            }
            let tenant =
                Tenant { weight: weight.unwrap_or(0), reserve, borrow: raw.borrow.unwrap_or(true) };
            tenants.insert(name.clone(), tenant);
        }
        for (name, sum) in reserved {
            let capacity = resources.get(&name).map(|resource| resource.capacity);
            if let Some(capacity) = capacity.filter(|capacity| sum > *capacity) {
                let what = format!("{sum} are reserved of {capacity}");
                faults.add(&format!("resources.{name}.capacity"), what);
            }
        }
        tenants
    }

    fn budgets(
        &self,
        resources: &BTreeMap<String, Resource>,
        tenants: &BTreeMap<String, Tenant>,
        faults: &mut Faults,
    ) -> Vec<Budget> {
        if self.budgets.len() > MAX_BUDGETS {
            faults.add("budgets", format!("over {MAX_BUDGETS}"));
        }
        let of_all = self.budgets.iter().filter(|budget| budget.tenant.is_none()).count();
        for name in tenants.keys() {
            let own = self.budgets.iter().filter(|it| it.tenant.as_ref() == Some(name)).count();
            if own + of_all > MAX_BUDGETS_OF_TENANT {
                let what =
                    format!("{} count tenant {name}, over {MAX_BUDGETS_OF_TENANT}", own + of_all);
                faults.add("budgets", what);
            }
        }
        let mut names = BTreeSet::new();
        let mut budgets = Vec::new();
        for (number, raw) in self.budgets.iter().enumerate() {
            let place = format!("budgets[{number}]");
            faults.name(&raw.name, &format!("{place}.name"));
            faults.name(&raw.resource, &format!("{place}.resource"));
            if !names.insert(&raw.name) {
                faults.add(&format!("{place}.name"), format!("a second budget {:?}", raw.name));
            }
            if resources.contains_key(&raw.resource) {
                let what = format!("{} is given back, so it cannot be spent", raw.resource);
                faults.add(&format!("{place}.resource"), what);
            }
            if let Some(tenant) = raw.tenant.as_ref().filter(|name| !tenants.contains_key(*name)) {
                faults.add(&format!("{place}.tenant"), format!("no tenant {tenant:?}"));
            }
            let limit = amounts::check_amount(raw.limit).unwrap_or_else(|| {
                faults.add(&format!("{place}.limit"), amounts::amount_fault(raw.limit));
                0
            });
            budgets.push(Budget {
                name: raw.name.clone(),
                per: raw.per,
                resource: raw.resource.clone(),
                limit,
                warn: within(raw.warn, 80, 0..=100, &format!("{place}.warn"), faults),
                tenant: raw.tenant.clone(),
            });
        }
        budgets
    }
}

fn within(
    raw: Option<i64>,
    usual: u64,
    range: std::ops::RangeInclusive<u64>,
    place: &str,
    faults: &mut Faults,
) -> u64 {
    let Some(raw) = raw else { return usual };
    match u64::try_from(raw).ok().filter(|value| range.contains(value)) {
        Some(value) => value,
        None => {
            let what = format!("{raw} is not from {} to {}", range.start(), range.end());
            faults.add(place, what);
            usual
        }
    }
}
