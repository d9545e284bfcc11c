//! Asks all policies about traces.
//!
//! Traces that are due together are judged together, policy by policy, so that the clock is read
//! twice a policy and not twice a trace.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shared::wire::export::{ResourceEntry, ScopeEntry};
use shared::wire::{Resource, Span};

use super::policy::{
    Branch, Builder, Decision, Keys, NamedPolicy, Names, Policy, RuleId, Seen, Sight, Threshold,
    Watch, Watcher,
};
use super::trace::Trace;

/// The policies of a processor, read by all its shards.
pub(super) struct Policies {
    /// Those that drop first, then the others, each group in its order.
    rules: Vec<Branch>,
    /// Name of each.
    names: Vec<Arc<str>>,
    /// The policies that look at spans.
    watchers: Vec<Watcher>,
    note_takers: Vec<Arc<dyn Policy>>,
    keys: Keys,
    /// Whether a trace that one policy keeps is not shown to the others.
    first_match: bool,
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
}

/// What a policy did since this was last looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PolicyTally {
    /// Traces by what it wanted done, in the order of [`Decision::ALL`].
    pub(super) votes: [u64; 3],
    /// Traces it failed on; they were judged without it.
    pub(super) errors: u64,
    /// Time it took.
    pub(super) time: Duration,
}

impl Policies {
    /// Makes the policies. The configuration must have been validated. Numbers come from `names`.
    pub(super) fn build(policies: &[NamedPolicy], first_match: bool, names: &mut Names) -> Self {
        let mut builder = Builder::new(names);
        let (dropping, others): (Vec<_>, Vec<_>) =
            policies.iter().partition(|policy| policy.drops());
        let rules: Vec<Branch> =
            dropping.into_iter().chain(others).map(|policy| policy.build(&mut builder)).collect();
        let Watch { watchers, note_takers, keys } = builder.finish();
        let names = rules.iter().map(|branch| Arc::clone(names.get(branch.id))).collect();
        let panics = AtomicU64::new(0);
        Self { rules, names, watchers, note_takers, keys, first_match, panics }
    }

    /// The policies' names, in the order in which they vote.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// One tally a policy.
    pub(super) fn tallies(&self) -> Vec<PolicyTally> {
        vec![PolicyTally::default(); self.rules.len()]
    }

    /// Shows a span, which the trace's summary has in it, to the policies that have not yet seen
    /// what they look for.
    ///
    /// A policy that panics must not take the buffer with it, so nobody has seen anything then.
    #[inline]
    pub(super) fn observe<'a>(
        &self,
        trace: &mut Trace,
        span: &Span<'a>,
        under: (ResourceEntry<'a>, Resource<'a>, ScopeEntry<'a>),
    ) {
        let (seen, notes) = (trace.seen, &mut trace.notes);
        let sight = Sight::new(span, under, &trace.summary, &self.keys);
        let observed = catch_unwind(AssertUnwindSafe(|| {
            for policy in &self.note_takers {
                policy.note(&sight, notes);
            }
            self.watchers.iter().fold(seen, |seen, watcher| {
                if seen.get(watcher.place).has_any(watcher.sated_by) {
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
    /// `tallies` has one entry a policy; `stopwatch` times the policies and decides nothing.
    pub(super) fn judge(
        &self,
        traces: &[Trace],
        now: Instant,
        tallies: &mut [PolicyTally],
        stopwatch: impl Fn() -> Instant,
    ) -> Vec<Verdict> {
        let mut verdicts = vec![Verdict::NOT_SAMPLED; traces.len()];
        if traces.is_empty() {
            return verdicts;
        }
        let mut begun = stopwatch();
        for (branch, tally) in self.rules.iter().zip(tallies) {
            for (trace, verdict) in traces.iter().zip(&mut verdicts) {
                if !self.is_settled(verdict.decision) {
                    ask(branch, trace, now, tally, verdict);
                }
            }
            let ended = stopwatch();
            tally.time += ended.saturating_duration_since(begun);
            begun = ended;
        }
        verdicts
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

/// Asks a policy about a trace, and adds its vote to the verdict.
fn ask(
    branch: &Branch,
    trace: &Trace,
    now: Instant,
    tally: &mut PolicyTally,
    verdict: &mut Verdict,
) {
    let vote = catch_unwind(AssertUnwindSafe(|| branch.rule.evaluate(&trace.case(now))));
    let Ok(Ok(vote)) = vote else {
        tally.errors += 1;
        return;
    };
    tally.votes[vote.decision as usize] += 1;
    let by = Some(vote.by.unwrap_or(branch.id));
    match (vote.decision, verdict.decision) {
        (Decision::NotSampled, _) => {}
        (Decision::Sampled, Decision::Sampled) => {
            verdict.threshold = verdict.threshold.min(vote.threshold);
        }
        (decision, _) => *verdict = Verdict { decision, by, threshold: vote.threshold },
    }
}

impl std::fmt::Debug for Policies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::policy::testing::policies;
    use super::super::policy::{Ballot, Case, Marks};
    use super::*;

    fn traces(count: usize) -> Vec<Trace> {
        let now = shared::clock::now();
        (0..count).map(|_| Trace::new([1; 16], now)).collect()
    }

    /// What was decided, with sampled, not sampled and failed votes of each policy.
    fn judge(policies: &Policies, count: usize) -> (Vec<Decision>, Vec<(u64, u64, u64)>) {
        let (now, mut tallies) = (shared::clock::now(), policies.tallies());
        let verdicts = policies.judge(&traces(count), now, &mut tallies, shared::clock::now);
        let counts = |tally: &PolicyTally| (tally.votes[0], tally.votes[1], tally.errors);
        let decisions = verdicts.iter().map(|verdict| verdict.decision).collect();
        (decisions, tallies.iter().map(counts).collect())
    }

    const NONE: &str = "{name: none, type: latency, latency: {threshold_ms: 1000}}";
    const ALL: &str = "{name: all, type: always_sample}";

    #[test]
    fn one_vote_is_enough_and_every_policy_votes() {
        let policies = policies(&[NONE, ALL, NONE]);
        let (decisions, counts) = judge(&policies, 3);
        assert_eq!(decisions, [Decision::Sampled; 3]);
        assert_eq!(counts, [(0, 3, 0), (3, 0, 0), (0, 3, 0)]);
    }

    #[test]
    fn the_first_match_ends_the_voting_if_asked_for() {
        let policies = Policies { first_match: true, ..policies(&[NONE, ALL, NONE]) };
        assert_eq!(judge(&policies, 2).1, [(0, 2, 0), (2, 0, 0), (0, 0, 0)]);
    }

    struct Broken;

    impl Policy for Broken {
        fn marks(&self) -> u8 {
            1
        }
        fn observe(&self, _: &Sight<'_>) -> Marks {
            panic!("a broken policy")
        }
        fn evaluate(&self, _: Marks, _: &Case<'_>) -> Ballot {
            panic!("a broken policy")
        }
    }

    #[test]
    fn a_policy_that_panics_is_counted_and_passed_over() {
        let mut names = Names::default();
        let mut builder = Builder::new(&mut names);
        let broken = builder.branch("broken", |builder| builder.policy(Broken));
        let watch = builder.finish();
        let mut policies = policies(&[ALL]);
        policies.rules.insert(0, broken);
        policies.watchers = watch.watchers;
        let (entry, scope) = (ResourceEntry { content: &[] }, ScopeEntry { content: &[] });
        let mut trace = traces(1).remove(0);
        policies.observe(&mut trace, &Span::default(), (entry, entry.resource(), scope));
        assert_eq!((trace.seen, policies.take_panics()), (Seen::default(), 1));
        let (decisions, counts) = judge(&policies, 2);
        assert_eq!(decisions, [Decision::Sampled; 2]);
        assert_eq!(counts, [(0, 0, 2), (2, 0, 0)]);
    }
}
