//! Whether a backend is in rotation. Pure: told outcomes and the time.
//!
//! A backend goes out when several attempts in a row did not reach it or got no answer. Any
//! answer, also a refusal, shows that it lives, unless the configuration says how long it may only
//! refuse. It comes back when several probes in a row were answered. Broken connections of one
//! moment count as one, since all requests on a connection break with it; so do answers of one
//! moment while it is out. Attempts that ran out of time have waited long enough to count each.

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
        /// A backend also goes out when for this long it has answered nothing but that it cannot
        /// now; 0 never takes it out for that.
        pub max_refusal_time: Duration = Duration::ZERO,
    }
}

/// Outcomes closer together than this are of one moment.
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
    /// 0 is without end.
    max_refusal_time: Duration,
    state: State,
    /// Since the last good answer.
    refusals: Option<Refusals>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    In { failures: u32, last: Option<Instant> },
    Out { successes: u32, last: Option<Instant> },
}

/// Answers for now that came in a row, while a backend is in.
#[derive(Debug, Clone, Copy)]
struct Refusals {
    count: u32,
    since: Instant,
}

const GOOD: State = State::In { failures: 0, last: None };
const BAD: State = State::Out { successes: 0, last: None };

/// Why there was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// There was no connection, or it broke.
    Broken,
    /// It did not come in time.
    TimedOut,
}

fn same_moment(last: Option<Instant>, now: Instant) -> bool {
    last.is_some_and(|last| now.saturating_duration_since(last) < MOMENT)
}

impl Health {
    pub(super) fn new(config: &RotationConfig) -> Self {
        let RotationConfig { max_failures, min_successes, max_refusal_time, .. } = *config;
        Self { max_failures, min_successes, max_refusal_time, state: GOOD, refusals: None }
    }

    /// Whether keys may lead to the backend.
    pub(super) fn is_in(&self) -> bool {
        matches!(self.state, State::In { .. })
    }

    /// An attempt or a probe was answered; whether the backend came back by it.
    pub(super) fn answered(&mut self, now: Instant) -> bool {
        self.refusals = None;
        match self.state {
            State::In { .. } => {
                self.state = GOOD;
                false
            }
            State::Out { last, .. } if same_moment(last, now) => false,
            State::Out { successes, .. } if successes + 1 >= self.min_successes => {
                self.state = GOOD;
                true
            }
            State::Out { successes, .. } => {
                self.state = State::Out { successes: successes + 1, last: Some(now) };
                false
            }
        }
    }

    /// Whether refusals are answers like others.
    pub(super) fn bears_refusals(&self) -> bool {
        self.max_refusal_time.is_zero()
    }

    /// An attempt or a probe was answered with a refusal for now, which this one does not bear for
    /// ever; whether the backend went out by it.
    pub(super) fn refused(&mut self, now: Instant) -> bool {
        if !self.is_in() {
            self.state = BAD;
            return false;
        }
        // It answers, so that what came before was no silence.
        self.state = GOOD;
        let refusals = self.refusals.get_or_insert(Refusals { count: 0, since: now });
        refusals.count = refusals.count.saturating_add(1);
        let too_long = now.saturating_duration_since(refusals.since) >= self.max_refusal_time;
        if refusals.count < self.max_failures || !too_long {
            return false;
        }
        self.refusals = None;
        self.state = BAD;
        true
    }

    /// An attempt or a probe was not answered; whether the backend went out by it.
    pub(super) fn failed(&mut self, silence: Silence, now: Instant) -> bool {
        match self.state {
            State::In { last, .. } if silence == Silence::Broken && same_moment(last, now) => false,
            State::In { failures, .. } if failures + 1 >= self.max_failures => {
                self.state = BAD;
                true
            }
            State::In { failures, .. } => {
                self.state = State::In { failures: failures + 1, last: Some(now) };
                false
            }
            State::Out { .. } => {
                self.state = BAD;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a row of outcomes makes of a backend: `x` is a broken connection, `t` no answer in
    /// time, `.` an answer, `~` a pause of a second.
    fn check(outcomes: &str, stays_in: bool) {
        check_with(&RotationConfig::default(), outcomes, stays_in);
    }

    /// The same with refusals for now (`r`), which are borne for this long.
    fn check_bearing(max_refusal_time: Duration, outcomes: &str, stays_in: bool) {
        check_with(&RotationConfig { max_refusal_time, ..Default::default() }, outcomes, stays_in);
    }

    fn check_with(config: &RotationConfig, outcomes: &str, stays_in: bool) {
        let mut health = Health::new(config);
        let mut now = shared::clock::now();
        for outcome in outcomes.chars() {
            let before = health.is_in();
            let turned = match outcome {
                'x' => health.failed(Silence::Broken, now),
                't' => health.failed(Silence::TimedOut, now),
                '.' => health.answered(now),
                'r' => health.refused(now),
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
    fn broken_connections_of_one_moment_count_as_one() {
        check("xxxxxxxx", true);
        check("xxx~xxx", true);
        check("xxx~xxx~x", false);
    }

    #[test]
    fn attempts_that_run_out_of_time_together_count_each() {
        check("tt", true);
        check("ttt", false);
        check("xtt", false);
    }

    #[test]
    fn a_backend_that_only_refuses_goes_out_after_its_time_if_there_is_one() {
        let borne = Duration::from_secs(3);
        check_bearing(borne, "rrrrr~rrrr~rrrr", true);
        check_bearing(borne, "r~r~r~r", false);
        check_bearing(borne, "r~~~r", true);
        check_bearing(borne, "r~r~.~r~r~r", true);
        check_bearing(borne, "r~x~r~x~r", false);
        check_bearing(borne, "x~x~r~x~x", true);
    }

    #[test]
    fn a_backend_that_is_out_and_refuses_its_probes_stays_out_where_refusals_are_not_borne() {
        let borne = Duration::from_secs(3);
        check_bearing(borne, "r~r~r~r~r~r", false);
        check_bearing(borne, "r~r~r~r~.~r~.", false);
        check_bearing(borne, "r~r~r~r~.~.", true);
        check_bearing(borne, "r~r~r~r~.~.~r~r", true);
    }

    #[test]
    fn several_answers_in_a_row_bring_it_back() {
        check("x~x~x~.", false);
        check("x~x~x~.~x~.", false);
        check("x~x~x~.~.", true);
        check("x~x~x~.~.~x~x", true);
        check("x~x~x~......", false);
    }
}
