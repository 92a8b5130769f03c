//! How long a kind that could not be spawned is left alone: twice as long each time.

const FIRST_MS: u64 = 1_000;
const MOST_MS: u64 = 60_000;

#[derive(Clone, Debug, Default)]
pub struct Backoff {
    pause_ms: u64,
    until: u64,
}

impl Backoff {
    pub fn failed(&mut self, now_ms: u64) {
        self.pause_ms = (self.pause_ms * 2).clamp(FIRST_MS, MOST_MS);
        self.until = now_ms.saturating_add(self.pause_ms);
    }

    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Milliseconds until the next try; `None` if it may be now.
    pub fn left_ms(&self, now_ms: u64) -> Option<u64> {
        self.until.checked_sub(now_ms).filter(|left| *left > 0)
    }

    /// When the pause ends, on the clock of `now_ms`.
    pub fn until(&self) -> u64 {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_to_a_minute_and_a_success_ends_it() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.left_ms(0), None);
        let pauses = (0..8).map(|_| {
            backoff.failed(500);
            backoff.left_ms(500)
        });
        let pauses: Vec<u64> = pauses.flatten().collect();
        assert_eq!(pauses, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!((backoff.left_ms(60_499), backoff.left_ms(60_500)), (Some(1), None));
        backoff.succeeded();
        backoff.failed(0);
        assert_eq!(backoff.left_ms(0), Some(1_000));
    }
}
