//! Policies that were replaced, for as long as traces wait whose spans they have released early.
//!
//! Such a trace cannot be shown to other policies any more, and its outcome stands; but which
//! policy decided, and how hard it was to be kept, is theirs to say when the trace is due.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::evaluate::{Policies, Verdict};
use super::outcome::Outcome;
use super::trace::Trace;

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Former(VecDeque<Set>);

#[derive(Debug)]
struct Set {
    generation: u16,
    policies: Arc<Policies>,
    /// Released traces that wait.
    traces: usize,
}

/// How many replaced sets are kept. A trace of an older one is judged by its outcome alone.
const MAX_SETS: usize = 16;

impl Former {
    /// Keeps a set that was replaced, for so many traces.
    pub(super) fn push(&mut self, generation: u16, policies: Arc<Policies>, traces: usize) {
        if traces == 0 {
            return;
        }
        if self.0.len() == MAX_SETS {
            self.0.pop_front();
        }
        self.0.push_back(Set { generation, policies, traces });
    }

    /// Judges a trace that was released early with this outcome. The votes are not counted: they
    /// are of policies that are gone.
    pub(super) fn judge(&mut self, trace: &Trace, outcome: Outcome, now: Instant) -> Verdict {
        let Some(set) = self.0.iter().find(|set| set.generation == trace.generation) else {
            return outcome.verdict();
        };
        let mut tallies = set.policies.tallies();
        let verdicts = set.policies.judge(std::slice::from_ref(trace), now, &mut tallies, || now);
        self.forget(trace.generation);
        verdicts.into_iter().next().unwrap_or(outcome.verdict())
    }

    /// The policies of a generation, if they are still kept.
    pub(super) fn find(&self, generation: u16) -> Option<&Policies> {
        let set = self.0.iter().find(|set| set.generation == generation)?;
        Some(&set.policies)
    }

    /// One trace less waits for the policies of a generation.
    pub(super) fn forget(&mut self, generation: u16) {
        if let Some(set) = self.0.iter_mut().find(|set| set.generation == generation) {
            set.traces -= 1;
        }
        self.0.retain(|set| set.traces > 0);
    }

    /// Forgets all sets.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
