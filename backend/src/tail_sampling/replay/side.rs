//! One configuration that is replayed.

use std::sync::Arc;
use std::time::Duration;

use shared::Batch;
use shared::clock::now as stopwatch;

use super::super::config::TailSamplingConfig;
use super::super::evaluate::{Policies, Standing};
use super::super::journal::Judged;
use super::super::policy::{Names, Seconds, Terms};
use super::super::regime::settings;
use super::super::shard::{Shard, Take};
use super::super::shard_task::{SLICE, TICK, TICKS_TO_TRIM};
use super::super::tally::{PolicyTally, Tally};
use super::Simulated;
use super::clock::Clock;

/// A shard with its clock, and what left it.
pub(super) struct Side {
    shard: Shard,
    policies: Arc<Policies>,
    decision_wait: Duration,
    next_tick: Simulated,
    ticks: u32,
    /// Traces that are judged at once.
    slice: usize,
    output: Output,
}

/// What a configuration keeps.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Output {
    pub(super) requests: u64,
    pub(super) spans: u64,
    pub(super) bytes: u64,
}

/// What came of a configuration.
pub(super) struct Result {
    pub(super) output: Output,
    pub(super) tally: Tally,
    pub(super) policies: Vec<PolicyResult>,
}

/// What came of a policy.
pub(super) struct PolicyResult {
    pub(super) name: String,
    pub(super) standing: Standing,
    pub(super) tally: PolicyTally,
}

impl Side {
    /// What `config` would do. In a replay a processor in dry run is as if it were not, and one that
    /// would block judges early instead.
    pub(super) fn new(config: &TailSamplingConfig, journal: bool, clock: &Clock) -> Self {
        let config =
            TailSamplingConfig { dry_run: false, block_on_overflow: false, ..config.clone() };
        let terms = Terms {
            seconds: Seconds::since(clock.epoch(), clock.start_unix_ns()),
            ..Terms::new(config.compat, config.tier.initial_size())
        };
        let policies = Arc::new(Policies::build(&config, &terms, &mut Names::default()));
        // Nobody attacks the tables of a replay, and it should be the same each time.
        let settings = settings(&config, 1);
        let mut shard = Shard::new(settings, Arc::clone(&policies), 0, clock.epoch());
        let mut slice = SLICE;
        if journal {
            shard.keep_journal();
            // One at a time, so that it is known what a budget allowed for each.
            slice = 1;
        }
        let (next_tick, output) = (clock.epoch() + TICK, Output::default());
        let decision_wait = config.decision_wait;
        Self { shard, policies, decision_wait, next_tick, ticks: 0, slice, output }
    }

    /// Lets time pass until `now`.
    pub(super) fn advance(&mut self, now: Simulated) {
        while self.next_tick <= now {
            if self.shard.held().traces == 0 {
                let left = now.saturating_duration_since(self.next_tick);
                self.next_tick = now + until_next(left, TICK);
                self.shard.trim();
                return;
            }
            self.judge(self.next_tick, Take::Any);
            self.next_tick += TICK;
            self.ticks += 1;
            if self.ticks.is_multiple_of(TICKS_TO_TRIM) {
                self.shard.trim();
            }
        }
    }

    /// Takes a request in.
    pub(super) fn admit(&mut self, batch: &Batch, now: Simulated) {
        self.shard.admit(batch, now);
        if self.shard.is_over_limit() {
            self.judge(now, Take::Full);
        }
        while self.shard.upkeep(usize::MAX) {}
    }

    /// Nothing more comes: lets time pass until all that waits is due.
    pub(super) fn finish(&mut self, now: Simulated) {
        let now = now + self.decision_wait + TICK;
        self.advance(now);
        // Nothing is left, but for a clock that rounds otherwise.
        self.shard.close();
        self.judge(now, Take::Any);
    }

    fn judge(&mut self, now: Simulated, take: Take) {
        while self.shard.judge(now, self.slice, stopwatch) > 0 {
            self.send(Take::Full);
        }
        self.send(take);
    }

    fn send(&mut self, take: Take) {
        while let Some(batch) = self.shard.take(take) {
            self.output.requests += 1;
            self.output.spans += batch.items() as u64;
            self.output.bytes += batch.bytes().len() as u64;
        }
    }

    /// What was decided since this was last asked.
    pub(super) fn take_judged(&mut self) -> Vec<Judged> {
        self.shard.take_judged()
    }

    /// Its policies.
    pub(super) fn policies(&self) -> &Policies {
        &self.policies
    }

    /// What came of it. To be asked once, at the end.
    pub(super) fn result(&mut self) -> Result {
        let tally = self.shard.take_tally();
        let tallies = tally.policies.iter().cloned();
        let policies = self.policies.standings().zip(tallies).map(|((name, standing), tally)| {
            PolicyResult { name: name.to_owned(), standing, tally }
        });
        let policies = policies.collect();
        Result { output: self.output, policies, tally }
    }
}

/// The time from `time` to the next multiple of `step`.
fn until_next(time: Duration, step: Duration) -> Duration {
    let beyond = time.as_nanos() % step.as_nanos();
    Duration::from_nanos(u64::try_from(step.as_nanos() - beyond).expect("a step is short"))
}
