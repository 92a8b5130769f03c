//! The time that a reactor is told: read once a turn, so that all of a turn has one time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use symphony_wire::reactor::Now;

pub struct Clock {
    start: Instant,
    /// Of the turn that is, or of the last one.
    seen: Now,
    fresh: bool,
}

impl Clock {
    pub fn new() -> Self {
        Self { start: Instant::now(), seen: Now::default(), fresh: false }
    }

    /// The time of this turn.
    pub fn now(&mut self) -> Now {
        if !self.fresh {
            let mono_ms = self.start.elapsed().as_millis();
            self.turn_at(Now {
                mono_ms: u64::try_from(mono_ms).unwrap_or(u64::MAX),
                wall_ms: wall_ms(),
            });
        }
        self.seen
    }

    /// Begins a turn with this time.
    pub fn turn_at(&mut self, now: Now) {
        (self.seen, self.fresh) = (now, true);
    }

    /// The next time that is asked for is that of another turn.
    pub fn end_turn(&mut self) {
        self.fresh = false;
    }

    /// What a time of [`Now::mono_ms`] is to the rest of the program; `None`: no clock reaches it.
    pub fn instant(&self, mono_ms: u64) -> Option<Instant> {
        self.start.checked_add(Duration::from_millis(mono_ms))
    }

    /// How long it is until a time of [`Now::mono_ms`] that the last turn has not seen: if that time was over
    /// then, until the next millisecond, for before it nothing looks different.
    pub fn until(&self, mono_ms: u64) -> Duration {
        let at = self.instant(mono_ms.max(self.seen.mono_ms.saturating_add(1)));
        at.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()))
    }
}

/// Negative before 1970.
fn wall_ms() -> i64 {
    let milliseconds = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => milliseconds(after),
        Err(before) => -milliseconds(before.duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_has_one_time_and_the_next_one_a_later_one() {
        let mut clock = Clock::new();
        let first = clock.now();
        while clock.start.elapsed() < Duration::from_millis(first.mono_ms + 2) {}
        assert_eq!(clock.now(), first);
        clock.end_turn();
        assert!(clock.now().mono_ms >= first.mono_ms + 2);
        assert!(clock.now().wall_ms > 0);
    }

    #[test]
    fn a_time_that_was_seen_comes_with_the_next_millisecond() {
        let mut clock = Clock::new();
        clock.turn_at(Now { mono_ms: 60_000, wall_ms: 0 });
        let [over, next, later] = [0, 60_001, 61_000].map(|at| clock.until(at));
        assert!(over > Duration::from_secs(59) && over < Duration::from_millis(60_001));
        assert!(next.abs_diff(over) < Duration::from_secs(1));
        assert!(later > next);
        assert!(clock.until(u64::MAX) > Duration::from_secs(1 << 40));
    }
}
