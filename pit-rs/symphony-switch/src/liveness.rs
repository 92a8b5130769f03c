//! Who is alive (`PROTOCOL.md` section 3): silence judged without a clock of its own; `bus/liveness.py` in Rust.

/// Judges silence, forgiving the time in which the judge itself did not look. All times are seconds of one
/// monotonic clock.
pub struct Watch {
    pub heartbeat_s: f64,
    window_s: f64,
    looked: f64,
    judge_from: f64,
}

impl Watch {
    pub fn new(heartbeat_ms: u32, liveness: u32, now: f64) -> Self {
        let heartbeat_s = f64::from(heartbeat_ms) / 1000.0;
        let window_s = heartbeat_s * f64::from(liveness);
        Self { heartbeat_s, window_s, looked: now, judge_from: now }
    }

    /// The instant before which a last sign of life means death; look at every beat.
    pub fn horizon(&mut self, now: f64) -> f64 {
        if now - self.looked > self.window_s / 2.0 {
            self.judge_from = now + self.window_s;
        }
        self.looked = now;
        if now >= self.judge_from {
            now - self.window_s
        } else {
            f64::NEG_INFINITY
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_judge_that_did_not_look_gives_everybody_one_more_window() {
        let mut watch = Watch::new(1_000, 5, 0.0);
        assert_eq!(watch.horizon(1.0), -4.0);
        assert_eq!(watch.horizon(100.0), f64::NEG_INFINITY);
        assert_eq!(watch.horizon(102.0), f64::NEG_INFINITY);
        assert_eq!(watch.horizon(104.0), f64::NEG_INFINITY);
        assert_eq!(watch.horizon(105.0), 100.0);
    }
}
