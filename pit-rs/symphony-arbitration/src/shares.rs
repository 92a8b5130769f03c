//! Dominant shares and how they are compared (Ghodsi et al., "Dominant Resource Fairness", NSDI 2011).

/// Parts of one: shares are millionths of a millionth.
pub const ONE: u128 = 1_000_000_000_000;
/// A factor of one, as corrections count.
pub const MILLION: u64 = 1_000_000;

/// The largest part that is used of any resource, in parts of [`ONE`]. Of a resource of which there is none,
/// any use is all of it.
pub fn dominant(used: &[u64], capacities: &[u64]) -> u128 {
    let part = |(used, capacity): (&u64, &u64)| match (*used, *capacity) {
        (0, _) => 0,
        (_, 0) => ONE,
        (used, capacity) => u128::from(used) * ONE / u128::from(capacity),
    };
    used.iter().zip(capacities).map(part).max().unwrap_or(0)
}

/// The dominant share ÷ (weight × correction): the tenant with the least is first. Weight is not 0.
pub fn standing(share: u128, weight: u64, correction_ppm: u64) -> u128 {
    let by = u128::from(weight.max(1)) * u128::from(correction_ppm.max(1));
    share * u128::from(MILLION) * u128::from(MILLION) / by
}

/// Millionths, for what is told.
pub fn ppm(share: u128) -> u64 {
    (share / (ONE / u128::from(MILLION))).try_into().unwrap_or(u64::MAX)
}
