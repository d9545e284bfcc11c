//! `composite`: divides a budget of spans a second among its policies.
//!
//! Its policies are asked in order; the first that wants a trace has it in its share, or else the
//! trace is not kept. With `overflow` the next one that wants it is asked then, and shares that are
//! not used serve those behind them: see [`budget`].

mod budget;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::config::{Path, Problems, nearest};
use shared::config_struct;

use super::parts::{Shape, validate_parts};
use super::terms::Seconds;
use super::{Ballot, Branch, Builder, Case, Decision, NamedPolicy, PolicyConfig, Rule, Vote};
use crate::tail_sampling::tier::TierSize;
use budget::{Budget, Unused};

config_struct! {
    /// `composite`.
    pub(super) struct CompositeConfig {
        /// Spans a second that may be kept.
        pub max_total_spans_per_second: i64 = 0,
        /// Read by nobody, here as in the Collector.
        pub policy_order: Vec<String> = Vec::new(),
        /// The policies, in the order in which they are asked.
        pub composite_sub_policy: Vec<NamedPolicy> = Vec::new(),
        /// Their shares; a policy that is not listed has none.
        pub rate_allocation: Vec<RateAllocationConfig> = Vec::new(),
        /// Ours: whether shares that are not used serve the policies behind.
        pub overflow: bool = false,
        /// Ours: whether the budget is that of all backends together.
        pub cluster: bool = false,
    }
}

config_struct! {
    /// An entry of `rate_allocation`.
    pub(super) struct RateAllocationConfig {
        /// Name of the sub-policy.
        pub policy: String = String::new(),
        /// Its part of the budget; 0 is an equal part for each sub-policy, as in the Collector.
        pub percent: i64 = 0,
    }
}

impl CompositeConfig {
    fn total(&self) -> u64 {
        self.max_total_spans_per_second.try_into().unwrap_or_default()
    }

    /// The share of a sub-policy; nothing if it is not listed. Of several entries the last counts.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "as in the Collector: a double, cut to an integer"
    )]
    fn share(&self, policy: &NamedPolicy) -> Option<u64> {
        let entry = self.rate_allocation.iter().rfind(|entry| entry.policy == policy.name)?;
        let total = self.total() as f64;
        Some(match entry.percent {
            ..=0 => total / self.composite_sub_policy.len() as f64,
            percent => percent as f64 / 100.0 * total,
        } as u64)
    }

    fn validate_allocation(&self, at: &Path<'_>, problems: &mut Problems) {
        let names = || self.composite_sub_policy.iter().map(|policy| policy.name.as_str());
        for (index, entry) in self.rate_allocation.iter().enumerate() {
            let at = at.index(index);
            if !names().any(|name| name == entry.policy) {
                let hint = match nearest(&entry.policy, names()) {
                    Some(near) => format!(", did you mean \"{near}\"?"),
                    None => String::new(),
                };
                let message =
                    format!("\"{}\" is no sub-policy of this composite{hint}", entry.policy);
                problems.warn(&at.key("policy"), message);
            }
            if entry.percent <= 0 {
                let message = format!(
                    "counts as an equal share for each of the {} sub-policies, as in the Collector",
                    self.composite_sub_policy.len()
                );
                problems.warn(&at.key("percent"), message);
            }
        }
        let shares: u64 = self.composite_sub_policy.iter().filter_map(|of| self.share(of)).sum();
        if shares > self.total() && self.total() > 0 {
            let sum = format!(
                "the shares add up to {shares} spans a second, and max_total_spans_per_second is {}",
                self.total()
            );
            match self.overflow {
                true => problems.report(at, sum),
                false => problems.warn(
                    at,
                    format!(
                        "{sum}: each sub-policy is only held to its own share, as in the \
                         Collector, so the total may be passed"
                    ),
                ),
            }
        }
    }
}

impl PolicyConfig for CompositeConfig {
    const TYPE: &'static str = "composite";
    const SHAPE: Shape = Shape::Composite;

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        if self.max_total_spans_per_second <= 0 {
            let message = "must be above 0, or no trace can be kept";
            problems.report(&at.key("max_total_spans_per_second"), message);
        }
        let names = self.composite_sub_policy.iter().map(|policy| &policy.name);
        if !self.policy_order.is_empty() && !names.eq(&self.policy_order) {
            problems.warn(
                &at.key("policy_order"),
                "is not read, as in the Collector: sub-policies are asked in the order in which \
                 they stand in composite_sub_policy",
            );
        }
        self.validate_allocation(&at.key("rate_allocation"), problems);
        let at = at.key("composite_sub_policy");
        if self.composite_sub_policy.is_empty() {
            problems.report(&at, "must not be empty, or no trace can be kept");
        }
        for (index, policy) in self.composite_sub_policy.iter().enumerate() {
            if self.share(policy).is_none() && !self.overflow {
                problems.warn(
                    &at.index(index),
                    format!(
                        "\"{}\" is not in rate_allocation, so its share is 0 and it keeps nothing, \
                         as in the Collector; give it a percentage, or set overflow",
                        policy.title()
                    ),
                );
            }
        }
        validate_parts((Self::TYPE, Self::SHAPE), &self.composite_sub_policy, &at, problems);
    }

    fn parts(&self) -> &[NamedPolicy] {
        &self.composite_sub_policy
    }

    fn has_budget(&self) -> bool {
        true
    }

    fn shares_tier(&self) -> bool {
        self.cluster || self.parts().iter().any(NamedPolicy::shares_tier)
    }

    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule> {
        let policies = &self.composite_sub_policy;
        let shares: Vec<u64> =
            policies.iter().map(|policy| self.share(policy).unwrap_or_default()).collect();
        let unused = match self.overflow {
            true => Unused::GoesOn,
            false => Unused::IsLost,
        };
        // Whatever else its policies are: as many with these names have these shares.
        let titles: Vec<&str> = policies.iter().map(NamedPolicy::title).collect();
        let settings = (Self::TYPE, self.total(), &shares, unused, self.cluster, titles);
        let seconds = builder.terms().seconds;
        let ledger = builder.kept(&settings, || Ledger {
            budget: Mutex::new(Budget::new(self.total(), shares.clone(), unused)),
            seconds,
        });
        Box::new(Composite {
            branches: policies.iter().map(|policy| policy.build(builder)).collect(),
            ledger,
            unused,
            tier: self.cluster.then(|| builder.terms().tier.clone()),
        })
    }
}

struct Composite {
    branches: Vec<Branch>,
    ledger: Arc<Ledger>,
    unused: Unused,
    /// Who shares the budget, if anybody does.
    tier: Option<TierSize>,
}

/// What outlives a change of the configuration.
struct Ledger {
    /// All shards take from one.
    budget: Mutex<Budget>,
    /// Its seconds must not begin anew when the wall clock is read anew.
    seconds: Seconds,
}

impl Composite {
    fn lock(&self) -> MutexGuard<'_, Budget> {
        self.ledger.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the second that it is.
    fn begin(&self, budget: &mut Budget, case: &Case<'_>) {
        let backends = self.tier.as_ref().map_or(1, TierSize::get);
        budget.begin(self.ledger.seconds.of(case.now), backends);
    }

    /// Asks the policies in order. `take` takes from the share of one of them.
    fn ask(
        &self,
        vote: impl Fn(&dyn Rule) -> Ballot,
        mut take: impl FnMut(usize) -> bool,
    ) -> Ballot {
        let mut refused = None;
        for (place, branch) in self.branches.iter().enumerate() {
            let vote = vote(branch.rule.as_ref())?;
            if vote.decision != Decision::Sampled {
                continue;
            }
            if take(place) {
                return Ok(Vote { by: Some(branch.id), ..vote });
            }
            refused = Some(branch.id);
            if self.unused == Unused::IsLost {
                break;
            }
        }
        Ok(Vote { by: refused, ..Vote::of(Decision::NotSampled) })
    }
}

impl Rule for Composite {
    fn evaluate(&self, case: &Case<'_>) -> Ballot {
        let take = |place| {
            let mut budget = self.lock();
            self.begin(&mut budget, case);
            budget.take(place, case.summary.spans.into())
        };
        self.ask(|rule| rule.evaluate(case), take)
    }

    /// Asks a copy of the budget.
    fn peek(&self, case: &Case<'_>) -> Ballot {
        let mut budget = self.lock().clone();
        self.begin(&mut budget, case);
        self.ask(|rule| rule.peek(case), |place| budget.take(place, case.summary.spans.into()))
    }

    /// Only what no policy wants can be certain.
    fn foregone(&self, case: &Case<'_>) -> Option<Decision> {
        for branch in &self.branches {
            match branch.rule.foregone(case)? {
                Decision::Sampled => return None,
                Decision::NotSampled | Decision::Dropped => {}
            }
        }
        Some(Decision::NotSampled)
    }

    fn is_pure(&self) -> bool {
        false
    }

    fn branches(&self) -> &[Branch] {
        &self.branches
    }
}

#[cfg(test)]
mod tests;
