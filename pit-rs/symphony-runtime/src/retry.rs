//! When a call that failed is made again: only where the hub says that it has no second effect.

use std::time::Duration;

use symphony_wire::BusError;

/// At most so many `attempts`, the first one counted; `backoff` doubles after each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    pub attempts: u32,
    pub backoff: Duration,
}

impl Retry {
    pub const ONCE: Self = Self { attempts: 1, backoff: Duration::ZERO };

    /// How long to wait before the next attempt after `made` of them; `None` if there is none and
    /// the error must reach the caller. `left`: what is left of the call's time.
    pub(crate) fn pause(
        &self,
        error: &BusError,
        made: u32,
        left: Option<Duration>,
    ) -> Option<Duration> {
        if !error.repeatable || made >= self.attempts {
            return None;
        }
        let after = Duration::from_millis(u64::from(error.retry_after_ms.unwrap_or(0)));
        let backoff = self.backoff.saturating_mul(2u32.saturating_pow(made.saturating_sub(1)));
        let pause = after.max(backoff);
        left.is_none_or(|left| pause < left).then_some(pause)
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 3, backoff: Duration::from_millis(50) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use symphony_wire::Code;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_pause_doubles_and_is_never_shorter_than_the_hub_asks() {
        let retry = Retry { attempts: 4, backoff: 50 * MS };
        let error = BusError::new(Code::Overloaded, "full").repeatable();
        let pauses = [1, 2, 3, 4].map(|made| retry.pause(&error, made, None));
        assert_eq!(pauses, [Some(50 * MS), Some(100 * MS), Some(200 * MS), None]);
        let asked = error.retry_after_ms(120);
        assert_eq!(retry.pause(&asked, 1, None), Some(120 * MS));
        assert_eq!(retry.pause(&asked, 1, Some(121 * MS)), Some(120 * MS));
        assert_eq!(retry.pause(&asked, 1, Some(120 * MS)), None, "the time would be over");
    }

    #[test]
    fn what_may_have_an_effect_is_never_repeated() {
        let error = BusError::new(Code::Crashed, "gone").retry_after_ms(1);
        assert_eq!(Retry::default().pause(&error, 1, None), None);
        assert_eq!(Retry::ONCE.pause(&error.repeatable(), 1, None), None);
    }
}
