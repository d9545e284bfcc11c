//! Asks all policies about traces.
//!
//! Traces that are due together are judged together, policy by policy, so that the clock is read
//! twice a policy and not twice a trace.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shared::wire::{Resource, Span};

use super::policy::{Builder, Decision, NamedPolicy, Policy, Rule, Seen};
use super::trace::Trace;

/// The policies of a processor, read by all its shards.
pub(super) struct Policies {
    rules: Vec<(String, Box<dyn Rule>)>,
    /// The policies that look at spans; the place of each is its bit.
    observers: Vec<Arc<dyn Policy>>,
    /// Whether a trace that one policy keeps is not shown to the others.
    first_match: bool,
    /// How often a policy panicked while it looked at a span or a resource.
    panics: AtomicU64,
}

/// What a policy did since this was last looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PolicyTally {
    /// Traces it wanted kept.
    pub(super) sampled: u64,
    /// Traces it did not.
    pub(super) not_sampled: u64,
    /// Traces it failed on; they were judged without it.
    pub(super) errors: u64,
    /// Time it took.
    pub(super) time: Duration,
}

impl Policies {
    /// Makes the policies. The configuration must have been validated.
    pub(super) fn build(policies: &[NamedPolicy], first_match: bool) -> Self {
        let mut builder = Builder::default();
        let rules = policies.iter().map(|policy| (policy.name.clone(), policy.build(&mut builder)));
        let rules = rules.collect();
        let observers = builder.observers();
        Self { rules, observers, first_match, panics: AtomicU64::new(0) }
    }

    /// The policies' names, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|(name, _)| name.as_str())
    }

    /// One tally a policy.
    pub(super) fn tallies(&self) -> Vec<PolicyTally> {
        vec![PolicyTally::default(); self.rules.len()]
    }

    /// Shows a span to the policies that have not yet seen what they look for.
    #[inline]
    pub(super) fn observe(&self, seen: Seen, span: &Span<'_>, resource: Resource<'_>) -> Seen {
        self.each_observer(seen, |policy| policy.observe(span, resource))
    }

    /// What the policies see in a resource alone.
    pub(super) fn observe_resource(&self, resource: Resource<'_>) -> Seen {
        self.each_observer(Seen::default(), |policy| policy.observe_resource(resource))
    }

    /// A policy that panics must not take the buffer with it, so it has seen nothing then.
    #[inline]
    fn each_observer(&self, seen: Seen, observe: impl Fn(&dyn Policy) -> bool) -> Seen {
        let observed = catch_unwind(AssertUnwindSafe(|| {
            let mut seen = seen;
            for (bit, policy) in (0..).zip(&self.observers) {
                if !seen.has(bit) && observe(policy.as_ref()) {
                    seen = seen.with(bit);
                }
            }
            seen
        }));
        observed.unwrap_or_else(|_| {
            self.panics.fetch_add(1, Ordering::Relaxed);
            seen
        })
    }

    /// How often a policy panicked while observing since this was last asked.
    pub(super) fn take_panics(&self) -> u64 {
        self.panics.swap(0, Ordering::Relaxed)
    }

    /// Decides about each of `traces`: sampled if any policy says so.
    ///
    /// `tallies` has one entry a policy; `stopwatch` times the policies and decides nothing.
    pub(super) fn judge(
        &self,
        traces: &[Trace],
        tallies: &mut [PolicyTally],
        stopwatch: impl Fn() -> Instant,
    ) -> Vec<Decision> {
        let mut decisions = vec![Decision::NotSampled; traces.len()];
        if traces.is_empty() {
            return decisions;
        }
        let mut begun = stopwatch();
        for ((_, rule), tally) in self.rules.iter().zip(tallies) {
            for (trace, decision) in traces.iter().zip(&mut decisions) {
                if self.first_match && *decision == Decision::Sampled {
                    continue;
                }
                let vote =
                    catch_unwind(AssertUnwindSafe(|| rule.evaluate(trace.seen, &trace.summary)));
                match vote {
                    Ok(Decision::Sampled) => {
                        tally.sampled += 1;
                        *decision = Decision::Sampled;
                    }
                    Ok(Decision::NotSampled) => tally.not_sampled += 1,
                    Err(_) => tally.errors += 1,
                }
            }
            let ended = stopwatch();
            tally.time += ended.saturating_duration_since(begun);
            begun = ended;
        }
        decisions
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
    use super::super::trace::Summary;
    use super::*;

    fn traces(count: usize) -> Vec<Trace> {
        let now = shared::clock::now();
        (0..count).map(|_| Trace::new([1; 16], now)).collect()
    }

    fn counts(tallies: &[PolicyTally]) -> Vec<(u64, u64, u64)> {
        tallies.iter().map(|tally| (tally.sampled, tally.not_sampled, tally.errors)).collect()
    }

    const NONE: &str = "{name: none, type: latency, latency: {threshold_ms: 1000}}";
    const ALL: &str = "{name: all, type: always_sample}";

    #[test]
    fn one_vote_is_enough_and_every_policy_votes() {
        let policies = policies(&[NONE, ALL, NONE]);
        let mut tallies = policies.tallies();
        let decisions = policies.judge(&traces(3), &mut tallies, shared::clock::now);
        assert_eq!(decisions, [Decision::Sampled; 3]);
        assert_eq!(counts(&tallies), [(0, 3, 0), (3, 0, 0), (0, 3, 0)]);
    }

    #[test]
    fn the_first_match_ends_the_voting_if_asked_for() {
        let policies = Policies { first_match: true, ..policies(&[NONE, ALL, NONE]) };
        let mut tallies = policies.tallies();
        policies.judge(&traces(2), &mut tallies, shared::clock::now);
        assert_eq!(counts(&tallies), [(0, 2, 0), (2, 0, 0), (0, 0, 0)]);
    }

    struct Broken;

    impl Policy for Broken {
        fn observes(&self) -> bool {
            true
        }
        fn observe(&self, _: &Span<'_>, _: Resource<'_>) -> bool {
            panic!("a broken policy")
        }
        fn evaluate(&self, _: bool, _: &Summary) -> Decision {
            panic!("a broken policy")
        }
    }

    #[test]
    fn a_policy_that_panics_is_counted_and_passed_over() {
        let mut builder = Builder::default();
        let rules = vec![("broken".to_owned(), builder.policy(Broken))];
        let observers = builder.observers();
        let mut policies = policies(&[ALL]);
        policies.rules.splice(0..0, rules);
        policies.observers = observers;
        let resource = shared::wire::ResourceEntry { content: &[] }.resource();
        let seen = policies.observe(Seen::default(), &Span::default(), resource);
        assert_eq!((seen, policies.take_panics()), (Seen::default(), 1));
        let mut tallies = policies.tallies();
        let decisions = policies.judge(&traces(2), &mut tallies, shared::clock::now);
        assert_eq!(decisions, [Decision::Sampled; 2]);
        assert_eq!(counts(&tallies), [(0, 0, 2), (2, 0, 0)]);
    }
}
