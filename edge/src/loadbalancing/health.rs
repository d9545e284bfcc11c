//! Whether a backend is in rotation. Pure: told outcomes and the time.
//!
//! A backend goes out when several attempts in a row did not reach it or got no answer. Any
//! answer, also a refusal, shows that it lives. It comes back when several probes in a row were
//! answered. The failures of one moment, such as those of all requests on a connection that broke,
//! count as one.

use std::time::{Duration, Instant};

use shared::config::{Path, Problems};
use shared::config_struct;

config_struct! {
    /// Ours, `rotation`: when a backend that does not answer is passed over.
    #[derive(PartialEq)]
    pub(crate) struct RotationConfig {
        /// A backend goes out after this many attempts in a row without an answer.
        pub max_failures: u32 = 3,
        /// A backend comes back after this many probes in a row with one.
        pub min_successes: u32 = 2,
        /// Time between the probes of a backend that is out, ± 20 %.
        pub probe_interval: Duration = Duration::from_secs(1),
        /// Time for one probe.
        pub probe_timeout: Duration = Duration::from_secs(1),
    }
}

/// Failures closer together than this count as one.
const MOMENT: Duration = Duration::from_millis(100);

impl RotationConfig {
    pub(super) fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let positive = [
            ("max_failures", self.max_failures == 0),
            ("min_successes", self.min_successes == 0),
            ("probe_interval", self.probe_interval.is_zero()),
            ("probe_timeout", self.probe_timeout.is_zero()),
        ];
        for (key, wrong) in positive {
            if wrong {
                problems.report(&at.key(key), "must be positive");
            }
        }
    }
}

/// The state of one backend.
#[derive(Debug)]
pub(super) struct Health {
    max_failures: u32,
    min_successes: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    In { failures: u32, last: Option<Instant> },
    Out { successes: u32 },
}

const GOOD: State = State::In { failures: 0, last: None };

impl Health {
    pub(super) fn new(config: &RotationConfig) -> Self {
        let RotationConfig { max_failures, min_successes, .. } = *config;
        Self { max_failures, min_successes, state: GOOD }
    }

    /// Whether keys may lead to the backend.
    pub(super) fn is_in(&self) -> bool {
        matches!(self.state, State::In { .. })
    }

    /// An attempt or a probe was answered; whether the backend came back by it.
    pub(super) fn answered(&mut self) -> bool {
        match self.state {
            State::In { .. } => {
                self.state = GOOD;
                false
            }
            State::Out { successes } if successes + 1 >= self.min_successes => {
                self.state = GOOD;
                true
            }
            State::Out { successes } => {
                self.state = State::Out { successes: successes + 1 };
                false
            }
        }
    }

    /// An attempt or a probe was not answered; whether the backend went out by it.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        match self.state {
            State::In { last: Some(last), .. } if now.saturating_duration_since(last) < MOMENT => {
                false
            }
            State::In { failures, .. } if failures + 1 >= self.max_failures => {
                self.state = State::Out { successes: 0 };
                true
            }
            State::In { failures, .. } => {
                self.state = State::In { failures: failures + 1, last: Some(now) };
                false
            }
            State::Out { .. } => {
                self.state = State::Out { successes: 0 };
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a row of outcomes makes of a backend: `x` is a failure, `.` an answer, `~` a pause of
    /// a second.
    fn check(outcomes: &str, stays_in: bool) {
        let mut health = Health::new(&RotationConfig::default());
        let mut now = shared::clock::now();
        for outcome in outcomes.chars() {
            let before = health.is_in();
            let turned = match outcome {
                'x' => health.failed(now),
                '.' => health.answered(),
                _ => {
                    now += Duration::from_secs(1);
                    continue;
                }
            };
            assert_eq!(turned, before != health.is_in(), "{outcomes}");
        }
        assert_eq!(health.is_in(), stays_in, "{outcomes}");
    }

    #[test]
    fn several_failures_in_a_row_take_a_backend_out() {
        check("", true);
        check("x~x", true);
        check("x~x~x", false);
        check("x~x~.~x~x", true);
    }

    #[test]
    fn failures_of_one_moment_count_as_one() {
        check("xxxxxxxx", true);
        check("xxx~xxx", true);
        check("xxx~xxx~x", false);
    }

    #[test]
    fn several_answers_in_a_row_bring_it_back() {
        check("x~x~x~.", false);
        check("x~x~x~.~x~.", false);
        check("x~x~x~.~.", true);
        check("x~x~x~.~.~x~x", true);
    }
}
