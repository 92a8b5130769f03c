//! When to send a heartbeat and when to take the hub for dead (PROTOCOL section 3). Knows no clock of its own.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct Liveness {
    beat: Duration,
    limit: Duration,
    sent: Instant,
    heard: Instant,
    beaten: Instant,
}

impl Liveness {
    /// Silence of `beat` calls for a heartbeat, `misses` times that of the other side means it is dead.
    pub fn new(beat: Duration, misses: u32, now: Instant) -> Self {
        Self { beat, limit: beat.saturating_mul(misses), sent: now, heard: now, beaten: now }
    }

    pub fn sent(&mut self, now: Instant) {
        self.sent = now;
    }

    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// A heartbeat was sent.
    pub fn beaten(&mut self, now: Instant) {
        self.beaten = now;
    }

    pub fn beat_due(&self, now: Instant) -> bool {
        now >= self.next_beat()
    }

    /// After silence in either direction: who talks all the time and hears nothing must ask too.
    fn next_beat(&self) -> Instant {
        self.beaten.max(self.sent.min(self.heard)) + self.beat
    }

    pub fn dead(&self, now: Instant) -> bool {
        now >= self.heard + self.limit
    }

    /// How long nothing needs to be done unless a message comes.
    pub fn rest(&self, now: Instant) -> Duration {
        let next = self.next_beat().min(self.heard + self.limit);
        next.saturating_duration_since(now)
    }

    /// The longest silence that is still life.
    pub fn limit(&self) -> Duration {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_secs(1);

    #[test]
    fn silence_calls_for_a_heartbeat_and_any_message_is_one() {
        let start = Instant::now();
        let mut liveness = Liveness::new(BEAT, 5, start);
        assert_eq!(liveness.rest(start), BEAT);
        assert!(!liveness.beat_due(start + BEAT / 2) && liveness.beat_due(start + BEAT));
        liveness.sent(start + BEAT / 2);
        liveness.heard(start + BEAT / 2);
        assert!(!liveness.beat_due(start + BEAT));
        assert!(liveness.beat_due(start + BEAT / 2 + BEAT));
    }

    #[test]
    fn who_talks_all_the_time_and_hears_nothing_still_beats_once_a_period() {
        let start = Instant::now();
        let mut liveness = Liveness::new(BEAT, 5, start);
        liveness.sent(start + BEAT);
        assert!(liveness.beat_due(start + BEAT), "nothing was heard for a period");
        liveness.beaten(start + BEAT);
        liveness.sent(start + BEAT * 3 / 2);
        assert!(!liveness.beat_due(start + BEAT * 3 / 2) && liveness.beat_due(start + BEAT * 2));
    }

    #[test]
    fn the_other_side_is_dead_after_the_limit_and_not_before() {
        let start = Instant::now();
        let mut liveness = Liveness::new(BEAT, 5, start);
        assert!(!liveness.dead(start + BEAT * 5 - Duration::from_millis(1)));
        assert!(liveness.dead(start + BEAT * 5));
        liveness.heard(start + BEAT);
        assert!(!liveness.dead(start + BEAT * 5));
        liveness.sent(start + BEAT * 5);
        liveness.beaten(start + BEAT * 5);
        assert_eq!(
            liveness.rest(start + BEAT * 5),
            BEAT,
            "the wait ends at the limit at the latest"
        );
    }
}
