//! Amounts by resource.

use std::collections::BTreeMap;

use symphony_member::Faults;

/// Whole numbers of a resource's smallest unit.
pub type Amounts = BTreeMap<String, u64>;
/// As they arrive: not checked yet.
pub type RawAmounts = BTreeMap<String, i64>;

/// Largest amount: sums of thousands of them do not overflow, and a double holds each exactly.
pub const MAX_AMOUNT: u64 = 1 << 53;
/// Resources in one map: a decision looks at every one.
pub const MAX_RESOURCES: usize = 32;

/// The amounts if every one may be; otherwise the faults are noted and those that may not be are left out.
pub fn check(raw: RawAmounts, place: &str, faults: &mut Faults) -> Amounts {
    if raw.len() > MAX_RESOURCES {
        faults.add(place, format!("over {MAX_RESOURCES} resources"));
    }
    let checked = raw.into_iter().filter_map(|(name, amount)| {
        faults.name(&name, place);
        let Some(checked) = check_amount(amount) else {
            faults.add(&format!("{place}.{name}"), amount_fault(amount));
            return None;
        };
        Some((name, checked))
    });
    checked.collect()
}

pub fn check_amount(raw: i64) -> Option<u64> {
    u64::try_from(raw).ok().filter(|amount| *amount <= MAX_AMOUNT)
}

pub fn amount_fault(raw: i64) -> String {
    let what = if raw < 0 { "negative" } else { "over 2^53" };
    format!("{raw} is {what}")
}

/// The UTC day of a checked time.
pub fn day_of(ts: &str) -> String {
    ts.chars().take(10).collect()
}

/// Adds the amounts of `more`.
pub fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let entry = sum.entry(name.clone()).or_default();
        *entry = entry.saturating_add(*amount);
    }
}
