//! When to try again. Told the time and given its randomness; no I/O, no clock.
//!
//! Each wait is `multiplier` times the one before, up to `max_interval`, and then spread by
//! `randomization_factor` to both sides. Source: collector exporterhelper's
//! retry sender.

use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

use super::RetryConfig;

/// The shortest wait, so that an interval of 0 does not keep a worker busy.
const SHORTEST: Duration = Duration::from_millis(1);

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after this time.
    Wait(Duration),
    /// The next attempt would come too late, or there is to be none.
    GiveUp,
}

/// The waits of one batch.
#[derive(Debug, Clone)]
pub struct Schedule {
    config: RetryConfig,
    interval: Duration,
    /// When the first attempt began; time in a queue does not count.
    started: Instant,
}

impl Schedule {
    /// The schedule of a batch whose first attempt begins now.
    pub fn new(config: &RetryConfig, now: Instant) -> Self {
        Self { config: config.clone(), interval: config.initial_interval, started: now }
    }

    /// What to do after an attempt that failed at `now`; the destination asked for a wait of at
    /// least `throttle`.
    pub fn failed(
        &mut self,
        now: Instant,
        throttle: Option<Duration>,
        rng: &mut impl Rng,
    ) -> Verdict {
        if !self.config.enabled {
            return Verdict::GiveUp;
        }
        let spread = self.config.randomization_factor * (rng.random::<f64>() * 2.0 - 1.0);
        let delay = times(self.interval, 1.0 + spread, Duration::MAX)
            .max(throttle.unwrap_or_default())
            .max(SHORTEST);
        self.interval = times(self.interval, self.config.multiplier, self.config.max_interval);
        let limit = self.config.max_elapsed_time;
        let elapsed = now.saturating_duration_since(self.started);
        if !limit.is_zero() && elapsed.saturating_add(delay) > limit {
            return Verdict::GiveUp;
        }
        Verdict::Wait(delay)
    }
}

/// `interval` times `factor`, at most `limit`.
fn times(interval: Duration, factor: f64, limit: Duration) -> Duration {
    Duration::try_from_secs_f64(interval.as_secs_f64() * factor).unwrap_or(limit).min(limit)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn rng() -> StdRng {
        StdRng::seed_from_u64(1)
    }

    /// Waits in milliseconds until the schedule gives up, at most `most`, when attempts take no
    /// time.
    fn waits(config: &RetryConfig, throttle: Option<Duration>, most: usize) -> Vec<u128> {
        let mut now = crate::clock::now();
        let mut schedule = Schedule::new(config, now);
        let (mut waits, mut rng) = (Vec::new(), rng());
        while waits.len() < most {
            let Verdict::Wait(delay) = schedule.failed(now, throttle, &mut rng) else { break };
            waits.push(delay.as_millis());
            now += delay;
        }
        waits
    }

    fn without_jitter() -> RetryConfig {
        RetryConfig { randomization_factor: 0.0, ..RetryConfig::default() }
    }

    #[test]
    fn waits_grow_to_the_longest() {
        let waits = waits(&without_jitter(), None, 7);
        assert_eq!(waits, [5000, 7500, 11250, 16875, 25312, 30000, 30000]);
    }

    #[test]
    fn gives_up_when_the_next_attempt_would_come_too_late() {
        let max_elapsed_time = Duration::from_secs(12);
        let mut config = RetryConfig { max_elapsed_time, ..without_jitter() };
        assert_eq!(waits(&config, None, 9), [5000]);
        config.max_elapsed_time = Duration::from_millis(12_500);
        assert_eq!(waits(&config, None, 9), [5000, 7500]);
        config.max_elapsed_time = Duration::ZERO;
        assert_eq!(waits(&config, None, 99).len(), 99);
    }

    #[test]
    fn a_slow_attempt_counts_as_elapsed() {
        let config = without_jitter();
        let now = crate::clock::now();
        let mut schedule = Schedule::new(&config, now);
        let verdict = schedule.failed(now + Duration::from_secs(296), None, &mut rng());
        assert_eq!(verdict, Verdict::GiveUp);
    }

    #[test]
    fn a_wait_is_never_shorter_than_the_destination_asks() {
        assert_eq!(waits(&without_jitter(), Some(Duration::from_secs(6)), 2), [6000, 7500]);
    }

    #[test]
    fn jitter_stays_within_its_factor_and_fills_it() {
        let config = RetryConfig {
            multiplier: 1.0,
            max_elapsed_time: Duration::ZERO,
            ..RetryConfig::default()
        };
        let waits = waits(&config, None, 500);
        assert!(waits.iter().all(|wait| (2500..=7500).contains(wait)), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait < 3000) && waits.iter().any(|wait| *wait > 7000));
    }

    #[test]
    fn extreme_settings_neither_spin_nor_overflow() {
        let forever = RetryConfig { max_elapsed_time: Duration::ZERO, ..without_jitter() };
        let zero = RetryConfig { initial_interval: Duration::ZERO, ..forever.clone() };
        assert_eq!(waits(&zero, None, 2), [1, 1]);
        let steep = RetryConfig { multiplier: f64::MAX, ..forever };
        assert_eq!(waits(&steep, None, 3), [5000, 30000, 30000]);
    }

    #[test]
    fn when_off_nothing_is_tried_again() {
        let config = RetryConfig { enabled: false, ..RetryConfig::default() };
        assert_eq!(waits(&config, Some(Duration::ZERO), 9), [0; 0]);
    }
}
