//! What was decided about each trace, and what the policies said of it: for a replay, which compares
//! decisions. A shard in operation keeps none.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::evaluate::{Policies, Verdict};
use super::policy::{Ballot, Failed};
use super::trace::{Summary, Trace, TraceId};

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// What was said about traces that are just judged.
    said: VecDeque<(TraceId, Box<[Ballot]>)>,
    judged: Vec<Judged>,
}

/// A trace that was judged.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    /// The trace.
    pub(super) summary: Summary,
    /// What was decided.
    pub(super) verdict: Verdict,
    /// What each policy would say, in the order in which they vote; empty when none was asked.
    pub(super) ballots: Box<[Ballot]>,
}

impl Journal {
    /// Notes what policies will say about traces that are about to be judged one after the other.
    ///
    /// What a budget allows is only right for the first of them.
    pub(super) fn note_ballots(&mut self, policies: &Policies, traces: &[Trace], now: Instant) {
        for trace in traces {
            self.said.push_back((trace.summary.trace_id, policies.peek(trace, now)));
        }
    }

    /// Notes what was decided about a trace.
    pub(super) fn note_verdict(&mut self, trace: &Trace, verdict: Verdict) {
        let ballots = match self.said.front() {
            Some((id, _)) if *id == trace.summary.trace_id => self.said.pop_front(),
            _ => None,
        };
        let ballots = ballots.map(|(_, ballots)| ballots).unwrap_or_default();
        self.judged.push(Judged { summary: trace.summary, verdict, ballots });
    }

    /// The traces that were judged since this was last asked.
    pub(super) fn take(&mut self) -> Vec<Judged> {
        std::mem::take(&mut self.judged)
    }
}

impl Policies {
    /// What every policy would say, as if it alone were asked.
    fn peek(&self, trace: &Trace, now: Instant) -> Box<[Ballot]> {
        let case = trace.case(now);
        let peek = |rule: &dyn super::policy::Rule| {
            catch_unwind(AssertUnwindSafe(|| rule.peek(&case))).unwrap_or(Err(Failed))
        };
        self.branches().map(|branch| peek(branch.rule.as_ref())).collect()
    }
}
