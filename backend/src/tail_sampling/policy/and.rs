//! `and`: keeps traces that all its policies keep. Each may be satisfied by another span.

use shared::config::{Path, Problems};
use shared::config_struct;

use super::parts::{Shape, validate_parts};
use super::{
    Ballot, Branch, Builder, Case, Decision, NamedPolicy, PolicyConfig, Rule, Threshold, Vote,
};

config_struct! {
    /// `and`.
    pub(super) struct AndConfig {
        /// The policies that must all agree.
        pub and_sub_policy: Vec<NamedPolicy> = Vec::new(),
    }
}

impl PolicyConfig for AndConfig {
    const TYPE: &'static str = "and";
    const SHAPE: Shape = Shape::And;

    fn validate(&self, at: &Path<'_>, problems: &mut Problems) {
        let at = at.key("and_sub_policy");
        if self.and_sub_policy.is_empty() {
            problems.report(&at, "must not be empty, or every trace would be kept");
        }
        validate_parts((Self::TYPE, Self::SHAPE), &self.and_sub_policy, &at, problems);
    }

    fn parts(&self) -> &[NamedPolicy] {
        &self.and_sub_policy
    }

    fn keeps_everything(&self) -> bool {
        self.and_sub_policy.iter().all(NamedPolicy::keeps_everything)
    }

    fn build(&self, builder: &mut Builder<'_>) -> Box<dyn Rule> {
        Box::new(All::of(&self.and_sub_policy, Decision::Sampled, builder))
    }
}

/// Policies that must all want a trace.
pub(super) struct All {
    branches: Vec<Branch>,
    /// What follows if they do.
    then: Decision,
}

impl All {
    /// `then` follows if all of `parts` want a trace.
    pub(super) fn of(parts: &[NamedPolicy], then: Decision, builder: &mut Builder<'_>) -> Self {
        Self { branches: parts.iter().map(|policy| policy.build(builder)).collect(), then }
    }

    /// In order, and no further than needed: a later policy may count what it keeps.
    fn ask(&self, vote: impl Fn(&dyn Rule) -> Ballot) -> Ballot {
        let mut threshold = Threshold::NONE;
        for branch in &self.branches {
            let vote = vote(branch.rule.as_ref())?;
            if vote.decision != Decision::Sampled {
                let by = Some(vote.by.unwrap_or(branch.id));
                return Ok(Vote { by, ..Vote::of(Decision::NotSampled) });
            }
            // All had to be passed, so the hardest counts.
            threshold = threshold.max(vote.threshold);
        }
        Ok(Vote { threshold, ..Vote::of(self.then) })
    }
}

impl Rule for All {
    fn evaluate(&self, case: &Case<'_>) -> Ballot {
        self.ask(|rule| rule.evaluate(case))
    }

    fn peek(&self, case: &Case<'_>) -> Ballot {
        self.ask(|rule| rule.peek(case))
    }

    /// One policy that is bound to say no is enough, unless one before it may fail or take
    /// something by then.
    fn foregone(&self, case: &Case<'_>) -> Option<Decision> {
        let mut outcome = Some(self.then);
        for branch in &self.branches {
            match branch.rule.foregone(case) {
                Some(Decision::Sampled) => {}
                Some(Decision::NotSampled | Decision::Dropped) => {
                    return Some(Decision::NotSampled);
                }
                None if branch.rule.is_pure() => outcome = None,
                None => return None,
            }
        }
        outcome
    }

    fn is_pure(&self) -> bool {
        self.branches.iter().all(|branch| branch.rule.is_pure())
    }

    fn branches(&self) -> &[Branch] {
        &self.branches
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Subject, check, problems};
    use super::*;
    use Decision::{NotSampled, Sampled};

    const SLOW_ERRORS_OF_CART: &str = "{type: and, and: {and_sub_policy: [\
        {type: status_code, status_code: {status_codes: [ERROR]}}, \
        {name: slow, type: latency, latency: {threshold_ms: 100}}, \
        {type: string_attribute, string_attribute: {key: service.name, values: [cart]}}]}}";

    #[test]
    fn all_policies_must_agree() {
        check(SLOW_ERRORS_OF_CART, "1..101 error @service.name=cart", Sampled);
        check(SLOW_ERRORS_OF_CART, "1..101 @service.name=cart", NotSampled);
        check(SLOW_ERRORS_OF_CART, "1..100 error @service.name=cart", NotSampled);
        check(SLOW_ERRORS_OF_CART, "1..101 error @service.name=shop", NotSampled);
    }

    #[test]
    fn the_first_that_objects_is_named() {
        let named = SLOW_ERRORS_OF_CART.replacen('{', "{name: a, ", 1);
        let policy = Subject::new(&named);
        assert_eq!(policy.objector(0, "1..2 error"), Some("a/slow"));
        assert_eq!(policy.objector(0, "1..2"), Some("a/status_code"));
    }

    #[test]
    fn different_spans_may_satisfy_them() {
        check(SLOW_ERRORS_OF_CART, "1..2 @service.name=cart; 1..2 error; 1..200", Sampled);
    }

    #[test]
    fn one_that_is_bound_to_say_no_decides_early() {
        let policy = |before: &str| {
            Subject::new(&format!(
                "{{type: and, and: {{and_sub_policy: [{before}, \
                 {{type: probabilistic, probabilistic: {{sampling_percentage: 0}}}}]}}}}"
            ))
        };
        let open = "{type: status_code, status_code: {status_codes: [ERROR]}}";
        assert_eq!(policy(open).foregone("0..1"), Some(NotSampled));
        // But what a limiter takes, it must be asked for.
        let limiter = "{type: rate_limiting, rate_limiting: {spans_per_second: 5}}";
        assert_eq!(policy(limiter).foregone("0..1"), None);
    }

    #[test]
    fn an_empty_list_and_mistakes_below_are_named() {
        assert_eq!(
            problems("{name: a, type: and}"),
            "policies::0::and::and_sub_policy: must not be empty, or every trace would be kept"
        );
        assert_eq!(
            problems("{name: a, type: and, and: {and_sub_policy: [{type: status_code}]}}"),
            "policies::0::and::and_sub_policy::0::status_code::status_codes: must name at least \
             one of OK, ERROR, UNSET"
        );
    }
}
