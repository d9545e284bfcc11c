//! Runs policies over recorded requests: what would be kept, and what another configuration would
//! keep instead.
//!
//! Time is that of the recording, not ours. A request comes at the median of the end times of its
//! spans, since a span is sent soon after its end; time never goes back, and a request without end
//! times comes together with the one before. In between the shard looks for due traces as often as
//! its task would. All traces are in one shard, which has the limits of all shards together. When
//! the input ends, time goes on until all that waits was due.

mod clock;
mod comparison;
mod report;
mod side;

use std::time::Instant;

use shared::Batch;

use super::config::TailSamplingConfig;
use super::journal::Judged;
use super::policy::Names;
use super::regime::default_max_bytes;

use clock::Clock;
use comparison::Comparison;
use side::Side;

pub(crate) use report::Format;

/// See the module's head.
pub(crate) struct Replay {
    /// One, or two that are compared.
    configs: Vec<TailSamplingConfig>,
    /// Whether it is noted what is decided about each trace.
    journal: bool,
    /// One for each configuration, from the first request on, which sets the clock.
    sides: Vec<Side>,
    clock: Clock,
    input: Input,
    comparison: Option<Comparison>,
}

/// What was read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Input {
    /// Requests.
    pub(crate) requests: u64,
    /// Spans in them.
    pub(crate) spans: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Nanoseconds from the first to the last of them.
    pub(crate) traffic_ns: u64,
}

/// What was decided about one trace.
#[derive(Debug)]
pub(crate) struct Decided {
    /// In hexadecimal digits.
    pub(crate) trace_id: String,
    /// `sampled`, `not_sampled` or `dropped`.
    pub(crate) decision: &'static str,
    /// The policy or part of one that decided, if one did.
    pub(crate) policy: Option<String>,
}

impl Replay {
    /// Of one configuration.
    pub(crate) fn of(config: &TailSamplingConfig) -> Self {
        Self {
            configs: vec![config.clone()],
            journal: false,
            sides: Vec::new(),
            clock: Clock::new(),
            input: Input::default(),
            comparison: None,
        }
    }

    /// Of two configurations; up to `limit` traces that they decide otherwise are listed.
    pub(crate) fn comparing(
        before: &TailSamplingConfig,
        after: &TailSamplingConfig,
        limit: usize,
    ) -> Self {
        // Each has half of the memory, unless it says how much.
        let share = default_max_bytes() / 2;
        let configs = [before, after].map(|config| TailSamplingConfig {
            max_buffer_bytes: Some(config.max_buffer_bytes.unwrap_or(share)),
            ..config.clone()
        });
        let comparison = Some(Comparison::new(limit));
        Self { configs: configs.into(), journal: true, comparison, ..Self::of(before) }
    }

    /// Has every decision noted, for [`Replay::feed`] to give.
    pub(crate) fn keep_journal(&mut self) {
        self.journal = true;
    }

    /// What was read so far.
    pub(crate) fn input(&self) -> Input {
        self.input
    }

    /// Takes the next request in. Gives what the (first) configuration decided meanwhile, if that
    /// is [noted](Replay::keep_journal).
    pub(crate) fn feed(&mut self, batch: &Batch) -> Vec<Decided> {
        let now = self.clock.time_of(batch);
        self.input.requests += 1;
        self.input.spans += batch.items() as u64;
        self.input.bytes += batch.bytes().len() as u64;
        self.input.traffic_ns = self.clock.passed_ns();
        self.begin();
        for side in &mut self.sides {
            side.advance(now);
            side.admit(batch, now);
        }
        self.collect()
    }

    /// Judges what waits; gives as [`Replay::feed`] does.
    pub(crate) fn finish(&mut self) -> Vec<Decided> {
        let now = self.clock.now();
        self.begin();
        self.sides.iter_mut().for_each(|side| side.finish(now));
        self.collect()
    }

    fn begin(&mut self) {
        if self.sides.is_empty() {
            let side = |config| Side::new(config, self.journal, &self.clock);
            self.sides = self.configs.iter().map(side).collect();
        }
    }

    /// Hands the journals to the comparison.
    fn collect(&mut self) -> Vec<Decided> {
        let mut decided = Vec::new();
        for (index, side) in self.sides.iter_mut().enumerate() {
            for judged in side.take_judged() {
                if index == 0 {
                    decided.push(tell(&judged, side.policies().names()));
                }
                if let Some(comparison) = &mut self.comparison {
                    comparison.note(index, judged);
                }
            }
        }
        decided
    }

    /// What came of it, each configuration under its title. To be asked once, when it is finished.
    pub(crate) fn report(&mut self, format: Format, titles: &[&str]) -> String {
        let results: Vec<_> = self.sides.iter_mut().map(Side::result).collect();
        let changes = match (&self.comparison, &self.sides[..]) {
            (Some(comparison), [before, after]) => {
                Some(comparison.changes([before.policies(), after.policies()]))
            }
            _ => None,
        };
        let sides: Vec<_> = titles.iter().copied().zip(results).collect();
        report::write(format, self.input, &sides, changes.as_ref())
    }
}

fn tell(judged: &Judged, names: &Names) -> Decided {
    Decided {
        trace_id: hex(&judged.summary.trace_id),
        decision: judged.verdict.decision.label(),
        policy: judged.verdict.by.map(|id| names.get(id).to_string()),
    }
}

fn hex(id: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*id))
}

/// A time that nothing hangs on but the order of what happens.
type Simulated = Instant;

#[cfg(test)]
mod tests;
