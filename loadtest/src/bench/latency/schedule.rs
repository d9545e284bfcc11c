//! When requests are due: fixed before the first is sent, so that no stall moves them.

use std::time::Duration;

use clap::ValueEnum;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

use crate::testbed::TestbedError;

/// How requests follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// At random and without memory, as from many clients that do not know of each other
    Poisson,
    /// At equal distances
    Constant,
}

/// The times of a run, from its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule(Vec<Duration>);

/// The most requests of a run.
const MOST: f64 = 5e6;

impl Schedule {
    /// Requests at a mean rate over `window`; equal seeds make equal schedules.
    ///
    /// # Errors
    /// When that is no request, or more than fit in memory.
    pub(crate) fn new(
        arrivals: Arrivals,
        per_second: f64,
        window: Duration,
        seed: u64,
    ) -> Result<Self, TestbedError> {
        let expected = per_second * window.as_secs_f64();
        if !(1.0..=MOST).contains(&expected) {
            return Err(TestbedError::new(format!(
                "{expected:.0} requests in {window:?} make no open loop: 1 to {MOST:.0} do"
            )));
        }
        let mut rng = StdRng::seed_from_u64(seed);
        let mut times = Vec::new();
        let mut at = Duration::ZERO;
        while at < window {
            times.push(at);
            let gap = match arrivals {
                Arrivals::Constant => 1.0,
                // 1 - u is above 0, so its logarithm is finite.
                Arrivals::Poisson => -(1.0 - rng.random::<f64>()).ln(),
            };
            at = match arrivals {
                // By multiplication: errors of rounding do not add up.
                Arrivals::Constant => seconds(times.len(), per_second),
                Arrivals::Poisson => at + Duration::from_secs_f64(gap / per_second),
            };
        }
        Ok(Self(times))
    }

    /// The times, in order.
    pub(crate) fn times(&self) -> &[Duration] {
        &self.0
    }
}

#[allow(clippy::cast_precision_loss, reason = "there are far fewer than 2^53")]
fn seconds(count: usize, per_second: f64) -> Duration {
    Duration::from_secs_f64(count as f64 / per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    fn schedule(arrivals: Arrivals, seed: u64) -> Schedule {
        Schedule::new(arrivals, 1000.0, WINDOW, seed).unwrap()
    }

    #[test]
    fn constant_arrivals_keep_their_distance() {
        let schedule = schedule(Arrivals::Constant, 1);
        assert_eq!(schedule.times().len(), 10_000);
        assert_eq!(schedule.times()[0], Duration::ZERO);
        assert_eq!(schedule.times()[7], Duration::from_millis(7));
        assert_eq!(schedule.times()[9999], Duration::from_millis(9999));
    }

    #[test]
    fn poisson_arrivals_keep_their_rate_and_vary_as_much_as_their_mean() {
        let schedule = schedule(Arrivals::Poisson, 1);
        let times = schedule.times();
        assert!(times.len().abs_diff(10_000) < 400, "{}", times.len());
        let gaps: Vec<f64> =
            times.windows(2).map(|pair| pair[1].as_secs_f64() - pair[0].as_secs_f64()).collect();
        let count = f64::from(u32::try_from(gaps.len()).unwrap());
        let mean = gaps.iter().sum::<f64>() / count;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count;
        let spread = variance.sqrt() / mean;
        assert!((0.9..1.1).contains(&spread), "{spread}");
    }

    #[test]
    fn equal_seeds_make_equal_schedules() {
        assert_eq!(schedule(Arrivals::Poisson, 7), schedule(Arrivals::Poisson, 7));
        assert_ne!(schedule(Arrivals::Poisson, 7), schedule(Arrivals::Poisson, 8));
    }

    #[test]
    fn too_few_or_too_many_requests_are_refused() {
        for (per_second, window) in [(0.01, WINDOW), (1e6, WINDOW), (f64::NAN, WINDOW)] {
            assert!(Schedule::new(Arrivals::Poisson, per_second, window, 1).is_err());
        }
    }
}
