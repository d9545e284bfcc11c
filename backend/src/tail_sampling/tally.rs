//! What a shard did, in plain numbers; its task turns them into metrics.

use std::time::Duration;

use super::deadlines::Cause;
use super::trace::Summary;

/// What happened in a shard since its tally was last taken.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Spans that came in.
    pub(super) received_spans: u64,
    /// Of these, spans without a trace id.
    pub(super) spans_without_trace_id: u64,
    /// Traces that began to wait.
    pub(super) new_traces: u64,
    /// Final decisions, in the order of [`Decision::ALL`](super::policy::Decision::ALL).
    pub(super) decisions: [u64; 3],
    /// Traces whose outcome was certain before they were due, kept and discarded.
    pub(super) certain: [u64; 2],
    /// Of these, traces about which something else was decided.
    pub(super) contradictions: u64,
    /// Traces by why they were judged when they were.
    pub(super) causes: [u64; Cause::COUNT],
    /// Spans of traces that were judged not worth keeping.
    pub(super) sampled_out_spans: u64,
    /// Spans of traces that had become too large.
    pub(super) too_large_spans: u64,
    /// Late spans of traces that were not kept.
    pub(super) sampled_out_late_spans: u64,
    /// Spans thrown away without a verdict at shutdown, as configured.
    pub(super) discarded_spans: u64,
    /// Late spans of sampled traces.
    pub(super) forwarded_late_spans: u64,
    /// Kept spans whose trace state could not be read.
    pub(super) unreadable_trace_states: u64,
    /// Seconds since the decision, for each late piece of a trace.
    pub(super) late_ages: Ages,
    /// Seconds from arrival to decision, for each trace.
    pub(super) removal_ages: Ages,
    /// What the policies would have decided, in that order, if they are all in dry run.
    pub(super) rehearsed: [u64; 3],
    /// Per policy.
    pub(super) policies: Vec<PolicyTally>,
}

impl Tally {
    /// Traces that were too large to be kept.
    pub(super) fn too_large(&self) -> u64 {
        self.causes[Cause::TooLarge as usize]
    }
}

/// What a policy did since this was last looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PolicyTally {
    /// Traces by what it wanted done, in the order of [`Decision::ALL`](super::policy::Decision::ALL).
    pub(super) votes: [Amount; 3],
    /// Traces it failed on; they were judged without it.
    pub(super) errors: u64,
    /// Traces that only this policy kept; for one in dry run, those that would have been decided
    /// otherwise with it.
    pub(super) alone: Amount,
    /// Time it took.
    pub(super) time: Duration,
}

/// How much some traces are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    /// Traces.
    pub(super) traces: u64,
    /// Their spans.
    pub(super) spans: u64,
    /// The bytes of these.
    pub(super) bytes: u64,
}

impl Amount {
    /// Adds a trace.
    pub(super) fn add(&mut self, trace: &Summary) {
        self.traces += 1;
        self.spans += u64::from(trace.spans);
        self.bytes += trace.bytes;
    }
}

/// Whole seconds with how often each occurred; few differ between two looks.
#[derive(Debug, Default)]
pub(super) struct Ages(Vec<(u64, usize)>);

impl Ages {
    /// Notes an age.
    pub(super) fn note(&mut self, age: Duration) {
        let seconds = age.as_secs();
        match self.0.iter_mut().rev().find(|(known, _)| *known == seconds) {
            Some((_, count)) => *count += 1,
            None => self.0.push((seconds, 1)),
        }
    }

    /// The ages, each with how often it occurred.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, usize)> {
        self.0.iter().copied()
    }
}
