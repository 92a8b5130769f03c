//! The names of leases.

/// A lease as the contract writes it.
pub fn lease_name(number: u64) -> String {
    format!("l-{number}")
}

pub fn lease_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix("l-")?.parse().ok()?;
    (lease_name(number) == name).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_has_one_name() {
        assert_eq!(lease_number(&lease_name(17)), Some(17));
        for name in ["", "l-", "17", "l-017", "l-+1", "l--1", "l-99999999999999999999"] {
            assert_eq!(lease_number(name), None, "{name}");
        }
    }
}
