//! Asks all policies about traces.
//!
//! Traces that are due together are judged together, policy by policy, so that the clock is read
//! twice a policy and not twice a trace, and what is counted of a policy costs no allocation.
//!
//! Policies in dry run vote after all others, on every trace. What they say is counted and changes
//! nothing.

use std::borrow::Borrow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use shared::wire::Resource;
use shared::wire::export::{ResourceEntry, ScopeEntry};

use super::config::{SamplingStrategy, TailSamplingConfig};
use super::outcome::Outcome;
use super::policy::{
    Branch, Builder, Case, Decision, Keys, NamedPolicy, Names, Policy, ReadSpan, RuleId, Seen,
    Sight, Stock, Terms, Threshold, Vote, Watch, Watcher,
};
use super::tally::PolicyTally;
use super::trace::Trace;

mod explanation;

pub(super) use explanation::{Explanation, Opinion};

/// The policies of a processor, read by all its shards.
pub(super) struct Policies {
    /// Those that drop first, then the others, each group in its order.
    rules: Vec<Branch>,
    /// How many of these may drop a trace; they stand first.
    dropping: usize,
    /// Those in dry run, in their order.
    rehearsed: Vec<Branch>,
    /// The names of all policies that there ever were.
    names: Names,
    /// The policies that look at spans.
    watchers: Vec<Watcher>,
    note_takers: Vec<Arc<dyn Policy>>,
    keys: Keys,
    /// What limiters and adaptive samplers find again after a change.
    stock: Stock,
    /// Whether a trace that one policy keeps is not shown to the others.
    first_match: bool,
    /// Whether pieces of traces are judged, and not whole ones.
    by_piece: bool,
    /// How often a policy panicked while it looked at a span or a resource.
    panics: AtomicU64,
}

/// What was decided about a trace, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// What was decided.
    pub(super) decision: Decision,
    /// The policy or sub-policy that kept or dropped it: the first one to say so.
    pub(super) by: Option<RuleId>,
    /// How hard it was to be kept, by the mildest of those that wanted it.
    pub(super) threshold: Threshold,
}

impl Verdict {
    /// What holds until a policy says otherwise.
    pub(super) const NOT_SAMPLED: Self =
        Self { decision: Decision::NotSampled, by: None, threshold: Threshold::NONE };
    /// What holds for every trace in dry run.
    pub(super) const DRY_RUN: Self = Self { decision: Decision::Sampled, ..Self::NOT_SAMPLED };
}

/// What has been said about a trace so far.
#[derive(Debug, Clone, Copy)]
struct Poll {
    verdict: Verdict,
    keepers: Keepers,
}

/// The policies that want to keep a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keepers {
    Nobody,
    /// The one with this index.
    Only(u32),
    Several,
}

impl Poll {
    const OPEN: Self = Self { verdict: Verdict::NOT_SAMPLED, keepers: Keepers::Nobody };

    /// Adds the vote of the policy at `index`.
    fn add(&mut self, index: u32, vote: Vote, id: RuleId) {
        let Vote { decision, threshold, by } = vote;
        let by = Some(by.unwrap_or(id));
        if decision == Decision::Sampled {
            self.keepers = match self.keepers {
                Keepers::Nobody => Keepers::Only(index),
                Keepers::Only(_) | Keepers::Several => Keepers::Several,
            };
        }
        match (decision, self.verdict.decision) {
            (Decision::NotSampled, _) => {}
            (Decision::Sampled, Decision::Sampled) => {
                self.verdict.threshold = self.verdict.threshold.min(threshold);
            }
            _ => self.verdict = Verdict { decision, by, threshold },
        }
    }
}

impl Policies {
    /// Makes the policies. The configuration must have been validated. Numbers come from `names`.
    pub(super) fn build(config: &TailSamplingConfig, terms: &Terms, names: &mut Names) -> Self {
        Self::build_after(Stock::default(), config, terms, names)
    }

    /// The same, where limiters and adaptive samplers that were in force before go on from what they
    /// left, as far as they are still the same.
    pub(super) fn build_after(
        left: Stock,
        config: &TailSamplingConfig,
        terms: &Terms,
        names: &mut Names,
    ) -> Self {
        let mut builder = Builder::new(names, terms.clone()).after(left);
        let (rehearsed, applied): (Vec<_>, Vec<_>) =
            config.policies.iter().partition(|policy| policy.dry_run);
        let (dropping, keeping): (Vec<_>, Vec<_>) =
            applied.into_iter().partition(|policy| policy.drops());
        let mut build = |policies: &[&NamedPolicy]| -> Vec<Branch> {
            policies.iter().map(|policy| policy.build(&mut builder)).collect()
        };
        let drop_count = dropping.len();
        let rules = build(&[dropping, keeping].concat());
        let rehearsed = build(&rehearsed);
        let Watch { watchers, note_takers, keys, stock } = builder.finish();
        let (names, panics) = (names.clone(), AtomicU64::new(0));
        let first_match = config.sample_on_first_match;
        let by_piece = config.sampling_strategy == SamplingStrategy::SpanIngest;
        Self {
            rules,
            dropping: drop_count,
            rehearsed,
            names,
            watchers,
            note_takers,
            keys,
            stock,
            first_match,
            by_piece,
            panics,
        }
    }

    /// The policies in the order in which they vote, each with what its counts tell.
    pub(super) fn standings(&self) -> impl Iterator<Item = (&str, Standing)> {
        let applied = match self.first_match {
            true => Standing::FirstMatch,
            false => Standing::Applied,
        };
        let applied = self.rules.iter().map(move |branch| (branch.id, applied));
        let rehearsed = self.rehearsed.iter().map(|branch| (branch.id, Standing::DryRun));
        applied.chain(rehearsed).map(|(id, standing)| (&**self.names.get(id), standing))
    }

    /// What limiters and adaptive samplers have.
    pub(super) fn stock(&self) -> &Stock {
        &self.stock
    }

    /// The policies in the order in which they vote, each with its name's number.
    pub(super) fn branches(&self) -> impl Iterator<Item = &Branch> {
        self.rules.iter().chain(&self.rehearsed)
    }

    /// The names of these policies, and of those that were in force before.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// The policies in that order.
    #[cfg(test)]
    pub(super) fn rules(&self) -> &[Branch] {
        &self.rules
    }

    /// One tally a policy.
    pub(super) fn tallies(&self) -> Vec<PolicyTally> {
        vec![PolicyTally::default(); self.rules.len() + self.rehearsed.len()]
    }

    /// Reads a span for [`Policies::observe`].
    #[inline]
    pub(super) fn read<'a>(&self, raw: &'a [u8]) -> ReadSpan<'a> {
        self.keys.read(raw)
    }

    /// Shows a span, which the trace's summary has in it, to the policies that have not yet seen
    /// what they look for.
    ///
    /// A policy that panics must not take the buffer with it, so nobody has seen anything then.
    #[inline]
    pub(super) fn observe<'a>(
        &self,
        trace: &mut Trace,
        read: &ReadSpan<'a>,
        under: (ResourceEntry<'a>, Resource<'a>, ScopeEntry<'a>),
    ) {
        let (seen, notes) = (trace.seen, &mut trace.notes);
        let sight = Sight::new(read, under, &trace.summary, &self.keys);
        let observed = catch_unwind(AssertUnwindSafe(|| {
            for policy in &self.note_takers {
                policy.note(&sight, notes);
            }
            self.watchers.iter().fold(seen, |seen, watcher| {
                if !read.has(watcher.needs) || seen.get(watcher.place).has_any(watcher.sated_by) {
                    return seen;
                }
                seen.with(watcher.place, watcher.policy.observe(&sight))
            })
        }));
        match observed {
            Ok(seen) => trace.seen = seen,
            Err(_) => self.note_panic(),
        }
    }

    /// Shows a resource to the policies that write about the traces it is part of.
    #[inline]
    pub(super) fn note_resource(&self, trace: &mut Trace, resource: Resource<'_>) {
        if self.note_takers.is_empty() {
            return;
        }
        let notes = &mut trace.notes;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.note_takers.iter().for_each(|policy| policy.note_resource(resource, notes));
        }));
        outcome.unwrap_or_else(|_| self.note_panic());
    }

    /// What the policies see in a resource alone.
    pub(super) fn observe_resource(&self, resource: Resource<'_>) -> Seen {
        let observed = catch_unwind(AssertUnwindSafe(|| {
            self.watchers.iter().fold(Seen::default(), |seen, watcher| {
                seen.with(watcher.place, watcher.policy.observe_resource(resource))
            })
        }));
        observed.unwrap_or_else(|_| {
            self.note_panic();
            Seen::default()
        })
    }

    fn note_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// How often a policy panicked while observing since this was last asked.
    pub(super) fn take_panics(&self) -> u64 {
        self.panics.swap(0, Ordering::Relaxed)
    }

    /// Decides about each of `traces`: not sampled if a policy drops it, else sampled if any policy
    /// says so.
    ///
    /// Of a piece of a trace only what holds for the whole is decided: while there is a policy that
    /// may drop it for a later span, none may keep it.
    ///
    /// `tallies` has one entry a policy; `stopwatch` times the policies and decides nothing.
    pub(super) fn judge<T: Borrow<Trace>>(
        &self,
        traces: &[T],
        now: Instant,
        tallies: &mut [PolicyTally],
        stopwatch: impl Fn() -> Instant,
    ) -> Vec<Verdict> {
        let mut polls = vec![Poll::OPEN; traces.len()];
        if traces.is_empty() {
            return Vec::new();
        }
        let (applied, rehearsed) = tallies.split_at_mut(self.rules.len());
        let mut begun = stopwatch();
        let mut lap = |tally: &mut PolicyTally| {
            let ended = stopwatch();
            tally.time += ended.saturating_duration_since(begun);
            begun = ended;
        };
        let rules = match self.by_piece && self.dropping > 0 {
            true => &self.rules[..self.dropping],
            false => &self.rules[..],
        };
        let traces = || traces.iter().map(Borrow::borrow);
        for (index, (branch, tally)) in (0..).zip(rules.iter().zip(&mut *applied)) {
            for (trace, poll) in traces().zip(&mut polls) {
                if !self.is_settled(poll.verdict.decision)
                    && let Some(vote) = ask(branch, trace, now, tally)
                {
                    poll.add(index, vote, branch.id);
                }
            }
            lap(tally);
        }
        for (branch, tally) in self.rehearsed.iter().zip(rehearsed) {
            for (trace, poll) in traces().zip(&polls) {
                if let Some(vote) = ask(branch, trace, now, tally)
                    && would_change(vote.decision, poll.verdict.decision)
                {
                    tally.alone.add(&trace.summary);
                }
            }
            lap(tally);
        }
        for (trace, poll) in traces().zip(&polls) {
            if let (Decision::Sampled, Keepers::Only(index)) = (poll.verdict.decision, poll.keepers)
            {
                applied[index as usize].alone.add(&trace.summary);
            }
        }
        polls.into_iter().map(|poll| poll.verdict).collect()
    }

    /// What [`Policies::judge`] is bound to decide about a trace, whatever spans may still come.
    ///
    /// Put together as there: a policy that drops goes before all that keep, and one that keeps
    /// before all that do not.
    pub(super) fn foregone(&self, case: &Case<'_>) -> Option<Outcome> {
        let certain = catch_unwind(AssertUnwindSafe(|| {
            let (dropping, keeping) = self.rules.split_at(self.dropping);
            let (mut may_drop, mut may_keep) = (false, false);
            for branch in dropping {
                match branch.rule.foregone(case) {
                    Some(Decision::Dropped) => return Some(Outcome::Discarded),
                    Some(Decision::NotSampled) => {}
                    Some(Decision::Sampled) | None => may_drop = true,
                }
            }
            for branch in keeping {
                match branch.rule.foregone(case) {
                    Some(Decision::Sampled) if may_drop => return None,
                    Some(Decision::Sampled) => return Some(Outcome::Kept),
                    Some(Decision::NotSampled) => {}
                    Some(Decision::Dropped) | None => may_keep = true,
                }
            }
            (!may_keep).then_some(Outcome::Discarded)
        }));
        certain.ok().flatten()
    }

    /// Whether further policies are not asked.
    fn is_settled(&self, decision: Decision) -> bool {
        match decision {
            Decision::Dropped => true,
            Decision::Sampled => self.first_match,
            Decision::NotSampled => false,
        }
    }
}

/// What is known from the counts of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its votes count, and so do those of all others.
    Applied,
    /// Its votes count, but those after it are not always asked: what only it keeps is not known.
    FirstMatch,
    /// Its votes change nothing.
    DryRun,
}

/// Whether a decision would be another one with this vote.
fn would_change(vote: Decision, decision: Decision) -> bool {
    match vote {
        Decision::Sampled => decision == Decision::NotSampled,
        Decision::NotSampled => false,
        Decision::Dropped => decision == Decision::Sampled,
    }
}

/// Asks a policy about a trace, and counts what it says.
fn ask(branch: &Branch, trace: &Trace, now: Instant, tally: &mut PolicyTally) -> Option<Vote> {
    let vote = catch_unwind(AssertUnwindSafe(|| branch.rule.evaluate(&trace.case(now))));
    let Ok(Ok(vote)) = vote else {
        tally.errors += 1;
        return None;
    };
    tally.votes[vote.decision as usize].add(&trace.summary);
    Some(vote)
}

impl std::fmt::Debug for Policies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.standings()).finish()
    }
}

#[cfg(test)]
mod tests;
