//! Times as the contracts write them, RFC 3339 in UTC, as milliseconds since 1970, and back.

use std::time::{Duration, UNIX_EPOCH};

pub const DAY_MS: i64 = 86_400_000;
/// The year 10000 begins: no such text goes further.
const END_MS: i64 = 253_402_300_800_000;

/// Reads `YYYY-MM-DDTHH:MM:SS[.fraction]`, then `Z` or `+00:00`; `None` for anything else.
pub fn read(text: &str) -> Option<i64> {
    let time = text.strip_suffix("+00:00").map(|time| format!("{time}Z"));
    let time = humantime::parse_rfc3339(time.as_deref().unwrap_or(text)).ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

/// What cannot be written is the beginning of 1970.
pub fn write(at_ms: i64) -> String {
    let after = u64::try_from(at_ms).ok().filter(|_| at_ms < END_MS);
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(after.unwrap_or(0)));
    humantime::format_rfc3339_millis(time.unwrap_or(UNIX_EPOCH)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written_to_the_millisecond_and_nothing_else_is() {
        assert_eq!(read("1970-01-01T00:00:00.000Z"), Some(0));
        assert_eq!(read("2026-01-31T12:00:00.5Z"), Some(1_769_860_800_500));
        assert_eq!(read("2026-01-31T12:00:00.500+00:00"), Some(1_769_860_800_500));
        assert_eq!(read("2024-02-29T23:59:59Z"), Some(1_709_251_199_000));
        assert_eq!(write(1_769_860_800_500), "2026-01-31T12:00:00.500Z");
        for wrong in [
            "",
            "1",
            "2026-01-31",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00+01:00",
            "1960-01-01T00:00:00Z",
            "é026-01-01T00:00:0Z",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(write(-5), "1970-01-01T00:00:00.000Z");
        assert_eq!(write(i64::MAX), "1970-01-01T00:00:00.000Z");
    }
}
