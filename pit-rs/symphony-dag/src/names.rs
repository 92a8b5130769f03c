//! Forms of names and times. A run's name becomes a file name, so it is checked before anything else.

use symphony_member::instant;
use symphony_wire::{BusError, Code};

const MAX_RUN: usize = 64;
const SUFFIX: &str = ".journal";

fn is_run(run: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = run.as_bytes();
    bytes.len() <= MAX_RUN
        && bytes.first().is_some_and(|first| plain(*first))
        && bytes.iter().all(|byte| plain(*byte) || *byte == b'-')
}

/// `[a-z0-9][a-z0-9-]{0,63}`
pub fn check_run(run: &str) -> Result<(), BusError> {
    if is_run(run) {
        return Ok(());
    }
    let shown: String = run.chars().take(MAX_RUN).collect();
    Err(BusError::new(Code::BadRequest, format!("{shown:?} is no name of a run"))
        .at("run")
        .help("use [a-z0-9][a-z0-9-]{0,63}"))
}

/// RFC 3339 in UTC with milliseconds: `2026-01-31T23:59:59.000Z`.
pub fn check_ts(ts: &str, place: &str) -> Result<(), BusError> {
    let lengths = ["2026-01-31T23:59:59.000Z".len(), "2026-01-31T23:59:59.000+00:00".len()];
    if lengths.contains(&ts.len()) && instant::read(ts).is_some() {
        return Ok(());
    }
    Err(BusError::new(Code::BadRequest, "a time is not RFC 3339 in UTC with milliseconds")
        .at(place)
        .help("for example 2026-01-31T23:59:59.000Z"))
}

/// Milliseconds since 1970 of a time that [`check_ts`] accepts; 0 for others.
pub fn millis(ts: &str) -> u64 {
    instant::read(ts).and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0)
}

/// The name of a run's journal file. The run's name is already checked.
pub fn file_of(run: &str) -> String {
    format!("{run}{SUFFIX}")
}

/// Where a journal lies until its first record is on disk: one that has a run's name holds a run.
pub fn draft_of(run: &str) -> String {
    format!("{run}{SUFFIX}.new")
}

/// Where the torn ends of a run's journal are kept.
pub fn torn_of(run: &str) -> String {
    format!("{run}{SUFFIX}.torn")
}

/// Whose journal this file is, if it is one.
pub fn run_of(file: &str) -> Option<&str> {
    file.strip_suffix(SUFFIX).filter(|run| is_run(run))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_leave_the_folder_is_refused() {
        for run in ["", "-a", "A", "a/b", "..", "a.b", "a\0", "ä", &"a".repeat(65)] {
            assert!(check_run(run).is_err(), "{run:?}");
        }
        for run in ["a", "0", "a-", "0-9-z", &"a".repeat(64)] {
            assert!(check_run(run).is_ok(), "{run:?}");
            assert_eq!(run_of(&file_of(run)), Some(run));
        }
        assert_eq!(run_of("x.journal.old"), None);
        assert_eq!((run_of(&draft_of("x")), run_of(&torn_of("x"))), (None, None));
    }

    #[test]
    fn times_are_utc_with_milliseconds() {
        for ts in ["2026-01-31T23:59:59.000Z", "2026-01-31T23:59:59.000+00:00"] {
            assert!(check_ts(ts, "ts").is_ok(), "{ts}");
        }
        for ts in
            ["", "2026-01-31T23:59:59Z", "2026-01-31T23:59:59.000", "2026-01-31 23:59:59.000Z"]
        {
            assert!(check_ts(ts, "ts").is_err(), "{ts}");
        }
    }
}
